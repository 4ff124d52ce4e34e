//! `cargo xtask fresh`: runs the commands of README.md as on a machine that has built nothing yet.
//!
//! The commands run in a clone of HEAD, with empty folders for all that they download and build:
//! crates, tools, package lists, the target folder. On a machine in use an earlier build may have
//! downloaded what a new machine lacks. Programs that are installed stay installed: the task names
//! them, and apt simulates the installation of their packages.

mod environment;
mod packages;
mod scratch;

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use crate::{Failure, root, stream, test};
use environment::Environment;
use scratch::Scratch;

/// The section of README.md whose commands are run.
const SECTION: &str = "\n## Two commands to begin with\n";
/// Their tasks, for `--only`.
const TASKS: [&str; 2] = ["demo", "test"];

/// The options of `fresh`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Run only this task
    #[arg(long, value_name = "TASK", value_parser = TASKS)]
    only: Option<String>,
    /// Make the scratch folder in DIR, by default the system's temporary folder
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
    /// Keep the scratch folder; after a failure it is kept anyway
    #[arg(long)]
    keep: bool,
}

/// A command that was run.
struct CommandResult {
    command: String,
    outcome: Result<ExitStatus, Failure>,
    time: Duration,
}

impl CommandResult {
    fn passed(&self) -> bool {
        self.outcome.as_ref().is_ok_and(ExitStatus::success)
    }
}

/// Clones, runs the commands, shows the table and removes the scratch folder. Every command is run,
/// even if one before it failed.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let changed = git(&root(), &["status", "--porcelain"])?;
    if !changed.is_empty() {
        return Err(format!("the clone would lack these changes; commit them first:\n{changed}"));
    }
    let commit = git(&root(), &["rev-parse", "HEAD"])?;
    let scratch = Scratch::create(&options.scratch.clone().unwrap_or_else(std::env::temp_dir))?;
    println!("xtask: {} has all that the run makes", scratch.path().display());
    let ran = run_in(&scratch, &commit, options.only.as_deref());
    let passed = ran.as_ref().is_ok_and(|ran| ran.iter().all(CommandResult::passed));
    if let Ok(ran) = &ran {
        println!("\nxtask: a fresh clone of {commit}\n{}", table(ran));
    }
    if passed && !options.keep {
        scratch.remove()?;
    } else {
        println!("xtask: logs and all else are in {}", scratch.path().display());
    }
    match ran? {
        _ if passed => Ok(()),
        ran => {
            let failed: Vec<String> =
                ran.into_iter().filter(|ran| !ran.passed()).map(|ran| ran.command).collect();
            Err(format!("failed on a fresh machine: {}", failed.join(", ")))
        }
    }
}

fn run_in(
    scratch: &Scratch,
    commit: &str,
    only: Option<&str>,
) -> Result<Vec<CommandResult>, Failure> {
    let clone = scratch.clone_folder();
    let (from, to) = (root(), clone.to_string_lossy().into_owned());
    git(scratch.path(), &["clone", "--quiet", "--no-checkout", &from.to_string_lossy(), &to])?;
    git(&clone, &["checkout", "--quiet", "--detach", commit])?;
    let readme = clone.join("README.md");
    let text =
        fs::read_to_string(&readme).map_err(|error| format!("{}: {error}", readme.display()))?;
    let commands = commands(&text, only)?;

    let names = std::env::vars_os().map(|(name, _)| name);
    let environment = Environment::new(scratch.path(), names);
    scratch.fill(&environment)?;
    println!("xtask: on this machine already: {}", test::installed().join(" "));
    let run = |command: String, line: &str| {
        let log = scratch.log(&command);
        println!("\nxtask: $ {line}   (log: {})", log.display());
        let start = Instant::now();
        let outcome = run_command(line, &clone, &environment, &log);
        CommandResult { command, outcome, time: start.elapsed() }
    };
    let mut ran = Vec::new();
    if only != Some("demo") && test::is_debian() {
        ran.push(run(packages::NAME.to_owned(), &packages::line(&test::packages())));
    }
    ran.extend(commands.into_iter().map(|command| run(command.clone(), &command)));
    Ok(ran)
}

/// Runs a line as a user's shell would; its output is shown and goes to the log.
fn run_command(
    line: &str,
    folder: &Path,
    environment: &Environment,
    log: &Path,
) -> Result<ExitStatus, Failure> {
    let fault = |error| format!("{}: {error}", log.display());
    let mut file = File::create(log).map_err(fault)?;
    let mut command = Command::new("sh");
    command.args(["-c", line]).current_dir(folder);
    environment.apply(&mut command);
    let mut written = Ok(());
    let status = stream::run(command, &mut |piece| {
        if written.is_ok() {
            written = file.write_all(piece);
        }
    })?;
    written.map_err(fault)?;
    Ok(status)
}

/// The commands of README's section: its indented lines, or the one of the task.
fn commands(readme: &str, only: Option<&str>) -> Result<Vec<String>, Failure> {
    let section = readme.split_once(SECTION).map_or("", |(_, rest)| rest);
    let section = section.split("\n## ").next().unwrap_or_default();
    let lines = section.lines().filter_map(|line| line.strip_prefix("    "));
    let all: Vec<&str> = lines.map(str::trim).collect();
    if all != TASKS.map(|task| format!("cargo xtask {task}")) {
        return Err(format!("README.md begins with other commands: {}", all.join(", ")));
    }
    let wanted = |line: &&str| only.is_none_or(|task| line.ends_with(&format!(" {task}")));
    Ok(all.into_iter().filter(wanted).map(str::to_owned).collect())
}

fn table(all: &[CommandResult]) -> String {
    let mut text = format!("{:<18}  {:>12}  result\n", "command", "time");
    for ran in all {
        let seconds = ran.time.as_secs();
        let time = format!("{} min {:02} s", seconds / 60, seconds % 60);
        let result = match &ran.outcome {
            Ok(status) if status.success() => "passed".to_owned(),
            Ok(status) => format!("failed: {status}"),
            Err(failure) => format!("failed: {failure}"),
        };
        text.push_str(&format!("{:<18}  {time:>12}  {result}\n", ran.command));
    }
    text
}

/// The output of git, without the newline at its end.
fn git(folder: &Path, words: &[&str]) -> Result<String, Failure> {
    let output = Command::new("git").arg("-C").arg(folder).args(words).output();
    let output = output.map_err(|error| format!("git: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
    } else {
        let complaint = String::from_utf8_lossy(&output.stderr);
        Err(format!("git {}: {}", words.join(" "), complaint.trim_end()))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn the_commands_are_those_of_the_readme() {
        let readme = fs::read_to_string(root().join("README.md")).unwrap();
        let all = commands(&readme, None).unwrap();
        assert_eq!(all, ["cargo xtask demo", "cargo xtask test"]);
        assert_eq!(commands(&readme, Some("test")).unwrap(), ["cargo xtask test"]);
        // A command that a newcomer would run but this task does not run is a failure.
        let other = readme.replace("    cargo xtask test\n", "    make\n    cargo xtask test\n");
        let fault = commands(&other, None).unwrap_err();
        assert!(fault.ends_with("cargo xtask demo, make, cargo xtask test"), "{fault}");
        assert!(commands("# haproxystats\n", Some("demo")).is_err());
    }

    #[test]
    fn the_table_has_time_and_result_of_each_command() {
        let ran = |command: &str, outcome, seconds| CommandResult {
            command: command.to_owned(),
            outcome,
            time: Duration::from_secs(seconds),
        };
        let all = [
            ran("cargo xtask demo", Ok(ExitStatus::from_raw(0)), 185),
            ran("cargo xtask test", Ok(ExitStatus::from_raw(1 << 8)), 3600),
            ran(packages::NAME, Err("sh: not found".to_owned()), 0),
        ];
        let expected = "\
command                     time  result
cargo xtask demo      3 min 05 s  passed
cargo xtask test     60 min 00 s  failed: exit status: 1
apt-get --simulate    0 min 00 s  failed: sh: not found
";
        assert_eq!(table(&all), expected);
        assert_eq!(all.map(|ran| ran.passed()), [true, false, false]);
    }
}
