//! What pull costs beside what it makes HAProxy spend on the same dumps: a real HAProxy with ten
//! thousand servers that nobody but pull talks to.
//!
//! Both are read from the scheduler's clock of their threads between two cycles, so that starting
//! is left out and both cover the same dumps.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::report::{Table, bytes, memory, milliseconds};
use super::running::{Running, cpu_so_far, peak_memory};
use super::stage::{More, Stage, clear};
use crate::{Failure, find_program};

const BACKENDS: usize = 100;
const SERVERS_PER_BACKEND: usize = 100;
/// Cycles before the first look: buffers are grown, threads are there.
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
        Running::start(Command::new(&program).arg("-db").arg("-f").arg(&config), &log)?;
    wait_until(&mut [&mut haproxy], || socket.exists())?;

    // Nobody listens at that port, and nobody sends there.
    let config = stage.configure(1, 1, More::default())?;
    let mut command = Command::new(programs.join("haproxystats-pull"));
    let mut pull = Running::start(command.arg("-f").arg(&config), &stage.log())?;
    eprintln!("{} servers, {cycles} cycles of a second", BACKENDS * SERVERS_PER_BACKEND);
    let look = |haproxy: &mut Running, pull: &mut Running, published: usize| {
        wait_until(&mut [haproxy, pull], || stage.waiting() >= published)?;
        let cpu = |running: &Running| cpu_so_far(running.pid()).ok_or("/proc has no schedstat");
        Ok::<_, Failure>((stage.waiting(), cpu(haproxy)?, cpu(pull)?))
    };
    let before = look(&mut haproxy, &mut pull, WARM_UP)?;
    let after = look(&mut haproxy, &mut pull, before.0 + cycles)?;
    let peak = peak_memory(pull.pid()).unwrap_or(0);
    let pid = pull.pid();
    pull.terminate(pid)?;

    let cycles = (after.0 - before.0) as f64;
    let (theirs, ours) = ((after.1 - before.1) / cycles, (after.2 - before.2) / cycles);
    let input = published_bytes(stage)?;
    let heads =
        ["servers", "a cycle's bytes", "HAProxy CPU ms", "pull CPU ms", "pull / HAProxy", "pull"];
    let mut table = Table::new(&heads);
    table.row(vec![
        (BACKENDS * SERVERS_PER_BACKEND).to_string(),
        bytes(input as f64),
        milliseconds(theirs),
        milliseconds(ours),
        format!("{:.1} %", ours / theirs * 100.0),
        memory(peak),
    ]);
    table.note(&format!("Mean of {cycles} cycles, with {}.", version(&program)));
    let figures = json!({
        "servers": BACKENDS * SERVERS_PER_BACKEND, "cycles": cycles, "bytes": input,
        "haproxy": version(&program), "haproxy_cpu_ms": theirs, "pull_cpu_ms": ours,
        "ratio": ours / theirs, "pull_kb": peak,
    });
    Ok((table, figures))
}

/// No checks and no traffic: what HAProxy spends, it spends on pull.
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
    running: &mut [&mut Running],
    mut condition: impl FnMut() -> bool,
) -> Result<(), Failure> {
    let begin = Instant::now();
    while !condition() {
        running.iter_mut().try_for_each(|running| running.check())?;
        if begin.elapsed() > LIMIT {
            return Err(running
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
