//! The configuration of the two programs: every value typed, in range and complete, so that no
//! other crate parses a string again.
//!
//! The values serialize, because a child gets its part from the parent and never reads the file
//! itself. So two children have the same configuration even if the file was edited in between.

mod kafka;
mod uwsgi;
mod zope;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use model::ReceiverName;
use serde::{Deserialize, Serialize};

pub use kafka::{Kafka, KafkaFormat, KafkaLogin, KafkaSecurity, LinesPerMessage, MessageKey};
pub use uwsgi::{Uwsgi, UwsgiServer};
pub use zope::{Zope, ZopeInstance};

use crate::url::Url;

/// How much is logged, in the words of the configuration file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogLevel {
    /// Everything, for finding a fault.
    Debug,
    /// One line per cycle and per snapshot.
    Info,
    /// Faults that an operator should look at.
    Warning,
    /// Failures.
    Error,
    /// As `Error`, because a graver error ends the program.
    Critical,
}

/// How often a failed attempt is made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Retries {
    /// This number of times after the first attempt.
    Times(u32),
    /// Without end (`-1` in the file).
    Forever,
}

/// The address of a stats socket in `servers`, or of a Graphite in `server`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Address {
    /// `unix:///path`.
    Unix(PathBuf),
    /// `tcp://host:port`; an IPv6 address without its brackets. The host of a stats socket is in
    /// lower case.
    Tcp {
        /// A name or an address.
        host: String,
        /// The port.
        port: u16,
    },
}

impl fmt::Display for Address {
    /// A host and a port without a scheme.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

/// The address of a server of ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Listen {
    /// `unix:///path`.
    Unix(PathBuf),
    /// `address:port`.
    Tcp(SocketAddr),
}

/// The configuration of haproxystats-pull.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pull {
    /// How much is logged.
    pub loglevel: LogLevel,
    /// The name that stands for this machine in every receiver; `None` is the machine's own.
    pub host_name: Option<String>,
    /// A directory whose UNIX sockets are all asked, looked up at each cycle.
    pub socket_dir: Option<PathBuf>,
    /// Stats sockets by name.
    pub servers: Vec<Address>,
    /// Master CLIs by name.
    pub masters: Vec<Address>,
    /// Whether the old workers of a master are asked.
    pub old_workers: bool,
    /// Servers are asked for in each such cycle only, at least 1.
    pub servers_interval: u64,
    /// Further attempts to connect after the first.
    pub retries: Retries,
    /// Limit of one attempt to connect.
    pub timeout: Duration,
    /// Pause between two attempts to connect.
    pub interval: Duration,
    /// Limit of a whole cycle; `None` is no limit.
    pub pull_timeout: Option<Duration>,
    /// Time between the starts of two cycles.
    pub pull_interval: Duration,
    /// Bytes that one answer may have; an endpoint that sends more has failed.
    pub answer_limit: u64,
    /// Where snapshots are published (`incoming`).
    pub dst_dir: PathBuf,
    /// Where snapshots are staged (`incoming.tmp`), on the same file system.
    pub tmp_dst_dir: PathBuf,
    /// Threads that write files, at least 1.
    pub workers: usize,
    /// No cycle is run while this many snapshots wait in `dst_dir`.
    pub queue_size: usize,
    /// Whether files and directory are synced to the disk before a snapshot is published.
    pub sync: bool,
    /// Whether a snapshot is published without the endpoints that failed.
    pub allow_partial: bool,
    /// The address of the monitor server; `None` is off.
    pub monitor_listen: Option<Listen>,
    /// The applications of uWSGI.
    pub uwsgi: Uwsgi,
    /// The instances of Zope.
    pub zope: Zope,
}

/// The treatment of a snapshot with some damaged files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PartialInput {
    /// The other files are folded, and the damaged ones are counted.
    Accept,
    /// The snapshot goes to `failed_dir`, and no line of it is sent.
    Refuse,
}

/// The metrics of one kind of proxy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Selection {
    /// The list in docs/metrics.md.
    Default,
    /// Every numeric column that can be folded, new ones included (`all`).
    All {
        /// Names to leave out (`-name`), each once.
        except: Vec<String>,
    },
    /// These in place of the default sums: each once, in the file's order. Names that
    /// `model::catalog` lacks may be columns of a newer HAProxy.
    Named(Vec<String>),
}

/// The configuration of haproxystats-process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// How much is logged.
    pub loglevel: LogLevel,
    /// The directory that is watched (`incoming`).
    pub src_dir: PathBuf,
    /// Fold children, at least 1.
    pub workers: usize,
    /// Time between two reports on itself, each with another try at snapshots that could not be
    /// read, moved or removed.
    pub liveness_check_interval: Duration,
    /// A fold child without progress for this time counts as hung.
    pub job_timeout: Duration,
    /// The treatment of a snapshot with some damaged files.
    pub partial_input: PartialInput,
    /// The directory of snapshots that cannot be processed, on the file system of `src_dir`.
    pub failed_dir: PathBuf,
    /// Snapshots kept in `failed_dir`, at least 1; the oldest are removed.
    pub failed_limit: usize,
    /// The tables to fold.
    pub tables: Tables,
    /// The outboxes: a folder for each receiver, with its [`ReceiverName`].
    pub outbox_dir: PathBuf,
    /// The address of the monitor server; `None` is off.
    pub monitor_listen: Option<Listen>,
    /// At least one: the unnamed Graphite first, the others in file order.
    pub receivers: Vec<Receiver>,
    /// The naming of the unnamed Graphite, on or off.
    pub naming: Naming,
}

/// The tables to fold of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tables {
    /// Metrics of frontends.
    pub frontend_metrics: Selection,
    /// Metrics of the daemon, from `show info`.
    pub daemon_metrics: Selection,
    /// Metrics of backends.
    pub backend_metrics: Selection,
    /// Metrics of servers within their backend.
    pub server_metrics: Selection,
    /// Whether servers are also summed over all backends.
    pub aggr_server_metrics: bool,
    /// Servers that a backend may have; above that, none of them has a row.
    pub max_servers_per_backend: Option<usize>,
    /// A file of frontend names to leave out, read again for each snapshot.
    pub exclude_frontends: Option<PathBuf>,
    /// A file of backend names to leave out, read again for each snapshot.
    pub exclude_backends: Option<PathBuf>,
    /// Whether each HAProxy process has a row.
    pub per_process_metrics: bool,
    /// Whether the four percentages are calculated.
    pub calculate_percentages: bool,
    /// Whether the states of frontends, backends and servers are folded.
    pub server_states: bool,
    /// Whether servers in maintenance in all current processes are left out.
    pub hide_maint: bool,
    /// Bytes that one file of a snapshot may have; a larger one is refused.
    pub file_limit: u64,
}

/// The names in a line's path, and the bound on a line's length.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Naming {
    /// First part of every path; may have dots.
    pub namespace: String,
    /// The part of the machine's name in the path.
    pub host: HostPart,
    /// The groups, if `group-namespace` is set or there are tags.
    pub groups: Option<Groups>,
    /// Whether host, group and names are tags in place of parts of the path.
    pub tags: bool,
    /// Bytes of the longest line that is sent, line feed included; `None` is no bound.
    pub max_line: Option<usize>,
}

/// The part of the machine's name in a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum HostPart {
    /// Nothing (`prefix-hostname = false`).
    None,
    /// The name up to its first dot (`fqdn = false`).
    Short,
    /// The whole name, dots as `_`.
    Full,
}

/// The groups in Graphite's paths or tags.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Groups {
    /// The path part before the group's name; empty with tags, which need none.
    pub namespace: String,
    /// Whether a grouped line is sent on its plain path too.
    pub double_writes: bool,
    /// The groups and their members.
    pub rules: GroupRules,
}

/// The three sections of groups.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupRules {
    /// `[frontend-groups]`, in file order.
    pub frontend: Vec<GroupRule>,
    /// `[backend-groups]`, in file order.
    pub backend: Vec<GroupRule>,
    /// `[server-groups]`, in file order.
    pub server: Vec<GroupRule>,
}

/// `NAME = REGEX`; the pattern is known to compile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupRule {
    /// The group's name, in lower case.
    pub name: String,
    /// A Python regular expression, searched in the cleaned name.
    pub pattern: String,
}

/// When a batch counts as delivered to Graphite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Confirm {
    /// Graphite has read the batch to its end and closed, after our half-close.
    Close,
    /// Graphite's TCP has acknowledged every byte.
    Tcp,
    /// Our kernel has taken every byte, on one lasting connection, as in the Python program.
    None,
}

/// The configuration of one receiver.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Receiver {
    /// Its section's name.
    pub name: ReceiverName,
    /// When a delivery is tried again.
    pub circuit: Circuit,
    /// The bounds of its outbox.
    pub outbox: Outbox,
    /// Its kind, with the options of that kind.
    pub kind: ReceiverKind,
}

/// When a failed receiver is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Circuit {
    /// Quick tries after a failed one, before the pause of `delay`.
    pub retries: Retries,
    /// First pause between tries.
    pub interval: Duration,
    /// Factor from one pause to the next, at least 1.
    pub backoff: f64,
    /// Pause once the quick tries are used up.
    pub delay: Duration,
}

/// The bounds of a receiver's outbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outbox {
    /// Bytes on disk, at least 1; beyond them the oldest batches are dropped.
    pub size_bytes: u64,
    /// Metrics on disk, at least 1, if the receiver's section has `queue-size`.
    pub metrics: Option<u64>,
    /// Metrics per second that leave the outbox; 0 is no limit.
    pub replay_rate: u64,
    /// Whether a batch is synced to the disk before its snapshot is released.
    pub sync: bool,
}

/// The kinds of receivers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ReceiverKind {
    /// Graphite's plaintext protocol.
    Graphite(Graphite),
    /// InfluxDB's line protocol over HTTP.
    InfluxDb(InfluxDb),
    /// A topic of Kafka.
    Kafka(Kafka),
    /// Files on this machine.
    LocalStore(LocalStore),
}

/// The options that only a Graphite has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Graphite {
    /// The servers in the order of the file, at least one, each once.
    pub servers: Vec<Address>,
    /// Which of several servers gets a batch.
    pub cluster: Cluster,
    /// The options of TLS, if it is on; then `confirm` is `close`.
    pub tls: Option<Tls>,
    /// Limit of one attempt to connect.
    pub connect_timeout: Duration,
    /// A peer that accepts no byte for this time is given up.
    pub write_timeout: Duration,
    /// When a batch counts as delivered.
    pub confirm: Confirm,
    /// Limit of the wait for the confirmation.
    pub confirm_timeout: Duration,
    /// The names in its lines' paths.
    pub naming: Naming,
}

/// Which of several servers gets a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cluster {
    /// The first that works, in the order of the file.
    Failover,
    /// Those that work, in turn.
    Any,
}

/// The options that only an InfluxDB has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InfluxDb {
    /// The server, and what precedes the paths of its API.
    pub url: Url,
    /// The place in the server, and the user.
    pub target: InfluxTarget,
    /// The options of TLS, if the URL asks for it.
    pub tls: Option<Tls>,
    /// Tags of every line.
    pub tags: Vec<(String, String)>,
    /// Whether fields and tags bear HAProxy's own names in place of telegraf's.
    pub keep_field_names: bool,
    /// The groups that give the tag `group`.
    pub groups: Option<GroupRules>,
    /// Whether requests are compressed.
    pub gzip: Gzip,
    /// Lines of one request, at least 1.
    pub batch_points: usize,
    /// Limit of one attempt to connect.
    pub connect_timeout: Duration,
    /// A peer that accepts no byte for this time is given up.
    pub write_timeout: Duration,
    /// Limit of the wait for an answer.
    pub timeout: Duration,
}

/// The place of the points in an InfluxDB.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum InfluxTarget {
    /// `/write`.
    V1 {
        /// The database.
        database: String,
        /// `None` is the database's default.
        retention_policy: Option<String>,
        /// The user; `None` sends no credentials.
        username: Option<String>,
        /// Read at each new connection; `None` is the empty password.
        password_file: Option<PathBuf>,
        /// Whether a database that is missing is made.
        create_database: bool,
    },
    /// `/api/v2/write`.
    V2 {
        /// The organisation; some servers need none.
        org: Option<String>,
        /// The bucket.
        bucket: String,
        /// Read at each new connection; `None` sends no credentials.
        token_file: Option<PathBuf>,
    },
}

/// The API that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum InfluxApi {
    /// [`Self::V2`] if a bucket is set.
    Auto,
    /// `/write`.
    V1,
    /// `/api/v2/write`.
    V2,
}

/// Whether requests are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Gzip {
    /// Not to an address of the loopback.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The options of TLS.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tls {
    /// Authorities that are trusted; `None` trusts those of the system.
    pub ca_file: Option<PathBuf>,
    /// Our own certificate; set together with `key`.
    pub certificate: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
    /// The name in the server's certificate, if it is not the host.
    pub server_name: Option<String>,
}

/// The options that only a local-store has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalStore {
    /// The directory of the files `<timestamp>/stats`.
    pub dir: PathBuf,
    /// Age after which our own directories are removed; `None` keeps all.
    pub retention: Option<Duration>,
    /// The naming of the unnamed Graphite, because a file has the lines that Graphite gets. It has
    /// no bound on a line's length.
    pub naming: Naming,
}
