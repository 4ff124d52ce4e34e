//! Logs go to stderr, one line an event, the fields behind the message: stdout belongs to a worker's protocol.
//!
//! A line that cannot be written, because the disk is full or the reader of a pipe has gone, is
//! lost and costs nothing else: statistics go on. A pipe whose reader lives but does not read is
//! different: once it is full, write(2) blocks whichever thread logs.

use tracing_subscriber::filter::LevelFilter;

/// Starts logging up to `level`. A second call changes nothing.
pub fn start(level: LevelFilter) {
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_target(false)
        .with_ansi(false)
        .with_writer(std::io::stderr)
        // Else a failed write is told on stderr too, which panics.
        .log_internal_errors(false)
        .finish();
    // Fails only where a subscriber stands already, as in tests that call a program's `run` twice.
    let _ = tracing::subscriber::set_global_default(subscriber);
}
