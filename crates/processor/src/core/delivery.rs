//! From a folded batch to its receivers: the new lane, the backlog, and who is settled.

use super::children::Flight;
use super::notice::Notice;
use super::receiver::{REJECTIONS_MAX, SENDER_DEATHS_MAX, Stage};
use super::types::{Death, Order, Reply, Role};
use super::{Core, HOLD_AFTER, Hold, PENDING_BYTES_MAX, PENDING_MAX, Work};
use crate::entry::EntryName;

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
                let has_predecessor = receiver.has_predecessor(&batch.id, None);
                if has_predecessor || !receiver.may_take_new(now, is_outbox_running) {
                    must_hold = true;
                    continue;
                }
                receiver.lane.push_back(key);
                batch.in_lane.insert(index);
            }
            if must_hold && batch.hold == Hold::Unwanted {
                batch.hold = Hold::Wanted;
            }
        }
    }

    /// Gives each idle send child what its receiver is to have next.
    pub(super) fn schedule_sends(&mut self) {
        for index in 0..self.receivers.len() {
            let Some(child) = self.children.idle(Role::Send(index)) else { continue };
            let Some(flight) = self.next_flight(index) else { continue };
            let (order, descriptor) = match &flight {
                Flight::New(key) => (Order::Send, self.batches.get(key).map(|b| b.descriptor)),
                Flight::Held(_, descriptor) => (Order::Send, Some(*descriptor)),
                Flight::Own => {
                    let own = self.receivers.get_mut(index).and_then(|r| r.own.take());
                    let Some((timestamp, figures)) = own else { continue };
                    (Order::SendOwn { timestamp, figures }, None)
                }
            };
            let Some(receiver) = self.receivers.get_mut(index) else { continue };
            if matches!(flight, Flight::Held(..)) {
                receiver.stage = Stage::Empty;
            }
            receiver.flight = Some(flight.clone());
            let limit = receiver.settings.send_limit;
            self.order(child, order, Work::Send(flight), descriptor, limit);
        }
    }

    fn next_flight(&self, index: usize) -> Option<Flight> {
        let receiver = self.receivers.get(index)?;
        if !receiver.circuit.allows(self.now()) {
            return None;
        }
        let new = receiver.lane.front().map(|key| Flight::New(*key));
        if !self.phase.is_running() {
            return new;
        }
        let held = match &receiver.stage {
            Stage::Loaded(name, descriptor) => Some(Flight::Held(name.clone(), *descriptor)),
            Stage::Loading(_) if receiver.circuit.is_down() => return None,
            Stage::Empty | Stage::Loading(_) => None,
        };
        let own = receiver.own.as_ref().map(|_| Flight::Own);
        if receiver.circuit.is_down() {
            // The oldest held batch is the best probe: its receiver has waited longest for it.
            return held.or(new).or(own);
        }
        if receiver.sent_backlog { own.or(new).or(held) } else { own.or(held).or(new) }
    }

    /// A send child answered.
    pub(super) fn send_ended(&mut self, index: usize, flight: Flight, reply: Reply) {
        let Some(receiver) = self.receivers.get_mut(index) else { return };
        receiver.flight = None;
        receiver.sent_backlog = matches!(flight, Flight::Held(..));
        match reply {
            Reply::Delivered => self.delivered(index, flight),
            Reply::Rejected { reason } => self.rejected(index, flight, &reason),
            Reply::Damaged { reason } => self.damaged(index, flight, &reason),
            Reply::Refused { reason } => self.refused(index, flight, &reason),
            reply => self.refused(index, flight, &format!("a wrong reply: {reply:?}")),
        }
    }

    /// A send child is gone with a batch in its hands.
    pub(super) fn send_lost(&mut self, index: usize, flight: Flight, death: Death) {
        let Some(receiver) = self.receivers.get_mut(index) else { return };
        receiver.flight = None;
        if death == Death::Overdue {
            let reason = "it takes longer over a batch than its limits and job-timeout allow";
            return self.refused(index, flight, reason);
        }
        let has_crashed = death == Death::Crashed;
        match flight {
            Flight::New(key) => {
                if let Some(batch) = self.batches.get_mut(&key) {
                    batch.deaths += u32::from(has_crashed);
                }
                self.demote(index, key);
            }
            Flight::Held(name, descriptor) => {
                self.close(descriptor);
                let Some(entry) = self.entry_mut(index, &name) else { return };
                entry.deaths += u32::from(has_crashed);
                if entry.deaths >= SENDER_DEATHS_MAX {
                    self.set_aside(index, &name, "its senders keep dying over it");
                }
            }
            Flight::Own => {}
        }
    }

    fn delivered(&mut self, index: usize, flight: Flight) {
        self.came_up(index);
        match flight {
            Flight::New(key) => {
                let Some(batch) = self.batches.get_mut(&key) else { return };
                batch.owed.remove(&index);
                batch.in_lane.remove(&index);
                let entry = batch.entry.clone();
                if let Some(receiver) = self.receivers.get_mut(index) {
                    receiver.lane.retain(|waiting| *waiting != key);
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

    fn refused(&mut self, index: usize, flight: Flight, reason: &str) {
        let (now, chance) = (self.now.monotonic, self.random.f64());
        let Some(receiver) = self.receivers.get_mut(index) else { return };
        receiver.failures += 1;
        if receiver.circuit.open(now, chance) {
            receiver.down_since = Some(now);
            let name = receiver.settings.name.clone();
            let notice = self.journal.went_down(&name, reason, now);
            self.log(notice);
        }
        if let Flight::Held(_, descriptor) = &flight {
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
            Flight::New(key) => {
                if let Some(batch) = self.batches.get_mut(&key) {
                    batch.rejections += 1;
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
            Flight::New(key) => {
                let Some(batch) = self.batches.get_mut(&key) else { return };
                let (points, snapshot) = (batch.points, batch.snapshot.to_string());
                batch.owed.remove(&index);
                self.log(
                    Notice::error("a folded batch is damaged, please report this")
                        .text("snapshot", snapshot)
                        .text("reason", reason),
                );
                self.lose(index, points);
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

    /// Takes all batches out of a receiver's new lane: they go into its backlog.
    fn clear_lane(&mut self, index: usize) {
        let Some(receiver) = self.receivers.get(index) else { return };
        for key in receiver.lane.clone() {
            self.demote(index, key);
        }
    }

    /// Takes a batch out of a receiver's new lane, with those of its second behind it: they go
    /// into its backlog.
    pub(super) fn demote(&mut self, index: usize, key: u64) {
        let Some(batch) = self.batches.get(&key) else { return };
        let (origin, seconds) = (batch.id.origin.clone(), batch.id.timestamp.seconds());
        let Some(receiver) = self.receivers.get(index) else { return };
        let shares_second = |other: &u64| {
            self.batches.get(other).is_some_and(|other| {
                other.id.origin == origin && other.id.timestamp.seconds() == seconds
            })
        };
        let behind = receiver.lane.iter().skip_while(|waiting| **waiting != key);
        let mut demoted: Vec<u64> = behind.filter(|other| shares_second(other)).copied().collect();
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
                receiver.lane.retain(|waiting| *waiting != key);
                if let Some(entry) = entry.and_then(|name| receiver.entry_mut(&name)) {
                    entry.is_in_memory = false;
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
