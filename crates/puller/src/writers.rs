//! Threads that do what may block on the disk, so that the one thread of the sockets never does.
//!
//! Work is handed over and its result awaited. Work whose caller has gone away is dropped unbegun.
//! The threads are never joined: one that hangs on a dead disk must not hold up the end of the
//! program.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tokio::sync::{mpsc, oneshot};
use tracing::dispatcher::{self, Dispatch};

/// Work that waits for a thread. More waits with its caller; each holds one buffer at most.
const WAITING_WORK: usize = 64;

type Work = Box<dyn FnOnce() + Send>;

/// The threads; they end when this is dropped and their work is done.
#[derive(Debug, Clone)]
pub(crate) struct Writers {
    work: mpsc::Sender<Work>,
}

/// No thread is left to do the work.
#[derive(Debug, thiserror::Error)]
#[error("the threads that write files have ended")]
pub(crate) struct Gone;

impl Writers {
    pub(crate) fn start(threads: usize) -> io::Result<Self> {
        let (work, waiting) = mpsc::channel::<Work>(WAITING_WORK);
        let waiting = Arc::new(Mutex::new(waiting));
        for _ in 0..threads {
            let waiting = Arc::clone(&waiting);
            thread::Builder::new().name("writer".into()).spawn(move || {
                loop {
                    // Held while this thread waits, let go before it works: one waits, the others
                    // queue for the lock.
                    let next =
                        waiting.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
                    let Some(work) = next else { return };
                    work();
                }
            })?;
        }
        Ok(Self { work })
    }

    /// Has a thread do `work` and returns its result.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Gone> {
        let (done, result) = oneshot::channel();
        // What is logged on the way goes where the caller's log goes.
        let log = dispatcher::get_default(Dispatch::clone);
        let work = Box::new(move || {
            if !done.is_closed() {
                // The caller may go away while we work; then nobody wants the result.
                let _ = done.send(dispatcher::with_default(&log, work));
            }
        });
        self.work.send(work).await.map_err(|_| Gone)?;
        result.await.map_err(|_| Gone)
    }
}
