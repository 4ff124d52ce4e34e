//! haproxystats-process: folds snapshots of HAProxy's statistics and delivers them.

use std::fmt::Display;
use std::process::ExitCode;

use config::Program;
use daemon::Service;
use processor::{Settings, Shutdown, child};
use tracing::{error, info};

mod cli;
mod receivers;
mod render;
mod start;
mod table;
mod version;

const USAGE: &str = "
Processes statistics from HAProxy and delivers them to receivers.

Usage:
    haproxystats-process [-f <file>] [-d <dir>] [-p | -P]
    haproxystats-process [-f <file>] [-d <dir>] --render <format> <snapshot>...
    haproxystats-process [-f <file>] [-d <dir>] --check
    haproxystats-process (-h | --help)
    haproxystats-process (-v | --version)

Options:
    -f, --file <file>  configuration file with settings
                       [default: /etc/haproxystats.conf]
    -d, --dir <dir>    directory with additional configuration files (*.conf)
    -p, --print        show default settings
    -P, --print-conf   show configuration
    --render <format>  fold these snapshots and print them as graphite,
                       influx, json or prometheus; nothing is sent
    --check            connect to every receiver once; no line is sent
    -h, --help         show this screen
    -v, --version      show version

Every option of the file is explained in docs/configuration.md.
";

fn main() -> ExitCode {
    let clock = start::clock();
    if let Ok(parent) = std::env::var(child::ROLE_VARIABLE) {
        return end(child::run(parent.parse().ok(), clock, start::start_logging));
    }
    let (config, arguments) = match cli::configuration(USAGE, Program::Process) {
        Ok(parsed) => parsed,
        Err(status) => return status,
    };
    if let Some(format) = cli::value(&arguments, "--render") {
        let snapshots = arguments.get_vec("<snapshot>").into_iter().map(Into::into).collect();
        return render::print(format, snapshots, &config, clock);
    }
    if arguments.get_bool("--check") {
        return receivers::check(&config, clock);
    }
    start::start_logging(config.process.loglevel);
    let caught = start::check_resources().and_then(|()| {
        Shutdown::by_signals().map_err(|error| start::refused("cannot catch signals", &error))
    });
    let shutdown = match caught {
        Ok(shutdown) => shutdown,
        Err(error) => return end(Err(error)),
    };
    info!(version = env!("CARGO_PKG_VERSION"), "haproxystats-process starts");
    start::log_warnings(&config);
    let settings = Settings {
        pull_interval: config.pull.pull_interval,
        config: config.process,
        clock,
        service: Service::of_this_process(),
        host: start::host_name(),
        arguments: std::env::args_os().collect(),
    };
    match processor::run(settings, &shutdown) {
        Err(error) if error.is_configuration() => {
            error!("{error}");
            ExitCode::from(cli::BAD_CONFIGURATION)
        }
        result => end(result),
    }
}

fn end(result: Result<(), impl Display>) -> ExitCode {
    let Err(error) = result else { return ExitCode::SUCCESS };
    error!("{error}");
    ExitCode::from(cli::FAILED)
}
