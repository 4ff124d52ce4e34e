//! The files of version 0.1.0: `<timestamp>-<run>-<metrics>-<bytes>.gz` with the lines of its only
//! Graphite, in the directory of the outbox itself.
//!
//! Each is renamed into the folder `graphite` under the name of a batch, and the send child
//! recognizes it by its first bytes. Of several runs of one timestamp the highest is kept, as
//! version 0.1.0 did. Other files are left alone.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use model::{SnapshotId, Timestamp};
use tracing::info;

use super::make_directory;
use crate::entry::EntryName;

/// The receiver of version 0.1.0.
const FOLDER: &str = "graphite";
const SUFFIX: &str = ".gz";
const PART_SUFFIX: &str = ".part";

#[derive(Debug, PartialEq, Eq)]
struct OldName {
    timestamp: Timestamp,
    /// Run, metrics and bytes. Of two files of one timestamp the one with the larger rank is kept.
    rank: (u64, u64, u64),
}

pub(super) fn migrate(directory: &Path) -> io::Result<()> {
    let mut newest: BTreeMap<Timestamp, (u64, u64, u64)> = BTreeMap::new();
    let mut found = Vec::new();
    for item in fs::read_dir(directory)? {
        let item = item?;
        let Ok(name) = item.file_name().into_string() else { continue };
        if !item.file_type().is_ok_and(|kind| kind.is_file()) {
            continue;
        }
        if is_part(&name) {
            fs::remove_file(item.path())?;
        } else if let Some(old) = parse(&name) {
            let rank = newest.entry(old.timestamp.clone()).or_insert(old.rank);
            *rank = old.rank.max(*rank);
            found.push((item.path(), old));
        }
    }
    if found.is_empty() {
        return Ok(());
    }
    let folder = directory.join(FOLDER);
    make_directory(&folder)?;
    let mut batches = 0;
    for (path, OldName { timestamp, rank }) in found {
        if newest.get(&timestamp) != Some(&rank) {
            fs::remove_file(path)?;
            continue;
        }
        let id = SnapshotId { origin: String::new(), timestamp, serial: 0 };
        let name = EntryName::new(&id, 0, rank.1).to_string();
        fs::rename(path, folder.join(name))?;
        batches += 1;
    }
    info!(batches, "moved what version 0.1.0 left in the outbox into the folder graphite");
    Ok(())
}

fn parse(name: &str) -> Option<OldName> {
    let mut parts = name.strip_suffix(SUFFIX)?.split('-');
    let timestamp = parts.next()?.parse().ok()?;
    let mut number = || parts.next()?.parse().ok();
    let rank = (number()?, number()?, number()?);
    if parts.next().is_some() {
        return None;
    }
    let old = OldName { timestamp, rank };
    let (run, metrics, bytes) = rank;
    let only_name = format!("{}-{run}-{metrics}-{bytes}{SUFFIX}", old.timestamp);
    if only_name == name { Some(old) } else { None }
}

/// The first bytes of a gzip file (RFC 1952).
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Whether a file has compressed lines of version 0.1.0 in place of a batch.
pub(crate) fn is_compressed(file: &File) -> bool {
    let mut magic = [0; GZIP_MAGIC.len()];
    file.read_exact_at(&mut magic, 0).is_ok() && magic == GZIP_MAGIC
}

/// Whether this is an unfinished file of version 0.1.0: `.<timestamp>-<process>.part`.
fn is_part(name: &str) -> bool {
    let inner = name.strip_prefix('.').and_then(|name| name.strip_suffix(PART_SUFFIX));
    inner.and_then(|inner| inner.split_once('-')).is_some_and(|(timestamp, process)| {
        timestamp.parse::<Timestamp>().is_ok() && process.parse::<u32>().is_ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_version_0_1_0_wrote_are_accepted() {
        assert!(parse("17-1-2-3.gz").is_some());
        for other in ["17.gz", "17-1-2.gz", "17-01-2-3.gz", "17-+1-2-3.gz", "17-1-2-3-4.gz", "x"] {
            assert_eq!(parse(other), None, "{other}");
        }
        assert!(is_part(".17-123.part") && !is_part("17-123.part") && !is_part(".17.part"));
    }

    #[test]
    fn the_highest_run_of_a_timestamp_moves_and_other_files_stay() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        for name in ["17-1-5-9.gz", "17-2-4-9.gz", "18-1-7-9.gz", ".17-1-5-9.gz.damaged", "notes"] {
            fs::write(at(name), name).unwrap();
        }
        fs::write(at(".19-77.part"), "half").unwrap();
        migrate(directory.path()).unwrap();
        let mut moved: Vec<_> = fs::read_dir(at(FOLDER))
            .unwrap()
            .map(|item| fs::read_to_string(item.unwrap().path()).unwrap())
            .collect();
        moved.sort();
        assert_eq!(moved, ["17-2-4-9.gz", "18-1-7-9.gz"]);
        assert!(at("notes").exists() && at(".17-1-5-9.gz.damaged").exists());
        assert!(!at(".19-77.part").exists() && !at("17-1-5-9.gz").exists());
    }
}
