//! What the two programs run on: every value typed, in range and complete, so that nothing below
//! reads a string again.
//!
//! The values serialize, because a worker process gets its part from the parent and never reads the
//! file itself: a file that is edited under a running parent cannot give two workers two opinions.

use std::path::PathBuf;
use std::time::Duration;

use model::ReceiverName;
use serde::{Deserialize, Serialize};

/// How much is logged, in the words of the configuration file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogLevel {
    /// Everything, for finding a fault.
    Debug,
    /// One line per cycle and per snapshot.
    Info,
    /// What an operator should look at.
    Warning,
    /// What failed.
    Error,
    /// As `Error`: we know nothing graver that does not end the program.
    Critical,
}

/// How often a failed attempt is made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Retries {
    /// That many times after the first attempt.
    Times(u32),
    /// Without end (`-1` in the file).
    Forever,
}

/// One stats socket, as `servers` names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Address {
    /// `unix:///path`.
    Unix(PathBuf),
    /// `tcp://host:port`; the host in lower case, an IPv6 address without its brackets.
    Tcp {
        /// A name or an address.
        host: String,
        /// The port; there is no default.
        port: u16,
    },
}

/// What haproxystats-pull runs on.
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
}

/// What becomes of a snapshot of which some files are damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PartialInput {
    /// The other files are folded, and the damaged ones are counted.
    Accept,
    /// The snapshot goes to `failed_dir`, and no line of it is sent.
    Refuse,
}

/// Which metrics of one kind of proxy are asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Selection {
    /// The list that docs/metrics.md gives.
    Default,
    /// Every numeric column that can be folded (`all`).
    All,
    /// These in place of the default sums, each once, in the file's order, each known to
    /// `model::catalog`.
    Named(Vec<String>),
}

/// What haproxystats-process runs on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// How much is logged.
    pub loglevel: LogLevel,
    /// The directory that is watched (`incoming`).
    pub src_dir: PathBuf,
    /// Worker processes, at least 1.
    pub workers: usize,
    /// Time between two reports on itself, each with another try at snapshots that could not be
    /// read, moved or removed.
    pub liveness_check_interval: Duration,
    /// A worker without progress for so long counts as hung.
    pub job_timeout: Duration,
    /// What becomes of a snapshot of which some files are damaged.
    pub partial_input: PartialInput,
    /// Where snapshots go that cannot be processed, on the file system of `src_dir`.
    pub failed_dir: PathBuf,
    /// Snapshots kept there, at least 1; the oldest go.
    pub failed_limit: usize,
    /// What is folded.
    pub tables: Tables,
    /// Where batches wait for their receivers, in a folder for each; [`ReceiverName`] is its name.
    pub outbox_dir: PathBuf,
    /// At least one: the unnamed Graphite first, the others in file order.
    pub receivers: Vec<Receiver>,
}

/// What of a snapshot is read and how it is folded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tables {
    /// Metrics of frontends.
    pub frontend_metrics: Selection,
    /// Metrics of backends.
    pub backend_metrics: Selection,
    /// Metrics of servers within their backend.
    pub server_metrics: Selection,
    /// Whether servers are also summed over all backends.
    pub aggr_server_metrics: bool,
    /// A file of frontend names to leave out, read again for each snapshot.
    pub exclude_frontends: Option<PathBuf>,
    /// A file of backend names to leave out, read again for each snapshot.
    pub exclude_backends: Option<PathBuf>,
    /// Whether each process gets lines of its own.
    pub per_process_metrics: bool,
    /// Whether the four percentages are calculated.
    pub calculate_percentages: bool,
    /// Bytes that one file of a snapshot may have; a larger one is refused.
    pub file_limit: u64,
}

/// How a line's path begins and where groups stand in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Naming {
    /// First part of every path; may hold dots.
    pub namespace: String,
    /// What of this machine's name is in the path.
    pub host: HostPart,
    /// Groups, where `group-namespace` is set.
    pub groups: Option<Groups>,
}

/// What of this machine's name is in a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum HostPart {
    /// Nothing (`prefix-hostname = false`).
    None,
    /// The name up to its first dot (`fqdn = false`).
    Short,
    /// The whole name, dots as `_`.
    Full,
}

/// The three sections of groups.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Groups {
    /// The path part before the group's name.
    pub namespace: String,
    /// Whether a grouped line is sent on its plain path too.
    pub double_writes: bool,
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

/// When Graphite counts as having a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Confirm {
    /// It has read the batch to its end and closed (half-close, then the peer's close).
    Close,
    /// Its TCP has acknowledged every byte.
    Tcp,
    /// Our kernel has taken every byte, on one lasting connection, as the original.
    None,
}

/// What one receiver runs on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Receiver {
    /// Its section's name.
    pub name: ReceiverName,
    /// When it is tried again.
    pub circuit: Circuit,
    /// What waits for it on disk.
    pub outbox: Outbox,
    /// Its kind, with the settings that only this kind has.
    pub kind: ReceiverKind,
}

/// When a receiver that failed is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Circuit {
    /// Quick tries after a failed one before `delay` is waited.
    pub retries: Retries,
    /// First pause between tries.
    pub interval: Duration,
    /// Factor from one pause to the next, at least 1.
    pub backoff: f64,
    /// Pause once the quick tries are used up.
    pub delay: Duration,
}

/// The bounds of the batches that wait for a receiver on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outbox {
    /// Bytes that may wait, at least 1; over it the oldest batches go.
    pub size_bytes: u64,
    /// Metrics that may wait, at least 1, where the receiver's own section has `queue-size`.
    pub metrics: Option<u64>,
    /// Metrics per second that leave it; 0 is no limit.
    pub replay_rate: u64,
    /// Whether a batch is synced to the disk before its snapshot goes.
    pub sync: bool,
}

/// The kinds of receivers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ReceiverKind {
    /// Graphite's plaintext protocol.
    Graphite(Graphite),
    /// Files on this machine.
    LocalStore(LocalStore),
}

/// What a Graphite needs beside what every receiver has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Graphite {
    /// A name or an address.
    pub server: String,
    /// The port of the plaintext receiver.
    pub port: u16,
    /// Limit of one attempt to connect.
    pub connect_timeout: Duration,
    /// No byte accepted for so long means a dead peer.
    pub write_timeout: Duration,
    /// When a batch counts as delivered.
    pub confirm: Confirm,
    /// Limit of the wait for that.
    pub confirm_timeout: Duration,
    /// What its lines are called.
    pub naming: Naming,
}

/// What a local-store needs beside what every receiver has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalStore {
    /// `<dir>/<timestamp>/stats` is written.
    pub dir: PathBuf,
    /// Age after which our own directories go; `None` keeps all.
    pub retention: Option<Duration>,
    /// The unnamed Graphite's: a file holds the lines that Graphite gets.
    pub naming: Naming,
}
