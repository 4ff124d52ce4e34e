//! The simulated world around the core: children, disks, receivers and a clock.

mod injection;
mod work;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use config::Retries;
use haproxystats_processor::core::{
    Action, ChildId, CircuitSettings, Core, CoreSettings, Death, Descriptor, Event, Now, Order,
    OrderId, PENDING_MAX, ReceiverSettings, Reply, Role,
};
use model::Timestamp;

use crate::disk::{Disk, ENTRY_BYTES};
use crate::faults::{self, Fault};
use crate::ledger::{Ledger, Uid};
use crate::mutants::Mutant;

const SPAN: Duration = Duration::from_secs(200);
/// The time after which every published snapshot must be settled.
const PATIENCE: Duration = Duration::from_secs(4 * 3600);
const NAMES_MAX: usize = 64;

/// The parameters of a run.
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
    pub(crate) in_flight_max: usize,
    pub(crate) replay_rate: u64,
    /// Percentage of snapshots that cannot simply be folded and sent.
    pub(crate) trouble: u8,
    pub(crate) faults: Vec<(Duration, Fault)>,
    pub(crate) mutant: Option<Mutant>,
    /// This receiver must get every snapshot within a second of its publication.
    pub(crate) prompt_receiver: Option<usize>,
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
            outbox_bytes: match rng.u8(0..6) {
                0 => 8 * ENTRY_BYTES,
                1 => 1,
                _ => u64::MAX,
            },
            folds_in_order: rng.bool(),
            origins: rng.u64(1..4),
            batch_bytes: if rng.u8(0..4) == 0 { 20 << 20 } else { 1000 },
            in_flight_max: rng.usize(1..5),
            replay_rate: if rng.bool() { 0 } else { 1000 },
            trouble: if rng.bool() { 0 } else { 10 },
            faults: faults::draw(&mut rng, receivers, SPAN),
            mutant: None,
            prompt_receiver: None,
        }
    }
}

/// The effect that a snapshot has on the children that work on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SnapshotKind {
    Good,
    ChildCrash,
    SenderCrash,
    Rejection,
    Unusable,
    Unreadable { times: u32 },
    Removal,
}

#[derive(Debug, Clone)]
struct Snapshot {
    uid: Uid,
    has_manifest: bool,
    kind: SnapshotKind,
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
    /// The child hangs in the kernel, on a disk: no signal ends it.
    is_hung: bool,
    is_killed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReceiverState {
    Up,
    Down,
    Slow,
}

/// An incident that is planned for a moment.
#[derive(Debug)]
enum Incident {
    Event {
        event: Event,
        life: u32,
    },
    /// A child has carried out its order.
    OrderEnd {
        child: ChildId,
        order: OrderId,
        life: u32,
    },
    /// A child has started.
    ChildStart {
        child: ChildId,
        life: u32,
    },
    /// The spool child may name more snapshots.
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
    /// The number of the parent's life. Incidents of an earlier life are ignored.
    life: u32,
    is_over: bool,
    crash_after: Option<u32>,
    incidents: BTreeMap<(Instant, u64), Incident>,
    sequence: u64,
    children: BTreeMap<ChildId, Child>,
    descriptors: HashMap<Descriptor, Uid>,
    last_descriptor: u64,
    spool: BTreeMap<Timestamp, Snapshot>,
    /// Names that the spool child has not sent yet, and whether it may send more.
    unnamed: BTreeSet<Timestamp>,
    may_name: bool,
    disk: Disk,
    outbox_hangs: bool,
    spool_hangs: bool,
    receivers: Vec<ReceiverState>,
    last_uid: Uid,
    ledger: Ledger,
    mutant: Option<Mutant>,
    published_at: BTreeMap<Uid, Instant>,
    /// Whether the outbox child of this life has sent its list.
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
            world.later(*at, Incident::Fault(*fault));
        }
        world.later(Duration::ZERO, Incident::Publish);
        let (mut is_healed, mut steps) = (false, 0_u64);
        loop {
            if let Some(rule) = world.ledger.broken.take() {
                return Err(rule);
            }
            steps += 1;
            if steps > 2_000_000 {
                return Err("the world never comes to rest".to_owned());
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
                return Err(format!("the world is not at rest: {}", world.state()));
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
            crash_after: None,
            incidents: BTreeMap::new(),
            sequence: 0,
            children: BTreeMap::new(),
            descriptors: HashMap::new(),
            last_descriptor: 0,
            spool: BTreeMap::new(),
            unnamed: BTreeSet::new(),
            may_name: false,
            disk: Disk::default(),
            outbox_hangs: false,
            spool_hangs: false,
            receivers: vec![ReceiverState::Up; plan.receivers],
            last_uid: 0,
            ledger: Ledger::new(plan.receivers, plan.origins),
            mutant: plan.mutant,
            published_at: BTreeMap::new(),
            is_outbox_listed: false,
        }
    }

    fn later(&mut self, after: Duration, incident: Incident) {
        self.sequence += 1;
        self.incidents.insert((self.now + after, self.sequence), incident);
    }

    fn event_later(&mut self, after: Duration, event: Event) {
        let life = self.life;
        self.later(after, Incident::Event { event, life });
    }

    fn millis(&mut self, most: u64) -> Duration {
        Duration::from_millis(self.rng.u64(0..=most))
    }

    /// Goes to the next incident or deadline.
    fn advance(&mut self) {
        let next = self.incidents.first_key_value().map(|((at, _), _)| *at);
        let is_lost = self.mutant == Some(Mutant::LostWakeUp);
        let deadline = if is_lost || self.is_over { None } else { self.core.deadline() };
        match (next, deadline) {
            (Some(next), Some(deadline)) if deadline < next => self.tick(deadline),
            (Some(_), _) => {
                let Some(((at, _), incident)) = self.incidents.pop_first() else { return };
                self.now = self.now.max(at);
                self.happen(incident);
            }
            (None, Some(deadline)) => self.tick(deadline),
            (None, None) => self.now += Duration::from_secs(60),
        }
    }

    fn tick(&mut self, at: Instant) {
        self.now = self.now.max(at);
        self.step(Event::Tick);
    }

    fn happen(&mut self, incident: Incident) {
        match incident {
            Incident::Event { event, life } if life == self.life => self.step(event),
            Incident::OrderEnd { child, order, life } if life == self.life => {
                self.end_order(child, order)
            }
            Incident::ChildStart { child, life } if life == self.life => self.start_child(child),
            Incident::Names { life } if life == self.life => self.name_snapshots(),
            Incident::Publish => self.publish(),
            Incident::Fault(fault) => self.inject(fault),
            Incident::Event { .. }
            | Incident::OrderEnd { .. }
            | Incident::ChildStart { .. }
            | Incident::Names { .. } => {}
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
        // Batches in memory, and of each backlog those in flight and one that was read ahead.
        let held = self.plan.receivers * (self.plan.in_flight_max + 1);
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
                self.later(after, Incident::ChildStart { child, life });
            }
            Action::Order { child, id, order, descriptor } => {
                self.ordered(child, id, order, descriptor);
            }
            Action::Hangup(child) => self.end_child(child, Death::Terminated),
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
                self.crash_parent(false);
            }
            Action::Log(_) | Action::Ready | Action::Status(_) | Action::Stopping => {}
        }
    }

    /// Ends the parent and its children, and starts the parent again.
    fn crash_parent(&mut self, is_power_cut: bool) {
        for (receiver, counted) in self.ledger.counted.iter_mut().enumerate() {
            *counted += self.core.dropped_points(receiver);
        }
        let ids: Vec<_> = self.children.keys().copied().collect();
        for id in ids {
            if let Some(child) = self.children.get_mut(&id) {
                child.is_hung = false;
            }
            self.end_child(id, Death::Terminated);
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
        self.may_name = false;
        self.is_outbox_listed = false;
        let seconds = (self.now - self.start).as_secs();
        let now = Now { monotonic: self.now, epoch_seconds: self.epoch + seconds };
        let seed = self.plan.seed.wrapping_add(self.life.into());
        self.core = Core::new(settings(&self.plan, seed), now);
        self.event_later(Duration::ZERO, Event::Tick);
    }

    fn heal(&mut self) {
        self.inject(Fault::OutboxWorks);
        self.inject(Fault::SpoolWorks);
        self.receivers.fill(ReceiverState::Up);
        self.crash_after = None;
        self.incidents.retain(|_, incident| !matches!(incident, Incident::Fault(_)));
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
        let held: Vec<usize> = self.disk.list().iter().map(|folder| folder.files.len()).collect();
        let (spool, open) = (self.spool.len(), self.descriptors.len());
        let children = self.core.summary();
        format!("{spool} in the spool, {held:?} held, {open} descriptors, {children}")
    }
}

fn folder(receiver: usize) -> String {
    format!("r{receiver}")
}

fn refused() -> Reply {
    Reply::Refused { reason: "down".to_owned(), wait: None }
}

fn settings(plan: &Plan, seed: u64) -> CoreSettings {
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
        in_flight_max: plan.in_flight_max,
        sync: true,
        takes_figures: true,
        send_limit: Duration::from_secs(60),
        end_grace: Duration::from_secs(2),
    };
    CoreSettings {
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
