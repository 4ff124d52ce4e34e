//! Which snapshot is folded next.
//!
//! Snapshots go oldest first, each once, however often the spool child names them. A snapshot whose
//! fold child died is folded again alone: then it cannot disturb other folds, and another snapshot
//! cannot be the cause of a further death. A snapshot that ends its child again and again, or can
//! never be folded, is given up.

use std::collections::{BTreeSet, HashMap};

use model::Timestamp;

use super::types::Death;

/// Snapshots that may wait here; the spool child keeps further names back.
pub const WAITING_MAX: usize = 1024;
/// Folds that are begun of a snapshot whose fold children crash or hang.
pub const CRASHES_MAX: u32 = 2;
/// Folds that are begun of a snapshot whose fold children are killed from outside.
pub const KILLS_MAX: u32 = 5;
/// Folds that are begun of a snapshot that cannot be read.
pub const UNREADABLE_MAX: u32 = 10;

/// The next step for a snapshot whose fold failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Retry,
    GiveUp,
}

#[derive(Debug, Default)]
struct Attempts {
    crashes: u32,
    kills: u32,
    unreadable: u32,
}

impl Attempts {
    const fn ended_a_child(&self) -> bool {
        self.crashes + self.kills > 0
    }
}

/// The snapshots that the core knows.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    waiting: BTreeSet<Timestamp>,
    /// Every known snapshot: waiting, being folded, or folded and still in the spool.
    known: HashMap<Timestamp, Attempts>,
    folding: BTreeSet<Timestamp>,
    /// The snapshot that is being folded alone.
    alone: Option<Timestamp>,
}

impl Queue {
    /// Whether the spool child may name more snapshots.
    pub(crate) fn has_room(&self) -> bool {
        self.waiting.len() < WAITING_MAX
    }

    /// The number of snapshots that wait or are being folded.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len() + self.folding.len()
    }

    /// Whether a snapshot of this second is being folded.
    pub(crate) fn is_folding_second(&self, seconds: u64) -> bool {
        self.folding.iter().any(|snapshot| snapshot.seconds() == seconds)
    }

    /// The second of the oldest snapshot that waits or is being folded.
    pub(crate) fn oldest(&self) -> Option<u64> {
        let oldest = self.waiting.first().into_iter().chain(self.folding.first());
        oldest.map(Timestamp::seconds).min()
    }

    pub(crate) fn folding(&self) -> usize {
        self.folding.len()
    }

    /// Adds a snapshot. False if the queue knows it already.
    pub(crate) fn add(&mut self, snapshot: Timestamp) -> bool {
        if self.known.contains_key(&snapshot) {
            return false;
        }
        self.known.insert(snapshot.clone(), Attempts::default());
        self.waiting.insert(snapshot)
    }

    /// The oldest waiting snapshot that `may` accepts, if its fold may begin beside the current
    /// folds.
    pub(crate) fn next(&self, may: impl Fn(&Timestamp) -> bool) -> Option<&Timestamp> {
        if self.alone.is_some() {
            return None;
        }
        let oldest = self.waiting.iter().find(|snapshot| may(snapshot))?;
        let ended_a_child = self.known.get(oldest).is_some_and(Attempts::ended_a_child);
        (!ended_a_child || self.folding.is_empty()).then_some(oldest)
    }

    pub(crate) fn begin(&mut self, snapshot: &Timestamp) {
        self.waiting.remove(snapshot);
        self.folding.insert(snapshot.clone());
        if self.known.get(snapshot).is_some_and(Attempts::ended_a_child) {
            self.alone = Some(snapshot.clone());
        }
    }

    /// The fold of a snapshot ended. The queue still knows the snapshot, which stays in the spool.
    pub(crate) fn leave(&mut self, snapshot: &Timestamp) {
        self.folding.remove(snapshot);
        if self.alone.as_ref() == Some(snapshot) {
            self.alone = None;
        }
    }

    /// Lets a known snapshot wait again.
    pub(crate) fn requeue(&mut self, snapshot: &Timestamp) {
        self.leave(snapshot);
        if self.known.contains_key(snapshot) {
            self.waiting.insert(snapshot.clone());
        }
    }

    /// The snapshot has left the spool.
    pub(crate) fn forget(&mut self, snapshot: &Timestamp) {
        self.leave(snapshot);
        self.waiting.remove(snapshot);
        self.known.remove(snapshot);
    }

    /// The snapshot could not be read.
    pub(crate) fn unreadable(&mut self, snapshot: &Timestamp) -> Verdict {
        self.leave(snapshot);
        let attempts = self.known.entry(snapshot.clone()).or_default();
        attempts.unreadable += 1;
        if attempts.unreadable >= UNREADABLE_MAX { Verdict::GiveUp } else { Verdict::Retry }
    }

    /// The snapshot's fold child died. The snapshot waits again, unless it is to be given up.
    pub(crate) fn died(&mut self, snapshot: &Timestamp, death: Death) -> Verdict {
        self.leave(snapshot);
        let attempts = self.known.entry(snapshot.clone()).or_default();
        let is_last = match death {
            Death::Crashed | Death::Overdue => {
                attempts.crashes += 1;
                attempts.crashes >= CRASHES_MAX
            }
            Death::Killed => {
                attempts.kills += 1;
                attempts.kills >= KILLS_MAX
            }
            // The child had not begun the fold.
            Death::Terminated => false,
        };
        if is_last {
            return Verdict::GiveUp;
        }
        self.waiting.insert(snapshot.clone());
        Verdict::Retry
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::of_seconds(seconds)
    }

    fn queue(seconds: &[u64]) -> Queue {
        let mut queue = Queue::default();
        for second in seconds {
            queue.add(at(*second));
        }
        queue
    }

    fn begin(queue: &mut Queue) -> u64 {
        let snapshot = queue.next(|_| true).unwrap().clone();
        queue.begin(&snapshot);
        snapshot.seconds()
    }

    #[test]
    fn oldest_first_and_each_once() {
        let mut queue = queue(&[10, 9, 100, 9]);
        assert_eq!([begin(&mut queue), begin(&mut queue)], [9, 10]);
        assert!(!queue.add(at(9)), "it is being folded");
        queue.forget(&at(9));
        assert!(queue.add(at(9)), "the name came again after its snapshot had left the spool");
        assert_eq!(queue.len(), 3);
    }

    #[test]
    fn a_snapshot_that_may_not_begin_lets_others_pass() {
        let queue = queue(&[1, 2]);
        assert_eq!(queue.next(|snapshot| *snapshot != at(1)), Some(&at(2)));
    }

    #[test]
    fn a_snapshot_whose_child_crashed_is_folded_alone_and_then_given_up() {
        let mut queue = queue(&[1, 2, 3]);
        begin(&mut queue);
        begin(&mut queue);
        assert_eq!(queue.died(&at(1), Death::Crashed), Verdict::Retry);
        assert_eq!(queue.next(|_| true), None, "2 is still being folded");
        queue.forget(&at(2));
        assert_eq!(begin(&mut queue), 1);
        assert_eq!(queue.next(|_| true), None, "1 is folded alone");
        assert_eq!(queue.died(&at(1), Death::Overdue), Verdict::GiveUp);
        assert_eq!(begin(&mut queue), 3);
    }

    #[test]
    fn kills_from_outside_count_less_than_crashes_and_sigterm_does_not_count() {
        let mut queue = queue(&[1]);
        for _ in 1..KILLS_MAX {
            begin(&mut queue);
            assert_eq!(queue.died(&at(1), Death::Killed), Verdict::Retry);
            begin(&mut queue);
            assert_eq!(queue.died(&at(1), Death::Terminated), Verdict::Retry);
        }
        begin(&mut queue);
        assert_eq!(queue.died(&at(1), Death::Killed), Verdict::GiveUp);
        assert!(!queue.add(at(1)), "a list of the spool does not bring it back");
    }

    #[test]
    fn a_snapshot_that_cannot_be_read_delays_no_other_and_is_given_up_after_some_tries() {
        let mut queue = queue(&[1, 2]);
        for _ in 1..UNREADABLE_MAX {
            assert_eq!(begin(&mut queue), 1);
            assert_eq!(queue.unreadable(&at(1)), Verdict::Retry);
            assert_eq!(queue.next(|_| true), Some(&at(2)), "1 does not wait");
            queue.requeue(&at(1));
        }
        begin(&mut queue);
        assert_eq!(queue.unreadable(&at(1)), Verdict::GiveUp);
    }

    #[test]
    fn the_number_of_waiting_snapshots_has_a_bound() {
        let mut queue = Queue::default();
        for second in 0..WAITING_MAX as u64 {
            assert!(queue.has_room());
            queue.add(at(second));
        }
        assert!(!queue.has_room());
        begin(&mut queue);
        assert!(queue.has_room());
    }
}
