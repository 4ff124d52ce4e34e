//! Work on the disk, on tokio's pool of threads that may block, so that the thread of the sockets
//! never waits for a disk.
//!
//! The caller waits for one piece of work at a time, so that a disk that hangs blocks one thread
//! and not one more for each cycle. The end of the program waits for work that is under way, within
//! a bound: each piece of work, and each [`DiskGuard`], has a sender of a channel, and
//! [`Completion`] waits until the last sender is dropped.

use std::convert::Infallible;

use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tracing::dispatcher::{self, Dispatch};

use crate::journal::{DiskTask, Journal};
use crate::writers::WorkError;

/// The pool of threads.
#[derive(Debug, Clone)]
pub(crate) struct Disk {
    journal: Journal,
    runtime: Handle,
    under_way: mpsc::Sender<Infallible>,
}

/// Waits until no work is under way.
#[derive(Debug)]
pub(crate) struct Completion(mpsc::Receiver<Infallible>);

/// A value whose drop works on the disk, such as a staged snapshot or an open file. The pool drops
/// the value, on whichever thread the guard is dropped.
#[derive(Debug)]
pub(crate) struct DiskGuard<T: Send + 'static> {
    value: Option<T>,
    disk: Disk,
}

impl Disk {
    /// The pool of the runtime in which it is called.
    pub(crate) fn new(journal: Journal) -> (Self, Completion) {
        let (under_way, ends) = mpsc::channel(1);
        (Self { journal, runtime: Handle::current(), under_way }, Completion(ends))
    }

    /// Has the pool do `work` and waits for it. Work that has begun is finished even if the caller
    /// stops waiting.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        doing: DiskTask<'_>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, WorkError> {
        let done = self.journal.patiently(doing, self.spawn(work)).await;
        done.map_err(|error| match error.try_into_panic() {
            Ok(panic) => WorkError::panicked(&*panic),
            Err(_) => WorkError::NoThread,
        })
    }

    /// Guards a value whose drop works on the disk.
    pub(crate) fn guard<T: Send + 'static>(&self, value: T) -> DiskGuard<T> {
        DiskGuard { value: Some(value), disk: self.clone() }
    }

    fn spawn<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        // The work logs to the caller's subscriber, which in tests is that of one thread.
        let log = dispatcher::get_default(Dispatch::clone);
        let under_way = self.under_way.clone();
        self.runtime.spawn_blocking(move || {
            let result = dispatcher::with_default(&log, work);
            drop(under_way);
            result
        })
    }
}

impl Completion {
    /// Waits until all work has ended. No [`Disk`] may be kept elsewhere.
    pub(crate) async fn wait(mut self) {
        // Nothing is ever sent: this ends when the last sender is dropped.
        let _ = self.0.recv().await;
    }
}

impl<T: Send + 'static> DiskGuard<T> {
    pub(crate) const fn get(&self) -> Option<&T> {
        self.value.as_ref()
    }

    /// The value, for a thread that may block.
    pub(crate) fn take(mut self) -> Option<T> {
        self.value.take()
    }
}

impl<T: Send + 'static> Drop for DiskGuard<T> {
    fn drop(&mut self) {
        if let Some(value) = self.value.take() {
            // Only the end of the program waits for this drop.
            drop(self.disk.spawn(move || drop(value)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};
    use std::thread::{self, ThreadId};
    use std::time::{Instant, SystemTime};

    use daemon::{Clock, Service};

    use super::*;

    /// Reports which thread drops it.
    struct DropReporter(Sender<ThreadId>);

    impl Drop for DropReporter {
        fn drop(&mut self) {
            self.0.send(thread::current().id()).unwrap();
        }
    }

    fn disk() -> (Disk, Completion) {
        let clock = Clock { wall: SystemTime::now, monotonic: Instant::now };
        Disk::new(Journal::new(clock, Service::none()))
    }

    #[test]
    fn a_guarded_value_is_dropped_by_the_pool_and_the_end_waits_for_it() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (disk, ends) = disk();
            let (sender, dropped_by) = channel();
            drop(disk.guard(DropReporter(sender.clone())));
            // A guard in the result of work whose caller does not wait.
            let (other, reporter) = (disk.clone(), DropReporter(sender));
            drop(disk.spawn(move || other.guard(reporter)));
            drop(disk);
            ends.wait().await;
            let threads: Vec<_> = dropped_by.try_iter().collect();
            assert_eq!(threads.len(), 2, "the end has waited for both drops");
            assert!(!threads.contains(&thread::current().id()));
        });
    }

    #[test]
    fn work_that_panics_fails_its_caller_and_the_next_is_done() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let (disk, _ends) = disk();
            let doing = DiskTask { what: "try", directory: "/x".as_ref() };
            let broken = disk.run(doing, || panic!("on purpose")).await;
            assert!(matches!(broken, Err::<(), _>(WorkError::Panicked(_))), "{broken:?}");
            assert_eq!(disk.run(doing, || 7).await.unwrap(), 7);
        });
    }
}
