//! haproxystats itself: whether a snapshot is late, held or lost.
//!
//! The metrics of a receiver (`ReceiverUp` and so on) are those of `[graphite]` in the dashboards
//! for Graphite, and those of each receiver in the dashboards for InfluxDB.

use super::line::Label::{Host, HostAndField, Name};
use super::line::Rows::Own;
use super::line::{growth, largest, rate, smallest, sum};
use super::{Chart, Panel, Threshold, Unit};

pub(super) const PANELS: &[Panel] = &[
    Panel {
        title: "Receiver takes batches",
        about: "1, or 0 where it is down for one host. No data: process does not run there, or \
             this database is away.",
        unit: Unit::Count,
        chart: Chart::Figure(Threshold::Below(1.0)),
        lines: &[smallest(Own, &["ReceiverUp"], Name("up"))],
    },
    Panel {
        title: "Oldest snapshot",
        about: "How old the oldest one is that waits. More than three pull-intervals: process \
             is behind.",
        unit: Unit::Seconds,
        chart: Chart::Figure(Threshold::From(30.0)),
        lines: &[largest(Own, &["SnapshotAgeSeconds"], Name("age"))],
    },
    Panel {
        title: "Oldest batch in the outbox",
        about: "Above 0 while the receiver is, or was, away.",
        unit: Unit::Seconds,
        chart: Chart::Figure(Threshold::From(3600.0)),
        lines: &[largest(Own, &["OutboxAgeSeconds"], Name("age"))],
    },
    Panel {
        title: "Metrics lost",
        about: "In the time in view: over the bound of the outbox, or damaged there.",
        unit: Unit::Count,
        chart: Chart::Total,
        lines: &[growth(Own, &["DroppedMetrics"], Name("lost"))],
    },
    Panel {
        title: "Cycles lost",
        about: "In the time in view: skipped since the spool was full, or without a whole answer.",
        unit: Unit::Count,
        chart: Chart::Total,
        lines: &[growth(Own, &["PullSkipped", "PullFailures"], Name("lost"))],
    },
    Panel {
        title: "Snapshots given up",
        about: "In the time in view. They lie in failed-dir, each with its reason.",
        unit: Unit::Count,
        chart: Chart::Total,
        lines: &[growth(Own, &["FailedSnapshots"], Name("given up"))],
    },
    Panel {
        title: "Lag, by host",
        about: "Age of the oldest snapshot in the spool, and of the oldest batch in the outbox.",
        unit: Unit::Seconds,
        chart: Chart::Lines,
        lines: &[
            largest(Own, &["SnapshotAgeSeconds"], HostAndField),
            largest(Own, &["OutboxAgeSeconds"], HostAndField),
        ],
    },
    Panel {
        title: "Snapshots in the spool, by host",
        about: "At the queue-size of [pull] pull pauses, and cycles are lost.",
        unit: Unit::Count,
        chart: Chart::Lines,
        lines: &[largest(Own, &["SpoolSize"], Host)],
    },
    Panel {
        title: "Snapshots that cannot be deleted, by host",
        about: "They are done, and take up room. The log names one and says why.",
        unit: Unit::Count,
        chart: Chart::Lines,
        lines: &[largest(Own, &["UndeletedSnapshots"], Host)],
    },
    Panel {
        title: "Bytes in the outbox, by host",
        about: "At outbox-size the oldest batches go.",
        unit: Unit::Bytes,
        chart: Chart::Lines,
        lines: &[largest(Own, &["OutboxBytes"], Host)],
    },
    Panel {
        title: "Metrics in the outbox, by host",
        about: "",
        unit: Unit::Count,
        chart: Chart::Lines,
        lines: &[largest(Own, &["OutboxMetrics"], Host)],
    },
    Panel {
        title: "Receiver takes batches, by host",
        about: "1 or 0. A gap: process does not run, or this database is away.",
        unit: Unit::Count,
        chart: Chart::Lines,
        lines: &[smallest(Own, &["ReceiverUp"], Host)],
    },
    Panel {
        title: "Refused deliveries",
        about: "Each try counts. They are told when the receiver is back.",
        unit: Unit::Count,
        chart: Chart::Bars,
        lines: &[
            growth(Own, &["DeliveryFailures"], Name("refused by the receiver")),
            growth(Own, &["LocalStoreFailures"], Name("not written to local-store")),
        ],
    },
    Panel {
        title: "Lost",
        about: "Metrics from the outbox; points and lines that the receiver does not take; \
             cycles of pull; snapshots that cannot be processed.",
        unit: Unit::Count,
        chart: Chart::Bars,
        lines: &[
            growth(Own, &["DroppedMetrics"], Name("metrics dropped")),
            growth(Own, &["RefusedPoints"], Name("points refused")),
            growth(Own, &["LongLines"], Name("lines too long")),
            growth(Own, &["PullSkipped"], Name("cycles skipped")),
            growth(Own, &["PullFailures"], Name("cycles failed")),
            growth(Own, &["FailedSnapshots"], Name("snapshots given up")),
        ],
    },
    Panel {
        title: "Not whole",
        about: "Sums are without these.",
        unit: Unit::Count,
        chart: Chart::Bars,
        lines: &[
            sum(Own, &["MissingEndpoints"], Name("endpoints missing")),
            sum(Own, &["DamagedFiles"], Name("files damaged")),
            growth(Own, &["PullEndpointFailures"], Name("endpoints without answer")),
        ],
    },
    Panel {
        title: "Old workers of HAProxy",
        about: "From before a reload, asked through the master CLI; and those of them with the \
             figures of an earlier cycle.",
        unit: Unit::Count,
        chart: Chart::Lines,
        lines: &[
            sum(Own, &["OldWorkers"], Name("old workers")),
            sum(Own, &["KeptWorkers"], Name("not asked")),
        ],
    },
    Panel {
        title: "Workers replaced",
        about: "Something kills them, or they crash; failed-dir may hold the snapshot.",
        unit: Unit::Count,
        chart: Chart::Bars,
        lines: &[growth(Own, &["WorkerRestarts"], Name("replaced"))],
    },
    Panel {
        title: "A cycle of pull, by host",
        about: "Until all was written. Beyond pull-interval the next cycle is late.",
        unit: Unit::Milliseconds,
        chart: Chart::Lines,
        lines: &[largest(Own, &["PullMilliseconds"], Host)],
    },
    Panel {
        title: "Cycles per second, by host",
        about: "1 divided by pull-interval while all is well.",
        unit: Unit::PerSecond,
        chart: Chart::Lines,
        lines: &[rate(Own, &["PullCycles"], Host)],
    },
    Panel {
        title: "Time for a snapshot, by part",
        about: "Of the slowest host. Sending is not in it.",
        unit: Unit::Seconds,
        chart: Chart::Lines,
        lines: &[
            largest(Own, &["TotalWallClockTime"], Name("all")),
            largest(Own, &["WallClockTimeHAProxy"], Name("show info")),
            largest(Own, &["WallClockTimeAllStats"], Name("show stat")),
            largest(Own, &["WallClockTimeFrontends"], Name("frontends")),
            largest(Own, &["WallClockTimeBackends"], Name("backends")),
            largest(Own, &["WallClockTimeServers"], Name("servers")),
        ],
    },
    Panel {
        title: "Metrics of a snapshot",
        about: "More of them: somebody made proxies or servers. Each is a file in Graphite, and \
             a field in InfluxDB.",
        unit: Unit::Count,
        chart: Chart::Stack,
        lines: &[
            sum(Own, &["MetricsHAProxy"], Name("processes")),
            sum(Own, &["MetricsFrontend"], Name("frontends")),
            sum(Own, &["MetricsBackend"], Name("backends")),
            sum(Own, &["MetricsServer"], Name("servers")),
        ],
    },
];
