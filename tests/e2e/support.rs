//! Programs that end with their test, conditions with a deadline, ports.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
pub(crate) use testbed::{installed, skip, skip_for_the_machine};

/// Only a hang takes so long. A loaded machine with a debug build can need seconds where others
/// need milliseconds.
const DEADLINE: Duration = Duration::from_secs(90);

pub(crate) const PULL: &str = env!("CARGO_BIN_EXE_haproxystats-pull");
pub(crate) const PROCESS: &str = env!("CARGO_BIN_EXE_haproxystats-process");

/// A running program, killed by its pid when the test is over; a test that fails shows the end of
/// its log.
pub(crate) struct Program {
    child: Child,
    name: String,
    output: PathBuf,
    log: PathBuf,
}

impl Program {
    /// Starts `program`; standard output and standard error go to files `name` in `folder`.
    pub(crate) fn start(
        program: &str,
        arguments: &[&OsStr],
        environment: &[(&str, &OsStr)],
        folder: &Path,
        name: &str,
    ) -> Self {
        let output = folder.join(format!("{name}.out"));
        let log = folder.join(format!("{name}.log"));
        let child = Command::new(program)
            .args(arguments)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(File::create(&output).unwrap())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap_or_else(|error| panic!("{program}: {error}"));
        Self { child, name: name.to_owned(), output, log }
    }

    pub(crate) fn pid(&self) -> i32 {
        self.child.id().try_into().unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        send(self.pid(), signal);
    }

    pub(crate) fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let what = format!("the end of {}", self.name);
        let mut status = None;
        wait_until(&what, || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    /// Ends it as an operator does, and expects a clean end with nothing on standard output.
    pub(crate) fn finish(mut self) {
        self.end_with(Signal::TERM);
    }

    /// Ends it with a signal of the test's choice.
    pub(crate) fn end_with(&mut self, signal: Signal) {
        assert!(self.runs(), "{} has ended by itself", self.name);
        self.signal(signal);
        assert_eq!(self.wait().code(), Some(0), "{} after {signal:?}", self.name);
        assert_eq!(self.output(), "", "standard output of {}", self.name);
    }

    /// Its standard error so far.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap()).into_owned()
    }

    /// Its standard output so far.
    pub(crate) fn output(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.output).unwrap()).into_owned()
    }

    /// Its living child processes, in the order of their pids.
    pub(crate) fn children(&self) -> Vec<i32> {
        let own = self.pid();
        let mut pids: Vec<i32> = fs::read_dir("/proc")
            .unwrap()
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter(|&pid| parent_of_living(pid) == Some(own))
            .collect();
        pids.sort_unstable();
        pids
    }

    /// Its living workers: the child processes with its own command line.
    pub(crate) fn workers(&self) -> Vec<i32> {
        let command_line = |pid: i32| fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let own = command_line(self.pid());
        self.children().into_iter().filter(|&pid| command_line(pid) == own).collect()
    }
}

/// The result of a command that ends by itself.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs a command to its end; a command that does not end fails the test.
pub(crate) fn run(program: &str, arguments: &[&str]) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let arguments: Vec<&OsStr> = arguments.iter().map(AsRef::as_ref).collect();
    let mut program = Program::start(program, &arguments, &[], folder.path(), "command");
    let code = program.wait().code();
    Outcome { code, stdout: program.output(), stderr: program.log() }
}

impl Drop for Program {
    fn drop(&mut self) {
        if thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let tail = &lines[lines.len().saturating_sub(40)..];
            eprintln!("--- the end of the log of {}:\n{}", self.name, tail.join("\n"));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn send(pid: i32, signal: Signal) {
    // The process may have ended. The caller asserts whether that is right.
    let _ = kill_process(Pid::from_raw(pid).unwrap(), signal);
}

/// Whether a process exists and is not a zombie.
pub(crate) fn lives(pid: i32) -> bool {
    parent_of_living(pid).is_some()
}

/// The fields after the command's name in `/proc/<pid>/stat`: the state, then the parent.
fn parent_of_living(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ');
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    (state != "Z" && state != "X").then_some(parent)
}

/// Waits until `condition` holds; fails the test with the condition's name after the deadline.
pub(crate) fn wait_until(what: &str, condition: impl FnMut() -> bool) {
    assert!(testbed::wait_until(DEADLINE, condition), "waited in vain for {what}");
}

/// Free TCP ports on 127.0.0.1, all different.
pub(crate) fn free_ports<const N: usize>() -> [u16; N] {
    testbed::free_ports().unwrap()
}

/// A file that tests share.
pub(crate) fn data(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(path)
}

/// A file that users get.
pub(crate) fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name)
}
