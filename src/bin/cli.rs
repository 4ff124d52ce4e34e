//! The command line, which docopt parses by the usage text, and the steps of both programs before
//! they run.

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use config::{Config, Program, Sources};
use docopt::{ArgvMap, Docopt, Value};

use crate::version;

/// Exit status for a bad command line or configuration.
pub(crate) const BAD_CONFIGURATION: u8 = 1;
/// Exit status for a failure at run time.
pub(crate) const FAILED: u8 = 2;

/// The configuration to run on and the command line, or the status to end with because there is
/// nothing to run.
pub(crate) fn configuration(usage: &str, program: Program) -> Result<(Config, ArgvMap), ExitCode> {
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
    let parsed = Docopt::new(usage).and_then(|docopt| docopt.help(false).argv(words).parse());
    let arguments = parsed.map_err(|error| refuse(&error.to_string()))?;
    if arguments.get_bool("--print") {
        return Err(print(&config::print_defaults(program)));
    }
    // A unit can give an empty folder, as in `-d "$FOLDER"`, which is none.
    let dir = value(&arguments, "--dir").filter(|dir| !dir.is_empty()).map(Into::into);
    let config = config::load(&Sources { file: arguments.get_str("--file").into(), dir })
        .map_err(|faults| refuse(&faults.to_string()))?;
    if arguments.get_bool("--print-conf") {
        for warning in &config.warnings {
            let _ = writeln!(io::stderr(), "{warning}");
        }
        return Err(print(&config::print_in_force(&config.document, program)));
    }
    Ok((config, arguments))
}

/// The value of an option; `None` if the command line lacks the option.
pub(crate) fn value<'a>(arguments: &'a ArgvMap, option: &str) -> Option<&'a str> {
    match arguments.find(option) {
        Some(Value::Plain(value)) => value.as_deref(),
        _ => None,
    }
}

/// Whether an option is among the words, and not as the value of the option before it.
fn has_option(words: &[String], short: &str, long: &str) -> bool {
    let with_values = ["-f", "--file", "-d", "--dir", "--render", "--once"];
    let takes_value = |word: &String| with_values.contains(&word.as_str());
    words.windows(2).any(|pair| (pair[1] == short || pair[1] == long) && !takes_value(&pair[0]))
}

/// A reader that ends early (`| head`) is not an error.
pub(crate) fn print(text: &str) -> ExitCode {
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
