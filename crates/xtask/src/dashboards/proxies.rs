//! One frontend, and one backend with its servers. Where several hosts are in view, their figures
//! are added up; times are averaged.

use super::line::Label::{Name, Server};
use super::line::Rows::{Backend, Frontend, Servers};
use super::line::{
    RESPONSES, growth, largest, mean, percent_of_rates, percent_of_sums, rate, smallest, sum,
};
use super::{Chart, Panel, Threshold, Unit};

pub(super) const FRONTEND_PANELS: &[Panel] = &[
    Panel {
        title: "Requests",
        about: "Per second.",
        unit: Unit::Requests,
        chart: Chart::Figure(Threshold::Never),
        lines: &[rate(Frontend, &["req_tot"], Name("requests"))],
    },
    Panel {
        title: "Answers 5xx",
        about: "Of a hundred answers.",
        unit: Unit::Percent,
        chart: Chart::Figure(Threshold::From(1.0)),
        lines: &[percent_of_rates(Frontend, &["hrsp_5xx"], RESPONSES, Name("5xx"))],
    },
    Panel {
        title: "Answers 4xx",
        about: "Of a hundred answers.",
        unit: Unit::Percent,
        chart: Chart::Figure(Threshold::Never),
        lines: &[percent_of_rates(Frontend, &["hrsp_4xx"], RESPONSES, Name("4xx"))],
    },
    Panel {
        title: "Sessions",
        about: "Open now.",
        unit: Unit::Count,
        chart: Chart::Figure(Threshold::Never),
        lines: &[sum(Frontend, &["scur"], Name("sessions"))],
    },
    Panel {
        title: "Sessions, of the limit",
        about: "At 100 new connections of this frontend wait in the kernel.",
        unit: Unit::Percent,
        chart: Chart::Figure(Threshold::From(80.0)),
        lines: &[percent_of_sums(Frontend, &["scur"], &["slim"], Name("of the limit"))],
    },
    Panel {
        title: "To clients",
        about: "Bytes per second.",
        unit: Unit::BytesPerSecond,
        chart: Chart::Figure(Threshold::Never),
        lines: &[rate(Frontend, &["bout"], Name("to clients"))],
    },
    Panel {
        title: "Requests per second",
        about: "HAProxy answers some itself: redirects, the statistics page, monitor-uri.",
        unit: Unit::Requests,
        chart: Chart::Lines,
        lines: &[
            rate(Frontend, &["req_tot"], Name("all")),
            rate(Frontend, &["intercepted"], Name("answered by HAProxy")),
        ],
    },
    Panel {
        title: "Answers per second, by status",
        about: "",
        unit: Unit::PerSecond,
        chart: Chart::Stack,
        lines: &[
            rate(Frontend, &["hrsp_2xx"], Name("2xx")),
            rate(Frontend, &["hrsp_3xx"], Name("3xx")),
            rate(Frontend, &["hrsp_4xx"], Name("4xx")),
            rate(Frontend, &["hrsp_5xx"], Name("5xx")),
            rate(Frontend, &["hrsp_1xx", "hrsp_other"], Name("other")),
        ],
    },
    Panel {
        title: "Errors and denials per second",
        about: "An error is a request that was broken off, was not HTTP, or came too slowly.",
        unit: Unit::PerSecond,
        chart: Chart::Lines,
        lines: &[
            rate(Frontend, &["ereq"], Name("bad requests")),
            rate(Frontend, &["dreq"], Name("denied requests")),
            rate(Frontend, &["dresp"], Name("denied responses")),
            rate(Frontend, &["dcon"], Name("denied connections")),
            rate(Frontend, &["dses"], Name("denied sessions")),
        ],
    },
    Panel {
        title: "Open sessions",
        about: "The limit is the sum over the processes.",
        unit: Unit::Count,
        chart: Chart::Lines,
        lines: &[sum(Frontend, &["scur"], Name("open")), sum(Frontend, &["slim"], Name("limit"))],
    },
    Panel {
        title: "New sessions and connections per second",
        about: "",
        unit: Unit::PerSecond,
        chart: Chart::Lines,
        lines: &[
            rate(Frontend, &["stot"], Name("sessions")),
            rate(Frontend, &["conn_tot"], Name("connections")),
        ],
    },
    Panel {
        title: "Bytes per second",
        about: "",
        unit: Unit::BytesPerSecond,
        chart: Chart::Lines,
        lines: &[
            rate(Frontend, &["bin"], Name("from clients")),
            rate(Frontend, &["bout"], Name("to clients")),
        ],
    },
    Panel {
        title: "The last second, as HAProxy saw it",
        about: "Peaks within a pull-interval show here, if only those of its last second.",
        unit: Unit::PerSecond,
        chart: Chart::Lines,
        lines: &[
            sum(Frontend, &["req_rate"], Name("requests")),
            sum(Frontend, &["rate"], Name("sessions")),
            sum(Frontend, &["conn_rate"], Name("connections")),
        ],
    },
    Panel {
        title: "The most so far",
        about: "Sums of each process's own maximum, so an upper bound. They begin anew at a \
             reload.",
        unit: Unit::Count,
        chart: Chart::Lines,
        lines: &[
            sum(Frontend, &["req_rate_max"], Name("requests per second")),
            sum(Frontend, &["rate_max"], Name("sessions per second")),
            sum(Frontend, &["smax"], Name("open sessions")),
        ],
    },
    Panel {
        title: "Compression, bytes per second",
        about: "Past it goes what comes while CPU or bandwidth are at the limit of compression.",
        unit: Unit::BytesPerSecond,
        chart: Chart::Lines,
        lines: &[
            rate(Frontend, &["comp_in"], Name("into the compressor")),
            rate(Frontend, &["comp_out"], Name("out of it")),
            rate(Frontend, &["comp_byp"], Name("past it")),
        ],
    },
];

pub(super) const BACKEND_PANELS: &[Panel] = &[
    Panel {
        title: "Requests",
        about: "Per second.",
        unit: Unit::Requests,
        chart: Chart::Figure(Threshold::Never),
        lines: &[rate(Backend, &["req_tot"], Name("requests"))],
    },
    Panel {
        title: "Answers 5xx",
        about: "Of a hundred answers.",
        unit: Unit::Percent,
        chart: Chart::Figure(Threshold::From(1.0)),
        lines: &[percent_of_rates(Backend, &["hrsp_5xx"], RESPONSES, Name("5xx"))],
    },
    Panel {
        title: "Response time",
        about: "The mean of the last 1024 requests.",
        unit: Unit::Milliseconds,
        chart: Chart::Figure(Threshold::Never),
        lines: &[mean(Backend, &["rtime"], Name("response time"))],
    },
    Panel {
        title: "Queue",
        about: "Requests that wait for a server.",
        unit: Unit::Count,
        chart: Chart::Figure(Threshold::From(1.0)),
        lines: &[sum(Backend, &["qcur"], Name("queue"))],
    },
    Panel {
        title: "Active servers",
        about: "As the host with the fewest sees them.",
        unit: Unit::Count,
        chart: Chart::Figure(Threshold::Below(1.0)),
        lines: &[smallest(Backend, &["act"], Name("active"))],
    },
    Panel {
        title: "Servers",
        about: "In the configuration.",
        unit: Unit::Count,
        chart: Chart::Figure(Threshold::Never),
        lines: &[largest(Backend, &["TotalServers"], Name("servers"))],
    },
    Panel {
        title: "Requests per second",
        about: "HAProxy answers some itself; the balancer chooses a server for the others.",
        unit: Unit::Requests,
        chart: Chart::Lines,
        lines: &[
            rate(Backend, &["req_tot"], Name("all")),
            rate(Backend, &["lbtot"], Name("balanced")),
            rate(Backend, &["intercepted"], Name("answered by HAProxy")),
        ],
    },
    Panel {
        title: "Answers per second, by status",
        about: "",
        unit: Unit::PerSecond,
        chart: Chart::Stack,
        lines: &[
            rate(Backend, &["hrsp_2xx"], Name("2xx")),
            rate(Backend, &["hrsp_3xx"], Name("3xx")),
            rate(Backend, &["hrsp_4xx"], Name("4xx")),
            rate(Backend, &["hrsp_5xx"], Name("5xx")),
            rate(Backend, &["hrsp_1xx", "hrsp_other"], Name("other")),
        ],
    },
    Panel {
        title: "Errors per second",
        about: "",
        unit: Unit::PerSecond,
        chart: Chart::Lines,
        lines: &[
            rate(Backend, &["econ"], Name("no connection to a server")),
            rate(Backend, &["eresp"], Name("bad responses")),
            rate(Backend, &["wretr"], Name("connections tried again")),
            rate(Backend, &["wredis"], Name("sent to another server")),
            rate(Backend, &["dreq", "dresp"], Name("denied")),
            rate(Backend, &["cli_abrt"], Name("broken off by clients")),
            rate(Backend, &["srv_abrt"], Name("broken off by servers")),
        ],
    },
    Panel {
        title: "Times",
        about: "Means of the last 1024 requests, over the processes that had any. All but the \
             total follow each other.",
        unit: Unit::Milliseconds,
        chart: Chart::Lines,
        lines: &[
            mean(Backend, &["qtime"], Name("in the queue")),
            mean(Backend, &["ctime"], Name("to connect")),
            mean(Backend, &["rtime"], Name("until the response")),
            mean(Backend, &["ttime"], Name("total")),
        ],
    },
    Panel {
        title: "Open sessions and queue",
        about: "",
        unit: Unit::Count,
        chart: Chart::Lines,
        lines: &[
            sum(Backend, &["scur"], Name("open sessions")),
            sum(Backend, &["qcur"], Name("in the queue")),
        ],
    },
    Panel {
        title: "Bytes per second",
        about: "",
        unit: Unit::BytesPerSecond,
        chart: Chart::Lines,
        lines: &[
            rate(Backend, &["bin"], Name("from clients")),
            rate(Backend, &["bout"], Name("to clients")),
        ],
    },
    Panel {
        title: "Servers up",
        about: "As the average host sees them. A fraction: its processes do not agree.",
        unit: Unit::Count,
        chart: Chart::Lines,
        lines: &[mean(Backend, &["act"], Name("active")), mean(Backend, &["bck"], Name("backup"))],
    },
    Panel {
        title: "Whole backend down",
        about: "How often, and for how many seconds of each second. Each process of each host \
             counts what it saw.",
        unit: Unit::Count,
        chart: Chart::Bars,
        lines: &[
            growth(Backend, &["chkdown"], Name("times")),
            rate(Backend, &["downtime"], Name("seconds per second")),
        ],
    },
    Panel {
        title: "Requests per second, by server",
        about: "How often the balancer chose it.",
        unit: Unit::Requests,
        chart: Chart::Stack,
        lines: &[rate(Servers, &["lbtot"], Server)],
    },
    Panel {
        title: "Answers 5xx per second, by server",
        about: "",
        unit: Unit::PerSecond,
        chart: Chart::Stack,
        lines: &[rate(Servers, &["hrsp_5xx"], Server)],
    },
    Panel {
        title: "Errors per second, by server",
        about: "No connection, bad responses, broken off by the server, tried again, sent \
             elsewhere.",
        unit: Unit::PerSecond,
        chart: Chart::Stack,
        lines: &[rate(Servers, &["econ", "eresp", "srv_abrt", "wretr", "wredis"], Server)],
    },
    Panel {
        title: "Response time, by server",
        about: "Means of the last 1024 requests.",
        unit: Unit::Milliseconds,
        chart: Chart::Lines,
        lines: &[mean(Servers, &["rtime"], Server)],
    },
    Panel {
        title: "Open sessions, by server",
        about: "",
        unit: Unit::Count,
        chart: Chart::Stack,
        lines: &[sum(Servers, &["scur"], Server)],
    },
    Panel {
        title: "Queue, by server",
        about: "Requests that wait for this one.",
        unit: Unit::Count,
        chart: Chart::Stack,
        lines: &[sum(Servers, &["qcur"], Server)],
    },
    Panel {
        title: "Failed checks, by server",
        about: "While it was up. Each process of each host checks by itself.",
        unit: Unit::Count,
        chart: Chart::Bars,
        lines: &[growth(Servers, &["chkfail"], Server)],
    },
    Panel {
        title: "Went down, by server",
        about: "Each process of each host counts what it saw.",
        unit: Unit::Count,
        chart: Chart::Bars,
        lines: &[growth(Servers, &["chkdown"], Server)],
    },
    Panel {
        title: "Weight, by server",
        about: "In effect: 0 while it drains, and less than usual while it starts slowly.",
        unit: Unit::Count,
        chart: Chart::Lines,
        lines: &[mean(Servers, &["weight"], Server)],
    },
];
