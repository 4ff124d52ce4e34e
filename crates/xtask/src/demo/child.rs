//! One program that a task runs: started with a log file, watched, and ended in any case.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use testbed::wait_until;

use crate::Failure;

/// How long a program may take to end before it is killed.
const GRACE: Duration = Duration::from_secs(5);

/// A running program; dropping it ends it.
pub(crate) struct Child {
    name: String,
    inner: std::process::Child,
    /// The file of its output.
    pub(crate) log: PathBuf,
}

impl Child {
    /// Starts a program in a process group of its own, so that Ctrl-C does not reach it.
    pub(crate) fn start(
        program: &Path,
        arguments: &[&str],
        environment: &[(&str, &OsStr)],
        log: &Path,
    ) -> Result<Self, Failure> {
        let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let with_path = |error| format!("{}: {error}", log.display());
        let output = File::create(log).map_err(with_path)?;
        let errors = output.try_clone().map_err(with_path)?;
        let inner = Command::new(program)
            .args(arguments)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .process_group(0)
            .spawn()
            .map_err(|error| format!("{}: {error}", program.display()))?;
        Ok(Self { name, inner, log: log.to_owned() })
    }

    /// An error with the end of the log when the program has ended by itself.
    pub(crate) fn check(&mut self) -> Result<(), Failure> {
        match self.inner.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(format!("{} ended with {status}\n{}", self.name, self.tail())),
            Err(error) => Err(format!("{}: {error}", self.name)),
        }
    }

    pub(crate) fn pid(&self) -> Option<Pid> {
        i32::try_from(self.inner.id()).ok().and_then(Pid::from_raw)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid() {
            // It may have ended. The kernel does not reuse its number before we wait for it.
            let _ = kill_process(pid, signal);
        }
    }

    /// Waits for its end; `None` if that does not come in time.
    pub(crate) fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        let mut status = None;
        wait_until(limit, || {
            status = self.inner.try_wait().ok().flatten();
            status.is_some()
        });
        status
    }

    /// Asks it to end, and kills it when it does not.
    pub(crate) fn stop(&mut self) {
        if self.ended() {
            return;
        }
        self.signal(Signal::TERM);
        if !wait_until(GRACE, || self.ended()) {
            println!("{} did not end in {} s and is killed", self.name, GRACE.as_secs());
            let _ = self.inner.kill();
            let _ = self.inner.wait();
        }
    }

    /// The last lines of the log, for an error.
    pub(crate) fn tail(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        let last = &lines[lines.len().saturating_sub(15)..];
        format!("the end of {}:\n{}", self.log.display(), last.join("\n"))
    }

    fn ended(&mut self) -> bool {
        !matches!(self.inner.try_wait(), Ok(None))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.stop();
    }
}
