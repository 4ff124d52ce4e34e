//! One run: a spool full of snapshots, a program that empties it, a receiver that counts.

use std::path::Path;
use std::process::Command;
use std::sync::mpsc::RecvTimeoutError;
use std::thread;
use std::time::{Duration, Instant};

use super::floor;
use super::process::{Process, Role, children, cpu_so_far, peak_memory, reads_and_writes, roles};
use super::receiver::{Arrival, Receiver};
use super::stage::{ExtraOptions, FIRST, Stage};
use super::usage::Cpu;
use crate::{Failure, find_program};

/// The command line of a haproxystats-process, up to `-f`.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    words: Vec<String>,
}

/// The result of one run.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) snapshots: usize,
    pub(crate) cpu: Cpu,
    /// Milliseconds from the start to the last byte of the last snapshot.
    pub(crate) wall: f64,
    pub(crate) bytes: u64,
    pub(crate) metrics: u64,
    pub(crate) usage: [Usage; Role::ALL.len()],
    pub(crate) calls: Option<u64>,
}

/// The memory and CPU of the processes of one role.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    /// The most memory of the largest process, in kB.
    pub(crate) memory: u64,
    /// The CPU in milliseconds, without children that have ended.
    pub(crate) cpu: f64,
}

impl Outcome {
    pub(crate) const fn of(&self, role: Role) -> Usage {
        self.usage[role as usize]
    }
}

/// A program from which nothing arrives for this time has stalled.
const STALL: Duration = Duration::from_secs(300);
/// The interval at which the spool is listed while nothing arrives.
const LOOK: Duration = Duration::from_millis(10);

impl Program {
    pub(crate) fn parse(words: &str) -> Self {
        Self { words: words.split_whitespace().map(str::to_owned).collect() }
    }

    pub(crate) fn of(path: &Path) -> Self {
        Self { words: vec![path.to_string_lossy().into_owned()] }
    }

    pub(crate) fn command(&self, config: &Path) -> Command {
        let mut words = self.words.iter();
        let mut command = Command::new(words.next().map_or("", String::as_str));
        command.args(words).arg("-f").arg(config);
        command
    }

    /// Has the program empty a spool of that many snapshots.
    pub(crate) fn run(
        &self,
        stage: &Stage,
        snapshots: usize,
        workers: usize,
    ) -> Result<Outcome, Failure> {
        stage.fill(snapshots)?;
        let receiver = Receiver::start()?;
        let config = stage.configure(workers, receiver.port, ExtraOptions::default())?;
        let mut process = Process::start(&mut self.command(&config), &stage.log())?;
        let mut arrivals = drain(stage, &mut process, &receiver)?;
        let pid = process.pid();
        let processes = roles(pid);
        let mut usage = [Usage::default(); Role::ALL.len()];
        for &(pid, role) in &processes {
            let usage = &mut usage[role as usize];
            usage.memory = usage.memory.max(peak_memory(pid).unwrap_or(0));
            usage.cpu += cpu_so_far(pid).unwrap_or(0.0);
        }
        let calls = processes.iter().map(|&(pid, _)| reads_and_writes(pid)).sum();
        let started = process.started;
        let cpu = process.terminate(pid)?;
        arrivals.extend(receiver.finish()?);
        let last = FIRST + snapshots as u64;
        arrivals
            .retain(|arrival| arrival.stamp.is_some_and(|stamp| (FIRST..last).contains(&stamp)));
        let end = arrivals.iter().map(|arrival| arrival.last_byte).max().unwrap_or(started);
        Ok(Outcome {
            snapshots,
            cpu,
            wall: end.duration_since(started).as_secs_f64() * 1e3,
            bytes: arrivals.iter().map(|arrival| arrival.bytes).sum(),
            metrics: arrivals.iter().map(|arrival| arrival.lines).sum(),
            usage,
            calls,
        })
    }

    /// All system calls of such a run, including those of the workers, counted by strace.
    fn trace(&self, strace: &Path, stage: &Stage, snapshots: usize) -> Result<u64, Failure> {
        stage.fill(snapshots)?;
        let receiver = Receiver::start()?;
        let config = stage.configure(1, receiver.port, ExtraOptions::default())?;
        let counts = stage.path.join("strace.txt");
        let traced = self.command(&config);
        let mut command = Command::new(strace);
        command.args(["-f", "-c", "-qq", "-o"]).arg(&counts).arg("--");
        command.arg(traced.get_program()).args(traced.get_args());
        let mut process = Process::start(&mut command, &stage.log())?;
        drain(stage, &mut process, &receiver)?;
        let traced = children(process.pid());
        let &[pid] = traced.as_slice() else {
            return Err(process.failure("traces no process, or more than one"));
        };
        process.terminate(pid)?;
        let text = std::fs::read_to_string(&counts)
            .map_err(|error| format!("{}: {error}", counts.display()))?;
        total_calls(&text).ok_or_else(|| format!("strace's table has no total:\n{text}"))
    }

    /// System calls for each further snapshot, and the tool that counted them.
    pub(crate) fn calls(
        &self,
        stage: &Stage,
        short: usize,
        long: usize,
    ) -> Result<(f64, &'static str), Failure> {
        let (low, high, counter) = match find_program("strace") {
            Some(strace) => {
                (self.trace(&strace, stage, short)?, self.trace(&strace, stage, long)?, "strace")
            }
            None => {
                let count = |snapshots| {
                    let calls = self.run(stage, snapshots, 1)?.calls;
                    calls.ok_or_else(|| "/proc tells no reads and writes".to_owned())
                };
                (count(short)?, count(long)?, "reads and writes in /proc")
            }
        };
        Ok(((high as f64 - low as f64) / (long - short) as f64, counter))
    }
}

/// The floor's CPU for the same files and as many bytes.
pub(crate) fn run_floor(stage: &Stage, snapshots: usize, bytes: u64) -> Result<Cpu, Failure> {
    let receiver = Receiver::start()?;
    let own = std::env::current_exe().map_err(|error| format!("own path: {error}"))?;
    let mut command = Command::new(own);
    command.arg(floor::TASK).arg(stage.template());
    command
        .args([snapshots as u64, bytes, u64::from(receiver.port)].map(|number| number.to_string()));
    Process::start(&mut command, &stage.log())?.finish(STALL)
}

/// Waits until the spool is empty, and returns the arrivals meanwhile. A program that keeps its
/// connections has no arrival yet.
pub(crate) fn drain(
    stage: &Stage,
    process: &mut Process,
    receiver: &Receiver,
) -> Result<Vec<Arrival>, Failure> {
    let mut arrivals = Vec::new();
    let (mut progress, mut left) = (Instant::now(), usize::MAX);
    loop {
        match receiver.arrivals.recv_timeout(LOOK) {
            Ok(arrival) => {
                arrivals.push(arrival);
                progress = Instant::now();
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => return Err("the receiver ended".to_owned()),
            Err(RecvTimeoutError::Timeout) => {}
        }
        process.check()?;
        let waiting = stage.waiting();
        if waiting == 0 {
            return Ok(arrivals);
        }
        if waiting != left {
            (progress, left) = (Instant::now(), waiting);
        } else if progress.elapsed() > STALL {
            return Err(process.failure(&format!("stands still with {waiting} snapshots left")));
        }
    }
}

/// Waits until the outbox is empty.
pub(crate) fn settle(stage: &Stage, process: &mut Process) -> Result<(), Failure> {
    let (mut progress, mut left) = (Instant::now(), usize::MAX);
    loop {
        process.check()?;
        let held = stage.held();
        if held == 0 {
            return Ok(());
        }
        if held != left {
            (progress, left) = (Instant::now(), held);
        } else if progress.elapsed() > STALL {
            return Err(process.failure(&format!("stands still with {held} batches in the outbox")));
        }
        thread::sleep(LOOK);
    }
}

/// The calls in the last line of `strace -c`.
fn total_calls(table: &str) -> Option<u64> {
    let line = table.lines().rev().find(|line| line.trim_end().ends_with(" total"))?;
    line.split_whitespace().nth(3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::generator::{Columns, Size};

    #[test]
    fn the_total_of_strace_is_found() {
        let table = "% time     seconds  usecs/call     calls    errors syscall\n\
                     ------ ----------- ----------- --------- --------- ----------------\n \
                     54.02    0.000094          94         1           execve\n\
                     ------ ----------- ----------- --------- --------- ----------------\n\
                     100.00    0.000174           2        67         2 total\n";
        assert_eq!(total_calls(table), Some(67));
        assert_eq!(total_calls("strace: no such file\n"), None);
    }

    #[test]
    fn a_program_is_given_its_own_words_before_the_configuration() {
        let command = Program::parse("python3 -m  haproxystats").command(Path::new("/c"));
        assert_eq!(command.get_program(), "python3");
        assert_eq!(command.get_args().collect::<Vec<_>>(), ["-m", "haproxystats", "-f", "/c"]);
    }

    /// A stand-in without a worker: removes each snapshot and sends one line for it, over a new
    /// connection or, as the Python program does, over one lasting connection.
    const STAND_IN: &str = r#"
        set -eu
        connect() { exec 3<>"/dev/tcp/127.0.0.1/$(sed -n 's/^port = //p' "$config")"; }
        kept=$1 config=$3
        spool=$(sed -n 's/^src-dir = //p' "$config")
        trap 'exit 0' TERM
        connect
        for snapshot in "$spool"/*; do
            echo "a.b 1 ${snapshot##*/}" >&3
            [ "$kept" = kept ] || { exec 3>&-; connect; }
            rm -r "$snapshot"
        done
        while :; do sleep 0.05; done
    "#;

    #[test]
    fn a_run_counts_what_the_program_sent() {
        let stage = Stage::create("run-test").unwrap();
        let size = Size { name: "small", processes: 1, frontends: 1, backends: 1, servers: 1 };
        stage.generate(size, Columns::V26).unwrap();
        let script = stage.path.join("stand-in.sh");
        std::fs::write(&script, STAND_IN).unwrap();
        for connections in ["kept", "many"] {
            let program = Program::parse(&format!("bash {} {connections}", script.display()));
            let outcome = program.run(&stage, 3, 1).unwrap();
            assert_eq!((outcome.snapshots, outcome.metrics, outcome.bytes), (3, 3, 51));
            assert!(
                outcome.cpu.total() > 0.0
                    && outcome.wall > 0.0
                    && outcome.of(Role::Parent).memory > 0
            );
            assert_eq!(stage.waiting(), 0);
        }
    }
}
