//! One application of uWSGI: its requests, how busy its workers are, and what they cost.

use super::line::Label::{Host, Name, Worker};
use super::line::Rows::{Application, Workers};
use super::line::{growth, largest, mean, percent_of_sums, rate, sum};
use super::{Chart, Panel, Threshold, Unit};

pub(super) const PANELS: &[Panel] = &[
    Panel {
        title: "Requests",
        about: "All workers of the hosts in view.",
        unit: Unit::Requests,
        chart: Chart::Figure(Threshold::Never),
        lines: &[rate(Application, &["requests"], Name("requests"))],
    },
    Panel {
        title: "Workers that are busy",
        about: "Near 100 requests wait: raise processes, or find what holds the workers.",
        unit: Unit::Percent,
        chart: Chart::Figure(Threshold::From(90.0)),
        lines: &[percent_of_sums(Application, &["busy_workers"], &["workers_total"], Name("busy"))],
    },
    Panel {
        title: "Time of a request",
        about: "The mean of the workers, by the requests of each. uWSGI's own mean moves slowly.",
        unit: Unit::Microseconds,
        chart: Chart::Figure(Threshold::Never),
        lines: &[mean(Application, &["avg_rt"], Name("mean"))],
    },
    Panel {
        title: "Exceptions",
        about: "In the time in view. The log of uWSGI has each.",
        unit: Unit::Count,
        chart: Chart::Total,
        lines: &[growth(Application, &["exceptions"], Name("exceptions"))],
    },
    Panel {
        title: "Requests, by host",
        about: "",
        unit: Unit::Requests,
        chart: Chart::Lines,
        lines: &[rate(Application, &["requests"], Host)],
    },
    Panel {
        title: "Requests, by worker",
        about: "uWSGI gives a request to the first worker that is free, so the first have most.",
        unit: Unit::Requests,
        chart: Chart::Lines,
        lines: &[rate(Workers, &["requests"], Worker)],
    },
    Panel {
        title: "Workers, by state",
        about: "Cheap ones do not run; uWSGI starts them when they are needed.",
        unit: Unit::Count,
        chart: Chart::Stack,
        lines: &[
            sum(Application, &["busy_workers"], Name("busy")),
            sum(Application, &["idle_workers"], Name("idle")),
            sum(Application, &["cheap_workers"], Name("cheap")),
        ],
    },
    Panel {
        title: "Time of a request, by host",
        about: "",
        unit: Unit::Microseconds,
        chart: Chart::Lines,
        lines: &[mean(Application, &["avg_rt"], Host)],
    },
    Panel {
        title: "Bytes sent, by host",
        about: "",
        unit: Unit::BytesPerSecond,
        chart: Chart::Lines,
        lines: &[rate(Application, &["tx"], Host)],
    },
    Panel {
        title: "Memory, by worker",
        about: "The largest of the hosts in view. Without memory-report uWSGI knows none.",
        unit: Unit::Bytes,
        chart: Chart::Lines,
        lines: &[largest(Workers, &["rss"], Worker)],
    },
    Panel {
        title: "Trouble",
        about: "Harakiri is a request that took too long, and cost its worker.",
        unit: Unit::Count,
        chart: Chart::Bars,
        lines: &[
            growth(Application, &["exceptions"], Name("exceptions")),
            growth(Application, &["harakiri_count"], Name("harakiri")),
            growth(Application, &["respawn_count"], Name("workers started")),
        ],
    },
    Panel {
        title: "Connections that wait",
        about: "At TCP sockets; Linux does not tell those of UNIX sockets.",
        unit: Unit::Count,
        chart: Chart::Lines,
        lines: &[
            sum(Application, &["listen_queue"], Name("waiting")),
            sum(Application, &["listen_queue_max"], Name("limit")),
        ],
    },
];
