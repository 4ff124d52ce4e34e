//! haproxystats-process: watches the spool, hands snapshots to worker processes, sees them delivered.
//!
//! The parent decides, the workers work. Its main thread makes the children and chooses what is next; a thread watches
//! the spool; a keeper thread owns each worker; a thread sends what the outbox holds. All of them meet in channels, none polls.

mod circuit;
mod gate;
mod keeper;
mod outbound;
mod parent;
mod protocol;
mod queue;
mod replay;
mod statistics;
mod telemetry;
pub mod worker;

use std::ffi::OsString;
use std::io;
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};
use daemon::{Clock, Service};
use spool::watch::Watch;
use thiserror::Error;

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
    /// The outbox cannot be used.
    #[error(transparent)]
    Outbox(dispatch::outbox::Error),
    /// A path cannot be made.
    #[error("metrics cannot be named: {0}")]
    Naming(String),
    /// A thread ended by itself.
    #[error("{0} ended by itself; please report this with the lines of the log before it")]
    Ended(&'static str),
    /// The system gives no thread.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] io::Error),
}

/// Names on their way from the watcher; when these wait, the watcher waits.
const FOUND_MAX: usize = 64;

/// The two ends by which a program is told to end, with the name of the signal.
#[must_use]
pub fn shutdown_channel() -> (Sender<&'static str>, Receiver<&'static str>) {
    bounded(1)
}

/// Runs until `shutdown` says a word or closes: then what the workers hold is finished, and what is not begun stays.
///
/// Call it from the main thread: children die with the thread that made them.
///
/// # Errors
///
/// The spool cannot be watched, another process reads it, the outbox cannot be used, or the system gives no thread.
pub fn run(settings: Settings, shutdown: &Receiver<&'static str>) -> Result<(), Error> {
    let src_dir = settings.config.src_dir.clone();
    let mut watch = Watch::start(&src_dir, settings.clock.monotonic)?;
    spool::reader::clean(&src_dir)?;
    let stopper = watch.stopper();
    let (found_sender, found) = bounded(FOUND_MAX);
    let watcher = thread::Builder::new().name("watch".into()).spawn(move || {
        while let Some(snapshot) = watch.next() {
            if found_sender.send(snapshot).is_err() {
                break;
            }
        }
    })?;
    let mut parent = Parent::start(settings, found)?;
    let result = parent.run(shutdown);
    parent.end();
    // The watcher may wait for room in a channel that nobody reads any more.
    drop(parent);
    stopper.stop();
    let _ = watcher.join();
    result
}
