//! `cargo xtask soak`: pull, process, HAProxy and a receiver for minutes, while all of them are
//! killed, stopped and cut off at random; at the end every line is accounted for.
//!
//! What had to come is not guessed: a courier copies each snapshot before process gets it, and a
//! haproxystats-process that nobody disturbs turns the copies into lines afterwards. A lost line or
//! one that no snapshot gave is a failure, and so is a program that ends by itself.

mod courier;
mod programs;
mod receivers;
mod verdict;
mod weather;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use testbed::wait_until;

use crate::demo::haproxy::{self, Source};
use crate::demo::{self, Folder};
use crate::{Failure, find_program};
use courier::{Courier, Places, snapshots};
use programs::Program;
use receivers::{Plan, Receivers};
use verdict::Verdict;
use weather::{Road, Weather};

/// The options of `soak`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How long faults go on, in minutes
    #[arg(long = "minutes", value_name = "N", default_value = "10", value_parser = minutes)]
    length: Duration,
    /// Repeat the faults and the pauses between them of the soak that printed this seed
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// What a receiver does, as phases that begin anew after the last: faults, good, slow (reads a
    /// byte a second), unread (reads nothing) or down
    #[arg(
        long = "receiver",
        value_name = "NAME=CONDUCT[:SECONDS],...",
        default_value = "graphite=faults",
        value_parser = Plan::parse
    )]
    receivers: Vec<Plan>,
}

const MINUTES_MAX: f64 = 10_000.0;
/// Between two lines of progress.
const PROGRESS: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(20);
/// How long what waits at the end may take to arrive; a soak of a day leaves seconds of work.
const DRAIN: Duration = Duration::from_secs(180);

fn minutes(text: &str) -> Result<Duration, String> {
    let minutes: f64 = text.parse().map_err(|error| format!("{error}"))?;
    if minutes > 0.0 && minutes <= MINUTES_MAX {
        Ok(Duration::from_secs_f64(minutes * 60.0))
    } else {
        Err(format!("not above 0 and up to {MINUTES_MAX}"))
    }
}

/// Builds, runs under faults, drains, compares.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let seed = options.seed.unwrap_or_else(|| fastrand::u64(..));
    println!("seed {seed}");
    let programs = demo::build()?;
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&interrupted))
            .map_err(|error| format!("signal {signal}: {error}"))?;
    }
    let scene = Scene::create()?;
    println!("The soak's files are in {}", scene.folder.path.display());
    let source = match find_program("haproxy") {
        Some(program) => haproxy::start(&program, &scene.folder)?,
        None => haproxy::start_dumps(&programs, &scene.folder)?,
    };
    println!("{}\n", source.description);

    let mut weather = Weather::new(seed);
    let mut courier = Courier::start(scene.places());
    let run = soak(options, &interrupted, &scene, &programs, &source, &mut weather, &mut courier);
    // Also after a failure: no thread of ours may go on under whoever looks at the files.
    let doubles = courier.finish();
    let Outcome { starts, files } = run?;
    let doubles = doubles?;
    drop(source);

    println!("Comparing with a run that nobody disturbs ...");
    let expected = expect(&scene, &programs)?;
    let held = snapshots(&scene.folder.path.join("failed"));
    println!("\n{} faults: {}", weather.total(), weather.summary());
    println!("starts of process {}, of pull {}", starts.0, starts.1);
    let mut is_exact = true;
    for (name, received) in files {
        let verdict = verdict::compare(&expected, &received, &held)?;
        println!("\nreceiver {name}");
        report(&verdict, courier.published(), doubles, held.len());
        if verdict.delivered == 0 {
            return Err(format!("nothing was delivered to {name}"));
        }
        is_exact = is_exact && verdict.lost + verdict.foreign == 0;
    }
    if is_exact {
        scene.tidy_up()
    } else {
        Err(format!("not exact; the files are in {}", scene.folder.path.display()))
    }
}

/// The folder and what is in it beside the demo's places.
struct Scene {
    folder: Folder,
}

impl Scene {
    fn create() -> Result<Self, Failure> {
        let scene = Self { folder: Folder::create("soak")? };
        let Places { pulled, incoming, copies } = scene.places();
        for directory in [pulled, incoming, copies] {
            fs::create_dir_all(&directory)
                .map_err(|error| format!("{}: {error}", directory.display()))?;
        }
        Ok(scene)
    }

    fn places(&self) -> Places {
        Places {
            pulled: self.folder.path.join("pulled"),
            incoming: self.folder.incoming(),
            copies: self.folder.path.join("copies"),
        }
    }

    /// How many snapshots and stored batches wait.
    fn waiting(&self) -> (usize, usize) {
        (visible(&self.folder.incoming()), visible(&self.folder.path.join("outbox")))
    }

    /// A configuration for process; what goes wrong must be seen soon, so all limits are short.
    fn config(
        &self,
        name: &str,
        src_dir: &Path,
        base: &Path,
        receivers: &Receivers,
    ) -> Result<PathBuf, Failure> {
        let mut text = format!(
            "# Written by `cargo xtask soak`.\n\
             [DEFAULT]\nloglevel = info\n\n\
             [paths]\nbase-dir = {base}\n\n\
             [pull]\nsocket-dir = {sockets}\npull-interval = 1\ntimeout = 0.5\n\
             dst-dir = {pulled}\ntmp-dst-dir = {pulled}.tmp\n\n\
             [process]\nsrc-dir = {src_dir}\nworkers = 2\nliveness-check-interval = 1\n\
             job-timeout = 10\nper-process-metrics = true\ncalculate-percentages = true\n",
            base = base.display(),
            sockets = self.folder.sockets().display(),
            pulled = self.places().pulled.display(),
            src_dir = src_dir.display(),
        );
        for (section, port) in receivers.sections() {
            text += &format!(
                "\n[{section}]\nserver = 127.0.0.1\nport = {port}\nnamespace = soak\n\
                 prefix-hostname = false\nretries = 3\ninterval = 0.1\nbackoff = 1.5\ndelay = 1\n\
                 connect-timeout = 1\nwrite-timeout = 1\nconfirm-timeout = 2\n",
            );
        }
        let path = self.folder.path.join(name);
        fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(path)
    }

    /// An exact soak leaves nothing to look at.
    fn tidy_up(&self) -> Result<(), Failure> {
        let path = &self.folder.path;
        fs::remove_dir_all(path).map_err(|error| format!("{}: {error}", path.display()))
    }
}

/// What a soak leaves to be judged.
struct Outcome {
    /// How often process and pull were started.
    starts: (u32, u32),
    /// What each receiver got.
    files: Vec<(String, PathBuf)>,
}

/// Runs the road in its weather until the time is over, then until all has arrived.
fn soak(
    options: &Options,
    interrupted: &AtomicBool,
    scene: &Scene,
    programs: &Path,
    source: &Source,
    weather: &mut Weather,
    courier: &mut Courier,
) -> Result<Outcome, Failure> {
    let (incoming, base) = (scene.folder.incoming(), &scene.folder.path);
    let receivers = Receivers::start(&options.receivers, base, "received")?;
    let config = scene.config("haproxystats.conf", &incoming, base, &receivers)?;
    let start = |name| Program::start(&scene.folder, programs, name, &config);
    let mut road = Road {
        process: start("haproxystats-process")?,
        pull: start("haproxystats-pull")?,
        endpoints: source.children.iter().filter_map(demo::child::Child::pid).collect(),
        receivers,
    };
    let begin = Instant::now();
    let mut next = PROGRESS;
    while begin.elapsed() < options.length && !interrupted.load(Ordering::Relaxed) {
        road.receivers.follow_plans(begin.elapsed())?;
        weather.pass(&mut road)?;
        courier.check()?;
        if begin.elapsed() >= next {
            next += PROGRESS;
            progress(begin.elapsed(), scene, weather, courier, &road.receivers);
        }
        thread::sleep(LOOK);
    }

    println!("The sky clears; what waits has to arrive now.");
    weather.clear(&mut road)?;
    road.pull.terminate()?;
    courier.finish()?;
    let drained = wait_until(DRAIN, || scene.waiting() == (0, 0));
    progress(begin.elapsed(), scene, weather, courier, &road.receivers);
    road.process.terminate()?;
    let files = road.receivers.files();
    road.receivers.finish()?;
    if drained {
        Ok(Outcome { starts: (road.process.starts(), road.pull.starts()), files })
    } else {
        Err(format!("not drained within {} s; see {}", DRAIN.as_secs(), base.display()))
    }
}

fn progress(
    elapsed: Duration,
    scene: &Scene,
    weather: &Weather,
    courier: &Courier,
    receivers: &Receivers,
) {
    let (spool, outbox) = scene.waiting();
    let lines: Vec<String> = receivers.lines().iter().map(u64::to_string).collect();
    println!(
        "{:>5} s   faults {:>4}   published {:>5}   waiting {spool} + {outbox} stored   lines {}",
        elapsed.as_secs(),
        weather.total(),
        courier.published(),
        lines.join(" + "),
    );
}

/// The file with the lines of the copies, from a run in which nothing goes wrong; the copies go by
/// that.
fn expect(scene: &Scene, programs: &Path) -> Result<PathBuf, Failure> {
    let receivers = Receivers::start_good(&scene.folder.path, "expected")?;
    let copies = scene.places().copies;
    let base = scene.folder.path.join("undisturbed");
    let config = scene.config("undisturbed.conf", &copies, &base, &receivers)?;
    let mut process = Program::start(&scene.folder, programs, "haproxystats-process", &config)?;
    let mut outcome = Ok(());
    // As long as it goes on: a slow machine may take its time.
    let mut left = usize::MAX;
    while outcome.is_ok() && left > 0 {
        let before = left;
        wait_until(DRAIN, || {
            outcome = process.check();
            left = visible(&copies) + visible(&base.join("outbox"));
            left < before || outcome.is_err()
        });
        if left == before {
            outcome = Err(format!("the undisturbed run stands still with {left} snapshots left"));
        }
    }
    outcome?;
    process.terminate()?;
    let (_, file) = receivers.files().pop().ok_or("the undisturbed run had no receiver")?;
    receivers.finish()?;
    Ok(file)
}

fn report(verdict: &Verdict, snapshots: u64, doubles: u64, held: usize) {
    for example in &verdict.examples {
        println!("{example}");
    }
    let rows = [
        ("published", verdict.published, format!("lines of {snapshots} snapshots")),
        ("delivered", verdict.delivered, "lines, each at least once".to_owned()),
        ("repeated", verdict.repeated, "lines that came once more".to_owned()),
        ("held", verdict.held, format!("lines of {held} snapshots in failed/")),
        ("own", verdict.own, "lines about the programs themselves".to_owned()),
        ("doubled", doubles, "snapshots made twice for one second, not published".to_owned()),
        ("lost", verdict.lost, "lines".to_owned()),
        ("foreign", verdict.foreign, "lines that no snapshot gave".to_owned()),
    ];
    for (name, count, meaning) in rows {
        println!("{name:<10} {count:>10}   {meaning}");
    }
}

/// How much stands in a directory, hidden names aside.
fn visible(directory: &Path) -> usize {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b".")).count()
}
