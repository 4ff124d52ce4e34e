//! The kinds of values: the words for each in the documentation's tables, and its parser.
//!
//! An option has one of the forms below, so its table row and its parser cannot differ.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::server_list::{self, WrittenServer};
use crate::tags;
use crate::typed::{
    Address, Cluster, Confirm, Gzip, InfluxApi, Listen, LogLevel, PartialInput, Retries, Selection,
};
use crate::url::{self, Url};
use crate::values::{self, Problems};

/// The range of whole numbers that an option accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The smallest.
    pub least: u64,
    /// The largest.
    pub most: u64,
    /// The unit, if the number needs one.
    pub unit: Option<&'static str>,
}

/// The values that an option accepts, for the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One of these words, in upper or lower case.
    Word(&'static [&'static str]),
    /// `1/yes/true/on` or `0/no/false/off`, in upper or lower case.
    Boolean,
    /// A whole number.
    Whole(Bounds),
    /// A whole number from 0 on, or -1 for no limit.
    Retries,
    /// Seconds as a decimal, 0 too.
    Pause,
    /// Seconds as a decimal, more than 0.
    Limit,
    /// A decimal from 1 on.
    Factor,
    /// A file or directory.
    Path,
    /// A comma-separated list of endpoints.
    Servers,
    /// An address that a program of ours takes.
    Listen,
    /// A comma-separated list of uWSGI's applications.
    Applications,
    /// A comma-separated list of Zope instances.
    Instances,
    /// A comma-separated list of folders and patterns of folders.
    Folders,
    /// A word of letters, digits, dots, - and _.
    Name,
    /// A comma-separated list of a Graphite's servers.
    ServerList,
    /// Blank-separated names of metrics, or `all` and names to leave out.
    Metrics,
    /// A host's name or address.
    Host,
    /// A host's name.
    HostName,
    /// Parts of a metric's path with dots between.
    Prefix,
    /// A comma-separated list of hosts with their ports.
    Brokers,
    /// The name of a Kafka topic.
    Topic,
    /// The URL of a server.
    Url,
    /// A word or some words, without control characters.
    Text,
    /// A comma-separated list of names and values.
    Tags,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word(words) => write!(f, "one of {}", words.join(", ")),
            Self::Boolean => f.write_str("true or false"),
            Self::Whole(Bounds { least, most, unit }) => {
                f.write_str("whole number")?;
                if let Some(unit) = unit {
                    write!(f, " of {unit}")?;
                }
                match *most {
                    u64::MAX => write!(f, " from {least} on"),
                    most => write!(f, " from {least} to {most}"),
                }
            }
            Self::Retries => f.write_str("whole number from 0 on, or -1 for no limit"),
            Self::Pause => f.write_str("seconds"),
            Self::Limit => f.write_str("seconds, more than 0"),
            Self::Factor => f.write_str("number from 1 on"),
            Self::Path => f.write_str("path"),
            Self::Servers => f.write_str("comma list of unix:///path and tcp://host:port"),
            Self::Listen => f.write_str("address:port, [v6]:port or unix:///path"),
            Self::Applications => {
                f.write_str("comma list of NAME=ADDRESS, addresses and patterns of paths")
            }
            Self::Instances => f.write_str("comma list of DEPLOYMENT/INSTANCE=ADDRESS"),
            Self::Folders => f.write_str("comma list of folders and patterns of folders"),
            Self::Name => f.write_str("name of letters, digits, dots, - and _"),
            Self::ServerList => {
                f.write_str("comma list of host, host:port, [v6]:port, unix:///path")
            }
            Self::Metrics => f.write_str("metric names with blanks between, or all and -name"),
            Self::Host => f.write_str("host name or address"),
            Self::HostName => f.write_str("host name"),
            Self::Prefix => f.write_str("path parts with dots between"),
            Self::Brokers => f.write_str("comma list of host:port; without a port 9092"),
            Self::Topic => f.write_str("name of a topic"),
            Self::Url => f.write_str("http://host:port/path or https://host:port/path"),
            Self::Text => f.write_str("text"),
            Self::Tags => f.write_str("comma list of NAME=VALUE"),
        }
    }
}

/// The form of a value: its words for the tables, and its parser.
pub(crate) struct Form<T: 'static> {
    pub(crate) kind: Kind,
    pub(crate) parse: fn(&str) -> Result<T, Problems>,
}

const LOG_LEVELS: [(&str, LogLevel); 5] = [
    ("debug", LogLevel::Debug),
    ("info", LogLevel::Info),
    ("warning", LogLevel::Warning),
    ("error", LogLevel::Error),
    ("critical", LogLevel::Critical),
];
const CONFIRMS: [(&str, Confirm); 3] =
    [("close", Confirm::Close), ("tcp", Confirm::Tcp), ("none", Confirm::None)];
const CLUSTERS: [(&str, Cluster); 2] = [("failover", Cluster::Failover), ("any", Cluster::Any)];
const PARTIAL_INPUTS: [(&str, PartialInput); 2] =
    [("accept", PartialInput::Accept), ("refuse", PartialInput::Refuse)];
const INFLUX_APIS: [(&str, InfluxApi); 3] =
    [("auto", InfluxApi::Auto), ("v1", InfluxApi::V1), ("v2", InfluxApi::V2)];
const GZIPS: [(&str, Gzip); 3] =
    [("auto", Gzip::Auto), ("true", Gzip::Always), ("false", Gzip::Never)];

pub(crate) const LOG_LEVEL: Form<LogLevel> = Form {
    kind: Kind::Word(const { &words(&LOG_LEVELS) }),
    parse: |text| values::word(text, "no level", &LOG_LEVELS),
};
pub(crate) const CONFIRM: Form<Confirm> = Form {
    kind: Kind::Word(const { &words(&CONFIRMS) }),
    parse: |text| values::word(text, "no way to confirm", &CONFIRMS),
};
pub(crate) const CLUSTER: Form<Cluster> = Form {
    kind: Kind::Word(const { &words(&CLUSTERS) }),
    parse: |text| values::word(text, "no kind of cluster", &CLUSTERS),
};
pub(crate) const PARTIAL_INPUT: Form<PartialInput> = Form {
    kind: Kind::Word(const { &words(&PARTIAL_INPUTS) }),
    parse: |text| values::word(text, "neither accept nor refuse", &PARTIAL_INPUTS),
};
pub(crate) const INFLUX_API: Form<InfluxApi> = Form {
    kind: Kind::Word(const { &words(&INFLUX_APIS) }),
    parse: |text| values::word(text, "no API of InfluxDB", &INFLUX_APIS),
};
pub(crate) const GZIP: Form<Gzip> = Form {
    kind: Kind::Word(const { &words(&GZIPS) }),
    parse: |text| values::word(text, "none of the choices", &GZIPS),
};
pub(crate) const BOOLEAN: Form<bool> = Form { kind: Kind::Boolean, parse: values::boolean };
pub(crate) const RETRIES: Form<Retries> = Form { kind: Kind::Retries, parse: values::retries };
pub(crate) const PAUSE: Form<Duration> = Form { kind: Kind::Pause, parse: values::pause };
pub(crate) const LIMIT: Form<Duration> = Form { kind: Kind::Limit, parse: values::limit };
pub(crate) const FACTOR: Form<f64> = Form { kind: Kind::Factor, parse: values::factor };
pub(crate) const PATH: Form<PathBuf> = Form { kind: Kind::Path, parse: values::path };
pub(crate) const SERVERS: Form<Vec<Address>> = Form { kind: Kind::Servers, parse: values::servers };
pub(crate) const LISTEN: Form<Listen> = Form { kind: Kind::Listen, parse: values::listen };
pub(crate) const SERVER_LIST: Form<Vec<WrittenServer>> =
    Form { kind: Kind::ServerList, parse: server_list::server_list };
pub(crate) const METRICS: Form<Selection> = Form { kind: Kind::Metrics, parse: values::metrics };
pub(crate) const HOST: Form<String> = Form { kind: Kind::Host, parse: values::host };
pub(crate) const HOST_NAME: Form<String> = Form { kind: Kind::HostName, parse: values::host_name };
pub(crate) const PREFIX: Form<String> = Form { kind: Kind::Prefix, parse: values::prefix };
pub(crate) const URL: Form<Url> = Form { kind: Kind::Url, parse: url::url };
pub(crate) const TEXT: Form<String> = Form { kind: Kind::Text, parse: values::text };
pub(crate) const TAGS: Form<Vec<(String, String)>> = Form { kind: Kind::Tags, parse: tags::tags };

/// Threads or processes; a larger number can only be a mistake.
pub(crate) const WORKERS: Form<usize> = whole::<1, 512, _>(None);
pub(crate) const PORT: Form<u16> = whole::<1, 65_535, _>(None);
pub(crate) const BYTES: Form<u64> = whole::<1, { u64::MAX }, _>(Some("bytes"));
/// Bytes in memory.
pub(crate) const BUFFER_BYTES: Form<u64> = whole::<1, { 1 << 30 }, _>(Some("bytes"));
pub(crate) const METRIC_COUNT: Form<u64> = whole::<1, { u64::MAX }, _>(Some("metrics"));
pub(crate) const METRIC_RATE: Form<u64> = whole::<0, { u64::MAX }, _>(Some("metrics per second"));
/// Bytes of a message; some messages are in memory at once.
pub(crate) const MESSAGE_BYTES: Form<usize> = whole::<1024, { 16 << 20 }, _>(Some("bytes"));
pub(crate) const SERVER_COUNT: Form<usize> = whole::<1, 1_000_000_000, _>(Some("servers"));
/// Cycles; some more than a day of the shortest ones.
pub(crate) const CYCLES: Form<u64> = whole::<1, 100_000, _>(Some("cycles"));
pub(crate) const LINE_COUNT: Form<usize> = whole::<1, 1_000_000, _>(Some("lines"));
/// Bytes of a line. A smaller bound would leave out the lines of plain names.
pub(crate) const LINE_BYTES: Form<usize> = whole::<512, { 1 << 20 }, _>(Some("bytes"));
pub(crate) const SNAPSHOT_COUNT: Form<usize> = whole::<1, 1_000_000_000, _>(Some("snapshots"));
/// Whole seconds; as many as a duration may have.
pub(crate) const PERIOD: Form<Duration> = whole_seconds::<1, 1_000_000_000>();
/// As far back as ZODB's activity monitor remembers.
pub(crate) const SAMPLING: Form<Duration> = whole_seconds::<1, 3600>();

/// A whole number within bounds that also fits its type.
const fn whole<const LEAST: u64, const MOST: u64, T: TryFrom<u64>>(
    unit: Option<&'static str>,
) -> Form<T> {
    Form {
        kind: Kind::Whole(Bounds { least: LEAST, most: MOST, unit }),
        parse: |text| values::whole(text, LEAST, MOST),
    }
}

const fn whole_seconds<const LEAST: u64, const MOST: u64>() -> Form<Duration> {
    Form {
        kind: whole::<LEAST, MOST, u64>(Some("seconds")).kind,
        parse: |text| values::whole(text, LEAST, MOST).map(Duration::from_secs),
    }
}

/// The words of a list of words and values.
pub(crate) const fn words<T, const N: usize>(pairs: &[(&'static str, T); N]) -> [&'static str; N] {
    let mut words = [""; N];
    let mut index = 0;
    // A const fn cannot use an iterator.
    while index < N {
        words[index] = pairs[index].0;
        index += 1;
    }
    words
}
