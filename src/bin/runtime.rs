//! The runtime of haproxystats-pull: one thread serves all sockets, threads of the puller write
//! answers, and threads of the runtime do other work on the disk.

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use config::Config;
use daemon::{Clock, shutdown};
use puller::Machine;
use tokio::runtime::{Builder, Runtime};
use tracing::error;

use crate::{cli, start};

/// Threads for work on the disk. One works at a time; the end of the program needs the others to
/// remove an unfinished snapshot while a disk hangs.
const DISK_THREADS: usize = 8;

/// An idle thread is kept, because no new one can be started once the limit of threads is reached.
const DISK_THREADS_LIVE: Duration = Duration::from_secs(24 * 3600);

/// Does the work and returns its status, or the status of its error, which is logged.
pub(crate) fn run(work: impl Future<Output = Result<ExitCode, Box<dyn Error>>>) -> ExitCode {
    let result = start().and_then(|runtime| {
        let result = runtime.block_on(work);
        // A thread that hangs on a dead disk is left behind.
        runtime.shutdown_background();
        result
    });
    result.unwrap_or_else(|error| {
        error!("{error}");
        let is_configuration = error.downcast_ref().is_some_and(puller::Error::is_configuration);
        ExitCode::from(if is_configuration { cli::BAD_CONFIGURATION } else { cli::FAILED })
    })
}

/// Completes with the name of the first signal that asks for the end.
pub(crate) fn signals() -> Result<impl Future<Output = &'static str>, Box<dyn Error>> {
    shutdown::signals()
        .map_err(|error| start::refused("cannot catch the signals of the end", &error))
}

/// This machine, as the configuration names it.
pub(crate) fn machine(config: &Config, clock: Clock) -> Machine {
    let name = config.pull.host_name.clone().unwrap_or_else(start::host_name);
    Machine { name, clock, random: || fastrand::u64(..) }
}

fn start() -> Result<Runtime, Box<dyn Error>> {
    start::check_resources()?;
    Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(DISK_THREADS)
        .thread_keep_alive(DISK_THREADS_LIVE)
        .build()
        .map_err(|error| start::refused("cannot start the runtime", &error))
}
