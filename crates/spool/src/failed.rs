//! Moves snapshots aside that cannot be folded, each whole and with its reason in a file beside it.
//! When there are too many, the oldest are removed.
//!
//! `failed/<name>` is the snapshot as it was, `failed/<name>.reason` says when and why. To have one
//! folded again, mend it and move it back into the spool. A snapshot that cannot be moved stays
//! where it is. A directory without a reason beside it belongs to others and is never removed.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use daemon::{file, remedy};
use thiserror::Error;

use crate::{name, probe, reader};

/// A snapshot cannot be moved aside.
#[derive(Debug, Error)]
#[error("cannot move {from:?} to failed-dir {to:?}: {source}{}", remedy::of(source))]
pub struct Error {
    from: PathBuf,
    to: PathBuf,
    source: io::Error,
}

/// The directory for failed snapshots cannot be used.
#[derive(Debug, Error)]
pub enum DirectoryError {
    /// A rename cannot move a snapshot there.
    #[error(
        "failed-dir {failed:?} and src-dir {spool:?} are on different file systems, so a snapshot \
         cannot be moved aside: set failed-dir to a directory beside src-dir"
    )]
    OtherFileSystem {
        /// The spool.
        spool: PathBuf,
        /// The directory for failed snapshots.
        failed: PathBuf,
    },
    /// The directory cannot be made or written.
    #[error("cannot use failed-dir {failed:?}: {source}{}", remedy::of(source))]
    Unusable {
        /// The directory for failed snapshots.
        failed: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
}

const REASON_SUFFIX: &str = ".reason";
/// Snapshots of one name in the directory at most.
const SAME_NAME_MAX: u32 = 100;

/// Makes `failed` if it is missing, and tries whether a rename can move a snapshot there, so that
/// an operator learns it at start and not with the first snapshot that fails.
///
/// # Errors
///
/// `failed` cannot be made or written, or is on another file system.
pub fn prepare(spool: &Path, failed: &Path) -> Result<(), DirectoryError> {
    let unusable = |source| DirectoryError::Unusable { failed: failed.to_owned(), source };
    fs::create_dir_all(failed).map_err(unusable)?;
    if probe::rename(spool, failed).map_err(unusable)? == probe::Rename::Crosses {
        let (spool, failed) = (spool.to_owned(), failed.to_owned());
        return Err(DirectoryError::OtherFileSystem { spool, failed });
    }
    Ok(())
}

/// Moves a snapshot from the spool to `failed`, which is made if it is missing. Returns how many
/// old snapshots were hidden because of the limit; [`reader::clean`] deletes them.
///
/// # Errors
///
/// The snapshot cannot be moved, and stays.
pub fn move_aside(
    spool: &Path,
    snapshot: &str,
    failed: &Path,
    reason: &str,
    limit: usize,
) -> Result<usize, Error> {
    let from = spool.join(snapshot);
    let error = |to: &Path, source| Error { from: from.clone(), to: to.to_owned(), source };
    fs::create_dir_all(failed).map_err(|source| error(failed, source))?;
    let to = free_name(failed, snapshot);
    let reason_path = reason_path(&to);
    // The reason comes first: a snapshot without one would not count as ours.
    file::write(&reason_path, false, |file| writeln!(file, "{reason}"))
        .map_err(|source| error(&reason_path, source))?;
    if let Err(source) = fs::rename(&from, &to) {
        let _ = fs::remove_file(&reason_path);
        return Err(error(&to, source));
    }
    Ok(prune(failed, limit, &to))
}

/// The snapshots in `failed`, oldest first.
#[must_use]
pub fn list(failed: &Path) -> Vec<PathBuf> {
    let mut names = Vec::new();
    for entry in fs::read_dir(failed).into_iter().flatten().flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        let has_reason = || reason_path(&failed.join(&name)).is_file();
        if is_ours(&name) && name::is_directory(&entry) && has_reason() {
            names.push(name);
        }
    }
    names.sort_by(|a, b| name::compare(base(a), base(b)).then_with(|| a.cmp(b)));
    names.into_iter().map(|name| failed.join(name)).collect()
}

/// The snapshot's own name, without the dot and the number of a namesake.
fn base(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}

/// Whether this is a snapshot's name, with or without the dot and the number of a namesake.
fn is_ours(name: &str) -> bool {
    let Some((snapshot, number)) = name.split_once('.') else { return name::is_snapshot(name) };
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    name::is_snapshot(snapshot) && is_number
}

fn free_name(failed: &Path, snapshot: &str) -> PathBuf {
    let namesakes = (2..SAME_NAME_MAX).map(|number| failed.join(format!("{snapshot}.{number}")));
    let mut candidates = std::iter::once(failed.join(snapshot)).chain(namesakes);
    candidates.find(|path| !path.exists()).unwrap_or_else(|| failed.join(snapshot))
}

fn reason_path(snapshot: &Path) -> PathBuf {
    let mut name = snapshot.as_os_str().to_owned();
    name.push(REASON_SUFFIX);
    PathBuf::from(name)
}

/// Hides the oldest over the limit, except the snapshot that was just moved, because the log names
/// it.
fn prune(failed: &Path, limit: usize, newest: &Path) -> usize {
    let snapshots = list(failed);
    let too_many = snapshots.len().saturating_sub(limit);
    let mut removed = 0;
    for path in snapshots.iter().filter(|path| *path != newest).take(too_many) {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if reader::hide(failed, name).is_ok() {
            let _ = fs::remove_file(reason_path(path));
            removed += 1;
        }
    }
    removed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spool_with(names: &[&str]) -> tempfile::TempDir {
        let spool = tempfile::tempdir().unwrap();
        for name in names {
            fs::create_dir_all(spool.path().join("incoming").join(name)).unwrap();
            fs::write(spool.path().join("incoming").join(name).join("a_stat"), name).unwrap();
        }
        spool
    }

    fn move_in(spool: &Path, snapshot: &str, limit: usize) -> Result<usize, Error> {
        move_aside(&spool.join("incoming"), snapshot, &spool.join("failed"), "why", limit)
    }

    #[test]
    fn a_snapshot_is_moved_whole_with_its_reason() {
        let spool = spool_with(&["7"]);
        assert_eq!(move_in(spool.path(), "7", 9).unwrap(), 0);
        let failed = spool.path().join("failed");
        assert_eq!(fs::read_to_string(failed.join("7/a_stat")).unwrap(), "7");
        assert_eq!(fs::read_to_string(failed.join("7.reason")).unwrap(), "why\n");
        assert!(!spool.path().join("incoming/7").exists());
    }

    #[test]
    fn only_our_oldest_snapshots_are_removed_over_the_limit() {
        let spool = spool_with(&["9", "10", "11"]);
        // Directories of others, one of them with a name like ours.
        for name in ["notes", "8"] {
            fs::create_dir_all(spool.path().join("failed").join(name)).unwrap();
        }
        let removed = ["9", "10", "11"].map(|name| move_in(spool.path(), name, 2).unwrap());
        assert_eq!(removed, [0, 0, 1]);
        let failed = spool.path().join("failed");
        assert_eq!(list(&failed), [failed.join("10"), failed.join("11")]);
        assert!(!spool.path().join("failed/9.reason").exists());
        let there = |name: &str| spool.path().join("failed").join(name).exists();
        assert!(there("notes") && there("8") && there(".9.removed"));
        assert_eq!(reader::clean(&spool.path().join("failed")).unwrap().count, 0);
        assert!(!there(".9.removed"));
    }

    #[test]
    fn namesakes_stand_beside_each_other() {
        let spool = spool_with(&["7"]);
        move_in(spool.path(), "7", 9).unwrap();
        fs::create_dir_all(spool.path().join("incoming/7")).unwrap();
        move_in(spool.path(), "7", 9).unwrap();
        assert!(spool.path().join("failed/7.2").exists());
        assert!(spool.path().join("failed/7.2.reason").exists());
    }

    #[test]
    fn a_move_that_fails_leaves_no_reason_behind() {
        let spool = spool_with(&[]);
        let error = move_in(spool.path(), "8", 9).unwrap_err().to_string();
        assert!(error.contains("incoming/8"), "{error}");
        assert_eq!(fs::read_dir(spool.path().join("failed")).unwrap().count(), 0);
    }

    #[test]
    fn a_fifo_in_the_place_of_a_reason_is_never_opened() {
        let spool = spool_with(&["7"]);
        let failed = spool.path().join("failed");
        fs::create_dir(&failed).unwrap();
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mkfifoat(rustix::fs::CWD, failed.join("7.reason"), mode).unwrap();
        let error = move_in(spool.path(), "7", 9).unwrap_err().to_string();
        assert!(error.contains("no regular file"), "{error}");
        assert!(spool.path().join("incoming/7").exists() && failed.join("7.reason").exists());
    }

    #[test]
    fn a_directory_that_can_take_no_snapshot_is_found_at_start() {
        let spool = spool_with(&[]);
        let (incoming, failed) = (spool.path().join("incoming"), spool.path().join("failed"));
        fs::create_dir(&incoming).unwrap();
        prepare(&incoming, &failed).unwrap();
        assert_eq!(fs::read_dir(&failed).unwrap().count(), 0, "the probe leaves nothing");
        let error = prepare(&incoming, Path::new("/dev/shm/haproxystats-failed")).unwrap_err();
        let _ = fs::remove_dir("/dev/shm/haproxystats-failed");
        assert!(matches!(error, DirectoryError::OtherFileSystem { .. }), "{error}");
        fs::write(spool.path().join("file"), "").unwrap();
        let error = prepare(&incoming, &spool.path().join("file/failed")).unwrap_err();
        assert!(error.to_string().contains("file/failed"), "{error}");
    }
}
