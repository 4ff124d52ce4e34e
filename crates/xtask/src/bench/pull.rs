//! The cost of pull beside the cost that it causes in HAProxy for the same dumps. HAProxy is a real
//! one with ten thousand servers and no other client.
//!
//! Both costs are read from the scheduler's clock of their threads between two cycles, so that the
//! start is excluded and both cover the same dumps. One measurement removes each snapshot when the
//! next one is there, as haproxystats-process does, so that pull writes into memory that was just
//! freed; the other keeps all of them.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::process::{Process, cpu_so_far, peak_memory};
use super::report::{Table, bytes, memory, milliseconds};
use super::stage::{ExtraOptions, Stage, clear};
use crate::{Failure, find_program};

const BACKENDS: usize = 100;
const SERVERS_PER_BACKEND: usize = 100;
/// Cycles before the first measurement, in which buffers grow and threads start.
const WARM_UP: usize = 2;
const CYCLES: usize = 30;
const LIMIT: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(50);

pub(crate) fn run(programs: &Path, stage: &Stage, quick: bool) -> Result<(Table, Value), Failure> {
    let program = find_program("haproxy").ok_or("--pull needs haproxy, which is not installed")?;
    let cycles = if quick { 5 } else { CYCLES };
    stage.fill(0)?;
    clear(&stage.path.join("sockets"))?;
    let socket = stage.path.join("sockets/haproxy.sock");
    let config = stage.path.join("haproxy.cfg");
    fs::write(&config, configuration(stage, &socket))
        .map_err(|error| format!("{}: {error}", config.display()))?;
    let log = stage.path.join("haproxy.log");
    let mut haproxy =
        Process::start(Command::new(&program).arg("-db").arg("-f").arg(&config), &log)?;
    wait_until(&mut [&mut haproxy], || socket.exists())?;

    let heads = [
        "servers",
        "snapshots",
        "a cycle's bytes",
        "HAProxy CPU ms",
        "pull CPU ms",
        "pull / HAProxy",
        "pull",
    ];
    let mut table = Table::new(&heads);
    let mut figures = Vec::new();
    for (how, kept) in [("taken away", 1), ("left to wait", usize::MAX)] {
        eprintln!(
            "{} servers, {cycles} cycles of a second, snapshots {how}",
            BACKENDS * SERVERS_PER_BACKEND
        );
        let Cost { cycles: measured, haproxy_ms, pull_ms, bytes: input, peak_kb } =
            measure(programs, stage, &mut haproxy, cycles, kept)?;
        table.row(vec![
            (BACKENDS * SERVERS_PER_BACKEND).to_string(),
            how.to_owned(),
            bytes(input as f64),
            milliseconds(haproxy_ms),
            milliseconds(pull_ms),
            format!("{:.1} %", pull_ms / haproxy_ms * 100.0),
            memory(peak_kb),
        ]);
        figures.push(json!({
            "servers": BACKENDS * SERVERS_PER_BACKEND, "snapshots": how, "cycles": measured,
            "bytes": input, "haproxy": version(&program), "haproxy_cpu_ms": haproxy_ms,
            "pull_cpu_ms": pull_ms, "ratio": pull_ms / haproxy_ms, "pull_kb": peak_kb,
        }));
    }
    table.note(&format!("Means of {cycles} cycles or one more, with {}.", version(&program)));
    Ok((table, figures.into()))
}

/// The cost of one cycle.
struct Cost {
    /// The number of cycles of which this is the mean.
    cycles: f64,
    haproxy_ms: f64,
    pull_ms: f64,
    bytes: u64,
    peak_kb: u64,
}

fn measure(
    programs: &Path,
    stage: &Stage,
    haproxy: &mut Process,
    cycles: usize,
    kept: usize,
) -> Result<Cost, Failure> {
    stage.fill(0)?;
    // Nothing listens on that port, and no program sends there.
    let config = stage.configure(1, 1, ExtraOptions::default())?;
    let mut command = Command::new(programs.join("haproxystats-pull"));
    let mut pull = Process::start(command.arg("-f").arg(&config), &stage.log())?;
    let mut published = Snapshots { dir: stage.incoming(), kept, ..Snapshots::default() };
    let mut look = |haproxy: &mut Process, pull: &mut Process, wanted: usize| {
        wait_until(&mut [&mut *haproxy, &mut *pull], || published.count() >= wanted)?;
        let cpu = |process: &Process| cpu_so_far(process.pid()).ok_or("/proc has no schedstat");
        Ok::<_, Failure>((published.seen.len(), cpu(haproxy)?, cpu(pull)?))
    };
    let before = look(haproxy, &mut pull, WARM_UP)?;
    let after = look(haproxy, &mut pull, before.0 + cycles)?;
    let peak_kb = peak_memory(pull.pid()).unwrap_or(0);
    let pid = pull.pid();
    pull.terminate(pid)?;
    let cycles = (after.0 - before.0) as f64;
    Ok(Cost {
        cycles,
        haproxy_ms: (after.1 - before.1) / cycles,
        pull_ms: (after.2 - before.2) / cycles,
        bytes: published_bytes(stage)?,
        peak_kb,
    })
}

/// The snapshots that pull has published.
#[derive(Default)]
struct Snapshots {
    dir: PathBuf,
    seen: BTreeSet<OsString>,
    /// The number of snapshots that are not removed.
    kept: usize,
}

impl Snapshots {
    /// The number of snapshots so far; removes the snapshots beyond `kept`.
    fn count(&mut self) -> usize {
        let found: BTreeSet<_> = fs::read_dir(&self.dir)
            .into_iter()
            .flatten()
            .flatten()
            .map(|it| it.file_name())
            // pull moves a probe there and back when it starts.
            .filter(|name| name.as_encoded_bytes().iter().all(u8::is_ascii_digit))
            .collect();
        let over = found.len().saturating_sub(self.kept);
        for name in found.iter().take(over) {
            // The next call removes it if this one cannot.
            let _ = fs::remove_dir_all(self.dir.join(name));
        }
        self.seen.extend(found);
        self.seen.len()
    }
}

/// Without checks and traffic, so that HAProxy works only for pull.
fn configuration(stage: &Stage, socket: &Path) -> String {
    let mut text = format!(
        "global\n    maxconn 100\n    stats socket {socket} mode 600 level user\n\
         defaults\n    mode http\n    timeout connect 1s\n    timeout client 5s\n    \
         timeout server 5s\n\
         frontend www\n    bind unix@{front}\n    default_backend app001\n",
        socket = socket.display(),
        front = stage.path.join("www.sock").display(),
    );
    for backend in 1..=BACKENDS {
        let _ = writeln!(text, "backend app{backend:03}");
        for server in 1..=SERVERS_PER_BACKEND {
            let _ = writeln!(text, "    server node{server:03} 127.0.0.1:9 weight 10");
        }
    }
    text
}

/// The bytes of a published snapshot.
fn published_bytes(stage: &Stage) -> Result<u64, Failure> {
    let incoming = stage.incoming();
    let failed = |error: std::io::Error| format!("{}: {error}", incoming.display());
    let snapshot = fs::read_dir(&incoming).map_err(failed)?.next();
    let snapshot = snapshot.ok_or("pull published nothing")?.map_err(failed)?;
    let files = fs::read_dir(snapshot.path()).map_err(failed)?;
    files.map(|file| Ok(file.map_err(failed)?.metadata().map_err(failed)?.len())).sum()
}

fn version(program: &Path) -> String {
    let output = Command::new(program).arg("-v").output().map(|output| output.stdout);
    let text = String::from_utf8(output.unwrap_or_default()).unwrap_or_default();
    let first = text.lines().next().unwrap_or_default();
    first.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}

fn wait_until(
    process: &mut [&mut Process],
    mut condition: impl FnMut() -> bool,
) -> Result<(), Failure> {
    let begin = Instant::now();
    while !condition() {
        process.iter_mut().try_for_each(|process| process.check())?;
        if begin.elapsed() > LIMIT {
            return Err(process
                .iter()
                .map(|one| one.failure("waits"))
                .collect::<Vec<_>>()
                .join("\n"));
        }
        thread::sleep(LOOK);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn haproxy_gets_as_many_servers_as_the_table_says() {
        let stage = Stage::create("pull-test").unwrap();
        let text = configuration(&stage, Path::new("/run/stats.sock"));
        let servers = text.lines().filter(|line| line.starts_with("    server "));
        assert_eq!(servers.count(), BACKENDS * SERVERS_PER_BACKEND);
        assert!(text.contains("stats socket /run/stats.sock "));
    }
}
