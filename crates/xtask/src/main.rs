//! `cargo xtask`: what a newcomer and the CI call, so that README and `.ci/run` name one command
//! each.
//!
//! `demo` shows the whole road from HAProxy to Graphite on this machine; `test` sees to the servers
//! that the tests need and runs them all; `fresh` runs both as on a new machine; `bench` and
//! `instructions` tell what it costs. All leave the machine as it was, but for packages that
//! `test`, `fresh` and `instructions` install.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for a terminal")]

mod bench;
mod dashboards;
mod demo;
mod fresh;
mod fuzz;
mod instructions;
mod soak;
mod stream;
mod test;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const USAGE: &str = "\
usage: cargo xtask demo [--seconds N] [--dumps]
       cargo xtask test [ARGUMENT ...]
       cargo xtask fresh [--only demo|test] [--scratch DIR] [--keep]
       cargo xtask soak [--minutes N] [--seed N]
       cargo xtask fuzz [--seconds N] [--seed N] [TARGET ...]
       cargo xtask bench [--size NAME ...] [--scale] [--pull] [--latency] [--all]
                         [--turns N] [--quick] [--original CMD] [--bin-dir DIR]
       cargo xtask instructions [--renew] [--bin-dir DIR]
       cargo xtask dashboards
       cargo xtask help

demo  builds both programs, runs them for half a minute against HAProxy and a
      small Graphite receiver, and shows what arrives. Needs Rust and a linker;
      takes this machine's haproxy where there is one, else recorded dumps.
        --seconds N   run for N seconds (30 where nothing is said)
        --dumps       recorded dumps, also where haproxy is installed
test  installs the servers and tools that the tests need (on Debian, as root,
      where they are missing; some into the cache folder), runs every test of
      the workspace and says at the end what was skipped. A failure ends only its
      own test binary; the last lines list all failures.
        ARGUMENT ...  handed on to `cargo test`
fresh runs demo and test as on a machine that has built nothing yet: in a clone of
      HEAD, with empty folders for crates, tools, package lists and the build. Needs
      git, the network, 8 GiB of disk and about half an hour. Refuses to run with
      changes that are not committed.
        --only TASK   only demo or only test
        --scratch DIR make the scratch folder in DIR (the system's temporary
                      folder where nothing is said)
        --keep        keep the scratch folder; after a failure it is kept anyway
soak  runs both programs against HAProxy and a receiver, kills, stops and cuts
      off all of them at random, and counts at the end what was lost: 0.
        --minutes N   how long (10 where nothing is said)
        --seed N      the faults and their pauses of an earlier soak
fuzz  feeds the readers of dumps and of the configuration with damaged and made-up
      input. What it finds lies in fuzz/artifacts. Needs a C++ compiler.
        --seconds N   for each target (60 where nothing is said)
        --seed N      of an earlier run
        TARGET ...    configuration, info, stat (all where none is named)
bench measures release builds as whole processes, beside the floor: reading the
      same files, looking at every byte once, sending as many bytes. Where no
      part is named, the three sizes with one worker and with two. What it
      prints is also in target/bench, as Markdown and as JSON.
        --size NAME   only tiny, mid or large
        --scale       10 to 100,000 servers, and a plot
        --pull        pull beside a real HAProxy with 10,000 servers
        --latency     from the rename of a snapshot to its last byte, and starts
        --all         all of these
        --turns N     how often each measurement is made (5 where nothing is said)
        --quick       little of everything: a smoke test, no figures to quote
        --original CMD  also any other program with this command line; it is
                      run as `CMD -f FILE`
        --bin-dir DIR take the programs from there and build none
instructions
      counts the instructions of three fixed runs of a worker by callgrind and
      compares them with tests/data/instructions.json. Needs valgrind.
        --renew       write the counts down instead, after a change that is meant
        --bin-dir DIR take the programs from there and build none
dashboards  writes the dashboards of contrib/grafana and contrib/graphite.

exit status: 0 when all went well, 1 when it did not, 2 for a wrong command line
";

/// Why a task ended early: a sentence for the terminal. No caller tells one failure from another.
type Failure = String;

fn main() -> ExitCode {
    if let Some(ended) = fuzz::compile() {
        return ended;
    }
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let outcome = match words.split_first() {
        Some((&"demo", rest)) => match demo::Options::parse(rest) {
            Ok(options) => demo::run(&options),
            Err(fault) => return refuse(&fault),
        },
        Some((&"test", rest)) => test::run(rest),
        Some((&"fresh", rest)) => match fresh::Options::parse(rest) {
            Ok(options) => fresh::run(&options),
            Err(fault) => return refuse(&fault),
        },
        Some((&"soak", rest)) => match soak::Options::parse(rest) {
            Ok(options) => soak::run(&options),
            Err(fault) => return refuse(&fault),
        },
        Some((&"fuzz", rest)) => match fuzz::Options::parse(rest) {
            Ok(options) => fuzz::run(&options),
            Err(fault) => return refuse(&fault),
        },
        Some((&"bench", rest)) => match bench::Options::parse(rest) {
            Ok(options) => bench::run(&options),
            Err(fault) => return refuse(&fault),
        },
        Some((&bench::floor::TASK, rest)) => bench::floor::run(rest),
        Some((&"instructions", rest)) => match instructions::Options::parse(rest) {
            Ok(options) => instructions::run(&options),
            Err(fault) => return refuse(&fault),
        },
        Some((&"dashboards", [])) => dashboards::run(),
        Some((&"dashboards", [word, ..])) => {
            return refuse(&format!("dashboards takes no {word}"));
        }
        Some((&("help" | "-h" | "--help"), _)) => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Some((word, _)) => return refuse(&format!("there is no task {word}")),
        None => return refuse("which task?"),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("xtask: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn refuse(fault: &str) -> ExitCode {
    eprint!("xtask: {fault}\n\n{USAGE}");
    ExitCode::from(2)
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

/// Where a program is; daemons are looked for where a user's PATH often does not lead.
fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    folders.extend(["/usr/sbin", "/usr/local/sbin", "/sbin"].map(PathBuf::from));
    folders.into_iter().map(|folder| folder.join(name)).find(|path| path.is_file())
}
