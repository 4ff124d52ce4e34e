//! Names beyond the catalogue: the nature of a column that a newer HAProxy has, the keys of `show
//! info` beyond the default list, and the columns that are frozen in an old worker.

use super::{DAEMON_MEANS, DAEMON_SUMS, Nature, daemon_nature};

/// Bytes of a name; the longest of HAProxy's has 42.
const NAME_MAX_BYTES: usize = 64;

/// Keys of `show info` that are read only if they are asked for. Identities and texts cannot be
/// folded.
const DAEMON_OTHERS: &[(&str, Nature)] = &[
    ("Name", Nature::Other),
    ("Version", Nature::Other),
    ("Release_date", Nature::Other),
    ("Nbthread", Nature::Limit),
    ("Nbproc", Nature::Other),
    ("Process_num", Nature::Other),
    ("Pid", Nature::Other),
    ("Uptime", Nature::Other),
    ("PoolAlloc_MB", Nature::Gauge),
    ("PoolUsed_MB", Nature::Gauge),
    ("PoolFailed", Nature::Counter),
    ("node", Nature::Other),
    ("description", Nature::Other),
    ("Stopping", Nature::Gauge),
    ("Jobs", Nature::Gauge),
    ("Listeners", Nature::Gauge),
    ("ActivePeers", Nature::Gauge),
    ("ConnectedPeers", Nature::Gauge),
    ("DroppedLogs", Nature::Counter),
    ("BusyPolling", Nature::Gauge),
    ("FailedResolutions", Nature::Counter),
    ("TotalBytesOut", Nature::Counter),
    ("TotalSplicedBytesOut", Nature::Counter),
    ("TotalSplicdedBytesOut", Nature::Counter),
    ("BytesOutRate", Nature::Rate),
    ("DebugCommandsIssued", Nature::Counter),
    ("CumRecvLogs", Nature::Counter),
    ("Memmax_bytes", Nature::Limit),
    ("PoolAlloc_bytes", Nature::Gauge),
    ("PoolUsed_bytes", Nature::Gauge),
    ("Start_time_sec", Nature::Duration),
    ("Tainted", Nature::Other),
    ("TotalWarnings", Nature::Counter),
    ("MaxconnReached", Nature::Counter),
    ("BootTime_ms", Nature::Duration),
    ("Niced_tasks", Nature::Gauge),
    ("CurrStreams", Nature::Gauge),
    ("CumStreams", Nature::Counter),
    ("BlockedTrafficWarnings", Nature::Counter),
    ("PatternsAdded", Nature::Counter),
    ("PatternsFreed", Nature::Counter),
    ("NbThreadGroups", Nature::Limit),
];

/// Columns of an old worker that do not count beside a current process, apart from its limits:
/// health checks have stopped and weights no longer change, and means of all processes are those
/// of the current ones.
const FROZEN: &[&str] = &[
    "weight",
    "uweight",
    "act",
    "bck",
    "throttle",
    "lastchg",
    "check_duration",
    "check_rise",
    "check_fall",
    "check_health",
    "agent_duration",
    "agent_rise",
    "agent_fall",
    "agent_health",
    "agg_server_status",
    "agg_server_check_status",
    "agg_check_status",
    "Idle_pct",
    "Uptime_sec",
];

/// Whether a text can be the name of a column or a key: letters, digits, `_`, `-` and dots.
///
/// ```
/// assert!(haproxystats_model::catalog::is_name("Ulimit-n"));
/// assert!(!haproxystats_model::catalog::is_name("bin,bout"));
/// ```
#[must_use]
pub fn is_name(name: &str) -> bool {
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    (1..=NAME_MAX_BYTES).contains(&name.len())
        && name.bytes().all(is_legal)
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
}

/// The nature that a column's name suggests, for a column that the catalogue lacks. The rules are
/// in docs/metrics.md.
///
/// ```
/// use haproxystats_model::Nature;
/// use haproxystats_model::catalog::nature_of_name;
///
/// assert_eq!(nature_of_name("new_conn_max"), Nature::Maximum);
/// assert_eq!(nature_of_name("h4req"), Nature::Counter);
/// ```
#[must_use]
pub fn nature_of_name(name: &str) -> Nature {
    let name = name.to_ascii_lowercase();
    let ends = |ends: &[&str]| ends.iter().any(|end| name.ends_with(end));
    if ends(&["_max"]) {
        Nature::Maximum
    } else if ends(&["_avg", "_pct", "time"]) {
        Nature::Average
    } else if ends(&["_lim", "_limit"]) {
        Nature::Limit
    } else if ends(&["rate"]) {
        Nature::Rate
    } else if ends(&["_cur"]) {
        Nature::Gauge
    } else {
        Nature::Counter
    }
}

/// The nature of a key of `show info`; `None` if the catalogue lacks it.
#[must_use]
pub fn known_daemon_nature(key: &str) -> Option<Nature> {
    if DAEMON_SUMS.contains(&key) || DAEMON_MEANS.contains(&key) {
        return Some(daemon_nature(key));
    }
    DAEMON_OTHERS.iter().find(|(known, _)| *known == key).map(|(_, nature)| *nature)
}

/// Every known key of `show info`.
pub fn daemon_names() -> impl Iterator<Item = &'static str> {
    let others = DAEMON_OTHERS.iter().map(|(key, _)| *key);
    DAEMON_SUMS.iter().chain(DAEMON_MEANS).copied().chain(others)
}

/// Whether a column of an old worker does not count beside a current process.
#[must_use]
pub fn is_frozen(name: &str, nature: Nature) -> bool {
    nature == Nature::Limit || FROZEN.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{Fold, is_field};

    #[test]
    fn every_key_of_the_daemon_is_listed_once() {
        for (index, name) in daemon_names().enumerate() {
            assert!(daemon_names().skip(index + 1).all(|other| other != name), "{name}");
            assert!(is_name(name), "{name}");
        }
    }

    #[test]
    fn a_name_tells_its_fold() {
        let fold = |name| nature_of_name(name).fold();
        for name in ["new_max", "x_rate_max"] {
            assert_eq!(fold(name), Some(Fold::Largest), "{name}");
        }
        for name in ["stime", "queue_time", "size_avg", "hit_pct"] {
            assert_eq!(fold(name), Some(Fold::Mean), "{name}");
        }
        for name in ["h4req", "climax", "new_rate", "new_cur", "new_lim", "timeouts"] {
            assert_eq!(fold(name), Some(Fold::Sum), "{name}");
        }
    }

    #[test]
    fn frozen_columns_are_known() {
        assert!(FROZEN.iter().all(|name| is_field(name) || known_daemon_nature(name).is_some()));
        assert!(is_frozen("slim", Nature::Limit) && !is_frozen("scur", Nature::Gauge));
    }
}
