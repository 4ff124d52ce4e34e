//! The overview: what HAProxy does, over all frontends and backends of the hosts in view.

use super::line::Label::{Host, Name, Proxy};
use super::line::Rows::{Backends, Daemons, Frontends};
use super::line::{
    RESPONSES, growth, largest, mean, percent_of_rates, percent_of_sums, rate, rest, smallest, sum,
};
use super::{Chart, Panel, Threshold, Unit};

pub(super) const PANELS: &[Panel] = &[
    Panel {
        title: "Requests",
        about: "Per second, over all frontends.",
        unit: Unit::Requests,
        chart: Chart::Figure(Threshold::Never),
        lines: &[rate(Frontends, &["req_tot"], Name("requests"))],
    },
    Panel {
        title: "Answers 5xx",
        about: "Of a hundred answers of all frontends, how many had a status of 500 and more.",
        unit: Unit::Percent,
        chart: Chart::Figure(Threshold::From(1.0)),
        lines: &[percent_of_rates(Frontends, &["hrsp_5xx"], RESPONSES, Name("5xx"))],
    },
    Panel {
        title: "Sessions",
        about: "Open now, over all frontends.",
        unit: Unit::Count,
        chart: Chart::Figure(Threshold::Never),
        lines: &[sum(Frontends, &["scur"], Name("sessions"))],
    },
    Panel {
        title: "Connections, of the limit",
        about: "Open connections, of the limits (maxconn) of all processes. At 100 new ones \
             wait in the kernel.",
        unit: Unit::Percent,
        chart: Chart::Figure(Threshold::From(80.0)),
        lines: &[percent_of_sums(Daemons, &["CurrConns"], &["Maxconn"], Name("of maxconn"))],
    },
    Panel {
        title: "Queue",
        about: "Requests that wait for a server, over all backends.",
        unit: Unit::Count,
        chart: Chart::Figure(Threshold::From(1.0)),
        lines: &[sum(Backends, &["qcur"], Name("queue"))],
    },
    Panel {
        title: "Since the last start",
        about: "Of the host that started last; a mean over its processes. A reload is a start.",
        unit: Unit::Seconds,
        chart: Chart::Figure(Threshold::Never),
        lines: &[smallest(Daemons, &["Uptime_sec"], Name("uptime"))],
    },
    Panel {
        title: "Requests per second, by frontend",
        about: "Those which HAProxy answered itself are among them.",
        unit: Unit::Requests,
        chart: Chart::Stack,
        lines: &[rate(Frontends, &["req_tot"], Proxy)],
    },
    Panel {
        title: "Answers per second, by status",
        about: "As clients got them, over all frontends.",
        unit: Unit::PerSecond,
        chart: Chart::Stack,
        lines: &[
            rate(Frontends, &["hrsp_2xx"], Name("2xx")),
            rate(Frontends, &["hrsp_3xx"], Name("3xx")),
            rate(Frontends, &["hrsp_4xx"], Name("4xx")),
            rate(Frontends, &["hrsp_5xx"], Name("5xx")),
            rate(Frontends, &["hrsp_1xx", "hrsp_other"], Name("other")),
        ],
    },
    Panel {
        title: "Errors per second",
        about: "Bad and denied requests at the frontends, the rest between backends and servers.",
        unit: Unit::PerSecond,
        chart: Chart::Lines,
        lines: &[
            rate(Frontends, &["ereq"], Name("bad requests")),
            rate(Frontends, &["dreq"], Name("denied requests")),
            rate(Backends, &["econ"], Name("no connection to a server")),
            rate(Backends, &["eresp"], Name("bad responses")),
            rate(Backends, &["wretr"], Name("connections tried again")),
            rate(Backends, &["wredis"], Name("sent to another server")),
        ],
    },
    Panel {
        title: "Open sessions, by frontend",
        about: "",
        unit: Unit::Count,
        chart: Chart::Stack,
        lines: &[sum(Frontends, &["scur"], Proxy)],
    },
    Panel {
        title: "New sessions per second, by frontend",
        about: "A session carries one request or many.",
        unit: Unit::PerSecond,
        chart: Chart::Stack,
        lines: &[rate(Frontends, &["stot"], Proxy)],
    },
    Panel {
        title: "Bytes per second",
        about: "Between clients and frontends.",
        unit: Unit::BytesPerSecond,
        chart: Chart::Lines,
        lines: &[
            rate(Frontends, &["bin"], Name("from clients")),
            rate(Frontends, &["bout"], Name("to clients")),
        ],
    },
    Panel {
        title: "CPU of the HAProxy processes",
        about: "Percentiles over the processes of a host, which come where it has two or more; of \
             the busiest host where several are in view. The mean is over all hosts.",
        unit: Unit::Percent,
        chart: Chart::Lines,
        lines: &[
            largest(Daemons, &["99PercentileCpuUsagePct"], Name("99th percentile")),
            largest(Daemons, &["95PercentileCpuUsagePct"], Name("95th percentile")),
            largest(Daemons, &["75PercentileCpuUsagePct"], Name("75th percentile")),
            largest(Daemons, &["50PercentileCpuUsagePct"], Name("median")),
            largest(Daemons, &["25PercentileCpuUsagePct"], Name("25th percentile")),
            rest(Daemons, &["Idle_pct"], Name("mean")),
            largest(Daemons, &["StdCpuUsagePct"], Name("standard deviation")),
        ],
    },
    Panel {
        title: "Response time, by backend",
        about: "The mean of the last 1024 requests, over the processes that had any.",
        unit: Unit::Milliseconds,
        chart: Chart::Lines,
        lines: &[mean(Backends, &["rtime"], Proxy)],
    },
    Panel {
        title: "Queue, by backend",
        about: "Requests that wait for a server.",
        unit: Unit::Count,
        chart: Chart::Stack,
        lines: &[sum(Backends, &["qcur"], Proxy)],
    },
    Panel {
        title: "Active servers, by backend",
        about: "As the average host sees them. A fraction: its processes do not agree.",
        unit: Unit::Count,
        chart: Chart::Lines,
        lines: &[mean(Backends, &["act"], Proxy)],
    },
    Panel {
        title: "Servers that went down, by backend",
        about: "Each process of each host counts what it saw.",
        unit: Unit::Count,
        chart: Chart::Bars,
        lines: &[growth(Backends, &["chkdown"], Proxy)],
    },
    Panel {
        title: "Connections",
        about: "Of all processes, those with TLS once more.",
        unit: Unit::Count,
        chart: Chart::Lines,
        lines: &[
            sum(Daemons, &["CurrConns"], Name("open")),
            sum(Daemons, &["CurrSslConns"], Name("open, with TLS")),
        ],
    },
    Panel {
        title: "New connections per second",
        about: "With TLS, and the keys that had to be computed for it.",
        unit: Unit::PerSecond,
        chart: Chart::Lines,
        lines: &[
            rate(Daemons, &["CumConns"], Name("all")),
            rate(Daemons, &["CumSslConns"], Name("with TLS")),
            sum(Daemons, &["SslFrontendKeyRate"], Name("keys, towards clients")),
            sum(Daemons, &["SslBackendKeyRate"], Name("keys, towards servers")),
        ],
    },
    Panel {
        title: "Tasks",
        about: "A run queue that stays long means that the processes have more to do than CPU.",
        unit: Unit::Count,
        chart: Chart::Lines,
        lines: &[
            sum(Daemons, &["Tasks"], Name("tasks")),
            sum(Daemons, &["Run_queue"], Name("run queue")),
        ],
    },
    Panel {
        title: "Uptime, by host",
        about: "The mean over the processes of a host. A fall is a reload.",
        unit: Unit::Seconds,
        chart: Chart::Lines,
        lines: &[mean(Daemons, &["Uptime_sec"], Host)],
    },
];
