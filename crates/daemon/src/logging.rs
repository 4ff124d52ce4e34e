//! Logs go to stderr, one line an event, the fields behind the message: stdout belongs to a worker's protocol.
//!
//! A log that cannot be written (a full disk, a pipe that nobody reads) is lost and costs nothing else: statistics go on.

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
