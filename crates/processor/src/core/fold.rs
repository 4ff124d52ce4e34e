//! Which snapshots are folded, parked and folded again, and which go to `failed-dir`.

use std::collections::BTreeSet;

use model::Timestamp;

use super::children::Work;
use super::journal::Condition;
use super::life::beginning;
use super::notice::Notice;
use super::queue::Verdict;
use super::types::{Cause, Death, Descriptor, Order, Reply, Role};
use super::{Core, Hold, LIST_LIMIT, PARKED_MAX, ParkedSnapshot, PendingBatch, RELEASES_MAX};

impl Core {
    pub(super) fn schedule_folds(&mut self) {
        if !self.phase.is_running() {
            return;
        }
        let is_outbox_known = self.outbox.is_ready || self.now() >= self.begun + LIST_LIMIT;
        for index in 0..self.settings.workers {
            let must_wait = self.settings.folds_in_order && self.queue.folding() > 0;
            if !is_outbox_known
                || must_wait
                || self.is_pending_full()
                || self.spool.releases() >= RELEASES_MAX
                || !self.may_settle()
                || self.receivers_are_full()
            {
                return;
            }
            let Some(child) = self.children.idle(Role::Fold(index)) else { continue };
            self.unpark();
            let Some(snapshot) = self.next_snapshot() else { return };
            self.queue.begin(&snapshot);
            self.last_was_parked = self.parked.contains_key(&snapshot);
            let notice = Notice::debug("folding").text("snapshot", snapshot.as_str());
            self.log(notice.field("worker", index));
            let limit = self.settings.fold_limit;
            let order = Order::Fold { snapshot: snapshot.clone() };
            self.order(child, order, Work::Fold(snapshot), None, limit);
        }
    }

    /// Whether a batch could be settled now: a receiver would take it, or it could be held.
    fn may_settle(&self) -> bool {
        self.can_hold() || self.receivers.iter().any(|r| r.may_take_new(self.now(), false))
    }

    /// Whether each receiver that is up has one batch more in memory than it can have in flight.
    /// Folds then wait for the receivers, so that a backlog in the spool need not go through the
    /// outbox. Held batches do not count, so a slow receiver keeps folds from beginning for
    /// [`super::HOLD_AFTER`] at most.
    fn receivers_are_full(&self) -> bool {
        let mut up = self.receivers.iter().filter(|receiver| !receiver.circuit.is_down());
        let is_unheld =
            |key: &u64| self.batches.get(key).is_some_and(|batch| batch.entry.is_none());
        let is_full = |receiver: &super::Receiver| {
            let unheld = receiver.lane.iter().filter(|waiting| is_unheld(&waiting.key));
            unheld.count() > receiver.settings.in_flight_max
        };
        up.next().is_some_and(is_full) && up.all(is_full)
    }

    /// The oldest snapshot that may be folded. A snapshot waits while another one of its second is
    /// unsettled, so that the batches of a second stay in order.
    fn next_snapshot(&self) -> Option<Timestamp> {
        let is_unsettled = |seconds: u64| {
            if self.queue.is_folding_second(seconds) {
                return true;
            }
            let mut batches = self.batches.values().filter(|batch| !batch.owed.is_empty());
            batches.any(|batch| batch.id.timestamp.seconds() == seconds)
        };
        let may = |snapshot: &Timestamp| {
            let mut parked = self.parked.keys().filter(|parked| *parked != snapshot);
            !is_unsettled(snapshot.seconds())
                && !parked.any(|parked| parked.seconds() == snapshot.seconds())
        };
        self.queue.next(may).cloned()
    }

    /// Queues the oldest parked snapshot whose batch could be settled now, one at a time and in
    /// turn with new snapshots. At the bound the oldest is given up, if a receiver is up.
    fn unpark(&mut self) {
        let now = self.now();
        let is_one_folding = self.parked.values().any(|parked| parked.is_folding);
        let is_new_due = self.last_was_parked && self.queue.len() > 0;
        if !is_one_folding && !is_new_due {
            let can_hold = self.can_hold();
            let takes = |index: &usize, parked: &ParkedSnapshot| {
                self.receivers.get(*index).is_some_and(|receiver| {
                    receiver.may_take_new(now, false)
                        && receiver.is_idle()
                        && !receiver.has_predecessor(&parked.id)
                })
            };
            let found = self.parked.iter().find(|(_, parked)| {
                let mut takers = parked.owed.difference(&parked.outbox_only);
                can_hold || takers.any(|index| takes(index, parked))
            });
            if let Some(snapshot) = found.map(|(snapshot, _)| snapshot.clone()) {
                if let Some(parked) = self.parked.get_mut(&snapshot) {
                    parked.is_folding = true;
                }
                self.queue.requeue(&snapshot);
            }
        }
        let has_receiver = self.receivers.iter().any(|r| !r.circuit.is_down());
        if self.parked.len() >= PARKED_MAX && !self.can_hold() && has_receiver {
            self.give_up_parked();
        }
    }

    fn give_up_parked(&mut self) {
        let mut still = self.parked.iter().filter(|(_, parked)| !parked.is_folding);
        let oldest = still.next().map(|(snapshot, parked)| (snapshot.clone(), parked.identity));
        let Some((snapshot, identity)) = oldest else { return };
        self.lose_parked(&snapshot);
        let text = "too many snapshots can be neither delivered nor held: the oldest go, counted \
                    in DroppedMetrics";
        let notice = Notice::warn(text).text("snapshot", snapshot.as_str());
        self.log_begin(Condition::ParkedLimit, "", notice);
        self.spool.release_later(snapshot, identity);
    }

    /// Counts a parked snapshot as lost for the receivers that are owed its batch.
    fn lose_parked(&mut self, snapshot: &Timestamp) {
        let Some(parked) = self.parked.remove(snapshot) else { return };
        for index in parked.owed {
            self.lose(index, parked.points);
        }
    }

    pub(super) fn fold_ended(
        &mut self,
        snapshot: Timestamp,
        reply: Reply,
        descriptor: Option<Descriptor>,
    ) {
        match (reply, descriptor) {
            (Reply::Folded { id, identity, points, bytes, findings }, Some(descriptor)) => {
                self.log_findings(snapshot.as_str(), &findings);
                self.end(Condition::MissingSnapshot);
                self.log_readable(&snapshot);
                let notice = Notice::info("snapshots can be processed again");
                self.log_end(Condition::FailedSnapshot, notice);
                self.queue.leave(&snapshot);
                self.note_fold(snapshot.seconds(), points);
                let all = || (0..self.receivers.len()).collect();
                let (owed, outbox_only, deaths, rejections) = match self.parked.remove(&snapshot) {
                    Some(p) => (p.owed, p.outbox_only, p.deaths, p.rejections),
                    None => (all(), BTreeSet::new(), 0, 0),
                };
                let key = self.new_id();
                let batch = PendingBatch {
                    id,
                    snapshot,
                    identity,
                    points,
                    bytes,
                    descriptor,
                    since: self.now.monotonic,
                    owed,
                    in_lane: BTreeSet::new(),
                    entry: None,
                    hold: Hold::Unneeded,
                    deaths,
                    rejections,
                    outbox_only,
                    is_released: false,
                };
                self.batches.insert(key, batch);
            }
            (Reply::FoldFailed { cause, reason }, descriptor) => {
                self.close(descriptor);
                self.fold_failed(snapshot, cause, reason);
            }
            (reply, descriptor) => {
                self.close(descriptor);
                let notice = Notice::error("a fold child gave a wrong reply, please report this");
                self.log(notice.text("reply", beginning(&reply)));
                self.fold_lost(snapshot, Death::Crashed);
            }
        }
    }

    fn fold_failed(&mut self, snapshot: Timestamp, cause: Cause, reason: String) {
        match cause {
            Cause::Missing => {
                let notice = Notice::warn("somebody took the snapshot away, going on");
                let notice = notice.text("snapshot", snapshot.as_str());
                self.log_begin(Condition::MissingSnapshot, "", notice);
                self.log_readable(&snapshot);
                self.lose_parked(&snapshot);
                self.queue.forget(&snapshot);
            }
            Cause::Unreadable => match self.queue.unreadable(&snapshot) {
                Verdict::Retry => {
                    self.journal.unreadable.insert(snapshot.clone());
                    let notice = Notice::warn("the snapshot cannot be read just now, trying again")
                        .text("snapshot", snapshot.as_str())
                        .text("reason", reason);
                    self.log_begin(Condition::UnreadableSnapshot, "", notice);
                    self.spool.fold_later(snapshot);
                }
                Verdict::GiveUp => self.give_up(snapshot, reason, true),
            },
            Cause::Unusable => {
                self.log_readable(&snapshot);
                self.give_up(snapshot, reason, false);
            }
        }
    }

    pub(super) fn fold_lost(&mut self, snapshot: Timestamp, death: Death) {
        if !self.phase.is_running() {
            let notice = Notice::info("given up, since the program ends; it stays in the spool");
            self.log(notice.text("snapshot", snapshot.as_str()));
            return self.queue.leave(&snapshot);
        }
        match self.queue.died(&snapshot, death) {
            Verdict::Retry => {
                let notice = Notice::debug("folding the snapshot again");
                self.log(notice.text("snapshot", snapshot.as_str()));
            }
            Verdict::GiveUp => {
                let reason = "its workers keep dying over it".to_owned();
                self.give_up(snapshot, reason, false);
            }
        }
    }

    /// Moves a snapshot to `failed-dir`, by an order to the spool child.
    fn give_up(&mut self, snapshot: Timestamp, reason: String, may_recover: bool) {
        self.queue.leave(&snapshot);
        self.lose_parked(&snapshot);
        self.counts.failed_snapshots += 1;
        self.spool.give_up_later(snapshot, reason, may_recover);
    }
}
