//! The one table of what can be set: section, option, what it takes, its default and what it means.
//!
//! `-p`, `-P`, the warnings about unknown names, the documentation and the example with every
//! option are all held against it. A default here counts before what the file sets in `[DEFAULT]`;
//! that is how `[DEFAULT] retries = 9` changes nothing in `[pull]`.

use std::fmt;

use crate::document::DEFAULT;

/// Whole numbers that an option takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The smallest.
    pub least: u64,
    /// The largest.
    pub most: u64,
}

/// What an option takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One of these words, in upper or lower case.
    Word(&'static [&'static str]),
    /// `1/yes/true/on` or `0/no/false/off`, in upper or lower case.
    Boolean,
    /// A whole number.
    Whole(Bounds),
    /// A whole number from 0 on, or -1 for without end.
    Retries,
    /// Seconds as a decimal, 0 too.
    Pause,
    /// Seconds as a decimal, more than 0.
    Limit,
    /// A decimal from 1 on.
    Factor,
    /// A file or folder.
    Path,
    /// A comma-separated list of endpoints.
    Servers,
    /// Blank-separated names of metrics, or `all`.
    Metrics,
    /// A host's name or address.
    Host,
    /// Parts of a metric's path with dots between.
    Prefix,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word(words) => write!(f, "one of {}", words.join(", ")),
            Self::Boolean => f.write_str("true or false"),
            Self::Whole(Bounds { least, most: u64::MAX }) => {
                write!(f, "whole number from {least} on")
            }
            Self::Whole(Bounds { least, most }) => write!(f, "whole number from {least} to {most}"),
            Self::Retries => f.write_str("whole number from 0 on, or -1 for no limit"),
            Self::Pause => f.write_str("seconds"),
            Self::Limit => f.write_str("seconds, more than 0"),
            Self::Factor => f.write_str("number from 1 on"),
            Self::Path => f.write_str("path"),
            Self::Servers => f.write_str("comma list of unix:///path and tcp://host:port"),
            Self::Metrics => f.write_str("metric names with blanks between, or all"),
            Self::Host => f.write_str("host name or address"),
            Self::Prefix => f.write_str("path parts with dots between"),
        }
    }
}

/// An option that we know.
#[derive(Debug, Clone, Copy)]
pub struct KnownOption {
    /// Its section.
    pub section: &'static str,
    /// Its name, in lower case.
    pub name: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// What holds where the file says nothing, `${paths:base-dir}` in it being that option's value;
    /// `None` is unset.
    pub default: Option<&'static str>,
    /// What it means, in a line. Begins with [`NO_EFFECT`] where `has_effect` is false.
    pub meaning: &'static str,
    /// Whether a program does anything differently because of it. An option without effect is read
    /// and checked, because the files of the Python programs have it.
    pub has_effect: bool,
}

/// How the meaning of an option without effect begins.
pub const NO_EFFECT: &str = "no effect: ";

/// Sections in which every option is a group: `NAME = REGEX`.
pub const GROUP_SECTIONS: [&str; 3] = ["frontend-groups", "backend-groups", "server-groups"];

/// Words for `loglevel`.
pub(crate) const LOG_LEVELS: &[&str] = &["debug", "info", "warning", "error", "critical"];
/// Words for `confirm`.
pub(crate) const CONFIRMS: &[&str] = &["close", "tcp", "none"];
/// Words for `partial-input`.
pub(crate) const PARTIAL_INPUTS: &[&str] = &["accept", "refuse"];
/// Threads or processes; a larger number can only be a mistake.
pub(crate) const WORKERS: Bounds = Bounds { least: 1, most: 512 };
/// TCP ports.
pub(crate) const PORTS: Bounds = Bounds { least: 1, most: 65_535 };
/// Seconds of a period; as many as a duration may have.
pub(crate) const PERIODS: Bounds = Bounds { least: 1, most: 1_000_000_000 };
/// Bytes of a buffer that is held in memory.
pub(crate) const BUFFERS: Bounds = Bounds { least: 1, most: 1 << 30 };
/// Anything that is counted and not none.
pub(crate) const COUNTS: Bounds = Bounds { least: 1, most: u64::MAX };
/// As above, where the machine counts.
pub(crate) const QUEUES: Bounds = Bounds { least: 1, most: 1_000_000_000 };

/// Numbers of which 0 is one too.
pub(crate) const RATES: Bounds = Bounds { least: 0, most: u64::MAX };

/// The one option that a default may refer to.
pub(crate) const BASE_DIR: (&str, &str) = (PATHS, "base-dir");

/// Every option that we know, section by section.
#[must_use]
pub fn known_options() -> &'static [KnownOption] {
    TABLE
}

/// The sections that the table or the groups know, each once, in the order in which they are
/// printed.
pub(crate) fn known_sections() -> Vec<&'static str> {
    let mut sections: Vec<_> = TABLE.iter().map(|known| known.section).collect();
    sections.dedup();
    sections.extend(GROUP_SECTIONS);
    sections
}

/// The row of an option in its own section.
pub(crate) fn find(section: &str, option: &str) -> Option<&'static KnownOption> {
    TABLE.iter().find(|known| known.section == section && known.name == option)
}

/// Whether a section without a value of its own takes the one of `[DEFAULT]`. Graphite's
/// `queue-size` does not: it drops metrics, and a value in `[DEFAULT]` may be meant for `[pull]`.
pub(crate) fn inherits(section: &str, option: &str) -> bool {
    (section, option) != (GRAPHITE, "queue-size")
}

const fn row(
    section: &'static str,
    name: &'static str,
    kind: Kind,
    default: &'static str,
    meaning: &'static str,
) -> KnownOption {
    KnownOption { section, name, kind, default: Some(default), meaning, has_effect: true }
}

/// A row of an option without effect.
const fn idle(
    section: &'static str,
    name: &'static str,
    kind: Kind,
    default: &'static str,
    meaning: &'static str,
) -> KnownOption {
    KnownOption { section, name, kind, default: Some(default), meaning, has_effect: false }
}

const fn unset(
    section: &'static str,
    name: &'static str,
    kind: Kind,
    meaning: &'static str,
) -> KnownOption {
    KnownOption { section, name, kind, default: None, meaning, has_effect: true }
}

const GRAPHITE: &str = "graphite";
const LOCAL_STORE: &str = "local-store";
const PATHS: &str = "paths";
const PROCESS: &str = "process";
const PULL: &str = "pull";

use Kind::{
    Boolean, Factor, Host, Limit, Metrics, Path, Pause, Prefix, Retries, Servers, Whole, Word,
};

const TABLE: &[KnownOption] = &[
    row(
        DEFAULT,
        "loglevel",
        Word(LOG_LEVELS),
        "info",
        "how much is logged; pull and process inherit it",
    ),
    idle(
        DEFAULT,
        "retries",
        Retries,
        "2",
        "no effect: every section has a default of its own; serves references such as \
         ${DEFAULT:retries}",
    ),
    idle(
        DEFAULT,
        "timeout",
        Pause,
        "1",
        "no effect: every section has a default of its own; serves references such as \
         ${DEFAULT:timeout}",
    ),
    idle(
        DEFAULT,
        "interval",
        Pause,
        "2",
        "no effect: every section has a default of its own; serves references such as \
         ${DEFAULT:interval}",
    ),
    row(
        PATHS,
        "base-dir",
        Path,
        "/var/lib/haproxystats",
        "for references such as ${paths:base-dir}/incoming",
    ),
    unset(PULL, "loglevel", Word(LOG_LEVELS), "how much haproxystats-pull logs"),
    unset(
        PULL,
        "socket-dir",
        Path,
        "a folder whose UNIX sockets are all asked, looked up at each cycle",
    ),
    unset(PULL, "servers", Servers, "stats sockets by name"),
    row(PULL, "retries", Retries, "1", "further tries to connect"),
    row(PULL, "timeout", Limit, "0.1", "limit of one try to connect"),
    row(PULL, "interval", Pause, "0.5", "pause between two tries"),
    row(PULL, "pull-timeout", Pause, "2", "limit of a whole cycle; 0 is no limit"),
    row(PULL, "pull-interval", Whole(PERIODS), "10", "seconds between the starts of two cycles"),
    idle(
        PULL,
        "buffer-limit",
        Whole(BUFFERS),
        "6291456",
        "no effect: an answer is read in pieces of up to 64 KiB",
    ),
    row(PULL, "answer-limit", Whole(COUNTS), "268435456", "bytes that one answer may have"),
    row(PULL, "dst-dir", Path, "/var/lib/haproxystats/incoming", "where snapshots are published"),
    row(
        PULL,
        "tmp-dst-dir",
        Path,
        "/var/lib/haproxystats/incoming.tmp",
        "where snapshots are staged, on the same file system",
    ),
    row(PULL, "workers", Whole(WORKERS), "8", "threads that read answers and write files"),
    row(
        PULL,
        "queue-size",
        Whole(QUEUES),
        "360",
        "pause while dst-dir holds this many snapshots or more",
    ),
    row(PULL, "sync", Boolean, "true", "sync a snapshot to the disk before it is published"),
    row(
        PULL,
        "allow-partial",
        Boolean,
        "false",
        "publish what answered, even if not every endpoint did",
    ),
    unset(PROCESS, "loglevel", Word(LOG_LEVELS), "how much haproxystats-process logs"),
    row(
        PROCESS,
        "src-dir",
        Path,
        "/var/lib/haproxystats/incoming",
        "the directory that is watched for snapshots",
    ),
    row(PROCESS, "workers", Whole(WORKERS), "4", "worker processes"),
    unset(
        PROCESS,
        "frontend-metrics",
        Metrics,
        "metrics of frontends in place of the default ones",
    ),
    unset(PROCESS, "backend-metrics", Metrics, "metrics of backends in place of the default ones"),
    unset(PROCESS, "server-metrics", Metrics, "metrics of servers in place of the default ones"),
    row(PROCESS, "aggr-server-metrics", Boolean, "false", "sum servers over all backends too"),
    unset(PROCESS, "exclude-frontends", Path, "a file of frontends to leave out, one name a line"),
    unset(PROCESS, "exclude-backends", Path, "a file of backends to leave out, one name a line"),
    row(PROCESS, "per-process-metrics", Boolean, "false", "lines for each HAProxy process too"),
    row(
        PROCESS,
        "calculate-percentages",
        Boolean,
        "false",
        "connections, rates and SSL as percentages of their limits",
    ),
    row(
        PROCESS,
        "liveness-check-interval",
        Limit,
        "10",
        "time between two reports on itself, each with another try at snapshots that could not be \
         read, moved or removed",
    ),
    row(
        PROCESS,
        "job-timeout",
        Limit,
        "300",
        "time without progress after which a worker counts as hung",
    ),
    row(
        PROCESS,
        "file-limit",
        Whole(COUNTS),
        "268435456",
        "bytes that one file of a snapshot may have",
    ),
    row(
        PROCESS,
        "partial-input",
        Word(PARTIAL_INPUTS),
        "accept",
        "whether a snapshot with damaged files is folded without them or goes to failed-dir",
    ),
    row(
        PROCESS,
        "failed-dir",
        Path,
        "${paths:base-dir}/failed",
        "where snapshots go that cannot be processed",
    ),
    row(PROCESS, "failed-limit", Whole(QUEUES), "100", "snapshots kept there; the oldest go"),
    row(GRAPHITE, "enabled", Boolean, "true", "whether anything is sent to Graphite"),
    row(GRAPHITE, "server", Host, "127.0.0.1", "Graphite's plaintext receiver"),
    row(GRAPHITE, "port", Whole(PORTS), "3002", "its port"),
    row(GRAPHITE, "retries", Retries, "3", "tries after a failed one, before delay is waited"),
    row(GRAPHITE, "interval", Pause, "1.8", "first pause between two tries"),
    row(GRAPHITE, "backoff", Factor, "2", "factor from one pause to the next"),
    row(GRAPHITE, "connect-timeout", Limit, "1", "limit of one try to connect"),
    row(GRAPHITE, "write-timeout", Limit, "1", "no byte accepted for so long means a dead peer"),
    row(GRAPHITE, "delay", Pause, "10", "pause once the tries are used up"),
    row(GRAPHITE, "confirm", Word(CONFIRMS), "close", "when a batch counts as delivered"),
    row(GRAPHITE, "confirm-timeout", Limit, "60", "limit of the wait for that"),
    row(GRAPHITE, "namespace", Prefix, "loadbalancers", "first part of every path"),
    row(GRAPHITE, "prefix-hostname", Boolean, "true", "whether this machine's name follows it"),
    row(GRAPHITE, "fqdn", Boolean, "true", "the whole name, or only up to its first dot"),
    row(
        GRAPHITE,
        "outbox-dir",
        Path,
        "${paths:base-dir}/outbox",
        "where batches wait while Graphite is away",
    ),
    row(
        GRAPHITE,
        "outbox-size",
        Whole(COUNTS),
        "268435456",
        "bytes that wait there; over it the oldest go",
    ),
    row(
        GRAPHITE,
        "outbox-sync",
        Boolean,
        "true",
        "sync a batch to the disk before its snapshot goes",
    ),
    row(
        GRAPHITE,
        "replay-rate",
        Whole(RATES),
        "50000",
        "metrics per second that leave the outbox; 0 is no limit",
    ),
    unset(
        GRAPHITE,
        "queue-size",
        Whole(COUNTS),
        "metrics that wait in the outbox; over it the oldest go",
    ),
    unset(
        GRAPHITE,
        "group-namespace",
        Prefix,
        "path part before the group of a frontend, backend or server",
    ),
    unset(
        GRAPHITE,
        "group-namespace-double-writes",
        Boolean,
        "whether a grouped line is sent on its plain path too",
    ),
    row(
        LOCAL_STORE,
        "dir",
        Path,
        "/var/lib/haproxystats/local-store",
        "where <timestamp>/stats is written",
    ),
    unset(LOCAL_STORE, "retention", Limit, "age after which our own directories are removed"),
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_option_has_one_row_and_a_meaning_of_one_line() {
        let mut seen = HashSet::new();
        for known in known_options() {
            assert!(seen.insert((known.section, known.name)), "{known:?} twice");
            assert_eq!(known.name, known.name.to_lowercase());
            assert!(!known.meaning.is_empty() && !known.meaning.contains('\n'), "{known:?}");
            assert_eq!(known.meaning.starts_with(NO_EFFECT), !known.has_effect, "{known:?}");
        }
    }

    #[test]
    fn a_default_refers_to_nothing_but_base_dir() {
        let (section, option) = BASE_DIR;
        let reference = format!("${{{section}:{option}}}");
        for known in known_options() {
            let default = known.default.unwrap_or_default();
            assert!(!default.replace(&reference, "").contains('$'), "{known:?}");
        }
        let base_dir = find(section, option).unwrap().default.unwrap();
        assert!(!base_dir.contains('$'));
    }
}
