//! The world around the core: children, disks, receivers and a clock, all simulated.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use config::Retries;
use haproxystats_processor::core::{
    Action, CRASHES_MAX, Cause, ChildId, CircuitSettings, Core, Death, Descriptor, Event, Findings,
    KILLS_MAX, Now, Order, OrderId, PENDING_MAX, ReceiverSettings, Reply, Role, Settings,
    UNREADABLE_MAX,
};
use haproxystats_processor::entry::EntryName;
use model::{SnapshotId, Timestamp};

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
struct Child {
    role: Role,
    job: Option<(OrderId, Order, Option<Uid>)>,
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
        let mut world = Self::new(plan);
        world.begin_life();
        for (at, fault) in &plan.faults {
            world.later(*at, Coming::Fault(*fault));
        }
        world.later(Duration::ZERO, Coming::Publish);
        let (mut is_healed, mut steps) = (false, 0_u64);
        loop {
            if world.ledger.broken.is_some() {
                return world.ledger.verdict();
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
                return world.judge();
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
            ledger: Ledger::new(plan.receivers),
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
        let most = PENDING_MAX + self.plan.workers + self.plan.receivers;
        let open = self.descriptors.len();
        if open > most {
            self.ledger.break_rule(|| format!("{open} descriptors are open, {most} are allowed"));
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Start { child, role } => {
                let job = None;
                let started = Child { role, job, is_hung: false, is_killed: false };
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

    fn begun(&mut self, id: ChildId) {
        let Some(child) = self.children.get_mut(&id) else { return };
        let role = child.role;
        let hangs = match role {
            Role::Outbox => self.outbox_hangs,
            Role::Spool => self.spool_hangs,
            Role::Fold(_) | Role::Send(_) => false,
        };
        if hangs {
            child.is_hung = true;
            return;
        }
        if self.rng.u8(0..50) == 0 {
            self.children.remove(&id);
            return self.step(Event::Unstarted { child: id, reason: "no memory".to_owned() });
        }
        self.step(Event::Started { child: id, pid: 1 });
        let mut replies = Vec::new();
        match role {
            Role::Outbox => {
                for (folder, entries) in self.disk.list() {
                    for part in entries.chunks(3) {
                        let (folder, entries) = (folder.clone(), part.to_vec());
                        replies.push(Reply::Listed { folder, entries });
                    }
                }
            }
            Role::Spool => {
                self.untold = self.spool.keys().cloned().collect();
                self.may_tell = true;
            }
            Role::Fold(_) | Role::Send(_) => {}
        }
        self.is_outbox_listed |= role == Role::Outbox;
        replies.push(Reply::Ready);
        for reply in replies {
            self.step(Event::Reply { child: id, order: None, reply, descriptor: None });
        }
        if role == Role::Spool {
            self.tell();
        }
    }

    fn spool_child(&self) -> Option<ChildId> {
        let is_spool = |child: &Child| child.role == Role::Spool && !child.is_hung;
        self.children.iter().find(|(_, child)| is_spool(child)).map(|(id, _)| *id)
    }

    /// Has the spool's child name what it has not named yet.
    fn tell(&mut self) {
        let Some(child) = self.spool_child() else { return };
        if !self.may_tell || self.untold.is_empty() {
            return;
        }
        self.may_tell = false;
        let snapshots: Vec<_> = self.untold.iter().take(NAMES_MAX).cloned().collect();
        snapshots.iter().for_each(|name| {
            self.untold.remove(name);
        });
        let reply = Reply::Found { snapshots };
        self.step(Event::Reply { child, order: None, reply, descriptor: None });
    }

    fn publish(&mut self) {
        if self.now - self.start < SPAN {
            let interval = self.plan.interval;
            self.later(interval, Coming::Publish);
        }
        let second = self.epoch + (self.now - self.start).as_secs();
        let name = Timestamp::of_seconds(second);
        // As pull does: no snapshot ever takes the place of another.
        if self.spool.contains_key(&name) {
            return;
        }
        self.last_uid += 1;
        let uid = self.last_uid;
        let temper = if self.rng.u8(0..100) < self.plan.trouble {
            match self.rng.u8(0..4) {
                0 => Temper::CrashesItsChild,
                1 => Temper::Unusable,
                2 => Temper::Unreadable { times: self.rng.u32(1..15) },
                _ => Temper::Vanishes,
            }
        } else {
            Temper::Good
        };
        let has_manifest = self.rng.u8(0..4) > 0;
        let snapshot = Snapshot { uid, has_manifest, temper, published: self.now };
        self.spool.insert(name.clone(), snapshot);
        self.ledger.published.insert(uid, second);
        self.publish_at.insert(uid, self.now);
        self.untold.insert(name);
        self.tell();
    }

    fn ordered(
        &mut self,
        id: ChildId,
        order_id: OrderId,
        order: Order,
        descriptor: Option<Descriptor>,
    ) {
        if order == Order::Continue {
            self.may_tell = true;
            // Not within this step: the core is still being asked.
            let life = self.life;
            return self.later(Duration::ZERO, Coming::Names { life });
        }
        let uid = descriptor.and_then(|descriptor| self.descriptors.get(&descriptor).copied());
        if matches!(order, Order::Send | Order::Hold { .. }) && uid.is_none() {
            self.ledger.break_rule(|| format!("{order:?} comes with no open descriptor"));
        }
        if let (Some(Mutant::EarlyRelease), Order::Hold { .. }, Some(uid)) =
            (self.mutant, &order, uid)
        {
            // The snapshot goes before its batch is on the disk.
            self.spool.retain(|_, snapshot| snapshot.uid != uid);
            self.altered += 1;
        }
        let (hangs, most) = match &order {
            Order::Fold { .. } => (false, 30),
            Order::Send | Order::SendOwn { .. } => (false, 0),
            Order::Hold { .. }
            | Order::Load { .. }
            | Order::Drop { .. }
            | Order::Quarantine { .. } => (self.outbox_hangs, 30),
            Order::Release { .. } | Order::GiveUp { .. } | Order::Inspect => (self.spool_hangs, 20),
            Order::Continue => (false, 0),
        };
        let mut after = self.millis(most);
        let Some(child) = self.children.get_mut(&id) else { return };
        if child.job.is_some() {
            self.ledger.break_rule(|| format!("{id:?} has two orders"));
            return;
        }
        if let Role::Send(receiver) = child.role {
            after = match self.moods.get(receiver) {
                Some(Mood::Slow) => Duration::from_millis(self.rng.u64(100..8000)),
                Some(Mood::Down) => Duration::from_millis(self.rng.u64(0..1000)),
                _ => Duration::from_millis(self.rng.u64(0..8)),
            };
        }
        child.job = Some((order_id, order, uid));
        if hangs {
            child.is_hung = true;
            return;
        }
        let life = self.life;
        self.later(after, Coming::Done { child: id, order: order_id, life });
    }

    /// A child has done what it was ordered, unless it died meanwhile.
    fn done(&mut self, id: ChildId, order_id: OrderId) {
        let Some(child) = self.children.get_mut(&id) else { return };
        let Some((_, order, uid)) = child.job.take_if(|job| job.0 == order_id) else { return };
        let role = child.role;
        let (reply, content) = match self.effect(role, &order, uid, false) {
            Ok(done) => done,
            Err(death) => {
                self.children.remove(&id);
                return self.step(Event::Ended { child: id, death });
            }
        };
        let descriptor = content.map(|uid| {
            self.last_descriptor += 1;
            let descriptor = Descriptor(self.last_descriptor);
            self.descriptors.insert(descriptor, uid);
            descriptor
        });
        self.step(Event::Reply { child: id, order: Some(order_id), reply, descriptor });
        if role == Role::Spool {
            self.tell();
        }
    }

    /// What an order does to the world. A child that dies may leave the order half done.
    fn effect(
        &mut self,
        role: Role,
        order: &Order,
        uid: Option<Uid>,
        is_cut: bool,
    ) -> Result<(Reply, Option<Uid>), Death> {
        match order {
            Order::Fold { snapshot } => self.fold(snapshot),
            Order::Send => {
                let Role::Send(receiver) = role else { return Err(Death::Crashed) };
                Ok((self.send(receiver, uid.unwrap_or_default(), is_cut), None))
            }
            Order::SendOwn { .. } => {
                let Role::Send(receiver) = role else { return Err(Death::Crashed) };
                let is_down = self.moods.get(receiver) == Some(&Mood::Down);
                Ok((if is_down { refused() } else { delivered() }, None))
            }
            Order::Hold { entry, folders, sync } => {
                Ok((self.hold(entry, folders, *sync, uid.unwrap_or_default(), is_cut), None))
            }
            Order::Load { folder, entry } => Ok(self.load(folder, entry)),
            Order::Drop { folder, entries } => {
                if self.mutant == Some(Mutant::UnboundedOutbox) {
                    self.altered += 1;
                } else {
                    let all = entries.len();
                    let count = if is_cut { self.rng.usize(0..=all) } else { all };
                    self.disk.drop(folder, entries.get(..count).unwrap_or_default());
                }
                Ok((Reply::Dropped { failure: None }, None))
            }
            Order::Quarantine { folder, entry } => {
                self.disk.drop(folder, std::slice::from_ref(entry));
                Ok((Reply::Dropped { failure: None }, None))
            }
            Order::Release { snapshot, identity } => {
                if self.spool.get(snapshot).is_some_and(|standing| standing.uid == *identity) {
                    self.spool.remove(snapshot);
                }
                Ok((Reply::Released { undeleted: None }, None))
            }
            Order::GiveUp { snapshot, .. } => {
                self.give_up(snapshot);
                Ok((Reply::GivenUp { removed: 0 }, None))
            }
            Order::Inspect => {
                let (waiting, oldest) =
                    (self.spool.len() as u64, self.spool.keys().next().cloned());
                Ok((Reply::Inspected { waiting, oldest, undeleted: 0, reason: None }, None))
            }
            Order::Continue => Err(Death::Crashed),
        }
    }

    fn fold(&mut self, name: &Timestamp) -> Result<(Reply, Option<Uid>), Death> {
        let unfolded = |cause| Ok((Reply::Unfolded { cause, reason: "simulated".into() }, None));
        let Some(snapshot) = self.spool.get_mut(name) else { return unfolded(Cause::Missing) };
        let uid = snapshot.uid;
        if self.mutant == Some(Mutant::DoubleAttempt)
            && self.ledger.crashes.get(&uid).is_some_and(|crashes| *crashes == 1)
            && snapshot.temper == Temper::Good
        {
            self.altered += 1;
            return Err(Death::Crashed);
        }
        match snapshot.temper {
            Temper::Good => {
                let id = SnapshotId {
                    origin: "host".to_owned(),
                    timestamp: name.clone(),
                    serial: if snapshot.has_manifest { uid } else { 0 },
                };
                let findings = Findings::default();
                let (points, bytes, identity) = (1, 1000, uid);
                Ok((Reply::Folded { id, identity, points, bytes, findings }, Some(uid)))
            }
            Temper::CrashesItsChild => {
                *self.ledger.crashes.entry(uid).or_default() += 1;
                Err(Death::Crashed)
            }
            Temper::Unusable => unfolded(Cause::Unusable),
            Temper::Unreadable { times } => {
                *self.ledger.unreadable.entry(uid).or_default() += 1;
                let left = times.saturating_sub(1);
                snapshot.temper =
                    if left == 0 { Temper::Good } else { Temper::Unreadable { times: left } };
                unfolded(Cause::Unreadable)
            }
            Temper::Vanishes => {
                self.spool.remove(name);
                self.ledger.gone.insert(uid);
                unfolded(Cause::Missing)
            }
        }
    }

    fn send(&mut self, receiver: usize, uid: Uid, is_cut: bool) -> Reply {
        let mood = self.moods.get(receiver).copied().unwrap_or(Mood::Up);
        // While nobody knows what the outbox holds, a second of it may be overtaken.
        if !self.is_outbox_listed
            && let Some(second) = self.ledger.published.get(&uid)
        {
            self.ledger.excused.insert(*second);
        }
        // A receiver can have the whole batch and not say so.
        let arrives = match mood {
            Mood::Down => self.rng.u8(0..5) == 0,
            Mood::Up | Mood::Slow => !is_cut || self.rng.bool(),
        };
        let is_first = self.ledger.delivered.get(receiver).is_some_and(|got| !got.contains(&uid));
        if arrives && let Some(delivered) = self.ledger.delivered.get_mut(receiver) {
            delivered.push(uid);
        }
        if mood == Mood::Down {
            return refused();
        }
        if is_first
            && self.plan.prompt == Some(receiver)
            && let Some(published) = self.publish_at.get(&uid)
        {
            let took = self.now - *published;
            if took > Duration::from_secs(1) {
                self.ledger.break_rule(|| format!("receiver {receiver} got {uid} after {took:?}"));
            }
        }
        delivered()
    }

    fn hold(
        &mut self,
        entry: &EntryName,
        folders: &[String],
        sync: bool,
        uid: Uid,
        is_cut: bool,
    ) -> Reply {
        let all = folders.len();
        let done = if is_cut { self.rng.usize(0..=all) } else { all };
        match self.disk.hold(uid, entry, folders, sync && !is_cut, done) {
            Ok(()) => Reply::Held { size_bytes: ENTRY_BYTES },
            Err(None) => Reply::Unheld { reason: "no space".to_owned() },
            Err(Some(broken)) => {
                self.ledger.break_rule(|| broken);
                Reply::Held { size_bytes: ENTRY_BYTES }
            }
        }
    }

    fn load(&mut self, folder: &str, entry: &EntryName) -> (Reply, Option<Uid>) {
        if self.mutant == Some(Mutant::LanesOutOfOrder) {
            self.altered += u32::from(self.disk.swap_with_later(folder, entry));
        }
        match self.disk.load(folder, entry) {
            Some(uid) => (Reply::Loaded, Some(uid)),
            None => (Reply::Unloaded { cause: Cause::Missing, reason: "missing".to_owned() }, None),
        }
    }

    fn give_up(&mut self, name: &Timestamp) {
        let Some(snapshot) = self.spool.remove(name) else { return };
        let uid = snapshot.uid;
        let count = |counts: &BTreeMap<Uid, u32>| counts.get(&uid).copied().unwrap_or_default();
        let ledger = &self.ledger;
        let may = snapshot.temper == Temper::Unusable
            || count(&ledger.crashes) >= CRASHES_MAX
            || count(&ledger.kills) >= KILLS_MAX
            || count(&ledger.unreadable) >= UNREADABLE_MAX;
        if !may {
            let age = self.now - snapshot.published;
            self.ledger.break_rule(|| format!("{uid} was given up without need after {age:?}"));
        }
        self.ledger.gone.insert(uid);
    }

    /// Ends a child, unless it hangs in the kernel. Its order may be done, half done or not done.
    fn end_child(&mut self, id: ChildId, death: Death) {
        let Some(child) = self.children.get(&id) else { return };
        if child.is_hung {
            return;
        }
        let Some(child) = self.children.remove(&id) else { return };
        if let Some((_, order, uid)) = child.job {
            match &order {
                Order::Fold { snapshot } => {
                    if let Some(snapshot) = self.spool.get(snapshot) {
                        let counts = match death {
                            Death::Killed if child.is_killed => Some(&mut self.ledger.crashes),
                            Death::Killed => Some(&mut self.ledger.kills),
                            Death::Crashed => Some(&mut self.ledger.crashes),
                            Death::Asked | Death::Overdue => None,
                        };
                        if let Some(counts) = counts {
                            *counts.entry(snapshot.uid).or_default() += 1;
                        }
                    }
                }
                order if self.rng.bool() => {
                    let _ = self.effect(child.role, order, uid, true);
                }
                _ => {}
            }
        }
        self.event_later(Duration::ZERO, Event::Ended { child: id, death });
    }

    fn strike(&mut self, fault: Fault) {
        match fault {
            Fault::CrashChild | Fault::KillChild => {
                let ids: Vec<_> = self.children.keys().copied().collect();
                if let Some(id) = self.rng.choice(&ids) {
                    let is_crash = fault == Fault::CrashChild;
                    self.end_child(*id, if is_crash { Death::Crashed } else { Death::Killed });
                }
            }
            Fault::CrashParent { after_actions } => self.crash_after = Some(after_actions),
            Fault::PowerCut => self.crash_parent(true),
            Fault::Restart => self.step(Event::Shutdown { signal: "SIGTERM" }),
            Fault::ReceiverDown(receiver) => self.set_mood(receiver, Mood::Down),
            Fault::ReceiverSlow(receiver) => self.set_mood(receiver, Mood::Slow),
            Fault::ReceiverUp(receiver) => self.set_mood(receiver, Mood::Up),
            Fault::OutboxFull => self.disk.is_full = true,
            Fault::OutboxHangs => self.outbox_hangs = true,
            Fault::OutboxWorks => {
                (self.disk.is_full, self.outbox_hangs) = (false, false);
                self.thaw(|role| role == Role::Outbox);
            }
            Fault::SpoolHangs => self.spool_hangs = true,
            Fault::SpoolWorks => {
                self.spool_hangs = false;
                self.thaw(|role| role == Role::Spool);
            }
            Fault::ClockBack { seconds } => self.epoch -= seconds,
        }
    }

    fn set_mood(&mut self, receiver: usize, mood: Mood) {
        if let Some(known) = self.moods.get_mut(receiver) {
            *known = mood;
        }
    }

    /// A disk that hung works again: what hung on it goes on, or ends if it was killed.
    fn thaw(&mut self, is_on_it: impl Fn(Role) -> bool) {
        let life = self.life;
        let hung: Vec<ChildId> = self
            .children
            .iter()
            .filter(|(_, child)| child.is_hung && is_on_it(child.role))
            .map(|(id, _)| *id)
            .collect();
        for id in hung {
            let Some(child) = self.children.get_mut(&id) else { continue };
            child.is_hung = false;
            if child.is_killed {
                self.end_child(id, Death::Killed);
            } else if let Some((order, ..)) = child.job {
                self.later(Duration::ZERO, Coming::Done { child: id, order, life });
            } else {
                self.later(Duration::ZERO, Coming::Begun { child: id, life });
            }
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
            && self.children.values().all(|child| child.job.is_none())
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
    Reply::Delivered { findings: Findings::default() }
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
        replay_rate: 1000,
        sync: true,
        takes_figures: true,
        send_limit: Duration::from_secs(60),
        end_grace: Duration::from_secs(2),
    };
    Settings {
        workers: plan.workers,
        fold_limit: Duration::from_secs(300),
        look_interval: Duration::from_secs(10),
        receivers: (0..plan.receivers).map(receiver).collect(),
        src_dir: "incoming".to_owned(),
        failed_dir: "failed".to_owned(),
        seed,
    }
}
