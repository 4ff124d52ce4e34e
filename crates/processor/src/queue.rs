//! What is to be done next: pure decisions about snapshots that wait, are worked on, or are set aside, and about a receiver that is
//! down. No clock, no channel; the parent tells what happens and asks what to do.
//!
//! Snapshots go oldest first. While a receiver is down none is handed out but one at a time as a probe, after a pause that grows;
//! the others wait in the spool, where nothing is lost.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use config::Retries;
use daemon::Backoff;

/// Snapshots that may wait here; more stay in the channel from the watcher, which then waits, and in the spool.
const WAITING_MAX: usize = 1024;
/// How often a snapshot is begun whose worker ended by itself or hung.
const CRASHES_MAX: u32 = 2;
/// How often a snapshot is begun whose worker was killed from outside.
const KILLS_MAX: u32 = 5;

/// The snapshots that the parent knows.
#[derive(Debug)]
pub(crate) struct Queue {
    waiting: BTreeSet<Waiting>,
    /// Everything known: waiting, worked on, or set aside.
    known: HashMap<String, Attempts>,
    in_work: usize,
    circuit: Circuit,
    pauses: Pauses,
}

/// How a worker ended that was not told to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Death {
    /// By itself, or it hung and was killed by us.
    Crashed,
    /// By somebody's SIGKILL or SIGTERM.
    Killed,
}

/// What a change means for the operator.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Nothing to tell.
    None,
    /// The receiver is down from now on.
    WentDown,
    /// The receiver is up again.
    CameUp,
}

/// What becomes of a snapshot whose worker died.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is done again.
    Again,
    /// It stays where it is and is not touched again until the next start.
    SetAside,
}

#[derive(Debug, Default)]
struct Attempts {
    crashes: u32,
    kills: u32,
}

#[derive(Debug, PartialEq, Eq)]
struct Waiting(String);

#[derive(Debug, PartialEq)]
enum Circuit {
    Up,
    /// Down; nothing is tried until the pause is over.
    Down,
    /// Down; one snapshot may be tried.
    Due,
    /// Down; one is being tried.
    Probing(String),
}

/// The pauses between tries: `retries` quick ones that grow from `interval`, then one every `delay`.
#[derive(Debug)]
struct Pauses {
    quick: Backoff,
    retries: Retries,
    made: u32,
    delay: Duration,
}

impl Queue {
    /// `graphite` gives the pauses; without it there is no receiver that can be down.
    pub(crate) fn new(graphite: Option<&config::Graphite>) -> Self {
        let pauses = graphite.map_or_else(
            || Pauses::new(Duration::ZERO, 1.0, Retries::Times(0), Duration::ZERO),
            |config| Pauses::new(config.interval, config.backoff, config.retries, config.delay),
        );
        Self {
            waiting: BTreeSet::new(),
            known: HashMap::new(),
            in_work: 0,
            circuit: Circuit::Up,
            pauses,
        }
    }

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

    /// What a worker may begin now: the oldest, unless a receiver is down.
    pub(crate) fn next(&self) -> Option<&str> {
        match self.circuit {
            Circuit::Up | Circuit::Due => self.waiting.first().map(|waiting| waiting.0.as_str()),
            Circuit::Down | Circuit::Probing(_) => None,
        }
    }

    /// A worker has begun what [`Queue::next`] gave.
    pub(crate) fn begun(&mut self, snapshot: &str) {
        self.waiting.remove(&Waiting(snapshot.to_owned()));
        self.in_work += 1;
        if self.circuit == Circuit::Due {
            self.circuit = Circuit::Probing(snapshot.to_owned());
        }
    }

    /// All receivers have it and it is out of the spool.
    pub(crate) fn delivered(&mut self, snapshot: &str) -> Change {
        self.in_work -= 1;
        self.known.remove(snapshot);
        if self.circuit == Circuit::Up {
            return Change::None;
        }
        self.circuit = Circuit::Up;
        self.pauses.reset();
        Change::CameUp
    }

    /// It is of no concern any more, though nothing was delivered.
    pub(crate) fn gone(&mut self, snapshot: &str) {
        self.in_work -= 1;
        self.known.remove(snapshot);
        self.probe_without_result(snapshot);
    }

    /// A receiver has not got it: it waits again. A pause, where one is given, must be kept before [`Queue::pause_over`].
    pub(crate) fn undelivered(&mut self, snapshot: &str) -> (Change, Option<Duration>) {
        self.in_work -= 1;
        self.waiting.insert(Waiting(snapshot.to_owned()));
        match &self.circuit {
            Circuit::Up => {
                self.circuit = Circuit::Down;
                (Change::WentDown, Some(self.pauses.next()))
            }
            Circuit::Probing(probe) if probe == snapshot => {
                self.circuit = Circuit::Down;
                (Change::None, Some(self.pauses.next()))
            }
            // One that was on its way when the receiver went down.
            _ => (Change::None, None),
        }
    }

    /// The pause before the next probe is over.
    pub(crate) fn pause_over(&mut self) {
        if self.circuit == Circuit::Down {
            self.circuit = Circuit::Due;
        }
    }

    /// Its worker died.
    pub(crate) fn died(&mut self, snapshot: &str, death: Death) -> Verdict {
        self.probe_without_result(snapshot);
        let attempts = self.known.entry(snapshot.to_owned()).or_default();
        let (count, most) = match death {
            Death::Crashed => (&mut attempts.crashes, CRASHES_MAX),
            Death::Killed => (&mut attempts.kills, KILLS_MAX),
        };
        *count += 1;
        if *count >= most {
            self.in_work -= 1;
            return Verdict::SetAside;
        }
        self.wait_again(snapshot);
        Verdict::Again
    }

    /// It was not finished for a reason that says nothing about it: it waits again.
    pub(crate) fn wait_again(&mut self, snapshot: &str) {
        self.in_work -= 1;
        self.waiting.insert(Waiting(snapshot.to_owned()));
    }

    /// It cannot be folded: it stays where it is and is not touched again until the next start.
    pub(crate) fn set_aside(&mut self, snapshot: &str) {
        self.in_work -= 1;
        self.probe_without_result(snapshot);
    }

    fn probe_without_result(&mut self, snapshot: &str) {
        if self.circuit == Circuit::Probing(snapshot.to_owned()) {
            self.circuit = Circuit::Due;
        }
    }
}

impl Pauses {
    fn new(interval: Duration, factor: f64, retries: Retries, delay: Duration) -> Self {
        Self { quick: Backoff::new(interval, factor, delay), retries, made: 0, delay }
    }

    fn next(&mut self) -> Duration {
        let quick = match self.retries {
            Retries::Forever => true,
            Retries::Times(times) => self.made < times,
        };
        self.made = self.made.saturating_add(1);
        if quick { self.quick.pause() } else { self.delay }
    }

    fn reset(&mut self) {
        self.quick.reset();
        self.made = 0;
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

    const SECOND: Duration = Duration::from_secs(1);

    fn queue(retries: Retries) -> Queue {
        let mut queue = Queue::new(None);
        queue.pauses = Pauses::new(SECOND, 2.0, retries, 10 * SECOND);
        queue
    }

    fn begin(queue: &mut Queue) -> String {
        let snapshot = queue.next().unwrap().to_owned();
        queue.begun(&snapshot);
        snapshot
    }

    #[test]
    fn oldest_first_and_each_once() {
        let mut queue = queue(Retries::Times(0));
        for name in ["10", "9", "100", "9"] {
            queue.add(name.to_owned());
        }
        assert_eq!([begin(&mut queue), begin(&mut queue)], ["9", "10"]);
        assert!(!queue.add("9".to_owned()), "it is being worked on");
        queue.delivered("9");
        assert!(queue.add("9".to_owned()), "it came again after it was done");
        assert_eq!(queue.len(), 3);
    }

    #[test]
    fn while_a_receiver_is_down_one_at_a_time_is_tried_after_growing_pauses() {
        let mut queue = queue(Retries::Times(2));
        for name in ["1", "2", "3"] {
            queue.add(name.to_owned());
        }
        begin(&mut queue);
        begin(&mut queue);
        assert_eq!(queue.undelivered("2"), (Change::WentDown, Some(SECOND)));
        assert_eq!(queue.undelivered("1"), (Change::None, None));
        assert_eq!(queue.next(), None);
        for pause in [2 * SECOND, 10 * SECOND, 10 * SECOND] {
            queue.pause_over();
            assert_eq!(begin(&mut queue), "1");
            assert_eq!(queue.next(), None, "one probe at a time");
            assert_eq!(queue.undelivered("1"), (Change::None, Some(pause)));
        }
        queue.pause_over();
        begin(&mut queue);
        assert_eq!(queue.delivered("1"), Change::CameUp);
        assert_eq!([begin(&mut queue), begin(&mut queue)], ["2", "3"]);
        assert_eq!(queue.undelivered("2"), (Change::WentDown, Some(SECOND)), "pauses begin anew");
    }

    #[test]
    fn a_probe_that_tells_nothing_is_made_again_at_once() {
        let mut queue = queue(Retries::Forever);
        queue.add("1".to_owned());
        queue.add("2".to_owned());
        begin(&mut queue);
        queue.undelivered("1");
        queue.pause_over();
        begin(&mut queue);
        queue.gone("1");
        assert_eq!(queue.next(), Some("2"));
    }

    #[test]
    fn a_snapshot_that_ends_its_worker_twice_is_set_aside_and_not_taken_again() {
        let mut queue = queue(Retries::Times(0));
        queue.add("1".to_owned());
        begin(&mut queue);
        assert_eq!(queue.died("1", Death::Crashed), Verdict::Again);
        begin(&mut queue);
        assert_eq!(queue.died("1", Death::Crashed), Verdict::SetAside);
        assert!(!queue.add("1".to_owned()));
        assert_eq!((queue.next(), queue.len()), (None, 0));
    }

    #[test]
    fn a_worker_killed_from_outside_says_little_about_its_snapshot() {
        let mut queue = queue(Retries::Times(0));
        queue.add("1".to_owned());
        for _ in 0..4 {
            begin(&mut queue);
            assert_eq!(queue.died("1", Death::Killed), Verdict::Again);
        }
        begin(&mut queue);
        assert_eq!(queue.died("1", Death::Killed), Verdict::SetAside);
    }

    #[test]
    fn there_is_a_bound() {
        let mut queue = queue(Retries::Times(0));
        for number in 0..WAITING_MAX {
            assert!(queue.has_room());
            queue.add(number.to_string());
        }
        assert!(!queue.has_room());
        begin(&mut queue);
        assert!(queue.has_room());
    }
}
