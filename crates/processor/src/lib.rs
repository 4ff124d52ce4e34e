//! haproxystats-process: folds snapshots of HAProxy's statistics and delivers them to receivers.
//!
//! The parent decides ([`core`]) and its shell carries messages; children do everything that can
//! block, hang or crash ([`child`]): fold children, a send child for each receiver, one child for
//! the disk of the outbox and one for the disk of the spool.

mod channel;
pub mod child;
pub mod core;
pub mod entry;
mod memfd;
pub mod outbox;
mod parent;
mod settings;
mod statistics;

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;

use crossbeam_channel::{Receiver, bounded};
use daemon::{Clock, Service};
use thiserror::Error;
use tracing::info;

use crate::core::Failure;
use crate::parent::Parent;

/// What the program is given by `bin`, since nothing below reads it by itself.
#[derive(Debug)]
pub struct Settings {
    /// The configuration.
    pub config: config::Process,
    /// The clocks.
    pub clock: Clock,
    /// Who started us and wants to know how we are.
    pub service: Service,
    /// This machine's name.
    pub host: String,
    /// Our own command line. Children bear the same, so that a look at the process list tells what
    /// they belong to.
    pub arguments: Vec<OsString>,
}

/// The program cannot run.
#[derive(Debug, Error)]
pub enum Error {
    /// A child can never start.
    #[error("{reason}")]
    Unfit {
        /// Why.
        reason: String,
        /// Whether the configuration must change first.
        is_configuration: bool,
    },
    /// The system refuses to wait for events.
    #[error("cannot wait for events: {0}; please report this")]
    Wait(#[source] io::Error),
}

impl Error {
    /// Whether the configuration must change before another try can succeed.
    #[must_use]
    pub const fn is_configuration(&self) -> bool {
        matches!(self, Self::Unfit { is_configuration: true, .. })
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let Failure { reason, is_configuration } = failure;
        Self::Unfit { reason, is_configuration }
    }
}

/// How the program hears that it is to end.
#[derive(Debug)]
pub struct Shutdown {
    signals: Receiver<&'static str>,
    /// Becomes readable with the signal.
    wake: OwnedFd,
}

impl Shutdown {
    /// A shutdown, and the call that asks for it with a signal's name.
    ///
    /// # Errors
    ///
    /// The system gives no pipe.
    pub fn new() -> io::Result<(impl FnOnce(&'static str) + Send + 'static, Self)> {
        let (wake, waker) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let (sender, signals) = bounded(1);
        let tell = move |signal| {
            let _ = sender.send(signal);
            // Closing the other end makes ours readable.
            drop(waker);
        };
        Ok((tell, Self { signals, wake }))
    }

    /// The name of the signal, once. The pipe stays readable, so the caller asks no more then.
    fn take(&self) -> Option<&'static str> {
        self.signals.try_recv().ok()
    }
}

/// Runs until a signal asks for the end: then what is folded is delivered or held, and what is not
/// begun stays in the spool.
///
/// Call it from the main thread, because children die with the thread that made them.
///
/// # Errors
///
/// A child can never start, such as that of a spool that another program reads.
pub fn run(settings: Settings, shutdown: &Shutdown) -> Result<(), Error> {
    let config = &settings.config;
    for receiver in &config.receivers {
        match &receiver.kind {
            config::ReceiverKind::Graphite(graphite) => info!(
                receiver = %receiver.name,
                server = graphite.server,
                port = graphite.port,
                confirm = ?graphite.confirm,
                "sending to graphite"
            ),
            config::ReceiverKind::LocalStore(store) => info!(
                receiver = %receiver.name,
                dir = %store.dir.display(),
                "keeping lines in local-store"
            ),
        }
    }
    Parent::new(settings).run(shutdown)
}
