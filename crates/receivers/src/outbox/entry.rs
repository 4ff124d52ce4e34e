//! What a batch in the outbox is called, and what any name there means.
//!
//! A name counts as ours only if it is exactly the one that we would write: all else in the
//! directory is somebody else's, and left alone.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Error;

/// A batch in the outbox, as its file's name tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The snapshot's name: epoch seconds.
    pub timestamp: String,
    /// How often this timestamp was stored, while the former run still stood: from 1.
    pub run: u64,
    /// Metrics in the batch.
    pub metrics: u64,
    /// Bytes of its lines.
    pub bytes: u64,
    /// Bytes of its file.
    pub size_bytes: u64,
}

impl Entry {
    /// Its file in the outbox.
    #[must_use]
    pub fn file_name(&self) -> String {
        let Self { timestamp, run, metrics, bytes, .. } = self;
        format!("{timestamp}-{run}-{metrics}-{bytes}{SUFFIX}")
    }

    /// Which of two batches of one timestamp counts: the later run. Only a worker that outlived its
    /// parent can give one run's number twice; both are whole then, and the larger one counts.
    pub(super) const fn rank(&self) -> (u64, u64, u64) {
        (self.run, self.metrics, self.bytes)
    }
}

/// The place in the order: `7` and `007` are two snapshots of one second.
pub(super) type Key = (u64, String);

/// What a name in the directory stands for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A batch, its file's size not looked at.
    Batch(Entry),
    /// A file that is being written, or never will be.
    Half {
        /// The batch that it was to become.
        timestamp: String,
    },
    /// A batch set aside.
    Damaged(Entry),
    /// Not ours.
    Foreign,
}

const SUFFIX: &str = ".gz";
const HALF_SUFFIX: &str = ".part";
const DAMAGED_SUFFIX: &str = ".damaged";

/// The seconds that a timestamp says; `None` if it is none.
pub(super) fn seconds(timestamp: &str) -> Option<u64> {
    // `parse` alone would take a sign too.
    let is_decimal = timestamp.bytes().all(|byte| byte.is_ascii_digit());
    if is_decimal { timestamp.parse().ok() } else { None }
}

/// What is no timestamp comes first, so that it is seen soon: only a worker could make it up.
pub(super) fn key(timestamp: &str) -> Key {
    (seconds(timestamp).unwrap_or(0), timestamp.to_owned())
}

/// A hidden name that no other process writes to. A worker that outlived its parent may still be at
/// the same timestamp; were the name the same, it would publish the new worker's half.
pub(super) fn half_name(timestamp: &str, process: u32) -> String {
    format!(".{timestamp}-{process}{HALF_SUFFIX}")
}

pub(super) fn damaged_name(entry: &Entry) -> String {
    format!(".{}{DAMAGED_SUFFIX}", entry.file_name())
}

/// All that stands in the directory, in no order.
pub(super) fn list(dir: &Path) -> Result<Vec<(PathBuf, Kind)>, Error> {
    list_names(dir, |_| true)
}

/// What stands there of one timestamp. Tens of thousands of small batches may wait, and each new
/// one asks this: all other names cost no more than a look at their beginning.
pub(super) fn list_of(dir: &Path, timestamp: &str) -> Result<Vec<(PathBuf, Kind)>, Error> {
    list_names(dir, |name| {
        let name = name.as_encoded_bytes();
        let visible = name.strip_prefix(b".").unwrap_or(name);
        visible.strip_prefix(timestamp.as_bytes()).is_some_and(|rest| rest.starts_with(b"-"))
    })
}

fn list_names(
    dir: &Path,
    is_asked_for: impl Fn(&OsStr) -> bool,
) -> Result<Vec<(PathBuf, Kind)>, Error> {
    let at = |source| Error::Io { doing: "read", path: dir.to_owned(), source };
    let mut listed = Vec::new();
    for item in fs::read_dir(dir).map_err(at)? {
        let item = item.map_err(at)?;
        let name = item.file_name();
        if !is_asked_for(&name) {
            continue;
        }
        let is_file = item.file_type().is_ok_and(|kind| kind.is_file());
        let kind = if is_file { kind(&name) } else { Kind::Foreign };
        listed.push((item.path(), kind));
    }
    Ok(listed)
}

fn kind(name: &OsStr) -> Kind {
    let Some(name) = name.to_str() else { return Kind::Foreign };
    let Some(hidden) = name.strip_prefix('.') else {
        return batch(name).map_or(Kind::Foreign, Kind::Batch);
    };
    if let Some(damaged) = hidden.strip_suffix(DAMAGED_SUFFIX).and_then(batch) {
        return Kind::Damaged(damaged);
    }
    half(hidden).map_or(Kind::Foreign, |timestamp| Kind::Half { timestamp })
}

fn half(hidden: &str) -> Option<String> {
    let (timestamp, process) = hidden.strip_suffix(HALF_SUFFIX)?.split_once('-')?;
    let process = process.parse().ok()?;
    seconds(timestamp)?;
    (half_name(timestamp, process).get(1..) == Some(hidden)).then(|| timestamp.to_owned())
}

fn batch(name: &str) -> Option<Entry> {
    let mut parts = name.strip_suffix(SUFFIX)?.split('-');
    let timestamp = parts.next().filter(|timestamp| seconds(timestamp).is_some())?.to_owned();
    let mut number = || parts.next()?.parse().ok();
    let (run, metrics, bytes) = (number()?, number()?, number()?);
    let entry = Entry { timestamp, run, metrics, bytes, size_bytes: 0 };
    (entry.file_name() == name).then_some(entry)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::*;

    proptest! {
        /// What is written is recognised, under each of its three names.
        #[test]
        fn names_are_read_back(
            timestamp in "0{0,3}[0-9]{1,19}",
            (run, metrics, bytes) in any::<(u64, u64, u64)>(),
            process in any::<u32>(),
        ) {
            let entry = Entry { timestamp: timestamp.clone(), run, metrics, bytes, size_bytes: 0 };
            prop_assert_eq!(kind(entry.file_name().as_ref()), Kind::Batch(entry.clone()));
            let half = half_name(&timestamp, process);
            prop_assert_eq!(kind(half.as_ref()), Kind::Half { timestamp });
            prop_assert_eq!(kind(damaged_name(&entry).as_ref()), Kind::Damaged(entry));
        }

        /// No name is ours that we would not write; none makes us panic.
        #[test]
        fn other_names_are_foreign(
            name in "\\.?[0-9+.a-]{0,12}(-[0-9+]{0,3}){0,4}(\\.gz|\\.part|)",
        ) {
            match kind(name.as_ref()) {
                Kind::Batch(entry) => prop_assert_eq!(entry.file_name(), name),
                Kind::Half { timestamp } => {
                    let of = name.strip_prefix('.').and_then(|name| name.split('-').next());
                    prop_assert_eq!(of, Some(&*timestamp));
                }
                Kind::Damaged(entry) => prop_assert_eq!(damaged_name(&entry), name),
                Kind::Foreign => {}
            }
        }
    }

    #[test]
    fn near_misses_are_foreign() {
        for name in [
            "",
            ".",
            "17",
            "17.gz",
            "17-1-2.gz",
            "17-1-2-3-4.gz",
            "17-01-2-3.gz",
            "17-+1-2-3.gz",
            "+17-1-2-3.gz",
            "-1-2-3.gz",
            "18446744073709551616-1-2-3.gz",
            "17-1-2-3.gz.damaged",
            ".17-1-2-3.gz",
            ".17.part",
            ".17-1.part.part",
            ".17-01.part",
            "17-1.part",
            ".stats.part",
        ] {
            assert_eq!(kind(name.as_ref()), Kind::Foreign, "{name}");
        }
    }

    #[test]
    fn order_is_by_number() {
        let mut timestamps = ["1700000000", "999", "0999", "18446744073709551615", "7"];
        timestamps.sort_by_key(|timestamp| key(timestamp));
        assert_eq!(timestamps, ["7", "0999", "999", "1700000000", "18446744073709551615"]);
    }
}
