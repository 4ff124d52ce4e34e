//! Threads that do what may block on the disk, so that the one thread of the sockets never does.
//!
//! Work is handed over and its result awaited. Work whose caller has gone away is dropped unbegun.
//! The threads are never joined: one that hangs on a dead disk must not hold up the end of the
//! program.

use std::io;
use std::sync::Arc;
use std::thread;

use crossbeam_channel::{Sender, unbounded};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tracing::dispatcher::{self, Dispatch};

/// Work that waits for a thread; more waits with its caller.
const WAITING_WORK: usize = 64;

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

/// No thread is left to do the work.
#[derive(Debug, thiserror::Error)]
#[error("the threads that read answers and write files have ended")]
pub(crate) struct Gone;

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
    ) -> Result<T, Gone> {
        let (done, result) = oneshot::channel();
        // What is logged on the way goes where the caller's log goes.
        let log = dispatcher::get_default(Dispatch::clone);
        let begin = Box::new(move || {
            if !done.is_closed() {
                // The caller may go away while we work; then nobody wants the result.
                let _ = done.send(dispatcher::with_default(&log, work));
            }
        });
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(|_| Gone)?;
        self.work.send(Work { begin, place }).map_err(|_| Gone)?;
        result.await.map_err(|_| Gone)
    }
}
