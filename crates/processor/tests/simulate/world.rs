//! The world around the core: children, disks, receivers and a clock, all simulated.

mod blows;
mod work;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use config::Retries;
use haproxystats_processor::core::{
    Action, ChildId, CircuitSettings, Core, Death, Descriptor, Event, Now, Order, OrderId,
    PENDING_MAX, ReceiverSettings, Reply, Role, Settings,
};
use model::Timestamp;

use crate::disk::{Disk, ENTRY_BYTES};
use crate::faults::{self, Fault};
use crate::ledger::{Ledger, Uid};
use crate::mutants::Mutant;

const SPAN: Duration = Duration::from_secs(200);
/// By then everything that was published must be where it belongs.
const PATIENCE: Duration = Duration::from_secs(4 * 3600);
const NAMES_MAX: usize = 64;

/// All that decides a run.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) receivers: usize,
    pub(crate) workers: usize,
    pub(crate) interval: Duration,
    pub(crate) outbox_bytes: u64,
    pub(crate) folds_in_order: bool,
    pub(crate) origins: u64,
    pub(crate) batch_bytes: u64,
    pub(crate) flights: usize,
    pub(crate) replay_rate: u64,
    /// Shares of snapshots, in percent.
    pub(crate) trouble: u8,
    pub(crate) faults: Vec<(Duration, Fault)>,
    pub(crate) mutant: Option<Mutant>,
    /// Every snapshot must be at this receiver within a second of being published.
    pub(crate) prompt: Option<usize>,
}

impl Plan {
    pub(crate) fn random(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let receivers = rng.usize(1..4);
        Self {
            seed,
            receivers,
            workers: rng.usize(1..4),
            interval: Duration::from_millis(rng.u64(200..4000)),
            outbox_bytes: if rng.u8(0..5) == 0 { 8 * ENTRY_BYTES } else { u64::MAX },
            folds_in_order: rng.bool(),
            origins: rng.u64(1..4),
            batch_bytes: if rng.u8(0..4) == 0 { 20 << 20 } else { 1000 },
            flights: rng.usize(1..5),
            replay_rate: if rng.bool() { 0 } else { 1000 },
            trouble: if rng.bool() { 0 } else { 10 },
            faults: faults::draw(&mut rng, receivers, SPAN),
            mutant: None,
            prompt: None,
        }
    }
}

/// What a fold of a snapshot comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Temper {
    Good,
    CrashesItsChild,
    CrashesItsSender,
    IsRejected,
    Unusable,
    Unreadable { times: u32 },
    Vanishes,
}

#[derive(Debug, Clone)]
struct Snapshot {
    uid: Uid,
    has_manifest: bool,
    temper: Temper,
    published: Instant,
}

#[derive(Debug)]
struct Job {
    id: OrderId,
    order: Order,
    /// The batch that came with it.
    uid: Option<Uid>,
}

#[derive(Debug)]
struct Child {
    role: Role,
    jobs: Vec<Job>,
    /// In the kernel, on a disk that hangs: no signal ends it.
    is_hung: bool,
    is_killed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Up,
    Down,
    Slow,
}

/// What happens at a moment.
#[derive(Debug)]
enum Coming {
    Event {
        event: Event,
        life: u32,
    },
    /// A child has done its order.
    Done {
        child: ChildId,
        order: OrderId,
        life: u32,
    },
    /// A child has started.
    Begun {
        child: ChildId,
        life: u32,
    },
    /// The spool's child may name more snapshots.
    Names {
        life: u32,
    },
    Publish,
    Fault(Fault),
}

pub(crate) struct World {
    plan: Plan,
    rng: fastrand::Rng,
    start: Instant,
    now: Instant,
    epoch: u64,
    core: Core,
    /// Counts the lives of the parent: what is on its way to an earlier one is lost.
    life: u32,
    is_over: bool,
    restarts: bool,
    crash_after: Option<u32>,
    coming: BTreeMap<(Instant, u64), Coming>,
    sequence: u64,
    children: BTreeMap<ChildId, Child>,
    descriptors: HashMap<Descriptor, Uid>,
    last_descriptor: u64,
    spool: BTreeMap<Timestamp, Snapshot>,
    /// Names that the spool's child has not told yet, and whether it may.
    untold: BTreeSet<Timestamp>,
    may_tell: bool,
    disk: Disk,
    outbox_hangs: bool,
    spool_hangs: bool,
    moods: Vec<Mood>,
    last_uid: Uid,
    ledger: Ledger,
    mutant: Option<Mutant>,
    /// For mutants: what they have changed so far.
    pub(crate) altered: u32,
    publish_at: BTreeMap<Uid, Instant>,
    /// Whether the outbox's child of this life has told what it holds.
    is_outbox_listed: bool,
}

impl World {
    /// Runs a plan to its end.
    pub(crate) fn run(plan: &Plan) -> Result<(), String> {
        Self::run_for(plan).map(|_| ())
    }

    /// Runs a plan to its end and hands out the ledger.
    pub(crate) fn run_for(plan: &Plan) -> Result<Ledger, String> {
        let mut world = Self::new(plan);
        world.begin_life();
        for (at, fault) in &plan.faults {
            world.later(*at, Coming::Fault(*fault));
        }
        world.later(Duration::ZERO, Coming::Publish);
        let (mut is_healed, mut steps) = (false, 0_u64);
        loop {
            if let Some(rule) = world.ledger.broken.take() {
                return Err(rule);
            }
            steps += 1;
            if steps > 2_000_000 {
                return Err("it never comes to rest".to_owned());
            }
            let since = world.now - world.start;
            if since > SPAN && !is_healed {
                is_healed = true;
                world.heal();
            }
            if is_healed && world.is_at_rest() {
                return world.judge().map(|()| world.ledger);
            }
            if since > PATIENCE {
                return Err(format!("it is not at rest: {}", world.state()));
            }
            world.advance();
        }
    }

    fn new(plan: &Plan) -> Self {
        let now = Instant::now();
        let epoch = 1_700_000_000;
        let core = Core::new(settings(plan, 0), Now { monotonic: now, epoch_seconds: epoch });
        Self {
            plan: plan.clone(),
            rng: fastrand::Rng::with_seed(plan.seed ^ 0x5eed),
            start: now,
            now,
            epoch,
            core,
            life: 0,
            is_over: false,
            restarts: true,
            crash_after: None,
            coming: BTreeMap::new(),
            sequence: 0,
            children: BTreeMap::new(),
            descriptors: HashMap::new(),
            last_descriptor: 0,
            spool: BTreeMap::new(),
            untold: BTreeSet::new(),
            may_tell: false,
            disk: Disk::default(),
            outbox_hangs: false,
            spool_hangs: false,
            moods: vec![Mood::Up; plan.receivers],
            last_uid: 0,
            ledger: Ledger::new(plan.receivers, plan.origins),
            mutant: plan.mutant,
            altered: 0,
            publish_at: BTreeMap::new(),
            is_outbox_listed: false,
        }
    }

    fn later(&mut self, after: Duration, coming: Coming) {
        self.sequence += 1;
        self.coming.insert((self.now + after, self.sequence), coming);
    }

    fn event_later(&mut self, after: Duration, event: Event) {
        let life = self.life;
        self.later(after, Coming::Event { event, life });
    }

    fn millis(&mut self, most: u64) -> Duration {
        Duration::from_millis(self.rng.u64(0..=most))
    }

    /// Goes to the next moment at which something happens.
    fn advance(&mut self) {
        let next = self.coming.first_key_value().map(|((at, _), _)| *at);
        let is_deaf = self.mutant == Some(Mutant::LostWakeUp);
        let deadline = if is_deaf || self.is_over { None } else { self.core.deadline() };
        match (next, deadline) {
            (Some(next), Some(deadline)) if deadline < next => self.tick(deadline),
            (Some(_), _) => {
                let Some(((at, _), coming)) = self.coming.pop_first() else { return };
                self.now = self.now.max(at);
                self.happen(coming);
            }
            (None, Some(deadline)) => self.tick(deadline),
            (None, None) => self.now += Duration::from_secs(60),
        }
    }

    fn tick(&mut self, at: Instant) {
        self.now = self.now.max(at);
        self.step(Event::Tick);
    }

    fn happen(&mut self, coming: Coming) {
        match coming {
            Coming::Event { event, life } if life == self.life => self.step(event),
            Coming::Done { child, order, life } if life == self.life => self.done(child, order),
            Coming::Begun { child, life } if life == self.life => self.begun(child),
            Coming::Names { life } if life == self.life => self.tell(),
            Coming::Publish => self.publish(),
            Coming::Fault(fault) => self.strike(fault),
            Coming::Event { .. }
            | Coming::Done { .. }
            | Coming::Begun { .. }
            | Coming::Names { .. } => {}
        }
    }

    fn step(&mut self, event: Event) {
        if self.is_over {
            return;
        }
        let seconds = (self.now - self.start).as_secs();
        let now = Now { monotonic: self.now, epoch_seconds: self.epoch + seconds };
        let actions = self.core.step(now, event);
        for action in actions {
            if let Some(left) = &mut self.crash_after {
                if *left == 0 {
                    self.crash_after = None;
                    return self.crash_parent(false);
                }
                *left -= 1;
            }
            self.act(action);
        }
        // Those in memory, and those of each backlog: in flight, and one that was read ahead.
        let held = self.plan.receivers * (self.plan.flights + 1);
        let most = PENDING_MAX + self.plan.workers + held;
        let open = self.descriptors.len();
        if open > most {
            self.ledger.break_rule(|| format!("{open} descriptors are open, {most} are allowed"));
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Start { child, role } => {
                let jobs = Vec::new();
                let started = Child { role, jobs, is_hung: false, is_killed: false };
                self.children.insert(child, started);
                let (life, after) = (self.life, self.millis(20));
                self.later(after, Coming::Begun { child, life });
            }
            Action::Order { child, id, order, descriptor } => {
                self.ordered(child, id, order, descriptor);
            }
            Action::Hangup(child) => self.end_child(child, Death::Asked),
            Action::Kill(child) => {
                if let Some(child) = self.children.get_mut(&child) {
                    child.is_killed = true;
                }
                self.end_child(child, Death::Killed);
            }
            Action::Close(descriptor) => {
                if self.descriptors.remove(&descriptor).is_none() {
                    self.ledger.break_rule(|| format!("{descriptor:?} is closed twice"));
                }
            }
            Action::End(result) => {
                if let Err(failure) = result {
                    self.ledger.break_rule(|| format!("the program ended: {failure:?}"));
                }
                self.is_over = true;
                if self.restarts {
                    self.crash_parent(false);
                }
            }
            Action::Log(_) | Action::Ready | Action::Status(_) | Action::Stopping => {}
        }
    }

    /// The parent dies with its children, and is started again.
    fn crash_parent(&mut self, is_power_cut: bool) {
        for (receiver, counted) in self.ledger.counted.iter_mut().enumerate() {
            *counted += self.core.dropped_points(receiver);
        }
        let ids: Vec<_> = self.children.keys().copied().collect();
        for id in ids {
            if let Some(child) = self.children.get_mut(&id) {
                child.is_hung = false;
            }
            self.end_child(id, Death::Asked);
        }
        if is_power_cut {
            let rng = &mut self.rng;
            self.disk.cut_power(|| rng.bool());
        }
        self.descriptors.clear();
        self.begin_life();
    }

    fn begin_life(&mut self) {
        self.life += 1;
        self.is_over = false;
        self.crash_after = None;
        self.may_tell = false;
        self.is_outbox_listed = false;
        let seconds = (self.now - self.start).as_secs();
        let now = Now { monotonic: self.now, epoch_seconds: self.epoch + seconds };
        let seed = self.plan.seed.wrapping_add(self.life.into());
        self.core = Core::new(settings(&self.plan, seed), now);
        self.event_later(Duration::ZERO, Event::Tick);
    }

    fn heal(&mut self) {
        self.strike(Fault::OutboxWorks);
        self.strike(Fault::SpoolWorks);
        (0..self.plan.receivers).for_each(|receiver| self.set_mood(receiver, Mood::Up));
        self.crash_after = None;
        self.coming.retain(|_, coming| !matches!(coming, Coming::Fault(_)));
    }

    fn is_at_rest(&self) -> bool {
        self.spool.is_empty()
            && self.descriptors.is_empty()
            && self.disk.is_empty()
            && self.children.values().all(|child| child.jobs.is_empty())
    }

    fn judge(&mut self) -> Result<(), String> {
        for (receiver, counted) in self.ledger.counted.iter_mut().enumerate() {
            *counted += self.core.dropped_points(receiver);
        }
        self.ledger.verdict()
    }

    fn state(&self) -> String {
        let held: Vec<usize> = self.disk.list().iter().map(|(_, held)| held.len()).collect();
        let (spool, open) = (self.spool.len(), self.descriptors.len());
        let children = self.core.summary();
        format!("{spool} in the spool, {held:?} held, {open} descriptors, {children}")
    }
}

fn folder(receiver: usize) -> String {
    format!("r{receiver}")
}

fn refused() -> Reply {
    Reply::Refused { reason: "down".to_owned() }
}

fn delivered() -> Reply {
    Reply::Delivered
}

fn settings(plan: &Plan, seed: u64) -> Settings {
    let receiver = |index| ReceiverSettings {
        name: folder(index),
        prefix: String::new(),
        is_local_store: false,
        circuit: CircuitSettings {
            retries: Retries::Times(3),
            interval: Duration::from_millis(1800),
            backoff: 2.0,
            delay: Duration::from_secs(10),
        },
        outbox_bytes: plan.outbox_bytes,
        outbox_points: None,
        replay_rate: plan.replay_rate,
        flights: plan.flights,
        sync: true,
        takes_figures: true,
        send_limit: Duration::from_secs(60),
        end_grace: Duration::from_secs(2),
    };
    Settings {
        workers: plan.workers,
        folds_in_order: plan.folds_in_order,
        fold_limit: Duration::from_secs(300),
        look_interval: Duration::from_secs(10),
        receivers: (0..plan.receivers).map(receiver).collect(),
        src_dir: "incoming".to_owned(),
        failed_dir: "failed".to_owned(),
        seed,
    }
}
