//! States of the parent that last or come again and again: workers that die, snapshots that cannot
//! be read, moved or deleted. Each is logged when it begins, changes and ends.

use std::collections::BTreeSet;
use std::time::Instant;

use daemon::Conditions;
use daemon::conditions::Line;
use tracing::{error, info, warn};

use crate::keeper::Loss;
use crate::queue::Death;

/// One for each worker and some of our own.
const CONDITIONS_MAX: usize = 2000;

/// See the module.
#[derive(Debug)]
pub(crate) struct States {
    conditions: Conditions,
    now: fn() -> Instant,
    /// Snapshots that could not be read the last time, and those that are done and stay: the state
    /// ends with the last of them. They stand in the spool, whose size is bounded.
    unreadable: BTreeSet<String>,
    unremoved: BTreeSet<String>,
}

impl States {
    pub(crate) const fn new(now: fn() -> Instant) -> Self {
        Self {
            conditions: Conditions::new(CONDITIONS_MAX),
            now,
            unreadable: BTreeSet::new(),
            unremoved: BTreeSet::new(),
        }
    }

    fn begin(&mut self, key: &str, state: &str) -> Line {
        self.conditions.begin(key, state, (self.now)())
    }

    fn end(&mut self, key: &str) -> bool {
        self.conditions.end(key, (self.now)()).is_due()
    }

    /// A worker is gone, perhaps over a snapshot; it is replaced.
    pub(crate) fn worker_lost(&mut self, loss: Loss, snapshot: Option<&str>) {
        let Loss { index: worker, pid, death } = loss;
        let line = self.begin(&lost(worker), &format!("{death:?}"));
        if !line.is_due() {
            return;
        }
        let note = line.note();
        match death {
            Death::Asked => info!(worker, pid, "a worker ended on SIGTERM, replacing it{note}"),
            Death::Hung => error!(
                worker,
                pid,
                snapshot,
                "a worker made no progress (job-timeout), killed, replacing it{note}"
            ),
            Death::Crashed | Death::Killed => {
                warn!(worker, pid, ?death, snapshot, "a worker died, replacing it{note}");
            }
        }
    }

    pub(crate) fn worker_not_started(&mut self, worker: usize, reason: &str) {
        let line = self.begin(&unstarted(worker), "");
        if line.is_due() {
            let note = line.note();
            error!(worker, reason, "cannot start a worker, trying again{note}");
        }
    }

    pub(crate) fn worker_started(&mut self, worker: usize) {
        self.end(&lost(worker));
        if self.end(&unstarted(worker)) {
            info!(worker, "a worker has started after all");
        }
    }

    /// A snapshot came to an end other than that it cannot be read.
    pub(crate) fn read(&mut self, snapshot: &str) {
        self.unreadable.remove(snapshot);
        if self.unreadable.is_empty() && self.end("unreadable") {
            info!("snapshots can be read again");
        }
    }

    /// A snapshot was folded: others can be, too.
    pub(crate) fn folded(&mut self) {
        self.end("gone");
        if self.end("given up") {
            info!("snapshots can be processed again");
        }
    }

    pub(crate) fn gone(&mut self, snapshot: &str) {
        let line = self.begin("gone", "");
        if line.is_due() {
            warn!(snapshot, "somebody took the snapshot away, going on{}", line.note());
        }
    }

    pub(crate) fn unreadable(&mut self, snapshot: &str, reason: &str) {
        self.unreadable.insert(snapshot.to_owned());
        let line = self.begin("unreadable", "");
        if line.is_due() {
            let note = line.note();
            warn!(snapshot, reason, "the snapshot cannot be read just now, trying again{note}");
        }
    }

    /// A snapshot was moved to failed-dir, for which `gone` older ones had to go.
    pub(crate) fn moved_aside(
        &mut self,
        snapshot: &str,
        reason: &str,
        failed_dir: &str,
        gone: usize,
    ) {
        let line = self.begin("given up", "moved");
        if line.is_due() {
            let note = line.note();
            error!(
                snapshot,
                reason, failed_dir, gone, "moved to failed-dir; mend it and move it back{note}"
            );
        }
    }

    /// A snapshot could not be moved to failed-dir and stays.
    pub(crate) fn not_moved(&mut self, snapshot: &str, reason: &str, error: &str) {
        let line = self.begin("given up", "left");
        if line.is_due() {
            let note = line.note();
            error!(
                snapshot,
                reason, error, "left in the spool; it is moved to failed-dir once that works{note}"
            );
        }
    }

    /// A snapshot that is done stays in the spool.
    pub(crate) fn not_removed(&mut self, snapshot: &str, reason: &str) {
        self.unremoved.insert(snapshot.to_owned());
        let line = self.begin("removal", "");
        if line.is_due() {
            let note = line.note();
            error!(
                snapshot,
                reason, "a snapshot that is done stays, trying again to remove it{note}"
            );
        }
    }

    /// A snapshot that is done left the spool.
    pub(crate) fn removed(&mut self, snapshot: &str) {
        self.unremoved.remove(snapshot);
        if self.unremoved.is_empty() && self.end("removal") {
            info!("snapshots that are done can be removed again");
        }
    }

    /// A receiver that nothing waits for does not work; counted in LocalStoreFailures.
    pub(crate) fn beside_fails(&mut self, dispatcher: &str, reason: &str) {
        let line = self.begin(&format!("beside {dispatcher}"), "");
        if line.is_due() {
            warn!(dispatcher, reason, "does not work; nothing waits for it{}", line.note());
        }
    }

    pub(crate) fn beside_works(&mut self, dispatcher: &str) {
        if self.end(&format!("beside {dispatcher}")) {
            info!(dispatcher, "works again");
        }
    }

    /// A snapshot that is done is hidden, but cannot be deleted.
    pub(crate) fn not_deleted(&mut self, reason: &str) {
        let line = self.begin("deletion", "");
        if line.is_due() {
            let note = line.note();
            warn!(
                reason,
                "a snapshot that is done cannot be deleted: it takes up room under a hidden name, \
                 counted in UndeletedSnapshots, and is tried again{note}"
            );
        }
    }

    /// All that was hidden is deleted.
    pub(crate) fn deleted(&mut self) {
        if self.end("deletion") {
            info!("all snapshots that are done are deleted");
        }
    }
}

fn lost(worker: usize) -> String {
    format!("lost worker {worker}")
}

fn unstarted(worker: usize) -> String {
    format!("unstarted worker {worker}")
}
