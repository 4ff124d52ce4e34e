//! The outbox as the core sees it: which batches are to be held, read, dropped and set aside.
//!
//! Nothing waits for the outbox: while its child is away or its disk is full, batches are parked.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use daemon::Backoff;

use super::children::Work;
use super::notice::Notice;
use super::receiver::{Entry, Stage};
use super::types::{Cause, Descriptor, Listed, Order, Reply, Role};
use super::{Core, DISK_LIMIT, Hold, Parked, STALL_AFTER};
use crate::entry::EntryName;

/// Pauses before a batch is held again after a hold failed.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_LONGEST: Duration = Duration::from_secs(10);
/// Files that one order drops.
const DROPS_MAX: usize = 64;

/// See the module.
#[derive(Debug)]
pub(super) struct Outbox {
    is_ready: bool,
    was_ready: bool,
    /// What the child has listed so far, by folder.
    listed: BTreeMap<String, Vec<Listed>>,
    /// When a hold is tried again; there after one failed.
    retry_at: Option<Instant>,
    backoff: Backoff,
    /// Files to be removed. They are in no index, so their number is bounded as an index is.
    drops: BTreeMap<usize, VecDeque<EntryName>>,
    quarantines: VecDeque<(usize, EntryName)>,
    last_number: u32,
}

impl Outbox {
    pub(super) fn new() -> Self {
        Self {
            is_ready: false,
            was_ready: false,
            listed: BTreeMap::new(),
            retry_at: None,
            backoff: Backoff::new(RETRY_FIRST, 2.0, RETRY_LONGEST),
            drops: BTreeMap::new(),
            quarantines: VecDeque::new(),
            last_number: 0,
        }
    }

    pub(super) const fn is_ready(&self) -> bool {
        self.is_ready
    }

    pub(super) const fn was_ready(&self) -> bool {
        self.was_ready
    }

    pub(super) fn has_drops(&self) -> bool {
        self.drops.values().any(|drops| !drops.is_empty())
    }

    pub(super) const fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    pub(super) fn list(&mut self, folder: String, entries: Vec<Listed>) {
        self.listed.entry(folder).or_default().extend(entries);
    }

    pub(super) fn is_gone(&mut self) {
        self.is_ready = false;
        self.listed.clear();
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

    /// Takes the list of the outbox in place of the index.
    pub(super) fn outbox_is_ready(&mut self) {
        let mut listed = std::mem::take(&mut self.outbox.listed);
        let was_ready = std::mem::replace(&mut self.outbox.was_ready, true);
        let is_first = !was_ready;
        self.outbox.is_ready = true;
        for index in 0..self.receivers.len() {
            let Some(receiver) = self.receivers.get_mut(index) else { continue };
            let name = receiver.settings.name.clone();
            let before = receiver.points();
            receiver.clear_index();
            for Listed { entry, size_bytes } in listed.remove(&name).unwrap_or_default() {
                if !self.outbox.is_leaving(index, &entry) {
                    receiver.insert(entry, Entry::new(size_bytes, false));
                }
            }
            // Memory still has these, so they are not lost with their files.
            let in_memory = self.match_batches(index);
            let before = before.saturating_sub(in_memory);
            let Some(receiver) = self.receivers.get(index) else { continue };
            let (batches, points) = (receiver.len(), receiver.points());
            if was_ready && points < before {
                self.lose(index, before - points);
                self.log(
                    Notice::warn("held batches are gone from the outbox: somebody removed them")
                        .text("receiver", &name)
                        .field("metrics", before - points),
                );
            }
            if !was_ready && batches > 0 {
                let notice = self.journal.has_backlog(&name, batches, points, self.now.monotonic);
                self.log(notice);
            }
            self.trim(index);
        }
        if is_first {
            self.warn_of_other_folders(listed);
        }
    }

    /// Names the folders of receivers that are not in the configuration.
    fn warn_of_other_folders(&mut self, listed: BTreeMap<String, Vec<Listed>>) {
        for (folder, entries) in listed {
            let points = entries.iter().map(|l| l.entry.points).fold(0, u64::saturating_add);
            self.log(
                Notice::warn(
                    "the outbox holds batches for a receiver that the configuration does not \
                     have; they stay until it is back or somebody removes them",
                )
                .text("receiver", folder)
                .field("batches", entries.len())
                .field("metrics", points),
            );
        }
    }

    /// Joins a new index with the batches in memory. Returns the points of those whose files are
    /// gone.
    fn match_batches(&mut self, index: usize) -> u64 {
        let mut points = 0_u64;
        let Some(receiver) = self.receivers.get_mut(index) else { return points };
        for waiting in &receiver.lane.clone() {
            let Some(batch) = self.batches.get_mut(&waiting.key) else { continue };
            let Some(name) = batch.entry.clone() else { continue };
            match receiver.entry_mut(&name) {
                Some(entry) => entry.is_in_memory = true,
                // It was held and is gone, but memory has it still.
                None => {
                    batch.owed.insert(index);
                    points = points.saturating_add(batch.points);
                }
            }
        }
        points
    }

    /// Gives the outbox's child its next order: what frees memory first, then what frees the disk.
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
        let mut wanted = self.batches.iter().filter(|(_, batch)| batch.hold == Hold::Wanted);
        wanted.find(|(_, batch)| !batch.owed.is_empty()).map(|(key, _)| *key)
    }

    fn order_hold(&mut self, child: super::ChildId, key: u64) {
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
            Reply::Unheld { reason } => {
                self.hold_lost(key);
                self.outbox.retry_at = Some(self.now() + self.outbox.backoff.pause());
                let notice = self.journal.outbox_fails(&reason, self.now.monotonic);
                self.log(notice);
            }
            _ => self.hold_lost(key),
        }
    }

    fn held(&mut self, key: u64, name: &EntryName, receivers: Vec<usize>, size_bytes: u64) {
        self.outbox.backoff.reset();
        self.outbox.retry_at = None;
        let notice = self.journal.outbox_works(self.now.monotonic);
        self.log(notice);
        let Some(batch) = self.batches.get_mut(&key) else {
            // All receivers took it meanwhile.
            return receivers.into_iter().for_each(|r| self.outbox.drop_later(r, name.clone()));
        };
        batch.hold = Hold::Unwanted;
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
            let entry = Entry { size_bytes, is_in_memory, deaths, rejections };
            receiver.insert(name.clone(), entry);
            for replaced in receiver.replaced_by(&id, name) {
                receiver.remove(&replaced);
                self.outbox.drop_later(index, replaced);
            }
            let (name, is_down) = (receiver.settings.name.clone(), receiver.circuit.is_down());
            let (batches, points) = (receiver.len(), receiver.points());
            if is_down {
                self.journal.has_backlog(&name, batches, points, self.now.monotonic);
            }
            self.trim(index);
        }
        self.finish(key);
    }

    pub(super) fn hold_lost(&mut self, key: u64) {
        if let Some(batch) = self.batches.get_mut(&key) {
            batch.hold = Hold::Wanted;
        }
    }

    /// Keeps a receiver's outbox to its bounds.
    fn trim(&mut self, index: usize) {
        let Some(receiver) = self.receivers.get_mut(index) else { return };
        let trimmed = receiver.trim();
        if trimmed.is_empty() {
            return;
        }
        let name = receiver.settings.name.clone();
        let batches = trimmed.len();
        let points = trimmed.iter().map(|entry| entry.points).fold(0, u64::saturating_add);
        for entry in trimmed {
            self.outbox.drop_later(index, entry);
        }
        self.lose(index, points);
        let notice = self.journal.over_bound(&name, batches, points, self.now.monotonic);
        self.log(notice);
    }

    pub(super) fn load_ended(
        &mut self,
        index: usize,
        entry: EntryName,
        reply: Reply,
        descriptor: Option<Descriptor>,
    ) {
        let now = self.now.monotonic;
        let Some(receiver) = self.receivers.get_mut(index) else { return };
        receiver.stage = Stage::Empty;
        let name = receiver.settings.name.clone();
        match (reply, descriptor) {
            (Reply::Loaded, Some(descriptor)) => {
                receiver.stage = Stage::Loaded(entry, descriptor);
                let notice = self.journal.is_readable(&name, now);
                self.log(notice);
            }
            (Reply::Unloaded { cause: Cause::Missing, .. }, _) => {
                if receiver.remove(&entry).is_some() {
                    self.lose(index, entry.points);
                    self.log(
                        Notice::warn("a held batch is gone: somebody removed it")
                            .text("receiver", name)
                            .text("batch", entry.to_string()),
                    );
                }
            }
            (Reply::Unloaded { cause: Cause::Unusable, reason }, descriptor) => {
                descriptor.into_iter().for_each(|descriptor| self.close(descriptor));
                self.set_aside(index, &entry, &reason);
            }
            (reply, descriptor) => {
                descriptor.into_iter().for_each(|descriptor| self.close(descriptor));
                self.load_lost(index, &entry);
                let reason = match reply {
                    Reply::Unloaded { reason, .. } => reason,
                    reply => format!("a wrong reply: {reply:?}"),
                };
                let notice = self.journal.is_unreadable(&name, &entry, &reason, now);
                self.log(notice);
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
        let now = self.now.monotonic;
        let notice = match failure {
            // They are in no index, so nothing sends them before the next start.
            Some(reason) => self.journal.cannot_drop(&reason, now),
            None => self.journal.can_drop(now),
        };
        self.log(notice);
    }

    pub(super) fn drop_lost(&mut self, index: usize, entries: Vec<EntryName>) {
        for entry in entries {
            self.outbox.drop_later(index, entry);
        }
    }

    pub(super) fn quarantine_ended(&mut self, index: usize, entry: EntryName, reply: Reply) {
        if !matches!(reply, Reply::Dropped { .. }) {
            self.quarantine_lost(index, entry);
        }
    }

    pub(super) fn quarantine_lost(&mut self, index: usize, entry: EntryName) {
        self.outbox.quarantine_later(index, entry);
    }

    /// Takes the oldest held batches out of memory where it is full: their receivers are slow, and
    /// the backlog has them.
    pub(super) fn evict(&mut self) {
        while self.is_pending_full() {
            let flying = self.flying();
            let is_held = |key: &u64, batch: &super::Batch| {
                batch.owed.is_empty() && !batch.in_lane.is_empty() && !flying.contains(key)
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
    fn flying(&self) -> BTreeSet<u64> {
        self.receivers.iter().flat_map(super::Receiver::flying).collect()
    }

    /// Parks what can be neither delivered nor held now, so that it takes up no memory.
    pub(super) fn park(&mut self) {
        if self.can_hold() || !self.phase.is_running() {
            return;
        }
        let flying = self.flying();
        let mut is_full = self.is_pending_full();
        for (key, batch) in std::mem::take(&mut self.batches) {
            let is_stuck = batch.hold == Hold::Wanted && batch.in_lane.is_empty();
            let takes_room = is_full && !flying.contains(&key);
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
            let parked = Parked {
                id: batch.id,
                identity: batch.identity,
                owed: batch.owed,
                points: batch.points,
                deaths: batch.deaths,
                rejections: batch.rejections,
                troubled: batch.troubled,
                is_folding: false,
            };
            self.parked.insert(batch.snapshot, parked);
        }
    }
}
