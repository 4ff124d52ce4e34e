//! haproxystats-process: watches the spool, hands snapshots to worker processes, sees them delivered.
//!
//! The parent decides, the workers work. Its main thread makes the children and chooses what is
//! next; a thread watches the spool; a keeper thread owns each worker; a thread sends what the
//! outbox holds; one deletes what is done. All of them meet in channels.

mod circuit;
pub mod core;
pub mod entry;
mod gate;
mod housekeeping;
mod keeper;
mod lingering;
mod notes;
mod outbound;
mod parent;
mod protocol;
mod queue;
mod replay;
mod states;
mod statistics;
mod telemetry;
pub mod worker;

use std::ffi::OsString;
use std::io;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use daemon::{Clock, Service};
use spool::failed::Unfit;
use spool::watch::Watch;
use thiserror::Error;
use tracing::warn;

use crate::parent::Parent;

/// What the program is given by `bin`, since nothing below reads it by itself.
#[derive(Debug)]
pub struct Settings {
    /// The configuration.
    pub config: config::Process,
    /// The clocks.
    pub clock: Clock,
    /// Who started us and wants to know how we are.
    pub service: Service,
    /// This machine's name.
    pub host: String,
    /// Our own command line; workers bear the same, so that a look at the process list tells what they are.
    pub arguments: Vec<OsString>,
}

/// The program cannot run.
#[derive(Debug, Error)]
pub enum Error {
    /// The spool cannot be watched.
    #[error(transparent)]
    Watch(#[from] spool::watch::Error),
    /// The spool cannot be read.
    #[error(transparent)]
    Spool(#[from] spool::reader::Error),
    /// Snapshots could not be moved aside.
    #[error(transparent)]
    FailedDir(#[from] Unfit),
    /// The outbox cannot be used.
    #[error(transparent)]
    Outbox(receivers::outbox::Error),
    /// A path cannot be made.
    #[error("metrics cannot be named: {0}")]
    Naming(String),
    /// A thread ended by itself.
    #[error("{0} ended by itself; please report this with the lines of the log before it")]
    Ended(&'static str),
    /// The system gives no thread.
    #[error("cannot start the thread {name}: {source}{}", daemon::remedy::of(source))]
    Thread {
        /// What it is for.
        name: String,
        /// What the system said.
        source: io::Error,
    },
}

impl Error {
    /// Whether the configuration must change before another try can succeed.
    #[must_use]
    pub const fn is_configuration(&self) -> bool {
        matches!(self, Self::FailedDir(Unfit::OtherFileSystem { .. }))
    }
}

/// Names on their way from the watcher; when these wait, the watcher waits.
const FOUND_MAX: usize = 64;

/// How long the end waits for the watch, which ends at once unless its file system hangs.
const WATCH_GRACE: Duration = Duration::from_secs(1);

/// The two ends by which a program is told to end, with the name of the signal.
#[must_use]
pub fn shutdown_channel() -> (Sender<&'static str>, Receiver<&'static str>) {
    bounded(1)
}

/// Runs until `shutdown` receives a signal's name or closes: then what the workers hold is
/// finished, and what is not begun stays.
///
/// Call it from the main thread: children die with the thread that made them.
///
/// # Errors
///
/// The spool cannot be watched, another process reads it, the outbox cannot be used, or the system gives no thread.
pub fn run(settings: Settings, shutdown: &Receiver<&'static str>) -> Result<(), Error> {
    let src_dir = settings.config.src_dir.clone();
    let mut spool = Watch::start(&src_dir, settings.clock.monotonic)?;
    match spool::failed::prepare(&src_dir, &settings.config.failed_dir) {
        // A full disk must not keep the spool from being emptied.
        Err(error @ Unfit::Unusable { .. }) => {
            warn!("{error}; until then snapshots that cannot be processed stay in src-dir");
        }
        prepared => prepared?,
    }
    let stopper = spool.stopper();
    let (found_sender, found) = bounded(FOUND_MAX);
    // Dropped with the thread, so that its end can be waited for with a limit.
    let (watching, watch_ended) = bounded::<()>(0);
    let watch = move || {
        let _watching = watching;
        while let Some(snapshot) = spool.next() {
            if found_sender.send(snapshot).is_err() {
                break;
            }
        }
    };
    parent::spawn_thread("watch", watch)?;
    let mut parent = Parent::start(settings, found)?;
    let result = parent.run(shutdown);
    parent.end();
    // The watcher may wait for room in a channel that nobody reads any more.
    drop(parent);
    stopper.stop();
    // A file system that hangs keeps this thread, and must not keep the program.
    let _ = watch_ended.recv_timeout(WATCH_GRACE);
    result
}
