//! What haproxystats-pull tells about its own work: a small file in each snapshot, since the spool
//! is the only road between the two programs.
//!
//! The file is named [`FILE_NAME`], which ends in neither `_info` nor `_stat`, so it is no answer
//! of an endpoint to any reader, the Python program included. It is text, a line `key value` for
//! each number, in any order:
//!
//! | key | value |
//! |---|---|
//! | `endpoints` | endpoints that this cycle asked |
//! | `missing` | those of them that gave no answer, so that the snapshot is without them |
//! | `cycles` | cycles since pull was started, this one too |
//! | `failures` | those of them that left no snapshot |
//! | `endpoint-failures` | endpoints that gave no answer, over all these cycles |
//! | `skipped` | cycles since the start that were not run, for the spool was full |
//! | `milliseconds` | how long this cycle took until the file was written, before publishing |
//!
//! A reader passes over keys that it does not know and takes 0 for those that are not there, so
//! that the two programs need not be of one version. The counters begin anew with each start of pull.

use std::io::{self, Read};
use std::path::Path;

use daemon::file::{self, Limit, Links};

/// What the file is called.
pub const FILE_NAME: &str = "haproxystats.cycle";

/// Bytes that the file may have; ours has less than 300.
const CYCLE_MAX_BYTES: u64 = 4096;
const LIMIT: Limit = Limit { bytes: CYCLE_MAX_BYTES, name: "the bound for haproxystats.cycle" };

/// One cycle, and what went before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cycle {
    /// Endpoints asked in this cycle.
    pub endpoints: u64,
    /// Those of them that the snapshot is without.
    pub missing: u64,
    /// Cycles since the start, this one too.
    pub cycles: u64,
    /// Those of them without a snapshot.
    pub failures: u64,
    /// Endpoints without an answer, over all these cycles.
    pub endpoint_failures: u64,
    /// Cycles since the start that were not run because the spool was full.
    pub skipped: u64,
    /// How long this cycle took until the file was written.
    pub milliseconds: u64,
}

/// A line that is none of the format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {text:?} is no key with a whole number")]
pub struct Error {
    /// Counted from 1.
    pub line: usize,
    /// The line.
    pub text: String,
}

impl Cycle {
    /// The text of the file.
    #[must_use]
    pub fn write(&self) -> String {
        // A copy, since the one list of keys lends what can be set.
        let mut cycle = *self;
        let lines = cycle.fields().map(|(key, value)| format!("{key} {value}\n"));
        lines.concat()
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    ///
    /// A line is not of the format.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut cycle = Self::default();
        for (index, line) in text.lines().enumerate() {
            let wrong = || Error { line: index + 1, text: line.chars().take(80).collect() };
            let (key, value) = line.split_once(' ').ok_or_else(wrong)?;
            if let Some((_, field)) = cycle.fields().into_iter().find(|(known, _)| *known == key) {
                *field = value.parse().map_err(|_| wrong())?;
            }
        }
        Ok(cycle)
    }

    fn fields(&mut self) -> [(&'static str, &mut u64); 7] {
        [
            ("endpoints", &mut self.endpoints),
            ("missing", &mut self.missing),
            ("cycles", &mut self.cycles),
            ("failures", &mut self.failures),
            ("endpoint-failures", &mut self.endpoint_failures),
            ("skipped", &mut self.skipped),
            ("milliseconds", &mut self.milliseconds),
        ]
    }
}

/// Reads the file of a snapshot; `None` where there is none, as in one of the Python program.
///
/// # Errors
///
/// It cannot be read, is no regular file, or is not of the format
/// ([`io::ErrorKind::InvalidData`]).
pub fn read(snapshot: &Path) -> io::Result<Option<Cycle>> {
    let path = snapshot.join(FILE_NAME);
    // A link that leads nowhere is there: only a name that nothing has is a snapshot without it.
    if path.symlink_metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
        return Ok(None);
    }
    let mut text = String::new();
    file::open(&path, LIMIT, Links::Refused)?.read_to_string(&mut text)?;
    let cycle = Cycle::parse(&text);
    cycle.map(Some).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::{Strategy, any, prop_assert_eq, proptest};

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
        }
    }

    #[test]
    fn the_format_is_a_line_for_each_number() {
        assert_eq!(cycle().write(), TEXT);
        assert_eq!(Cycle::parse(TEXT), Ok(cycle()));
    }

    #[test]
    fn unknown_keys_are_passed_over_and_missing_ones_are_0() {
        let text = "colour light blue\nendpoints 4\n";
        assert_eq!(Cycle::parse(text), Ok(Cycle { endpoints: 4, ..Cycle::default() }));
        assert_eq!(Cycle::parse(""), Ok(Cycle::default()));
    }

    #[test]
    fn a_line_that_is_none_is_named() {
        for line in ["endpoints", "endpoints ", "endpoints -1", "endpoints 1.5", "\0\u{fffd}"] {
            let error = Cycle::parse(&format!("cycles 1\n{line}\n")).unwrap_err();
            assert_eq!(error, Error { line: 2, text: line.to_owned() });
        }
    }

    proptest! {
        /// What pull writes is what process reads.
        #[test]
        fn what_is_written_reads_back(
            cycle in any::<[u64; 7]>().prop_map(|numbers| {
                let mut cycle = Cycle::default();
                for ((_, field), number) in cycle.fields().into_iter().zip(numbers) {
                    *field = number;
                }
                cycle
            })
        ) {
            prop_assert_eq!(Cycle::parse(&cycle.write()), Ok(cycle));
        }

        /// Whatever stands there, reading it ends well.
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
        // To open it would block until somebody writes.
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR).unwrap();
        refused();
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
        refused();
    }
}
