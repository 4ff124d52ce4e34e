//! `cargo xtask instructions`: a guard over the cost of fold and send children in instructions,
//! because times in CI vary too much.
//!
//! callgrind counts three fixed runs of the whole release program, from the start of a child to its
//! end, and a file has the counts of earlier runs. The parent itself runs without valgrind, which
//! knows no pidfd_open before 3.21 and cannot follow a program to /proc/self/exe. A library of a
//! few lines of C, loaded into the parent, starts its children under valgrind. Counts vary by a few
//! in a thousand. Another compiler, libc or processor can change them by more, because libraries
//! choose their vector instructions by the processor.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use testbed::wait_until;

use crate::bench::generator::{Columns, MID, Size, TINY};
use crate::bench::process::{Process, Role, signal};
use crate::bench::receiver::Receiver;
use crate::bench::run::drain;
use crate::bench::stage::{ExtraOptions, FIRST, Stage, clear};
use crate::bench::{heed_interrupts, programs};
use crate::{Failure, find_program, root};

/// The options of `instructions`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Write the counts down instead, after a change that is meant
    #[arg(long)]
    renew: bool,
    /// Take the programs from DIR and build none
    #[arg(long = "bin-dir", value_name = "DIR")]
    programs: Option<PathBuf>,
}

/// A run that is always the same.
struct Run {
    name: &'static str,
    size: Size,
    /// The number of snapshots in the spool.
    snapshots: usize,
    more: ExtraOptions<'static>,
}

const RUNS: [Run; 3] = [
    // The cost of any snapshot.
    Run {
        name: "tiny",
        size: TINY,
        snapshots: 20,
        more: ExtraOptions { process: "", graphite: "" },
    },
    // The cost of its rows.
    Run { name: "mid", size: MID, snapshots: 2, more: ExtraOptions { process: "", graphite: "" } },
    // The cost of all options that are off by default.
    Run {
        name: "everything",
        size: TINY,
        snapshots: 20,
        more: ExtraOptions {
            process: "frontend-metrics = all\nbackend-metrics = all\nserver-metrics = all\n\
                      aggr-server-metrics = true\nper-process-metrics = true\n\
                      calculate-percentages = true\n",
            graphite: "group-namespace = groups\ngroup-namespace-double-writes = true\n\n\
                       [frontend-groups]\nodd = www\\d*[13579]_\n\n\
                       [backend-groups]\nfirst = app000[12]\nrest = ^app(?!000)\n\n\
                       [server-groups]\nten = ^node\\d0\nall = node\n",
        },
    },
];

/// No report of the program on itself, because these come by the clock and valgrind is slow.
const NO_REPORTS: &str = "liveness-check-interval = 3600\n";
/// The roles that are counted. The work of the disk children and the parent depends on the moment.
const ROLES: [&str; 2] = ["fold", "send"];
/// The percentage by which a count may be larger than the recorded count.
const TOLERANCE_PERCENT: u64 = 10;
/// How long all children may take to end, because they write their counts then.
const END: Duration = Duration::from_secs(120);
const RENEW: &str = "cargo xtask instructions --renew";
const SPAWN: &str = include_str!("instructions/spawn.c");

type Counts = BTreeMap<String, u64>;

/// Builds, counts, then compares or records the counts.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    crate::test::provide("valgrind");
    let valgrind = find_program("valgrind").ok_or("valgrind is missing (package valgrind)")?;
    let what = ["--package", "haproxystats", "--bins"];
    let programs = programs(options.programs.as_deref(), &what)?;
    heed_interrupts()?;
    let stage = Stage::create("instructions")?;
    let library = compile(&stage)?;
    let mut counts = Counts::new();
    for run in &RUNS {
        for (role, count) in count(run, &valgrind, &library, &programs, &stage)? {
            counts.insert(format!("{} {role}", run.name), count);
        }
    }
    let path = root().join("tests/data/instructions.json");
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    if options.renew {
        fs::write(&path, written(&counts)).map_err(failed)?;
        println!("{}", written(&counts));
        println!("written to {}", path.display());
        return Ok(());
    }
    let known = read(&fs::read_to_string(&path).map_err(failed)?)?;
    let (table, verdict) = compare(&known, &counts);
    println!("{table}");
    verdict
}

/// Builds the library that starts the children under valgrind.
fn compile(stage: &Stage) -> Result<PathBuf, Failure> {
    let (source, library) = (stage.path.join("spawn.c"), stage.path.join("spawn.so"));
    fs::write(&source, SPAWN).map_err(|error| format!("{}: {error}", source.display()))?;
    // rustc links with cc too.
    let mut command = Command::new("cc");
    command.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(&source).arg("-ldl");
    match command.status() {
        Ok(status) if status.success() => Ok(library),
        Ok(status) => Err(format!("cc {}: {status}", source.display())),
        Err(error) => Err(format!("cc: {error}")),
    }
}

/// The instructions of each role in a program that empties a spool and ends.
fn count(
    run: &Run,
    valgrind: &Path,
    library: &Path,
    programs: &Path,
    stage: &Stage,
) -> Result<BTreeMap<&'static str, u64>, Failure> {
    eprintln!("{}: {} snapshot(s) under callgrind", run.name, run.snapshots);
    stage.generate(run.size, Columns::V26)?;
    stage.fill(run.snapshots)?;
    let receiver = Receiver::start()?;
    let process = format!("{NO_REPORTS}{}", run.more.process);
    let more = ExtraOptions { process: &process, ..run.more };
    let config = stage.configure(1, receiver.port, more)?;
    let program = programs.join("haproxystats-process");
    let counted = stage.path.join("counted");
    clear(&counted)?;
    let mut command = Command::new(&program);
    command
        .arg("-f")
        .arg(&config)
        // The cost depends on the size of the environment.
        .env_clear()
        .env("LD_PRELOAD", library)
        .env("INSTRUCTIONS_PROGRAM", &program)
        .env("INSTRUCTIONS_VALGRIND", valgrind)
        .env("INSTRUCTIONS_COUNTS", format!("--callgrind-out-file={}/%p", counted.display()));
    let mut process = Process::start(&mut command, &stage.log())?;
    let mut arrivals = drain(stage, &mut process, &receiver)?;
    let parent = process.pid();
    end_children(&process, stage, &counted)?;
    process.terminate(parent)?;
    arrivals.extend(receiver.finish()?);
    let snapshots = FIRST..FIRST + run.snapshots as u64;
    let is_snapshot = |stamp: Option<u64>| stamp.is_some_and(|stamp| snapshots.contains(&stamp));
    let delivered = arrivals.iter().filter(|arrival| is_snapshot(arrival.stamp)).count();
    let log = fs::read_to_string(stage.log())
        .map_err(|error| format!("{}: {error}", stage.log().display()))?;
    if delivered != run.snapshots {
        return Err(format!("{delivered} of {} were delivered:\n{log}", run.snapshots));
    }
    let mut counts = BTreeMap::new();
    for (pid, role) in spawned(&log).into_iter().filter(|(_, role)| ROLES.contains(role)) {
        let path = counted.join(pid.to_string());
        let text = fs::read_to_string(&path)
            .map_err(|error| format!("the {role}, {}: {error}\n{log}", path.display()))?;
        let total = total(&text).ok_or_else(|| format!("{}: no total", path.display()))?;
        *counts.entry(role).or_default() += total;
    }
    match ROLES.iter().find(|role| !counts.contains_key(*role)) {
        None => Ok(counts),
        Some(role) => Err(format!("there was no {role} child:\n{log}")),
    }
}

/// Ends the children by SIGTERM while the parent is stopped. The parent would otherwise give them a
/// second, which is too little for callgrind to write its counts. The parent sees its own SIGTERM
/// first when it goes on.
fn end_children(process: &Process, stage: &Stage, counted: &Path) -> Result<(), Failure> {
    let parent = process.pid();
    let log = fs::read_to_string(stage.log())
        .map_err(|error| format!("{}: {error}", stage.log().display()))?;
    let children: Vec<u32> = spawned(&log)
        .into_iter()
        .filter(|(_, role)| ROLES.contains(role))
        .map(|(pid, _)| pid)
        .collect();
    signal(parent, Signal::STOP);
    children.iter().for_each(|&pid| signal(pid, Signal::TERM));
    let is_counted = |pid: &u32| {
        let file = fs::read_to_string(counted.join(pid.to_string()));
        file.is_ok_and(|text| total(&text).is_some())
    };
    let ended = wait_until(END, || children.iter().all(is_counted));
    signal(parent, Signal::TERM);
    signal(parent, Signal::CONT);
    if ended { Ok(()) } else { Err(process.failure("has a child that does not end")) }
}

/// The process numbers and roles of the children, as spawn.c writes them into the log.
fn spawned(log: &str) -> Vec<(u32, &'static str)> {
    let mut found = Vec::new();
    for line in log.lines() {
        let Some((pid, name)) =
            line.strip_prefix("spawned ").and_then(|words| words.split_once(' '))
        else {
            continue;
        };
        found.extend(pid.parse().ok().map(|pid| (pid, Role::of_child(name).name())));
    }
    found
}

/// The sum in a file of callgrind.
fn total(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("totals: "))?.trim().parse().ok()
}

fn written(counts: &Counts) -> String {
    let counted = "children of a whole haproxystats-process from their start to their end, by role";
    let value = json!({ "counted": counted, "renewed by": RENEW, "instructions": counts });
    format!("{value:#}\n")
}

fn read(text: &str) -> Result<Counts, Failure> {
    let value: Value =
        serde_json::from_str(text).map_err(|error| format!("instructions.json: {error}"))?;
    serde_json::from_value(value["instructions"].clone())
        .map_err(|error| format!("instructions.json: {error}"))
}

/// A table for the terminal, and an error if a run costs more than it may.
fn compare(known: &Counts, counts: &Counts) -> (String, Result<(), Failure>) {
    let mut table = String::new();
    let (mut dearer, mut cheaper) = (Vec::new(), Vec::new());
    for (name, &now) in counts {
        let Some(&before) = known.get(name) else {
            dearer.push(format!("{name} is not written down"));
            continue;
        };
        let percent = (now as f64 / before as f64 - 1.0) * 100.0;
        table += &format!("{name:<18} {before:>14} -> {now:>14} instructions  {percent:+.1} %\n");
        if now * 100 > before * (100 + TOLERANCE_PERCENT) {
            dearer.push(format!("{name} costs {percent:.1} % more"));
        } else if now * 100 < before * (100 - TOLERANCE_PERCENT) {
            cheaper.push(format!("{name} costs {:.1} % less", -percent));
        }
    }
    if !cheaper.is_empty() {
        table += &format!("{}; `{RENEW}` keeps it so\n", cheaper.join(", "));
    }
    let verdict = match dearer.is_empty() {
        true => Ok(()),
        false => Err(format!(
            "{}. If that is meant, or the compiler or the machine is another, \
             write it down by `{RENEW}` and commit tests/data/instructions.json",
            dearer.join(", ")
        )),
    };
    (table, verdict)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(tiny: u64, mid: u64) -> Counts {
        [("tiny".to_owned(), tiny), ("mid".to_owned(), mid)].into()
    }

    #[test]
    fn more_than_a_tenth_is_refused_and_the_remedy_is_told() {
        let known = counts(1000, 1000);
        compare(&known, &counts(1100, 900)).1.unwrap();
        let failure = compare(&known, &counts(1101, 1000)).1.unwrap_err();
        assert!(failure.contains("tiny costs 10.1 % more") && failure.contains(RENEW), "{failure}");
        assert!(!failure.contains("mid"), "{failure}");
    }

    #[test]
    fn less_is_welcome_and_the_guard_wants_to_follow() {
        let (table, verdict) = compare(&counts(1000, 1000), &counts(500, 1000));
        verdict.unwrap();
        assert!(table.contains("tiny costs 50.0 % less") && table.contains(RENEW), "{table}");
    }

    #[test]
    fn a_run_that_is_not_written_down_is_refused() {
        compare(&Counts::new(), &counts(1, 1)).1.unwrap_err();
    }

    #[test]
    fn recorded_counts_are_read_again() {
        assert_eq!(read(&written(&counts(7, 8))).unwrap(), counts(7, 8));
        read("{}").unwrap_err();
        read("no json").unwrap_err();
    }

    #[test]
    fn the_file_of_the_repository_knows_every_run() {
        let path = root().join("tests/data/instructions.json");
        let known = read(&fs::read_to_string(path).unwrap()).unwrap();
        for run in &RUNS {
            for role in ROLES {
                assert!(known.contains_key(&format!("{} {role}", run.name)), "{known:?}");
            }
        }
    }

    #[test]
    fn a_child_is_known_by_its_name() {
        let log = "INFO starts\nspawned 7 /bin/haproxystats-process\nspawned 8 \
                   haproxystats-send-graphite:b\nspawned 9 haproxystats-spool\nspawned x y\n";
        assert_eq!(spawned(log), [(7, "fold"), (8, "send"), (9, "disk")]);
    }

    #[test]
    fn callgrinds_sum_is_found() {
        assert_eq!(total("version: 1\nsummary: 12\ntotals: 34\n"), Some(34));
        assert_eq!(total("version: 1\n"), None);
    }
}
