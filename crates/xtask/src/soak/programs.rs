//! pull and process under test: started, killed, ended and started again, each time with a new log.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use testbed::wait_until;

use crate::Failure;
use crate::demo::Folder;
use crate::demo::child::Child;

/// How long a clean end may take: it needs at most a snapshot plus the limits of the configuration.
/// A program that needs longer hangs.
const END: Duration = Duration::from_secs(30);

/// One of the two programs, running or not.
pub(super) struct Program<'a> {
    folder: &'a Folder,
    name: &'static str,
    executable: PathBuf,
    config: PathBuf,
    child: Option<Child>,
    starts: u32,
}

impl<'a> Program<'a> {
    pub(super) fn start(
        folder: &'a Folder,
        programs: &Path,
        name: &'static str,
        config: &Path,
    ) -> Result<Self, Failure> {
        let executable = programs.join(name);
        let config = config.to_owned();
        let mut program = Self { folder, name, executable, config, child: None, starts: 0 };
        program.start_again()?;
        Ok(program)
    }

    pub(super) fn start_again(&mut self) -> Result<(), Failure> {
        if self.child.is_none() {
            self.starts += 1;
            let log = self.folder.log(&format!("{}-{:03}.log", self.name, self.starts));
            let config = self.config.to_string_lossy();
            self.child = Some(Child::start(&self.executable, &["-f", &config], &[], &log)?);
        }
        Ok(())
    }

    /// Fails if the program has ended by itself.
    pub(super) fn check(&mut self) -> Result<(), Failure> {
        self.child.as_mut().map_or(Ok(()), Child::check)
    }

    /// Sends SIGKILL; false if the program does not run.
    pub(super) fn kill(&mut self) -> Result<bool, Failure> {
        let Some(mut child) = self.child.take() else { return Ok(false) };
        child.signal(Signal::KILL);
        child.wait(END).map(|_| true).ok_or_else(|| format!("{} outlives SIGKILL", self.name))
    }

    /// Sends SIGTERM and expects a clean end; false if the program does not run.
    pub(super) fn terminate(&mut self) -> Result<bool, Failure> {
        let Some(mut child) = self.child.take() else { return Ok(false) };
        // Its first line says that it listens for signals.
        wait_until(END, || child.check().is_err() || has_logged_start(&child.log));
        child.check()?;
        // A stopped process would not end until it is continued.
        self.children_of(&child).into_iter().for_each(|pid| send(pid, Signal::CONT));
        child.signal(Signal::CONT);
        child.signal(Signal::TERM);
        match child.wait(END) {
            Some(status) if status.success() => Ok(true),
            Some(status) => Err(format!("SIGTERM to {}: {status}\n{}", self.name, child.tail())),
            None => Err(format!(
                "{} did not end within {} s of SIGTERM\n{}",
                self.name,
                END.as_secs(),
                child.tail()
            )),
        }
    }

    pub(super) const fn starts(&self) -> u32 {
        self.starts
    }

    pub(super) fn pid(&self) -> Option<Pid> {
        self.child.as_ref().and_then(Child::pid)
    }

    /// Its child processes, whatever their roles.
    pub(super) fn children(&self) -> Vec<Pid> {
        self.child.as_ref().map(|child| self.children_of(child)).unwrap_or_default()
    }

    fn children_of(&self, child: &Child) -> Vec<Pid> {
        let parent = child.pid();
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter_map(Pid::from_raw).filter(|&pid| parent_of(pid) == parent).collect()
    }
}

fn has_logged_start(log: &Path) -> bool {
    fs::read_to_string(log).is_ok_and(|text| text.contains(" starts"))
}

/// Sends a signal. The process may have ended; its number is reused only after thousands of others.
pub(super) fn send(pid: Pid, signal: Signal) {
    let _ = kill_process(pid, signal);
}

/// The second field after the command's name in `/proc/<pid>/stat`.
fn parent_of(pid: Pid) -> Option<Pid> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    Pid::from_raw(fields.split(' ').nth(1)?.parse().ok()?)
}
