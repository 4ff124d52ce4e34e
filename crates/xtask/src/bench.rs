//! `cargo xtask bench`: the cost of haproxystats, measured on whole processes, beside the floor:
//! the least that any program would need for the same bytes.
//!
//! The receiver and the floor must be fast too, so a development build of this program first builds
//! a release and replaces itself with it. Progress goes to standard error, tables go to standard
//! output and to the result folder. The bench only measures; no figure fails it.

pub(crate) mod floor;
pub(crate) mod generator;
mod latency;
mod plot;
pub(crate) mod process;
mod pull;
pub(crate) mod receiver;
mod receivers;
mod report;
pub(crate) mod run;
mod scale;
mod sizes;
pub(crate) mod stage;
mod statistics;
mod usage;

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use clap::value_parser;
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::{Failure, cargo, find_program};
use process::INTERRUPTED;
use report::{Conditions, Table};
use run::Program;
use stage::Stage;

/// The options of `bench`.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Options {
    /// Measure only this size; can be repeated
    #[arg(long = "size", value_name = "NAME", value_parser = sizes::NAMES)]
    sizes: Vec<String>,
    /// Measure 10 to 100,000 servers, and draw a plot
    #[arg(long)]
    scale: bool,
    /// Measure pull beside a real HAProxy with 10,000 servers
    #[arg(long)]
    pull: bool,
    /// Measure from the rename of a snapshot to its last byte, and starts
    #[arg(long)]
    latency: bool,
    /// Measure each kind of receiver beside Graphite; Kafka needs kafka-broker
    #[arg(long)]
    receivers: bool,
    /// Measure all of these
    #[arg(long)]
    all: bool,
    /// How often each measurement is made: 5 times, or once with --quick, when this is absent
    #[arg(long, value_name = "N", value_parser = value_parser!(u16).range(1..=1000))]
    turns: Option<u16>,
    /// Measure little of everything: a smoke test, no figures to quote
    #[arg(long)]
    quick: bool,
    /// Measure also another program, which is run as `CMD -f FILE`
    #[arg(long, value_name = "CMD", value_parser = command)]
    original: Option<String>,
    /// Take the programs from DIR and build none
    #[arg(long = "bin-dir", value_name = "DIR")]
    programs: Option<PathBuf>,
}

/// A part of the bench that can be measured alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Sizes,
    Scale,
    Pull,
    Latency,
    Receivers,
}

const TURNS: u16 = 5;

impl Options {
    /// Whether a part is measured. The sizes are measured if no part is named, or if an option of
    /// the sizes is given.
    fn has(&self, part: Part) -> bool {
        self.all
            || match part {
                Part::Scale => self.scale,
                Part::Pull => self.pull,
                Part::Latency => self.latency,
                Part::Receivers => self.receivers,
                Part::Sizes => {
                    let another = self.scale || self.pull || self.latency || self.receivers;
                    !another || !self.sizes.is_empty() || self.original.is_some()
                }
            }
    }

    /// The number of times that each measurement is made.
    fn turns(&self) -> usize {
        self.turns.unwrap_or(if self.quick { 1 } else { TURNS }).into()
    }
}

fn command(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        return Err("a command is needed".to_owned());
    }
    Ok(text.to_owned())
}

/// Builds, measures, prints, and names the folder of the results; `words` are the options as typed.
pub(crate) fn run(options: &Options, words: &[String]) -> Result<(), Failure> {
    if cfg!(debug_assertions) {
        return Err(become_release(words));
    }
    let mut what = vec!["--package", "haproxystats", "--bins"];
    if options.has(Part::Receivers) && find_program("kafka-broker").is_some() {
        what.extend(["--features", "kafka"]);
    }
    let programs = programs(options.programs.as_deref(), &what)?;
    heed_interrupts()?;
    let results = target_folder()?.join("bench");
    fs::create_dir_all(&results).map_err(|error| format!("{}: {error}", results.display()))?;
    let stage = Stage::create("bench")?;
    let conditions = Conditions {
        command: format!("cargo xtask bench {}", quoted(words)).trim_end().to_owned(),
        machine: report::machine(),
        folder: stage.file_system(),
    };
    let publish = |name: &str, (table, figures): (Table, serde_json::Value)| {
        report::publish(&results, name, &conditions, &table, figures)
    };
    let program = sizes::process(&programs);
    if options.has(Part::Sizes) {
        let original = options.original.as_deref().map(Program::parse);
        let plan = sizes::Plan {
            program: &program,
            original: original.as_ref(),
            sizes: &options.sizes,
            turns: options.turns(),
            quick: options.quick,
        };
        publish("sizes", sizes::run(&plan, &stage)?)?;
    }
    if options.has(Part::Scale) {
        let (points, outcome) = scale::run(&program, &stage, options.turns(), options.quick)?;
        plot::write(&results.join("scale.svg"), &points)?;
        publish("scale", outcome)?;
    }
    if options.has(Part::Pull) {
        publish("pull", pull::run(&programs, &stage, options.quick)?)?;
    }
    if options.has(Part::Latency) {
        publish("latency", latency::run(&program, &stage, options.quick)?)?;
    }
    if options.has(Part::Receivers) {
        let turns = options.turns();
        publish("receivers", receivers::run(&program, &stage, turns, options.quick)?)?;
    }
    eprintln!("The results are in {}", results.display());
    Ok(())
}

/// Builds a release of this program and replaces this process with it. Returns only on a failure.
fn become_release(words: &[String]) -> Failure {
    match build(&["--package", "xtask"]) {
        Ok(folder) => {
            let error = Command::new(folder.join("xtask")).arg("bench").args(words).exec();
            format!("{}: {error}", folder.join("xtask").display())
        }
        Err(failure) => failure,
    }
}

/// The folder of the programs: the named folder, or the folder of new releases.
pub(crate) fn programs(named: Option<&Path>, what: &[&str]) -> Result<PathBuf, Failure> {
    match named {
        Some(folder) => {
            fs::canonicalize(folder).map_err(|error| format!("{}: {error}", folder.display()))
        }
        None => build(what),
    }
}

/// Builds releases and returns their folder.
fn build(what: &[&str]) -> Result<PathBuf, Failure> {
    eprintln!("Building {} (the first time can take several minutes) ...", what.join(" "));
    let status = cargo()
        .args(["build", "--release", "--locked"])
        .args(what)
        .status()
        .map_err(|error| format!("cargo build: {error}"))?;
    if !status.success() {
        return Err(format!("cargo build ended with {status}"));
    }
    Ok(target_folder()?.join("release"))
}

/// Cargo's target folder: this program is in its subfolder of the profile.
fn target_folder() -> Result<PathBuf, Failure> {
    let own = std::env::current_exe().map_err(|error| format!("own path: {error}"))?;
    own.ancestors().nth(2).map(Path::to_owned).ok_or_else(|| "own path is too short".to_owned())
}

/// Ctrl-C ends the bench at its next look, so that it ends its children and removes its folder.
pub(crate) fn heed_interrupts() -> Result<(), Failure> {
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&INTERRUPTED))
            .map_err(|error| format!("signal {signal}: {error}"))?;
    }
    Ok(())
}

/// Quotes words for a shell.
fn quoted(words: &[String]) -> String {
    let quote = |word: &String| match word.contains(' ') {
        true => format!("'{word}'"),
        false => word.clone(),
    };
    words.iter().map(quote).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The parts that these options measure.
    fn parts(options: Options) -> Vec<Part> {
        let all = [Part::Sizes, Part::Scale, Part::Pull, Part::Latency, Part::Receivers];
        all.into_iter().filter(|part| options.has(*part)).collect()
    }

    #[test]
    fn without_a_part_the_sizes_are_measured() {
        assert_eq!(parts(Options::default()), [Part::Sizes]);
        assert_eq!(parts(Options { scale: true, ..Options::default() }), [Part::Scale]);
        let sizes = vec!["mid".to_owned()];
        let both = Options { scale: true, sizes, ..Options::default() };
        assert_eq!(parts(both), [Part::Sizes, Part::Scale]);
        assert_eq!(parts(Options { all: true, ..Options::default() }).len(), 5);
    }

    #[test]
    fn turns_are_few_when_it_must_be_quick() {
        let quick = Options { quick: true, ..Options::default() };
        assert_eq!((Options::default().turns(), quick.turns()), (5, 1));
        assert_eq!(Options { turns: Some(3), ..quick }.turns(), 3);
    }

    #[test]
    fn the_command_is_told_so_that_it_can_be_typed_again() {
        let words = ["--original", "python3 -m x"].map(str::to_owned);
        assert_eq!(quoted(&words), "--original 'python3 -m x'");
    }
}
