//! The outbox as the core sees it: which batches are to be held, read, dropped and set aside.
//!
//! Nothing waits for the outbox: while it has no child or its disk is full, batches are parked.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use daemon::Backoff;

use super::children::Work;
use super::journal::Condition;
use super::notice::Notice;
use super::receiver::{Entry, Stage};
use super::types::{Cause, Descriptor, Folder, Order, OutboxFile, Reply, Role};
use super::{ChildId, Core, DISK_LIMIT, Hold, ParkedSnapshot, PendingBatch, Receiver, STALL_AFTER};
use crate::entry::EntryName;

/// Pauses before a batch is held again after a hold failed.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_LONGEST: Duration = Duration::from_secs(10);
/// Files that one order drops.
const DROPS_MAX: usize = 64;

/// See the module.
#[derive(Debug)]
pub(super) struct OutboxState {
    pub(super) is_ready: bool,
    pub(super) was_ready: bool,
    /// The files that the child has listed so far, by folder.
    list: BTreeMap<String, Vec<OutboxFile>>,
    /// When a hold is tried again after one failed.
    pub(super) retry_at: Option<Instant>,
    backoff: Backoff,
    /// Files to be removed. They are in no index, so their number is bounded as an index is.
    drops: BTreeMap<usize, VecDeque<EntryName>>,
    quarantines: VecDeque<(usize, EntryName)>,
    last_number: u32,
}

impl OutboxState {
    pub(super) fn new() -> Self {
        Self {
            is_ready: false,
            was_ready: false,
            list: BTreeMap::new(),
            retry_at: None,
            backoff: Backoff::new(RETRY_FIRST, 2.0, RETRY_LONGEST),
            drops: BTreeMap::new(),
            quarantines: VecDeque::new(),
            last_number: 0,
        }
    }

    pub(super) fn has_drops(&self) -> bool {
        self.drops.values().any(|drops| !drops.is_empty())
    }

    pub(super) fn add_to_list(&mut self, folder: Folder) {
        self.list.entry(folder.name).or_default().extend(folder.files);
    }

    pub(super) fn forget_child(&mut self) {
        self.is_ready = false;
        self.list.clear();
    }

    pub(super) fn drop_later(&mut self, receiver: usize, entry: EntryName) {
        self.drops.entry(receiver).or_default().push_back(entry);
    }

    pub(super) fn quarantine_later(&mut self, receiver: usize, entry: EntryName) {
        self.quarantines.push_back((receiver, entry));
    }

    fn is_leaving(&self, receiver: usize, entry: &EntryName) -> bool {
        self.drops.get(&receiver).is_some_and(|drops| drops.contains(entry))
            || self.quarantines.contains(&(receiver, entry.clone()))
    }

    fn next_drops(&mut self) -> Option<(usize, Vec<EntryName>)> {
        let (&receiver, drops) = self.drops.iter_mut().find(|(_, drops)| !drops.is_empty())?;
        let count = drops.len().min(DROPS_MAX);
        Some((receiver, drops.drain(..count).collect()))
    }
}

impl Core {
    /// Whether a batch could be held now.
    pub(super) fn can_hold(&self) -> bool {
        let is_pausing = self.outbox.retry_at.is_some_and(|at| self.now() < at);
        let busy_since = self.children.busy_since(Role::Outbox);
        let is_stalled = busy_since.is_some_and(|since| self.now() >= since + STALL_AFTER);
        let is_running = self.children.running(Role::Outbox).is_some();
        self.outbox.is_ready && is_running && !is_pausing && !is_stalled
    }

    /// Makes the index of each receiver anew from the list of the outbox.
    pub(super) fn outbox_is_ready(&mut self) {
        let mut list = std::mem::take(&mut self.outbox.list);
        let was_ready = std::mem::replace(&mut self.outbox.was_ready, true);
        self.outbox.is_ready = true;
        for index in 0..self.receivers.len() {
            let Some(receiver) = self.receivers.get_mut(index) else { continue };
            let name = receiver.settings.name.clone();
            let before = receiver.points();
            receiver.clear_index();
            for OutboxFile { entry, size_bytes } in list.remove(&name).unwrap_or_default() {
                if !self.outbox.is_leaving(index, &entry) {
                    let held = Entry::new(size_bytes);
                    receiver.insert(entry, held);
                }
            }
            // A batch in memory is not lost with its file.
            let in_memory = self.match_batches(index);
            let before = before.saturating_sub(in_memory);
            let Some(receiver) = self.receivers.get(index) else { continue };
            let (batches, points) = (receiver.len(), receiver.points());
            if was_ready && points < before {
                self.lose(index, before - points);
                let text = "held batches are gone from the outbox: somebody removed them";
                let notice = Notice::warn(text).text("receiver", &name);
                self.log(notice.field("metrics", before - points));
            }
            if !was_ready && batches > 0 {
                let text = "the outbox holds what the receiver has not taken yet";
                let notice = Notice::info(text).text("receiver", &name);
                let notice = notice.field("batches", batches).field("metrics", points);
                self.log_begin(Condition::Backlog(index), "", notice);
            }
            self.trim(index);
        }
        if !was_ready {
            self.warn_of_other_folders(list);
        }
    }

    /// Logs the folders of receivers that are not in the configuration.
    fn warn_of_other_folders(&mut self, list: BTreeMap<String, Vec<OutboxFile>>) {
        for (folder, files) in list {
            let points = files.iter().map(|file| file.entry.points).fold(0, u64::saturating_add);
            let text = "the outbox holds batches for a receiver that the configuration does not \
                        have; they stay until it is back or somebody removes them";
            let notice = Notice::warn(text).text("receiver", folder);
            self.log(notice.field("batches", files.len()).field("metrics", points));
        }
    }

    /// Marks the entries of a new index whose batches are in memory too. Returns the points of the
    /// batches in memory whose files are missing.
    fn match_batches(&mut self, index: usize) -> u64 {
        let mut points = 0_u64;
        let Some(receiver) = self.receivers.get_mut(index) else { return points };
        for waiting in &receiver.lane.clone() {
            let Some(batch) = self.batches.get_mut(&waiting.key) else { continue };
            let Some(name) = batch.entry.clone() else { continue };
            match receiver.entry_mut(&name) {
                Some(entry) => entry.is_in_memory = true,
                // The file is missing, but the batch is still in memory.
                None => {
                    batch.owed.insert(index);
                    points = points.saturating_add(batch.points);
                }
            }
        }
        points
    }

    /// Gives the outbox child its next order: first one that frees memory, then one that frees the
    /// disk, then one that reads.
    pub(super) fn schedule_outbox(&mut self) {
        if !self.outbox.is_ready {
            return;
        }
        let Some(child) = self.children.idle(Role::Outbox) else { return };
        if self.can_hold()
            && let Some(key) = self.next_hold()
        {
            return self.order_hold(child, key);
        }
        if let Some((receiver, entries)) = self.outbox.next_drops() {
            let folder = self.folder(receiver);
            let order = Order::Drop { folder, entries: entries.clone() };
            return self.order(child, order, Work::Drop { receiver, entries }, None, DISK_LIMIT);
        }
        if let Some((receiver, entry)) = self.outbox.quarantines.pop_front() {
            let order = Order::Quarantine { folder: self.folder(receiver), entry: entry.clone() };
            let work = Work::Quarantine { receiver, entry };
            return self.order(child, order, work, None, DISK_LIMIT);
        }
        if !self.phase.is_running() {
            return;
        }
        let now = self.now();
        for index in 0..self.receivers.len() {
            let Some(receiver) = self.receivers.get_mut(index) else { continue };
            if !receiver.wants_held(now) {
                continue;
            }
            let Some(entry) = receiver.next_held(now).cloned() else { continue };
            receiver.stage = Stage::Loading(entry.clone());
            let order = Order::Load { folder: self.folder(index), entry: entry.clone() };
            let work = Work::Load { receiver: index, entry };
            return self.order(child, order, work, None, DISK_LIMIT);
        }
    }

    fn folder(&self, index: usize) -> String {
        self.receivers.get(index).map(|r| r.settings.name.clone()).unwrap_or_default()
    }

    fn next_hold(&self) -> Option<u64> {
        let mut wanted = self.batches.iter().filter(|(_, batch)| batch.hold == Hold::Needed);
        wanted.find(|(_, batch)| !batch.owed.is_empty()).map(|(key, _)| *key)
    }

    fn order_hold(&mut self, child: ChildId, key: u64) {
        let Some(batch) = self.batches.get_mut(&key) else { return };
        batch.hold = Hold::Ordered;
        let seconds = batch.id.timestamp.seconds();
        let last = self.receivers.iter().map(|receiver| receiver.last_number(seconds)).max();
        let number = last.unwrap_or(0).max(self.outbox.last_number).saturating_add(1);
        self.outbox.last_number = number;
        let entry = EntryName::new(&batch.id, number, batch.points);
        let receivers: Vec<usize> = batch.owed.iter().copied().collect();
        let owed = receivers.iter().filter_map(|index| self.receivers.get(*index));
        let sync = owed.clone().any(|receiver| receiver.settings.sync);
        let folders = owed.map(|receiver| receiver.settings.name.clone()).collect();
        let descriptor = Some(batch.descriptor);
        let order = Order::Hold { entry: entry.clone(), folders, sync };
        let work = Work::Hold { batch: key, entry, receivers };
        self.order(child, order, work, descriptor, DISK_LIMIT);
    }

    pub(super) fn hold_ended(
        &mut self,
        key: u64,
        entry: EntryName,
        receivers: Vec<usize>,
        reply: Reply,
    ) {
        match reply {
            Reply::Held { size_bytes } => self.held(key, &entry, receivers, size_bytes),
            Reply::HoldFailed { reason } => {
                self.hold_lost(key);
                self.outbox.retry_at = Some(self.now() + self.outbox.backoff.pause());
                let text = "the outbox takes nothing; snapshots wait in the spool until it does";
                let notice = Notice::warn(text).text("reason", reason);
                self.log_begin(Condition::HoldFailure, "", notice);
            }
            _ => self.hold_lost(key),
        }
    }

    fn held(&mut self, key: u64, name: &EntryName, receivers: Vec<usize>, size_bytes: u64) {
        self.outbox.backoff.reset();
        self.outbox.retry_at = None;
        self.log_end(Condition::HoldFailure, Notice::info("the outbox takes batches again"));
        let Some(batch) = self.batches.get_mut(&key) else {
            // Meanwhile the batch was delivered to all receivers.
            return receivers.into_iter().for_each(|r| self.outbox.drop_later(r, name.clone()));
        };
        batch.hold = Hold::Unneeded;
        batch.entry = Some(name.clone());
        let owed = std::mem::take(&mut batch.owed);
        let (id, in_lane) = (batch.id.clone(), batch.in_lane.clone());
        let (deaths, rejections) = (batch.deaths, batch.rejections);
        for index in receivers {
            if !owed.contains(&index) {
                self.outbox.drop_later(index, name.clone());
                continue;
            }
            let Some(receiver) = self.receivers.get_mut(index) else { continue };
            let is_in_memory = in_lane.contains(&index);
            let entry = Entry { is_in_memory, deaths, rejections, ..Entry::new(size_bytes) };
            receiver.insert(name.clone(), entry);
            for replaced in receiver.replaced_by(&id, name) {
                receiver.remove(&replaced);
                self.outbox.drop_later(index, replaced);
            }
            if receiver.circuit.is_down() {
                self.begin(Condition::Backlog(index), "");
            }
            self.trim(index);
        }
        self.finish(key);
    }

    pub(super) fn hold_lost(&mut self, key: u64) {
        if let Some(batch) = self.batches.get_mut(&key) {
            batch.hold = Hold::Needed;
        }
    }

    /// Keeps a receiver's outbox to its bounds.
    pub(super) fn trim(&mut self, index: usize) {
        let Some(receiver) = self.receivers.get_mut(index) else { return };
        let (trimmed, staged) = receiver.trim();
        if trimmed.is_empty() {
            return;
        }
        let points = trimmed.iter().map(|entry| entry.points).fold(0, u64::saturating_add);
        let text = "the outbox is over its bound (outbox-size, queue-size): the oldest batches \
                    go, counted in DroppedMetrics";
        let notice = Notice::warn(text)
            .text("receiver", &receiver.settings.name)
            .field("batches", trimmed.len())
            .field("metrics", points);
        for entry in trimmed {
            self.outbox.drop_later(index, entry);
        }
        self.close(staged);
        self.lose(index, points);
        self.log_begin(Condition::OutboxLimit(index), "", notice);
    }

    pub(super) fn load_ended(
        &mut self,
        index: usize,
        entry: EntryName,
        reply: Reply,
        descriptor: Option<Descriptor>,
    ) {
        let Some(receiver) = self.receivers.get_mut(index) else { return };
        receiver.stage = Stage::Empty;
        let name = receiver.settings.name.clone();
        match (reply, descriptor) {
            // The batch went meanwhile, because the outbox was over its bound.
            (Reply::Loaded, descriptor) if receiver.entry_mut(&entry).is_none() => {
                self.close(descriptor);
            }
            (Reply::Loaded, Some(descriptor)) => {
                receiver.stage = Stage::Loaded(entry, descriptor);
                let notice = Notice::info("batches of the outbox can be read again");
                self.log_end(Condition::UnreadableBatch(index), notice.text("receiver", name));
            }
            (Reply::LoadFailed { cause: Cause::Missing, .. }, _) => {
                if receiver.remove(&entry).is_some() {
                    self.lose(index, entry.points);
                    let text = "a held batch is gone: somebody removed it";
                    let notice = Notice::warn(text).text("receiver", name);
                    self.log(notice.text("batch", entry.to_string()));
                }
            }
            (Reply::LoadFailed { cause: Cause::Unusable, reason }, descriptor) => {
                self.close(descriptor);
                self.set_aside(index, &entry, &reason);
            }
            (reply, descriptor) => {
                self.close(descriptor);
                self.load_lost(index, &entry);
                let reason = match reply {
                    Reply::LoadFailed { reason, .. } => reason,
                    reply => format!("a wrong reply: {reply:?}"),
                };
                let text = "a batch of the outbox cannot be read now, trying again";
                let notice = Notice::warn(text)
                    .text("receiver", name)
                    .text("snapshot", entry.timestamp.as_str())
                    .text("reason", reason);
                self.log_begin(Condition::UnreadableBatch(index), "", notice);
            }
        }
    }

    pub(super) fn load_lost(&mut self, index: usize, entry: &EntryName) {
        let now = self.now.monotonic;
        if let Some(receiver) = self.receivers.get_mut(index) {
            receiver.stage = Stage::Empty;
            receiver.unreadable(entry, now);
        }
    }

    pub(super) fn drop_ended(&mut self, index: usize, entries: Vec<EntryName>, reply: Reply) {
        let Reply::Dropped { failure } = reply else {
            return self.drop_lost(index, entries);
        };
        if let Some(reason) = failure {
            // The batches are in no index, so nothing sends them before the next start.
            let text = "delivered batches cannot be removed from the outbox; after a restart they \
                        are sent again";
            let notice = Notice::warn(text).text("reason", reason);
            self.log_begin(Condition::DropFailure, "", notice);
        } else {
            let notice = Notice::info("delivered batches can be removed from the outbox again");
            self.log_end(Condition::DropFailure, notice);
        }
    }

    pub(super) fn drop_lost(&mut self, index: usize, entries: Vec<EntryName>) {
        for entry in entries {
            self.outbox.drop_later(index, entry);
        }
    }

    pub(super) fn quarantine_ended(&mut self, index: usize, entry: EntryName, reply: Reply) {
        if !matches!(reply, Reply::Dropped { .. }) {
            self.outbox.quarantine_later(index, entry);
        }
    }

    /// Takes the oldest held batches out of a full memory. Their receivers are slow, and get them
    /// from the backlog.
    pub(super) fn evict(&mut self) {
        while self.is_pending_full() {
            let in_flight = self.in_flight();
            let is_held = |key: &u64, batch: &PendingBatch| {
                batch.owed.is_empty() && !batch.in_lane.is_empty() && !in_flight.contains(key)
            };
            let oldest = self.batches.iter().find(|(key, batch)| is_held(key, batch));
            let Some((key, in_lane)) = oldest.map(|(key, batch)| (*key, batch.in_lane.clone()))
            else {
                return;
            };
            for index in in_lane {
                self.demote(index, key);
            }
        }
    }

    /// Batches of new lanes that are in flight.
    fn in_flight(&self) -> BTreeSet<u64> {
        self.receivers.iter().flat_map(Receiver::in_flight).collect()
    }

    /// Parks the batches that can be neither delivered nor held now, to free their memory.
    pub(super) fn park(&mut self) {
        if self.can_hold() || !self.phase.is_running() {
            return;
        }
        let in_flight = self.in_flight();
        let mut is_full = self.is_pending_full();
        for (key, batch) in std::mem::take(&mut self.batches) {
            let is_stuck = batch.hold == Hold::Needed && batch.in_lane.is_empty();
            let takes_room = is_full && !in_flight.contains(&key);
            // The snapshot of a batch that is released cannot be folded again.
            let may_park = !batch.owed.is_empty() && batch.hold != Hold::Ordered;
            if batch.is_released || !may_park || !(is_stuck || takes_room) {
                self.batches.insert(key, batch);
                continue;
            }
            is_full = false;
            for index in &batch.in_lane {
                if let Some(receiver) = self.receivers.get_mut(*index) {
                    receiver.leave_lane(key);
                }
            }
            self.close(batch.descriptor);
            let parked = ParkedSnapshot {
                id: batch.id,
                identity: batch.identity,
                owed: batch.owed,
                points: batch.points,
                deaths: batch.deaths,
                rejections: batch.rejections,
                outbox_only: batch.outbox_only,
                is_folding: false,
            };
            self.parked.insert(batch.snapshot, parked);
        }
    }
}
