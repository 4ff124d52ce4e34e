//! `--render`: prints what a receiver would get of some snapshots.

use std::io::{self, ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use config::Config;
use daemon::Clock;
use processor::RenderError;

use crate::{cli, start};

/// Prints the snapshots in this format. A reader that ends early (`| head`) is not an error.
pub(crate) fn print(
    format: &str,
    snapshots: Vec<PathBuf>,
    config: &Config,
    clock: Clock,
) -> ExitCode {
    start::start_command_logging(config.process.loglevel);
    start::log_warnings(config);
    let format = match format.parse() {
        Ok(format) => format,
        Err(error) => return cli::refuse(&processor::UnknownFormat::to_string(&error)),
    };
    // A lock of standard output cannot be sent to the thread that folds.
    let mut out = io::stdout();
    let (config, host) = (&config.process, start::host_name());
    match processor::render(config, &host, clock, format, &snapshots, &mut out) {
        Ok(()) => ExitCode::SUCCESS,
        Err(RenderError::Write(error)) if error.kind() == ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            let _ = writeln!(io::stderr(), "{error}");
            ExitCode::from(cli::FAILED)
        }
    }
}
