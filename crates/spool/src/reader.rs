//! The reader's side of the spool: lists the snapshots that wait, lists the answers in one, and
//! removes one.
//!
//! A removal has two steps: the snapshot is renamed to a hidden name, then deleted. A crash in
//! between leaves a hidden directory, which counts nowhere and is deleted later ([`clean`]). A
//! crash while a snapshot is deleted in place would leave a part of it, whose sums would be lower
//! than those that were sent. Others can make any number of entries in a directory, so lists are
//! bounded.

use std::collections::{BTreeMap, BinaryHeap};
use std::ffi::OsStr;
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
        /// What the system said.
        source: io::Error,
    },
    /// A snapshot cannot be removed.
    #[error("cannot remove {path:?}: {source}{}", remedy::of(source))]
    Remove {
        /// The snapshot.
        path: PathBuf,
        /// What the system said.
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
        /// Who holds it, where that is known.
        by: Option<String>,
    },
}

/// The contents of a spool.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// Snapshots, oldest first, at most [`LISTED_MAX`]: the oldest.
    pub snapshots: Vec<Entry>,
    /// How many more there are.
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
    /// It is deleted.
    Deleted,
    /// It is out of the spool under a hidden name, and cannot be deleted now. [`clean`] tries
    /// again.
    Hidden {
        /// The hidden directory.
        path: PathBuf,
        /// Why it cannot be deleted.
        source: io::Error,
    },
}

/// The hidden directories that [`clean`] could not delete.
#[derive(Debug, Default)]
pub struct Leftovers {
    /// How many directories.
    pub count: u64,
    /// One of them, and why it cannot be deleted.
    pub example: Option<(PathBuf, io::Error)>,
}

/// The two answers of one endpoint in a snapshot. Either can be missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answers {
    /// The endpoint's name in the names of the files.
    pub endpoint: String,
    /// The answer to `show info`.
    pub info: Option<PathBuf>,
    /// The answer to `show stat`.
    pub stat: Option<PathBuf>,
}

/// Entries that a snapshot may have: ten thousand endpoints with two answers each.
pub(crate) const ENTRIES_MAX: usize = 20_000;
/// Snapshots of a list. Pull pauses at some hundred, but others can make any number of directories.
pub const LISTED_MAX: usize = 10_000;
/// Entries of a list that are no snapshots.
pub const STRANGERS_MAX: usize = 20;
/// Hidden names that are tried for a snapshot whose namesake cannot be deleted.
const HIDDEN_MAX: u32 = 100;
const INFO_SUFFIX: &str = "_info";
const STAT_SUFFIX: &str = "_stat";
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
        if is_hidden(&file_name) {
            continue;
        }
        // A link to a directory is a stranger; so is an entry that vanished since it was listed.
        let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        match file_name.to_str().map(str::parse) {
            Some(Ok(timestamp)) if is_directory => {
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

/// The answers in a snapshot, by endpoint, in the order of their names. Other entries are passed
/// over.
///
/// # Errors
///
/// The directory cannot be read, or holds too much.
pub fn answers(snapshot: &Path) -> Result<Vec<Answers>, Error> {
    let read = |source| Error::Read { path: snapshot.to_owned(), source };
    let mut found: BTreeMap<String, Answers> = BTreeMap::new();
    for (number, entry) in fs::read_dir(snapshot).map_err(read)?.enumerate() {
        if number >= ENTRIES_MAX {
            return Err(Error::TooMany { path: snapshot.to_owned(), limit: ENTRIES_MAX });
        }
        let entry = entry.map_err(read)?;
        let file_name = entry.file_name().to_string_lossy().into_owned();
        let info = file_name.strip_suffix(INFO_SUFFIX);
        let Some(endpoint) = info.or_else(|| file_name.strip_suffix(STAT_SUFFIX)) else {
            continue;
        };
        let answers = found.entry(endpoint.to_owned()).or_insert_with(|| Answers {
            endpoint: endpoint.to_owned(),
            info: None,
            stat: None,
        });
        *if info.is_some() { &mut answers.info } else { &mut answers.stat } = Some(entry.path());
    }
    Ok(found.into_values().collect())
}

/// Tells a snapshot from a later one of the same name: a number that a directory made anew does
/// not have. A rename keeps it.
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
    // Inode numbers are used again, moments are not. A file system without them gives 0.
    let born = status.stx_btime;
    let moment = born.tv_sec.cast_unsigned().rotate_left(30) ^ u64::from(born.tv_nsec);
    Ok(status.stx_ino.rotate_left(32) ^ moment)
}

/// Removes a snapshot. It is no error if there is none of this name.
///
/// # Errors
///
/// It cannot be renamed, and stays.
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
    let path = directory.join(name);
    let mut result = Err(io::ErrorKind::AlreadyExists.into());
    for number in 1..=HIDDEN_MAX {
        let hidden = directory.join(hidden_name(name, number));
        // A rename replaces an empty directory. An earlier one that cannot be deleted keeps its
        // name.
        match fs::rename(&path, &hidden) {
            Ok(()) => return Ok(hidden),
            Err(error) => {
                // XFS gives EEXIST, other file systems ENOTEMPTY, and a file of others ENOTDIR.
                let is_taken = matches!(
                    error.kind(),
                    io::ErrorKind::DirectoryNotEmpty
                        | io::ErrorKind::AlreadyExists
                        | io::ErrorKind::NotADirectory
                );
                result = Err(error);
                if !is_taken {
                    break;
                }
            }
        }
    }
    result
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
        let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if !is_directory || !entry.file_name().to_str().is_some_and(is_hidden_snapshot) {
            continue;
        }
        if let Err(error) = delete(&entry.path()) {
            leftovers.count += 1;
            leftovers.example.get_or_insert_with(|| (entry.path(), error));
        }
    }
    Ok(leftovers)
}

/// Deletes a directory. It is no error if another process deletes it at the same time.
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

/// Whether a name is one that `hidden_name` gives to a snapshot: numbers with dots between.
fn is_hidden_snapshot(name: &str) -> bool {
    let inner = name.strip_prefix('.').and_then(|name| name.strip_suffix(REMOVED_SUFFIX));
    inner.is_some_and(|inner| inner.split('.').all(name::is_snapshot))
}

/// Takes the lock of a spool, which one process at a time may read.
///
/// # Errors
///
/// Another process has it, or the directory cannot be opened.
pub fn lock(directory: &Path) -> Result<Lock, Error> {
    Lock::take(directory).map_err(|error| match error {
        lock::Error::System(source) => Error::Read { path: directory.to_owned(), source },
        lock::Error::InUse { by } => Error::Locked { path: directory.to_owned(), by },
    })
}

fn is_hidden(file_name: &OsStr) -> bool {
    file_name.as_encoded_bytes().starts_with(b".")
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn answers_are_paired_by_endpoint() {
        let snapshot = tempfile::tempdir().unwrap();
        for name in ["b_stat", "a_info_stat", "a_info_info", "127.0.0.1:80_info", "cycle"] {
            fs::write(snapshot.path().join(name), "").unwrap();
        }
        let found = answers(snapshot.path()).unwrap();
        let seen: Vec<_> = found
            .iter()
            .map(|a| (a.endpoint.as_str(), a.info.is_some(), a.stat.is_some()))
            .collect();
        assert_eq!(
            seen,
            [("127.0.0.1:80", true, false), ("a_info", true, true), ("b", false, true)]
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
        let error = answers(snapshot.path()).unwrap_err();
        assert!(matches!(error, Error::TooMany { limit: ENTRIES_MAX, .. }), "{error}");
        fs::remove_file(&file).unwrap();
        assert_eq!(answers(snapshot.path()).unwrap().len(), ENTRIES_MAX);
    }

    #[test]
    fn a_removed_snapshot_is_gone_and_a_second_removal_is_no_fault() {
        let spool = tempfile::tempdir().unwrap();
        fs::create_dir(spool.path().join("1")).unwrap();
        fs::write(spool.path().join("1/x_stat"), "x").unwrap();
        remove(spool.path(), "1").unwrap();
        remove(spool.path(), "1").unwrap();
        assert_eq!(fs::read_dir(spool.path()).unwrap().count(), 0);
    }

    #[test]
    fn of_a_full_spool_the_oldest_are_listed_and_the_others_counted() {
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
    fn a_namesake_that_cannot_be_deleted_holds_nothing_up() {
        let spool = tempfile::tempdir().unwrap();
        fs::create_dir_all(spool.path().join(".7.removed/held")).unwrap();
        fs::create_dir_all(spool.path().join("7/held")).unwrap();
        // A file of others.
        fs::write(spool.path().join(".7.2.removed"), "").unwrap();
        let hidden = hide(spool.path(), "7").unwrap();
        assert_eq!(hidden, spool.path().join(".7.3.removed"));
        assert_eq!(clean(spool.path()).unwrap().count, 0);
        assert_eq!(fs::read_dir(spool.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_start_cleans_what_a_crash_left_and_nothing_else() {
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
    fn one_holds_the_lock_and_it_goes_with_its_holder() {
        let spool = tempfile::tempdir().unwrap();
        let held = lock(spool.path()).unwrap();
        let refused = lock(spool.path()).unwrap_err().to_string();
        assert!(refused.contains(&format!("(pid {})", std::process::id())), "{refused}");
        drop(held);
        lock(spool.path()).unwrap();
    }
}
