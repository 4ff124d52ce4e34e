//! `cargo xtask soak`: pull, process, HAProxy and a receiver for minutes, while all of them are
//! killed, stopped and cut off at random; at the end every line is accounted for.
//!
//! A courier copies each snapshot before process gets it. Afterwards a haproxystats-process without
//! faults turns the copies into the expected lines. A line that is lost or that no snapshot gave is
//! a failure, and so is a program that ends by itself.

mod courier;
mod disk;
mod faults;
mod programs;
mod receivers;
mod verdict;

use std::collections::BTreeMap;
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
use courier::{Courier, Directories, snapshots};
use disk::{LocalStore, SmallDisk};
use faults::{Faults, Targets};
use programs::Program;
use receivers::{Receivers, Schedule};
use verdict::Verdict;

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
        value_parser = Schedule::parse
    )]
    receivers: Vec<Schedule>,
    /// Add a local-store on a disk of 1 MB that is full for 20 s in each minute; needs root, and a
    /// receiver graphite, whose names it takes
    #[arg(long)]
    local_store: bool,
    /// Put the outbox on a disk of 64 MB that is full for 20 s in each minute; needs root
    #[arg(long)]
    small_outbox: bool,
    /// Without random faults: then a receiver that is good all the time must have each snapshot
    /// within a second of its being published
    #[arg(long)]
    calm: bool,
}

const MINUTES_MAX: f64 = 10_000.0;
/// The time between two lines of progress.
const PROGRESS: Duration = Duration::from_secs(10);
/// The largest delay at a healthy receiver of a calm soak.
const DELAY_MAX: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(20);
/// How long the remaining snapshots may take to arrive; a soak of a day leaves seconds of work.
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

    let mut faults = Faults::new(seed, options.calm);
    let mut courier = Courier::start(scene.directories());
    let run = soak(options, &interrupted, &scene, &programs, &source, &mut faults, &mut courier);
    // Also after a failure, so that the files no longer change.
    let doubles = courier.finish();
    let Evidence { starts, files, healthy } = run?;
    let doubles = doubles?;
    drop(source);

    println!("Comparing with a run without faults ...");
    let expected = expect(&scene, &programs)?;
    let failed = snapshots(&scene.folder.path.join("failed"));
    println!("\n{} faults: {}", faults.total(), faults.summary());
    println!("starts of process {}, of pull {}", starts.0, starts.1);
    let mut is_exact = true;
    for (name, received) in files {
        let verdict = verdict::compare(&expected, &received, &failed)?;
        println!("\nreceiver {name}");
        report(&verdict, courier.published(), doubles, failed.len());
        if verdict.delivered == 0 {
            return Err(format!("nothing was delivered to {name}"));
        }
        is_exact = is_exact && verdict.lost + verdict.foreign == 0;
    }
    let mut is_late = false;
    for (name, arrived) in healthy {
        if let Some((snapshot, delay)) = verdict::slowest(&courier.times(), &arrived) {
            let milliseconds = delay.as_millis();
            println!(
                "\n{name}: {snapshot} was the slowest of {} snapshots, {milliseconds} ms",
                arrived.len()
            );
            is_late = is_late || options.calm && delay > DELAY_MAX;
        }
    }
    if is_late {
        return Err(format!(
            "a healthy receiver had to wait; the files are in {}",
            scene.folder.path.display()
        ));
    }
    if is_exact {
        scene.tidy_up()
    } else {
        Err(format!("not exact; the files are in {}", scene.folder.path.display()))
    }
}

/// The folder of a soak, and the paths in it that the demo does not have.
struct Scene {
    folder: Folder,
}

impl Scene {
    fn create() -> Result<Self, Failure> {
        let scene = Self { folder: Folder::create("soak")? };
        let Directories { pulled, incoming, copies } = scene.directories();
        for directory in [pulled, incoming, copies] {
            fs::create_dir_all(&directory)
                .map_err(|error| format!("{}: {error}", directory.display()))?;
        }
        Ok(scene)
    }

    fn directories(&self) -> Directories {
        Directories {
            pulled: self.folder.path.join("pulled"),
            incoming: self.folder.incoming(),
            copies: self.folder.path.join("copies"),
        }
    }

    /// The number of waiting snapshots and of stored batches.
    fn waiting(&self) -> (usize, usize) {
        (visible(&self.folder.incoming()), stored(&self.outbox()))
    }

    fn outbox(&self) -> PathBuf {
        self.folder.path.join("outbox")
    }

    fn local_store(&self) -> PathBuf {
        self.folder.path.join("local-store")
    }

    /// A configuration for both programs. All limits are short, so that faults are seen soon.
    fn config(
        &self,
        name: &str,
        src_dir: &Path,
        base: &Path,
        receivers: &Receivers,
        has_local_store: bool,
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
            pulled = self.directories().pulled.display(),
            src_dir = src_dir.display(),
        );
        for (section, port) in receivers.sections() {
            text += &format!(
                "\n[{section}]\nserver = 127.0.0.1\nport = {port}\nnamespace = soak\n\
                 prefix-hostname = false\nretries = 3\ninterval = 0.1\nbackoff = 1.5\ndelay = 1\n\
                 connect-timeout = 1\nwrite-timeout = 1\nconfirm-timeout = 2\n",
            );
        }
        if has_local_store {
            text += &format!(
                "\n[local-store]\ndir = {}\nretries = 3\ninterval = 0.1\nbackoff = 1.5\n\
                 delay = 1\n",
                self.local_store().display()
            );
        }
        let path = self.folder.path.join(name);
        fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(path)
    }

    /// Removes the folder: after an exact soak there is nothing to look at.
    fn tidy_up(&self) -> Result<(), Failure> {
        let path = &self.folder.path;
        fs::remove_dir_all(path).map_err(|error| format!("{}: {error}", path.display()))
    }
}

/// The evidence for the verdict after a soak.
struct Evidence {
    /// The number of starts of process and of pull.
    starts: (u32, u32),
    /// The lines of each receiver.
    files: Vec<(String, PathBuf)>,
    /// The time of each snapshot at the receivers that are good all the time.
    healthy: Vec<(String, BTreeMap<u64, Instant>)>,
}

/// The small disks that the options ask for.
struct Disks {
    outbox: Option<SmallDisk>,
    local_store: Option<LocalStore>,
}

impl Disks {
    const OUTBOX_BYTES: usize = 64 << 20;

    fn mount(options: &Options, scene: &Scene) -> Result<Self, Failure> {
        let outbox =
            options.small_outbox.then(|| SmallDisk::mount(&scene.outbox(), Self::OUTBOX_BYTES));
        let received = scene.folder.path.join("received-local-store.txt");
        let local_store =
            options.local_store.then(|| LocalStore::mount(&scene.local_store(), received));
        Ok(Self { outbox: outbox.transpose()?, local_store: local_store.transpose()? })
    }

    fn follow(&mut self, elapsed: Duration) -> Result<(), Failure> {
        if let Some(outbox) = &mut self.outbox {
            outbox.follow(elapsed)?;
        }
        self.local_store.as_mut().map_or(Ok(()), |store| store.follow(elapsed))
    }

    fn be_good(&mut self) -> Result<(), Failure> {
        if let Some(outbox) = &mut self.outbox {
            outbox.make_full(false)?;
        }
        self.local_store.as_mut().map_or(Ok(()), LocalStore::be_good)
    }

    fn take(&mut self) -> Result<(), Failure> {
        self.local_store.as_mut().map_or(Ok(()), LocalStore::take)
    }
}

/// Runs both programs under faults until the time is over, then without until all has arrived.
fn soak(
    options: &Options,
    interrupted: &AtomicBool,
    scene: &Scene,
    programs: &Path,
    source: &Source,
    faults: &mut Faults,
    courier: &mut Courier,
) -> Result<Evidence, Failure> {
    let (incoming, base) = (scene.folder.incoming(), &scene.folder.path);
    let receivers = Receivers::start(&options.receivers, base, "received")?;
    let config =
        scene.config("haproxystats.conf", &incoming, base, &receivers, options.local_store)?;
    let mut disks = Disks::mount(options, scene)?;
    let start = |name| Program::start(&scene.folder, programs, name, &config);
    let mut targets = Targets {
        process: start("haproxystats-process")?,
        pull: start("haproxystats-pull")?,
        endpoints: source.children.iter().filter_map(demo::child::Child::pid).collect(),
        receivers,
    };
    let begin = Instant::now();
    let mut next = PROGRESS;
    while begin.elapsed() < options.length && !interrupted.load(Ordering::Relaxed) {
        targets.receivers.follow_schedules(begin.elapsed())?;
        disks.follow(begin.elapsed())?;
        faults.step(&mut targets)?;
        courier.check()?;
        if begin.elapsed() >= next {
            next += PROGRESS;
            progress(begin.elapsed(), scene, faults, courier, &targets.receivers, &disks);
        }
        thread::sleep(LOOK);
    }

    println!("No more faults; all that waits has to arrive now.");
    disks.be_good()?;
    faults.clear(&mut targets)?;
    targets.pull.terminate()?;
    courier.finish()?;
    let mut result = Ok(());
    let drained = wait_until(DRAIN, || {
        result = disks.take();
        result.is_err() || scene.waiting() == (0, 0)
    });
    result?;
    progress(begin.elapsed(), scene, faults, courier, &targets.receivers, &disks);
    targets.process.terminate()?;
    let mut files = targets.receivers.files();
    let healthy = targets.receivers.healthy();
    targets.receivers.finish()?;
    if let Some(local_store) = disks.local_store.take() {
        files.push(("local-store".to_owned(), local_store.finish()?));
    }
    if drained {
        Ok(Evidence { starts: (targets.process.starts(), targets.pull.starts()), files, healthy })
    } else {
        Err(format!("not drained within {} s; see {}", DRAIN.as_secs(), base.display()))
    }
}

fn progress(
    elapsed: Duration,
    scene: &Scene,
    faults: &Faults,
    courier: &Courier,
    receivers: &Receivers,
    disks: &Disks,
) {
    let (spool, outbox) = scene.waiting();
    let local_store = disks.local_store.as_ref().map(LocalStore::lines);
    let lines: Vec<String> =
        receivers.lines().into_iter().chain(local_store).map(|count| count.to_string()).collect();
    println!(
        "{:>5} s   faults {:>4}   published {:>5}   waiting {spool} + {outbox} stored   lines {}",
        elapsed.as_secs(),
        faults.total(),
        courier.published(),
        lines.join(" + "),
    );
}

/// The file with the lines of the copies, from a run without faults, which uses the copies up.
fn expect(scene: &Scene, programs: &Path) -> Result<PathBuf, Failure> {
    let receivers = Receivers::start_good(&scene.folder.path, "expected")?;
    let copies = scene.directories().copies;
    let base = scene.folder.path.join("undisturbed");
    let config = scene.config("undisturbed.conf", &copies, &base, &receivers, false)?;
    let mut process = Program::start(&scene.folder, programs, "haproxystats-process", &config)?;
    let mut outcome = Ok(());
    // Only progress has a limit, because a slow machine may need long for the whole.
    let mut left = usize::MAX;
    while outcome.is_ok() && left > 0 {
        let before = left;
        wait_until(DRAIN, || {
            outcome = process.check();
            left = visible(&copies) + stored(&base.join("outbox"));
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

fn report(verdict: &Verdict, snapshots: u64, doubles: u64, failed: usize) {
    for example in &verdict.examples {
        println!("{example}");
    }
    let rows = [
        ("published", verdict.published, format!("lines of {snapshots} snapshots")),
        ("delivered", verdict.delivered, "lines, each at least once".to_owned()),
        ("repeated", verdict.repeated, "lines that came once more".to_owned()),
        ("failed", verdict.failed, format!("lines of {failed} snapshots in failed/")),
        ("own", verdict.own, "lines about the programs themselves".to_owned()),
        ("doubled", doubles, "snapshots made twice for one second, not published".to_owned()),
        ("lost", verdict.lost, "lines".to_owned()),
        ("foreign", verdict.foreign, "lines that no snapshot gave".to_owned()),
    ];
    for (name, count, meaning) in rows {
        println!("{name:<10} {count:>10}   {meaning}");
    }
}

/// The number of entries in a directory, hidden ones excluded.
fn visible(directory: &Path) -> usize {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b".")).count()
}

/// The number of batches in an outbox, whose receivers have a folder each.
fn stored(outbox: &Path) -> usize {
    let folders = fs::read_dir(outbox).into_iter().flatten().flatten();
    let mut batches = 0;
    for folder in folders {
        let files = fs::read_dir(folder.path()).into_iter().flatten().flatten();
        let is_batch = |name: &std::ffi::OsStr| name.as_encoded_bytes().ends_with(b".batch");
        batches += files.filter(|file| is_batch(&file.file_name())).count();
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_counted_in_the_folders_of_all_receivers() {
        let outbox = std::env::temp_dir().join(format!("soak-outbox-{}", std::process::id()));
        for file in ["graphite/1.batch", "graphite/2.batch", "second/1.batch", "second/counts"] {
            let file = outbox.join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "").unwrap();
        }
        fs::write(outbox.join("lock"), "").unwrap();
        assert_eq!(stored(&outbox), 3);
        fs::remove_dir_all(outbox).unwrap();
    }
}
