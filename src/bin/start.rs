//! Resources that the system can refuse at the start, with messages that tell what to do; the start
//! of logging, and the warnings about the configuration.

use std::error::Error;
use std::fs::File;
use std::io;
use std::thread;
use std::time::{Instant, SystemTime};

use config::{Config, LogLevel};
use daemon::{Clock, LevelFilter, logging, remedy};
use tracing::warn;

/// Files that are open after a start with one endpoint.
const FILES: usize = 16;

/// Tries to get the resources that tokio's runtime needs, because the runtime panics without them.
pub(crate) fn check_resources() -> Result<(), Box<dyn Error>> {
    let files: io::Result<Vec<File>> = (0..FILES).map(|_| File::open("/dev/null")).collect();
    files.map_err(|error| refused("cannot open the files that a start needs", &error))?;
    let thread = thread::Builder::new().spawn(|| {});
    thread.map_err(|error| refused("cannot start a thread", &error))?;
    Ok(())
}

/// The message for an error at the start.
pub(crate) fn refused(tried: &str, error: &io::Error) -> Box<dyn Error> {
    format!("{tried}: {error}{}", remedy::of(error)).into()
}

/// The clocks of the system.
pub(crate) fn clock() -> Clock {
    Clock { wall: SystemTime::now, monotonic: Instant::now }
}

/// The name of this machine, as uname(2) has it.
pub(crate) fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Logs the warnings about the configuration.
pub(crate) fn log_warnings(config: &Config) {
    for warning in &config.warnings {
        warn!("{warning}");
    }
}

/// Starts logging of a command that ends by itself: it says why it fails and what is odd, whatever
/// the service logs, and its output has no lines of the service's course in between.
pub(crate) fn start_command_logging(level: LogLevel) {
    start_logging(match level {
        LogLevel::Debug => LogLevel::Debug,
        _ => LogLevel::Warning,
    });
}

/// Starts logging at the level that the configuration asks for.
pub(crate) fn start_logging(level: LogLevel) {
    logging::start(match level {
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warning => LevelFilter::WARN,
        LogLevel::Error | LogLevel::Critical => LevelFilter::ERROR,
    });
}
