//! Which snapshots are folded, and what becomes of those that cannot be.

use model::Timestamp;

use super::children::Work;
use super::notice::Notice;
use super::queue::Verdict;
use super::types::{Cause, Death, Descriptor, Order, Reply, Role};
use super::{Batch, Core, Hold, LIST_LIMIT, PARKED_MAX, RELEASES_MAX};

impl Core {
    pub(super) fn schedule_folds(&mut self) {
        if !self.phase.is_running() {
            return;
        }
        let is_outbox_known = self.outbox.is_ready() || self.now() >= self.begun + LIST_LIMIT;
        for index in 0..self.settings.workers {
            let must_wait = self.settings.folds_in_order && self.queue.folding() > 0;
            if !is_outbox_known
                || must_wait
                || self.is_pending_full()
                || self.spool.releases() >= RELEASES_MAX
                || !self.may_settle()
                || self.is_everybody_served()
            {
                return;
            }
            let Some(child) = self.children.idle(Role::Fold(index)) else { continue };
            self.unpark();
            let Some(snapshot) = self.next_snapshot() else { return };
            self.queue.begin(&snapshot);
            self.folded_parked = self.parked.contains_key(&snapshot);
            let notice = Notice::debug("folding").text("snapshot", snapshot.as_str());
            self.log(notice.field("worker", index));
            let limit = self.settings.fold_limit;
            let order = Order::Fold { snapshot: snapshot.clone() };
            self.order(child, order, Work::Fold(snapshot), None, limit);
        }
    }

    /// Whether a batch could be settled now: a receiver takes it, or it can be held.
    fn may_settle(&self) -> bool {
        self.can_hold() || self.receivers.iter().any(|r| r.may_take_new(self.now(), false))
    }

    /// Whether each receiver that is up has one batch more in memory than it can have in flight.
    /// Folds then wait for the receivers, so that a backlog in the spool need not go through the
    /// outbox. A batch that is held counts no more, so that a slow receiver keeps folds from
    /// beginning for [`super::HOLD_AFTER`] at most.
    fn is_everybody_served(&self) -> bool {
        let mut up = self.receivers.iter().filter(|receiver| !receiver.circuit.is_down());
        let is_unheld =
            |key: &u64| self.batches.get(key).is_some_and(|batch| batch.entry.is_none());
        let is_served = |receiver: &super::Receiver| {
            let unheld = receiver.lane.iter().filter(|waiting| is_unheld(&waiting.key));
            unheld.count() > receiver.settings.flights
        };
        up.next().is_some_and(is_served) && up.all(is_served)
    }

    /// The oldest snapshot that may be folded. One second of an unsettled batch is kept out, so
    /// that the batches of a second stay in order.
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

    /// Queues the oldest parked snapshot whose batch could be settled now, one at a
    /// time and in turn with new ones. At the bound the oldest goes for good, if a receiver waits
    /// for newer ones.
    fn unpark(&mut self) {
        let now = self.now();
        let is_one_folding = self.parked.values().any(|parked| parked.is_folding);
        let is_new_due = self.folded_parked && self.queue.len() > 0;
        if !is_one_folding && !is_new_due {
            let can_hold = self.can_hold();
            let takes = |index: &usize, parked: &super::Parked| {
                self.receivers.get(*index).is_some_and(|receiver| {
                    receiver.may_take_new(now, false)
                        && receiver.is_idle()
                        && !receiver.has_predecessor(&parked.id)
                })
            };
            let found = self.parked.iter().find(|(_, parked)| {
                let mut takers = parked.owed.difference(&parked.troubled);
                can_hold || takers.any(|index| takes(index, parked))
            });
            if let Some(snapshot) = found.map(|(snapshot, _)| snapshot.clone()) {
                if let Some(parked) = self.parked.get_mut(&snapshot) {
                    parked.is_folding = true;
                }
                self.queue.requeue(&snapshot);
            }
        }
        let somebody_is_up = self.receivers.iter().any(|r| !r.circuit.is_down());
        if self.parked.len() >= PARKED_MAX && !self.can_hold() && somebody_is_up {
            self.give_up_parked();
        }
    }

    fn give_up_parked(&mut self) {
        let mut still = self.parked.iter().filter(|(_, parked)| !parked.is_folding);
        let oldest = still.next().map(|(snapshot, parked)| (snapshot.clone(), parked.identity));
        let Some((snapshot, identity)) = oldest else { return };
        self.lose_parked(&snapshot);
        let notice = self.journal.gave_up_parked(snapshot.as_str(), self.now.monotonic);
        self.log(notice);
        self.spool.release_later(snapshot, identity);
    }

    /// Counts a parked snapshot as lost for all that are owed its batch.
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
        let now = self.now.monotonic;
        match (reply, descriptor) {
            (Reply::Folded { id, identity, points, bytes, findings }, Some(descriptor)) => {
                self.journal.findings(snapshot.as_str(), &findings, now, &mut self.actions);
                self.journal.folded(&snapshot, now, &mut self.actions);
                self.queue.leave(&snapshot);
                let parked = self.parked.remove(&snapshot);
                let all = || (0..self.receivers.len()).collect();
                let (owed, troubled, deaths, rejections) = match parked {
                    Some(p) => (p.owed, p.troubled, p.deaths, p.rejections),
                    None => (all(), std::collections::BTreeSet::new(), 0, 0),
                };
                let key = self.new_id();
                let batch = Batch {
                    id,
                    snapshot,
                    identity,
                    points,
                    bytes,
                    descriptor,
                    since: now,
                    owed,
                    in_lane: std::collections::BTreeSet::new(),
                    entry: None,
                    hold: Hold::Unwanted,
                    deaths,
                    rejections,
                    troubled,
                    is_released: false,
                };
                self.batches.insert(key, batch);
            }
            (Reply::Unfolded { cause, reason }, descriptor) => {
                descriptor.into_iter().for_each(|descriptor| self.close(descriptor));
                self.unfolded(snapshot, cause, reason);
            }
            (reply, descriptor) => {
                descriptor.into_iter().for_each(|descriptor| self.close(descriptor));
                self.log(
                    Notice::error("a fold child gave a wrong reply, please report this")
                        .text("reply", format!("{reply:?}").chars().take(200).collect::<String>()),
                );
                self.fold_lost(snapshot, Death::Crashed);
            }
        }
    }

    fn unfolded(&mut self, snapshot: Timestamp, cause: Cause, reason: String) {
        let now = self.now.monotonic;
        match cause {
            Cause::Missing => {
                let notice = self.journal.missing(snapshot.as_str(), now);
                self.log(notice);
                self.journal.is_read(&snapshot, now, &mut self.actions);
                self.lose_parked(&snapshot);
                self.queue.forget(&snapshot);
            }
            Cause::Unreadable => match self.queue.unreadable(&snapshot) {
                Verdict::Retry => {
                    let notice = self.journal.unreadable(&snapshot, &reason, now);
                    self.log(notice);
                    self.spool.read_later(snapshot);
                }
                Verdict::GiveUp => self.give_up(snapshot, reason, true),
            },
            Cause::Unusable => {
                self.journal.is_read(&snapshot, now, &mut self.actions);
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

    /// Has a snapshot moved to `failed-dir`.
    fn give_up(&mut self, snapshot: Timestamp, reason: String, may_recover: bool) {
        self.queue.leave(&snapshot);
        self.lose_parked(&snapshot);
        self.counts.failed_snapshots += 1;
        self.spool.give_up_later(snapshot, reason, may_recover);
    }
}
