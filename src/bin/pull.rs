//! haproxystats-pull: asks every stats socket of HAProxy and publishes the answers as a snapshot.

use std::error::Error;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

use config::Program;
use daemon::{Clock, Service, shutdown};
use puller::Machine;
use tracing::{error, info, warn};

mod cli;
mod start;
mod version;

/// Threads for work on the disk. One works at a time; the end of the program needs the others to
/// remove an unfinished snapshot while a disk hangs.
const DISK_THREADS: usize = 8;

/// An idle thread is kept, because no new one can be started once the limit of threads is reached.
const DISK_THREADS_LIVE: Duration = Duration::from_secs(24 * 3600);

const USAGE: &str = "
Pulls statistics from HAProxy over its stats sockets.

Usage:
    haproxystats-pull [-f <file>] [-d <dir>] [-p | -P]
    haproxystats-pull (-h | --help)
    haproxystats-pull (-v | --version)

Options:
    -f, --file <file>  configuration file with settings
                       [default: /etc/haproxystats.conf]
    -d, --dir <dir>    directory with additional configuration files (*.conf)
    -p, --print        show default settings
    -P, --print-conf   show configuration
    -h, --help         show this screen
    -v, --version      show version

Every option of the file is explained in docs/configuration.md.
";

fn main() -> ExitCode {
    let config = match cli::configuration(USAGE, Program::Pull) {
        Ok((config, _)) => config,
        Err(status) => return status,
    };
    start::start_logging(config.pull.loglevel);
    match pull(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!("{error}");
            let configuration = error.downcast_ref().is_some_and(puller::Error::is_configuration);
            ExitCode::from(if configuration { cli::BAD_CONFIGURATION } else { cli::FAILED })
        }
    }
}

/// One thread serves all sockets, threads of the puller write answers, and threads of the runtime
/// do other work on the disk.
fn pull(config: config::Config) -> Result<(), Box<dyn Error>> {
    start::check_resources()?;
    let machine = Machine {
        name: config.pull.host_name.clone().unwrap_or_else(start::host_name),
        clock: Clock { wall: SystemTime::now, monotonic: Instant::now },
        random: || fastrand::u64(..),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(DISK_THREADS)
        .thread_keep_alive(DISK_THREADS_LIVE)
        .build()
        .map_err(|error| start::refused("cannot start the runtime", &error))?;
    let result = runtime.block_on(async {
        let signals = shutdown::signals()
            .map_err(|error| start::refused("cannot catch the signals of the end", &error))?;
        info!(version = env!("CARGO_PKG_VERSION"), "haproxystats-pull starts");
        for warning in &config.warnings {
            warn!("{warning}");
        }
        Ok(puller::run(config.pull, machine, Service::of_this_process(), signals).await?)
    });
    // A thread that hangs on a dead disk is left behind.
    runtime.shutdown_background();
    result
}
