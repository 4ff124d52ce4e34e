//! The roads out, as the parent sees them: who has a batch, who refused it, what waits in the outbox and when something is tried again.
//!
//! A state is logged when it changes, not while it lasts. Nothing here waits: the sender's thread does.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use daemon::{Clock, Conditions};
use receivers::outbox::{self, Entry, Limits, Outbox};
use tracing::{debug, error, info, warn};

use crate::circuit::{Change, Circuit};
use crate::gate::{Gate, Mode, Try};
use crate::replay::{Order, Sent};
use crate::telemetry::{Counts, Gauges};

/// What is logged when it begins and ends.
const DOWN: &str = "the receiver is down";
const BACKLOG: &str = "the outbox holds batches";
const OVER_BOUND: &str = "the outbox is over its bound";
const TAKES_NOTHING: &str = "the outbox takes nothing";
const UNREADABLE: &str = "batches cannot be read";
const LOST: &str = "batches are lost";
const CONDITIONS_MAX: usize = 6;

/// Pause before a batch that cannot be read just now is read again.
const UNREADABLE_PAUSE: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Debug)]
pub(crate) struct Outbound {
    /// Nobody else removes what the index knows.
    _lock: Option<outbox::Lock>,
    clock: Clock,
    gate: Gate,
    /// What Graphite could not be given yet; there exactly where Graphite is.
    outbox: Option<Outbox>,
    /// To the thread that sends what the outbox holds.
    orders: Option<Sender<Order>>,
    /// Metrics per second that may leave the outbox; 0 is no limit.
    replay_rate: u64,
    /// What that asks for before the next batch.
    replay_pause: Duration,
    /// Lines about ourselves are on their way.
    own_on_way: bool,
    /// A timer that runs is of a state that is over.
    timer_is_stale: bool,
    /// Batches that could not be read the last time, each told once; and whether it had its turn since all had: others go first.
    unreadable: BTreeMap<String, bool>,
    /// What is logged when it begins and ends.
    conditions: Conditions,
    /// Since when a receiver is down.
    down_since: Option<Instant>,
}

impl Outbound {
    /// Opens the outbox; `orders` leads to the sender.
    pub(crate) fn open(
        config: &config::Process,
        clock: Clock,
        orders: Option<Sender<Order>>,
    ) -> Result<Self, outbox::Error> {
        let lock = config.outbox.as_ref().map(|config| outbox::lock(&config.dir)).transpose()?;
        let outbox = config.outbox.as_ref().map(|config| {
            let limits = Limits { size_bytes: config.size_bytes, metrics: config.metrics };
            Outbox::open(&config.dir, limits)
        });
        Ok(Self {
            _lock: lock,
            clock,
            gate: Gate::new(Circuit::new(config.graphite.as_ref(), fastrand::f64)),
            outbox: outbox.transpose()?,
            orders,
            replay_rate: config.outbox.as_ref().map_or(0, |outbox| outbox.replay_rate),
            replay_pause: Duration::ZERO,
            own_on_way: false,
            timer_is_stale: false,
            unreadable: BTreeMap::new(),
            conditions: Conditions::new(CONDITIONS_MAX),
            down_since: None,
        })
    }

    /// What stands in the outbox at the start.
    pub(crate) fn begin(&mut self, counts: &mut Counts) {
        let Some(outbox) = &mut self.outbox else { return };
        let dropped = outbox.trim();
        if !outbox.is_empty() {
            let (batches, metrics) = (outbox.len(), outbox.metrics());
            info!(batches, metrics, "the outbox holds what graphite has not taken yet");
            self.conditions.begin(BACKLOG, "", (self.clock.monotonic)());
        }
        self.dropped(&dropped, counts);
    }

    /// How the next snapshot goes; `None` if none may.
    pub(crate) const fn mode(&self) -> Option<Mode> {
        self.gate.mode()
    }

    /// A worker has begun a snapshot.
    pub(crate) fn begun(&mut self, snapshot: &str) {
        self.gate.begun(snapshot);
    }

    /// The pause before something is to be tried, if anything is.
    pub(crate) fn pause(&mut self) -> Option<Duration> {
        let waiting = self.outbox.as_ref().is_some_and(|outbox| !outbox.is_empty());
        if self.gate.wants_pause(waiting) {
            return Some(self.gate.pause());
        }
        (waiting && self.gate.may_replay()).then(|| std::mem::take(&mut self.replay_pause))
    }

    /// Whether a timer that runs must be set anew.
    pub(crate) const fn timer_was_stale(&mut self) -> bool {
        std::mem::replace(&mut self.timer_is_stale, false)
    }

    /// That pause is over.
    pub(crate) fn pause_over(&mut self) {
        let oldest = self.outbox.as_ref().and_then(|outbox| {
            let had_turn = &mut self.unreadable;
            let next = outbox.oldest_of(|entry| had_turn.get(&entry.timestamp) != Some(&true));
            if next.is_none() {
                had_turn.values_mut().for_each(|had| *had = false);
            }
            Some((outbox, next.or_else(|| outbox.oldest())?))
        });
        if self.gate.pause_over(oldest.is_some()) == Try::Replay
            && let (Some((outbox, entry)), Some(orders)) = (oldest, &self.orders)
        {
            let order = Order::Stored { entry: entry.clone(), lines: outbox.stored(entry) };
            // There is room for one batch and one set of lines about ourselves. A sender that died says so itself.
            if orders.try_send(order).is_err() {
                self.gate.replay_without_result();
            }
        }
    }

    /// The receiver has a snapshot's batch.
    pub(crate) fn delivered(&mut self, snapshot: &str) {
        self.conditions.end(TAKES_NOTHING, (self.clock.monotonic)());
        let change = self.gate.delivered(snapshot);
        self.tell(change, "");
    }

    /// The outbox has it.
    pub(crate) fn stored(
        &mut self,
        snapshot: &str,
        entry: Entry,
        refused: Option<&str>,
        counts: &mut Counts,
    ) {
        counts.delivery_failures += u64::from(refused.is_some());
        let change = self.gate.stored(snapshot, refused.is_some());
        self.tell(change, refused.unwrap_or_default());
        let now = (self.clock.monotonic)();
        self.conditions.begin(BACKLOG, "", now);
        self.conditions.end(TAKES_NOTHING, now);
        let Some(outbox) = &mut self.outbox else { return };
        // It stands in place of a former run.
        self.unreadable.remove(&entry.timestamp);
        let dropped = outbox.added(entry);
        if outbox.is_empty() {
            // With nothing to try, the receiver would never be found to be back.
            self.gate.nothing_kept();
        }
        self.dropped(&dropped, counts);
    }

    /// Nobody has it.
    pub(crate) fn neither(
        &mut self,
        snapshot: &str,
        refused: Option<&str>,
        unstored: &str,
        counts: &mut Counts,
    ) {
        counts.delivery_failures += u64::from(refused.is_some());
        let (change, news) = self.gate.neither(snapshot, refused.is_some());
        self.tell(change, refused.unwrap_or_default());
        // Without an outbox there is nothing to tell beyond what the receiver's state says.
        self.timer_is_stale |= news;
        if !news || self.outbox.is_none() {
            return;
        }
        let line = self.conditions.begin(TAKES_NOTHING, "", (self.clock.monotonic)());
        if line.is_due() {
            let note = line.note();
            warn!(
                reason = unstored,
                "the outbox takes nothing; snapshots wait in the spool until it does{note}"
            );
        }
    }

    /// A snapshot came to an end that tells nothing about the roads.
    pub(crate) fn no_result(&mut self, snapshot: &str) {
        self.gate.no_result(snapshot);
    }

    /// A worker died over it, which may have stored its batch without telling.
    pub(crate) fn recheck(&mut self, snapshot: &str, counts: &mut Counts) {
        let Some(outbox) = &mut self.outbox else { return };
        match outbox.recheck(snapshot) {
            Ok(dropped) => self.dropped(&dropped, counts),
            Err(error) => warn!(%error, "the outbox cannot be looked at"),
        }
    }

    /// A batch of the outbox was tried.
    pub(crate) fn replayed(&mut self, entry: &Entry, sent: Sent, counts: &mut Counts) {
        let Some(outbox) = &mut self.outbox else { return };
        if !matches!(sent, Sent::Unreadable(_)) {
            self.unreadable.remove(&entry.timestamp);
            if self.unreadable.is_empty() {
                self.conditions.end(UNREADABLE, (self.clock.monotonic)());
            }
        }
        match sent {
            Sent::Taken => {
                outbox.delivered(entry);
                let (batches, metrics) = (outbox.len(), outbox.metrics());
                debug!(snapshot = entry.timestamp, batches, metrics, "replayed from the outbox");
                let is_empty = outbox.is_empty();
                let now = (self.clock.monotonic)();
                self.conditions.end(LOST, now);
                self.conditions.end(TAKES_NOTHING, now);
                if is_empty {
                    self.conditions.end(OVER_BOUND, now);
                    if self.conditions.end(BACKLOG, now).is_due() {
                        info!("the outbox is empty");
                    }
                }
                if self.replay_rate > 0 {
                    let seconds = entry.metrics as f64 / self.replay_rate as f64;
                    self.replay_pause =
                        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
                }
                let change = self.gate.replay_took();
                self.tell(change, "");
            }
            Sent::Refused(reason) => {
                counts.delivery_failures += 1;
                let change = self.gate.replay_refused();
                self.tell(change, &reason);
                debug!(reason, "still not delivered");
            }
            Sent::Damaged(reason) => {
                outbox.damaged(entry);
                self.gate.replay_without_result();
                counts.dropped_metrics = counts.dropped_metrics.saturating_add(entry.metrics);
                let metrics = entry.metrics;
                let line = self.conditions.begin(LOST, "", (self.clock.monotonic)());
                if line.is_due() {
                    let (snapshot, note) = (&entry.timestamp, line.note());
                    error!(
                        snapshot,
                        metrics,
                        reason,
                        "a batch of the outbox is lost{note}; DroppedMetrics counts"
                    );
                }
            }
            Sent::Gone => {
                // Its rerun stands for it, or the bound took it, which is counted.
                self.gate.replay_without_result();
                self.recheck(&entry.timestamp, counts);
            }
            Sent::Unreadable(reason) => {
                self.gate.replay_without_result();
                self.replay_pause = UNREADABLE_PAUSE;
                self.unreadable.insert(entry.timestamp.clone(), true);
                let line = self.conditions.begin(UNREADABLE, "", (self.clock.monotonic)());
                if line.is_due() {
                    let (snapshot, note) = (&entry.timestamp, line.note());
                    warn!(
                        snapshot,
                        reason, "a batch of the outbox cannot be read now, trying again{note}"
                    );
                }
            }
        }
    }

    /// The receiver took so long over a snapshot that its worker was ended.
    pub(crate) fn too_slow(&mut self, snapshot: &str, counts: &mut Counts) {
        counts.delivery_failures += 1;
        let change = self.gate.too_slow(snapshot);
        self.tell(
            change,
            "the receiver takes longer over a batch than job-timeout and its own limits allow",
        );
    }

    /// Lines about ourselves were tried.
    pub(crate) fn own_sent(&mut self, sent: Sent, counts: &mut Counts) {
        self.own_on_way = false;
        let (change, reason) = match sent {
            Sent::Taken => (self.gate.own_took(), String::new()),
            Sent::Refused(reason) => {
                counts.delivery_failures += 1;
                (self.gate.own_refused(), reason)
            }
            _ => return,
        };
        self.tell(change, &reason);
    }

    /// Sends lines about ourselves, unless the last ones are still on their way. While the receiver is down the oldest batch of the
    /// outbox is the better probe; where there is none, these are one.
    pub(crate) fn send_own(&mut self, timestamp: String, lines: Vec<u8>) {
        let waits = self.outbox.as_ref().is_some_and(|outbox| !outbox.is_empty());
        if self.own_on_way || (self.gate.is_down() && waits) {
            return;
        }
        if let Some(orders) = &self.orders {
            self.own_on_way = orders.try_send(Order::Own { timestamp, lines }).is_ok();
        }
    }

    /// How the roads stand.
    pub(crate) fn gauges(&self) -> Gauges {
        let now = self.clock.epoch_seconds();
        let outbox = self.outbox.as_ref();
        let oldest = outbox.and_then(Outbox::oldest_timestamp);
        Gauges {
            outbox_metrics: outbox.map_or(0, Outbox::metrics),
            outbox_bytes: outbox.map_or(0, Outbox::size_bytes),
            outbox_age_seconds: oldest.map_or(0, |oldest| now.saturating_sub(oldest)),
            receiver_up: !self.gate.is_down(),
            ..Gauges::default()
        }
    }

    fn dropped(&mut self, entries: &[Entry], counts: &mut Counts) {
        for entry in entries {
            self.unreadable.remove(&entry.timestamp);
        }
        let metrics = entries.iter().fold(0_u64, |sum, entry| sum.saturating_add(entry.metrics));
        counts.dropped_metrics = counts.dropped_metrics.saturating_add(metrics);
        if metrics == 0 {
            return;
        }
        let line = self.conditions.begin(OVER_BOUND, "", (self.clock.monotonic)());
        if line.is_due() {
            let (batches, note) = (entries.len(), line.note());
            warn!(
                metrics,
                batches,
                "the outbox is over its bound (outbox-size, queue-size): the oldest batches go, \
                 counted in DroppedMetrics{note}"
            );
        }
    }

    fn tell(&mut self, change: Change, reason: &str) {
        let now = (self.clock.monotonic)();
        match change {
            Change::None => {}
            Change::WentDown => {
                self.down_since = Some(now);
                self.timer_is_stale = true;
                let line = self.conditions.begin(DOWN, "", now);
                if !line.is_due() {
                    return;
                }
                let note = line.note();
                if self.outbox.is_some() {
                    warn!(
                        reason,
                        "not delivered, the receiver is down; batches go into the outbox until it \
                         is back{note}"
                    );
                } else {
                    warn!(
                        reason,
                        "not delivered; snapshots wait in the spool until it works{note}"
                    );
                }
            }
            Change::CameUp => {
                let since = self.down_since.take().unwrap_or(now);
                let seconds = now.saturating_duration_since(since).as_secs();
                if !self.conditions.end(DOWN, now).is_due() {
                    return;
                }
                match &self.outbox {
                    Some(outbox) => {
                        let (batches, metrics) = (outbox.len(), outbox.metrics());
                        info!(
                            seconds,
                            batches,
                            metrics,
                            "the receiver is back; the outbox follows, oldest first"
                        );
                    }
                    None => info!(seconds, "delivering again, oldest first"),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::time::SystemTime;

    use config::Sources;
    use crossbeam_channel::{Receiver, bounded};

    use super::*;

    fn outbound(base: &Path, batches: &[&str]) -> (Outbound, Receiver<Order>) {
        let file = base.join("conf");
        fs::write(&file, format!("[paths]\nbase-dir = {}\n", base.display())).unwrap();
        let config = config::load(&Sources { file, dir: None }).unwrap().process;
        for timestamp in batches {
            let lines: &[u8] = b"a.b 1 1\n";
            let dir = &config.outbox.as_ref().unwrap().dir;
            outbox::append(dir, timestamp, 1, &lines, false).unwrap();
        }
        let (orders, given) = bounded(1);
        let clock = Clock { wall: SystemTime::now, monotonic: Instant::now };
        (Outbound::open(&config, clock, Some(orders)).unwrap(), given)
    }

    /// The batch that is tried next, as it ends.
    fn next(outbound: &mut Outbound, given: &Receiver<Order>, sent: Sent) -> String {
        outbound.pause_over();
        let Ok(Order::Stored { entry, .. }) = given.try_recv() else { panic!("nothing is tried") };
        outbound.replayed(&entry, sent, &mut Counts::default());
        entry.timestamp
    }

    #[test]
    fn what_cannot_be_read_waits_until_the_others_are_gone() {
        let base = tempfile::tempdir().unwrap();
        let (mut outbound, given) = outbound(base.path(), &["1", "2", "3"]);
        let unreadable = || Sent::Unreadable("the disk says no".to_owned());
        assert_eq!(next(&mut outbound, &given, unreadable()), "1");
        assert_eq!(next(&mut outbound, &given, Sent::Taken), "2");
        assert_eq!(next(&mut outbound, &given, Sent::Taken), "3");
        assert_eq!(next(&mut outbound, &given, unreadable()), "1");
        assert_eq!(next(&mut outbound, &given, Sent::Taken), "1");
        assert!(outbound.unreadable.is_empty() && outbound.gauges().outbox_metrics == 0);
    }

    #[test]
    fn those_that_cannot_be_read_take_turns() {
        let base = tempfile::tempdir().unwrap();
        let (mut outbound, given) = outbound(base.path(), &["1", "2"]);
        let unreadable = || Sent::Unreadable("the disk says no".to_owned());
        for expected in ["1", "2", "1"] {
            assert_eq!(next(&mut outbound, &given, unreadable()), expected);
        }
        assert_eq!(next(&mut outbound, &given, Sent::Taken), "2");
        assert_eq!(next(&mut outbound, &given, unreadable()), "1");
    }
}
