//! The table of children: their states, their orders and their limits.
//!
//! A seat is a role that must be filled; its child is replaced with growing pauses. A child that
//! overruns a limit is killed. If the system cannot reap a killed child within [`KILL_LIMIT`], the
//! child hangs in the kernel, mostly on a disk. It is abandoned: its order counts as failed, and
//! its seat stays empty until the system reaps it, because a replacement would hang at the same
//! place.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use daemon::Backoff;
use model::Timestamp;

use super::types::{ChildId, Descriptor, OrderId, Role};
use crate::entry::{EntryName, Second};

/// How long a child may take to be ready. It takes milliseconds.
pub const START_LIMIT: Duration = Duration::from_secs(30);
/// How long the system may take to reap a killed child.
pub const KILL_LIMIT: Duration = Duration::from_secs(5);
/// Pauses before a child is replaced.
const REPLACE_FIRST: Duration = Duration::from_millis(50);
const REPLACE_LONGEST: Duration = Duration::from_secs(10);

/// The work of an order, with what the core needs when the order ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Work {
    Fold(Timestamp),
    Send(Delivery),
    Hold { batch: u64, entry: EntryName, receivers: Vec<usize> },
    Load { receiver: usize, entry: EntryName },
    Drop { receiver: usize, entries: Vec<EntryName> },
    Quarantine { receiver: usize, entry: EntryName },
    Release { snapshot: Timestamp, identity: u64 },
    GiveUp { snapshot: Timestamp, reason: String },
    Inspect,
}

/// A batch, or figures, that a send child is to deliver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// A batch of the new lane, by its key, and its second.
    New(u64, Second),
    /// A held batch, and the descriptor of its copy in memory.
    Backlog(EntryName, Descriptor),
    /// Figures about the program itself.
    Figures,
}

impl Delivery {
    /// The second of the batch: other batches of this second must wait.
    pub(crate) fn second(&self) -> Option<Second> {
        match self {
            Self::New(_, second) => Some(*second),
            Self::Backlog(name, _) => Some(name.second()),
            Self::Figures => None,
        }
    }
}

/// An order that a child has not answered.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) id: OrderId,
    pub(crate) work: Work,
    pub(crate) ordered_at: Instant,
    /// When the order is overdue.
    pub(crate) limit: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Starting,
    Running,
    Killed,
    Abandoned,
}

#[derive(Debug)]
pub(crate) struct Child {
    pub(crate) role: Role,
    pub(crate) pid: u32,
    pub(crate) state: State,
    /// At most one, except for a send child.
    pub(crate) jobs: Vec<Job>,
    /// When the child's start or end is overdue.
    pub(crate) limit: Option<Instant>,
}

impl Child {
    /// When the child's start, one of its orders or its end is overdue.
    fn deadline(&self) -> Option<Instant> {
        let orders = self.jobs.iter().map(|job| job.limit);
        match self.state {
            State::Running => orders.min(),
            State::Starting | State::Killed | State::Abandoned => self.limit,
        }
    }

    /// Removes an order that the child has answered.
    pub(crate) fn end_job(&mut self, id: OrderId) -> Option<Job> {
        let position = self.jobs.iter().position(|job| job.id == id)?;
        Some(self.jobs.swap_remove(position))
    }
}

#[derive(Debug)]
struct Seat {
    child: Option<ChildId>,
    start_at: Instant,
    backoff: Backoff,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Children {
    seats: BTreeMap<Role, Seat>,
    children: BTreeMap<ChildId, Child>,
}

impl Children {
    pub(crate) fn new(roles: impl IntoIterator<Item = Role>, now: Instant) -> Self {
        let seat = |role| {
            let backoff = Backoff::new(REPLACE_FIRST, 2.0, REPLACE_LONGEST);
            (role, Seat { child: None, start_at: now, backoff })
        };
        Self { seats: roles.into_iter().map(seat).collect(), children: BTreeMap::new() }
    }

    /// Roles without a child whose pause is over.
    pub(crate) fn vacant(&self, now: Instant) -> Vec<Role> {
        let is_vacant = |seat: &Seat| seat.child.is_none() && now >= seat.start_at;
        self.seats.iter().filter(|(_, seat)| is_vacant(seat)).map(|(role, _)| *role).collect()
    }

    pub(crate) fn start(&mut self, id: ChildId, role: Role, now: Instant) {
        let limit = Some(now + START_LIMIT);
        let child = Child { role, pid: 0, state: State::Starting, jobs: Vec::new(), limit };
        self.children.insert(id, child);
        if let Some(seat) = self.seats.get_mut(&role) {
            seat.child = Some(id);
        }
    }

    pub(crate) fn get(&self, id: ChildId) -> Option<&Child> {
        self.children.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: ChildId) -> Option<&mut Child> {
        self.children.get_mut(&id)
    }

    /// The child of a role, if it runs and has no order.
    pub(crate) fn idle(&self, role: Role) -> Option<ChildId> {
        let id = self.running(role)?;
        if self.children.get(&id)?.jobs.is_empty() { Some(id) } else { None }
    }

    /// The child of a role, if it runs.
    pub(crate) fn running(&self, role: Role) -> Option<ChildId> {
        let id = self.seats.get(&role)?.child?;
        let child = self.children.get(&id)?;
        if child.state == State::Running { Some(id) } else { None }
    }

    /// When the oldest order of the child of a role was given, if the child runs and has one.
    pub(crate) fn busy_since(&self, role: Role) -> Option<Instant> {
        let child = self.children.get(&self.running(role)?)?;
        child.jobs.iter().map(|job| job.ordered_at).min()
    }

    /// The child of a role has answered an order, so pauses before its replacement start anew.
    pub(crate) fn has_worked(&mut self, role: Role) {
        if let Some(seat) = self.seats.get_mut(&role) {
            seat.backoff.reset();
        }
    }

    /// Removes a child that the system has reaped. Its seat is filled after a pause.
    pub(crate) fn remove(&mut self, id: ChildId, now: Instant) -> Option<Child> {
        let child = self.children.remove(&id)?;
        if let Some(seat) = self.seats.get_mut(&child.role)
            && seat.child == Some(id)
        {
            seat.child = None;
            seat.start_at = now + seat.backoff.pause();
        }
        Some(child)
    }

    /// Children whose limit is over.
    pub(crate) fn overdue(&self, now: Instant) -> Vec<ChildId> {
        let is_overdue = |child: &Child| child.deadline().is_some_and(|limit| now >= limit);
        self.children.iter().filter(|(_, child)| is_overdue(child)).map(|(id, _)| *id).collect()
    }

    /// When the next limit or pause is over.
    pub(crate) fn deadline(&self, fills_seats: bool) -> Option<Instant> {
        let limits = self.children.values().filter_map(Child::deadline);
        let vacant = self.seats.values().filter(|seat| fills_seats && seat.child.is_none());
        limits.chain(vacant.map(|seat| seat.start_at)).min()
    }

    pub(crate) fn ids(&self) -> Vec<ChildId> {
        self.children.keys().copied().collect()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Child> {
        self.children.values()
    }
}
