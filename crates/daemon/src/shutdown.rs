//! The end of a program by signal: SIGTERM, SIGINT and SIGHUP all mean "finish the work in hand,
//! then end".

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use tokio::signal::unix::{SignalKind, signal};

/// Completes with the name of the first of the three signals. They are caught from this call on, so
/// call it before work that must not be cut short.
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

/// For a program of threads: calls `tell` once, on a separate thread, with the name of the first
/// signal. All three are caught when this returns.
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

/// The signals of a child, which waits for an order, executes it, and waits again. SIGTERM
/// ends the child between two orders.
#[derive(Debug)]
pub struct ChildSignals {
    is_waiting: Arc<AtomicBool>,
    is_terminated: Arc<AtomicBool>,
}

/// Catches the three signals for a child. SIGINT and SIGHUP, which a terminal sends to the whole
/// group, are ignored, because the parent ends its children. SIGTERM ends this process with status
/// 0: at once while it waits, and else after the present order.
///
/// # Errors
///
/// The system refuses a handler.
pub fn child_signals() -> io::Result<ChildSignals> {
    let ignored = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGHUP] {
        flag::register(signal, Arc::clone(&ignored))?;
    }
    let is_waiting = Arc::new(AtomicBool::new(true));
    let is_terminated = Arc::new(AtomicBool::new(false));
    flag::register(SIGTERM, Arc::clone(&is_terminated))?;
    flag::register_conditional_shutdown(SIGTERM, 0, Arc::clone(&is_waiting))?;
    Ok(ChildSignals { is_waiting, is_terminated })
}

impl ChildSignals {
    /// Must be called before the wait for an order: from now on SIGTERM ends the process. Returns
    /// whether SIGTERM came during the last order.
    #[must_use]
    pub fn wait_begins(&self) -> bool {
        self.is_waiting.store(true, Ordering::SeqCst);
        self.is_terminated.load(Ordering::SeqCst)
    }

    /// Whether SIGTERM has come, for a process with several orders at once.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.is_terminated.load(Ordering::SeqCst)
    }

    /// Must be called before an order is executed: from now on SIGTERM waits for the end of it.
    pub fn work_begins(&self) {
        self.is_waiting.store(false, Ordering::SeqCst);
    }
}
