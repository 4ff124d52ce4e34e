//! Writes snapshots into `incoming`, so that nothing in it is ever partial.
//!
//! **Contract.** A snapshot is filled in a directory below the staging directory (`incoming.tmp`),
//! where no reader looks. When all its files are closed, one rename moves it into `incoming`, so it
//! is there whole or not at all.
//!
//! - Both directories are on one file system, and neither lies within the other. `Spool::open`
//!   tries this and refuses.
//! - A rename never replaces. If the name is taken, because the clock was set back, the next free
//!   second is used, and [`PublishedSnapshot`] has both seconds. The serial in the manifest tells
//!   two snapshots of one second apart.
//! - With `sync`, each file and then the staged directory are on the disk before the rename, and
//!   both parents after it. So each snapshot in `incoming` is whole after a power cut.
//! - A `Staging` that is dropped is abandoned, and its directory removed. After a SIGKILL it stays,
//!   and `Spool::clean` removes it at the next start.
//! - A marker shows that a staged directory is ours: the file of its [`crate::manifest`], which is
//!   empty until the end; version 0.1.0 had another marker ([`crate::cycle`]). A directory gets the
//!   marker before its name, and loses its name before the marker, which is removed last. A
//!   directory without the marker is never removed, whatever its name, unless it is empty and has a
//!   hidden name of ours, because an operator can set `tmp-dst-dir` to a directory that others use.
//! - One program writes to one pair of directories, or cleaning would remove what another stages:
//!   the staging directory is locked. The other directory's lock is its reader's.
//! - Either directory may vanish at any time: the next `stage` makes it again, and locks it.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use daemon::lock::{self, Lock};
use daemon::remedy;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use crate::{cycle, manifest, name, probe};

mod kept;
mod staging;

pub use kept::KeptAnswers;
pub use staging::{PublishedSnapshot, StagedFile, StagedFiles, Staging};

/// Seconds that are tried to find a free name.
const NAME_TRIES: u64 = 1_000;

/// Files of a snapshot at most; a reader refuses more.
pub const FILES_MAX: usize = crate::reader::ENTRIES_MAX;

/// The markers of staged directories: of this version, and of version 0.1.0, which may have left
/// some directories.
const MARKERS: [&str; 2] = [manifest::FILE_NAME, cycle::FILE_NAME];

/// The prefix of a directory that is being removed; its old name follows.
const REMOVED: &str = ".haproxystats-removed-";

/// The directory of [`KeptAnswers`].
const KEPT: &str = ".haproxystats-kept";

/// The name of a staged directory until it has its marker.
const UNNAMED: &str = ".haproxystats-staging";

/// Why a snapshot cannot be written. Paths are quoted and escaped: `tmp-dst-dir` can hold names
/// that others chose, and a line feed in one of them must not forge a line of the log.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system refused an operation.
    #[error("cannot {doing} {path:?}: {source}{}", remedy::of(source))]
    Io {
        /// The operation, as a verb.
        doing: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// A rename cannot move a snapshot from one directory to the other.
    #[error(
        "tmp-dst-dir {tmp:?} and dst-dir {dst:?} are on different file systems, so a snapshot \
         cannot be published by a rename: set tmp-dst-dir to a directory beside dst-dir"
    )]
    OtherFileSystem {
        /// Where snapshots are staged.
        tmp: PathBuf,
        /// Where they are published.
        dst: PathBuf,
    },
    /// A reader would see staged snapshots.
    #[error(
        "tmp-dst-dir {tmp:?} and dst-dir {dst:?} lie in each other, so a reader would see what is \
         not whole: set tmp-dst-dir to a directory beside dst-dir"
    )]
    Nested {
        /// Where snapshots are staged.
        tmp: PathBuf,
        /// Where they are published.
        dst: PathBuf,
    },
    /// Another process stages its snapshots there.
    #[error(
        "another haproxystats-pull{} writes to {tmp:?}; stop it first, or give this one another \
         tmp-dst-dir and dst-dir",
        by.as_ref().map(|by| format!(" ({by})")).unwrap_or_default()
    )]
    Locked {
        /// Where snapshots are staged.
        tmp: PathBuf,
        /// The process that holds the lock, if it is known.
        by: Option<String>,
    },
    /// The wanted name and all names that were tried after it are taken.
    #[error(
        "no free name in {dir:?} from {first} on, {NAME_TRIES} tried; set the clock right, or \
         remove what stands there"
    )]
    NoFreeName {
        /// The directory that needs a free name.
        dir: PathBuf,
        /// The first name tried.
        first: u64,
    },
    /// A file is begun after the snapshot was published or abandoned, or after that file was
    /// removed from it.
    #[error(
        "{path:?} comes too late for its snapshot; raise pull-timeout, or look why the disk is slow"
    )]
    TooLate {
        /// The file.
        path: PathBuf,
    },
    /// A file of the snapshot was begun and not closed.
    #[error(
        "{dir:?} is not whole: {file:?} was not closed; this is a mistake of haproxystats-pull, \
         please report it"
    )]
    Unfinished {
        /// The staged directory.
        dir: PathBuf,
        /// One of the open files.
        file: PathBuf,
    },
}

/// The result of [`Spool::clean`]: the first directory of each kind, and the number of that kind.
#[derive(Debug, Default)]
pub struct Cleanup {
    /// Leftovers that were removed.
    pub removed: Option<(PathBuf, usize)>,
    /// Leftovers that cannot be removed, with the error of the first.
    pub stay: Option<(Error, usize)>,
    /// Directories with names like ours that lack the marker, and so belong to others. They stay.
    pub unmarked: Option<(PathBuf, usize)>,
}

/// The two directories, locked until this is dropped.
///
/// ```
/// use haproxystats_spool::cycle::Cycle;
/// use haproxystats_spool::manifest::{AnswerFile, Manifest};
/// use haproxystats_spool::writer::Spool;
///
/// let root = tempfile::tempdir()?;
/// let incoming = root.path().join("incoming");
/// let mut spool = Spool::open(&incoming, &root.path().join("incoming.tmp"), false)?;
/// let staging = spool.stage(1_700_000_000)?;
/// let mut file = staging.files().create("a_info".as_ref())?;
/// file.write(b"Name: HAProxy\n")?;
/// file.close()?;
/// let (name, source) = ("a_info".to_owned(), "haproxy".to_owned());
/// let file = AnswerFile::new(name, source, "unix:///run/a".to_owned());
/// let (origin, cycle) = ("lb1".to_owned(), Cycle::default());
/// let manifest = Manifest { origin, serial: 1, cycle, files: vec![file], unanswered: vec![],
///     natures: Default::default() };
/// staging.files().complete(&manifest)?;
/// let published = staging.publish()?;
/// assert_eq!(published.path, incoming.join("1700000000"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Spool {
    dst: PathBuf,
    tmp: PathBuf,
    sync: bool,
    lock: Lock,
    /// Whether [`KeptAnswers`] of this spool may be in use.
    keeps: bool,
}

impl Spool {
    /// Makes both directories if they are missing, checks that a rename can publish, and locks the
    /// staging directory.
    ///
    /// # Errors
    ///
    /// A directory cannot be made, the two are on different file systems, one lies in the other, or
    /// another process writes there.
    pub fn open(dst_dir: &Path, tmp_dst_dir: &Path, sync: bool) -> Result<Self, Error> {
        for dir in [dst_dir, tmp_dst_dir] {
            fs::create_dir_all(dir).map_err(|source| io_error("create directory", dir, source))?;
        }
        let (dst, tmp) = (dst_dir.to_owned(), tmp_dst_dir.to_owned());
        let real = |dir: &Path| {
            fs::canonicalize(dir).map_err(|source| io_error("resolve directory", dir, source))
        };
        if is_nested(&real(dst_dir)?, &real(tmp_dst_dir)?) {
            return Err(Error::Nested { tmp, dst });
        }
        let device = |dir: &Path| {
            let metadata = fs::metadata(dir);
            metadata.map(|it| it.dev()).map_err(|source| io_error("look at", dir, source))
        };
        if device(dst_dir)? != device(tmp_dst_dir)? {
            return Err(Error::OtherFileSystem { tmp, dst });
        }
        // The lock comes before the probe, because the probe of another program would disturb it.
        let spool = Self { lock: lock_staging(&tmp)?, dst, tmp, sync, keeps: false };
        // A cycle reports other failures of the probe, such as a full disk.
        let probed = probe::rename(&spool.tmp, &spool.dst);
        if probed.is_ok_and(|probed| probed == probe::Rename::Crosses) {
            return Err(Error::OtherFileSystem { tmp: spool.tmp, dst: spool.dst });
        }
        Ok(spool)
    }

    /// Removes the directories that a killed program or a failed removal left in the staging
    /// directory. No [`Staging`] of this spool may be in use.
    ///
    /// # Errors
    ///
    /// The staging directory cannot be read.
    pub fn clean(&self) -> Result<Cleanup, Error> {
        let failed = |source| io_error("read directory", &self.tmp, source);
        let mut cleaned = Cleanup::default();
        for entry in fs::read_dir(&self.tmp).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let (path, file_name) = (entry.path(), entry.file_name());
            let Some(file_name) = file_name.to_str() else { continue };
            if self.keeps && file_name == KEPT {
                continue;
            }
            let is_hidden = is_hidden_name_of_ours(file_name);
            if !is_hidden && !name::is_snapshot(file_name) || !name::is_directory(&entry) {
                continue;
            }
            let has_marker = has_marker(&path);
            let is_ours = has_marker || is_hidden && is_empty(&path);
            if !is_ours {
                cleaned.unmarked.get_or_insert((path, 0)).1 += 1;
                continue;
            }
            let removed = match (is_hidden, has_marker) {
                (true, true) => remove_marked(&path),
                // Not recursive, so that a file that others put in meanwhile is kept.
                (true, false) => fs::remove_dir(&path),
                (false, _) => remove_directory(&self.tmp, &path),
            };
            match removed {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    let error = io_error("remove the leftover", &path, source);
                    cleaned.stay.get_or_insert((error, 0)).1 += 1;
                }
                _ => cleaned.removed.get_or_insert((path, 0)).1 += 1,
            }
        }
        Ok(cleaned)
    }

    /// The answers that later snapshots may need again, none at first. Does not work on the disk.
    pub fn keep(&mut self) -> KeptAnswers {
        self.keeps = true;
        KeptAnswers::new(self.tmp.join(KEPT))
    }

    /// The number of published snapshots that wait.
    ///
    /// # Errors
    ///
    /// The directory exists and cannot be read.
    pub fn waiting(&self) -> Result<usize, Error> {
        name::waiting(&self.dst).map_err(|source| io_error("read directory", &self.dst, source))
    }

    /// Begins the snapshot of a cycle that started at `epoch_seconds`.
    ///
    /// # Errors
    ///
    /// The directory cannot be made, or the staging directory was replaced and another process has
    /// locked the new one.
    pub fn stage(&mut self, epoch_seconds: u64) -> Result<Staging, Error> {
        for dir in [&self.dst, &self.tmp] {
            fs::create_dir_all(dir).map_err(|source| io_error("create directory", dir, source))?;
        }
        let same = self.lock.is_on(&self.tmp);
        if !same.map_err(|source| io_error("look at", &self.tmp, source))? {
            self.lock = lock_staging(&self.tmp)?;
        }
        let unnamed = self.make_unnamed()?;
        let named = self.rename_to_free_name(&unnamed, epoch_seconds);
        if named.is_err() {
            // If this fails, the next call removes it.
            let _ = remove_marked(&unnamed);
        }
        let dir = named?;
        Ok(Staging::new((&self.dst, &self.tmp), dir, epoch_seconds, self.sync))
    }

    /// Makes a directory with the marker.
    fn make_unnamed(&self) -> Result<PathBuf, Error> {
        let dir = self.tmp.join(UNNAMED);
        let failed = |source| io_error("create directory", &dir, source);
        if let Err(error) = fs::create_dir(&dir) {
            if error.kind() != io::ErrorKind::AlreadyExists {
                return Err(failed(error));
            }
            // Without the marker it may belong to others, so it is removed only if it is empty.
            let removed = if has_marker(&dir) { remove_marked(&dir) } else { fs::remove_dir(&dir) };
            removed.map_err(|source| io_error("remove the leftover", &dir, source))?;
            fs::create_dir(&dir).map_err(failed)?;
        }
        let marker = dir.join(manifest::FILE_NAME);
        if let Err(source) = File::create_new(&marker) {
            let _ = fs::remove_dir(&dir);
            return Err(io_error("create", &marker, source));
        }
        Ok(dir)
    }

    fn rename_to_free_name(&self, unnamed: &Path, first: u64) -> Result<PathBuf, Error> {
        for seconds in names_from(first) {
            let dir = self.tmp.join(seconds.to_string());
            match rename_without_replacing(unnamed, &dir) {
                Ok(()) => return Ok(dir),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(source) => return Err(io_error("create directory", &dir, source)),
            }
        }
        Err(Error::NoFreeName { dir: self.tmp.clone(), first })
    }
}

fn lock_staging(tmp: &Path) -> Result<Lock, Error> {
    Lock::take(tmp).map_err(|error| match error {
        lock::Error::System(source) => io_error("lock", tmp, source),
        lock::Error::InUse { by } => Error::Locked { tmp: tmp.to_owned(), by },
    })
}

/// Whether `stage` made the directory.
fn has_marker(dir: &Path) -> bool {
    MARKERS
        .iter()
        .any(|marker| fs::symlink_metadata(dir.join(marker)).is_ok_and(|marker| marker.is_file()))
}

/// Whether `stage` or a removal gives this temporary name to a directory.
fn is_hidden_name_of_ours(file_name: &str) -> bool {
    [UNNAMED, KEPT].contains(&file_name)
        || file_name.strip_prefix(REMOVED).is_some_and(name::is_snapshot)
}

fn is_empty(dir: &Path) -> bool {
    fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_none())
}

/// Removes a directory with the marker. The rename comes first, because a kill could otherwise
/// leave a directory that has its name but no longer its marker.
fn remove_directory(tmp: &Path, dir: &Path) -> io::Result<()> {
    let base = dir.file_name().unwrap_or_default().to_string_lossy();
    let hidden = tmp.join(format!("{REMOVED}{base}"));
    let result = match fs::rename(dir, &hidden) {
        Ok(()) => remove_marked(&hidden),
        // A directory whose removal failed before has the hidden name already.
        Err(_) => remove_marked(dir),
    };
    result.or_else(|error| match error.kind() {
        io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    })
}

/// Removes a directory and its contents, the marker last. A removal that is cut short leaves the
/// marker or an empty directory, so the next removal sees that the directory is ours.
fn remove_marked(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if MARKERS.iter().any(|marker| entry.file_name() == *marker) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    for marker in MARKERS {
        match fs::remove_file(dir.join(marker)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    fs::remove_dir(dir)
}

/// `first` and the seconds after it that are tried as names.
fn names_from(first: u64) -> impl Iterator<Item = u64> {
    (0..NAME_TRIES).map_while(move |more| first.checked_add(more))
}

/// Whether a reader of `dst` would see `tmp`, or `dst` would be cleaned with `tmp`. Both are
/// resolved paths.
fn is_nested(dst: &Path, tmp: &Path) -> bool {
    match tmp.strip_prefix(dst).map(|below| below.components().next()) {
        // No reader looks below a hidden directory.
        Ok(Some(Component::Normal(first))) => !name::is_hidden(first),
        Ok(_) => true,
        Err(_) => dst.starts_with(tmp),
    }
}

fn rename_without_replacing(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Some file systems lack RENAME_NOREPLACE. Only this program writes there, so a check
        // before the rename is enough.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => match fs::symlink_metadata(to) {
            Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
            Err(_) => fs::rename(from, to),
        },
        result => result.map_err(io::Error::from),
    }
}

fn io_error(doing: &'static str, path: &Path, source: io::Error) -> Error {
    Error::Io { doing, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests;
