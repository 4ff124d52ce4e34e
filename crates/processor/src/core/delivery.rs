//! From a folded batch to its receivers: the new lane, the backlog, and who is settled.

use std::time::Instant;

use super::children::Flight;
use super::notice::Notice;
use super::receiver::{REJECTIONS_MAX, SENDER_DEATHS_MAX, Waiting};
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

    /// Puts each batch into the new lanes of those that may have it now, and decides which batches
    /// must be held.
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
                if batch.troubled.contains(&index)
                    || receiver.has_predecessor(&batch.id)
                    || !receiver.may_take_new(now, is_outbox_running)
                {
                    must_hold = true;
                    continue;
                }
                let second = Second::of(&batch.id);
                receiver.lane.push_back(Waiting { key, second, bytes: batch.bytes });
                batch.in_lane.insert(index);
            }
            if must_hold && batch.hold == Hold::Unwanted {
                batch.hold = Hold::Wanted;
            }
        }
    }

    /// Gives each send child what its receiver is to have next, as long as it has room.
    pub(super) fn schedule_sends(&mut self) {
        let (now, may_replay) = (self.now(), self.phase.is_running());
        for index in 0..self.receivers.len() {
            let Some(child) = self.children.running(Role::Send(index)) else { continue };
            while let Some(receiver) = self.receivers.get_mut(index)
                && let Some(flight) = receiver.next_flight(now, may_replay)
            {
                let limit = receiver.settings.send_limit;
                let (order, descriptor) = match &flight {
                    Flight::New(key, _) => {
                        (Order::Send, self.batches.get(key).map(|batch| batch.descriptor))
                    }
                    Flight::Held(_, descriptor) => (Order::Send, Some(*descriptor)),
                    Flight::Own => {
                        let Some((timestamp, figures)) = receiver.own.take() else { break };
                        (Order::SendOwn { timestamp, figures }, None)
                    }
                };
                receiver.begin_flight(flight.clone(), now);
                self.order(child, order, Work::Send(flight), descriptor, limit);
            }
        }
    }

    /// A send child answered.
    pub(super) fn send_ended(
        &mut self,
        index: usize,
        flight: Flight,
        ordered_at: Instant,
        reply: Reply,
    ) {
        let Some(receiver) = self.receivers.get_mut(index) else { return };
        receiver.end_flight(&flight);
        match reply {
            Reply::Delivered => self.delivered(index, flight),
            Reply::Rejected { reason } => self.rejected(index, flight, &reason),
            Reply::Damaged { reason } => self.damaged(index, flight, &reason),
            Reply::Refused { reason } => self.refused(index, &flight, ordered_at, &reason),
            reply => {
                let reason = format!("a wrong reply: {reply:?}");
                self.refused(index, &flight, ordered_at, &reason);
            }
        }
    }

    /// A send child is gone with a batch in flight. A crash is the batch's only if the batch was
    /// alone.
    pub(super) fn send_lost(
        &mut self,
        index: usize,
        flight: Flight,
        ordered_at: Instant,
        death: Death,
        is_alone: bool,
    ) {
        let Some(receiver) = self.receivers.get_mut(index) else { return };
        receiver.end_flight(&flight);
        if death == Death::Overdue {
            let reason = "it takes longer over a batch than its limits and job-timeout allow";
            return self.refused(index, &flight, ordered_at, reason);
        }
        if death == Death::Crashed {
            receiver.send_alone();
        }
        let deaths = u32::from(death == Death::Crashed && is_alone);
        match flight {
            Flight::New(key, _) => {
                if let Some(batch) = self.batches.get_mut(&key)
                    && deaths > 0
                {
                    batch.deaths += deaths;
                    batch.troubled.insert(index);
                }
                self.demote(index, key);
            }
            Flight::Held(name, descriptor) => {
                self.close(descriptor);
                let Some(entry) = self.entry_mut(index, &name) else { return };
                entry.deaths += deaths;
                if entry.deaths >= SENDER_DEATHS_MAX {
                    self.set_aside(index, &name, "its senders keep dying over it");
                }
            }
            Flight::Own => {}
        }
    }

    fn delivered(&mut self, index: usize, flight: Flight) {
        self.came_up(index);
        if let Some(receiver) = self.receivers.get_mut(index)
            && flight != Flight::Own
        {
            receiver.took_one();
        }
        match flight {
            Flight::New(key, _) => {
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
            Flight::Held(name, descriptor) => {
                self.close(descriptor);
                let now = self.now.monotonic;
                if let Some(receiver) = self.receivers.get_mut(index) {
                    receiver.pace(name.points, now);
                }
                self.leave_outbox(index, name);
            }
            Flight::Own => {}
        }
    }

    /// A held batch is delivered.
    fn leave_outbox(&mut self, index: usize, name: EntryName) {
        let now = self.now.monotonic;
        let Some(receiver) = self.receivers.get_mut(index) else { return };
        if receiver.remove(&name).is_none() {
            return;
        }
        self.outbox.drop_later(index, name);
        if receiver.is_empty() {
            let receiver_name = receiver.settings.name.clone();
            let notice = self.journal.backlog_is_empty(&receiver_name, now);
            self.log(notice);
        }
    }

    fn refused(&mut self, index: usize, flight: &Flight, ordered_at: Instant, reason: &str) {
        let (now, chance) = (self.now.monotonic, self.random.f64());
        let Some(receiver) = self.receivers.get_mut(index) else { return };
        receiver.failures += 1;
        // Batches that were in flight when the circuit opened tell nothing new.
        let is_known = receiver.down_since.is_some_and(|since| ordered_at < since);
        if !is_known && receiver.circuit.open(now, chance) {
            receiver.down_since = Some(now);
            let name = receiver.settings.name.clone();
            let notice = self.journal.went_down(&name, reason, now);
            self.log(notice);
        }
        if let Flight::Held(_, descriptor) = flight {
            self.close(*descriptor);
        }
        self.clear_lane(index);
    }

    fn rejected(&mut self, index: usize, flight: Flight, reason: &str) {
        self.came_up(index);
        if let Some(receiver) = self.receivers.get_mut(index) {
            receiver.failures += 1;
        }
        match flight {
            Flight::New(key, _) => {
                if let Some(batch) = self.batches.get_mut(&key) {
                    batch.rejections += 1;
                    batch.troubled.insert(index);
                }
                self.demote(index, key);
            }
            Flight::Held(name, descriptor) => {
                self.close(descriptor);
                let now = self.now.monotonic;
                let Some(receiver) = self.receivers.get_mut(index) else { return };
                receiver.unreadable(&name, now);
                let Some(entry) = receiver.entry_mut(&name) else { return };
                entry.rejections += 1;
                if entry.rejections >= REJECTIONS_MAX {
                    self.set_aside(index, &name, reason);
                }
            }
            Flight::Own => {}
        }
    }

    fn damaged(&mut self, index: usize, flight: Flight, reason: &str) {
        match flight {
            Flight::New(key, _) => {
                let Some(batch) = self.batches.get_mut(&key) else { return };
                let (points, snapshot) = (batch.points, batch.snapshot.to_string());
                // Where it is held, the file is looked at next, and counted if it is damaged too.
                let is_lost = batch.owed.remove(&index);
                self.log(
                    Notice::error("a folded batch is damaged, please report this")
                        .text("snapshot", snapshot)
                        .text("reason", reason),
                );
                if is_lost {
                    self.lose(index, points);
                }
                self.demote(index, key);
            }
            Flight::Held(name, descriptor) => {
                self.close(descriptor);
                self.set_aside(index, &name, reason);
            }
            Flight::Own => {}
        }
    }

    fn came_up(&mut self, index: usize) {
        let now = self.now.monotonic;
        let Some(receiver) = self.receivers.get_mut(index) else { return };
        if !receiver.circuit.close() {
            return;
        }
        let since = receiver.down_since.take().unwrap_or(now);
        let seconds = now.saturating_duration_since(since).as_secs();
        let (name, batches) = (receiver.settings.name.clone(), receiver.len());
        let points = receiver.points();
        let notice = self.journal.came_up(&name, seconds, batches, points, now);
        self.log(notice);
    }

    /// Takes the batches out of a receiver's new lane: they go into its backlog. Those in flight
    /// stay until their replies come, and those of the same seconds stay behind them.
    fn clear_lane(&mut self, index: usize) {
        let Some(receiver) = self.receivers.get(index) else { return };
        let free = receiver.lane.iter().filter(|waiting| !receiver.is_flying(waiting.second));
        let keys: Vec<u64> = free.map(|waiting| waiting.key).collect();
        for key in keys {
            self.demote(index, key);
        }
    }

    /// Takes a batch out of a receiver's new lane, with those of its second behind it: they go
    /// into its backlog.
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
            if batch.owed.contains(&index) && batch.hold == Hold::Unwanted {
                batch.hold = Hold::Wanted;
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

    /// Moves a held batch aside, which is a loss for its receiver.
    pub(super) fn set_aside(&mut self, index: usize, name: &EntryName, reason: &str) {
        let now = self.now.monotonic;
        let Some(receiver) = self.receivers.get_mut(index) else { return };
        if receiver.remove(name).is_none() {
            return;
        }
        let receiver_name = receiver.settings.name.clone();
        self.outbox.quarantine_later(index, name.clone());
        self.lose(index, name.points);
        let notice = self.journal.set_aside(&receiver_name, name, reason, now);
        self.log(notice);
    }

    /// Counts points that a receiver never gets.
    pub(super) fn lose(&mut self, index: usize, points: u64) {
        if let Some(receiver) = self.receivers.get_mut(index) {
            receiver.dropped_points = receiver.dropped_points.saturating_add(points);
        }
    }

    fn entry_mut(&mut self, index: usize, name: &EntryName) -> Option<&mut super::receiver::Entry> {
        self.receivers.get_mut(index)?.entry_mut(name)
    }
}
