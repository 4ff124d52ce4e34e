//! The monitor server of process: a thread of the parent with its own runtime.
//!
//! It shares nothing with the parent but the board, on which the parent leaves its state without
//! waiting. Its sockets never block, it works on no disk, and its memory has a bound, so neither a
//! delivery nor the end depends on it: the process ends without waiting for the thread. It outlives
//! a main loop that hangs, and tells of it.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use config::Listen;
use daemon::Clock;
use daemon::monitor::{Board, Health, Listener, Subject, Vitals, serve};
use tokio::runtime::Builder;
use tracing::{error, info};

use crate::Error;
use crate::core::{Core, State};

/// The state from which the health follows.
#[derive(Debug)]
struct Pulse {
    state: State,
    pull_interval: Duration,
}

impl Vitals for Pulse {
    fn health(&self, now: Instant) -> Health {
        self.state.health(now, self.pull_interval)
    }
}

/// The place where the parent leaves its state.
#[derive(Debug)]
pub(crate) struct Monitor {
    board: Arc<Board<Pulse>>,
    pull_interval: Duration,
}

impl Monitor {
    /// Takes the address and starts the server.
    pub(crate) fn start(
        listen: &Listen,
        pull_interval: Duration,
        clock: Clock,
        core: &Core,
    ) -> Result<Self, Error> {
        let listener = match listen {
            Listen::Tcp(address) => Listener::tcp(*address)?,
            Listen::Unix(path) => Listener::unix(path)?,
        };
        let pulse = Pulse { state: core.state(), pull_interval };
        let names = core.value_names();
        let board = Arc::new(Board::new("haproxystats-process", clock, pulse, names));
        let subject: Arc<dyn Subject> = Arc::<Board<Pulse>>::clone(&board);
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|source| Error::MonitorThread { source })?;
        let work = move || {
            let Err(error) = runtime.block_on(serve(listener, subject));
            error!(%error, "the monitor server has ended; please report this");
        };
        let thread: io::Result<_> = thread::Builder::new().name("monitor".to_owned()).spawn(work);
        thread.map_err(|source| Error::MonitorThread { source })?;
        info!(?listen, "the monitor server answers");
        Ok(Self { board, pull_interval })
    }

    /// Leaves the state of the core.
    pub(crate) fn publish(&self, core: &Core) {
        let pulse = Pulse { state: core.state(), pull_interval: self.pull_interval };
        self.board.publish(pulse, core.values());
    }
}
