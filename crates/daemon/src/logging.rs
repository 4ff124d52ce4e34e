//! Logs go to stderr, because stdout belongs to the protocol of a child. One event is one line,
//! with the fields after the message.
//!
//! A line that cannot be written, because the disk is full or the reader of a pipe has ended, is
//! lost, and the program goes on. A full pipe whose reader does not read is different: write(2)
//! blocks the thread that logs.

use tracing_subscriber::filter::LevelFilter;

/// Starts logging up to `level`. A second call changes nothing.
pub fn start(level: LevelFilter) {
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_target(false)
        .with_ansi(false)
        .with_writer(std::io::stderr)
        // Without this, a failed write is reported on stderr too, which panics.
        .log_internal_errors(false)
        .finish();
    // Fails only if there is a subscriber already, as in tests that call a program's `run` twice.
    let _ = tracing::subscriber::set_global_default(subscriber);
}
