//! The end of a program by signal: SIGTERM, SIGINT and SIGHUP all mean "finish the work in hand,
//! then end".

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use tokio::signal::unix::{SignalKind, signal};

/// Completes with the signal's name when one of the three comes. They are caught from this call on,
/// so call it before work that must not be cut short.
///
/// # Errors
///
/// The system refuses a handler.
pub fn signals() -> io::Result<impl Future<Output = &'static str> + Send> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
            _ = hangup.recv() => "SIGHUP",
        }
    })
}

/// For a program of threads: calls `tell` once, from a thread of its own, with the name of the
/// first signal that comes. All three are caught when this returns.
///
/// # Errors
///
/// The system refuses a handler or a thread.
pub fn on_signal(tell: impl FnOnce(&'static str) + Send + 'static) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let signal = runtime.block_on(async { signals() })?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        tell(runtime.block_on(signal));
        // The handlers stay, so that a second signal does not cut the end short.
        runtime.block_on(std::future::pending::<()>());
    })?;
    Ok(())
}

/// For a worker that waits for work, does it, and waits again: SIGTERM ends it between two pieces
/// of work.
#[derive(Debug)]
pub struct AfterWork {
    waits: Arc<AtomicBool>,
    is_asked: Arc<AtomicBool>,
}

/// Catches the three signals for a worker. SIGINT and SIGHUP, which a terminal sends to the whole
/// group, are ignored: the parent ends its workers. SIGTERM ends this process with status 0, at
/// once while it waits and else after the work in hand.
///
/// # Errors
///
/// The system refuses a handler.
pub fn after_work() -> io::Result<AfterWork> {
    let ignored = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGHUP] {
        flag::register(signal, Arc::clone(&ignored))?;
    }
    let waits = Arc::new(AtomicBool::new(true));
    let is_asked = Arc::new(AtomicBool::new(false));
    flag::register(SIGTERM, Arc::clone(&is_asked))?;
    flag::register_conditional_shutdown(SIGTERM, 0, Arc::clone(&waits))?;
    Ok(AfterWork { waits, is_asked })
}

impl AfterWork {
    /// To be called before waiting for work: from now on SIGTERM ends the process. Returns whether
    /// it came during the last work.
    #[must_use]
    pub fn wait_begins(&self) -> bool {
        self.waits.store(true, Ordering::SeqCst);
        self.is_asked.load(Ordering::SeqCst)
    }

    /// To be called when there is work: from now on SIGTERM waits for its end.
    pub fn work_begins(&self) {
        self.waits.store(false, Ordering::SeqCst);
    }
}
