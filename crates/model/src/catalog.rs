//! The catalogue of HAProxy's fields: their names, their natures, and how they fold over processes.
//!
//! Names and natures are those of `show stat typed` (HAProxy 2.2 to 3.4; management.txt, "show
//! stat"). A field that only older or differently built versions fill has the nature that HAProxy's
//! source gives it. The default sums are those of the Python program, maxima and limits included,
//! because dashboards are built on them.

mod fields;
mod names;

use fields::FIELDS;

pub use names::{daemon_names, is_frozen, is_name, known_daemon_nature, nature_of_name};

/// The kinds of proxies that are folded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProxyKind {
    /// A row of type 0; where the header has no `type`, with svname FRONTEND.
    Frontend,
    /// A row of type 1; where the header has no `type`, with svname BACKEND.
    Backend,
    /// A row of type 2; where the header has no `type`, with any other svname.
    Server,
}

/// The nature of a field, as in HAProxy's typed output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Nature {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Events per second.
    Rate,
    /// A configured limit.
    Limit,
    /// A highest value so far.
    Maximum,
    /// A mean that HAProxy calculated.
    Average,
    /// Seconds since an event; below 0 if there was no event.
    Age,
    /// How long something took.
    Duration,
    /// A name, a status, an identity or text, which cannot be folded.
    Other,
}

/// How the values of several rows become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fold {
    /// Added up.
    Sum,
    /// The mean over all rows.
    Mean,
    /// The mean over the rows with traffic (lbtot > 0).
    MeanWithTraffic,
    /// The largest.
    Largest,
    /// The smallest that is not below 0.
    Smallest,
}

/// The metrics to fold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice<'a> {
    /// The default sums.
    Default,
    /// Every field that can be folded, by its nature.
    All,
    /// These fields. A field of the default list folds as by default, any other by its nature.
    Named(&'a [String]),
}

/// Whether HAProxy has a field of that name.
///
/// ```
/// assert!(haproxystats_model::catalog::is_field("scur"));
/// ```
#[must_use]
pub fn is_field(name: &str) -> bool {
    nature(name).is_some()
}

/// Every known field, in HAProxy's order.
pub fn names() -> impl Iterator<Item = &'static str> {
    FIELDS.iter().map(|(name, _)| *name)
}

/// The nature of a field; `None` if HAProxy has no such field.
///
/// ```
/// use haproxystats_model::catalog::{Nature, nature};
///
/// assert_eq!(nature("stot"), Some(Nature::Counter));
/// ```
#[must_use]
pub fn nature(name: &str) -> Option<Nature> {
    FIELDS.iter().find(|(field, _)| *field == name).map(|(_, nature)| *nature)
}

impl Nature {
    /// Every nature.
    const ALL: [Self; 9] = [
        Self::Counter,
        Self::Gauge,
        Self::Rate,
        Self::Limit,
        Self::Maximum,
        Self::Average,
        Self::Age,
        Self::Duration,
        Self::Other,
    ];

    /// The name of the nature in a manifest.
    ///
    /// ```
    /// use haproxystats_model::Nature;
    ///
    /// assert_eq!(Nature::Maximum.name(), "max");
    /// assert_eq!(Nature::of_name("max"), Some(Nature::Maximum));
    /// assert_eq!(Nature::of_name("colour"), None);
    /// ```
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Rate => "rate",
            Self::Limit => "limit",
            Self::Maximum => "max",
            Self::Average => "average",
            Self::Age => "age",
            Self::Duration => "duration",
            Self::Other => "other",
        }
    }

    /// The nature of this name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|nature| nature.name() == name)
    }

    /// Whether values go up and down. Only such values can go below zero, which HAProxy writes as a
    /// number near 2^64.
    #[must_use]
    pub const fn is_gauge(self) -> bool {
        matches!(self, Self::Gauge | Self::Rate)
    }

    /// How fields of this nature fold; `None` if they cannot.
    ///
    /// ```
    /// use haproxystats_model::catalog::{Fold, Nature};
    ///
    /// assert_eq!(Nature::Maximum.fold(), Some(Fold::Largest));
    /// ```
    #[must_use]
    pub const fn fold(self) -> Option<Fold> {
        match self {
            Self::Counter | Self::Gauge | Self::Rate | Self::Limit => Some(Fold::Sum),
            Self::Maximum | Self::Duration => Some(Fold::Largest),
            Self::Average => Some(Fold::Mean),
            Self::Age => Some(Fold::Smallest),
            Self::Other => None,
        }
    }
}

impl ProxyKind {
    /// The fields that are summed by default.
    pub fn default_sums(self) -> impl Iterator<Item = &'static str> {
        let own: &[&str] = match self {
            Self::Frontend => FRONTEND_SUMS,
            Self::Backend => BACKEND_SUMS,
            Self::Server => SERVER_SUMS,
        };
        own.iter().chain(COMMON_SUMS).copied()
    }

    /// The means, which are part of every plan.
    #[must_use]
    pub const fn means(self) -> &'static [(&'static str, Fold)] {
        match self {
            Self::Frontend => &[],
            Self::Backend => BACKEND_MEANS,
            Self::Server => SERVER_MEANS,
        }
    }

    /// The fields to fold and the fold of each, each field once. Fields that cannot be folded are
    /// left out.
    ///
    /// ```
    /// use haproxystats_model::catalog::{Choice, Fold, ProxyKind};
    ///
    /// assert!(ProxyKind::Frontend.plan(Choice::Default).contains(&("stot", Fold::Sum)));
    /// ```
    #[must_use]
    pub fn plan(self, choice: Choice<'_>) -> Vec<(&'static str, Fold)> {
        let by_nature = |name: &str| {
            let (field, nature) = FIELDS.iter().find(|(field, _)| *field == name)?;
            Some((*field, nature.fold()?))
        };
        let chosen: Vec<_> = match choice {
            Choice::Default => self.default_sums().map(|name| (name, Fold::Sum)).collect(),
            Choice::All => names().filter_map(by_nature).collect(),
            Choice::Named(list) => {
                let fold_of = |name: &String| match self.default_sums().find(|sum| sum == name) {
                    Some(sum) => Some((sum, Fold::Sum)),
                    None => by_nature(name),
                };
                list.iter().filter_map(fold_of).collect()
            }
        };
        let mut plan: Vec<(&'static str, Fold)> = Vec::with_capacity(chosen.len() + 8);
        for (name, fold) in self.means().iter().copied().chain(chosen) {
            if plan.iter().all(|(planned, _)| *planned != name) {
                plan.push((name, fold));
            }
        }
        plan
    }
}

/// Keys of `show info` that are summed over processes.
pub const DAEMON_SUMS: &[&str] = &[
    "CompressBpsIn",
    "CompressBpsOut",
    "CompressBpsRateLim",
    "ConnRate",
    "ConnRateLimit",
    "CumConns",
    "CumReq",
    "CumSslConns",
    "CurrConns",
    "CurrSslConns",
    "Hard_maxconn",
    "MaxConnRate",
    "MaxSessRate",
    "MaxSslConns",
    "MaxSslRate",
    "MaxZlibMemUsage",
    "Maxconn",
    "Maxpipes",
    "Maxsock",
    "Memmax_MB",
    "PipesFree",
    "PipesUsed",
    "Run_queue",
    "SessRate",
    "SessRateLimit",
    "SslBackendKeyRate",
    "SslBackendMaxKeyRate",
    "SslCacheLookups",
    "SslCacheMisses",
    "SslFrontendKeyRate",
    "SslFrontendMaxKeyRate",
    "SslFrontendSessionReuse_pct",
    "SslRate",
    "SslRateLimit",
    "Tasks",
    "Ulimit-n",
    "ZlibMemUsage",
];

/// Keys of `show info` that fold to the mean over processes.
pub const DAEMON_MEANS: &[&str] = &["Idle_pct", "Uptime_sec"];

/// Keys of `show info` that go up and down. In some versions of HAProxy they went below zero.
pub const DAEMON_GAUGES: &[&str] = &[
    "CompressBpsIn",
    "CompressBpsOut",
    "ConnRate",
    "CurrConns",
    "CurrSslConns",
    "PipesFree",
    "PipesUsed",
    "Run_queue",
    "SessRate",
    "SslBackendKeyRate",
    "SslFrontendKeyRate",
    "SslRate",
    "Tasks",
    "ZlibMemUsage",
];

/// Keys of `show info` that only grow.
const DAEMON_COUNTERS: &[&str] =
    &["CumConns", "CumReq", "CumSslConns", "SslCacheLookups", "SslCacheMisses"];

/// Keys of `show info` that are a highest value so far.
const DAEMON_MAXIMA: &[&str] =
    &["MaxConnRate", "MaxSessRate", "MaxSslRate", "SslBackendMaxKeyRate", "SslFrontendMaxKeyRate"];

/// The nature of a key of `show info` that we read, as in `show info typed`.
///
/// ```
/// use haproxystats_model::Nature;
/// use haproxystats_model::catalog::daemon_nature;
///
/// assert_eq!(daemon_nature("ConnRate"), Nature::Rate);
/// assert_eq!(daemon_nature("Maxconn"), Nature::Limit);
/// ```
#[must_use]
pub fn daemon_nature(key: &str) -> Nature {
    if DAEMON_COUNTERS.contains(&key) {
        Nature::Counter
    } else if DAEMON_MAXIMA.contains(&key) {
        Nature::Maximum
    } else if DAEMON_GAUGES.contains(&key) {
        if key.contains("Rate") || key.contains("Bps") { Nature::Rate } else { Nature::Gauge }
    } else if key == "Uptime_sec" {
        Nature::Duration
    } else if key.ends_with("_pct") {
        Nature::Gauge
    } else {
        Nature::Limit
    }
}

/// Percentages: the name, the key of the usage, the key of its limit.
pub const DAEMON_PERCENTAGES: &[(&str, &str, &str)] = &[
    ("ConnPercentage", "CurrConns", "Maxconn"),
    ("ConnRatePercentage", "ConnRate", "ConnRateLimit"),
    ("SslConnPercentage", "CurrSslConns", "MaxSslConns"),
    ("SslRatePercentage", "SslRate", "SslRateLimit"),
];

const COMMON_SUMS: &[&str] = &[
    "bin",
    "bout",
    "dresp",
    "hrsp_1xx",
    "hrsp_2xx",
    "hrsp_3xx",
    "hrsp_4xx",
    "hrsp_5xx",
    "hrsp_other",
    "rate",
    "rate_max",
    "scur",
    "slim",
    "smax",
    "stot",
];

const FRONTEND_SUMS: &[&str] = &[
    "comp_byp",
    "comp_in",
    "comp_out",
    "comp_rsp",
    "conn_rate",
    "conn_rate_max",
    "conn_tot",
    "dcon",
    "dses",
    "dreq",
    "ereq",
    "intercepted",
    "rate_lim",
    "req_rate",
    "req_rate_max",
    "req_tot",
];

const BACKEND_SUMS: &[&str] = &[
    "chkdown",
    "cli_abrt",
    "comp_byp",
    "comp_in",
    "comp_out",
    "comp_rsp",
    "downtime",
    "dreq",
    "econ",
    "eresp",
    "intercepted",
    "lbtot",
    "qcur",
    "qmax",
    "req_tot",
    "srv_abrt",
    "wredis",
    "wretr",
];

const BACKEND_MEANS: &[(&str, Fold)] = &[
    ("act", Fold::Mean),
    ("bck", Fold::Mean),
    ("weight", Fold::Mean),
    ("rtime", Fold::MeanWithTraffic),
    ("ctime", Fold::MeanWithTraffic),
    ("qtime", Fold::MeanWithTraffic),
    ("ttime", Fold::MeanWithTraffic),
];

const SERVER_SUMS: &[&str] = &[
    "chkfail", "chkdown", "cli_abrt", "econ", "eresp", "lbtot", "qcur", "qmax", "srv_abrt",
    "wredis", "wretr",
];

const SERVER_MEANS: &[(&str, Fold)] = &[
    ("throttle", Fold::Mean),
    ("weight", Fold::Mean),
    ("ctime", Fold::MeanWithTraffic),
    ("qtime", Fold::MeanWithTraffic),
    ("rtime", Fold::MeanWithTraffic),
    ("ttime", Fold::MeanWithTraffic),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_in_the_list_once() {
        for (index, name) in names().enumerate() {
            assert!(names().skip(index + 1).all(|other| other != name), "{name}");
        }
    }

    #[test]
    fn columns_that_few_versions_have_are_accepted_and_summed() {
        let few =
            ["quic_streams_data_blocked_bidi", "quic_streams_data_blocked_uni", "cache_hint_hits"];
        for name in few {
            assert!(is_field(name), "{name}");
            assert_eq!(nature(name).and_then(Nature::fold), Some(Fold::Sum), "{name}");
        }
        let plan = ProxyKind::Frontend.plan(Choice::Named(&few.map(String::from)));
        assert_eq!(plan, few.map(|name| (name, Fold::Sum)));
    }

    #[test]
    fn every_gauge_of_the_daemon_is_one_of_its_keys() {
        assert!(DAEMON_GAUGES.iter().all(|key| DAEMON_SUMS.contains(key)));
    }

    #[test]
    fn counters_and_maxima_of_the_daemon_are_its_keys() {
        let named = DAEMON_COUNTERS.iter().chain(DAEMON_MAXIMA);
        assert!(named.clone().all(|key| DAEMON_SUMS.contains(key)));
        assert!(named.clone().all(|key| !DAEMON_GAUGES.contains(key)));
        assert_eq!(daemon_nature("Tasks"), Nature::Gauge);
        assert_eq!(daemon_nature("CumReq"), Nature::Counter);
        assert_eq!(daemon_nature("Idle_pct"), Nature::Gauge);
        assert_eq!(daemon_nature("Ulimit-n"), Nature::Limit);
    }

    #[test]
    fn every_default_is_a_field() {
        for kind in [ProxyKind::Frontend, ProxyKind::Backend, ProxyKind::Server] {
            assert!(kind.plan(Choice::Default).iter().all(|(name, _)| is_field(name)));
        }
    }

    #[test]
    fn a_custom_list_replaces_the_sums_and_the_means_come_once() {
        let asked = ["lbtot", "weight", "smax", "ctime_max", "status"].map(String::from);
        let plan = ProxyKind::Server.plan(Choice::Named(&asked));
        let sums: Vec<_> = plan.iter().skip(SERVER_MEANS.len()).collect();
        assert_eq!(
            sums,
            [&("lbtot", Fold::Sum), &("smax", Fold::Sum), &("ctime_max", Fold::Largest)]
        );
        assert_eq!(plan.iter().filter(|(name, _)| *name == "weight").count(), 1);
    }

    #[test]
    fn all_folds_by_nature_and_keeps_the_means() {
        let plan = ProxyKind::Backend.plan(Choice::All);
        let fold = |name| plan.iter().find(|(field, _)| *field == name).map(|(_, fold)| *fold);
        assert_eq!(fold("smax"), Some(Fold::Largest));
        assert_eq!(fold("lastchg"), Some(Fold::Smallest));
        assert_eq!(fold("check_duration"), Some(Fold::Largest));
        assert_eq!(fold("rtime"), Some(Fold::MeanWithTraffic));
        assert_eq!(fold("act"), Some(Fold::Mean));
        assert_eq!(fold("h1_bytes_in"), Some(Fold::Sum));
        assert_eq!((fold("pxname"), fold("pid"), fold("status")), (None, None, None));
    }
}
