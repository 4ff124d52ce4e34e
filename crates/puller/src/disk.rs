//! Work on the disk, on tokio's pool of threads that may block, so that the one thread of the
//! sockets never waits for a disk.
//!
//! One piece of work at a time is waited for, so that a disk that hangs holds one thread and not
//! one more for each cycle. The end of the program waits for what is under way, within a bound:
//! each piece of work, and each staged snapshot, holds a sender of a channel that [`Ends`] watches.

use std::convert::Infallible;

use spool::writer::Staging;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tracing::dispatcher::{self, Dispatch};
use tracing::warn;

use crate::journal::{Doing, Journal};
use crate::writers::Broken;

/// The pool.
#[derive(Debug, Clone)]
pub(crate) struct Disk {
    journal: Journal,
    runtime: Handle,
    under_way: mpsc::Sender<Infallible>,
}

/// Tells when nothing is under way any more.
#[derive(Debug)]
pub(crate) struct Ends(mpsc::Receiver<Infallible>);

/// A staged snapshot. Dropped anywhere, it is removed by the pool.
#[derive(Debug)]
pub(crate) struct Staged {
    staging: Option<Staging>,
    disk: Disk,
}

impl Disk {
    /// Needs to be called in a runtime, whose pool it is.
    pub(crate) fn new(journal: Journal) -> (Self, Ends) {
        let (under_way, ends) = mpsc::channel(1);
        (Self { journal, runtime: Handle::current(), under_way }, Ends(ends))
    }

    /// Has the pool do `work` and waits for it. Once begun, it is done to its end, whoever waits.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        doing: Doing<'_>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Broken> {
        let done = self.journal.patiently(doing, self.spawn(work)).await;
        done.map_err(|error| if error.is_panic() { Broken::Panicked } else { Broken::Gone })
    }

    /// Takes charge of a staged snapshot.
    pub(crate) fn hold(&self, staging: Staging) -> Staged {
        Staged { staging: Some(staging), disk: self.clone() }
    }

    fn spawn<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        // What is logged on the way goes where the caller's log goes.
        let log = dispatcher::get_default(Dispatch::clone);
        let under_way = self.under_way.clone();
        self.runtime.spawn_blocking(move || {
            let result = dispatcher::with_default(&log, work);
            drop(under_way);
            result
        })
    }
}

impl Ends {
    /// Waits until all work has ended. No [`Disk`] may be kept elsewhere.
    pub(crate) async fn wait(mut self) {
        // Nothing is ever sent: this ends when the last sender goes.
        let _ = self.0.recv().await;
    }
}

impl Staged {
    pub(crate) const fn get(&self) -> Option<&Staging> {
        self.staging.as_ref()
    }

    /// The snapshot itself, to be worked on by the pool.
    pub(crate) fn take(mut self) -> Option<Staging> {
        self.staging.take()
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        let Some(staging) = self.staging.take() else { return };
        // Nobody waits for it, only the end of the program.
        drop(self.disk.spawn(move || {
            if let Err(error) = staging.abandon() {
                warn!("{error}");
            }
        }));
    }
}
