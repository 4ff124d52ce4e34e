//! One program at a time for a directory: an advisory lock on the directory itself.
//!
//! A lock file in it would look like content. The lock goes with its holder, however that ends, so
//! none is ever left behind; and it stays with the directory that it was taken on, so whoever makes
//! a directory anew takes its lock anew.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use daemon::file;

/// The right to use a directory, until this is dropped or the process ends in whatever way.
#[derive(Debug)]
pub struct Lock {
    directory: File,
}

/// Why there is no lock.
#[derive(Debug)]
pub enum Refused {
    /// The directory cannot be opened or locked.
    System(io::Error),
    /// Somebody has it.
    Held {
        /// Who, where that is known.
        by: Option<String>,
    },
}

impl Lock {
    /// Takes the lock of a directory.
    ///
    /// # Errors
    ///
    /// Somebody has it, or the directory cannot be opened or locked.
    pub fn take(directory: &Path) -> Result<Self, Refused> {
        let directory = file::open_directory(directory).map_err(Refused::System)?;
        match directory.try_lock() {
            Ok(()) => Ok(Self { directory }),
            Err(TryLockError::WouldBlock) => Err(Refused::Held { by: holder(&directory) }),
            Err(TryLockError::Error(source)) => Err(Refused::System(source)),
        }
    }

    /// Whether the directory that was locked still stands at this path.
    pub(crate) fn is_on(&self, path: &Path) -> io::Result<bool> {
        let (locked, there) = (self.directory.metadata()?, fs::metadata(path)?);
        Ok((locked.dev(), locked.ino()) == (there.dev(), there.ino()))
    }
}

/// Who has a lock, as `/proc/locks` tells (proc_locks(5)); it tells nothing of processes that a
/// container hides.
fn holder(directory: &File) -> Option<String> {
    let status = rustix::fs::fstat(directory).ok()?;
    let (major, minor) = (rustix::fs::major(status.st_dev), rustix::fs::minor(status.st_dev));
    let device = format!("{major:02x}:{minor:02x}:{}", status.st_ino);
    fs::read_to_string("/proc/locks").ok()?.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let ours = words.get(1) == Some(&"FLOCK") && words.get(5) == Some(&device.as_str());
        ours.then(|| format!("pid {}", words.get(4).copied().unwrap_or("unknown")))
    })
}
