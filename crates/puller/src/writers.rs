//! Threads for work that may block on the disk, so that the thread of the sockets never blocks.
//!
//! A caller hands work over and awaits its result. If the caller has stopped waiting before the
//! work begins, the work is dropped. Work that panics fails its caller, and its thread goes on. The
//! threads are never joined, because a thread that hangs on a dead disk must not delay the end of
//! the program.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;

use config::Pull;
use crossbeam_channel::{Sender, unbounded};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tracing::dispatcher::{self, Dispatch};

use crate::Error;

/// Pieces of work in the channel at most; a caller with more waits for a place.
const WAITING_WORK: usize = 64;

/// Characters of a panic's text in the log.
const PANIC_CHARS: usize = 200;

struct Work {
    begin: Box<dyn FnOnce() + Send>,
    /// A place in the channel. The semaphore bounds the channel, because a bounded channel would
    /// block its sender.
    place: OwnedSemaphorePermit,
}

/// The threads. They end when all clones are dropped and their work is done.
#[derive(Debug, Clone)]
pub(crate) struct Writers {
    work: Sender<Work>,
    places: Arc<Semaphore>,
}

/// Why work was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WorkError {
    /// The work panicked with this text. The caller logs it once, because the same panic can come
    /// back in every cycle.
    #[error("a thread panicked ({0:?}); this is a mistake of haproxystats-pull, please report it")]
    Panicked(String),
    #[error("the threads that read answers and write files have ended; restart haproxystats-pull")]
    NoThread,
}

impl Writers {
    /// As many threads as the configuration says.
    pub(crate) fn of(config: &Pull) -> Result<Self, Error> {
        let count = config.workers;
        Self::start(count).map_err(|source| Error::Threads { count, source })
    }

    pub(crate) fn start(threads: usize) -> io::Result<Self> {
        let (work, waiting) = unbounded::<Work>();
        for _ in 0..threads {
            let waiting = waiting.clone();
            thread::Builder::new().name("writer".into()).spawn(move || {
                for Work { begin, place } in waiting {
                    drop(place);
                    begin();
                }
            })?;
        }
        Ok(Self { work, places: Arc::new(Semaphore::new(WAITING_WORK)) })
    }

    /// A function that says whether work waits for a thread, so that work that can pause lets it
    /// go first.
    pub(crate) fn others_wait(&self) -> impl Fn() -> bool + Send + use<> {
        let places = Arc::clone(&self.places);
        move || places.available_permits() < WAITING_WORK
    }

    /// Has a thread do `work` and returns its result.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, WorkError> {
        let (done, result) = oneshot::channel();
        // The work logs to the caller's subscriber, which in tests is that of one thread.
        let log = dispatcher::get_default(Dispatch::clone);
        let begin = Box::new(move || {
            if !done.is_closed() {
                // A panic drops the work with the state that it leaves.
                let work = || catch_unwind(AssertUnwindSafe(work));
                let result = dispatcher::with_default(&log, work);
                // The caller may have stopped waiting meanwhile.
                let _ = done.send(result.map_err(|panic| WorkError::panicked(&*panic)));
            }
        });
        let place =
            Arc::clone(&self.places).acquire_owned().await.map_err(|_| WorkError::NoThread)?;
        self.work.send(Work { begin, place }).map_err(|_| WorkError::NoThread)?;
        result.await.map_err(|_| WorkError::NoThread)?
    }
}

impl WorkError {
    /// The error for a panic, with the beginning of its text.
    pub(crate) fn panicked(panic: &(dyn Any + Send)) -> Self {
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        Self::Panicked(text.unwrap_or("no text").chars().take(PANIC_CHARS).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_fails_its_caller_and_the_thread_lives_on() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let writers = Writers::start(1).unwrap();
            for _ in 0..3 {
                let broken = writers.run::<()>(|| panic!("on purpose")).await;
                let text = broken.unwrap_err().to_string();
                assert!(text.starts_with("a thread panicked (\"on purpose\");"), "{text}");
            }
            assert_eq!(writers.run(|| 7).await.unwrap(), 7);
        });
    }
}
