//! The decisions of haproxystats-process: a pure state machine.
//!
//! [`Core::step`] takes one event and answers with actions. It has no clock, no descriptor, no disk
//! and no network. The shell around it has them, with one child process for each thing that can
//! block, hang or crash. The same core runs in the simulator.
//!
//! A snapshot is folded once. Its batch is owed to every receiver until the receiver is settled:
//! the batch is delivered, held in the receiver's outbox, or dropped and counted. When no receiver
//! is owed anything, the snapshot is released.

mod children;
mod circuit;
mod delivery;
mod doubt;
mod ending;
mod fold;
mod journal;
mod life;
mod notice;
mod outbox;
mod queue;
mod receiver;
mod report;
mod spool;
mod types;
mod vitals;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use model::{SnapshotId, Timestamp};

pub use children::{KILL_LIMIT, START_LIMIT};
pub use circuit::CircuitSettings;
pub use notice::{Level, Notice};
pub use queue::{CRASHES_MAX, KILLS_MAX, UNREADABLE_MAX, WAITING_MAX};
pub use receiver::{REJECTIONS_MAX, ReceiverSettings, SENDER_DEATHS_MAX};
pub use types::{
    Action, Cause, ChildId, Death, Descriptor, Event, FINDINGS_MAX, Finding, FindingKind, Findings,
    Folder, Now, Order, OrderId, OutboxFile, Reply, Role, StartFailure,
};
pub(crate) use vitals::State;

use crate::entry::EntryName;
use children::{Children, Job, Work};
use ending::Phase;
use journal::Journal;
use outbox::OutboxState;
use queue::Queue;
use receiver::Receiver;
use report::Counts;
use spool::SpoolState;
use vitals::Folds;

/// The settings of the core.
#[derive(Debug, Clone)]
pub struct CoreSettings {
    /// Fold children.
    pub workers: usize,
    /// Whether snapshots are folded one at a time, the oldest first, because folds have a state.
    /// A snapshot that is folded late all the same (it could not be read, or is folded again) is
    /// older than the state, so the fold child can tell.
    pub folds_in_order: bool,
    /// How long a fold may take.
    pub fold_limit: Duration,
    /// Time between two reports of the program on itself.
    pub look_interval: Duration,
    /// At least one.
    pub receivers: Vec<ReceiverSettings>,
    /// For messages.
    pub src_dir: String,
    /// For messages.
    pub failed_dir: String,
    /// For the pauses of circuits.
    pub seed: u64,
}

/// How long a batch may be owed before it is held.
pub const HOLD_AFTER: Duration = Duration::from_secs(1);
/// Bytes of batches in memory.
pub const PENDING_BYTES_MAX: u64 = 64 << 20;
/// Batches in memory, beside one for each fold child.
pub const PENDING_MAX: usize = 8;
/// Snapshots that stay in the spool because their batches can be neither delivered nor held.
pub const PARKED_MAX: usize = 100;
/// Snapshots that wait to be released.
pub const RELEASES_MAX: usize = 1000;
/// How long an order to a disk may take.
pub const DISK_LIMIT: Duration = Duration::from_secs(30);
/// How long the outbox child may work on an order before the outbox counts as unable to hold.
pub const STALL_AFTER: Duration = Duration::from_secs(1);
/// How long folds wait for the list of the outbox when the program starts.
pub const LIST_LIMIT: Duration = Duration::from_secs(2);

/// A folded batch in memory.
#[derive(Debug)]
struct PendingBatch {
    id: SnapshotId,
    /// The snapshot's directory in the spool, and its identity.
    snapshot: Timestamp,
    identity: u64,
    points: u64,
    bytes: u64,
    descriptor: Descriptor,
    since: Instant,
    /// Receivers that are not settled.
    owed: BTreeSet<usize>,
    /// Receivers in whose new lane the batch is, waiting or in flight.
    in_lane: BTreeSet<usize>,
    /// The batch's name in the outbox, once it is held.
    entry: Option<EntryName>,
    hold: Hold,
    /// Send children that crashed with this batch alone in flight.
    deaths: u32,
    rejections: u32,
    /// Receivers that rejected the batch or whose send child crashed over it. They get it from the
    /// outbox, with the pauses and limits of held batches.
    outbox_only: BTreeSet<usize>,
    is_released: bool,
}

/// Whether a batch is to be held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hold {
    Unneeded,
    Needed,
    Ordered,
}

/// A snapshot whose batch could be neither delivered nor held.
#[derive(Debug)]
struct ParkedSnapshot {
    id: SnapshotId,
    identity: u64,
    owed: BTreeSet<usize>,
    points: u64,
    deaths: u32,
    rejections: u32,
    outbox_only: BTreeSet<usize>,
    /// The snapshot waits in the queue again, or is being folded.
    is_folding: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Core {
    settings: CoreSettings,
    now: Now,
    actions: Vec<Action>,
    last_id: u64,
    random: fastrand::Rng,
    children: Children,
    queue: Queue,
    batches: BTreeMap<u64, PendingBatch>,
    parked: BTreeMap<Timestamp, ParkedSnapshot>,
    receivers: Vec<Receiver>,
    outbox: OutboxState,
    spool: SpoolState,
    journal: Journal,
    counts: Counts,
    folds: Folds,
    phase: Phase,
    begun: Instant,
    begun_second: u64,
    next_look: Instant,
    /// Whether the last fold that began was of a parked snapshot.
    last_was_parked: bool,
}

impl Core {
    /// A core before its first step, which starts the children.
    #[must_use]
    pub fn new(settings: CoreSettings, now: Now) -> Self {
        let folds = (0..settings.workers).map(Role::Fold);
        let sends = (0..settings.receivers.len()).map(Role::Send);
        let roles = [Role::Spool, Role::Outbox].into_iter().chain(folds).chain(sends);
        let at = now.monotonic;
        let receivers = settings.receivers.iter();
        Self {
            children: Children::new(roles, at),
            receivers: receivers.map(|receiver| Receiver::new(receiver, at)).collect(),
            random: fastrand::Rng::with_seed(settings.seed),
            next_look: at + settings.look_interval,
            settings,
            now,
            actions: Vec::new(),
            last_id: 0,
            queue: Queue::default(),
            batches: BTreeMap::new(),
            parked: BTreeMap::new(),
            outbox: OutboxState::new(),
            spool: SpoolState::default(),
            journal: Journal::new(),
            counts: Counts::default(),
            folds: Folds::default(),
            phase: Phase::Running,
            begun: at,
            begun_second: now.epoch_seconds,
            last_was_parked: false,
        }
    }

    /// Takes an event and returns the actions that it calls for.
    pub fn step(&mut self, now: Now, event: Event) -> Vec<Action> {
        self.now = now;
        match event {
            Event::Tick => {}
            Event::Started { child, pid } => self.started(child, pid),
            Event::SpawnFailed { child, reason } => self.spawn_failed(child, &reason),
            Event::Reply { child, order, reply, descriptor } => {
                self.reply(child, order, reply, descriptor);
            }
            Event::Ended { child, death } => self.ended(child, death),
            Event::Shutdown { signal } => self.shutdown(signal),
        }
        self.look_at_limits();
        self.schedule();
        std::mem::take(&mut self.actions)
    }

    /// When the core needs an [`Event::Tick`] if no other event comes before.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let mut moments = vec![self.children.deadline(self.phase.is_running())];
        match &self.phase {
            Phase::Running => moments.push(Some(self.next_look)),
            phase => moments.push(phase.deadline()),
        }
        moments.push(self.outbox.retry_at);
        moments.extend(self.receivers.iter().map(|receiver| receiver.circuit.retry_at()));
        for batch in self.batches.values() {
            if batch.hold == Hold::Unneeded && !batch.owed.is_empty() {
                moments.push(Some(batch.since + HOLD_AFTER));
            }
        }
        if self.phase.is_running() {
            if !self.outbox.is_ready {
                moments.push(Some(self.begun + LIST_LIMIT));
            }
            let busy_since = self.children.busy_since(Role::Outbox);
            moments.push(busy_since.map(|since| since + STALL_AFTER));
            for receiver in &self.receivers {
                if !receiver.is_empty() {
                    moments.push(Some(receiver.replay_at));
                    moments.push(receiver.reread_at());
                }
            }
        }
        // The last step dealt with the moments that are past: only an event can change those.
        let now = self.now.monotonic;
        moments.into_iter().flatten().filter(|moment| *moment > now).min()
    }

    const fn now(&self) -> Instant {
        self.now.monotonic
    }

    fn act(&mut self, action: Action) {
        self.actions.push(action);
    }

    fn log(&mut self, notice: Notice) {
        self.act(Action::Log(notice));
    }

    const fn new_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    fn close(&mut self, descriptor: impl Into<Option<Descriptor>>) {
        if let Some(descriptor) = descriptor.into() {
            self.act(Action::Close(descriptor));
        }
    }

    /// Gives an order to an idle child, or a further order to a send child.
    fn order(
        &mut self,
        child: ChildId,
        order: Order,
        work: Work,
        descriptor: Option<Descriptor>,
        limit: Duration,
    ) {
        let id = OrderId(self.new_id());
        let (now, limit) = (self.now(), self.now() + limit);
        let Some(child_state) = self.children.get_mut(child) else { return };
        let has_room = matches!(work, Work::Send(_)) || child_state.jobs.is_empty();
        debug_assert!(has_room, "{child_state:?} is busy");
        child_state.jobs.push(Job { id, work, ordered_at: now, limit });
        self.act(Action::Order { child, id, order, descriptor });
    }

    /// Starts the children that are due, and gives orders to those that have room for one.
    fn schedule(&mut self) {
        if self.phase.is_over() {
            return;
        }
        if self.phase.is_running() {
            for role in self.children.vacant(self.now()) {
                let child = ChildId(self.new_id());
                self.children.start(child, role, self.now.monotonic);
                self.act(Action::Start { child, role });
            }
            self.look();
        }
        if self.phase.expects_ends() {
            return self.look_at_end();
        }
        self.assign();
        self.evict();
        self.schedule_folds();
        self.schedule_sends();
        self.schedule_outbox();
        self.park();
        self.schedule_spool();
        self.look_at_end();
    }
}
