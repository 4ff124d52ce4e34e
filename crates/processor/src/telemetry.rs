//! What the parent says about itself: everything that is lost, refused, waiting or late, as a batch
//! of its own stamped with its clock.
//!
//! Emits `haproxystats.{SpoolSize,SnapshotAgeSeconds,UndeletedSnapshots,OutboxMetrics,OutboxBytes,
//! OutboxAgeSeconds,ReceiverUp}` as they are now, and
//! `haproxystats.{WorkerRestarts,FailedSnapshots,DroppedMetrics,DeliveryFailures,
//! LocalStoreFailures}`, which count from the start of the program. While a receiver is down
//! nothing is sent: the counts follow when it is back.

use model::{Column, Nature, Table, TableKind};

/// Counts since the start.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Workers that died or were killed and were replaced.
    pub(crate) worker_restarts: u64,
    /// Snapshots that were given up.
    pub(crate) failed_snapshots: u64,
    /// Metrics that the outbox's bound or damage cost.
    pub(crate) dropped_metrics: u64,
    /// Batches that a receiver refused, each try counted.
    pub(crate) delivery_failures: u64,
    /// Batches that local-store could not write.
    pub(crate) local_store_failures: u64,
}

/// How things stand.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gauges {
    /// Snapshots in the spool.
    pub(crate) spool_size: u64,
    /// Age of the oldest of them; 0 if there is none.
    pub(crate) snapshot_age_seconds: u64,
    /// Snapshots that are done and whose directories cannot be deleted.
    pub(crate) undeleted_snapshots: u64,
    /// Metrics in the outbox.
    pub(crate) outbox_metrics: u64,
    /// Bytes of the outbox on the disk.
    pub(crate) outbox_bytes: u64,
    /// Age of the oldest batch there; 0 if there is none.
    pub(crate) outbox_age_seconds: u64,
    /// Whether the receiver takes batches.
    pub(crate) receiver_up: bool,
}

/// Both as metrics.
pub(crate) fn table(counts: Counts, gauges: Gauges) -> Table {
    let gauges = [
        ("SpoolSize", gauges.spool_size),
        ("SnapshotAgeSeconds", gauges.snapshot_age_seconds),
        ("UndeletedSnapshots", gauges.undeleted_snapshots),
        ("OutboxMetrics", gauges.outbox_metrics),
        ("OutboxBytes", gauges.outbox_bytes),
        ("OutboxAgeSeconds", gauges.outbox_age_seconds),
        ("ReceiverUp", u64::from(gauges.receiver_up)),
    ];
    let counts = [
        ("WorkerRestarts", counts.worker_restarts),
        ("FailedSnapshots", counts.failed_snapshots),
        ("DroppedMetrics", counts.dropped_metrics),
        ("DeliveryFailures", counts.delivery_failures),
        ("LocalStoreFailures", counts.local_store_failures),
    ];
    let column = |nature| {
        move |(name, value)| Column::integers(name, nature, None, [Some(i128::from(value))])
    };
    let columns = gauges.map(column(Nature::Gauge)).into_iter();
    let columns = columns.chain(counts.map(column(Nature::Counter))).collect();
    Table::of_one_row(TableKind::Own, columns)
}

/// Seconds from a snapshot's name to now.
pub(crate) fn age_seconds(now: u64, timestamp: Option<&str>) -> u64 {
    let begun = timestamp.and_then(spool::name::seconds);
    begun.map_or(0, |begun| now.saturating_sub(begun))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_is_one_metric() {
        let counts = Counts { dropped_metrics: 7, ..Counts::default() };
        let table = table(counts, Gauges { receiver_up: true, ..Gauges::default() });
        assert_eq!((table.points(), table.names.len()), (12, 1));
        let value =
            |name: &str| table.columns.iter().find(|c| c.name == name).and_then(|c| c.get(0));
        assert_eq!(value("DroppedMetrics"), Some(model::Value::Integer(7)));
        assert_eq!(value("ReceiverUp"), Some(model::Value::Integer(1)));
    }

    #[test]
    fn an_age_is_never_below_zero() {
        assert_eq!(
            [age_seconds(10, Some("4")), age_seconds(10, Some("40")), age_seconds(10, None)],
            [6, 0, 0]
        );
    }
}
