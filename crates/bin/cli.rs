//! The command line, as docopt reads it from the usage text, and what both programs do with it before they run.

use std::path::PathBuf;
use std::process::ExitCode;

use config::{Config, LogLevel, Program, Sources};
use daemon::{LevelFilter, logging};
use docopt::Docopt;
use serde::Deserialize;

/// Exit status for a bad command line or configuration.
pub(crate) const BAD_CONFIGURATION: u8 = 1;
/// Exit status for a failure at run time.
pub(crate) const FAILED: u8 = 2;

#[derive(Debug, Deserialize)]
struct Arguments {
    flag_file: PathBuf,
    flag_dir: Option<PathBuf>,
    flag_print: bool,
    flag_print_conf: bool,
}

/// The configuration to run on, or the status to end with because all is said.
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "this is where the programs speak")]
pub(crate) fn configuration(usage: &str, program: Program) -> Result<Config, ExitCode> {
    let words: Vec<String> = std::env::args().collect();
    let asked =
        |short: &str, long: &str| words.iter().skip(1).any(|word| word == short || word == long);
    // docopt refuses these two beside other options.
    if asked("-h", "--help") {
        println!("{}", usage.trim());
        return Err(ExitCode::SUCCESS);
    }
    if asked("-v", "--version") {
        println!("{} {}", env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
        return Err(ExitCode::SUCCESS);
    }
    let parsed = Docopt::new(usage).and_then(|docopt| docopt.help(false).argv(words).deserialize());
    let arguments: Arguments = parsed.map_err(|error| {
        eprintln!("{error}");
        ExitCode::from(BAD_CONFIGURATION)
    })?;
    if arguments.flag_print {
        print!("{}", config::print_defaults(program));
        return Err(ExitCode::SUCCESS);
    }
    // docopt gives an absent option as an empty string.
    let dir = arguments.flag_dir.filter(|dir| !dir.as_os_str().is_empty());
    let config = config::load(&Sources { file: arguments.flag_file, dir }).map_err(|faults| {
        eprintln!("{faults}");
        ExitCode::from(BAD_CONFIGURATION)
    })?;
    if arguments.flag_print_conf {
        for warning in &config.warnings {
            eprintln!("{warning}");
        }
        print!("{}", config::print_in_force(&config.document, program));
        return Err(ExitCode::SUCCESS);
    }
    Ok(config)
}

/// Starts logging at the level that the configuration asks for.
pub(crate) fn start_logging(level: LogLevel) {
    logging::start(match level {
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warning => LevelFilter::WARN,
        LogLevel::Error | LogLevel::Critical => LevelFilter::ERROR,
    });
}
