//! The end of a program as one future: SIGTERM, SIGINT and SIGHUP all mean "finish what you hold, then end".

use std::io;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use tokio::signal::unix::{SignalKind, signal};

/// Completes with the signal's name when one of the three comes. They are caught from this call on, so call it before
/// anything that must not be cut short.
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

/// For a program of threads: calls `tell` once, from a thread of its own, with the name of the first signal that comes.
/// All three are caught when this returns.
///
/// # Errors
///
/// The system refuses a handler or a thread.
pub fn on_signal(tell: impl FnOnce(&'static str) + Send + 'static) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let signal = runtime.block_on(async { signals() })?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        tell(runtime.block_on(signal));
        // The handlers stay: a second signal during the end is no reason to cut it short.
        runtime.block_on(std::future::pending::<()>());
    })?;
    Ok(())
}

/// For a worker, which ends when its parent says so: the three signals, which a terminal or a service manager sends to the
/// whole group, are caught and forgotten.
///
/// # Errors
///
/// The system refuses a handler.
pub fn leave_to_parent() -> io::Result<()> {
    let ignored = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT, SIGHUP] {
        signal_hook::flag::register(signal, std::sync::Arc::clone(&ignored))?;
    }
    Ok(())
}
