//! The names of the metrics: promex's (HAProxy 2.6 to 3.5) and haproxy_exporter's (0.15).
//!
//! Metrics of one name follow each other, because the samples of a family must stand together.

use self::Kind::{Counter, FalseCounter, Gauge};
use self::Reading::{Bound, Check, Code, Milliseconds, Number, ProxyState, ServerState, Up};

/// The programs whose names the page has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Names {
    /// HAProxy's own exporter.
    #[default]
    Promex,
    /// haproxy_exporter, which has no names for the process but one.
    Exporter,
}

/// The type of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    /// A gauge that promex calls a counter. OpenMetrics readers may refuse a counter that falls,
    /// so it is `unknown` there.
    FalseCounter,
}

/// How a cell becomes samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    Number,
    /// A bound that is not configured, or a throttle that is not in force, where it is 0.
    Bound,
    /// Milliseconds that are written as seconds.
    Milliseconds,
    /// The number of responses with a code, which is a label.
    Code(&'static str),
    /// The status of a frontend or backend: a sample for each state.
    ProxyState,
    /// The status of a server: a sample for each state.
    ServerState,
    /// The status of a check: a sample for each of its words.
    Check,
    /// Whether the status is a good one.
    Up,
    /// How many servers of a backend have each state.
    ServersByState,
    /// How many servers of a backend have each status of a check.
    ServersByCheck,
}

/// A metric of the page.
#[derive(Debug, Clone, Copy)]
pub(super) struct Metric {
    /// The column's name, as HAProxy spells it.
    pub(super) column: &'static str,
    /// Another spelling of the column's name.
    pub(super) alias: Option<&'static str>,
    /// The name behind the prefix of the scope.
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) reading: Reading,
    /// The scopes that have it: `P`, `F`, `B` and `S`.
    scopes: &'static str,
    pub(super) help: &'static str,
}

impl Metric {
    pub(super) fn is_of(&self, scope: char) -> bool {
        self.scopes.contains(scope)
    }

    /// Whether only proxies in the mode `http` have it. A fold gives 0 to the others.
    pub(super) fn is_of_http(&self) -> bool {
        let begins = ["hrsp_", "comp_", "cache_"];
        begins.iter().any(|begin| self.column.starts_with(begin))
            || matches!(self.column, "req_tot" | "req_rate_max" | "intercepted")
    }

    /// The column with a text that a row must have.
    pub(super) fn condition(&self) -> Option<&'static str> {
        match self.column {
            "check_duration" => Some("check_status"),
            "agent_duration" => Some("agent_status"),
            _ => None,
        }
    }
}

const fn m(
    column: &'static str,
    name: &'static str,
    scopes: &'static str,
    kind: Kind,
    reading: Reading,
    help: &'static str,
) -> Metric {
    Metric { column, alias: None, name, kind, reading, scopes, help }
}

const RESPONSES: &str = "HTTP responses by the class of their code.";

/// The states of frontends and backends.
pub(super) const PROXY_STATES: [&str; 2] = ["DOWN", "UP"];
/// The states of servers.
pub(super) const SERVER_STATES: [&str; 5] = ["DOWN", "UP", "MAINT", "DRAIN", "NOLB"];
/// The words of a check's status that promex has.
#[rustfmt::skip]
pub(super) const STATES_OF_STATUS: [&str; 16] = [
    "HANA", "SOCKERR", "L4OK", "L4TOUT", "L4CON", "L6OK", "L6TOUT", "L6RSP", "L7TOUT", "L7RSP",
    "L7OK", "L7OKC", "L7STS", "PROCERR", "PROCTOUT", "PROCOK",
];

impl Names {
    pub(super) const fn metrics(self) -> &'static [Metric] {
        match self {
            Self::Promex => PROMEX,
            Self::Exporter => EXPORTER,
        }
    }

    /// The keys of the labels for the names of a row.
    pub(super) const fn labels(self, scope: char) -> &'static [&'static str] {
        match (self, scope) {
            (_, 'P') => &[],
            (Self::Promex, 'S') => &["proxy", "server"],
            (Self::Promex, _) => &["proxy"],
            (Self::Exporter, 'S') => &["backend", "server"],
            (Self::Exporter, 'F') => &["frontend"],
            (Self::Exporter, _) => &["backend"],
        }
    }
}

#[rustfmt::skip]
const PROMEX: &[Metric] = &[
    // `show info`
    m("Nbthread", "nbthread", "P", Gauge, Number, "Threads."),
    m("Uptime_sec", "uptime_seconds", "P", Gauge, Number,
        "Seconds since the start; a mean over processes."),
    m("Start_time_sec", "start_time_seconds", "P", Gauge, Number,
        "Time of the newest start, in epoch seconds."),
    m("Memmax_bytes", "max_memory_bytes", "P", Gauge, Number, "Bound on memory; 0 is none."),
    m("PoolAlloc_bytes", "pool_allocated_bytes", "P", Gauge, Number, "Bytes of the memory pools."),
    m("PoolUsed_bytes", "pool_used_bytes", "P", Gauge, Number, "Bytes of the memory pools in use."),
    m("PoolFailed", "pool_failures_total", "P", Counter, Number,
        "Allocations from pools that failed."),
    m("Ulimit-n", "max_fds", "P", Gauge, Number, "Bound on file descriptors."),
    m("Maxsock", "max_sockets", "P", Gauge, Number, "Bound on sockets."),
    m("Maxconn", "max_connections", "P", Gauge, Number, "Bound on connections."),
    m("Hard_maxconn", "hard_max_connections", "P", Gauge, Number,
        "Bound on connections by memory or descriptors."),
    m("CurrConns", "current_connections", "P", Gauge, Number, "Connections."),
    m("CumConns", "connections_total", "P", Counter, Number, "Connections since the start."),
    m("CumReq", "requests_total", "P", Counter, Number, "Requests since the start."),
    m("MaxSslConns", "max_ssl_connections", "P", Gauge, Number,
        "Bound on TLS endpoints; 0 is none."),
    m("CurrSslConns", "current_ssl_connections", "P", Gauge, Number, "TLS endpoints."),
    m("CumSslConns", "ssl_connections_total", "P", Counter, Number,
        "TLS endpoints since the start."),
    m("Maxpipes", "max_pipes", "P", Gauge, Number, "Bound on pipes for splicing; 0 is none."),
    m("PipesUsed", "pipes_used_total", "P", FalseCounter, Number,
        "Pipes in use, a gauge in truth."),
    m("PipesFree", "pipes_free_total", "P", FalseCounter, Number,
        "Pipes that are free, a gauge in truth."),
    m("ConnRate", "current_connection_rate", "P", Gauge, Number,
        "Connections over the last second."),
    m("ConnRateLimit", "limit_connection_rate", "P", Gauge, Number,
        "Bound on the rate of connections; 0 is none."),
    m("MaxConnRate", "max_connection_rate", "P", Gauge, Number, "Highest rate of connections."),
    m("SessRate", "current_session_rate", "P", Gauge, Number, "Sessions over the last second."),
    m("SessRateLimit", "limit_session_rate", "P", Gauge, Number,
        "Bound on the rate of sessions; 0 is none."),
    m("MaxSessRate", "max_session_rate", "P", Gauge, Number, "Highest rate of sessions."),
    m("SslRate", "current_ssl_rate", "P", Gauge, Number, "TLS connections over the last second."),
    m("SslRateLimit", "limit_ssl_rate", "P", Gauge, Number,
        "Bound on the rate of TLS connections; 0 is none."),
    m("MaxSslRate", "max_ssl_rate", "P", Gauge, Number, "Highest rate of TLS connections."),
    m("SslFrontendKeyRate", "current_frontend_ssl_key_rate", "P", Gauge, Number,
        "TLS keys of frontends over the last second."),
    m("SslFrontendMaxKeyRate", "max_frontend_ssl_key_rate", "P", Gauge, Number,
        "Highest rate of TLS keys of frontends."),
    m("SslFrontendSessionReuse_pct", "frontend_ssl_reuse", "P", Gauge, Number,
        "Percentage of TLS connections without a new key."),
    m("SslBackendKeyRate", "current_backend_ssl_key_rate", "P", Gauge, Number,
        "TLS keys of backends over the last second."),
    m("SslBackendMaxKeyRate", "max_backend_ssl_key_rate", "P", Gauge, Number,
        "Highest rate of TLS keys of backends."),
    m("SslCacheLookups", "ssl_cache_lookups_total", "P", Counter, Number,
        "Look-ups in the cache of TLS sessions."),
    m("SslCacheMisses", "ssl_cache_misses_total", "P", Counter, Number,
        "Look-ups in the cache of TLS sessions that found nothing."),
    m("CompressBpsIn", "http_comp_bytes_in_total", "P", FalseCounter, Number,
        "Bytes to compress over the last second, a gauge in truth."),
    m("CompressBpsOut", "http_comp_bytes_out_total", "P", FalseCounter, Number,
        "Compressed bytes over the last second, a gauge in truth."),
    m("CompressBpsRateLim", "limit_http_comp", "P", Gauge, Number,
        "Bound on the rate of compressed bytes; 0 is none."),
    m("ZlibMemUsage", "current_zlib_memory", "P", Gauge, Number,
        "Bytes of memory for compression."),
    m("MaxZlibMemUsage", "max_zlib_memory", "P", Gauge, Number, "Bound on memory for compression."),
    m("Tasks", "current_tasks", "P", Gauge, Number, "Tasks."),
    m("Run_queue", "current_run_queue", "P", Gauge, Number, "Tasks that can run."),
    m("Idle_pct", "idle_time_percent", "P", Gauge, Number,
        "Percentage of the last second without work; a mean over processes."),
    m("Stopping", "stopping", "P", Gauge, Number, "Processes that are about to end."),
    m("Jobs", "jobs", "P", Gauge, Number, "Jobs: connections and listeners."),
    m("Listeners", "listeners", "P", Gauge, Number, "Listeners."),
    m("ActivePeers", "active_peers", "P", Gauge, Number, "Peers with a verified connection."),
    m("ConnectedPeers", "connected_peers", "P", Gauge, Number, "Peers with a connection."),
    m("DroppedLogs", "dropped_logs_total", "P", Counter, Number, "Log messages that were dropped."),
    m("BusyPolling", "busy_polling_enabled", "P", Gauge, Number, "Processes that poll busily."),
    m("FailedResolutions", "failed_resolutions", "P", Counter, Number,
        "DNS resolutions that failed."),
    m("TotalBytesOut", "bytes_out_total", "P", Counter, Number, "Bytes sent since the start."),
    Metric {
        // HAProxy up to 2.6 has the alias.
        column: "TotalSplicedBytesOut", alias: Some("TotalSplicdedBytesOut"),
        name: "spliced_bytes_out_total", scopes: "P", kind: Counter, reading: Number,
        help: "Bytes sent through a pipe of the kernel since the start.",
    },
    m("BytesOutRate", "bytes_out_rate", "P", Gauge, Number, "Bytes sent over the last second."),
    m("CumRecvLogs", "recv_logs_total", "P", Counter, Number, "Log messages received."),
    m("TotalWarnings", "total_warnings", "P", Counter, Number, "Warnings since the start."),
    m("PatternsAdded", "patterns_added_total", "P", Counter, Number,
        "Patterns of ACLs and maps that were added."),
    m("PatternsFreed", "patterns_freed_total", "P", Counter, Number,
        "Patterns of ACLs and maps that were freed."),
    m("NbThreadGroups", "nb_thread_groups", "P", Gauge, Number, "Groups of threads."),
    // `show stat`
    m("qcur", "current_queue", "BS", Gauge, Number, "Requests in the queue."),
    m("qmax", "max_queue", "BS", Gauge, Number, "Most requests in the queue."),
    m("scur", "current_sessions", "FBS", Gauge, Number, "Sessions."),
    m("smax", "max_sessions", "FBS", Gauge, Number, "Most sessions."),
    m("slim", "limit_sessions", "FBS", Gauge, Bound, "Bound on sessions."),
    m("stot", "sessions_total", "FBS", Counter, Number, "Sessions since the start."),
    m("bin", "bytes_in_total", "FBS", Counter, Number, "Bytes of requests."),
    m("bout", "bytes_out_total", "FBS", Counter, Number, "Bytes of responses."),
    m("dreq", "requests_denied_total", "FB", Counter, Number, "Requests denied by a rule."),
    m("dresp", "responses_denied_total", "FBS", Counter, Number, "Responses denied by a rule."),
    m("ereq", "request_errors_total", "F", Counter, Number, "Faulty requests."),
    m("econ", "connection_errors_total", "BS", Counter, Number,
        "Connections to servers that failed."),
    m("eresp", "response_errors_total", "BS", Counter, Number, "Faulty responses."),
    m("wretr", "retry_warnings_total", "BS", Counter, Number,
        "Connections to servers that were retried."),
    m("wredis", "redispatch_warnings_total", "BS", Counter, Number,
        "Requests that went to another server."),
    m("status", "status", "FB", Gauge, ProxyState, "The worst state over processes."),
    m("status", "status", "S", Gauge, ServerState, "The worst state over processes."),
    m("weight", "weight", "BS", Gauge, Number, "Effective weight; a mean over processes."),
    m("act", "active_servers", "B", Gauge, Number, "Active servers that are up."),
    m("act", "active", "S", Gauge, Number, "Processes in which the server is active."),
    m("bck", "backup_servers", "B", Gauge, Number, "Backup servers that are up."),
    m("bck", "backup", "S", Gauge, Number, "Processes in which the server is a backup."),
    m("chkfail", "check_failures_total", "S", Counter, Number, "Checks that failed."),
    m("chkdown", "check_up_down_total", "BS", Counter, Number, "Changes from UP to DOWN."),
    m("lastchg", "check_last_change_seconds", "BS", Gauge, Number,
        "Seconds since the last change of state."),
    m("downtime", "downtime_seconds_total", "BS", Counter, Number, "Seconds in state DOWN."),
    m("qlimit", "queue_limit", "S", Gauge, Bound, "Bound on the queue."),
    m("throttle", "current_throttle", "S", Gauge, Bound,
        "Percentage of the weight while the server starts slowly."),
    m("lbtot", "loadbalanced_total", "BS", Counter, Number, "Requests by load balancing."),
    m("rate", "current_session_rate", "FBS", Gauge, Number, "Sessions over the last second."),
    m("rate_lim", "limit_session_rate", "F", Gauge, Number,
        "Bound on the rate of sessions; 0 is none."),
    m("rate_max", "max_session_rate", "FBS", Gauge, Number, "Highest rate of sessions."),
    m("check_status", "check_status", "S", Gauge, Check,
        "The last check's status, of the process with the worst state."),
    m("check_duration", "check_duration_seconds", "S", Gauge, Milliseconds,
        "How long the last check took."),
    m("hrsp_1xx", "http_responses_total", "FBS", Counter, Code("1xx"), RESPONSES),
    m("hrsp_2xx", "http_responses_total", "FBS", Counter, Code("2xx"), RESPONSES),
    m("hrsp_3xx", "http_responses_total", "FBS", Counter, Code("3xx"), RESPONSES),
    m("hrsp_4xx", "http_responses_total", "FBS", Counter, Code("4xx"), RESPONSES),
    m("hrsp_5xx", "http_responses_total", "FBS", Counter, Code("5xx"), RESPONSES),
    m("hrsp_other", "http_responses_total", "FBS", Counter, Code("other"), RESPONSES),
    m("req_rate_max", "http_requests_rate_max", "F", Gauge, Number,
        "Highest rate of HTTP requests."),
    m("req_tot", "http_requests_total", "FBS", Counter, Number, "HTTP requests."),
    m("cli_abrt", "client_aborts_total", "BS", Counter, Number,
        "Transfers that the client aborted."),
    m("srv_abrt", "server_aborts_total", "BS", Counter, Number,
        "Transfers that the server aborted."),
    m("comp_in", "http_comp_bytes_in_total", "FB", Counter, Number, "Bytes to compress."),
    m("comp_out", "http_comp_bytes_out_total", "FB", Counter, Number, "Compressed bytes."),
    m("comp_byp", "http_comp_bytes_bypassed_total", "FB", Counter, Number,
        "Bytes that were not compressed for want of resources."),
    m("comp_rsp", "http_comp_responses_total", "FB", Counter, Number, "Compressed responses."),
    m("lastsess", "last_session_seconds", "BS", Gauge, Number, "Seconds since the last session."),
    m("qtime", "queue_time_average_seconds", "BS", Gauge, Milliseconds,
        "Mean time in the queue over 1024 requests."),
    m("ctime", "connect_time_average_seconds", "BS", Gauge, Milliseconds,
        "Mean time to connect over 1024 requests."),
    m("rtime", "response_time_average_seconds", "BS", Gauge, Milliseconds,
        "Mean time to respond over 1024 requests."),
    m("ttime", "total_time_average_seconds", "BS", Gauge, Milliseconds,
        "Mean time of a session over 1024 requests."),
    m("agent_status", "agent_status", "S", Gauge, Check,
        "The agent's last status, of the process with the worst state."),
    m("agent_duration", "agent_duration_seconds", "S", Gauge, Milliseconds,
        "How long the agent's last check took."),
    m("conn_rate_max", "connections_rate_max", "F", Gauge, Number, "Highest rate of connections."),
    m("conn_tot", "connections_total", "F", Counter, Number, "Connections."),
    m("intercepted", "intercepted_requests_total", "F", Counter, Number,
        "Requests that HAProxy answered itself."),
    m("dcon", "denied_connections_total", "F", Counter, Number, "Connections denied by a rule."),
    m("dses", "denied_sessions_total", "F", Counter, Number, "Sessions denied by a rule."),
    m("wrew", "failed_header_rewriting_total", "FBS", Counter, Number,
        "Rewrites of headers that failed."),
    m("connect", "connection_attempts_total", "BS", Counter, Number, "Attempts to connect."),
    m("reuse", "connection_reuses_total", "BS", Counter, Number,
        "Connections that were used again."),
    m("cache_lookups", "http_cache_lookups_total", "FB", Counter, Number,
        "Look-ups in the HTTP cache."),
    m("cache_hits", "http_cache_hits_total", "FB", Counter, Number,
        "Look-ups in the HTTP cache that found the object."),
    m("cache_hint_hits", "http_cache_hint_hits_total", "FB", Counter, Number,
        "Look-ups in the HTTP cache that found a hint."),
    m("srv_icur", "idle_connections_current", "S", Gauge, Number, "Idle connections."),
    m("src_ilim", "idle_connections_limit", "S", Gauge, Number, "Bound on idle connections."),
    m("qtime_max", "max_queue_time_seconds", "BS", Gauge, Milliseconds,
        "Longest time in the queue."),
    m("ctime_max", "max_connect_time_seconds", "BS", Gauge, Milliseconds,
        "Longest time to connect."),
    m("rtime_max", "max_response_time_seconds", "BS", Gauge, Milliseconds,
        "Longest time to respond."),
    m("ttime_max", "max_total_time_seconds", "BS", Gauge, Milliseconds,
        "Longest time of a session."),
    m("eint", "internal_errors_total", "FBS", Counter, Number, "Errors within HAProxy."),
    m("idle_conn_cur", "unsafe_idle_connections_current", "S", Gauge, Number,
        "Idle connections that are not safe to use again."),
    m("safe_conn_cur", "safe_idle_connections_current", "S", Gauge, Number,
        "Idle connections that are safe to use again."),
    m("used_conn_cur", "used_connections_current", "S", Gauge, Number, "Connections in use."),
    m("need_conn_est", "need_connections_current", "S", Gauge, Number,
        "Connections that are needed, an estimate."),
    m("priv_idle_cur", "private_idle_connections_current", "S", Gauge, Number,
        "Idle connections of one session each."),
    m("uweight", "uweight", "BS", Gauge, Number, "Configured weight; a mean over processes."),
    m("", "agg_server_status", "B", Gauge, Reading::ServersByState, "Servers by state."),
    m("", "agg_server_check_status", "B", Gauge, Reading::ServersByState,
        "Servers by state, the old name of agg_server_status."),
    m("", "agg_check_status", "B", Gauge, Reading::ServersByCheck,
        "Servers by the last check's status."),
    m("reqbin", "req_bytes_in_total", "FBS", Counter, Number, "Bytes of requests received."),
    m("reqbout", "req_bytes_out_total", "FBS", Counter, Number, "Bytes of requests sent."),
    m("resbin", "res_bytes_in_total", "FBS", Counter, Number, "Bytes of responses received."),
    m("resbout", "res_bytes_out_total", "FBS", Counter, Number, "Bytes of responses sent."),
];

#[rustfmt::skip]
const EXPORTER: &[Metric] = &[
    m("Idle_pct", "idle_time_percent", "P", Gauge, Number,
        "Percentage of the last second without work."),
    m("qcur", "current_queue", "BS", Gauge, Number, "Requests in the queue."),
    m("qmax", "max_queue", "BS", Gauge, Number, "Most requests in the queue."),
    m("scur", "current_sessions", "FBS", Gauge, Number, "Sessions."),
    m("smax", "max_sessions", "FBS", Gauge, Number, "Most sessions."),
    m("slim", "limit_sessions", "FBS", Gauge, Bound, "Bound on sessions."),
    m("stot", "sessions_total", "FBS", Counter, Number, "Sessions."),
    m("bin", "bytes_in_total", "FBS", Counter, Number, "Bytes of requests."),
    m("bout", "bytes_out_total", "FBS", Counter, Number, "Bytes of responses."),
    m("dreq", "requests_denied_total", "F", Counter, Number, "Requests denied by a rule."),
    m("ereq", "request_errors_total", "F", Counter, Number, "Faulty requests."),
    m("econ", "connection_errors_total", "BS", Counter, Number,
        "Connections to servers that failed."),
    m("eresp", "response_errors_total", "BS", Counter, Number, "Faulty responses."),
    m("wretr", "retry_warnings_total", "BS", Counter, Number,
        "Connections to servers that were retried."),
    m("wredis", "redispatch_warnings_total", "BS", Counter, Number,
        "Requests that went to another server."),
    m("status", "up", "BS", Gauge, Up, "Whether it is up in all processes."),
    m("weight", "weight", "BS", Gauge, Number, "Weight."),
    m("act", "current_server", "B", Gauge, Number, "Active servers."),
    m("chkfail", "check_failures_total", "S", Counter, Number, "Checks that failed."),
    m("downtime", "downtime_seconds_total", "S", Counter, Number, "Seconds in state DOWN."),
    m("lbtot", "server_selected_total", "BS", Counter, Number, "Requests by load balancing."),
    m("rate", "current_session_rate", "FBS", Gauge, Number, "Sessions over the last second."),
    m("rate_lim", "limit_session_rate", "F", Gauge, Number, "Bound on the rate of sessions."),
    m("rate_max", "max_session_rate", "FBS", Gauge, Number, "Highest rate of sessions."),
    m("check_duration", "check_duration_seconds", "S", Gauge, Milliseconds,
        "How long the last check took."),
    m("hrsp_1xx", "http_responses_total", "FBS", Counter, Code("1xx"), RESPONSES),
    m("hrsp_2xx", "http_responses_total", "FBS", Counter, Code("2xx"), RESPONSES),
    m("hrsp_3xx", "http_responses_total", "FBS", Counter, Code("3xx"), RESPONSES),
    m("hrsp_4xx", "http_responses_total", "FBS", Counter, Code("4xx"), RESPONSES),
    m("hrsp_5xx", "http_responses_total", "FBS", Counter, Code("5xx"), RESPONSES),
    m("hrsp_other", "http_responses_total", "FBS", Counter, Code("other"), RESPONSES),
    m("req_tot", "http_requests_total", "F", Counter, Number, "HTTP requests."),
    m("conn_tot", "connections_total", "F", Counter, Number, "Connections."),
    m("cli_abrt", "client_aborts_total", "BS", Counter, Number,
        "Transfers that the client aborted."),
    m("srv_abrt", "server_aborts_total", "BS", Counter, Number,
        "Transfers that the server aborted."),
    m("comp_in", "compressor_bytes_in_total", "FB", Counter, Number, "Bytes to compress."),
    m("comp_out", "compressor_bytes_out_total", "FB", Counter, Number, "Compressed bytes."),
    m("comp_byp", "compressor_bytes_bypassed_total", "FB", Counter, Number,
        "Bytes that were not compressed."),
    m("comp_rsp", "http_responses_compressed_total", "FB", Counter, Number,
        "Compressed responses."),
    m("qtime", "http_queue_time_average_seconds", "BS", Gauge, Milliseconds,
        "Mean time in the queue."),
    m("ctime", "http_connect_time_average_seconds", "BS", Gauge, Milliseconds,
        "Mean time to connect."),
    m("rtime", "http_response_time_average_seconds", "BS", Gauge, Milliseconds,
        "Mean time to respond."),
    m("ttime", "http_total_time_average_seconds", "BS", Gauge, Milliseconds,
        "Mean time of a session."),
];
