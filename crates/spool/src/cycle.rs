//! Numbers about one cycle of haproxystats-pull, and about those before it.
//!
//! They are in the manifest of a snapshot ([`crate::manifest`]). Version 0.1.0 wrote them into a
//! file of their own, [`FILE_NAME`], which is still read: text, a line `key value` for each number,
//! in any order, with the keys of the manifest. A reader ignores keys that it does not know and
//! takes 0 for missing ones, so that the two programs need not be of one version. The counters
//! begin anew with each start of pull.

use std::io::{self, Read};
use std::path::Path;

use daemon::file::{self, Limit, Links};
use serde::{Deserialize, Serialize};

/// The file of version 0.1.0.
pub const FILE_NAME: &str = "haproxystats.cycle";

/// Bytes that the file may have; version 0.1.0 wrote less than 300.
const CYCLE_MAX_BYTES: u64 = 4096;
const LIMIT: Limit = Limit { bytes: CYCLE_MAX_BYTES, name: "the bound for haproxystats.cycle" };

/// One cycle, and counters over the cycles since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Cycle {
    /// Endpoints asked in this cycle.
    pub endpoints: u64,
    /// Endpoints of this cycle that are not in the snapshot.
    pub missing: u64,
    /// Cycles since the start, including this one.
    pub cycles: u64,
    /// Cycles since the start that left no snapshot.
    pub failures: u64,
    /// Endpoints without an answer, over all these cycles.
    pub endpoint_failures: u64,
    /// Cycles since the start that were not run because the spool was full.
    pub skipped: u64,
    /// How long this cycle took until the manifest was written, before publishing.
    pub milliseconds: u64,
    /// Workers in the snapshot whose answers came through a master CLI. Their files have their
    /// worker and generation in the manifest.
    #[serde(skip_serializing_if = "is_zero")]
    pub workers: u64,
    /// Old workers in the snapshot; `None` if the program did not know of any generation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old_workers: Option<u64>,
    /// Those of them that were not asked, or gave no answer, and have the answers of an earlier
    /// cycle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept_workers: Option<u64>,
    /// Whether servers were not asked for (`servers-interval`).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub without_servers: bool,
}

// serde's attribute passes a reference.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for this form")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A line that is not of the format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {text:?} is no key with a whole number")]
pub struct Error {
    /// Counted from 1.
    pub line: usize,
    /// The line.
    pub text: String,
}

impl Cycle {
    /// Reads the text of a file of version 0.1.0.
    ///
    /// # Errors
    ///
    /// A line is not of the format.
    ///
    /// ```
    /// use haproxystats_spool::cycle::Cycle;
    ///
    /// let cycle = Cycle::parse("endpoints 4\nmissing 1\ncolour blue\n")?;
    /// assert_eq!((cycle.endpoints, cycle.missing, cycle.skipped), (4, 1, 0));
    /// # Ok::<(), haproxystats_spool::cycle::Error>(())
    /// ```
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut cycle = Self::default();
        for (index, line) in text.lines().enumerate() {
            let wrong = || Error { line: index + 1, text: line.chars().take(80).collect() };
            let (key, value) = line.split_once(' ').ok_or_else(wrong)?;
            if let Some(field) = cycle.field(key) {
                *field = value.parse().map_err(|_| wrong())?;
            }
        }
        Ok(cycle)
    }

    fn field(&mut self, key: &str) -> Option<&mut u64> {
        Some(match key {
            "endpoints" => &mut self.endpoints,
            "missing" => &mut self.missing,
            "cycles" => &mut self.cycles,
            "failures" => &mut self.failures,
            "endpoint-failures" => &mut self.endpoint_failures,
            "skipped" => &mut self.skipped,
            "milliseconds" => &mut self.milliseconds,
            _ => return None,
        })
    }
}

/// Reads the file of a snapshot of version 0.1.0; `None` if the snapshot lacks it.
///
/// # Errors
///
/// The file cannot be read, is not a regular file, or is not of the format
/// ([`io::ErrorKind::InvalidData`]).
pub(crate) fn read(snapshot: &Path) -> io::Result<Option<Cycle>> {
    let path = snapshot.join(FILE_NAME);
    if file::is_absent(&path) {
        return Ok(None);
    }
    let mut text = String::new();
    file::open(&path, LIMIT, Links::Refuse)?.read_to_string(&mut text)?;
    let cycle = Cycle::parse(&text);
    cycle.map(Some).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::proptest;

    use super::*;

    const TEXT: &str = "endpoints 4\nmissing 1\ncycles 20\nfailures 3\nendpoint-failures 7\n\
                        skipped 2\nmilliseconds 15\n";

    fn cycle() -> Cycle {
        Cycle {
            endpoints: 4,
            missing: 1,
            cycles: 20,
            failures: 3,
            endpoint_failures: 7,
            skipped: 2,
            milliseconds: 15,
            ..Cycle::default()
        }
    }

    #[test]
    fn the_format_is_a_line_for_each_number() {
        assert_eq!(Cycle::parse(TEXT), Ok(cycle()));
    }

    #[test]
    fn the_keys_are_those_of_the_manifest() {
        let serde_json::Value::Object(json) = serde_json::to_value(cycle()).unwrap() else {
            panic!("no object")
        };
        assert_eq!(json.len(), 7);
        for (key, number) in TEXT.lines().map(|line| line.split_once(' ').unwrap()) {
            assert_eq!(json[key], number.parse::<u64>().unwrap(), "{key}");
        }
    }

    #[test]
    fn unknown_keys_are_passed_over_and_missing_ones_are_0() {
        let text = "colour light blue\nendpoints 4\n";
        assert_eq!(Cycle::parse(text), Ok(Cycle { endpoints: 4, ..Cycle::default() }));
        assert_eq!(Cycle::parse(""), Ok(Cycle::default()));
    }

    #[test]
    fn a_line_of_another_format_is_named() {
        for line in ["endpoints", "endpoints ", "endpoints -1", "endpoints 1.5", "\0\u{fffd}"] {
            let error = Cycle::parse(&format!("cycles 1\n{line}\n")).unwrap_err();
            assert_eq!(error, Error { line: 2, text: line.to_owned() });
        }
    }

    proptest! {
        /// No text makes reading it panic.
        #[test]
        fn any_text_is_read_or_refused(text in "(?s).{0,200}") {
            let _ = Cycle::parse(&text);
        }
    }

    #[test]
    fn a_snapshot_may_be_without_the_file_or_hold_a_broken_one() {
        let snapshot = tempfile::tempdir().unwrap();
        assert_eq!(read(snapshot.path()).unwrap(), None);
        fs::write(snapshot.path().join(FILE_NAME), TEXT).unwrap();
        assert_eq!(read(snapshot.path()).unwrap(), Some(cycle()));
        let refused = || {
            assert_eq!(read(snapshot.path()).unwrap_err().kind(), io::ErrorKind::InvalidData);
        };
        let path = snapshot.path().join(FILE_NAME);
        for broken in [&b"endpoints\n"[..], b"endpoints \xff\n", &[b'x'; 10_000]] {
            fs::write(&path, broken).unwrap();
            refused();
        }
        fs::remove_file(&path).unwrap();
        // Opening a pipe would block until another process writes to it.
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR).unwrap();
        refused();
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
        refused();
    }
}
