//! haproxystats-process: folds snapshots of HAProxy's statistics and delivers them to receivers.
//!
//! The parent decides ([`core`]) and its shell carries messages; children do everything that can
//! block, hang or crash ([`child`]): fold children, a send child for each receiver, one child for
//! the disk of the outbox and one for the disk of the spool.

mod channel;
mod check;
pub mod child;
pub mod core;
pub mod entry;
mod memfd;
mod monitor;
pub mod outbox;
mod parent;
mod render;
mod settings;
mod statistics;

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};
use daemon::monitor::ListenError;
use daemon::{Clock, Service, remedy};
use thiserror::Error;
use tracing::info;

pub use crate::check::{CheckFailure, ReceiverCheck, check};
pub use crate::render::{Format, RenderError, UnknownFormat, render};

use crate::core::StartFailure;
use crate::parent::Parent;

/// The settings of the program. Only `bin` reads clocks, the environment and the command line.
#[derive(Debug)]
pub struct Settings {
    /// The configuration.
    pub config: config::Process,
    /// The time between two snapshots, as the configuration of haproxystats-pull has it.
    pub pull_interval: Duration,
    /// The clocks.
    pub clock: Clock,
    /// The service manager that started the program.
    pub service: Service,
    /// This machine's name.
    pub host: String,
    /// The command line of the program. Children get the same, so that a list of processes shows
    /// which program they belong to.
    pub arguments: Vec<OsString>,
}

/// The program cannot run.
#[derive(Debug, Error)]
pub enum Error {
    /// A child can never start.
    #[error(transparent)]
    Start(#[from] StartFailure),
    /// The address of the monitor server cannot be had.
    #[error(transparent)]
    Monitor(#[from] ListenError),
    /// The thread of the monitor server cannot be started.
    #[error("cannot start the thread of the monitor server: {source}{}", remedy::of(source))]
    MonitorThread {
        /// The error of the system.
        source: io::Error,
    },
    /// The system refuses to wait for events.
    #[error("cannot wait for events: {0}; please report this")]
    Wait(#[source] io::Error),
}

impl Error {
    /// Whether the configuration must change before another try can succeed.
    #[must_use]
    pub const fn is_configuration(&self) -> bool {
        match self {
            Self::Start(failure) => failure.is_configuration,
            Self::Monitor(error) => error.is_configuration(),
            Self::MonitorThread { .. } | Self::Wait(_) => false,
        }
    }
}

/// The request that the program ends.
#[derive(Debug)]
pub struct Shutdown {
    signals: Receiver<&'static str>,
    /// Becomes readable with the signal.
    wake: OwnedFd,
}

impl Shutdown {
    /// A shutdown, and the function that requests it with a signal's name.
    ///
    /// # Errors
    ///
    /// The system gives no pipe.
    pub fn new() -> io::Result<(impl FnOnce(&'static str) + Send + 'static, Self)> {
        let (wake, waker) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let (sender, signals) = bounded(1);
        let request = move |signal| {
            let _ = sender.send(signal);
            // This makes `wake`, the other end of the pipe, readable.
            drop(waker);
        };
        Ok((request, Self { signals, wake }))
    }

    /// A shutdown that the signals of the end request.
    ///
    /// # Errors
    ///
    /// The system gives no pipe, or does not let us catch signals.
    pub fn by_signals() -> io::Result<Self> {
        let (request, shutdown) = Self::new()?;
        daemon::shutdown::on_signal(request)?;
        Ok(shutdown)
    }

    /// The name of the signal, once. `wake` stays readable, so the caller must not poll it again.
    fn take(&self) -> Option<&'static str> {
        self.signals.try_recv().ok()
    }
}

/// Runs until a signal requests the end. Then batches are delivered or held, and snapshots whose
/// fold has not begun stay in the spool.
///
/// Call it from the main thread, because children die with the thread that started them.
///
/// # Errors
///
/// A child can never start, such as the spool child if another program reads the spool, or the
/// address of the monitor server is taken.
pub fn run(settings: Settings, shutdown: &Shutdown) -> Result<(), Error> {
    let config = &settings.config;
    for receiver in &config.receivers {
        match &receiver.kind {
            config::ReceiverKind::Graphite(graphite) => info!(
                receiver = %receiver.name,
                server = addresses(graphite),
                confirm = ?graphite.confirm,
                "sending to graphite"
            ),
            config::ReceiverKind::InfluxDb(influxdb) => info!(
                receiver = %receiver.name,
                url = %influxdb.url,
                "sending to influxdb"
            ),
            config::ReceiverKind::Kafka(kafka) => info!(
                receiver = %receiver.name,
                brokers = kafka.brokers,
                topic = kafka.topic,
                "sending to kafka"
            ),
            config::ReceiverKind::LocalStore(store) => info!(
                receiver = %receiver.name,
                dir = %store.dir.display(),
                "keeping lines in local-store"
            ),
        }
    }
    Parent::new(settings)?.run(shutdown)
}

/// The servers of a Graphite, as the log has them.
fn addresses(graphite: &config::Graphite) -> String {
    graphite.servers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
