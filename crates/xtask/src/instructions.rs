//! `cargo xtask instructions`: a guard over the cost of a worker in instructions, because times in
//! CI vary too much.
//!
//! callgrind counts three fixed runs of the release worker, and a file has the counts of earlier
//! runs. The worker runs without its parent, with its orders in a file, because valgrind cannot
//! follow the parent, which starts its workers by /proc/self/exe. Counts vary by a few in a
//! thousand; another compiler, libc or processor (libraries choose their vector instructions by it)
//! can change them by more.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::bench::generator::{Columns, MID, Size, TINY};
use crate::bench::process::Process;
use crate::bench::receiver::Receiver;
use crate::bench::stage::{ExtraOptions, FIRST, Stage};
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
    /// How often the worker is given the snapshot.
    jobs: usize,
    more: ExtraOptions<'static>,
}

const RUNS: [Run; 3] = [
    // The cost of any snapshot.
    Run { name: "tiny", size: TINY, jobs: 20, more: ExtraOptions { process: "", graphite: "" } },
    // The cost of its rows.
    Run { name: "mid", size: MID, jobs: 2, more: ExtraOptions { process: "", graphite: "" } },
    // All that is off by default.
    Run {
        name: "everything",
        size: TINY,
        jobs: 20,
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

/// By how much a run may cost more than is written down.
const TOLERANCE_PERCENT: u64 = 10;
/// For a run under valgrind.
const LIMIT: Duration = Duration::from_secs(600);
const RENEW: &str = "cargo xtask instructions --renew";

type Counts = BTreeMap<String, u64>;

/// Builds, counts, compares or writes down.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    crate::test::provide("valgrind");
    let valgrind = find_program("valgrind").ok_or("valgrind is missing (package valgrind)")?;
    let what = ["--package", "haproxystats", "--bins", "--examples"];
    let programs = programs(options.programs.as_deref(), &what)?;
    heed_interrupts()?;
    let stage = Stage::create("instructions")?;
    let mut counts = Counts::new();
    for run in &RUNS {
        counts.insert(run.name.to_owned(), count(run, &valgrind, &programs, &stage)?);
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

/// The instructions of a worker that does these jobs and ends.
fn count(run: &Run, valgrind: &Path, programs: &Path, stage: &Stage) -> Result<u64, Failure> {
    eprintln!("{}: {} snapshot(s) under callgrind", run.name, run.jobs);
    stage.generate(run.size, Columns::V26)?;
    // The worker removes nothing, so that one snapshot is enough for all jobs.
    stage.fill(1)?;
    let receiver = Receiver::start()?;
    let config = stage.configure(1, receiver.port, run.more)?;
    let file = |name: &str| stage.path.join(name);
    let failed = |error: std::io::Error| format!("{}: {error}", stage.path.display());
    let (orders, replies, log, counted) =
        (file("orders"), file("replies"), stage.log(), file("callgrind.out"));
    let mut command = Command::new(programs.join("examples/worker_orders"));
    command.arg(&config).args(vec![FIRST.to_string(); run.jobs]);
    command.stdout(File::create(&orders).map_err(failed)?);
    let status = command.status().map_err(|error| format!("worker_orders: {error}"))?;
    if !status.success() {
        return Err(format!("worker_orders ended with {status}"));
    }
    let mut command = Command::new(valgrind);
    command
        .args(["--tool=callgrind", "--quiet"])
        .arg(format!("--callgrind-out-file={}", counted.display()))
        .arg(programs.join("haproxystats-process"))
        // The cost depends on the size of the environment.
        .env_clear()
        .env("HAPROXYSTATS_WORKER_OF", std::process::id().to_string())
        .env("POLARS_MAX_THREADS", "1")
        .stdin(Stdio::from(File::open(&orders).map_err(failed)?))
        .stdout(File::create(&replies).map_err(failed)?)
        .stderr(File::create(&log).map_err(failed)?)
        .process_group(0);
    Process::spawn(&mut command, "the worker".to_owned(), &log)?.finish(LIMIT)?;
    let replies = fs::read_to_string(&replies).map_err(failed)?;
    let delivered = replies.matches(r#""Finished":{"outcome":"Delivered""#).count();
    if delivered != run.jobs {
        return Err(format!("{delivered} of {} jobs were delivered:\n{replies}", run.jobs));
    }
    total(&fs::read_to_string(&counted).map_err(failed)?)
        .ok_or_else(|| "callgrind wrote no total".to_owned())
}

/// The sum in a file of callgrind.
fn total(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("totals: "))?.trim().parse().ok()
}

fn written(counts: &Counts) -> String {
    format!("{:#}\n", json!({ "renewed by": RENEW, "instructions": counts }))
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
        table += &format!("{name:<12} {before:>14} -> {now:>14} instructions  {percent:+.1} %\n");
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
    fn what_is_written_is_read_again() {
        assert_eq!(read(&written(&counts(7, 8))).unwrap(), counts(7, 8));
        read("{}").unwrap_err();
        read("no json").unwrap_err();
    }

    #[test]
    fn the_file_of_the_repository_knows_every_run() {
        let path = root().join("tests/data/instructions.json");
        let known = read(&fs::read_to_string(path).unwrap()).unwrap();
        let names: Vec<&str> = RUNS.iter().map(|run| run.name).collect();
        assert!(names.iter().all(|name| known.contains_key(*name)), "{known:?}");
    }

    #[test]
    fn callgrinds_sum_is_found() {
        assert_eq!(total("version: 1\nsummary: 12\ntotals: 34\n"), Some(34));
        assert_eq!(total("version: 1\n"), None);
    }
}
