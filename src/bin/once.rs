//! `--once` of haproxystats-pull: writes one snapshot and prints its path.

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use config::Config;
use daemon::Clock;

use crate::{cli, runtime, start};

/// Writes one snapshot into the directory. Only its path goes to standard output, so that a command
/// line can hand it to haproxystats-process.
pub(crate) async fn write(
    config: Config,
    clock: Clock,
    directory: &Path,
) -> Result<ExitCode, Box<dyn Error>> {
    let signals = runtime::signals()?;
    start::log_warnings(&config);
    let machine = runtime::machine(&config, clock);
    let snapshot = puller::once(config.pull, directory, machine, signals).await?;
    Ok(cli::print(&format!("{}\n", snapshot.display())))
}
