//! The reader's side of the spool: lists the waiting snapshots, lists the files of a snapshot,
//! and removes a snapshot.
//!
//! A removal has two steps: the snapshot is renamed to a hidden name, then deleted. A crash in
//! between leaves a hidden directory, which no list counts and [`clean`] deletes later. A crash
//! while a snapshot is deleted in place would leave a part of it, whose sums would be lower than
//! those that were sent. Others can make any number of entries in a directory, so lists are
//! bounded.

use std::collections::BinaryHeap;
use std::fs;
use std::io;
use std::os::unix::fs::DirEntryExt;
use std::path::{Path, PathBuf};

use daemon::{lock, remedy};
use model::Timestamp;
use rustix::fs::{AtFlags, CWD, FileType, StatxFlags, statx};
use thiserror::Error;

use crate::name;

pub use daemon::lock::Lock;

/// Why the reader cannot use the spool.
#[derive(Debug, Error)]
pub enum Error {
    /// A directory cannot be read.
    #[error("cannot read {path:?}: {source}{}", remedy::of(source))]
    Read {
        /// The directory.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// A snapshot cannot be removed.
    #[error("cannot remove {path:?}: {source}{}", remedy::of(source))]
    Remove {
        /// The snapshot.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// A snapshot holds more entries than any machine has endpoints for.
    #[error("{path:?} holds more than {limit} entries, which no snapshot has")]
    TooMany {
        /// The snapshot.
        path: PathBuf,
        /// How many are allowed.
        limit: usize,
    },
    /// Another process reads this spool.
    #[error(
        "another haproxystats-process{} reads {}; stop it first, or give this one another src-dir",
        by.as_ref().map(|by| format!(" ({by})")).unwrap_or_default(),
        path.display()
    )]
    Locked {
        /// The directory.
        path: PathBuf,
        /// The process that holds the lock, if it is known.
        by: Option<String>,
    },
}

/// The contents of a spool.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// The oldest snapshots, at most [`LISTED_MAX`], oldest first.
    pub snapshots: Vec<Entry>,
    /// The number of further snapshots.
    pub more: u64,
    /// Visible entries that are no snapshots, at most [`STRANGERS_MAX`]. They are left alone.
    pub strangers: Vec<PathBuf>,
}

/// A snapshot in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// The inode number of its directory; a directory that was made anew mostly has another.
    pub inode: u64,
}

/// How a snapshot was removed.
#[derive(Debug)]
pub enum Removal {
    /// The snapshot is deleted.
    Deleted,
    /// The snapshot is out of the spool under a hidden name, but cannot be deleted now. [`clean`]
    /// tries again.
    Hidden {
        /// The hidden directory.
        path: PathBuf,
        /// The reason why it cannot be deleted.
        source: io::Error,
    },
}

/// The hidden directories that [`clean`] could not delete.
#[derive(Debug, Default)]
pub struct Leftovers {
    /// The number of directories.
    pub count: u64,
    /// One of the directories, and the reason why it cannot be deleted.
    pub example: Option<(PathBuf, io::Error)>,
}

/// Entries that a snapshot may have: ten thousand endpoints with two answers each.
pub(crate) const ENTRIES_MAX: usize = 20_000;
/// Snapshots of a list. Pull pauses at some hundred, but others can make any number of directories.
pub const LISTED_MAX: usize = 10_000;
/// Entries of a list that are no snapshots.
pub const STRANGERS_MAX: usize = 20;
/// Hidden names that are tried for a snapshot whose namesake cannot be deleted.
const HIDDEN_MAX: u32 = 100;
const REMOVED_SUFFIX: &str = ".removed";

/// Lists a spool.
///
/// ```
/// use haproxystats_spool::reader;
///
/// let spool = tempfile::tempdir()?;
/// for name in ["1700000010", "1700000000", "lost+found", ".1700000020"] {
///     std::fs::create_dir(spool.path().join(name))?;
/// }
/// let contents = reader::list(spool.path())?;
/// let names: Vec<_> = contents.snapshots.iter().map(|entry| &*entry.name).collect();
/// assert_eq!(names, ["1700000000", "1700000010"]);
/// assert_eq!(contents.strangers, [spool.path().join("lost+found")]);
///
/// reader::remove(spool.path(), "1700000000")?;
/// assert_eq!(reader::list(spool.path())?.snapshots.len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// The directory cannot be read.
pub fn list(directory: &Path) -> Result<Contents, Error> {
    let read = |source| Error::Read { path: directory.to_owned(), source };
    let mut contents = Contents::default();
    // A heap with the newest on top, which is dropped when there are too many.
    let mut oldest: BinaryHeap<(Timestamp, u64)> = BinaryHeap::new();
    for entry in fs::read_dir(directory).map_err(read)? {
        let entry = entry.map_err(read)?;
        let file_name = entry.file_name();
        if name::is_hidden(&file_name) {
            continue;
        }
        // A link to a directory is a stranger, and so is an entry that has vanished.
        match file_name.to_str().map(str::parse) {
            Some(Ok(timestamp)) if name::is_directory(&entry) => {
                oldest.push((timestamp, entry.ino()));
                if oldest.len() > LISTED_MAX {
                    oldest.pop();
                    contents.more += 1;
                }
            }
            _ if contents.strangers.len() < STRANGERS_MAX => contents.strangers.push(entry.path()),
            _ => {}
        }
    }
    for (timestamp, inode) in oldest.into_sorted_vec() {
        contents.snapshots.push(Entry { name: timestamp.into(), inode });
    }
    contents.strangers.sort();
    Ok(contents)
}

/// The paths of all entries of a snapshot, sorted.
///
/// # Errors
///
/// The directory cannot be read, or holds too much.
pub fn entries(snapshot: &Path) -> Result<Vec<PathBuf>, Error> {
    let read = |source| Error::Read { path: snapshot.to_owned(), source };
    let mut paths = Vec::new();
    for entry in fs::read_dir(snapshot).map_err(read)? {
        if paths.len() == ENTRIES_MAX {
            return Err(Error::TooMany { path: snapshot.to_owned(), limit: ENTRIES_MAX });
        }
        paths.push(entry.map_err(read)?.path());
    }
    paths.sort();
    Ok(paths)
}

/// A number that tells a snapshot from a later one of the same name. A rename keeps it.
///
/// # Errors
///
/// There is no directory of that name, or it cannot be looked at.
pub fn identity(snapshot: &Path) -> io::Result<u64> {
    let wanted = StatxFlags::TYPE | StatxFlags::INO | StatxFlags::BTIME;
    let status = statx(CWD, snapshot, AtFlags::SYMLINK_NOFOLLOW, wanted)?;
    if !FileType::from_raw_mode(status.stx_mode.into()).is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    // Inode numbers are reused, times of birth are not. A file system without them gives 0.
    let born = status.stx_btime;
    let moment = born.tv_sec.cast_unsigned().rotate_left(30) ^ u64::from(born.tv_nsec);
    Ok(status.stx_ino.rotate_left(32) ^ moment)
}

/// Removes a snapshot. A missing snapshot is no error.
///
/// # Errors
///
/// The snapshot cannot be renamed, and stays.
pub fn remove(directory: &Path, snapshot: &str) -> Result<Removal, Error> {
    let path = directory.join(snapshot);
    let hidden = match hide(directory, snapshot) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Removal::Deleted),
        hidden => hidden.map_err(|source| Error::Remove { path, source })?,
    };
    Ok(match delete(&hidden) {
        Ok(()) => Removal::Deleted,
        Err(source) => Removal::Hidden { path: hidden, source },
    })
}

/// Renames a directory to a hidden name by which [`clean`] knows it, and returns the new path.
pub(crate) fn hide(directory: &Path, name: &str) -> io::Result<PathBuf> {
    let mut number = 1;
    loop {
        let hidden = directory.join(hidden_name(name, number));
        // A rename replaces an empty directory. An earlier snapshot that cannot be deleted keeps
        // its name.
        let Err(error) = fs::rename(directory.join(name), &hidden) else { return Ok(hidden) };
        // XFS gives EEXIST, other file systems ENOTEMPTY, and a file of others ENOTDIR.
        let is_taken = matches!(
            error.kind(),
            io::ErrorKind::DirectoryNotEmpty
                | io::ErrorKind::AlreadyExists
                | io::ErrorKind::NotADirectory
        );
        if !is_taken || number == HIDDEN_MAX {
            return Err(error);
        }
        number += 1;
    }
}

/// Deletes hidden snapshots that could not be deleted before, or were left by a crash.
///
/// # Errors
///
/// The directory cannot be read.
pub fn clean(directory: &Path) -> Result<Leftovers, Error> {
    let read = |source| Error::Read { path: directory.to_owned(), source };
    let mut leftovers = Leftovers::default();
    for entry in fs::read_dir(directory).map_err(read)? {
        let entry = entry.map_err(read)?;
        let is_ours = entry.file_name().to_str().is_some_and(is_hidden_snapshot);
        if !is_ours || !name::is_directory(&entry) {
            continue;
        }
        if let Err(error) = delete(&entry.path()) {
            leftovers.count += 1;
            leftovers.example.get_or_insert_with(|| (entry.path(), error));
        }
    }
    Ok(leftovers)
}

/// Deletes a directory. Another process may delete it at the same time, which is no error.
fn delete(hidden: &Path) -> io::Result<()> {
    match fs::remove_dir_all(hidden) {
        Err(error) if error.kind() == io::ErrorKind::NotFound || !hidden.exists() => Ok(()),
        result => result,
    }
}

fn hidden_name(name: &str, number: u32) -> String {
    match number {
        1 => format!(".{name}{REMOVED_SUFFIX}"),
        _ => format!(".{name}.{number}{REMOVED_SUFFIX}"),
    }
}

/// Whether `hidden_name` gives this name to a snapshot: numbers with dots between them.
fn is_hidden_snapshot(name: &str) -> bool {
    let inner = name.strip_prefix('.').and_then(|name| name.strip_suffix(REMOVED_SUFFIX));
    inner.is_some_and(|inner| inner.split('.').all(name::is_snapshot))
}

/// Takes the lock of a spool, which one process at a time may read.
///
/// # Errors
///
/// Another process has the lock, or the directory cannot be opened.
pub fn lock(directory: &Path) -> Result<Lock, Error> {
    Lock::take(directory).map_err(|error| match error {
        lock::Error::System(source) => Error::Read { path: directory.to_owned(), source },
        lock::Error::InUse { by } => Error::Locked { path: directory.to_owned(), by },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_keeps_its_identity_and_another_of_its_name_has_another() {
        let spool = tempfile::tempdir().unwrap();
        let (staged, snapshot) = (spool.path().join(".staged"), spool.path().join("1700000000"));
        fs::create_dir(&staged).unwrap();
        let staged_identity = identity(&staged).unwrap();
        fs::rename(&staged, &snapshot).unwrap();
        fs::write(snapshot.join("sock_info"), "Name: HAProxy\n").unwrap();
        assert_eq!(identity(&snapshot).unwrap(), staged_identity);
        // Mostly the new directory gets the inode number of the old one.
        fs::remove_dir_all(&snapshot).unwrap();
        fs::create_dir(&snapshot).unwrap();
        assert_ne!(identity(&snapshot).unwrap(), staged_identity);
        let missing = identity(&spool.path().join("1700000001")).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        fs::write(spool.path().join("1700000002"), "a file").unwrap();
        let file = identity(&spool.path().join("1700000002")).unwrap_err();
        assert_eq!(file.kind(), io::ErrorKind::NotADirectory);
    }

    #[test]
    fn lists_snapshots_oldest_first_and_leaves_the_rest_alone() {
        let spool = tempfile::tempdir().unwrap();
        for name in ["1700000010", "999", "1700000009", ".1700000001", "lost+found"] {
            fs::create_dir(spool.path().join(name)).unwrap();
        }
        std::os::unix::fs::symlink("/etc", spool.path().join("1700000012")).unwrap();
        fs::write(spool.path().join("1700000011"), "a file").unwrap();
        let contents = list(spool.path()).unwrap();
        let names: Vec<_> = contents.snapshots.iter().map(|entry| &*entry.name).collect();
        assert_eq!((names, contents.more), (vec!["999", "1700000009", "1700000010"], 0));
        assert_eq!(
            contents.strangers,
            ["1700000011", "1700000012", "lost+found"].map(|name| spool.path().join(name))
        );
    }

    #[test]
    fn a_directory_of_a_hundred_thousand_files_is_no_snapshot() {
        let snapshot = tempfile::tempdir().unwrap();
        let file = snapshot.path().join("0_stat");
        fs::write(&file, "").unwrap();
        for number in 1..=ENTRIES_MAX {
            fs::hard_link(&file, snapshot.path().join(format!("{number}_stat"))).unwrap();
        }
        let error = entries(snapshot.path()).unwrap_err();
        assert!(matches!(error, Error::TooMany { limit: ENTRIES_MAX, .. }), "{error}");
        fs::remove_file(&file).unwrap();
        assert_eq!(entries(snapshot.path()).unwrap().len(), ENTRIES_MAX);
    }

    #[test]
    fn a_second_removal_of_a_snapshot_is_no_error() {
        let spool = tempfile::tempdir().unwrap();
        fs::create_dir(spool.path().join("1")).unwrap();
        fs::write(spool.path().join("1/x_stat"), "x").unwrap();
        remove(spool.path(), "1").unwrap();
        remove(spool.path(), "1").unwrap();
        assert_eq!(fs::read_dir(spool.path()).unwrap().count(), 0);
    }

    #[test]
    fn the_list_of_a_full_spool_has_the_oldest_and_counts_the_others() {
        let spool = tempfile::tempdir().unwrap();
        for name in 0..LISTED_MAX + 7 {
            fs::create_dir(spool.path().join(name.to_string())).unwrap();
        }
        for name in 0..STRANGERS_MAX + 7 {
            fs::write(spool.path().join(format!("s{name}")), "").unwrap();
        }
        let contents = list(spool.path()).unwrap();
        assert_eq!((contents.snapshots.len(), contents.more), (LISTED_MAX, 7));
        assert_eq!(contents.strangers.len(), STRANGERS_MAX);
        let last = contents.snapshots.last().map(|entry| entry.name.as_str());
        assert_eq!(last, Some(&*(LISTED_MAX - 1).to_string()));
    }

    #[test]
    fn a_namesake_that_cannot_be_deleted_stops_no_removal() {
        let spool = tempfile::tempdir().unwrap();
        fs::create_dir_all(spool.path().join(".7.removed/full")).unwrap();
        fs::create_dir_all(spool.path().join("7/full")).unwrap();
        // A file of others.
        fs::write(spool.path().join(".7.2.removed"), "").unwrap();
        let hidden = hide(spool.path(), "7").unwrap();
        assert_eq!(hidden, spool.path().join(".7.3.removed"));
        assert_eq!(clean(spool.path()).unwrap().count, 0);
        assert_eq!(fs::read_dir(spool.path()).unwrap().count(), 1);
    }

    #[test]
    fn leftovers_of_a_crash_are_deleted_and_nothing_else() {
        let spool = tempfile::tempdir().unwrap();
        for name in [".7.removed", ".7.2.removed", ".mine.removed", ".7", "7"] {
            fs::create_dir(spool.path().join(name)).unwrap();
        }
        let leftovers = clean(spool.path()).unwrap();
        assert_eq!(leftovers.count, 0);
        let mut left: Vec<_> =
            fs::read_dir(spool.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, [".7", ".mine.removed", "7"]);
    }

    #[test]
    fn one_process_has_the_lock_until_it_drops_it() {
        let spool = tempfile::tempdir().unwrap();
        let first = lock(spool.path()).unwrap();
        let error = lock(spool.path()).unwrap_err().to_string();
        assert!(error.contains(&format!("(pid {})", std::process::id())), "{error}");
        drop(first);
        lock(spool.path()).unwrap();
    }
}
