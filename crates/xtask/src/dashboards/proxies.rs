//! One frontend, and one backend with its servers. Where several hosts are in view, their figures
//! are added up; times are averaged.

use super::{Chart, Panel, Threshold, Unit};

pub(super) const FRONTEND_PANELS: &[Panel] = &[
    Panel {
        title: "Requests",
        about: "Per second.",
        unit: Unit::Requests,
        chart: Chart::Figure(Threshold::Never),
        targets: &["alias(sumSeries(perSecond(FRONTEND.req_tot)), 'requests')"],
    },
    Panel {
        title: "Answers 5xx",
        about: "Of a hundred answers.",
        unit: Unit::Percent,
        chart: Chart::Figure(Threshold::From(1.0)),
        targets: &["alias(asPercent(sumSeries(perSecond(FRONTEND.hrsp_5xx)), \
             sumSeries(perSecond(FRONTEND.hrsp_*))), '5xx')"],
    },
    Panel {
        title: "Answers 4xx",
        about: "Of a hundred answers.",
        unit: Unit::Percent,
        chart: Chart::Figure(Threshold::Never),
        targets: &["alias(asPercent(sumSeries(perSecond(FRONTEND.hrsp_4xx)), \
             sumSeries(perSecond(FRONTEND.hrsp_*))), '4xx')"],
    },
    Panel {
        title: "Sessions",
        about: "Open now.",
        unit: Unit::Count,
        chart: Chart::Figure(Threshold::Never),
        targets: &["alias(sumSeries(FRONTEND.scur), 'sessions')"],
    },
    Panel {
        title: "Sessions, of the limit",
        about: "At 100 new connections of this frontend wait in the kernel.",
        unit: Unit::Percent,
        chart: Chart::Figure(Threshold::From(80.0)),
        targets: &["alias(asPercent(sumSeries(FRONTEND.scur), sumSeries(FRONTEND.slim)), \
             'of the limit')"],
    },
    Panel {
        title: "To clients",
        about: "Bytes per second.",
        unit: Unit::BytesPerSecond,
        chart: Chart::Figure(Threshold::Never),
        targets: &["alias(sumSeries(perSecond(FRONTEND.bout)), 'to clients')"],
    },
    Panel {
        title: "Requests per second",
        about: "HAProxy answers some itself: redirects, the statistics page, monitor-uri.",
        unit: Unit::Requests,
        chart: Chart::Lines,
        targets: &[
            "alias(sumSeries(perSecond(FRONTEND.req_tot)), 'all')",
            "alias(sumSeries(perSecond(FRONTEND.intercepted)), 'answered by HAProxy')",
        ],
    },
    Panel {
        title: "Answers per second, by status",
        about: "",
        unit: Unit::PerSecond,
        chart: Chart::Stack,
        targets: &[
            "alias(sumSeries(perSecond(FRONTEND.hrsp_2xx)), '2xx')",
            "alias(sumSeries(perSecond(FRONTEND.hrsp_3xx)), '3xx')",
            "alias(sumSeries(perSecond(FRONTEND.hrsp_4xx)), '4xx')",
            "alias(sumSeries(perSecond(FRONTEND.hrsp_5xx)), '5xx')",
            "alias(sumSeries(perSecond(FRONTEND.hrsp_{1xx,other})), 'other')",
        ],
    },
    Panel {
        title: "Errors and denials per second",
        about: "An error is a request that was broken off, was not HTTP, or came too slowly.",
        unit: Unit::PerSecond,
        chart: Chart::Lines,
        targets: &[
            "alias(sumSeries(perSecond(FRONTEND.ereq)), 'bad requests')",
            "alias(sumSeries(perSecond(FRONTEND.dreq)), 'denied requests')",
            "alias(sumSeries(perSecond(FRONTEND.dresp)), 'denied responses')",
            "alias(sumSeries(perSecond(FRONTEND.dcon)), 'denied connections')",
            "alias(sumSeries(perSecond(FRONTEND.dses)), 'denied sessions')",
        ],
    },
    Panel {
        title: "Open sessions",
        about: "The limit is the sum over the processes.",
        unit: Unit::Count,
        chart: Chart::Lines,
        targets: &[
            "alias(sumSeries(FRONTEND.scur), 'open')",
            "alias(sumSeries(FRONTEND.slim), 'limit')",
        ],
    },
    Panel {
        title: "New sessions and connections per second",
        about: "",
        unit: Unit::PerSecond,
        chart: Chart::Lines,
        targets: &[
            "alias(sumSeries(perSecond(FRONTEND.stot)), 'sessions')",
            "alias(sumSeries(perSecond(FRONTEND.conn_tot)), 'connections')",
        ],
    },
    Panel {
        title: "Bytes per second",
        about: "",
        unit: Unit::BytesPerSecond,
        chart: Chart::Lines,
        targets: &[
            "alias(sumSeries(perSecond(FRONTEND.bin)), 'from clients')",
            "alias(sumSeries(perSecond(FRONTEND.bout)), 'to clients')",
        ],
    },
    Panel {
        title: "The last second, as HAProxy saw it",
        about: "Peaks within a pull-interval show here, if only those of its last second.",
        unit: Unit::PerSecond,
        chart: Chart::Lines,
        targets: &[
            "alias(sumSeries(FRONTEND.req_rate), 'requests')",
            "alias(sumSeries(FRONTEND.rate), 'sessions')",
            "alias(sumSeries(FRONTEND.conn_rate), 'connections')",
        ],
    },
    Panel {
        title: "The most so far",
        about: "Sums of each process's own maximum, so an upper bound. They begin anew at a \
             reload.",
        unit: Unit::Count,
        chart: Chart::Lines,
        targets: &[
            "alias(sumSeries(FRONTEND.req_rate_max), 'requests per second')",
            "alias(sumSeries(FRONTEND.rate_max), 'sessions per second')",
            "alias(sumSeries(FRONTEND.smax), 'open sessions')",
        ],
    },
    Panel {
        title: "Compression, bytes per second",
        about: "Past it goes what comes while CPU or bandwidth are at the limit of compression.",
        unit: Unit::BytesPerSecond,
        chart: Chart::Lines,
        targets: &[
            "alias(sumSeries(perSecond(FRONTEND.comp_in)), 'into the compressor')",
            "alias(sumSeries(perSecond(FRONTEND.comp_out)), 'out of it')",
            "alias(sumSeries(perSecond(FRONTEND.comp_byp)), 'past it')",
        ],
    },
];

pub(super) const BACKEND_PANELS: &[Panel] = &[
    Panel {
        title: "Requests",
        about: "Per second.",
        unit: Unit::Requests,
        chart: Chart::Figure(Threshold::Never),
        targets: &["alias(sumSeries(perSecond(BACKEND.req_tot)), 'requests')"],
    },
    Panel {
        title: "Answers 5xx",
        about: "Of a hundred answers.",
        unit: Unit::Percent,
        chart: Chart::Figure(Threshold::From(1.0)),
        targets: &["alias(asPercent(sumSeries(perSecond(BACKEND.hrsp_5xx)), \
             sumSeries(perSecond(BACKEND.hrsp_*))), '5xx')"],
    },
    Panel {
        title: "Response time",
        about: "The mean of the last 1024 requests.",
        unit: Unit::Milliseconds,
        chart: Chart::Figure(Threshold::Never),
        targets: &["alias(averageSeries(BACKEND.rtime), 'response time')"],
    },
    Panel {
        title: "Queue",
        about: "Requests that wait for a server.",
        unit: Unit::Count,
        chart: Chart::Figure(Threshold::From(1.0)),
        targets: &["alias(sumSeries(BACKEND.qcur), 'queue')"],
    },
    Panel {
        title: "Active servers",
        about: "As the host with the fewest sees them.",
        unit: Unit::Count,
        chart: Chart::Figure(Threshold::Below(1.0)),
        targets: &["alias(minSeries(BACKEND.act), 'active')"],
    },
    Panel {
        title: "Servers",
        about: "In the configuration.",
        unit: Unit::Count,
        chart: Chart::Figure(Threshold::Never),
        targets: &["alias(maxSeries(BACKEND.TotalServers), 'servers')"],
    },
    Panel {
        title: "Requests per second",
        about: "HAProxy answers some itself; the balancer chooses a server for the others.",
        unit: Unit::Requests,
        chart: Chart::Lines,
        targets: &[
            "alias(sumSeries(perSecond(BACKEND.req_tot)), 'all')",
            "alias(sumSeries(perSecond(BACKEND.lbtot)), 'balanced')",
            "alias(sumSeries(perSecond(BACKEND.intercepted)), 'answered by HAProxy')",
        ],
    },
    Panel {
        title: "Answers per second, by status",
        about: "",
        unit: Unit::PerSecond,
        chart: Chart::Stack,
        targets: &[
            "alias(sumSeries(perSecond(BACKEND.hrsp_2xx)), '2xx')",
            "alias(sumSeries(perSecond(BACKEND.hrsp_3xx)), '3xx')",
            "alias(sumSeries(perSecond(BACKEND.hrsp_4xx)), '4xx')",
            "alias(sumSeries(perSecond(BACKEND.hrsp_5xx)), '5xx')",
            "alias(sumSeries(perSecond(BACKEND.hrsp_{1xx,other})), 'other')",
        ],
    },
    Panel {
        title: "Errors per second",
        about: "",
        unit: Unit::PerSecond,
        chart: Chart::Lines,
        targets: &[
            "alias(sumSeries(perSecond(BACKEND.econ)), 'no connection to a server')",
            "alias(sumSeries(perSecond(BACKEND.eresp)), 'bad responses')",
            "alias(sumSeries(perSecond(BACKEND.wretr)), 'connections tried again')",
            "alias(sumSeries(perSecond(BACKEND.wredis)), 'sent to another server')",
            "alias(sumSeries(perSecond(BACKEND.{dreq,dresp})), 'denied')",
            "alias(sumSeries(perSecond(BACKEND.cli_abrt)), 'broken off by clients')",
            "alias(sumSeries(perSecond(BACKEND.srv_abrt)), 'broken off by servers')",
        ],
    },
    Panel {
        title: "Times",
        about: "Means of the last 1024 requests, over the processes that had any. All but the \
             total follow each other.",
        unit: Unit::Milliseconds,
        chart: Chart::Lines,
        targets: &[
            "alias(averageSeries(BACKEND.qtime), 'in the queue')",
            "alias(averageSeries(BACKEND.ctime), 'to connect')",
            "alias(averageSeries(BACKEND.rtime), 'until the response')",
            "alias(averageSeries(BACKEND.ttime), 'total')",
        ],
    },
    Panel {
        title: "Open sessions and queue",
        about: "",
        unit: Unit::Count,
        chart: Chart::Lines,
        targets: &[
            "alias(sumSeries(BACKEND.scur), 'open sessions')",
            "alias(sumSeries(BACKEND.qcur), 'in the queue')",
        ],
    },
    Panel {
        title: "Bytes per second",
        about: "",
        unit: Unit::BytesPerSecond,
        chart: Chart::Lines,
        targets: &[
            "alias(sumSeries(perSecond(BACKEND.bin)), 'from clients')",
            "alias(sumSeries(perSecond(BACKEND.bout)), 'to clients')",
        ],
    },
    Panel {
        title: "Servers up",
        about: "As the average host sees them. A fraction: its processes do not agree.",
        unit: Unit::Count,
        chart: Chart::Lines,
        targets: &[
            "alias(averageSeries(BACKEND.act), 'active')",
            "alias(averageSeries(BACKEND.bck), 'backup')",
        ],
    },
    Panel {
        title: "Whole backend down",
        about: "How often, and for how many seconds of each second. Each process of each host \
             counts what it saw.",
        unit: Unit::Count,
        chart: Chart::Bars,
        targets: &[
            "alias(consolidateBy(sumSeries(nonNegativeDerivative(BACKEND.chkdown)), \
             'sum'), 'times')",
            "alias(sumSeries(perSecond(BACKEND.downtime)), 'seconds per second')",
        ],
    },
    Panel {
        title: "Requests per second, by server",
        about: "How often the balancer chose it.",
        unit: Unit::Requests,
        chart: Chart::Stack,
        targets: &["groupByNode(perSecond(SERVER.lbtot), -2, 'sum')"],
    },
    Panel {
        title: "Answers 5xx per second, by server",
        about: "",
        unit: Unit::PerSecond,
        chart: Chart::Stack,
        targets: &["groupByNode(perSecond(SERVER.hrsp_5xx), -2, 'sum')"],
    },
    Panel {
        title: "Errors per second, by server",
        about: "No connection, bad responses, broken off by the server, tried again, sent \
             elsewhere.",
        unit: Unit::PerSecond,
        chart: Chart::Stack,
        targets: &["groupByNode(perSecond(SERVER.{econ,eresp,srv_abrt,wretr,wredis}), -2, 'sum')"],
    },
    Panel {
        title: "Response time, by server",
        about: "Means of the last 1024 requests.",
        unit: Unit::Milliseconds,
        chart: Chart::Lines,
        targets: &["groupByNode(SERVER.rtime, -2, 'average')"],
    },
    Panel {
        title: "Open sessions, by server",
        about: "",
        unit: Unit::Count,
        chart: Chart::Stack,
        targets: &["groupByNode(SERVER.scur, -2, 'sum')"],
    },
    Panel {
        title: "Queue, by server",
        about: "Requests that wait for this one.",
        unit: Unit::Count,
        chart: Chart::Stack,
        targets: &["groupByNode(SERVER.qcur, -2, 'sum')"],
    },
    Panel {
        title: "Failed checks, by server",
        about: "While it was up. Each process of each host checks by itself.",
        unit: Unit::Count,
        chart: Chart::Bars,
        targets: &["aliasByNode(consolidateBy(groupByNode(nonNegativeDerivative(SERVER.chkfail), \
             -2, 'sum'), 'sum'), 0)"],
    },
    Panel {
        title: "Went down, by server",
        about: "Each process of each host counts what it saw.",
        unit: Unit::Count,
        chart: Chart::Bars,
        targets: &["aliasByNode(consolidateBy(groupByNode(nonNegativeDerivative(SERVER.chkdown), \
             -2, 'sum'), 'sum'), 0)"],
    },
    Panel {
        title: "Weight, by server",
        about: "In effect: 0 while it drains, and less than usual while it starts slowly.",
        unit: Unit::Count,
        chart: Chart::Lines,
        targets: &["groupByNode(SERVER.weight, -2, 'average')"],
    },
];
