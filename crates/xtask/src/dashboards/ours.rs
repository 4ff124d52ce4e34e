//! haproxystats itself: whether a snapshot is late, held or lost.
//!
//! The series of our own counters have gaps: nothing comes while Graphite is down, and a failed
//! cycle leaves no snapshot. A plain derivative would not show a loss during the gap, so the last
//! value is kept across it.

use super::{Chart, Panel, Threshold, Unit};

/// The growth of one of our counters, over all hosts and over gaps.
macro_rules! growth {
    ($metric:literal, $label:literal) => {
        concat!(
            "alias(consolidateBy(sumSeries(nonNegativeDerivative(keepLastValue(HOST.haproxystats.",
            $metric,
            "))), 'sum'), '",
            $label,
            "')"
        )
    };
}

pub(super) const PANELS: &[Panel] = &[
    Panel {
        title: "Graphite takes batches",
        about: "1, or 0 where one host has no such Graphite. No data: process does not run \
             there, or Graphite is away.",
        unit: Unit::Count,
        chart: Chart::Figure(Threshold::Below(1.0)),
        targets: &["alias(minSeries(HOST.haproxystats.ReceiverUp), 'up')"],
    },
    Panel {
        title: "Oldest snapshot",
        about: "How old the oldest one is that waits. More than three pull-intervals: process \
             is behind.",
        unit: Unit::Seconds,
        chart: Chart::Figure(Threshold::From(30.0)),
        targets: &["alias(maxSeries(HOST.haproxystats.SnapshotAgeSeconds), 'age')"],
    },
    Panel {
        title: "Oldest batch in the outbox",
        about: "Above 0 while Graphite is, or was, away.",
        unit: Unit::Seconds,
        chart: Chart::Figure(Threshold::From(3600.0)),
        targets: &["alias(maxSeries(HOST.haproxystats.OutboxAgeSeconds), 'age')"],
    },
    Panel {
        title: "Metrics lost",
        about: "In the time in view: over the bound of the outbox, or damaged there.",
        unit: Unit::Count,
        chart: Chart::Total,
        targets: &[growth!("DroppedMetrics", "lost")],
    },
    Panel {
        title: "Cycles lost",
        about: "In the time in view: skipped since the spool was full, or without a whole answer.",
        unit: Unit::Count,
        chart: Chart::Total,
        targets: &["alias(consolidateBy(sumSeries(nonNegativeDerivative(keepLastValue(\
             HOST.haproxystats.{PullSkipped,PullFailures}))), 'sum'), 'lost')"],
    },
    Panel {
        title: "Snapshots given up",
        about: "In the time in view. They lie in failed-dir, each with its reason.",
        unit: Unit::Count,
        chart: Chart::Total,
        targets: &[growth!("FailedSnapshots", "given up")],
    },
    Panel {
        title: "Lag, by host",
        about: "Age of the oldest snapshot in the spool, and of the oldest batch in the outbox.",
        unit: Unit::Seconds,
        chart: Chart::Lines,
        targets: &["aliasByNode(HOST.haproxystats.{SnapshotAgeSeconds,OutboxAgeSeconds}, -4, -1)"],
    },
    Panel {
        title: "Snapshots in the spool, by host",
        about: "At the queue-size of [pull] pull pauses, and cycles are lost.",
        unit: Unit::Count,
        chart: Chart::Lines,
        targets: &["aliasByNode(HOST.haproxystats.SpoolSize, -4)"],
    },
    Panel {
        title: "Snapshots that cannot be deleted, by host",
        about: "They are done, and take up room. The log names one and says why.",
        unit: Unit::Count,
        chart: Chart::Lines,
        targets: &["aliasByNode(HOST.haproxystats.UndeletedSnapshots, -4)"],
    },
    Panel {
        title: "Bytes in the outbox, by host",
        about: "At outbox-size the oldest batches go.",
        unit: Unit::Bytes,
        chart: Chart::Lines,
        targets: &["aliasByNode(HOST.haproxystats.OutboxBytes, -4)"],
    },
    Panel {
        title: "Metrics in the outbox, by host",
        about: "",
        unit: Unit::Count,
        chart: Chart::Lines,
        targets: &["aliasByNode(HOST.haproxystats.OutboxMetrics, -4)"],
    },
    Panel {
        title: "Graphite takes batches, by host",
        about: "1 or 0. A gap: process does not run, or Graphite is away.",
        unit: Unit::Count,
        chart: Chart::Lines,
        targets: &["aliasByNode(HOST.haproxystats.ReceiverUp, -4)"],
    },
    Panel {
        title: "Refused deliveries",
        about: "Each try counts. They are told when Graphite is back.",
        unit: Unit::Count,
        chart: Chart::Bars,
        targets: &[
            growth!("DeliveryFailures", "refused by Graphite"),
            growth!("LocalStoreFailures", "not written to local-store"),
        ],
    },
    Panel {
        title: "Lost",
        about: "Metrics from the outbox; cycles of pull; snapshots that cannot be processed.",
        unit: Unit::Count,
        chart: Chart::Bars,
        targets: &[
            growth!("DroppedMetrics", "metrics dropped"),
            growth!("RefusedPoints", "points refused"),
            growth!("LongLines", "lines too long"),
            growth!("PullSkipped", "cycles skipped"),
            growth!("PullFailures", "cycles failed"),
            growth!("FailedSnapshots", "snapshots given up"),
        ],
    },
    Panel {
        title: "Not whole",
        about: "Sums are without these.",
        unit: Unit::Count,
        chart: Chart::Bars,
        targets: &[
            "alias(sumSeries(HOST.haproxystats.MissingEndpoints), 'endpoints missing')",
            "alias(sumSeries(HOST.haproxystats.DamagedFiles), 'files damaged')",
            growth!("PullEndpointFailures", "endpoints without answer"),
        ],
    },
    Panel {
        title: "Workers replaced",
        about: "Something kills them, or they crash; failed-dir may hold the snapshot.",
        unit: Unit::Count,
        chart: Chart::Bars,
        targets: &[growth!("WorkerRestarts", "replaced")],
    },
    Panel {
        title: "A cycle of pull, by host",
        about: "Until all was written. Beyond pull-interval the next cycle is late.",
        unit: Unit::Milliseconds,
        chart: Chart::Lines,
        targets: &["aliasByNode(HOST.haproxystats.PullMilliseconds, -4)"],
    },
    Panel {
        title: "Cycles per second, by host",
        about: "1 divided by pull-interval while all is well.",
        unit: Unit::PerSecond,
        chart: Chart::Lines,
        targets: &["aliasByNode(perSecond(HOST.haproxystats.PullCycles), -4)"],
    },
    Panel {
        title: "Time for a snapshot, by part",
        about: "Of the slowest host. Sending is not in it.",
        unit: Unit::Seconds,
        chart: Chart::Lines,
        targets: &[
            "alias(maxSeries(HOST.haproxystats.TotalWallClockTime), 'all')",
            "alias(maxSeries(HOST.haproxystats.WallClockTimeHAProxy), 'show info')",
            "alias(maxSeries(HOST.haproxystats.WallClockTimeAllStats), 'show stat')",
            "alias(maxSeries(HOST.haproxystats.WallClockTimeFrontends), 'frontends')",
            "alias(maxSeries(HOST.haproxystats.WallClockTimeBackends), 'backends')",
            "alias(maxSeries(HOST.haproxystats.WallClockTimeServers), 'servers')",
        ],
    },
    Panel {
        title: "Metrics of a snapshot",
        about: "More of them: somebody made proxies or servers. Each is a file in Graphite.",
        unit: Unit::Count,
        chart: Chart::Stack,
        targets: &[
            "alias(sumSeries(HOST.haproxystats.MetricsHAProxy), 'processes')",
            "alias(sumSeries(HOST.haproxystats.MetricsFrontend), 'frontends')",
            "alias(sumSeries(HOST.haproxystats.MetricsBackend), 'backends')",
            "alias(sumSeries(HOST.haproxystats.MetricsServer), 'servers')",
        ],
    },
];
