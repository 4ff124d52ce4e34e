//! Reads the output of the tests while they run and collects the failures for the summary.
//!
//! The exit status is the verdict; the text only tells what failed. The names come from the list
//! that libtest prints before `test result: FAILED`, because a failing test may itself print lines
//! that look like results. Cargo names the test binary after that list: `to rerun pass …`. A
//! binary that a signal kills has no such list, and cargo tells the signal. Lines and lists are
//! bounded.

use std::process::ExitStatus;

use crate::Failure;

/// Bytes of a line that are kept, which is more than any name has; the rest is dropped.
const LINE_MAX_BYTES: usize = 4096;
/// Failures in the list at most; further failures are only counted.
const FAILURES_MAX: usize = 500;

const RERUN: &str = "failed, to rerun pass `";
const ENDED_EARLY: &str = "ended before its result";

/// The failures of all runs so far, and the state of the run that is being read.
#[derive(Default)]
pub(super) struct Results {
    failures: Vec<FailureEntry>,
    /// The number of failures that did not fit into the list.
    unlisted: usize,
    /// The number of failures before this run.
    before: usize,
    line: Vec<u8>,
    /// The first error of cargo in this run, shown if no test failed.
    complaint: Option<String>,
    /// The failure whose cause is in one of cargo's next lines.
    unexplained: Option<usize>,
    binary: Binary,
}

/// A test, or a test binary, and what happened to it.
struct FailureEntry {
    target: String,
    what: String,
}

/// The test binary whose output is being read.
#[derive(Default)]
struct Binary {
    /// The name as cargo prints it.
    name: String,
    passed: u64,
    /// Tests reported as failed since the last result.
    reported: Vec<String>,
    /// The latest list of failures, and whether it goes on.
    listed: Vec<String>,
    listing: bool,
    /// Tests of the lists that a result has confirmed. Doc tests have two results in one binary.
    failed: Vec<String>,
}

impl Results {
    /// A new run begins.
    pub(super) fn begin(&mut self) {
        self.before = self.failures.len();
        self.line.clear();
        self.complaint = None;
        self.unexplained = None;
        self.binary = Binary::default();
    }

    /// Reads the next piece; a line may come in several pieces.
    pub(super) fn read(&mut self, piece: &[u8]) {
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            let (text, complete) = match part.split_last() {
                Some((b'\n', text)) => (text, true),
                _ => (part, false),
            };
            let left = LINE_MAX_BYTES.saturating_sub(self.line.len());
            self.line.extend_from_slice(text.get(..left).unwrap_or(text));
            if complete {
                let line = without_colours(&String::from_utf8_lossy(&self.line));
                self.line.clear();
                self.line(line.trim_end());
            }
        }
    }

    /// The run of cargo is over.
    pub(super) fn end(&mut self, status: ExitStatus) {
        if status.success() {
            self.failures.truncate(self.before);
            return;
        }
        // A cargo that was killed has not named the last binary.
        let Binary { name, failed, reported, .. } = std::mem::take(&mut self.binary);
        for test in failed.into_iter().chain(reported) {
            self.add(&name, test);
        }
        if self.failures.len() == self.before && self.unlisted == 0 {
            let complaint = self.complaint.take();
            self.add("cargo test", complaint.unwrap_or_else(|| format!("ended with {status}")));
        }
    }

    /// Ends the run of one test binary without cargo. A run without a test is a failure, too.
    pub(super) fn end_binary(&mut self, target: &str, status: ExitStatus) {
        let Binary { passed, failed, reported, .. } = std::mem::take(&mut self.binary);
        if status.success() {
            if passed == 0 {
                self.add(target, "found no test".to_owned());
            }
            return;
        }
        let tests = if failed.is_empty() { reported } else { failed };
        if tests.is_empty() {
            self.add(target, format!("ended with {status}"));
        }
        for test in tests {
            self.add(target, test);
        }
    }

    pub(super) fn add(&mut self, target: &str, what: String) {
        if self.failures.len() < FAILURES_MAX {
            self.failures.push(FailureEntry { target: target.to_owned(), what });
        } else {
            self.unlisted += 1;
        }
    }

    /// All failures of all runs, one on each line.
    pub(super) fn verdict(&self) -> Result<(), Failure> {
        let number = match self.failures.len() + self.unlisted {
            0 => return Ok(()),
            1 => "1 failure".to_owned(),
            number => format!("{number} failures"),
        };
        let lines =
            self.failures.iter().map(|failed| format!("{}: {}", failed.target, failed.what));
        let more = (self.unlisted > 0).then(|| format!("and {} more", self.unlisted));
        let lines: Vec<String> = lines.chain(more).collect();
        Err(format!("{number}:\n  {}", lines.join("\n  ")))
    }

    fn line(&mut self, line: &str) {
        if let Some((before, rest)) = line.split_once(RERUN) {
            let target = rest.split('`').next().unwrap_or(rest);
            self.binary_failed(target, running(before));
        } else if let Some(cause) = line.strip_prefix("  process didn't exit successfully: ") {
            self.explain(cause);
        } else if let Some(error) = line.strip_prefix("error: ") {
            if error.starts_with("could not compile ") {
                self.add("cargo test", error.to_owned());
            } else if self.complaint.is_none() {
                self.complaint = Some(error.to_owned());
            }
        } else if let Some(name) =
            line.strip_prefix("     Running ").or_else(|| line.strip_prefix("   Doc-tests "))
        {
            self.binary = Binary { name: name.to_owned(), ..Binary::default() };
        } else {
            self.binary.line(line);
        }
    }

    /// Cargo says which binary failed, after its output.
    fn binary_failed(&mut self, target: &str, running: Option<&str>) {
        let Binary { failed, reported, .. } = std::mem::take(&mut self.binary);
        let early = failed.is_empty();
        for test in failed.into_iter().chain(reported) {
            self.add(target, test);
        }
        if early {
            let test = running.map(|test| format!(", in {test}")).unwrap_or_default();
            self.unexplained = (self.failures.len() < FAILURES_MAX).then_some(self.failures.len());
            self.add(target, format!("{ENDED_EARLY}{test}"));
        }
    }

    /// The cause ends with the exit status in brackets: `<command> (signal: 9, SIGKILL: kill)`.
    fn explain(&mut self, cause: &str) {
        let failed = self.unexplained.take().and_then(|at| self.failures.get_mut(at));
        if let (Some(failed), Some((_, status))) = (failed, cause.rsplit_once(" (")) {
            failed.what = format!("{} ({status}", failed.what);
        }
    }
}

impl Binary {
    fn line(&mut self, line: &str) {
        if line == "failures:" {
            self.listed.clear();
            self.listing = true;
        } else if let Some(name) = line.strip_prefix("    ").filter(|_| self.listing) {
            keep(&mut self.listed, name);
        } else if line.starts_with("test result: FAILED.") {
            let (listed, reported) =
                (std::mem::take(&mut self.listed), std::mem::take(&mut self.reported));
            for name in if listed.is_empty() { reported } else { listed } {
                keep(&mut self.failed, &name);
            }
            self.listing = false;
        } else if let Some(counts) = line.strip_prefix("test result: ok. ") {
            let number = counts.split(' ').next().and_then(|number| number.parse::<u64>().ok());
            self.passed += number.unwrap_or(0);
            self.reported.clear();
        } else if let Some(name) = failed_test(line) {
            keep(&mut self.reported, name);
            self.listing = false;
        } else {
            self.listing = false;
        }
    }
}

/// Keeps one name more than the list has, so that `unlisted` becomes at least one.
fn keep(names: &mut Vec<String>, name: &str) {
    if names.len() <= FAILURES_MAX {
        names.push(name.to_owned());
    }
}

/// The name in `test NAME ... FAILED`.
fn failed_test(line: &str) -> Option<&str> {
    line.strip_prefix("test ")?.strip_suffix(" ... FAILED")
}

/// The test that ran when its binary died. With one thread its line has no end yet.
fn running(before: &str) -> Option<&str> {
    before.strip_prefix("test ")?.split_once(" ... ").map(|(name, _)| name)
}

/// The text without the sequences that colour it on a terminal.
fn without_colours(text: &str) -> String {
    // Some terminals end a colour by choosing their character set, too.
    let text = text.replace("\u{1b}(B", "");
    let mut parts = text.split("\u{1b}[");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        plain.push_str(part.split_once('m').map_or("", |(_, rest)| rest));
    }
    plain
}

#[cfg(test)]
mod tests;
