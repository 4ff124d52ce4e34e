//! Work on the disk, on tokio's pool of threads that may block, so that the one thread of the
//! sockets never waits for a disk.
//!
//! One piece of work at a time is waited for, so that a disk that hangs holds one thread and not
//! one more for each cycle. The end of the program waits for what is under way, within a bound:
//! each piece of work, and whatever is [`Held`], holds a sender of a channel that [`Ends`] watches.

use std::convert::Infallible;

use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tracing::dispatcher::{self, Dispatch};

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

/// Something that works on the disk when it is dropped, such as a staged snapshot or an open file:
/// dropped anywhere, it is dropped by the pool.
#[derive(Debug)]
pub(crate) struct Held<T: Send + 'static> {
    value: Option<T>,
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
        done.map_err(|error| match error.try_into_panic() {
            Ok(panic) => Broken::panicked(&*panic),
            Err(_) => Broken::Gone,
        })
    }

    /// Takes charge of something that works on the disk when it is dropped.
    pub(crate) fn hold<T: Send + 'static>(&self, value: T) -> Held<T> {
        Held { value: Some(value), disk: self.clone() }
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

impl<T: Send + 'static> Held<T> {
    pub(crate) const fn get(&self) -> Option<&T> {
        self.value.as_ref()
    }

    /// What is held, for a thread that may block.
    pub(crate) fn take(mut self) -> Option<T> {
        self.value.take()
    }
}

impl<T: Send + 'static> Drop for Held<T> {
    fn drop(&mut self) {
        if let Some(value) = self.value.take() {
            // Nobody waits for it, only the end of the program.
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

    /// Tells which thread drops it.
    struct Tells(Sender<ThreadId>);

    impl Drop for Tells {
        fn drop(&mut self) {
            self.0.send(thread::current().id()).unwrap();
        }
    }

    fn disk() -> (Disk, Ends) {
        let clock = Clock { wall: SystemTime::now, monotonic: Instant::now };
        Disk::new(Journal::new(clock, Service::none()))
    }

    #[test]
    fn what_is_held_is_dropped_by_the_pool_and_the_end_waits_for_it() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (disk, ends) = disk();
            let (sender, dropped_by) = channel();
            drop(disk.hold(Tells(sender.clone())));
            // Held in the result of work that nobody waits for.
            let (other, tells) = (disk.clone(), Tells(sender));
            drop(disk.spawn(move || other.hold(tells)));
            drop(disk);
            ends.wait().await;
            let threads: Vec<_> = dropped_by.try_iter().collect();
            assert_eq!(threads.len(), 2, "the end has waited for both");
            assert!(!threads.contains(&thread::current().id()));
        });
    }

    #[test]
    fn work_that_panics_fails_its_caller_and_the_next_is_done() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let (disk, _ends) = disk();
            let doing = Doing { what: "try", directory: "/x".as_ref() };
            let broken = disk.run(doing, || panic!("on purpose")).await;
            assert!(matches!(broken, Err::<(), _>(Broken::Panicked(_))), "{broken:?}");
            assert_eq!(disk.run(doing, || 7).await.unwrap(), 7);
        });
    }
}
