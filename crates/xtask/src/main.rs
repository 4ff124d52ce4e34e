//! `cargo xtask`: the tasks that a newcomer and the CI run, so that README and `.ci/run` name one
//! command each.
//!
//! clap reads the command line: each task declares its options in a struct, from which the usage
//! and the messages about a wrong command line come too. All tasks leave the machine as it was,
//! except for packages that `test`, `fresh` and `instructions` install.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for a terminal")]

mod bench;
mod dashboards;
mod demo;
mod fresh;
mod fuzz;
mod instructions;
mod simulate;
mod soak;
mod stream;
mod test;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::{Parser, Subcommand};

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "xtask",
    bin_name = "cargo xtask",
    about = "Runs a task of this project",
    after_help = "exit status: 0 when all went well, 1 when it did not, 2 for a wrong command line",
    flatten_help = true
)]
struct CommandLine {
    #[command(subcommand)]
    task: Task,
}

/// Every task. The first paragraph of a doc comment is in the list of tasks, all of them are in the
/// task's own help.
#[derive(Debug, Subcommand)]
enum Task {
    /// Runs both programs for half a minute and shows what arrives
    ///
    /// Builds them first. In front is this machine's haproxy where there is one, else recorded
    /// dumps; behind is a small Graphite receiver.
    #[command(verbatim_doc_comment)]
    Demo(demo::Options),
    /// Runs every test of the workspace
    ///
    /// Installs the servers and tools that the tests need before, on Debian and as root; some go
    /// into the cache folder. A failure ends only its own test binary; the last lines list all
    /// failures, and those before them what was skipped.
    #[command(verbatim_doc_comment)]
    Test(test::Options),
    /// Runs demo and test as on a machine that has built nothing yet
    ///
    /// In a clone of HEAD, with empty folders for crates, tools, package lists and the build. Needs
    /// git, the network, 8 GiB of disk and about half an hour. Refuses to run with changes that are
    /// not committed.
    #[command(verbatim_doc_comment)]
    Fresh(fresh::Options),
    /// Runs the simulator of haproxystats-process on many seeds
    ///
    /// The real core with simulated children, through crashes and faults. Each seed must end exact;
    /// one that does not prints itself.
    #[command(verbatim_doc_comment)]
    Simulate(simulate::Options),
    /// Runs both programs under random faults and counts what was lost: 0
    ///
    /// Kills, stops and cuts off both programs with their children, HAProxy and receivers, and
    /// fills the disks of local-store and the outbox where asked for.
    #[command(verbatim_doc_comment)]
    Soak(soak::Options),
    /// Feeds the readers of dumps and of the configuration with damaged and made-up input
    ///
    /// Inputs that crash a reader go to fuzz/artifacts. Needs a C++ compiler.
    #[command(verbatim_doc_comment)]
    Fuzz(fuzz::Options),
    /// Measures what a snapshot costs
    ///
    /// Runs release builds as whole processes, beside the floor: reading the same files, looking at
    /// every byte once, sending as many bytes. Without a part it measures the three sizes with one
    /// worker and with two. Tables go also to target/bench, as Markdown and as JSON.
    #[command(verbatim_doc_comment)]
    Bench(bench::Options),
    /// Compares the instructions of haproxystats-process with tests/data/instructions.json
    ///
    /// callgrind counts three fixed runs, by role of the child. Needs valgrind.
    #[command(verbatim_doc_comment)]
    Instructions(instructions::Options),
    /// Writes the dashboards of contrib/grafana and contrib/graphite
    Dashboards,
    /// The floor of `bench`, which starts it as a process of its own
    #[command(hide = true)]
    Floor(bench::floor::Options),
}

/// Why a task ended early: a sentence for the terminal. No caller distinguishes failures.
type Failure = String;

fn main() -> ExitCode {
    if let Some(ended) = fuzz::compile() {
        return ended;
    }
    let task = match CommandLine::try_parse() {
        Ok(command_line) => command_line.task,
        Err(error) => return refuse(&error),
    };
    let outcome = match task {
        Task::Demo(options) => demo::run(&options),
        Task::Test(_) => test::run(&words()),
        Task::Fresh(options) => fresh::run(&options),
        Task::Simulate(options) => simulate::run(&options),
        Task::Soak(options) => soak::run(&options),
        Task::Fuzz(options) => fuzz::run(&options),
        Task::Bench(options) => bench::run(&options, &words()),
        Task::Instructions(options) => instructions::run(&options),
        Task::Dashboards => dashboards::run(),
        Task::Floor(options) => bench::floor::run(&options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("xtask: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// The words after the name of the task, as they were typed.
fn words() -> Vec<String> {
    std::env::args().skip(2).collect()
}

/// Shows the message of clap, which can also be the help that was asked for.
fn refuse(error: &clap::Error) -> ExitCode {
    // A reader that ends early (`| head`) is not an error.
    let _ = error.print();
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

/// The repository: two folders above this crate's manifest.
fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.ancestors().nth(2).unwrap_or(manifest).to_owned()
}

/// The cargo that runs us, so that a toolchain chosen on the command line is kept.
fn cargo() -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(program);
    command.current_dir(root());
    command
}

/// The path of a program, which can also be in a folder of daemons that is not in a user's PATH.
fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    folders.extend(["/usr/sbin", "/usr/local/sbin", "/sbin"].map(PathBuf::from));
    folders.into_iter().map(|folder| folder.join(name)).find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use clap::CommandFactory;

    use super::*;

    /// Parses a command line with clap.
    fn parse(line: &str) -> Result<Task, String> {
        let words = line.split_whitespace().skip(1);
        match CommandLine::try_parse_from(words) {
            Ok(command_line) => Ok(command_line.task),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn the_declarations_of_the_options_fit_each_other() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn a_wrong_command_line_is_refused_with_a_reason() {
        for (line, reason) in [
            ("cargo xtask", "Usage: cargo xtask demo"),
            ("cargo xtask benchmark", "unrecognized subcommand 'benchmark'"),
            ("cargo xtask demo --second 5", "unexpected argument '--second' found"),
            ("cargo xtask demo --seconds 0", "0 is not in 1..=86400"),
            ("cargo xtask demo --seconds", "a value is required"),
            ("cargo xtask fresh --only soak", "possible values: demo, test"),
            ("cargo xtask fresh --scratch", "a value is required"),
            ("cargo xtask simulate --seeds 0", "0 is not in 1..="),
            ("cargo xtask simulate --from -1", "unexpected argument '-1' found"),
            ("cargo xtask soak --quick", "unexpected argument '--quick' found"),
            ("cargo xtask soak --minutes 0", "not above 0"),
            ("cargo xtask soak --minutes NaN", "not above 0"),
            ("cargo xtask soak --seed x", "invalid value 'x'"),
            ("cargo xtask fuzz stats", "possible values: configuration, info, sources, stat"),
            ("cargo xtask fuzz --seconds 0", "0 is not in 1.."),
            ("cargo xtask bench --turns 0", "0 is not in 1..=1000"),
            ("cargo xtask bench --size huge", "possible values: tiny, mid, large"),
            ("cargo xtask bench --original=", "a command is needed"),
            ("cargo xtask bench --bin-dir", "a value is required"),
            ("cargo xtask bench mid", "unexpected argument 'mid' found"),
            ("cargo xtask dashboards now", "unexpected argument 'now' found"),
        ] {
            let message = parse(line).unwrap_err();
            assert!(message.contains(reason), "{line}: {message}");
        }
    }

    /// `cargo test` knows more options than we do.
    #[test]
    fn every_argument_of_cargo_test_is_accepted() {
        for line in ["--test e2e", "-p spool -- --nocapture", "-- --test-threads 1", "name"] {
            let task = parse(&format!("cargo xtask test {line}"));
            assert!(matches!(task, Ok(Task::Test(_))), "{line}: {task:?}");
        }
    }

    /// The pages of the project that show commands.
    fn pages() -> Vec<PathBuf> {
        let entries = |folder: &str| fs::read_dir(root().join(folder)).unwrap();
        let docs = entries("docs").map(|entry| entry.unwrap().path());
        let contrib = entries("contrib").map(|entry| entry.unwrap().path().join("README.md"));
        let own = ["README.md", "CONTRIBUTING.md"].map(|name| root().join(name));
        let pages = docs.chain(contrib).chain(own);
        pages
            .filter(|path| path.extension().is_some_and(|end| end == "md") && path.exists())
            .collect()
    }

    #[test]
    fn the_commands_in_the_pages_are_taken() {
        let mut found = 0;
        for page in pages() {
            for line in fs::read_to_string(&page).unwrap().lines() {
                // A command has an indented line of its own, which may end with a remark.
                let line = line.split("  #").next().unwrap();
                if line.starts_with("    ") && line.trim_start().starts_with("cargo xtask") {
                    parse(line).unwrap_or_else(|message| panic!("{}: {message}", page.display()));
                    found += 1;
                }
            }
        }
        assert!(found > 15, "{found} commands were found");
    }
}
