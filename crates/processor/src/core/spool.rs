//! The spool as the core sees it: names that come in, snapshots that are released or given up.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use model::Timestamp;

use super::children::Work;
use super::notice::Notice;
use super::types::{Action, Order, OrderId, Reply, Role};
use super::{Core, DISK_LIMIT};

/// Snapshots that stay in the spool though they are done with, and are tried again. Further ones
/// are forgotten, so that a later list of the spool finds them.
const LINGERING_MAX: usize = 10_000;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Spool {
    pub(super) was_ready: bool,
    /// The child waits for [`Order::Continue`].
    owes_continue: bool,
    releases: VecDeque<(Timestamp, u64)>,
    /// All that are to be released, until they are.
    releasing: BTreeSet<Timestamp>,
    /// Named by the feed again while they were to be released.
    reappeared: BTreeSet<Timestamp>,
    give_ups: VecDeque<(Timestamp, String)>,
    /// Given up because they cannot be read: one that cannot be moved either is read again.
    may_recover: BTreeSet<Timestamp>,
    unreadable: BTreeSet<Timestamp>,
    unreleased: BTreeMap<Timestamp, u64>,
    unmoved: BTreeMap<Timestamp, String>,
    pub(super) wants_inspection: bool,
    pub(super) waiting: u64,
    pub(super) oldest: Option<Timestamp>,
    pub(super) undeleted: u64,
}

impl Spool {
    /// How many snapshots wait to be released.
    pub(super) fn releases(&self) -> usize {
        self.releasing.len()
    }

    /// Whether all that is to be released has been tried, and waits for another try.
    pub(super) fn is_stuck(&self) -> bool {
        self.releases.is_empty()
    }

    pub(super) const fn is_gone(&mut self) {
        self.owes_continue = false;
    }

    pub(super) fn release_later(&mut self, snapshot: Timestamp, identity: u64) {
        self.releasing.insert(snapshot.clone());
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

    pub(super) fn read_later(&mut self, snapshot: Timestamp) {
        self.unreadable.insert(snapshot);
    }

    fn lingering(&self) -> usize {
        self.unreadable.len() + self.unreleased.len() + self.unmoved.len()
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

    /// The feed named snapshots.
    pub(super) fn found(&mut self, snapshots: Vec<Timestamp>) {
        for snapshot in snapshots {
            let is_new = self.queue.add(snapshot.clone());
            if !is_new && self.spool.releasing.contains(&snapshot) {
                self.spool.reappeared.insert(snapshot);
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
        let now = self.now.monotonic;
        match reply {
            Reply::Released { undeleted } => {
                if let Some(reason) = undeleted {
                    self.spool.undeleted += 1;
                    let notice = self.journal.undeleted(&reason, now);
                    self.log(notice);
                }
                let notice = self.journal.released(&snapshot, now);
                self.log(notice);
                self.left_the_spool(&snapshot);
            }
            Reply::Unreleased { reason } => {
                let notice = self.journal.unreleased(&snapshot, &reason, now);
                self.log(notice);
                self.spool.unreleased.insert(snapshot, identity);
                self.bound_lingering();
            }
            _ => self.spool.release_again(snapshot, identity),
        }
    }

    pub(super) fn give_up_ended(&mut self, snapshot: Timestamp, reason: String, reply: Reply) {
        let now = self.now.monotonic;
        match reply {
            Reply::GivenUp { removed } => {
                let failed_dir = self.settings.failed_dir.clone();
                let name = snapshot.as_str();
                let notice = self.journal.given_up(name, &reason, &failed_dir, removed, now);
                self.log(notice);
                self.journal.is_read(&snapshot, now, &mut self.actions);
                self.spool.may_recover.remove(&snapshot);
                self.spool.wants_inspection |= removed > 0;
                self.left_the_spool(&snapshot);
            }
            Reply::Unreleased { reason: error } => {
                let notice = self.journal.not_given_up(snapshot.as_str(), &reason, &error, now);
                self.log(notice);
                if self.spool.may_recover.remove(&snapshot) {
                    self.spool.unreadable.insert(snapshot);
                } else {
                    self.spool.unmoved.insert(snapshot, reason);
                }
                self.bound_lingering();
            }
            _ => self.spool.give_up_again(snapshot, reason),
        }
    }

    fn left_the_spool(&mut self, snapshot: &Timestamp) {
        self.queue.forget(snapshot);
        self.spool.releasing.remove(snapshot);
        // A clock that was set back can have given the name to a new snapshot.
        if self.spool.reappeared.remove(snapshot) {
            self.queue.add(snapshot.clone());
        }
    }

    fn bound_lingering(&mut self) {
        while self.spool.lingering() > LINGERING_MAX {
            let spool = &mut self.spool;
            let oldest = spool.unreleased.pop_first().map(|(name, _)| name);
            let oldest = oldest.or_else(|| spool.unreadable.pop_first());
            let oldest = oldest.or_else(|| spool.unmoved.pop_first().map(|(name, _)| name));
            let Some(oldest) = oldest else { return };
            self.spool.releasing.remove(&oldest);
            self.queue.forget(&oldest);
        }
    }

    /// Tries again what could not be read, released or moved.
    pub(super) fn retry_lingering(&mut self) {
        for snapshot in std::mem::take(&mut self.spool.unreadable) {
            self.queue.requeue(&snapshot);
        }
        self.spool.releases.extend(std::mem::take(&mut self.spool.unreleased));
        self.spool.give_ups.extend(std::mem::take(&mut self.spool.unmoved));
    }

    pub(super) fn inspect_ended(&mut self, reply: Reply) {
        let Reply::Inspected { waiting, oldest, undeleted, reason } = reply else { return };
        (self.spool.waiting, self.spool.oldest) = (waiting, oldest);
        self.spool.undeleted = undeleted;
        let now = self.now.monotonic;
        let notice = match reason {
            Some(reason) => self.journal.undeleted(&reason, now),
            None if undeleted == 0 => self.journal.deleted(now),
            None => None,
        };
        self.log(notice);
    }
}
