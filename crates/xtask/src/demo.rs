//! `cargo xtask demo`: both programs between HAProxy and a Graphite receiver, for half a minute.
//!
//! All files are in a folder of its own, which is kept so that a user can look at them afterwards.
//! Each child runs in its own process group. Ctrl-C therefore reaches only this program, which ends
//! the children in order, as an operator would.

mod arrivals;
pub(crate) mod child;
pub(crate) mod haproxy;
mod screen;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::value_parser;
use testbed::wait_until;

use crate::{Failure, cargo, find_program};
use arrivals::Arrivals;
use child::Child;
use haproxy::Source;
use screen::Screen;

/// The options of `demo`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How long to run, in seconds
    #[arg(
        long,
        value_name = "N",
        default_value = "30",
        value_parser = value_parser!(u64).range(1..=86_400)
    )]
    seconds: u64,
    /// Take recorded dumps, also where haproxy is installed
    #[arg(long)]
    dumps: bool,
}

/// Builds, runs, shows, cleans up. It fails when no metric arrives.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let programs = build()?;
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&interrupted))
            .map_err(|error| format!("signal {signal}: {error}"))?;
    }

    let folder = Folder::create("demo")?;
    println!("The demo's files are in {}", folder.path.display());
    let source = match find_program("haproxy").filter(|_| !options.dumps) {
        Some(program) => haproxy::start(&program, &folder)?,
        None => haproxy::start_dumps(&programs, &folder)?,
    };
    println!("{}\n", source.description);
    let mut pipeline = Pipeline::start(&programs, &folder, source)?;
    let mut arrivals = Arrivals::open(&folder.metrics())?;
    let watched = watch(options, &interrupted, &mut pipeline, &mut arrivals);
    // Also after a failure, because an orderly end leaves the files complete for a look at the
    // reason.
    pipeline.stop(&folder);
    arrivals.read_on()?;
    watched?;

    summary(&folder, &arrivals);
    match arrivals.lines {
        0 => Err("no metric arrived".to_owned()),
        _ => Ok(()),
    }
}

/// Builds releases of both programs and of the examples, and returns their folder.
pub(crate) fn build() -> Result<PathBuf, Failure> {
    println!("Building both programs (the first time takes several minutes) ...");
    let status = cargo()
        .args(["build", "--release", "--locked", "--package", "haproxystats"])
        .args(["--bins", "--examples"])
        .status()
        .map_err(|error| format!("cargo build: {error}"))?;
    if !status.success() {
        return Err(format!("cargo build ended with {status}"));
    }
    // This program is in the same target folder, in the folder of its profile.
    let own = std::env::current_exe().map_err(|error| format!("own path: {error}"))?;
    let target = own.ancestors().nth(2).ok_or("own path is too short")?;
    Ok(target.join("release"))
}

/// The folder of a task, and the paths in it.
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
}

impl Folder {
    pub(crate) fn create(task: &str) -> Result<Self, Failure> {
        let name = format!("haproxystats-{task}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        for folder in ["sockets", "logs"] {
            let folder = path.join(folder);
            fs::create_dir_all(&folder)
                .map_err(|error| format!("{}: {error}", folder.display()))?;
        }
        Ok(Self { path })
    }

    pub(crate) fn sockets(&self) -> PathBuf {
        self.path.join("sockets")
    }

    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.path.join("logs").join(name)
    }

    fn metrics(&self) -> PathBuf {
        self.path.join("graphite.txt")
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.path.join("haproxystats.conf")
    }

    pub(crate) fn incoming(&self) -> PathBuf {
        self.path.join("incoming")
    }

    fn local_store(&self) -> PathBuf {
        self.path.join("local-store")
    }
}

/// Both programs, their source and their receiver.
struct Pipeline {
    pull: Child,
    process: Child,
    source: Source,
    receiver: Child,
}

impl Pipeline {
    fn start(programs: &Path, folder: &Folder, source: Source) -> Result<Self, Failure> {
        let receiver = Child::start(
            &programs.join("examples/graphite_receiver"),
            &["127.0.0.1:0", "--write", &folder.metrics().to_string_lossy()],
            &[],
            &folder.log("graphite_receiver.log"),
        )?;
        let port = listening_port(&receiver)?;
        write_config(folder, &port)?;
        let config = folder.config().to_string_lossy().into_owned();
        let start = |name: &str| {
            let log = folder.log(&format!("{name}.log"));
            Child::start(&programs.join(name), &["-f", &config], &[], &log)
        };
        Ok(Self {
            process: start("haproxystats-process")?,
            pull: start("haproxystats-pull")?,
            source,
            receiver,
        })
    }

    fn check(&mut self) -> Result<(), Failure> {
        let own = [&mut self.pull, &mut self.process, &mut self.receiver];
        own.into_iter().chain(&mut self.source.children).try_for_each(Child::check)
    }

    /// Stops pull first, so that the snapshots in the spool can still arrive.
    fn stop(&mut self, folder: &Folder) {
        self.source.traffic = None;
        self.pull.stop();
        let drained = || fs::read_dir(folder.incoming()).is_ok_and(|mut all| all.next().is_none());
        if !wait_until(Duration::from_secs(5), drained) {
            println!("Some snapshots are left in {}", folder.incoming().display());
        }
        self.process.stop();
        self.receiver.stop();
        self.source.children.iter_mut().for_each(Child::stop);
    }
}

/// The port of the receiver, which takes a free one and names it in its first line.
fn listening_port(receiver: &Child) -> Result<String, Failure> {
    let mut port = None;
    wait_until(Duration::from_secs(10), || {
        let log = fs::read_to_string(&receiver.log).unwrap_or_default();
        port = log
            .split_once('\n')
            .and_then(|(line, _)| line.rsplit_once(':'))
            .map(|(_, port)| port.to_owned());
        port.is_some()
    });
    port.ok_or_else(|| format!("the receiver did not start\n{}", receiver.tail()))
}

fn write_config(folder: &Folder, port: &str) -> Result<(), Failure> {
    let text = format!(
        "# Written by `cargo xtask demo`.\n\
         [DEFAULT]\nloglevel = info\n\n\
         [paths]\nbase-dir = {base}\n\n\
         [pull]\nsocket-dir = ${{paths:base-dir}}/sockets\npull-interval = 1\n\
         dst-dir = ${{paths:base-dir}}/incoming\ntmp-dst-dir = ${{paths:base-dir}}/incoming.tmp\n\n\
         [process]\nsrc-dir = ${{paths:base-dir}}/incoming\nworkers = 2\n\
         per-process-metrics = true\ncalculate-percentages = true\n\n\
         [graphite]\nserver = 127.0.0.1\nport = {port}\n\n\
         [local-store]\ndir = ${{paths:base-dir}}/local-store\n",
        base = folder.path.display(),
    );
    let path = folder.config();
    fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
}

/// Shows what arrives until the time is over or Ctrl-C comes; a child that ends by itself is a
/// failure.
fn watch(
    options: &Options,
    interrupted: &AtomicBool,
    pipeline: &mut Pipeline,
    arrivals: &mut Arrivals,
) -> Result<(), Failure> {
    let mut screen = Screen::new();
    let start = Instant::now();
    let end = start + Duration::from_secs(options.seconds);
    while Instant::now() < end && !interrupted.load(Ordering::Relaxed) {
        pipeline.check()?;
        arrivals.read_on()?;
        screen.show(start.elapsed(), arrivals);
        thread::sleep(Duration::from_millis(200));
    }
    screen.finish(start.elapsed(), arrivals);
    Ok(())
}

fn summary(folder: &Folder, arrivals: &Arrivals) {
    println!("\n{} metrics of {} snapshots arrived.", arrivals.lines, arrivals.snapshots.len());
    if arrivals.malformed > 0 {
        println!("{} lines were malformed.", arrivals.malformed);
    }
    let rows = [
        ("configuration", folder.config()),
        ("what Graphite got", folder.metrics()),
        ("local-store", folder.local_store()),
        ("snapshots (spool)", folder.incoming()),
        ("logs", folder.path.join("logs")),
    ];
    for (name, path) in rows {
        println!("  {name:<18} {}", path.display());
    }
}
