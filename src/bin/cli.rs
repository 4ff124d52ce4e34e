//! The command line, which docopt parses by the usage text, and the steps of both programs before
//! they run.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use config::{Config, Program, Sources};
use docopt::Docopt;
use serde::Deserialize;

use crate::version;

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

/// The format and the directories of `--render`.
type Render = (String, Vec<PathBuf>);

/// The configuration to run on, or the status to end with because there is nothing to run.
pub(crate) fn configuration(
    usage: &str,
    program: Program,
) -> Result<(Config, Option<Render>), ExitCode> {
    let words: Result<Vec<String>, _> = std::env::args_os().map(OsString::into_string).collect();
    let words =
        words.map_err(|word| refuse(&format!("{} is not UTF-8", word.to_string_lossy())))?;
    // docopt refuses these two options beside others.
    if has_option(&words, "-h", "--help") {
        return Err(print(usage.trim_start()));
    }
    if has_option(&words, "-v", "--version") {
        return Err(print(&version::of(program)));
    }
    let refused = |error: docopt::Error| refuse(&error.to_string());
    let parsed = Docopt::new(usage).and_then(|docopt| docopt.help(false).argv(words).parse());
    let parsed = parsed.map_err(refused)?;
    // Only haproxystats-process has these; where a usage lacks them they are empty.
    let format = parsed.get_str("--render").to_owned();
    let snapshots: Vec<PathBuf> = parsed.get_vec("<snapshot>").iter().map(PathBuf::from).collect();
    let arguments: Arguments = parsed.deserialize().map_err(refused)?;
    if arguments.flag_print {
        return Err(print(&config::print_defaults(program)));
    }
    // docopt gives an absent option as an empty string.
    let dir = arguments.flag_dir.filter(|dir| !dir.as_os_str().is_empty());
    let config = config::load(&Sources { file: arguments.flag_file, dir })
        .map_err(|faults| refuse(&faults.to_string()))?;
    if arguments.flag_print_conf {
        for warning in &config.warnings {
            let _ = writeln!(io::stderr(), "{warning}");
        }
        return Err(print(&config::print_in_force(&config.document, program)));
    }
    Ok((config, if format.is_empty() { None } else { Some((format, snapshots)) }))
}

/// Whether an option is among the words, and not as the value of the option before it.
fn has_option(words: &[String], short: &str, long: &str) -> bool {
    let takes_value =
        |word: &String| ["-f", "--file", "-d", "--dir", "--render"].contains(&word.as_str());
    words.windows(2).any(|pair| (pair[1] == short || pair[1] == long) && !takes_value(&pair[0]))
}

/// A reader that ends early (`| head`) is not an error.
fn print(text: &str) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            let _ = writeln!(io::stderr(), "cannot write to standard output: {error}");
            ExitCode::from(FAILED)
        }
        _ => ExitCode::SUCCESS,
    }
}

pub(crate) fn refuse(reason: &str) -> ExitCode {
    let _ = writeln!(io::stderr(), "{reason}");
    ExitCode::from(BAD_CONFIGURATION)
}
