//! Why a batch was not delivered, in words that tell an operator where to look.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use daemon::remedy;
use thiserror::Error;

/// Why a batch was not delivered.
#[derive(Debug, Error)]
pub enum Error {
    /// The name of the server leads nowhere.
    #[error("graphite {address} does not resolve: {source}; check [graphite] server")]
    Resolve {
        /// Server and port.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// No address of the server takes a connection.
    #[error("graphite {address} takes no connection: {source}{}", or_look(source))]
    Connect {
        /// Server and port.
        address: String,
        /// What the system said of the last address.
        source: io::Error,
    },
    /// It accepted no byte for write-timeout.
    #[error(
        "graphite {address} accepted no byte for {}s (write-timeout), {} bytes sent; look at its \
         load and its disk",
        timeout.as_secs_f64(),
        so_far(*sent, *total)
    )]
    Stalled {
        /// Server and port.
        address: String,
        /// The limit.
        timeout: Duration,
        /// Bytes that our kernel took.
        sent: u64,
        /// Bytes of the batch, where that is known.
        total: Option<u64>,
    },
    /// The connection broke.
    #[error(
        "the connection to graphite {address} broke after {} bytes: {source}; look at its log, and \
         at what is in between",
        so_far(*sent, *total)
    )]
    Broken {
        /// Server and port.
        address: String,
        /// Bytes that our kernel took.
        sent: u64,
        /// Bytes of the batch, where that is known.
        total: Option<u64>,
        /// What the system said.
        source: io::Error,
    },
    /// It closed before we had said that the batch ends.
    #[error(
        "graphite {address} closed before the end of the batch; if it always does, something in between closes: \
         look there, or set [graphite] confirm = tcp"
    )]
    ClosedEarly {
        /// Server and port.
        address: String,
    },
    /// It neither closed nor acknowledged within confirm-timeout.
    #[error(
        "graphite {address} took the batch but {missing} within {}s (confirm-timeout); if it never does, set \
         [graphite] confirm = {remedy}",
        timeout.as_secs_f64()
    )]
    Unconfirmed {
        /// Server and port.
        address: String,
        /// What did not come.
        missing: &'static str,
        /// The limit.
        timeout: Duration,
        /// The setting that asks for less.
        remedy: &'static str,
    },
    /// It closed with bytes on the way that it never acknowledged.
    #[error(
        "graphite {address} closed with {bytes} bytes unacknowledged; look at what is in between"
    )]
    Unacknowledged {
        /// Server and port.
        address: String,
        /// How many.
        bytes: usize,
    },
    /// The batch itself cannot be read.
    #[error("{source}")]
    Unreadable {
        /// What is wrong with it, and where it lies.
        source: io::Error,
        /// Whether a part of it has been sent.
        begun: bool,
    },
    /// local-store cannot be written.
    #[error(
        "local-store cannot write {path:?}: {source}{}, or remove [local-store]",
        remedy::of(source)
    )]
    Store {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// What to do about a connection that was refused: mostly the fault is at the other end.
fn or_look(error: &io::Error) -> &'static str {
    match remedy::of(error) {
        "" => "; check that it runs and listens there",
        remedy => remedy,
    }
}

fn so_far(sent: u64, total: Option<u64>) -> String {
    total.map_or_else(|| sent.to_string(), |total| format!("{sent} of {total}"))
}
