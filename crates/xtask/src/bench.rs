//! `cargo xtask bench`: what haproxystats costs, measured on whole processes, beside what the
//! machine asks of anybody for the same bytes.
//!
//! The receiver and the floor must be fast too, so a development build of this program builds and
//! becomes a release build first. Progress goes to standard error, tables to standard output and to
//! the result folder. Nothing here is a test: figures are for people.

pub(crate) mod floor;
pub(crate) mod generator;
mod latency;
mod plot;
mod pull;
pub(crate) mod receiver;
mod report;
mod run;
pub(crate) mod running;
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

use signal_hook::consts::{SIGINT, SIGTERM};

use crate::{Failure, cargo};
use report::{Conditions, Table};
use run::Program;
use running::INTERRUPTED;
use stage::Stage;

/// What the command line asks for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    parts: Vec<Part>,
    sizes: Vec<String>,
    turns: Option<usize>,
    original: Option<String>,
    programs: Option<PathBuf>,
    quick: bool,
    /// As it was typed, for the report.
    words: Vec<String>,
}

/// What can be measured by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Sizes,
    Scale,
    Pull,
    Latency,
}

const PARTS: [Part; 4] = [Part::Sizes, Part::Scale, Part::Pull, Part::Latency];
const TURNS: usize = 5;
const TURNS_MAX: usize = 1000;

impl Options {
    /// Reads the words after `bench`.
    pub(crate) fn parse(words: &[&str]) -> Result<Self, Failure> {
        let mut options = Self {
            words: words.iter().map(|word| (*word).to_owned()).collect(),
            ..Self::default()
        };
        let mut rest = words.iter();
        while let Some(&word) = rest.next() {
            let mut value = || rest.next().copied().ok_or_else(|| format!("{word} needs a value"));
            match word {
                "--scale" => options.parts.push(Part::Scale),
                "--pull" => options.parts.push(Part::Pull),
                "--latency" => options.parts.push(Part::Latency),
                "--all" => options.parts.extend(PARTS),
                "--quick" => options.quick = true,
                "--original" => options.original = Some(value()?.to_owned()),
                "--bin-dir" => options.programs = Some(PathBuf::from(value()?)),
                "--size" => {
                    let size = value().ok().filter(|name| sizes::is_size(name));
                    options.sizes.push(size.ok_or("--size needs tiny, mid or large")?.to_owned());
                }
                "--turns" => {
                    let turns = value().ok().and_then(|text| text.parse().ok());
                    let turns = turns.filter(|turns| (1..=TURNS_MAX).contains(turns));
                    options.turns =
                        Some(turns.ok_or("--turns needs a whole number from 1 to 1000")?);
                }
                _ => return Err(format!("bench has no option {word}")),
            }
        }
        if options.original.as_ref().is_some_and(|command| command.trim().is_empty()) {
            return Err("--original needs a command".to_owned());
        }
        let wants_sizes = !options.sizes.is_empty() || options.original.is_some();
        if options.parts.is_empty() || (wants_sizes && !options.parts.contains(&Part::Sizes)) {
            options.parts.push(Part::Sizes);
        }
        Ok(options)
    }

    fn has(&self, part: Part) -> bool {
        self.parts.contains(&part)
    }

    /// How often each measurement is made.
    fn turns(&self) -> usize {
        self.turns.unwrap_or(if self.quick { 1 } else { TURNS })
    }
}

/// Builds, measures, prints, and tells where the results are.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    if cfg!(debug_assertions) {
        return Err(become_release(&options.words));
    }
    let programs = programs(options.programs.as_deref(), &["--package", "haproxystats", "--bins"])?;
    heed_interrupts()?;
    let results = target_folder()?.join("bench");
    fs::create_dir_all(&results).map_err(|error| format!("{}: {error}", results.display()))?;
    let stage = Stage::create("bench")?;
    let conditions = Conditions {
        command: format!("cargo xtask bench {}", quoted(&options.words)).trim_end().to_owned(),
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
    eprintln!("The results are in {}", results.display());
    Ok(())
}

/// Builds a release of this program and runs it in place of this one; only a failure comes back.
fn become_release(words: &[String]) -> Failure {
    match build(&["--package", "xtask"]) {
        Ok(folder) => {
            let error = Command::new(folder.join("xtask")).arg("bench").args(words).exec();
            format!("{}: {error}", folder.join("xtask").display())
        }
        Err(failure) => failure,
    }
}

/// The folder of the programs: the one that is named, or that of new releases.
pub(crate) fn programs(named: Option<&Path>, what: &[&str]) -> Result<PathBuf, Failure> {
    match named {
        Some(folder) => {
            fs::canonicalize(folder).map_err(|error| format!("{}: {error}", folder.display()))
        }
        None => build(what),
    }
}

/// Builds releases; gives the folder they are in.
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

/// We were built into a folder of it that bears the name of our own profile.
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

/// Words as a shell takes them.
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

    #[test]
    fn without_a_part_the_sizes_are_measured() {
        assert_eq!(Options::parse(&[]).unwrap().parts, [Part::Sizes]);
        assert_eq!(Options::parse(&["--scale"]).unwrap().parts, [Part::Scale]);
        let both = Options::parse(&["--scale", "--size", "mid"]).unwrap();
        assert_eq!(both.parts, [Part::Scale, Part::Sizes]);
        assert_eq!(Options::parse(&["--all"]).unwrap().parts, PARTS);
    }

    #[test]
    fn turns_are_few_when_it_must_be_quick() {
        assert_eq!(Options::parse(&[]).unwrap().turns(), TURNS);
        assert_eq!(Options::parse(&["--quick"]).unwrap().turns(), 1);
        assert_eq!(Options::parse(&["--quick", "--turns", "3"]).unwrap().turns(), 3);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let faults: [&[&str]; 7] = [
            &["--turns", "0"],
            &["--turns"],
            &["--size", "huge"],
            &["--original"],
            &["--original", " "],
            &["--bin-dir"],
            &["mid"],
        ];
        for words in faults {
            Options::parse(words).unwrap_err();
        }
    }

    #[test]
    fn the_command_is_told_so_that_it_can_be_typed_again() {
        let words = ["--original", "python3 -m x"].map(str::to_owned);
        assert_eq!(quoted(&words), "--original 'python3 -m x'");
    }
}
