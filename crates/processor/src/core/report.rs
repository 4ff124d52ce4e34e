//! Figures about the program itself: what it lost and what waits.
//!
//! Emits `haproxystats.{SpoolSize,SnapshotAgeSeconds,UndeletedSnapshots,WorkerRestarts,
//! FailedSnapshots,LocalStoreFailures}` and, for each receiver under its prefix,
//! `{OutboxMetrics,OutboxBytes,OutboxAgeSeconds,ReceiverUp,DroppedMetrics,RefusedPoints,LongLines,
//! DeliveryFailures}`. Failures, restarts and losses count from the start. These figures have no
//! snapshot: only the newest are sent, and they are never held.

use model::Timestamp;

use super::types::Action;
use super::{Core, Receiver};

/// Counts since the start.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Children that were replaced, because they died or were killed.
    pub(super) restarts: u64,
    pub(super) failed_snapshots: u64,
    pub(super) folded_snapshots: u64,
    pub(super) folded_points: u64,
}

impl Core {
    /// Retries, inspects and reports once in each look-interval.
    pub(super) fn look(&mut self) {
        let now = self.now();
        if now < self.next_look {
            return;
        }
        self.next_look = now + self.settings.look_interval;
        self.retry();
        self.spool.wants_inspection = true;
        self.report();
    }

    fn report(&mut self) {
        let figures = self.figures();
        let timestamp = Timestamp::of_seconds(self.now.epoch_seconds);
        for receiver in self.receivers.iter_mut().filter(|r| r.settings.takes_figures) {
            receiver.figures = Some((timestamp.clone(), figures.clone()));
        }
        let points: u64 = self.receivers.iter().map(Receiver::points).sum();
        let down: Vec<_> = self.receivers.iter().filter(|r| r.circuit.is_down()).collect();
        let state = match down.as_slice() {
            [] => "all receivers are up".to_owned(),
            down => {
                let names: Vec<_> = down.iter().map(|r| r.settings.name.as_str()).collect();
                format!("down: {}", names.join(", "))
            }
        };
        let waiting = self.spool.waiting;
        let status = format!("{waiting} snapshots wait, {points} metrics in the outbox, {state}");
        self.act(Action::Status(status));
    }

    fn figures(&self) -> Vec<(String, u64)> {
        let now = self.now.epoch_seconds;
        let age = |timestamp: Option<&Timestamp>| {
            timestamp.map_or(0, |timestamp| now.saturating_sub(timestamp.seconds()))
        };
        let stores = self.receivers.iter().filter(|receiver| receiver.settings.is_local_store);
        let mut figures: Vec<(String, u64)> = [
            ("SpoolSize", self.spool.waiting),
            ("SnapshotAgeSeconds", age(self.spool.oldest.as_ref())),
            ("UndeletedSnapshots", self.spool.undeleted),
            ("WorkerRestarts", self.counts.restarts),
            ("FailedSnapshots", self.counts.failed_snapshots),
            ("LocalStoreFailures", stores.map(|store| store.failures).sum()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        for receiver in &self.receivers {
            let oldest = receiver.oldest().map(|entry| &entry.timestamp);
            let of_receiver = [
                ("OutboxMetrics", receiver.points()),
                ("OutboxBytes", receiver.bytes()),
                ("OutboxAgeSeconds", age(oldest)),
                ("ReceiverUp", u64::from(!receiver.circuit.is_down())),
                ("DroppedMetrics", receiver.dropped_points),
                ("RefusedPoints", receiver.refused_points),
                ("LongLines", receiver.long_lines),
                ("DeliveryFailures", receiver.failures),
            ];
            let prefix = &receiver.settings.prefix;
            figures.extend(of_receiver.map(|(name, value)| (format!("{prefix}{name}"), value)));
        }
        figures
    }

    /// Points that a receiver will never get, counted since the start.
    #[must_use]
    pub fn dropped_points(&self, receiver: usize) -> u64 {
        self.receivers.get(receiver).map_or(0, |receiver| receiver.dropped_points)
    }

    /// The state of the core, for a run of the simulator that does not come to rest.
    #[must_use]
    pub fn summary(&self) -> String {
        let Self { queue, batches, parked, spool, outbox, phase, .. } = self;
        format!("{phase:?} {queue:?} {batches:?} {parked:?} {spool:?} {outbox:?}")
    }
}
