//! The spool from the side of its reader: which snapshots wait, what is in one, and how one goes away.
//!
//! A snapshot goes in two steps: it is renamed to a hidden name, then deleted. A crash in between leaves a hidden directory,
//! which counts nowhere and is cleaned at the next start; deleting in place would leave a part of a snapshot behind, whose
//! sums would be lower than the ones already sent.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;
use tracing::info;

use crate::lock::Refused;
use crate::name;

pub use crate::lock::Lock;

/// A fault of the spool, seen by its reader.
#[derive(Debug, Error)]
pub enum Error {
    /// A directory cannot be read.
    #[error("cannot read {}: {source}; check that it exists and that our user may read it", path.display())]
    Read {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A snapshot cannot be taken away.
    #[error(
        "cannot remove {}: {source}; it will be sent again until our user may write in its directory",
        path.display()
    )]
    Remove {
        /// The snapshot.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A snapshot holds more than any HAProxy has processes for.
    #[error("{} holds more than {limit} entries, which no snapshot has", path.display())]
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

/// What stands in a spool.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// Names of snapshots, oldest first.
    pub snapshots: Vec<String>,
    /// Visible things that are no snapshots: left alone.
    pub strangers: Vec<PathBuf>,
}

/// The two answers of one endpoint in a snapshot; either can be missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answers {
    /// The endpoint's name, as the files bear it.
    pub endpoint: String,
    /// The answer to `show info`.
    pub info: Option<PathBuf>,
    /// The answer to `show stat`.
    pub stat: Option<PathBuf>,
}

/// Entries that a snapshot may have: ten thousand endpoints with two answers each.
const ENTRIES_MAX: usize = 20_000;
const INFO_SUFFIX: &str = "_info";
const STAT_SUFFIX: &str = "_stat";
const REMOVED_SUFFIX: &str = ".removed";

/// Lists a spool.
///
/// # Errors
///
/// The directory cannot be read.
pub fn list(directory: &Path) -> Result<Contents, Error> {
    let read = |source| Error::Read { path: directory.to_owned(), source };
    let mut contents = Contents::default();
    for entry in fs::read_dir(directory).map_err(read)? {
        let entry = entry.map_err(read)?;
        let file_name = entry.file_name();
        match file_name.to_str() {
            _ if is_hidden(&file_name) => {}
            // An entry that vanished since is none of our business.
            Some(name) if name::is_snapshot(name) && entry.path().is_dir() => {
                contents.snapshots.push(name.to_owned());
            }
            _ => contents.strangers.push(entry.path()),
        }
    }
    contents.snapshots.sort_by(|a, b| name::compare(a, b));
    contents.strangers.sort();
    Ok(contents)
}

/// The answers in a snapshot, by endpoint, in the order of their names. Anything else in it is passed over.
///
/// # Errors
///
/// The directory cannot be read, or holds too much.
pub fn answers(snapshot: &Path) -> Result<Vec<Answers>, Error> {
    let read = |source| Error::Read { path: snapshot.to_owned(), source };
    let mut found: std::collections::BTreeMap<String, Answers> = std::collections::BTreeMap::new();
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

/// Takes a snapshot away for good.
///
/// # Errors
///
/// It cannot be renamed. That it cannot be deleted afterwards is no error: the next start cleans.
pub fn remove(directory: &Path, snapshot: &str) -> Result<(), Error> {
    let path = directory.join(snapshot);
    let hidden = directory.join(format!(".{snapshot}{REMOVED_SUFFIX}"));
    if hidden.exists() {
        let _ = fs::remove_dir_all(&hidden);
    }
    match fs::rename(&path, &hidden) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(Error::Remove { path, source }),
        Ok(()) => {}
    }
    let _ = fs::remove_dir_all(&hidden);
    Ok(())
}

/// Deletes what a crash between the two steps of [`remove`] left, and says so.
///
/// # Errors
///
/// The directory cannot be read.
pub fn clean(directory: &Path) -> Result<(), Error> {
    let read = |source| Error::Read { path: directory.to_owned(), source };
    for entry in fs::read_dir(directory).map_err(read)? {
        let entry = entry.map_err(read)?;
        let file_name = entry.file_name();
        let ours = file_name.to_str().and_then(|name| name.strip_prefix('.')).and_then(|name| {
            name.strip_suffix(REMOVED_SUFFIX).filter(|snapshot| name::is_snapshot(snapshot))
        });
        if ours.is_some() && fs::remove_dir_all(entry.path()).is_ok() {
            info!(path = %entry.path().display(), "cleaned what an interrupted removal left");
        }
    }
    Ok(())
}

/// Takes the right to read a spool.
///
/// # Errors
///
/// Another process has it, or the directory cannot be opened.
pub fn lock(directory: &Path) -> Result<Lock, Error> {
    Lock::take(directory).map_err(|refused| match refused {
        Refused::System(source) => Error::Read { path: directory.to_owned(), source },
        Refused::Held { by } => Error::Locked { path: directory.to_owned(), by },
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
        fs::write(spool.path().join("1700000011"), "a file").unwrap();
        let contents = list(spool.path()).unwrap();
        assert_eq!(contents.snapshots, ["999", "1700000009", "1700000010"]);
        assert_eq!(
            contents.strangers,
            [spool.path().join("1700000011"), spool.path().join("lost+found")]
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
    fn a_start_cleans_what_a_crash_left_and_nothing_else() {
        let spool = tempfile::tempdir().unwrap();
        for name in [".7.removed", ".mine.removed", ".7", "7"] {
            fs::create_dir(spool.path().join(name)).unwrap();
        }
        clean(spool.path()).unwrap();
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
