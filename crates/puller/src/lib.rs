//! The program haproxystats-pull: each cycle asks every endpoint and publishes the answers as one
//! snapshot. The crate `sources` defines the requests, and when an answer is whole.
//!
//! One thread, the caller's, waits for sockets and never touches a disk. `workers` threads move
//! answers from sockets to files. tokio's threads for blocking work do all other work on the disk.
//! An endpoint that fails never disturbs the connections of the others. Without `allow-partial`
//! such a cycle publishes no snapshot, because sums over some endpoints would look like a drop.
//! Answers go to their files as they come, so the buffers bound the memory.

mod client;
mod cycle;
mod disk;
mod endpoint;
mod failure;
mod history;
mod journal;
mod leftovers;
mod lookups;
mod no_snapshot;
mod responses;
mod run;
mod stream;
mod transfer;
mod writers;

pub use run::run;

use std::io;

use daemon::{Clock, remedy};

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

/// Why pulling cannot begin. Later failures are logged, and the next cycle tries again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration names no endpoint.
    #[error("nothing to ask: set socket-dir, servers or both in section [pull]")]
    NothingToAsk,
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
    #[error("cannot prepare tmp-dst-dir and dst-dir: {0}")]
    Opening(String),
}

impl Error {
    /// Whether the configuration must change before another try can succeed.
    #[must_use]
    pub const fn is_configuration(&self) -> bool {
        use spool::writer::Error::{Nested, OtherFileSystem};
        matches!(self, Self::NothingToAsk | Self::Spool(OtherFileSystem { .. } | Nested { .. }))
    }
}
