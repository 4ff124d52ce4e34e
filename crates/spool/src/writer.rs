//! How a snapshot comes into `incoming`, so that nothing partial ever stands there.
//!
//! **Contract.** A snapshot is filled in a directory of its own in the staging directory
//! (`incoming.tmp`), where no reader looks. When every file of it is closed, one rename brings it
//! into `incoming`: it is not there, or it is there whole.
//!
//! - Both directories are on one file system and neither lies in the other's sight. `Spool::open`
//!   tries this and refuses.
//! - A rename never replaces: where the name is taken (the clock was set back) the next free second
//!   is used, and said.
//! - With `sync`, each file, then the staged directory, is on the disk before the rename, and both
//!   parents after it. So what stands in `incoming` after a power cut is whole.
//! - A `Staging` that is dropped is abandoned: its directory goes. A SIGKILL leaves it, and
//!   `Spool::clean` removes it at the next start.
//! - One program writes to one pair of directories, or cleaning would remove what another stages:
//!   the staging directory is locked. The other directory's lock is its reader's.
//! - Either directory may vanish at any time: the next `stage` makes it again, and locks it.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use tracing::{debug, info, warn};

use crate::lock::{Lock, Refused};
use crate::name;

/// So many seconds are tried for a name that is free; more are never taken in a row.
const NAME_TRIES: u64 = 1_000;

/// Moved from the staging directory to the other at start, to learn whether a rename can do it.
const PROBE: &str = ".haproxystats-probe";

/// Why a snapshot cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system refused something.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb.
        doing: &'static str,
        /// With which file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A rename cannot bring a directory from one to the other.
    #[error(
        "tmp-dst-dir {} and dst-dir {} are on different file systems, so a snapshot cannot be \
         published by a rename: set tmp-dst-dir to a directory beside dst-dir",
        tmp.display(), dst.display()
    )]
    OtherFileSystem {
        /// Where snapshots are staged.
        tmp: PathBuf,
        /// Where they are published.
        dst: PathBuf,
    },
    /// A reader would see what is staged.
    #[error(
        "tmp-dst-dir {} and dst-dir {} lie in each other, so a reader would see what is not whole: \
         set tmp-dst-dir to a directory beside dst-dir",
        tmp.display(), dst.display()
    )]
    Nested {
        /// Where snapshots are staged.
        tmp: PathBuf,
        /// Where they are published.
        dst: PathBuf,
    },
    /// Another process stages its snapshots there.
    #[error(
        "another haproxystats-pull{} writes to {}; stop it first, or give this one another \
         tmp-dst-dir and dst-dir",
        by.as_ref().map(|by| format!(" ({by})")).unwrap_or_default(),
        tmp.display()
    )]
    Locked {
        /// Where snapshots are staged.
        tmp: PathBuf,
        /// Who holds it, where that is known.
        by: Option<String>,
    },
    /// Neither the wanted name nor any of those after it is free.
    #[error("no free name in {} from {first} on, {NAME_TRIES} tried", dir.display())]
    NoFreeName {
        /// Where a name was looked for.
        dir: PathBuf,
        /// The first name tried.
        first: u64,
    },
    /// A file of the snapshot comes when it is published, given up, or to be without that file.
    #[error("{} comes too late for its snapshot", path.display())]
    TooLate {
        /// The file.
        path: PathBuf,
    },
    /// A file of the snapshot was begun and not closed.
    #[error("{} is not whole: {} was not closed", dir.display(), file.display())]
    Unfinished {
        /// The staged directory.
        dir: PathBuf,
        /// One file that is open.
        file: PathBuf,
    },
}

/// The two directories, known to fit each other, and ours until this is dropped.
#[derive(Debug)]
pub struct Spool {
    dst: PathBuf,
    tmp: PathBuf,
    sync: bool,
    lock: Lock,
}

/// A snapshot that is being filled. Dropped, it is abandoned and leaves nothing.
#[derive(Debug)]
pub struct Staging {
    dst: PathBuf,
    tmp: PathBuf,
    seconds: u64,
    files: StagedFiles,
    /// Whether the directory is still ours to remove.
    abandon: bool,
}

/// Makes the files of one `Staging`; for those who fill it side by side.
#[derive(Debug, Clone)]
pub struct StagedFiles {
    dir: Arc<Path>,
    state: Arc<Mutex<State>>,
    sync: bool,
}

/// What those who fill a snapshot side by side must agree about.
#[derive(Debug, Default)]
struct State {
    /// Files that were begun and not closed.
    unfinished: BTreeSet<OsString>,
    /// Files that were taken out again.
    removed: BTreeSet<OsString>,
    /// No file comes any more.
    is_sealed: bool,
}

/// A file of a snapshot. Until it is closed the snapshot cannot be published.
#[derive(Debug)]
pub struct StagedFile {
    file: File,
    path: PathBuf,
    state: Arc<Mutex<State>>,
    sync: bool,
}

impl Spool {
    /// Makes both directories at need, checks that a rename can publish, and keeps others out.
    ///
    /// # Errors
    ///
    /// A directory cannot be made, the two are on different file systems, one would show what is
    /// staged in the other, or another process writes there.
    pub fn open(dst_dir: &Path, tmp_dst_dir: &Path, sync: bool) -> Result<Self, Error> {
        for dir in [dst_dir, tmp_dst_dir] {
            fs::create_dir_all(dir).map_err(|source| io_error("create directory", dir, source))?;
        }
        let (dst, tmp) = (dst_dir.to_owned(), tmp_dst_dir.to_owned());
        let real = |dir: &Path| {
            fs::canonicalize(dir).map_err(|source| io_error("resolve directory", dir, source))
        };
        if lies_in_sight(&real(dst_dir)?, &real(tmp_dst_dir)?) {
            return Err(Error::Nested { tmp, dst });
        }
        let device = |dir: &Path| {
            let metadata = fs::metadata(dir);
            metadata.map(|it| it.dev()).map_err(|source| io_error("look at", dir, source))
        };
        if device(dst_dir)? != device(tmp_dst_dir)? {
            return Err(Error::OtherFileSystem { tmp, dst });
        }
        // Before the probe, which another program's would disturb.
        let spool = Self { lock: lock_staging(&tmp)?, dst, tmp, sync };
        if spool.probe_is_refused() {
            return Err(Error::OtherFileSystem { tmp: spool.tmp, dst: spool.dst });
        }
        Ok(spool)
    }

    /// Removes what a program that was killed left in the staging directory: directories that are
    /// named as we name them. Returns how many went.
    ///
    /// # Errors
    ///
    /// The staging directory cannot be read. A leftover that cannot be removed is said and stays.
    pub fn clean(&self) -> Result<usize, Error> {
        let failed = |source| io_error("read directory", &self.tmp, source);
        let mut removed = 0;
        for entry in fs::read_dir(&self.tmp).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let is_directory = entry.file_type().map_err(failed)?.is_dir();
            if !is_directory || !is_ours(&entry.file_name()) {
                continue;
            }
            let leftover = entry.path();
            match fs::remove_dir_all(&leftover) {
                Ok(()) => {
                    let directory = leftover.display();
                    info!(%directory, "removed what an earlier run had not finished");
                    removed += 1;
                }
                Err(error) => {
                    warn!(%error, directory = %leftover.display(), "cannot remove a leftover");
                }
            }
        }
        Ok(removed)
    }

    /// How many snapshots stand in the directory of published ones.
    ///
    /// # Errors
    ///
    /// It is there and cannot be read.
    pub fn waiting(&self) -> Result<usize, Error> {
        name::waiting(&self.dst).map_err(|source| io_error("read directory", &self.dst, source))
    }

    /// Begins the snapshot of a cycle that started at `epoch_seconds`.
    ///
    /// # Errors
    ///
    /// The directory cannot be made, or the staging directory was replaced and another process has
    /// the new one.
    pub fn stage(&mut self, epoch_seconds: u64) -> Result<Staging, Error> {
        for dir in [&self.dst, &self.tmp] {
            fs::create_dir_all(dir).map_err(|source| io_error("create directory", dir, source))?;
        }
        let same = self.lock.is_on(&self.tmp);
        if !same.map_err(|source| io_error("look at", &self.tmp, source))? {
            self.lock = lock_staging(&self.tmp)?;
        }
        for seconds in names_from(epoch_seconds) {
            let dir = self.tmp.join(seconds.to_string());
            match fs::create_dir(&dir) {
                Ok(()) => {
                    return Ok(Staging {
                        dst: self.dst.clone(),
                        tmp: self.tmp.clone(),
                        seconds: epoch_seconds,
                        files: StagedFiles {
                            dir: dir.into(),
                            state: Arc::default(),
                            sync: self.sync,
                        },
                        abandon: true,
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(source) => return Err(io_error("create directory", &dir, source)),
            }
        }
        Err(Error::NoFreeName { dir: self.tmp.clone(), first: epoch_seconds })
    }

    /// Whether the kernel refuses to rename between the two. The same device number does not say it
    /// all: two bind mounts of one file system have one number and allow no rename. Other failures
    /// (a full disk) will be told by the cycle.
    fn probe_is_refused(&self) -> bool {
        let (from, to) = (self.tmp.join(PROBE), self.dst.join(PROBE));
        // What an earlier probe may have left; that there is nothing is the rule.
        let _ = fs::remove_dir(&to);
        let _ = fs::remove_dir(&from);
        let refused = fs::create_dir(&from).is_ok()
            && fs::rename(&from, &to)
                .is_err_and(|error| error.kind() == io::ErrorKind::CrossesDevices);
        let _ = fs::remove_dir(if refused { &from } else { &to });
        refused
    }
}

impl Staging {
    /// The staged directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.files.dir
    }

    /// The maker of this snapshot's files.
    #[must_use]
    pub fn files(&self) -> StagedFiles {
        self.files.clone()
    }

    /// Brings the snapshot into `incoming` and returns where it stands now.
    ///
    /// # Errors
    ///
    /// A file is not closed, or the system refuses; then the snapshot is abandoned.
    pub fn publish(mut self) -> Result<PathBuf, Error> {
        {
            let mut state = lock(&self.files.state);
            state.is_sealed = true;
            if let Some(file) = state.unfinished.first() {
                return Err(Error::Unfinished { dir: self.dir().to_owned(), file: file.into() });
            }
        }
        if self.files.sync {
            sync_directory(self.dir())?;
        }
        fs::create_dir_all(&self.dst)
            .map_err(|source| io_error("create directory", &self.dst, source))?;
        let published = self.rename_into_dst()?;
        self.abandon = false;
        if self.files.sync {
            // It is published, whatever the disk says now: a reader may have taken it already.
            for dir in [&self.dst, &self.tmp] {
                if let Err(error) = sync_directory(dir) {
                    let snapshot = published.display();
                    warn!(%error, %snapshot, "published, yet a power cut could undo it");
                }
            }
        }
        Ok(published)
    }

    fn rename_into_dst(&self) -> Result<PathBuf, Error> {
        for seconds in names_from(self.seconds) {
            let target = self.dst.join(seconds.to_string());
            match rename_without_replacing(self.dir(), &target) {
                Ok(()) => {
                    if seconds != self.seconds {
                        warn!(
                            wanted = self.seconds,
                            taken = seconds,
                            "a snapshot of this second waits already (was the clock set back?), \
                             so the next free one names this"
                        );
                    }
                    return Ok(target);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
                    return Err(Error::OtherFileSystem {
                        tmp: self.tmp.clone(),
                        dst: self.dst.clone(),
                    });
                }
                Err(source) => return Err(io_error("publish", &target, source)),
            }
        }
        Err(Error::NoFreeName { dir: self.dst.clone(), first: self.seconds })
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.abandon {
            return;
        }
        // Whoever is late would make it a directory that is not empty.
        lock(&self.files.state).is_sealed = true;
        match fs::remove_dir_all(self.dir()) {
            Ok(()) => debug!(directory = %self.dir().display(), "abandoned"),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                let directory = self.dir().display();
                warn!(%error, %directory, "cannot remove what was not finished");
            }
        }
    }
}

impl StagedFiles {
    /// Begins a file, anew if it was begun before.
    ///
    /// # Errors
    ///
    /// It cannot be created, or it was taken out, or the snapshot is published or given up.
    pub fn create(&self, name: &OsStr) -> Result<StagedFile, Error> {
        let path = self.dir.join(name);
        let mut state = lock(&self.state);
        if state.is_sealed || state.removed.contains(name) {
            return Err(Error::TooLate { path });
        }
        let file = File::create(&path).map_err(|source| io_error("create", &path, source))?;
        state.unfinished.insert(name.to_owned());
        drop(state);
        Ok(StagedFile { file, path, state: Arc::clone(&self.state), sync: self.sync })
    }

    /// Takes a file out of the snapshot again, closed or not; one that was never begun is no fault.
    /// Whoever still writes to it writes into nothing, and nobody can begin it anew.
    ///
    /// # Errors
    ///
    /// The system refuses.
    pub fn remove(&self, name: &OsStr) -> Result<(), Error> {
        let path = self.dir.join(name);
        let mut state = lock(&self.state);
        state.removed.insert(name.to_owned());
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(io_error("remove", &path, error));
            }
            _ => state.unfinished.remove(name),
        };
        Ok(())
    }
}

impl StagedFile {
    /// Adds to the end.
    ///
    /// # Errors
    ///
    /// The system refuses, for example because the disk is full.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.file.write_all(bytes).map_err(|source| io_error("write", &self.path, source))
    }

    /// Marks the file as whole; with `sync` it is on the disk after this.
    ///
    /// # Errors
    ///
    /// The disk cannot take it.
    pub fn close(self) -> Result<(), Error> {
        if self.sync {
            self.file.sync_all().map_err(|source| io_error("sync", &self.path, source))?;
        }
        if let Some(name) = self.path.file_name() {
            lock(&self.state).unfinished.remove(name);
        }
        Ok(())
    }
}

fn lock_staging(tmp: &Path) -> Result<Lock, Error> {
    Lock::take(tmp).map_err(|refused| match refused {
        Refused::System(source) => io_error("lock", tmp, source),
        Refused::Held { by } => Error::Locked { tmp: tmp.to_owned(), by },
    })
}

/// Whether a directory in the staging directory is named as `stage` names it.
fn is_ours(name: &OsStr) -> bool {
    name.to_str().is_some_and(name::is_snapshot)
}

/// `first` and the seconds after it, as many as are tried.
fn names_from(first: u64) -> impl Iterator<Item = u64> {
    (0..NAME_TRIES).map_while(move |more| first.checked_add(more))
}

/// Whether a reader of `dst` would come upon `tmp`, or `dst` would be cleaned with `tmp`. Both are
/// resolved paths.
fn lies_in_sight(dst: &Path, tmp: &Path) -> bool {
    match tmp.strip_prefix(dst).map(|below| below.components().next()) {
        // Hidden names count nowhere, so a staging directory below one disturbs nobody.
        Ok(Some(Component::Normal(first))) => !name::is_hidden(&first.to_string_lossy()),
        Ok(_) => true,
        Err(_) => dst.starts_with(tmp),
    }
}

fn rename_without_replacing(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Some file systems cannot promise it. We are the only one who writes there, so looking
        // first is as good.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => match fs::symlink_metadata(to) {
            Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
            Err(_) => fs::rename(from, to),
        },
        result => result.map_err(io::Error::from),
    }
}

fn sync_directory(dir: &Path) -> Result<(), Error> {
    File::open(dir)
        .and_then(|opened| opened.sync_all())
        .map_err(|source| io_error("sync", dir, source))
}

fn io_error(doing: &'static str, path: &Path, source: io::Error) -> Error {
    Error::Io { doing, path: path.to_owned(), source }
}

/// A set of names is as good after a panic as before it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
