//! One receiver as the core sees it: its circuit, its two lanes, and the index of its outbox.
//!
//! The new lane has batches in memory, the backlog has held batches. A batch that was held while it
//! waited in the new lane is in both. Then the new lane sends it, and the backlog skips it.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use model::{SnapshotId, Timestamp};

use super::HOLD_AFTER;
use super::children::Delivery;
use super::circuit::{Circuit, CircuitSettings};
use super::doubt::Doubt;
use super::types::Descriptor;
use crate::entry::{EntryName, Second};

/// The settings of a receiver.
#[derive(Debug, Clone)]
pub struct ReceiverSettings {
    /// Its section of the configuration, and its folder in the outbox.
    pub name: String,
    /// The prefix of the figures about it.
    pub prefix: String,
    /// Whether its failures count as `LocalStoreFailures`.
    pub is_local_store: bool,
    /// When it is tried again while it is down.
    pub circuit: CircuitSettings,
    /// Bytes that its outbox may take.
    pub outbox_bytes: u64,
    /// Points that its outbox may hold.
    pub outbox_points: Option<u64>,
    /// Points per second that leave its outbox; 0 is no limit.
    pub replay_rate: u64,
    /// Whether its held batches must outlive a power cut.
    pub sync: bool,
    /// Whether it gets figures about the program itself.
    pub takes_figures: bool,
    /// Batches that may be in flight at once.
    pub in_flight_max: usize,
    /// How long one batch may be in flight.
    pub send_limit: Duration,
    /// How long the end of the program waits for a batch in flight.
    pub end_grace: Duration,
}

/// Send children that a batch may crash before it is set aside.
pub const SENDER_DEATHS_MAX: u32 = 2;
/// How often a receiver may reject a batch before it is set aside.
pub const REJECTIONS_MAX: u32 = 3;
/// Bytes of batches in flight beyond which no further batch joins them, to bound their memory.
const IN_FLIGHT_BYTES_MAX: u64 = 8 << 20;
/// Pause before a held batch that cannot be read is read again.
const UNREADABLE_PAUSE: Duration = Duration::from_secs(5);
/// Pause before a held batch that is suspected to be the reason of its refusals is sent again.
/// There may be many of them for an hour, and the others must have most of the time.
const SUSPECT_PAUSE: Duration = Duration::from_secs(60);

/// A held batch.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) size_bytes: u64,
    /// Whether the batch is in the new lane too.
    pub(crate) is_in_memory: bool,
    pub(crate) deaths: u32,
    pub(crate) rejections: u32,
    /// The last doubtful refusal.
    pub(crate) doubt: Option<Doubt>,
}

impl Entry {
    /// A held batch that is not in memory.
    pub(crate) const fn new(size_bytes: u64) -> Self {
        Self { size_bytes, is_in_memory: false, deaths: 0, rejections: 0, doubt: None }
    }
}

/// The place of the held batch that is read ahead for the send child.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stage {
    Empty,
    Loading(EntryName),
    Loaded(EntryName, Descriptor),
}

/// A batch in the new lane.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LaneBatch {
    pub(crate) key: u64,
    pub(crate) second: Second,
    pub(crate) bytes: u64,
}

/// A delivery in flight.
#[derive(Debug)]
struct OpenDelivery {
    delivery: Delivery,
    since: Instant,
    bytes: u64,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Receiver {
    pub(crate) settings: ReceiverSettings,
    pub(crate) circuit: Circuit,
    /// The new lane: batches in memory, waiting or in flight.
    pub(crate) lane: VecDeque<LaneBatch>,
    index: BTreeMap<EntryName, Entry>,
    bytes: u64,
    points: u64,
    /// Held batches that could not be read or were refused, and when they are tried again.
    unreadable: BTreeMap<EntryName, Instant>,
    deliveries: Vec<OpenDelivery>,
    /// Batches that must still go alone after a crash of the send child: only a crash over a single
    /// batch shows which batch is the cause.
    alone_left: usize,
    pub(crate) stage: Stage,
    /// Whether the last batch that was sent came from the backlog.
    last_was_backlog: bool,
    /// When replay-rate allows the next held batch.
    pub(crate) replay_at: Instant,
    pub(crate) figures: Option<(Timestamp, Vec<(String, u64)>)>,
    pub(crate) down_since: Option<Instant>,
    /// When it came back from the last outage.
    pub(crate) up_since: Option<Instant>,
    pub(crate) dropped_points: u64,
    /// When metrics were dropped for the last time.
    pub(crate) lost_at: Option<Instant>,
    pub(crate) refused_points: u64,
    pub(crate) long_lines: u64,
    /// Batches that the receiver has taken.
    pub(crate) taken: u64,
    pub(crate) failures: u64,
}

impl Receiver {
    pub(crate) fn new(settings: &ReceiverSettings, now: Instant) -> Self {
        Self {
            circuit: Circuit::new(&settings.circuit),
            settings: settings.clone(),
            lane: VecDeque::new(),
            index: BTreeMap::new(),
            bytes: 0,
            points: 0,
            unreadable: BTreeMap::new(),
            deliveries: Vec::new(),
            alone_left: 0,
            stage: Stage::Empty,
            last_was_backlog: false,
            replay_at: now,
            figures: None,
            down_since: None,
            up_since: None,
            dropped_points: 0,
            lost_at: None,
            refused_points: 0,
            long_lines: 0,
            taken: 0,
            failures: 0,
        }
    }

    /// Whether a new batch may go to the receiver: it is up, or a probe is due and no held batch
    /// can serve as the probe.
    pub(crate) fn may_take_new(&self, now: Instant, is_outbox_running: bool) -> bool {
        if !self.circuit.is_down() {
            return true;
        }
        let has_probe =
            self.stage != Stage::Empty || (is_outbox_running && self.next_held(now).is_some());
        self.circuit.allows(now) && self.lane.is_empty() && !self.is_probed() && !has_probe
    }

    /// Whether a held batch is to be read now.
    pub(crate) fn wants_held(&self, now: Instant) -> bool {
        // With replay-rate the delivery of one batch sets the time of the next one.
        let most = if self.settings.replay_rate > 0 { 1 } else { self.settings.in_flight_max };
        let is_held = |open: &&OpenDelivery| matches!(open.delivery, Delivery::Backlog(..));
        self.stage == Stage::Empty
            && self.deliveries.iter().filter(is_held).count() < most
            && now >= self.replay_at
            && self.circuit.allows(now)
    }

    /// Whether a delivery is in flight that began while the receiver was down.
    fn is_probed(&self) -> bool {
        let down_since = self.down_since;
        self.deliveries.iter().any(|open| down_since.is_none_or(|since| open.since >= since))
    }

    /// Whether one more batch may be in flight. Large batches, and those of a slow receiver, take
    /// up memory that all receivers share, so no further batch joins them.
    fn has_room(&self, now: Instant) -> bool {
        if self.circuit.is_down() {
            return !self.is_probed();
        }
        let is_slow = |open: &OpenDelivery| now >= open.since + HOLD_AFTER;
        let bytes: u64 = self.deliveries.iter().map(|open| open.bytes).sum();
        self.deliveries.is_empty()
            || (self.alone_left == 0
                && self.deliveries.len() < self.settings.in_flight_max
                && bytes < IN_FLIGHT_BYTES_MAX
                && !self.deliveries.iter().any(is_slow))
    }

    /// The delivery that is to begin next; `may_replay` is false while the program ends.
    pub(crate) fn next_delivery(&self, now: Instant, may_replay: bool) -> Option<Delivery> {
        if !self.circuit.allows(now) || !self.has_room(now) {
            return None;
        }
        let mut ready = self.lane.iter().filter(|waiting| !self.is_in_flight(waiting.second));
        let new = ready.next().map(|waiting| Delivery::New(waiting.key, waiting.second));
        if !may_replay {
            return new;
        }
        let held = match &self.stage {
            Stage::Loaded(name, descriptor) => Some(Delivery::Backlog(name.clone(), *descriptor)),
            Stage::Loading(_) if self.circuit.is_down() => return None,
            Stage::Empty | Stage::Loading(_) => None,
        };
        let figures = if self.figures.is_some() { Some(Delivery::Figures) } else { None };
        if self.circuit.is_down() {
            // The oldest held batch is the best probe: its receiver has waited longest for it.
            return held.or(new).or(figures);
        }
        if self.last_was_backlog { figures.or(new).or(held) } else { figures.or(held).or(new) }
    }

    pub(crate) fn begin_delivery(&mut self, delivery: Delivery, now: Instant) {
        self.last_was_backlog = matches!(delivery, Delivery::Backlog(..));
        if self.last_was_backlog {
            self.stage = Stage::Empty;
        }
        let bytes = match &delivery {
            Delivery::New(key, _) => {
                let waiting = self.lane.iter().find(|waiting| waiting.key == *key);
                waiting.map_or(0, |waiting| waiting.bytes)
            }
            Delivery::Backlog(name, _) => self.index.get(name).map_or(0, |entry| entry.size_bytes),
            Delivery::Figures => 0,
        };
        self.deliveries.push(OpenDelivery { delivery, since: now, bytes });
    }

    pub(crate) fn end_delivery(&mut self, delivery: &Delivery) {
        if let Some(position) = self.deliveries.iter().position(|open| open.delivery == *delivery) {
            self.deliveries.swap_remove(position);
        }
    }

    /// The send child crashed with batches in flight.
    pub(crate) fn send_alone(&mut self) {
        self.alone_left = 2 * self.settings.in_flight_max;
    }

    pub(crate) const fn count_delivery(&mut self) {
        self.alone_left = self.alone_left.saturating_sub(1);
        self.taken += 1;
    }

    /// Whether a batch of this second is in flight.
    pub(crate) fn is_in_flight(&self, second: Second) -> bool {
        self.deliveries.iter().any(|open| open.delivery.second() == Some(second))
    }

    /// The batches of the new lane that are in flight.
    pub(crate) fn in_flight(&self) -> impl Iterator<Item = u64> {
        self.deliveries.iter().filter_map(|open| match open.delivery {
            Delivery::New(key, _) => Some(key),
            Delivery::Backlog(..) | Delivery::Figures => None,
        })
    }

    pub(crate) fn leave_lane(&mut self, key: u64) {
        self.lane.retain(|waiting| waiting.key != key);
    }

    /// Whether its new lane is empty and nothing is in flight.
    pub(crate) fn is_idle(&self) -> bool {
        self.lane.is_empty() && self.deliveries.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) const fn points(&self) -> u64 {
        self.points
    }

    pub(crate) fn oldest(&self) -> Option<&EntryName> {
        self.index.keys().next()
    }

    pub(crate) fn insert(&mut self, name: EntryName, entry: Entry) {
        self.bytes += entry.size_bytes;
        self.points = self.points.saturating_add(name.points);
        if let Some(before) = self.index.insert(name.clone(), entry) {
            self.subtract(&name, &before);
        }
    }

    pub(crate) fn remove(&mut self, name: &EntryName) -> Option<Entry> {
        let entry = self.index.remove(name)?;
        self.unreadable.remove(name);
        self.subtract(name, &entry);
        Some(entry)
    }

    fn subtract(&mut self, name: &EntryName, entry: &Entry) {
        self.bytes = self.bytes.saturating_sub(entry.size_bytes);
        self.points = self.points.saturating_sub(name.points);
    }

    pub(crate) fn entry_mut(&mut self, name: &EntryName) -> Option<&mut Entry> {
        self.index.get_mut(name)
    }

    /// Empties the index before it is made anew from a list of the outbox.
    pub(crate) fn clear_index(&mut self) {
        self.index.clear();
        self.unreadable.clear();
        (self.bytes, self.points) = (0, 0);
    }

    /// The largest number of a batch of this second; 0 if there is none.
    pub(crate) fn last_number(&self, seconds: u64) -> u32 {
        let of_second = self.of_second(seconds);
        of_second.map(|(name, _)| name.number).max().unwrap_or(0)
    }

    fn of_second(&self, seconds: u64) -> impl Iterator<Item = (&EntryName, &Entry)> {
        // Names are in order of seconds, then of numbers, so number 0 begins a second.
        let begin = EntryName {
            timestamp: Timestamp::of_seconds(seconds),
            origin: 0,
            serial: 0,
            number: 0,
            points: 0,
        };
        self.index.range(begin..).take_while(move |(name, _)| name.timestamp.seconds() == seconds)
    }

    /// Whether a held batch of the same origin and second must go before this one.
    pub(crate) fn has_predecessor(&self, id: &SnapshotId) -> bool {
        let mut of_second = self.of_second(id.timestamp.seconds());
        of_second.any(|(name, entry)| name.second() == Second::of(id) && !entry.is_in_memory)
    }

    /// Held batches that a newer batch of the same snapshot replaces: those that are neither in
    /// flight nor being read.
    pub(crate) fn replaced_by(&self, id: &SnapshotId, newer: &EntryName) -> Vec<EntryName> {
        let of_second = self.of_second(id.timestamp.seconds());
        let is_replaced = |name: &EntryName, entry: &Entry| {
            name.is_of(id) && name < newer && !entry.is_in_memory && !self.is_with_child(name)
        };
        of_second.filter(|(n, e)| is_replaced(n, e)).map(|(name, _)| name.clone()).collect()
    }

    /// The held batches that are in flight.
    fn held_in_flight(&self) -> impl Iterator<Item = &EntryName> {
        self.deliveries.iter().filter_map(|open| match &open.delivery {
            Delivery::Backlog(name, _) => Some(name),
            Delivery::New(..) | Delivery::Figures => None,
        })
    }

    /// Whether a held batch is in flight, or is read for the send child.
    pub(crate) fn is_with_child(&self, name: &EntryName) -> bool {
        self.held_in_flight().any(|held| held == name)
            || match &self.stage {
                Stage::Empty => false,
                Stage::Loading(staged) | Stage::Loaded(staged, _) => staged == name,
            }
    }

    /// The held batch that is to be sent next: the oldest that can be read. Batches of one second
    /// keep their order.
    pub(crate) fn next_held(&self, now: Instant) -> Option<&EntryName> {
        // The held batches of such a second come after those of the new lane.
        let is_busy = |second: Second| {
            self.is_in_flight(second) || self.lane.iter().any(|waiting| waiting.second == second)
        };
        // Seconds of which an earlier batch waits; batches of several origins interleave.
        let mut blocked: Vec<Second> = Vec::new();
        let mut seconds = 0;
        for (name, entry) in &self.index {
            if name.timestamp.seconds() != seconds {
                blocked.clear();
                seconds = name.timestamp.seconds();
            }
            let second = name.second();
            if blocked.contains(&second) {
                continue;
            }
            let is_waiting = self.unreadable.get(name).is_some_and(|at| now < *at);
            if !is_waiting && !entry.is_in_memory && !self.is_with_child(name) && !is_busy(second) {
                return Some(name);
            }
            blocked.push(second);
        }
        None
    }

    /// When a held batch that cannot be read now is read again.
    pub(crate) fn reread_at(&self) -> Option<Instant> {
        self.unreadable.values().min().copied()
    }

    pub(crate) fn unreadable(&mut self, name: &EntryName, now: Instant) {
        self.wait_until(name, now + UNREADABLE_PAUSE);
    }

    pub(crate) fn suspect(&mut self, name: &EntryName, now: Instant) {
        self.wait_until(name, now + SUSPECT_PAUSE);
    }

    fn wait_until(&mut self, name: &EntryName, at: Instant) {
        if self.index.contains_key(name) {
            self.unreadable.insert(name.clone(), at);
        }
    }

    /// Takes the oldest held batches out of the index until it keeps to its bounds. Those in flight
    /// neither go nor count. One batch always stays, because a bound below the size of a batch
    /// would keep nothing at all. Also returns the batch that was read ahead for the send child, if
    /// it went.
    pub(crate) fn trim(&mut self) -> (Vec<EntryName>, Option<Descriptor>) {
        let sent: Vec<EntryName> = self.held_in_flight().cloned().collect();
        let mut bytes_max = self.settings.outbox_bytes;
        let mut points_max = self.settings.outbox_points.unwrap_or(u64::MAX);
        for name in &sent {
            let size_bytes = self.index.get(name).map_or(0, |entry| entry.size_bytes);
            bytes_max = bytes_max.saturating_add(size_bytes);
            points_max = points_max.saturating_add(name.points);
        }
        let (mut trimmed, mut staged) = (Vec::new(), None);
        while self.index.len() > 1 + sent.len()
            && (self.bytes > bytes_max || self.points > points_max)
        {
            let is_free =
                |name: &EntryName, held: &Entry| !held.is_in_memory && !sent.contains(name);
            let mut free = self.index.iter().filter(|(name, entry)| is_free(name, entry));
            let Some(oldest) = free.next().map(|(name, _)| name.clone()) else { break };
            self.remove(&oldest);
            if let Stage::Loaded(name, descriptor) = &self.stage
                && *name == oldest
            {
                staged = Some(*descriptor);
                self.stage = Stage::Empty;
            }
            trimmed.push(oldest);
        }
        (trimmed, staged)
    }

    /// A held batch was delivered: replay-rate sets the time of the next one.
    pub(crate) fn pace(&mut self, points: u64, now: Instant) {
        if self.settings.replay_rate > 0 {
            let seconds = points as f64 / self.settings.replay_rate as f64;
            let pause = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::from_secs(3600));
            self.replay_at = now + pause;
        }
    }
}

#[cfg(test)]
mod tests;
