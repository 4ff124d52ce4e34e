//! One process at a time for a directory: an advisory lock on the directory itself.
//!
//! A lock file in it would look like content. The system ends the lock with its process, so that no
//! stale lock is left. The lock belongs to the directory and not to its path: a process whose
//! directory was replaced takes a new lock ([`Lock::is_on`]).

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use thiserror::Error;

use crate::{file, remedy};

/// The right to use a directory, until this is dropped or the process ends in any way.
///
/// ```
/// use haproxystats_daemon::lock::{Error, Lock};
///
/// let directory = tempfile::tempdir()?;
/// let lock = Lock::take(directory.path())?;
/// assert!(lock.is_on(directory.path())?);
/// assert!(matches!(Lock::take(directory.path()), Err(Error::InUse { .. })));
/// drop(lock);
/// Lock::take(directory.path())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Lock {
    directory: File,
}

/// Why there is no lock.
#[derive(Debug, Error)]
pub enum Error {
    /// The directory cannot be opened or locked.
    #[error("cannot lock the directory: {}{}", .0, remedy::of(.0))]
    System(#[source] io::Error),
    /// Another process has the lock.
    #[error(
        "another process{} has the lock of the directory; stop it first",
        by.as_ref().map(|by| format!(" ({by})")).unwrap_or_default()
    )]
    InUse {
        /// The process, if it is known, as in `pid 4711`.
        by: Option<String>,
    },
}

impl Lock {
    /// Takes the lock of a directory.
    ///
    /// # Errors
    ///
    /// Another process has the lock, or the system refuses.
    pub fn take(directory: &Path) -> Result<Self, Error> {
        let directory = file::open_directory(directory).map_err(Error::System)?;
        match directory.try_lock() {
            Ok(()) => Ok(Self { directory }),
            Err(TryLockError::WouldBlock) => Err(Error::InUse { by: owner(&directory) }),
            Err(TryLockError::Error(source)) => Err(Error::System(source)),
        }
    }

    /// Whether the directory at this path is the locked one.
    ///
    /// # Errors
    ///
    /// The system refuses the metadata of either.
    pub fn is_on(&self, path: &Path) -> io::Result<bool> {
        let (locked, there) = (self.directory.metadata()?, fs::metadata(path)?);
        Ok((locked.dev(), locked.ino()) == (there.dev(), there.ino()))
    }
}

/// The owner of a lock, from `/proc/locks` (proc_locks(5)), which has no processes that a container
/// hides.
fn owner(directory: &File) -> Option<String> {
    let status = rustix::fs::fstat(directory).ok()?;
    let (major, minor) = (rustix::fs::major(status.st_dev), rustix::fs::minor(status.st_dev));
    let device = format!("{major:02x}:{minor:02x}:{}", status.st_ino);
    for line in fs::read_to_string("/proc/locks").ok()?.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if words.get(1) == Some(&"FLOCK") && words.get(5) == Some(&device.as_str()) {
            let pid = words.get(4).copied().unwrap_or("unknown");
            let parent = parent_of(pid).map(|parent| format!(", child of pid {parent}"));
            return Some(format!("pid {pid}{}", parent.unwrap_or_default()));
        }
    }
    None
}

/// The parent of a process, if both run the same program.
fn parent_of(pid: &str) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
    let parent = line.trim().parse().ok()?;
    let program = |pid: &str| fs::read_link(format!("/proc/{pid}/exe")).ok();
    let own = program(pid)?;
    (program(&format!("{parent}"))? == own).then_some(parent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_in_use_names_its_owner_and_ends_with_it() {
        let directory = tempfile::tempdir().unwrap();
        let lock = Lock::take(directory.path()).unwrap();
        let refused = Lock::take(directory.path()).unwrap_err().to_string();
        assert!(refused.contains(&format!("(pid {})", std::process::id())), "{refused}");
        drop(lock);
        Lock::take(directory.path()).unwrap();
    }

    #[test]
    fn a_lock_is_not_on_a_directory_that_was_made_anew() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("directory");
        fs::create_dir(&path).unwrap();
        let lock = Lock::take(&path).unwrap();
        assert!(lock.is_on(&path).unwrap());
        fs::rename(&path, root.path().join("moved")).unwrap();
        lock.is_on(&path).unwrap_err();
        fs::create_dir(&path).unwrap();
        assert!(!lock.is_on(&path).unwrap());
        Lock::take(&path).unwrap();
        let missing = Lock::take(&root.path().join("missing")).unwrap_err().to_string();
        assert!(missing.contains("; check that it is there"), "{missing}");
    }
}
