//! States that last are logged when they begin, when they change and when they end.
//!
//! Whoever finds a state asks here for a [`Line`] and logs if it is due. A journal is shared by all
//! who work on a cycle.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use daemon::conditions::Line;
use daemon::{Clock, Conditions, Service};
use tracing::{info, warn};

/// Endpoints whose states are kept.
const ENDPOINTS_MAX: usize = 4096;

/// States of the program and of its disks.
const STATES_MAX: usize = 256;

/// How long a disk may take for one piece of work before it is said to hang.
const DISK_PATIENCE: Duration = Duration::from_secs(3);

/// What lasts, and was logged.
#[derive(Debug, Clone)]
pub(crate) struct Journal {
    clock: Clock,
    service: Service,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Debug)]
struct Kept {
    endpoints: Conditions,
    states: Conditions,
}

/// Work on the disk, for a message that says what the disk does not do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Doing<'a> {
    /// As in "still trying to …".
    pub(crate) what: &'static str,
    pub(crate) directory: &'a Path,
}

impl Journal {
    pub(crate) fn new(clock: Clock, service: Service) -> Self {
        let endpoints = Conditions::new(ENDPOINTS_MAX);
        let states = Conditions::new(STATES_MAX);
        Self { clock, service, kept: Arc::new(Mutex::new(Kept { endpoints, states })) }
    }

    /// An endpoint is in this state now.
    pub(crate) fn endpoint_begins(&self, endpoint: &str, state: &str) -> Line {
        let now = (self.clock.monotonic)();
        self.kept().endpoints.begin(endpoint, state, now)
    }

    /// An endpoint is well.
    pub(crate) fn endpoint_ends(&self, endpoint: &str) -> Line {
        let now = (self.clock.monotonic)();
        self.kept().endpoints.end(endpoint, now)
    }

    /// Endpoints that were not well and that `is_there` does not know any more.
    pub(crate) fn endpoints_gone(&self, is_there: impl Fn(&str) -> bool) -> Vec<(String, Line)> {
        let now = (self.clock.monotonic)();
        let mut kept = self.kept();
        let is_single_there = |key: &str| key.strip_prefix("single ").is_none_or(&is_there);
        kept.states.end_others(is_single_there, now);
        kept.endpoints.end_others(&is_there, now)
    }

    /// Something else is in this state now.
    pub(crate) fn begins(&self, key: &str, state: &str) -> Line {
        let now = (self.clock.monotonic)();
        self.kept().states.begin(key, state, now)
    }

    /// Something else is well.
    pub(crate) fn ends(&self, key: &str) -> Line {
        let now = (self.clock.monotonic)();
        self.kept().states.end(key, now)
    }

    /// Waits for work on the disk, however long it takes, and says when a disk hangs.
    pub(crate) async fn patiently<T>(&self, doing: Doing<'_>, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        if let Ok(result) = tokio::time::timeout(DISK_PATIENCE, &mut work).await {
            return result;
        }
        let Doing { what, directory } = doing;
        let key = format!("disk {}", directory.display());
        let line = self.begins(&key, "hangs");
        if line.is_due() {
            let text = format!(
                "the disk has not answered for {} s: still trying to {what} {directory:?}; look at \
                 the disk or file server of that directory and at the kernel's log",
                DISK_PATIENCE.as_secs()
            );
            warn!("{text}{}", line.note());
            self.service.status(&text);
        }
        let result = work.await;
        let line = self.ends(&key);
        if line.is_due() {
            info!(?directory, "the disk answers again{}", line.note());
        }
        result
    }

    /// Conditions are as good after a panic as before it.
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
