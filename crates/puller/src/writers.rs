//! Threads that do what may block on the disk, so that the one thread of the sockets never does.
//!
//! Work is handed over and its result awaited. Work whose caller has gone away is dropped unbegun.
//! Work that panics fails its caller, and its thread lives on. The threads are never joined: one
//! that hangs on a dead disk must not hold up the end of the program.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;

use crossbeam_channel::{Sender, unbounded};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tracing::dispatcher::{self, Dispatch};

/// Work that waits for a thread; more waits with its caller.
const WAITING_WORK: usize = 64;

/// Characters of a panic's text that are kept.
const PANIC_CHARS: usize = 200;

struct Work {
    begin: Box<dyn FnOnce() + Send>,
    /// Its place among what waits; bounds the channel, whose sender must not block.
    place: OwnedSemaphorePermit,
}

/// The threads; they end when this is dropped and their work is done.
#[derive(Debug, Clone)]
pub(crate) struct Writers {
    work: Sender<Work>,
    places: Arc<Semaphore>,
}

/// The work was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    /// It panicked, with these words. Who awaits the work logs them once; a line for each panic
    /// would come in every cycle.
    #[error("a thread panicked ({0:?}); this is a mistake of haproxystats-pull, please report it")]
    Panicked(String),
    /// No thread is left.
    #[error("the threads that read answers and write files have ended; restart haproxystats-pull")]
    Gone,
}

impl Writers {
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

    /// Asks later whether work waits for a thread: who has one and is in no hurry can let it go.
    pub(crate) fn others_wait(&self) -> impl Fn() -> bool + Send + use<> {
        let places = Arc::clone(&self.places);
        move || places.available_permits() < WAITING_WORK
    }

    /// Has a thread do `work` and returns its result.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Broken> {
        let (done, result) = oneshot::channel();
        // What is logged on the way goes where the caller's log goes.
        let log = dispatcher::get_default(Dispatch::clone);
        let begin = Box::new(move || {
            if !done.is_closed() {
                let result = dispatcher::with_default(&log, || catch(work));
                // The caller may go away while we work; then nobody wants the result.
                let _ = done.send(result);
            }
        });
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(|_| Broken::Gone)?;
        self.work.send(Work { begin, place }).map_err(|_| Broken::Gone)?;
        result.await.map_err(|_| Broken::Gone)?
    }
}

/// Does work and survives its panic. Nobody sees the state that a panic leaves: it goes with the
/// work.
fn catch<T>(work: impl FnOnce() -> T) -> Result<T, Broken> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| Broken::panicked(&*panic))
}

impl Broken {
    /// The first words of a panic.
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
