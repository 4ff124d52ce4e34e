//! The spool as the core sees it: its snapshots, their release, and their way to `failed-dir`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use model::Timestamp;

use super::children::Work;
use super::journal::Condition;
use super::notice::Notice;
use super::types::{Action, Order, OrderId, Reply, Role};
use super::{Core, DISK_LIMIT};

/// Snapshots whose fold, release or move failed and is tried again. Beyond it the oldest is
/// forgotten, and a later list of the spool finds it.
const RETRIES_MAX: usize = 10_000;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct SpoolState {
    pub(super) was_ready: bool,
    /// The spool child waits for [`Order::Continue`].
    owes_continue: bool,
    /// Releases to be ordered: directory and identity.
    releases: VecDeque<(Timestamp, u64)>,
    /// Every snapshot that is settled and not yet released.
    settled: BTreeSet<Timestamp>,
    /// Settled snapshots that the spool child named again: a new snapshot may have the name.
    reused_names: BTreeSet<Timestamp>,
    /// Moves to `failed-dir` to be ordered: directory and reason.
    give_ups: VecDeque<(Timestamp, String)>,
    /// Snapshots that are given up because they cannot be read. If such a snapshot cannot be moved
    /// either, its fold is tried again in place of the move.
    may_recover: BTreeSet<Timestamp>,
    fold_retries: BTreeSet<Timestamp>,
    release_retries: BTreeMap<Timestamp, u64>,
    give_up_retries: BTreeMap<Timestamp, String>,
    pub(super) wants_inspection: bool,
    /// From the last inspection: snapshots in the spool, the oldest of them, and hidden
    /// directories that cannot be deleted.
    pub(super) waiting: u64,
    pub(super) oldest: Option<Timestamp>,
    pub(super) undeleted: u64,
}

impl SpoolState {
    /// The number of settled snapshots that are not released.
    pub(super) fn releases(&self) -> usize {
        self.settled.len()
    }

    /// Whether no release is left to be ordered, except for later retries.
    pub(super) fn is_stuck(&self) -> bool {
        self.releases.is_empty()
    }

    pub(super) const fn forget_child(&mut self) {
        self.owes_continue = false;
    }

    pub(super) fn release_later(&mut self, snapshot: Timestamp, identity: u64) {
        self.settled.insert(snapshot.clone());
        self.releases.push_back((snapshot, identity));
    }

    pub(super) fn release_again(&mut self, snapshot: Timestamp, identity: u64) {
        self.releases.push_front((snapshot, identity));
    }

    pub(super) fn give_up_later(&mut self, snapshot: Timestamp, reason: String, recovers: bool) {
        if recovers {
            self.may_recover.insert(snapshot.clone());
        }
        self.give_ups.push_back((snapshot, reason));
    }

    pub(super) fn give_up_again(&mut self, snapshot: Timestamp, reason: String) {
        self.give_ups.push_front((snapshot, reason));
    }

    pub(super) fn fold_later(&mut self, snapshot: Timestamp) {
        self.fold_retries.insert(snapshot);
    }

    fn retries(&self) -> usize {
        self.fold_retries.len() + self.release_retries.len() + self.give_up_retries.len()
    }
}

impl Core {
    pub(super) fn spool_is_ready(&mut self) {
        if !std::mem::replace(&mut self.spool.was_ready, true) {
            let (src_dir, workers) = (self.settings.src_dir.clone(), self.settings.workers);
            let notice = Notice::info("watching").field("src_dir", src_dir);
            self.log(notice.field("workers", workers));
            self.act(Action::Ready);
            self.act(Action::Status("watching".to_owned()));
        }
        self.spool.wants_inspection = true;
    }

    /// The spool child named snapshots.
    pub(super) fn snapshots_named(&mut self, snapshots: Vec<Timestamp>) {
        for snapshot in snapshots {
            let is_new = self.queue.add(snapshot.clone());
            if !is_new && self.spool.settled.contains(&snapshot) {
                self.spool.reused_names.insert(snapshot);
            }
        }
        self.spool.owes_continue = true;
    }

    pub(super) fn schedule_spool(&mut self) {
        if let Some(child) = self.children.running(Role::Spool)
            && self.spool.owes_continue
            && self.queue.has_room()
            && self.phase.is_running()
        {
            self.spool.owes_continue = false;
            let id = OrderId(self.new_id());
            self.act(Action::Order { child, id, order: Order::Continue, descriptor: None });
        }
        let Some(child) = self.children.idle(Role::Spool) else { return };
        if let Some((snapshot, identity)) = self.spool.releases.pop_front() {
            let order = Order::Release { snapshot: snapshot.clone(), identity };
            let work = Work::Release { snapshot, identity };
            return self.order(child, order, work, None, DISK_LIMIT);
        }
        if let Some((snapshot, reason)) = self.spool.give_ups.pop_front() {
            let order = Order::GiveUp { snapshot: snapshot.clone(), reason: reason.clone() };
            let work = Work::GiveUp { snapshot, reason };
            return self.order(child, order, work, None, DISK_LIMIT);
        }
        if self.spool.wants_inspection && self.phase.is_running() {
            self.spool.wants_inspection = false;
            self.order(child, Order::Inspect, Work::Inspect, None, DISK_LIMIT);
        }
    }

    pub(super) fn release_ended(&mut self, snapshot: Timestamp, identity: u64, reply: Reply) {
        match reply {
            Reply::Released { undeleted } => {
                if let Some(reason) = undeleted {
                    self.spool.undeleted += 1;
                    self.log_undeleted(&reason);
                }
                self.journal.unreleased.remove(&snapshot);
                if self.journal.unreleased.is_empty() {
                    let notice = Notice::info("snapshots that are done can be removed again");
                    self.log_end(Condition::ReleaseFailure, notice);
                }
                self.forget_snapshot(&snapshot);
            }
            Reply::ReleaseFailed { reason } => {
                self.journal.unreleased.insert(snapshot.clone());
                let text = "a snapshot that is done stays, trying again to remove it";
                let notice = Notice::error(text).text("snapshot", snapshot.as_str());
                self.log_begin(Condition::ReleaseFailure, "", notice.text("reason", reason));
                self.spool.release_retries.insert(snapshot, identity);
                self.bound_retries();
            }
            _ => self.spool.release_again(snapshot, identity),
        }
    }

    pub(super) fn give_up_ended(&mut self, snapshot: Timestamp, reason: String, reply: Reply) {
        match reply {
            Reply::GivenUp { removed } => {
                let notice = Notice::error("moved to failed-dir; mend it and move it back")
                    .text("snapshot", snapshot.as_str())
                    .text("reason", reason)
                    .text("failed_dir", &self.settings.failed_dir)
                    .field("gone", removed);
                self.log_begin(Condition::FailedSnapshot, "moved", notice);
                self.log_readable(&snapshot);
                self.spool.may_recover.remove(&snapshot);
                self.spool.wants_inspection |= removed > 0;
                self.forget_snapshot(&snapshot);
            }
            Reply::ReleaseFailed { reason: error } => {
                let text = "left in the spool; it is moved to failed-dir once that works";
                let notice = Notice::error(text)
                    .text("snapshot", snapshot.as_str())
                    .text("reason", &reason)
                    .text("error", error);
                self.log_begin(Condition::FailedSnapshot, "left", notice);
                if self.spool.may_recover.remove(&snapshot) {
                    self.spool.fold_retries.insert(snapshot);
                } else {
                    self.spool.give_up_retries.insert(snapshot, reason);
                }
                self.bound_retries();
            }
            _ => self.spool.give_up_again(snapshot, reason),
        }
    }

    /// A snapshot has left the spool.
    fn forget_snapshot(&mut self, snapshot: &Timestamp) {
        self.queue.forget(snapshot);
        self.spool.settled.remove(snapshot);
        // A clock that was set back can have given the name to a new snapshot.
        if self.spool.reused_names.remove(snapshot) {
            self.queue.add(snapshot.clone());
        }
    }

    fn bound_retries(&mut self) {
        while self.spool.retries() > RETRIES_MAX {
            let spool = &mut self.spool;
            let oldest = spool.release_retries.pop_first().map(|(name, _)| name);
            let oldest = oldest.or_else(|| spool.fold_retries.pop_first());
            let oldest = oldest.or_else(|| spool.give_up_retries.pop_first().map(|(name, _)| name));
            let Some(oldest) = oldest else { return };
            self.spool.settled.remove(&oldest);
            self.queue.forget(&oldest);
        }
    }

    /// Tries the folds, releases and moves again that failed.
    pub(super) fn retry(&mut self) {
        for snapshot in std::mem::take(&mut self.spool.fold_retries) {
            self.queue.requeue(&snapshot);
        }
        self.spool.releases.extend(std::mem::take(&mut self.spool.release_retries));
        self.spool.give_ups.extend(std::mem::take(&mut self.spool.give_up_retries));
    }

    pub(super) fn inspect_ended(&mut self, reply: Reply) {
        let Reply::Inspected { waiting, oldest, undeleted, reason } = reply else { return };
        (self.spool.waiting, self.spool.oldest) = (waiting, oldest);
        self.spool.undeleted = undeleted;
        if let Some(reason) = reason {
            self.log_undeleted(&reason);
        } else if undeleted == 0 {
            let notice = Notice::info("all snapshots that are done are deleted");
            self.log_end(Condition::DeletionFailure, notice);
        }
    }
}
