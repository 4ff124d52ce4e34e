//! haproxystats-pull: asks every stats socket of HAProxy and publishes the answers as a snapshot.

use std::error::Error;
use std::process::ExitCode;

use config::{Config, Program};
use daemon::{Clock, Service};
use tracing::info;

mod check;
mod cli;
mod once;
mod runtime;
mod start;
mod table;
mod version;

const USAGE: &str = "
Pulls statistics from HAProxy over its stats sockets.

Usage:
    haproxystats-pull [-f <file>] [-d <dir>] [-p | -P]
    haproxystats-pull [-f <file>] [-d <dir>] (--once <dir> | --check)
    haproxystats-pull (-h | --help)
    haproxystats-pull (-v | --version)

Options:
    -f, --file <file>  configuration file with settings
                       [default: /etc/haproxystats.conf]
    -d, --dir <dir>    directory with additional configuration files (*.conf)
    -p, --print        show default settings
    -P, --print-conf   show configuration
    --once <dir>       write one snapshot into this directory and print its
                       path; dst-dir and a running service are left alone
    --check            ask every endpoint once and print how it answers;
                       nothing is written
    -h, --help         show this screen
    -v, --version      show version

Every option of the file is explained in docs/configuration.md.
";

fn main() -> ExitCode {
    let (config, arguments) = match cli::configuration(USAGE, Program::Pull) {
        Ok(parsed) => parsed,
        Err(status) => return status,
    };
    let clock = start::clock();
    if let Some(directory) = cli::value(&arguments, "--once") {
        start::start_command_logging(config.pull.loglevel);
        return runtime::run(once::write(config, clock, directory.as_ref()));
    }
    if arguments.get_bool("--check") {
        start::start_command_logging(config.pull.loglevel);
        return runtime::run(check::print(config, clock));
    }
    start::start_logging(config.pull.loglevel);
    runtime::run(pull(config, clock))
}

/// The service.
async fn pull(config: Config, clock: Clock) -> Result<ExitCode, Box<dyn Error>> {
    let signals = runtime::signals()?;
    info!(version = env!("CARGO_PKG_VERSION"), "haproxystats-pull starts");
    start::log_warnings(&config);
    let machine = runtime::machine(&config, clock);
    puller::run(config.pull, machine, Service::of_this_process(), signals).await?;
    Ok(ExitCode::SUCCESS)
}
