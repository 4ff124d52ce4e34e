//! The program haproxystats-pull: each cycle asks every endpoint and publishes the answers as one
//! snapshot ([`run()`]). The crate `sources` defines the requests, and when an answer is whole. Two
//! commands ask the endpoints too: [`once()`] writes one snapshot, [`check()`] none.
//!
//! One thread, the caller's, waits for sockets and never touches a disk. `workers` threads move
//! answers from sockets to files. tokio's threads for blocking work do all other work on the disk.
//! An endpoint that fails never disturbs the connections of the others. Without `allow-partial`
//! such a cycle publishes no snapshot, because sums over some endpoints would look like a drop.
//! Answers go to their files as they come, so the buffers bound the memory.

mod check;
mod client;
mod cycle;
mod disk;
mod endpoint;
mod failure;
mod history;
mod journal;
mod leftovers;
mod lookups;
mod masters;
mod monitor;
mod no_snapshot;
mod once;
mod responses;
mod run;
mod stream;
mod transfer;
mod writers;

pub use check::{CheckVerdict, EndpointCheck, check};
pub use once::once;
pub use run::run;

use std::io;
use std::path::PathBuf;

use daemon::monitor::ListenError;
use daemon::{Clock, remedy};

use no_snapshot::NoSnapshot;

/// The machine that pulls. The crate reads no clock, host name or random number by itself, so that
/// a test can set them.
#[derive(Debug, Clone)]
pub struct Machine {
    /// The origin of each snapshot.
    pub name: String,
    /// The clocks.
    pub clock: Clock,
    /// Gives the serial of a snapshot.
    pub random: fn() -> u64,
}

/// Why pulling cannot begin, or why a command fails. Later failures of the service are logged, and
/// the next cycle tries again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration names no endpoint.
    #[error(
        "nothing to ask: set socket-dir, servers or masters in section [pull], servers in [uwsgi], \
         or servers or deployments in [zope]"
    )]
    NothingToAsk,
    /// The address of the monitor server cannot be had.
    #[error(transparent)]
    Monitor(#[from] ListenError),
    /// Snapshots could not be published.
    #[error(transparent)]
    Spool(#[from] spool::writer::Error),
    /// The threads that read answers and write files do not start.
    #[error("cannot start {count} threads for writing files: {source}{}", remedy::of(source))]
    Threads {
        /// The number of `workers`.
        count: usize,
        /// The error of the system.
        source: io::Error,
    },
    /// Preparing the directories panicked.
    #[error("cannot prepare the directories: {0}")]
    Opening(String),
    /// A command found no endpoint or got no answer, or its snapshot could not be published. The
    /// text is that of the service's log.
    #[error("{0}")]
    NoSnapshot(String),
    /// The parent of the directory for one snapshot is missing.
    #[error("cannot create directory {directory:?}: make its parent first, or name another one")]
    NoParent {
        /// The directory.
        directory: PathBuf,
    },
    /// The directory for one snapshot belongs to the service.
    #[error(
        "{directory:?} is or lies in {option} ({spool_dir:?}), where the service would take the \
         snapshot away; name another directory"
    )]
    InSpool {
        /// The directory.
        directory: PathBuf,
        /// The option that names the service's directory.
        option: &'static str,
        /// The service's directory.
        spool_dir: PathBuf,
    },
    /// Another process writes one snapshot into the same directory.
    #[error(
        "another haproxystats-pull --once{} writes to {directory:?}; wait for its end, or name \
         another directory",
        by.as_ref().map(|by| format!(" ({by})")).unwrap_or_default()
    )]
    InUse {
        /// The directory.
        directory: PathBuf,
        /// The process, if it is known.
        by: Option<String>,
    },
    /// The end was asked for before the snapshot was published.
    #[error("no snapshot: ended by {reason} before one was published in {directory:?}")]
    Interrupted {
        /// The reason of the end, such as the name of a signal.
        reason: &'static str,
        /// The directory.
        directory: PathBuf,
    },
    /// As before, and the disk did not answer in time.
    #[error(
        "ended by {reason} while the disk of {directory:?} hangs; look at that disk, and at what \
         is in the directory: the next --once removes what was not finished"
    )]
    Hangs {
        /// The reason of the end, such as the name of a signal.
        reason: &'static str,
        /// The directory.
        directory: PathBuf,
    },
}

impl From<NoSnapshot> for Error {
    fn from(reason: NoSnapshot) -> Self {
        // The log has the directory in a field.
        if let NoSnapshot::NoSocket(Some(socket_dir)) = &reason {
            return Self::NoSnapshot(format!("{reason} (socket-dir {socket_dir:?})"));
        }
        Self::NoSnapshot(reason.to_string())
    }
}

impl Error {
    /// Whether the configuration must change before another try can succeed.
    #[must_use]
    pub const fn is_configuration(&self) -> bool {
        if let Self::Monitor(error) = self {
            return error.is_configuration();
        }
        use spool::writer::Error::{Nested, OtherFileSystem};
        matches!(
            self,
            Self::NothingToAsk
                | Self::InSpool { .. }
                | Self::Spool(OtherFileSystem { .. } | Nested { .. })
        )
    }
}
