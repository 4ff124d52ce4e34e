//! The delivery of batches: new lane, backlog, and the receivers that are settled.

use std::time::{Duration, Instant};

use receivers::Outcome;

use super::children::Delivery;
use super::doubt::{Cause, Doubt};
use super::journal::Condition;
use super::notice::Notice;
use super::receiver::{Entry, LaneBatch, REJECTIONS_MAX, SENDER_DEATHS_MAX};
use super::types::{Death, Order, Reply, Role};
use super::{Core, HOLD_AFTER, Hold, PENDING_BYTES_MAX, PENDING_MAX, Work};
use crate::entry::{EntryName, Second};

impl Core {
    /// Whether the batches in memory have reached their bound.
    pub(super) fn is_pending_full(&self) -> bool {
        let bytes: u64 = self.batches.values().map(|batch| batch.bytes).sum();
        let most = PENDING_MAX + self.settings.workers;
        self.batches.len() + self.queue.folding() >= most || bytes >= PENDING_BYTES_MAX
    }

    /// Puts each batch into the new lanes of the receivers that may have it now, and decides which
    /// batches must be held.
    pub(super) fn assign(&mut self) {
        let is_full = self.is_pending_full();
        let now = self.now();
        let is_outbox_running = self.children.running(Role::Outbox).is_some();
        let is_ending = !self.phase.is_running();
        for (&key, batch) in &mut self.batches {
            let mut must_hold =
                !batch.owed.is_empty() && (is_full || is_ending || now >= batch.since + HOLD_AFTER);
            for &index in batch.owed.difference(&batch.in_lane.clone()) {
                let Some(receiver) = self.receivers.get_mut(index) else { continue };
                if batch.outbox_only.contains(&index)
                    || receiver.has_predecessor(&batch.id)
                    || !receiver.may_take_new(now, is_outbox_running)
                {
                    must_hold = true;
                    continue;
                }
                let second = Second::of(&batch.id);
                receiver.lane.push_back(LaneBatch { key, second, bytes: batch.bytes });
                batch.in_lane.insert(index);
            }
            if must_hold && batch.hold == Hold::Unneeded {
                batch.hold = Hold::Needed;
            }
        }
    }

    /// Gives each send child the next batches of its receiver, as long as it has room.
    pub(super) fn schedule_sends(&mut self) {
        let (now, may_replay) = (self.now(), self.phase.is_running());
        for index in 0..self.receivers.len() {
            let Some(child) = self.children.running(Role::Send(index)) else { continue };
            while let Some(receiver) = self.receivers.get_mut(index)
                && let Some(delivery) = receiver.next_delivery(now, may_replay)
            {
                let limit = receiver.settings.send_limit;
                let (order, descriptor) = match &delivery {
                    Delivery::New(key, _) => {
                        (Order::Send, self.batches.get(key).map(|batch| batch.descriptor))
                    }
                    Delivery::Backlog(_, descriptor) => (Order::Send, Some(*descriptor)),
                    Delivery::Figures => {
                        let Some((timestamp, figures)) = receiver.figures.take() else { break };
                        (Order::SendFigures { timestamp, figures }, None)
                    }
                };
                receiver.begin_delivery(delivery.clone(), now);
                self.order(child, order, Work::Send(delivery), descriptor, limit);
            }
        }
    }

    /// A send child answered an order.
    pub(super) fn send_ended(
        &mut self,
        index: usize,
        delivery: Delivery,
        ordered_at: Instant,
        reply: Reply,
    ) {
        let Some(receiver) = self.receivers.get_mut(index) else { return };
        receiver.end_delivery(&delivery);
        let is_held = matches!(delivery, Delivery::Backlog(..));
        match reply {
            Reply::Delivered(outcome) => self.delivered(index, delivery, &outcome),
            Reply::Rejected { reason } => self.rejected(index, delivery, &reason, Cause::Batch),
            Reply::Doubtful { reason } => self.doubtful(index, delivery, ordered_at, &reason),
            Reply::Damaged { reason } => self.damaged(index, delivery, &reason),
            Reply::Refused { reason, wait } => {
                let wait = wait.unwrap_or_default();
                self.refused(index, &delivery, ordered_at, &reason, wait);
            }
            reply => {
                let reason = format!("a wrong reply: {reply:?}");
                self.refused(index, &delivery, ordered_at, &reason, Duration::ZERO);
            }
        }
        if is_held {
            self.trim(index);
        }
    }

    /// A send child ended with a batch in flight. A crash counts for the batch only if nothing else
    /// was in flight.
    pub(super) fn send_lost(
        &mut self,
        index: usize,
        delivery: Delivery,
        ordered_at: Instant,
        death: Death,
        is_alone: bool,
    ) {
        let Some(receiver) = self.receivers.get_mut(index) else { return };
        receiver.end_delivery(&delivery);
        if death == Death::Overdue {
            let reason = "the delivery takes longer than its limits and job-timeout allow";
            self.refused(index, &delivery, ordered_at, reason, Duration::ZERO);
            return self.trim(index);
        }
        if death == Death::Crashed {
            receiver.send_alone();
        }
        let deaths = u32::from(death == Death::Crashed && is_alone);
        match delivery {
            Delivery::New(key, _) => {
                if let Some(batch) = self.batches.get_mut(&key)
                    && deaths > 0
                {
                    batch.deaths += deaths;
                    batch.outbox_only.insert(index);
                }
                self.demote(index, key);
            }
            Delivery::Backlog(name, descriptor) => {
                self.close(descriptor);
                let Some(entry) = self.entry_mut(index, &name) else { return };
                entry.deaths += deaths;
                if entry.deaths >= SENDER_DEATHS_MAX {
                    self.set_aside(index, &name, "its senders keep dying over it");
                }
                self.trim(index);
            }
            Delivery::Figures => {}
        }
    }

    fn delivered(&mut self, index: usize, delivery: Delivery, outcome: &Outcome) {
        self.came_up(index);
        self.count_losses(index, &delivery, outcome);
        if let Some(receiver) = self.receivers.get_mut(index)
            && delivery != Delivery::Figures
        {
            receiver.count_delivery();
        }
        match delivery {
            Delivery::New(key, _) => {
                let Some(batch) = self.batches.get_mut(&key) else { return };
                batch.owed.remove(&index);
                batch.in_lane.remove(&index);
                let entry = batch.entry.clone();
                if let Some(receiver) = self.receivers.get_mut(index) {
                    receiver.leave_lane(key);
                }
                if let Some(name) = entry {
                    self.leave_outbox(index, name);
                }
                self.finish(key);
            }
            Delivery::Backlog(name, descriptor) => {
                self.close(descriptor);
                let now = self.now.monotonic;
                if let Some(receiver) = self.receivers.get_mut(index) {
                    receiver.pace(name.points, now);
                }
                self.leave_outbox(index, name);
            }
            Delivery::Figures => {}
        }
    }

    /// Counts the points of a batch that the receiver will never have, though the batch counts as
    /// delivered. They are logged when they begin, and again when a batch comes without them.
    fn count_losses(&mut self, index: usize, delivery: &Delivery, outcome: &Outcome) {
        let Some(receiver) = self.receivers.get_mut(index) else { return };
        let Outcome { refused_points, long_lines } = outcome;
        receiver.refused_points = receiver.refused_points.saturating_add(refused_points.count);
        receiver.long_lines = receiver.long_lines.saturating_add(long_lines.count);
        let name = receiver.settings.name.clone();
        // Figures about the program are other points than those of a batch, so they have conditions
        // of their own: one set must not end the condition of the other.
        let is_figures = *delivery == Delivery::Figures;
        let losses = [
            (
                Condition::RefusedPoints { receiver: index, is_figures },
                refused_points,
                "the receiver refused points, they are not sent again; RefusedPoints counts",
                "the receiver takes all points again",
            ),
            (
                Condition::LongLines { receiver: index, is_figures },
                long_lines,
                "lines are too long for the receiver and are left out; LongLines counts",
                "no line is too long any more",
            ),
        ];
        for (condition, loss, begin, end) in losses {
            if let Some(reason) = &loss.reason {
                let notice = Notice::warn(begin).text("receiver", &name);
                let notice = notice.field("count", loss.count).text("reason", reason);
                self.log_begin(condition, "", notice);
            } else {
                self.log_end(condition, Notice::info(end).text("receiver", &name));
            }
        }
    }

    /// A held batch is delivered.
    fn leave_outbox(&mut self, index: usize, name: EntryName) {
        let Some(receiver) = self.receivers.get_mut(index) else { return };
        if receiver.remove(&name).is_none() {
            return;
        }
        self.outbox.drop_later(index, name);
        if receiver.is_empty() {
            let notice = Notice::info("the outbox is empty");
            let notice = notice.text("receiver", &receiver.settings.name);
            self.end(Condition::OutboxLimit(index));
            self.end(Condition::LostBatch(index));
            self.log_end(Condition::Backlog(index), notice);
        }
    }

    /// `wait` is the pause that the receiver asks for.
    fn refused(
        &mut self,
        index: usize,
        delivery: &Delivery,
        ordered_at: Instant,
        reason: &str,
        wait: Duration,
    ) {
        let (now, random) = (self.now.monotonic, self.random.f64());
        let Some(receiver) = self.receivers.get_mut(index) else { return };
        receiver.failures += 1;
        // A batch that was in flight when the circuit opened does not open it once more, also if
        // its failure comes when the receiver is back.
        let changed_at = receiver.down_since.or(receiver.up_since);
        let is_known = changed_at.is_some_and(|changed_at| ordered_at < changed_at);
        if !is_known && receiver.circuit.open(now, random, wait) {
            receiver.down_since = Some(now);
            let text = "not delivered, the receiver is down; batches go into the outbox until it \
                        is back";
            let notice = Notice::warn(text).text("receiver", &receiver.settings.name);
            self.log_begin(Condition::ReceiverDown(index), "", notice.text("reason", reason));
        }
        if let Delivery::Backlog(_, descriptor) = delivery {
            self.close(*descriptor);
        }
        self.clear_lane(index);
    }

    /// A batch that the receiver may never take must not keep its lane from going on. So the other
    /// held batches have their turn first. If the receiver takes one of them and refuses this one
    /// again with the same text, the reason is probably the batch, and it counts as rejected.
    fn doubtful(&mut self, index: usize, delivery: Delivery, ordered_at: Instant, reason: &str) {
        let now = self.now.monotonic;
        let mut cause = Cause::Unknown;
        if let Delivery::Backlog(name, _) = &delivery
            && let Some(receiver) = self.receivers.get_mut(index)
        {
            let reason_hash = xxhash_rust::xxh3::xxh3_64(reason.as_bytes());
            let doubt = Doubt { reason_hash, taken: receiver.taken, since: now };
            receiver.unreadable(name, now);
            if let Some(entry) = receiver.entry_mut(name) {
                let (found, next) = match entry.doubt {
                    Some(before) => before.followed_by(doubt),
                    None => (Cause::Unknown, doubt),
                };
                (cause, entry.doubt) = (found, Some(next));
            }
        }
        match cause {
            Cause::Unknown => {
                self.refused(index, &delivery, ordered_at, reason, Duration::ZERO);
            }
            Cause::Suspect | Cause::Batch => self.rejected(index, delivery, reason, cause),
        }
    }

    /// A batch that is only suspected is not set aside, however often it is refused.
    fn rejected(&mut self, index: usize, delivery: Delivery, reason: &str, cause: Cause) {
        self.came_up(index);
        if let Some(receiver) = self.receivers.get_mut(index) {
            receiver.failures += 1;
        }
        match delivery {
            Delivery::New(key, _) => {
                if let Some(batch) = self.batches.get_mut(&key) {
                    batch.rejections += 1;
                    batch.outbox_only.insert(index);
                }
                self.demote(index, key);
            }
            Delivery::Backlog(name, descriptor) => {
                self.close(descriptor);
                let now = self.now.monotonic;
                let Some(receiver) = self.receivers.get_mut(index) else { return };
                let is_suspect = cause == Cause::Suspect;
                if is_suspect {
                    receiver.suspect(&name, now);
                } else {
                    receiver.unreadable(&name, now);
                }
                let Some(entry) = receiver.entry_mut(&name) else { return };
                entry.rejections = entry.rejections.saturating_add(1);
                if entry.rejections >= REJECTIONS_MAX && !is_suspect {
                    self.set_aside(index, &name, reason);
                }
            }
            Delivery::Figures => {}
        }
    }

    fn damaged(&mut self, index: usize, delivery: Delivery, reason: &str) {
        match delivery {
            Delivery::New(key, _) => {
                let Some(batch) = self.batches.get_mut(&key) else { return };
                let (points, snapshot) = (batch.points, batch.snapshot.to_string());
                // If the batch is held, its file is tried next, and counted if it is damaged too.
                let is_lost = batch.owed.remove(&index);
                let notice = Notice::error("a folded batch is damaged, please report this");
                self.log(notice.text("snapshot", snapshot).text("reason", reason));
                if is_lost {
                    self.lose(index, points);
                }
                self.demote(index, key);
            }
            Delivery::Backlog(name, descriptor) => {
                self.close(descriptor);
                self.set_aside(index, &name, reason);
            }
            Delivery::Figures => {}
        }
    }

    fn came_up(&mut self, index: usize) {
        let now = self.now.monotonic;
        let Some(receiver) = self.receivers.get_mut(index) else { return };
        if !receiver.circuit.close() {
            return;
        }
        let since = receiver.down_since.take().unwrap_or(now);
        receiver.up_since = Some(now);
        let seconds = now.saturating_duration_since(since).as_secs();
        let notice = Notice::info("the receiver is back; the outbox follows, oldest first")
            .text("receiver", &receiver.settings.name)
            .field("seconds", seconds)
            .field("batches", receiver.len())
            .field("metrics", receiver.points());
        self.log_end(Condition::ReceiverDown(index), notice);
    }

    /// Moves the batches of a receiver's new lane into its backlog. Those in flight stay until
    /// their replies come, and those of the same seconds stay behind them.
    fn clear_lane(&mut self, index: usize) {
        let Some(receiver) = self.receivers.get(index) else { return };
        let free = receiver.lane.iter().filter(|waiting| !receiver.is_in_flight(waiting.second));
        let keys: Vec<u64> = free.map(|waiting| waiting.key).collect();
        for key in keys {
            self.demote(index, key);
        }
    }

    /// Moves a batch of a receiver's new lane into its backlog, with the batches of the same second
    /// behind it.
    pub(super) fn demote(&mut self, index: usize, key: u64) {
        let Some(second) = self.batches.get(&key).map(|batch| Second::of(&batch.id)) else {
            return;
        };
        let Some(receiver) = self.receivers.get(index) else { return };
        let behind = receiver.lane.iter().skip_while(|waiting| waiting.key != key);
        let of_second = behind.filter(|waiting| waiting.second == second);
        let mut demoted: Vec<u64> = of_second.map(|waiting| waiting.key).collect();
        if demoted.is_empty() {
            demoted.push(key);
        }
        for key in demoted {
            let Some(batch) = self.batches.get_mut(&key) else { continue };
            batch.in_lane.remove(&index);
            if batch.owed.contains(&index) && batch.hold == Hold::Unneeded {
                batch.hold = Hold::Needed;
            }
            let entry = batch.entry.clone();
            if let Some(receiver) = self.receivers.get_mut(index) {
                receiver.leave_lane(key);
                if let Some(entry) = entry.and_then(|name| receiver.entry_mut(&name)) {
                    entry.is_in_memory = false;
                    (entry.deaths, entry.rejections) = (batch.deaths, batch.rejections);
                }
            }
            self.finish(key);
        }
    }

    /// Releases the snapshot of a batch once it is owed to no receiver, and forgets the batch once
    /// it is in no lane.
    pub(super) fn finish(&mut self, key: u64) {
        let Some(batch) = self.batches.get_mut(&key) else { return };
        if !batch.owed.is_empty() {
            return;
        }
        let (snapshot, identity) = (batch.snapshot.clone(), batch.identity);
        let is_done = batch.in_lane.is_empty();
        if !std::mem::replace(&mut batch.is_released, true) {
            let text = if batch.entry.is_some() { "stored in the outbox" } else { "delivered" };
            let took = self.now.monotonic.saturating_duration_since(batch.since);
            let notice = Notice::info(text)
                .text("snapshot", snapshot.as_str())
                .field("metrics", batch.points)
                .field("milliseconds", took.as_millis());
            self.log(notice);
            self.spool.release_later(snapshot, identity);
        }
        if is_done && let Some(batch) = self.batches.remove(&key) {
            self.close(batch.descriptor);
        }
    }

    /// Sets a held batch aside and counts it as lost for its receiver.
    pub(super) fn set_aside(&mut self, index: usize, name: &EntryName, reason: &str) {
        let Some(receiver) = self.receivers.get_mut(index) else { return };
        if receiver.remove(name).is_none() {
            return;
        }
        let notice = Notice::error("a batch of the outbox is lost; DroppedMetrics counts")
            .text("receiver", &receiver.settings.name)
            .text("snapshot", name.timestamp.as_str())
            .field("metrics", name.points)
            .text("reason", reason);
        self.outbox.quarantine_later(index, name.clone());
        self.lose(index, name.points);
        self.log_begin(Condition::LostBatch(index), "", notice);
    }

    /// Counts points that a receiver will never get.
    pub(super) fn lose(&mut self, index: usize, points: u64) {
        let now = self.now();
        if let Some(receiver) = self.receivers.get_mut(index) {
            receiver.dropped_points = receiver.dropped_points.saturating_add(points);
            receiver.lost_at = Some(now);
        }
    }

    fn entry_mut(&mut self, index: usize, name: &EntryName) -> Option<&mut Entry> {
        self.receivers.get_mut(index)?.entry_mut(name)
    }
}
