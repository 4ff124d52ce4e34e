//! Which snapshot is next: pure decisions about those that wait, are worked on, or are done with. No clock, no channel.
//!
//! Snapshots go oldest first, each once, whatever the watcher tells and how often. One whose worker died is done again; one that ends its
//! worker again and again is given up, as is one that cannot be folded: the parent moves it aside.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap};

/// Snapshots that may wait here; more stay in the channel from the watcher, which then waits, and in the spool.
const WAITING_MAX: usize = 1024;
/// How often a snapshot is begun whose worker ended by itself or hung.
const CRASHES_MAX: u32 = 2;
/// How often a snapshot is begun whose worker was killed from outside.
const KILLS_MAX: u32 = 5;

/// How often a snapshot is begun that cannot be read.
const UNREADABLE_MAX: u32 = 10;

/// The snapshots that the parent knows.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    waiting: BTreeSet<Waiting>,
    /// Everything known: waiting, worked on, or left in the spool for good.
    known: HashMap<String, Attempts>,
    in_work: usize,
    /// One that is done alone, because its worker died over it.
    alone: Option<String>,
}

/// How a worker ended that was not told to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Death {
    /// By itself.
    Crashed,
    /// It made no progress for job-timeout, and we killed it.
    Hung,
    /// By somebody's signal.
    Killed,
    /// In order, because somebody's SIGTERM asked it to.
    Asked,
}

/// What becomes of a snapshot whose worker died.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is done again.
    Again,
    /// It is given up.
    GiveUp,
}

#[derive(Debug, Default)]
struct Attempts {
    crashes: u32,
    kills: u32,
    unreadable: u32,
}

impl Attempts {
    const fn any(&self) -> bool {
        self.crashes + self.kills > 0
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Waiting(String);

impl Queue {
    /// Whether another snapshot can be taken from the watcher.
    pub(crate) fn has_room(&self) -> bool {
        self.waiting.len() < WAITING_MAX
    }

    /// How many wait or are worked on.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len() + self.in_work
    }

    /// Takes a snapshot in; false if it is known already.
    pub(crate) fn add(&mut self, snapshot: String) -> bool {
        if self.known.contains_key(&snapshot) {
            return false;
        }
        self.known.insert(snapshot.clone(), Attempts::default());
        self.waiting.insert(Waiting(snapshot))
    }

    /// What a worker may begin now: the oldest. What has ended a worker before is done alone, so that it takes no others with it and
    /// none is blamed for it.
    pub(crate) fn next(&self) -> Option<&str> {
        let oldest = self.waiting.first().map(|waiting| waiting.0.as_str())?;
        let alone = self.known.get(oldest).is_some_and(Attempts::any);
        (self.alone.is_none() && (!alone || self.in_work == 0)).then_some(oldest)
    }

    /// A worker has begun what [`Queue::next`] gave.
    pub(crate) fn begun(&mut self, snapshot: &str) {
        self.waiting.remove(&Waiting(snapshot.to_owned()));
        self.in_work += 1;
        if self.known.get(snapshot).is_some_and(Attempts::any) {
            self.alone = Some(snapshot.to_owned());
        }
    }

    /// It has left the spool: delivered, stored, moved aside, or taken away by somebody.
    pub(crate) fn done(&mut self, snapshot: &str) {
        self.ended(snapshot);
        self.known.remove(snapshot);
    }

    /// It stays in the spool and is not begun again, until [`Queue::forget`].
    pub(crate) fn leave(&mut self, snapshot: &str) {
        self.ended(snapshot);
    }

    /// It could not be read. Unless it is given up it is left, for [`Queue::again`].
    pub(crate) fn unreadable(&mut self, snapshot: &str) -> Verdict {
        let attempts = self.known.entry(snapshot.to_owned()).or_default();
        attempts.unreadable += 1;
        if attempts.unreadable >= UNREADABLE_MAX {
            return Verdict::GiveUp;
        }
        self.ended(snapshot);
        Verdict::Again
    }

    /// One that was left waits again.
    pub(crate) fn again(&mut self, snapshot: &str) {
        if self.known.contains_key(snapshot) {
            self.waiting.insert(Waiting(snapshot.to_owned()));
        }
    }

    /// One that was left is gone.
    pub(crate) fn forget(&mut self, snapshot: &str) {
        self.known.remove(snapshot);
    }

    /// It was not finished for a reason that says nothing about it: it waits again.
    pub(crate) fn wait_again(&mut self, snapshot: &str) {
        self.ended(snapshot);
        self.waiting.insert(Waiting(snapshot.to_owned()));
    }

    /// Its worker died. Given up, it counts as worked on until [`Queue::done`] or [`Queue::leave`].
    pub(crate) fn died(&mut self, snapshot: &str, death: Death) -> Verdict {
        let attempts = self.known.entry(snapshot.to_owned()).or_default();
        let attempts = match death {
            Death::Crashed | Death::Hung => Some((&mut attempts.crashes, CRASHES_MAX)),
            Death::Killed => Some((&mut attempts.kills, KILLS_MAX)),
            // It had not begun the snapshot.
            Death::Asked => None,
        };
        if let Some((count, most)) = attempts {
            *count += 1;
            if *count >= most {
                return Verdict::GiveUp;
            }
        }
        self.wait_again(snapshot);
        Verdict::Again
    }

    fn ended(&mut self, snapshot: &str) {
        self.in_work -= 1;
        if self.alone.as_deref() == Some(snapshot) {
            self.alone = None;
        }
    }
}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> Ordering {
        spool::name::compare(&self.0, &other.0)
    }
}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(names: &[&str]) -> Queue {
        let mut queue = Queue::default();
        for name in names {
            queue.add((*name).to_owned());
        }
        queue
    }

    fn begin(queue: &mut Queue) -> String {
        let snapshot = queue.next().unwrap().to_owned();
        queue.begun(&snapshot);
        snapshot
    }

    #[test]
    fn oldest_first_and_each_once() {
        let mut queue = queue(&["10", "9", "100", "9"]);
        assert_eq!([begin(&mut queue), begin(&mut queue)], ["9", "10"]);
        assert!(!queue.add("9".to_owned()), "it is being worked on");
        queue.done("9");
        assert!(queue.add("9".to_owned()), "it came again after it was done");
        assert_eq!(queue.len(), 3);
    }

    #[test]
    fn what_could_not_be_finished_waits_again_in_its_place() {
        let mut queue = queue(&["1", "2"]);
        begin(&mut queue);
        queue.wait_again("1");
        assert_eq!(begin(&mut queue), "1");
    }

    #[test]
    fn a_snapshot_whose_worker_crashed_is_done_again_alone_and_then_given_up() {
        let mut queue = queue(&["1", "2", "3"]);
        begin(&mut queue);
        begin(&mut queue);
        assert_eq!(queue.died("1", Death::Crashed), Verdict::Again);
        assert_eq!(queue.next(), None, "2 is still worked on");
        queue.done("2");
        assert_eq!(begin(&mut queue), "1");
        assert_eq!(queue.next(), None, "1 is alone");
        assert_eq!(queue.died("1", Death::Crashed), Verdict::GiveUp);
        queue.done("1");
        assert_eq!(begin(&mut queue), "3");
    }

    #[test]
    fn a_worker_that_ends_on_sigterm_says_nothing_about_its_snapshot() {
        let mut queue = queue(&["1", "2"]);
        for _ in 0..KILLS_MAX + CRASHES_MAX {
            assert_eq!(begin(&mut queue), "1");
            assert_eq!(queue.died("1", Death::Asked), Verdict::Again);
        }
        begin(&mut queue);
        assert_eq!(queue.next(), Some("2"), "1 is not done alone");
    }

    #[test]
    fn a_worker_killed_from_outside_says_little_about_its_snapshot() {
        let mut queue = queue(&["1"]);
        for _ in 0..4 {
            begin(&mut queue);
            assert_eq!(queue.died("1", Death::Killed), Verdict::Again);
        }
        begin(&mut queue);
        assert_eq!(queue.died("1", Death::Killed), Verdict::GiveUp);
        queue.leave("1");
        assert!(!queue.add("1".to_owned()), "a scan does not bring it back");
        assert_eq!((queue.next(), queue.len()), (None, 0));
        queue.forget("1");
        assert!(queue.add("1".to_owned()), "it was taken away and came back mended");
    }

    #[test]
    fn what_cannot_be_read_holds_nobody_up_and_is_given_up_after_some_tries() {
        let mut queue = queue(&["1", "2"]);
        for _ in 1..UNREADABLE_MAX {
            assert_eq!(begin(&mut queue), "1");
            assert_eq!(queue.unreadable("1"), Verdict::Again);
            assert_eq!(queue.next(), Some("2"), "1 is left for now");
            assert!(!queue.add("1".to_owned()), "a scan does not bring it back");
            queue.again("1");
        }
        begin(&mut queue);
        assert_eq!(queue.unreadable("1"), Verdict::GiveUp);
        queue.done("1");
        assert_eq!((begin(&mut queue).as_str(), queue.len()), ("2", 1));
    }

    #[test]
    fn there_is_a_bound() {
        let mut queue = Queue::default();
        for number in 0..WAITING_MAX {
            assert!(queue.has_room());
            queue.add(number.to_string());
        }
        assert!(!queue.has_room());
        begin(&mut queue);
        assert!(queue.has_room());
    }
}
