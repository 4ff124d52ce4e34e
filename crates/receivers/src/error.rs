//! Why a batch was not delivered, in words that tell an operator where to look.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use daemon::remedy;
use thiserror::Error;

/// Why a batch was not delivered.
#[derive(Debug, Error)]
pub enum Error {
    /// The name of the server has no address.
    #[error("graphite {address} does not resolve: {source}; check [graphite] server")]
    Resolve {
        /// Server and port, or the socket.
        address: String,
        /// The system's error.
        source: io::Error,
    },
    /// No address of the server accepts a connection.
    #[error("graphite {address} takes no connection: {source}{}", remedy_or_check(source))]
    Connect {
        /// Server and port, or the socket.
        address: String,
        /// The system's error for the last address.
        source: io::Error,
    },
    /// The receiver accepted no byte for write-timeout.
    #[error(
        "graphite {address} accepted no byte for {}s (write-timeout), {} bytes sent; look at its \
         load and its disk",
        timeout.as_secs_f64(),
        so_far(*sent, *total)
    )]
    Stalled {
        /// Server and port, or the socket.
        address: String,
        /// `write-timeout`.
        timeout: Duration,
        /// Bytes that our kernel took.
        sent: u64,
        /// Bytes of the batch, if that is known.
        total: Option<u64>,
    },
    /// The connection broke.
    #[error(
        "the connection to graphite {address} broke after {} bytes: {source}; look at its log, and \
         at what is in between",
        so_far(*sent, *total)
    )]
    Broken {
        /// Server and port, or the socket.
        address: String,
        /// Bytes that our kernel took.
        sent: u64,
        /// Bytes of the batch, if that is known.
        total: Option<u64>,
        /// The system's error.
        source: io::Error,
    },
    /// The receiver closed before we half-closed.
    #[error(
        "graphite {address} closed before the end of the batch; if it always does, something in \
         between closes: look there{}",
        remedy.map_or_else(String::new, |word| format!(", or set [graphite] confirm = {word}"))
    )]
    ClosedEarly {
        /// Server and port, or the socket.
        address: String,
        /// The setting that asks for less, if there is one.
        remedy: Option<&'static str>,
    },
    /// The receiver neither closed nor acknowledged within confirm-timeout.
    #[error(
        "graphite {address} took the batch but {missing} within {}s (confirm-timeout); {}",
        timeout.as_secs_f64(),
        remedy.map_or_else(
            || "look at its log".to_owned(),
            |word| format!("if it never does, set [graphite] confirm = {word}")
        )
    )]
    Unconfirmed {
        /// Server and port, or the socket.
        address: String,
        /// The confirmation that is missing.
        missing: &'static str,
        /// `confirm-timeout`.
        timeout: Duration,
        /// The setting that asks for less, if there is one.
        remedy: Option<&'static str>,
    },
    /// The receiver closed and never acknowledged some bytes.
    #[error(
        "graphite {address} closed with {bytes} bytes unacknowledged; look at what is in between"
    )]
    Unacknowledged {
        /// Server and port, or the socket.
        address: String,
        /// How many bytes.
        bytes: usize,
    },
    /// TLS failed: our files, the handshake, or a refusal after it.
    #[error("graphite {address} {text}")]
    Tls {
        /// Server and port.
        address: String,
        /// What happened, and what to do.
        text: String,
    },
    /// No server of a list took the batch.
    #[error("no server took the batch: {}", joined(errors))]
    Servers {
        /// The failure of each server that was tried.
        errors: Vec<Self>,
    },
    /// An InfluxDB did not store the batch.
    #[error("{text}")]
    InfluxDb {
        /// The URL, what happened, and what to do.
        text: String,
        /// The pause that it asks for.
        wait: Option<Duration>,
    },
    /// The receiver refuses the batch, which may be because of the batch or because of its state.
    #[error("{reason}")]
    Doubtful {
        /// The receiver, its answer, and what to do.
        reason: String,
    },
    /// The receiver takes batches, but not this one.
    #[error("{reason}")]
    Rejected {
        /// The receiver, its answer, and what to do.
        reason: String,
    },
    /// Kafka.
    #[cfg(feature = "kafka")]
    #[error(transparent)]
    Kafka(#[from] crate::kafka::Failure),
    /// The batch itself cannot be read.
    #[error("{source}")]
    Unreadable {
        /// The damage and its place, or the system's error.
        source: io::Error,
    },
    /// local-store cannot be written.
    #[error(
        "local-store cannot write {path:?}: {source}{}, or remove [local-store]",
        remedy_or(source, "; check its dir")
    )]
    Store {
        /// The file or directory.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

impl Error {
    /// How long the receiver asks us to wait before the next try.
    #[must_use]
    pub const fn wait(&self) -> Option<Duration> {
        match self {
            Self::InfluxDb { wait, .. } => *wait,
            _ => None,
        }
    }
}

/// What an operator can do about a refused connection.
pub(crate) fn remedy_or_check(error: &io::Error) -> &'static str {
    remedy_or(error, "; check that it runs and listens there")
}

/// The remedy for an error, or another one if none is known.
fn remedy_or(error: &io::Error, otherwise: &'static str) -> &'static str {
    match remedy::of(error) {
        "" => otherwise,
        remedy => remedy,
    }
}

fn joined(errors: &[Error]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join(". ")
}

fn so_far(sent: u64, total: Option<u64>) -> String {
    total.map_or_else(|| sent.to_string(), |total| format!("{sent} of {total}"))
}
