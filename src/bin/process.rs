//! haproxystats-process: folds snapshots of HAProxy's statistics and delivers them.

use std::process::ExitCode;
use std::time::{Instant, SystemTime};

use config::Program;
use daemon::{Clock, Service, shutdown};
use processor::{Settings, Shutdown, child};
use tracing::{error, info, warn};

mod cli;
mod render;
mod start;
mod version;

const USAGE: &str = "
Processes statistics from HAProxy and pushes them to Graphite.

Usage:
    haproxystats-process [-f <file>] [-d <dir>] [-p | -P]
    haproxystats-process [-f <file>] [-d <dir>] --render <format> <snapshot>...
    haproxystats-process (-h | --help)
    haproxystats-process (-v | --version)

Options:
    -f, --file <file>  configuration file with settings
                       [default: /etc/haproxystats.conf]
    -d, --dir <dir>    directory with additional configuration files (*.conf)
    -p, --print        show default settings
    -P, --print-conf   show configuration
    --render <format>  fold the snapshots in these directories and print
                       them as graphite, influx or json; nothing is sent
    -h, --help         show this screen
    -v, --version      show version

Every option of the file is explained in docs/configuration.md.
";

fn main() -> ExitCode {
    let clock = Clock { wall: SystemTime::now, monotonic: Instant::now };
    if let Ok(parent) = std::env::var(child::ROLE_VARIABLE) {
        return end(child::run(parent.parse().ok(), clock, start::start_logging));
    }
    let (config, render) = match cli::configuration(USAGE, Program::Process) {
        Ok(parsed) => parsed,
        Err(status) => return status,
    };
    start::start_logging(config.process.loglevel);
    if let Some((format, snapshots)) = render {
        return render::print(&format, &snapshots, &config.process, clock);
    }
    if let Err(error) = start::check_resources() {
        error!("{error}");
        return ExitCode::from(cli::FAILED);
    }
    let caught = Shutdown::new()
        .and_then(|(tell, shutdown)| shutdown::on_signal(tell).map(|()| shutdown))
        .inspect_err(|error| error!("{}", start::refused("cannot catch signals", error)));
    let Ok(shutdown) = caught else { return ExitCode::from(cli::FAILED) };
    info!(version = env!("CARGO_PKG_VERSION"), "haproxystats-process starts");
    for warning in &config.warnings {
        warn!("{warning}");
    }
    let settings = Settings {
        config: config.process,
        clock,
        service: Service::of_this_process(),
        host: start::host_name(),
        arguments: std::env::args_os().collect(),
    };
    let result = processor::run(settings, &shutdown);
    if let Err(error) = &result
        && error.is_configuration()
    {
        error!("{error}");
        return ExitCode::from(cli::BAD_CONFIGURATION);
    }
    end(result)
}

fn end(result: Result<(), impl std::error::Error>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!("{error}");
            ExitCode::from(cli::FAILED)
        }
    }
}
