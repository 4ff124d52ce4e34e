//! Logs states that last when they begin, when they change and when they end.
//!
//! Code that finds a state asks the journal for a [`Line`] and logs if it is due. All tasks of a
//! cycle share one journal.

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

/// The time for one piece of work after which the log says that the disk hangs.
const DISK_PATIENCE: Duration = Duration::from_secs(3);

/// The states that have begun and not ended.
#[derive(Debug, Clone)]
pub(crate) struct Journal {
    clock: Clock,
    service: Service,
    records: Arc<Mutex<Records>>,
}

#[derive(Debug)]
struct Records {
    endpoints: Conditions,
    states: Conditions,
}

/// Work on the disk, for the message about a disk that hangs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DiskTask<'a> {
    /// As in "still trying to …".
    pub(crate) what: &'static str,
    pub(crate) directory: &'a Path,
}

impl Journal {
    pub(crate) fn new(clock: Clock, service: Service) -> Self {
        let endpoints = Conditions::new(ENDPOINTS_MAX);
        let states = Conditions::new(STATES_MAX);
        Self { clock, service, records: Arc::new(Mutex::new(Records { endpoints, states })) }
    }

    /// Begins a state of an endpoint.
    pub(crate) fn endpoint_begins(&self, endpoint: &str, state: &str) -> Line {
        let now = (self.clock.monotonic)();
        self.records().endpoints.begin(endpoint, state, now)
    }

    /// Ends the state of an endpoint.
    pub(crate) fn endpoint_ends(&self, endpoint: &str) -> Line {
        let now = (self.clock.monotonic)();
        self.records().endpoints.end(endpoint, now)
    }

    /// Ends the states of endpoints for which `is_present` is false, and returns those endpoints.
    pub(crate) fn end_absent_endpoints(
        &self,
        is_present: impl Fn(&str) -> bool,
    ) -> Vec<(String, Line)> {
        let now = (self.clock.monotonic)();
        let mut records = self.records();
        let is_single_present = |key: &str| key.strip_prefix("single ").is_none_or(&is_present);
        records.states.end_others(is_single_present, now);
        records.endpoints.end_others(&is_present, now)
    }

    /// Begins a state of the program or of a disk.
    pub(crate) fn begins(&self, key: &str, state: &str) -> Line {
        let now = (self.clock.monotonic)();
        self.records().states.begin(key, state, now)
    }

    /// Ends a state of the program or of a disk.
    pub(crate) fn ends(&self, key: &str) -> Line {
        let now = (self.clock.monotonic)();
        self.records().states.end(key, now)
    }

    /// Waits for work on the disk, however long it takes, and logs when a disk hangs.
    pub(crate) async fn patiently<T>(
        &self,
        doing: DiskTask<'_>,
        work: impl Future<Output = T>,
    ) -> T {
        let mut work = std::pin::pin!(work);
        if let Ok(result) = tokio::time::timeout(DISK_PATIENCE, &mut work).await {
            return result;
        }
        let DiskTask { what, directory } = doing;
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

    /// Conditions stay usable after a panic.
    fn records(&self) -> MutexGuard<'_, Records> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
