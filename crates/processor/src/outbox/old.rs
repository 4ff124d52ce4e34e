//! The files of version 0.1.0: `<timestamp>-<run>-<metrics>-<bytes>.gz` with the lines of its only
//! Graphite, in the directory of the outbox itself.
//!
//! Each is renamed into the folder `graphite` under the name of a batch, and the send child
//! recognizes it by its first bytes. Several runs of one timestamp keep their order, because a
//! later run can be another snapshot (a clock that was set back). Other files are left alone.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use model::{SnapshotId, Timestamp};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
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
    /// Run, metrics and bytes.
    rank: (u64, u64, u64),
}

pub(super) fn migrate(directory: &Path) -> io::Result<()> {
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
            found.push((item.path(), old));
        }
    }
    if found.is_empty() {
        return Ok(());
    }
    found.sort_by_key(|(_, old)| old.rank);
    let folder = directory.join(FOLDER);
    make_directory(&folder)?;
    let batches = found.len();
    let mut last: BTreeMap<Timestamp, u32> = BTreeMap::new();
    for (path, old) in found {
        let last = last.entry(old.timestamp.clone()).or_default();
        *last = move_into(&folder, &path, old, last.saturating_add(1))?;
    }
    info!(batches, "moved what version 0.1.0 left in the outbox into the folder graphite");
    Ok(())
}

/// Renames a file and returns the number in its new name. The higher of two runs gets the higher
/// number, so that its lines come later.
fn move_into(folder: &Path, path: &Path, old: OldName, least: u32) -> io::Result<u32> {
    let (run, metrics, _) = old.rank;
    let id = SnapshotId { origin: String::new(), timestamp: old.timestamp, serial: 0 };
    let mut number = u32::try_from(run).unwrap_or(u32::MAX).max(least);
    loop {
        let to = folder.join(EntryName::new(&id, number, metrics).to_string());
        match renameat_with(CWD, path, CWD, to, RenameFlags::NOREPLACE) {
            Err(Errno::EXIST) if number < u32::MAX => number += 1,
            renamed => return Ok(renamed.map(|()| number)?),
        }
    }
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
    fn all_runs_of_a_timestamp_move_in_their_order_and_other_files_stay() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let old = ["17-1-5-9.gz", "17-1-5-8.gz", "17-2-4-9.gz", "18-1-7-9.gz"];
        for name in old.into_iter().chain([".17-1-5-9.gz.damaged", "notes"]) {
            fs::write(at(name), name).unwrap();
        }
        fs::write(at(".19-77.part"), "half").unwrap();
        migrate(directory.path()).unwrap();
        let mut moved: Vec<(EntryName, String)> = fs::read_dir(at(FOLDER))
            .unwrap()
            .map(|item| item.unwrap())
            .map(|item| {
                let name = item.file_name().into_string().unwrap();
                (name.parse().unwrap(), fs::read_to_string(item.path()).unwrap())
            })
            .collect();
        moved.sort();
        let texts: Vec<_> = moved.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(texts, ["17-1-5-8.gz", "17-1-5-9.gz", "17-2-4-9.gz", "18-1-7-9.gz"]);
        assert!(at("notes").exists() && at(".17-1-5-9.gz.damaged").exists());
        assert!(!at(".19-77.part").exists() && !at("17-1-5-9.gz").exists());
    }
}
