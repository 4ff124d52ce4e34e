//! haproxystats-pull: asks every stats socket of HAProxy and publishes each round as a snapshot.

use std::process::ExitCode;
use std::time::{Instant, SystemTime};

use config::Program;
use daemon::{Clock, Service, shutdown};
use tracing::{error, info, warn};

mod cli;

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
        Ok(config) => config,
        Err(status) => return status,
    };
    cli::start_logging(config.pull.loglevel);
    let clock = Clock { wall: SystemTime::now, monotonic: Instant::now };
    match pull(config, clock) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!("{error}");
            let configuration = error.downcast_ref().is_some_and(puller::Error::is_configuration);
            ExitCode::from(if configuration { cli::BAD_CONFIGURATION } else { cli::FAILED })
        }
    }
}

/// One thread serves all sockets; those that write files are the puller's own.
fn pull(config: config::Config, clock: Clock) -> Result<(), Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let signals = shutdown::signals()?;
        info!(version = env!("CARGO_PKG_VERSION"), "haproxystats-pull starts");
        for warning in &config.warnings {
            warn!("{warning}");
        }
        Ok(puller::run(config.pull, clock, Service::of_this_process(), signals).await?)
    })
}
