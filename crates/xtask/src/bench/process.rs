//! A program under measurement: started, looked at through `/proc`, ended, and its CPU counted with
//! that of its workers.
//!
//! Dropping it kills it, so that a failure in between leaves nothing behind.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::usage::{Cpu, collect};
use crate::Failure;

/// Ctrl-C: checked wherever the bench waits, so that it ends through its destructors.
pub(crate) static INTERRUPTED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// Between two looks.
const LOOK: Duration = Duration::from_millis(2);
/// How long a program may take to end after its signal.
const END: Duration = Duration::from_secs(90);

/// A process that runs.
pub(crate) struct Process {
    child: Child,
    name: String,
    log: PathBuf,
    pub(crate) started: Instant,
    collected: bool,
}

impl Process {
    /// Starts it with its output in a file, in a process group of its own, so that Ctrl-C does not
    /// reach it.
    pub(crate) fn start(command: &mut Command, log: &Path) -> Result<Self, Failure> {
        let name = command.get_program().to_string_lossy().into_owned();
        let failed = |error| format!("{}: {error}", log.display());
        let output = File::create(log).map_err(failed)?;
        let errors = output.try_clone().map_err(failed)?;
        command.stdin(Stdio::null()).stdout(output).stderr(errors).process_group(0);
        Self::spawn(command, name, log)
    }

    /// Starts it with the command's own input, output and process group.
    pub(crate) fn spawn(command: &mut Command, name: String, log: &Path) -> Result<Self, Failure> {
        let started = Instant::now();
        let child = command.spawn().map_err(|error| format!("{name}: {error}"))?;
        Ok(Self { child, name, log: log.to_owned(), started, collected: false })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Fails with the end of the log if the process has ended by itself, and after Ctrl-C.
    pub(crate) fn check(&mut self) -> Result<(), Failure> {
        interrupted()?;
        match collect(self.pid()) {
            Ok(None) => Ok(()),
            other => {
                self.collected = true;
                Err(self.failure(&format!("ended by itself ({other:?})")))
            }
        }
    }

    /// Waits until it ends by itself, and well.
    pub(crate) fn finish(mut self, limit: Duration) -> Result<Cpu, Failure> {
        self.wait(limit)
    }

    /// Sends SIGTERM to a process: this one or, if this one is strace, its child.
    pub(crate) fn terminate(mut self, pid: u32) -> Result<Cpu, Failure> {
        signal(pid, Signal::TERM);
        self.wait(END)
    }

    fn wait(&mut self, limit: Duration) -> Result<Cpu, Failure> {
        let begin = Instant::now();
        loop {
            interrupted()?;
            match collect(self.pid()).map_err(|error| format!("{}: {error}", self.name))? {
                Some(ended) => {
                    self.collected = true;
                    return if ended.well {
                        Ok(ended.cpu)
                    } else {
                        Err(self.failure("did not end well"))
                    };
                }
                None if begin.elapsed() > limit => return Err(self.failure("does not end")),
                None => thread::sleep(LOOK),
            }
        }
    }

    pub(crate) fn failure(&self, what: &str) -> Failure {
        let log = fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        let last = lines[lines.len().saturating_sub(15)..].join("\n");
        format!("{} {what}; the end of its log:\n{last}", self.name)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.collected {
            // The group holds only this process and what it started.
            if let Some(group) = i32::try_from(self.pid()).ok().and_then(Pid::from_raw) {
                let _ = kill_process_group(group, Signal::KILL);
            }
            let _ = self.child.wait();
        }
    }
}

/// A failure once Ctrl-C was pressed.
pub(crate) fn interrupted() -> Result<(), Failure> {
    if INTERRUPTED.load(Ordering::Relaxed) { Err("interrupted".to_owned()) } else { Ok(()) }
}

pub(crate) fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // The process may have ended by itself, which the wait shows.
        let _ = kill_process(pid, signal);
    }
}

/// The processes that a process has started and that still run.
pub(crate) fn children(pid: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists =
        threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    let mut pids = Vec::new();
    lists.for_each(|list| {
        pids.extend(list.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()))
    });
    pids
}

/// The role of a process of haproxystats-process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// A fold child, or a worker of another program.
    Fold,
    Send,
    /// A child for the outbox or the spool.
    Disk,
    Parent,
}

impl Role {
    pub(crate) const ALL: [Self; 4] = [Self::Fold, Self::Send, Self::Disk, Self::Parent];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Fold => "fold",
            Self::Send => "send",
            Self::Disk => "disk",
            Self::Parent => "parent",
        }
    }

    /// The role by the name of a child; a fold child has the name of the program.
    pub(crate) fn of_child(name: &str) -> Self {
        match name.strip_prefix("haproxystats-") {
            Some(name) if name.starts_with("send-") => Self::Send,
            Some("outbox" | "spool") => Self::Disk,
            _ => Self::Fold,
        }
    }
}

/// A process and its children, each with its role.
pub(crate) fn roles(parent: u32) -> Vec<(u32, Role)> {
    let of_children = children_by_name(parent).into_iter();
    let of_children = of_children.map(|(pid, name)| (pid, Role::of_child(&name)));
    std::iter::once((parent, Role::Parent)).chain(of_children).collect()
}

/// The children of a process, each with its name in the list of processes.
pub(crate) fn children_by_name(parent: u32) -> Vec<(u32, String)> {
    let named = |pid: u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let name = line.split(|byte| *byte == 0).next().unwrap_or_default();
        (pid, String::from_utf8_lossy(name).into_owned())
    };
    children(parent).into_iter().map(named).collect()
}

/// The most memory that a process has ever had, in kB.
pub(crate) fn peak_memory(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// How often a process has read and written so far.
pub(crate) fn reads_and_writes(pid: u32) -> Option<u64> {
    let io = fs::read_to_string(format!("/proc/{pid}/io")).ok()?;
    let count =
        |key: &str| io.lines().find_map(|line| line.strip_prefix(key)?.trim().parse::<u64>().ok());
    Some(count("syscr:")? + count("syscw:")?)
}

/// The CPU time in milliseconds of all threads that a process has now.
pub(crate) fn cpu_so_far(pid: u32) -> Option<f64> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let mut nanoseconds = 0.0;
    for thread in threads.flatten() {
        let schedstat = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        nanoseconds += schedstat.split_whitespace().next()?.parse::<f64>().ok()?;
    }
    Some(nanoseconds / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_tells_of_this_process() {
        let own = std::process::id();
        assert!(peak_memory(own).unwrap() > 100);
        assert!(reads_and_writes(own).unwrap() > 0);
        assert!(cpu_so_far(own).unwrap() > 0.0);
    }

    #[test]
    fn a_child_is_known_by_its_name() {
        for (name, role) in [
            ("/usr/bin/haproxystats-process", Role::Fold),
            ("haproxystats-process", Role::Fold),
            ("haproxystats-send-graphite:second", Role::Send),
            ("haproxystats-spool", Role::Disk),
            ("python3", Role::Fold),
        ] {
            assert_eq!(Role::of_child(name), role, "{name}");
        }
    }

    #[test]
    fn a_failed_process_is_reported_with_its_log() {
        let log = std::env::temp_dir().join(format!("xtask-process-{}.log", std::process::id()));
        let mut command = Command::new("sh");
        command.args(["-c", "echo the reason; exit 4"]);
        let failure = Process::start(&mut command, &log).unwrap().finish(END).unwrap_err();
        fs::remove_file(&log).unwrap();
        assert!(failure.contains("the reason"), "{failure}");
    }
}
