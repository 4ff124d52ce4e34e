//! The overview: what HAProxy does, over all frontends and backends of the hosts in view.
//!
//! Counters of HAProxy start again at its reload, so they are shown as `perSecond`, which ignores a
//! fall. Names are taken from the end of a path (`-2`), because a namespace can have any length.

use super::{Chart, Panel, Threshold, Unit};

pub(super) const PANELS: &[Panel] = &[
    Panel {
        title: "Requests",
        about: "Per second, over all frontends.",
        unit: Unit::Requests,
        chart: Chart::Figure(Threshold::Never),
        targets: &["alias(sumSeries(perSecond(HOST.frontend.*.req_tot)), 'requests')"],
    },
    Panel {
        title: "Answers 5xx",
        about: "Of a hundred answers of all frontends, how many had a status of 500 and more.",
        unit: Unit::Percent,
        chart: Chart::Figure(Threshold::From(1.0)),
        targets: &["alias(asPercent(sumSeries(perSecond(HOST.frontend.*.hrsp_5xx)), \
             sumSeries(perSecond(HOST.frontend.*.hrsp_*))), '5xx')"],
    },
    Panel {
        title: "Sessions",
        about: "Open now, over all frontends.",
        unit: Unit::Count,
        chart: Chart::Figure(Threshold::Never),
        targets: &["alias(sumSeries(HOST.frontend.*.scur), 'sessions')"],
    },
    Panel {
        title: "Connections, of the limit",
        about: "Open connections, of the limits (maxconn) of all processes. At 100 new ones \
             wait in the kernel.",
        unit: Unit::Percent,
        chart: Chart::Figure(Threshold::From(80.0)),
        targets: &["alias(asPercent(sumSeries(HOST.daemon.CurrConns), \
             sumSeries(HOST.daemon.Maxconn)), 'of maxconn')"],
    },
    Panel {
        title: "Queue",
        about: "Requests that wait for a server, over all backends.",
        unit: Unit::Count,
        chart: Chart::Figure(Threshold::From(1.0)),
        targets: &["alias(sumSeries(HOST.backend.*.qcur), 'queue')"],
    },
    Panel {
        title: "Since the last start",
        about: "Of the host that started last; a mean over its processes. A reload is a start.",
        unit: Unit::Seconds,
        chart: Chart::Figure(Threshold::Never),
        targets: &["alias(minSeries(HOST.daemon.Uptime_sec), 'uptime')"],
    },
    Panel {
        title: "Requests per second, by frontend",
        about: "Those which HAProxy answered itself are among them.",
        unit: Unit::Requests,
        chart: Chart::Stack,
        targets: &["groupByNode(perSecond(HOST.frontend.*.req_tot), -2, 'sum')"],
    },
    Panel {
        title: "Answers per second, by status",
        about: "As clients got them, over all frontends.",
        unit: Unit::PerSecond,
        chart: Chart::Stack,
        targets: &[
            "alias(sumSeries(perSecond(HOST.frontend.*.hrsp_2xx)), '2xx')",
            "alias(sumSeries(perSecond(HOST.frontend.*.hrsp_3xx)), '3xx')",
            "alias(sumSeries(perSecond(HOST.frontend.*.hrsp_4xx)), '4xx')",
            "alias(sumSeries(perSecond(HOST.frontend.*.hrsp_5xx)), '5xx')",
            "alias(sumSeries(perSecond(HOST.frontend.*.hrsp_{1xx,other})), 'other')",
        ],
    },
    Panel {
        title: "Errors per second",
        about: "Bad and denied requests at the frontends, the rest between backends and servers.",
        unit: Unit::PerSecond,
        chart: Chart::Lines,
        targets: &[
            "alias(sumSeries(perSecond(HOST.frontend.*.ereq)), 'bad requests')",
            "alias(sumSeries(perSecond(HOST.frontend.*.dreq)), 'denied requests')",
            "alias(sumSeries(perSecond(HOST.backend.*.econ)), 'no connection to a server')",
            "alias(sumSeries(perSecond(HOST.backend.*.eresp)), 'bad responses')",
            "alias(sumSeries(perSecond(HOST.backend.*.wretr)), 'connections tried again')",
            "alias(sumSeries(perSecond(HOST.backend.*.wredis)), 'sent to another server')",
        ],
    },
    Panel {
        title: "Open sessions, by frontend",
        about: "",
        unit: Unit::Count,
        chart: Chart::Stack,
        targets: &["groupByNode(HOST.frontend.*.scur, -2, 'sum')"],
    },
    Panel {
        title: "New sessions per second, by frontend",
        about: "A session carries one request or many.",
        unit: Unit::PerSecond,
        chart: Chart::Stack,
        targets: &["groupByNode(perSecond(HOST.frontend.*.stot), -2, 'sum')"],
    },
    Panel {
        title: "Bytes per second",
        about: "Between clients and frontends.",
        unit: Unit::BytesPerSecond,
        chart: Chart::Lines,
        targets: &[
            "alias(sumSeries(perSecond(HOST.frontend.*.bin)), 'from clients')",
            "alias(sumSeries(perSecond(HOST.frontend.*.bout)), 'to clients')",
        ],
    },
    Panel {
        title: "CPU of the HAProxy processes",
        about: "Percentiles over the processes of a host, which come where it has two or more; of \
             the busiest host where several are in view. The mean is over all hosts.",
        unit: Unit::Percent,
        chart: Chart::Lines,
        targets: &[
            "alias(maxSeries(HOST.daemon.99PercentileCpuUsagePct), '99th percentile')",
            "alias(maxSeries(HOST.daemon.95PercentileCpuUsagePct), '95th percentile')",
            "alias(maxSeries(HOST.daemon.75PercentileCpuUsagePct), '75th percentile')",
            "alias(maxSeries(HOST.daemon.50PercentileCpuUsagePct), 'median')",
            "alias(maxSeries(HOST.daemon.25PercentileCpuUsagePct), '25th percentile')",
            "alias(offset(scale(averageSeries(HOST.daemon.Idle_pct), -1), 100), 'mean')",
            "alias(maxSeries(HOST.daemon.StdCpuUsagePct), 'standard deviation')",
        ],
    },
    Panel {
        title: "Response time, by backend",
        about: "The mean of the last 1024 requests, over the processes that had any.",
        unit: Unit::Milliseconds,
        chart: Chart::Lines,
        targets: &["groupByNode(HOST.backend.*.rtime, -2, 'average')"],
    },
    Panel {
        title: "Queue, by backend",
        about: "Requests that wait for a server.",
        unit: Unit::Count,
        chart: Chart::Stack,
        targets: &["groupByNode(HOST.backend.*.qcur, -2, 'sum')"],
    },
    Panel {
        title: "Active servers, by backend",
        about: "As the average host sees them. A fraction: its processes do not agree.",
        unit: Unit::Count,
        chart: Chart::Lines,
        targets: &["groupByNode(HOST.backend.*.act, -2, 'average')"],
    },
    Panel {
        title: "Servers that went down, by backend",
        about: "Each process of each host counts what it saw.",
        unit: Unit::Count,
        chart: Chart::Bars,
        targets: &[
            "aliasByNode(consolidateBy(groupByNode(nonNegativeDerivative(HOST.backend.*.chkdown), \
             -2, 'sum'), 'sum'), 0)",
        ],
    },
    Panel {
        title: "Connections",
        about: "Of all processes, those with TLS once more.",
        unit: Unit::Count,
        chart: Chart::Lines,
        targets: &[
            "alias(sumSeries(HOST.daemon.CurrConns), 'open')",
            "alias(sumSeries(HOST.daemon.CurrSslConns), 'open, with TLS')",
        ],
    },
    Panel {
        title: "New connections per second",
        about: "With TLS, and the keys that had to be computed for it.",
        unit: Unit::PerSecond,
        chart: Chart::Lines,
        targets: &[
            "alias(sumSeries(perSecond(HOST.daemon.CumConns)), 'all')",
            "alias(sumSeries(perSecond(HOST.daemon.CumSslConns)), 'with TLS')",
            "alias(sumSeries(HOST.daemon.SslFrontendKeyRate), 'keys, towards clients')",
            "alias(sumSeries(HOST.daemon.SslBackendKeyRate), 'keys, towards servers')",
        ],
    },
    Panel {
        title: "Tasks",
        about: "A run queue that stays long means that the processes have more to do than CPU.",
        unit: Unit::Count,
        chart: Chart::Lines,
        targets: &[
            "alias(sumSeries(HOST.daemon.Tasks), 'tasks')",
            "alias(sumSeries(HOST.daemon.Run_queue), 'run queue')",
        ],
    },
    Panel {
        title: "Uptime, by host",
        about: "The mean over the processes of a host. A fall is a reload.",
        unit: Unit::Seconds,
        chart: Chart::Lines,
        targets: &["aliasByNode(HOST.daemon.Uptime_sec, -4)"],
    },
];
