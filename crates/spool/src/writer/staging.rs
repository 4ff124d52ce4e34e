//! A snapshot that several writers fill side by side until it is published or abandoned.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::debug;

use crate::manifest::{self, Manifest};

use super::{Error, io_error, names_from, remove_directory, rename_without_replacing};

/// A snapshot that is being filled. Dropping it removes its directory. The drop and every method
/// work on the disk, so they can block.
#[derive(Debug)]
pub struct Staging {
    dst: PathBuf,
    tmp: PathBuf,
    seconds: u64,
    files: StagedFiles,
    /// Whether the directory must be removed: it was neither published nor abandoned.
    is_ours: bool,
}

/// A snapshot that was published.
#[derive(Debug)]
pub struct PublishedSnapshot {
    /// The directory.
    pub path: PathBuf,
    /// The second in the name.
    pub seconds: u64,
    /// The second at which the cycle began. It differs from the name if that name was taken.
    pub wanted: u64,
    /// The error if the directory cannot be synced, so that a power cut could undo the rename.
    pub unsynced: Option<Error>,
}

/// Makes the files of one `Staging`; each writer has a clone.
#[derive(Debug, Clone)]
pub struct StagedFiles {
    dir: Arc<Path>,
    state: Arc<Mutex<State>>,
    sync: bool,
}

/// The state that the writers of a snapshot share.
#[derive(Debug, Default)]
struct State {
    /// Files that were begun, each with whether it is closed.
    begun: BTreeMap<OsString, bool>,
    /// Whether `create` refuses new files.
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

impl Staging {
    /// The snapshot in `dir`, which lies in `tmp` and is to be moved into `dst`.
    pub(super) fn new((dst, tmp): (&Path, &Path), dir: PathBuf, seconds: u64, sync: bool) -> Self {
        let files = StagedFiles { dir: dir.into(), state: Arc::default(), sync };
        Self { dst: dst.to_owned(), tmp: tmp.to_owned(), seconds, files, is_ours: true }
    }

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

    /// Brings the snapshot into `incoming`.
    ///
    /// # Errors
    ///
    /// A file is not closed, or the system refuses. Either abandons the snapshot.
    pub fn publish(mut self) -> Result<PublishedSnapshot, Error> {
        {
            let mut state = lock(&self.files.state);
            state.is_sealed = true;
            if let Some((file, _)) = state.begun.iter().find(|(_, is_closed)| !**is_closed) {
                return Err(Error::Unfinished { dir: self.dir().to_owned(), file: file.into() });
            }
        }
        if self.files.sync {
            sync_directory(self.dir())?;
        }
        fs::create_dir_all(&self.dst)
            .map_err(|source| io_error("create directory", &self.dst, source))?;
        let (path, seconds) = self.rename_into_dst()?;
        self.is_ours = false;
        let mut published =
            PublishedSnapshot { path, seconds, wanted: self.seconds, unsynced: None };
        if self.files.sync {
            // An error here must not fail the publication, because a reader may have the snapshot
            // already.
            let synced = sync_directory(&self.dst).and_then(|()| sync_directory(&self.tmp));
            published.unsynced = synced.err();
        }
        Ok(published)
    }

    /// Removes the staged directory.
    ///
    /// # Errors
    ///
    /// The system refuses; the next [`Spool::clean`](super::Spool::clean) tries again.
    pub fn abandon(mut self) -> Result<(), Error> {
        self.remove()
    }

    fn remove(&mut self) -> Result<(), Error> {
        if !std::mem::replace(&mut self.is_ours, false) {
            return Ok(());
        }
        // Seal first: a late `create` would make rmdir fail.
        lock(&self.files.state).is_sealed = true;
        remove_directory(&self.tmp, self.dir())
            .map_err(|source| io_error("remove the unfinished", self.dir(), source))?;
        debug!(directory = ?self.dir(), "abandoned");
        Ok(())
    }

    fn rename_into_dst(&self) -> Result<(PathBuf, u64), Error> {
        for seconds in names_from(self.seconds) {
            let target = self.dst.join(seconds.to_string());
            match rename_without_replacing(self.dir(), &target) {
                Ok(()) => return Ok((target, seconds)),
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
        if let Err(error) = self.remove() {
            // Not a warning, because it would come in every cycle whose snapshot cannot be
            // published. Pull tries to remove it again and logs the directories that stay.
            debug!(%error, "not abandoned");
        }
    }
}

impl StagedFiles {
    /// Begins a file, anew if it was begun before.
    ///
    /// # Errors
    ///
    /// The file cannot be created, or the snapshot is complete, published or abandoned.
    pub fn create(&self, name: &OsStr) -> Result<StagedFile, Error> {
        let path = self.dir.join(name);
        let mut state = lock(&self.state);
        if state.is_sealed {
            return Err(Error::TooLate { path });
        }
        // `daemon::file`, because others who can write to the directory could put a link there.
        let file =
            daemon::file::create(&path).map_err(|source| io_error("create", &path, source))?;
        state.begun.insert(name.to_owned(), false);
        drop(state);
        Ok(self.staged(file, path))
    }

    /// The path of a file that is whole.
    pub(super) fn path_of(&self, name: &OsStr) -> PathBuf {
        self.dir.join(name)
    }

    /// Adds a whole file that `place` puts at a path.
    pub(super) fn add(
        &self,
        name: &OsStr,
        place: impl FnOnce(&Path, bool) -> io::Result<()>,
    ) -> Result<(), Error> {
        let path = self.dir.join(name);
        let mut state = lock(&self.state);
        if state.is_sealed {
            return Err(Error::TooLate { path });
        }
        // A file that was begun and not finished may be there.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(io_error("remove", &path, error));
            }
            _ => state.begun.remove(name),
        };
        place(&path, self.sync).map_err(|source| io_error("keep", &path, source))?;
        state.begun.insert(name.to_owned(), true);
        Ok(())
    }

    fn staged(&self, file: File, path: PathBuf) -> StagedFile {
        StagedFile { file, path, state: Arc::clone(&self.state), sync: self.sync }
    }

    /// Removes the files that the manifest does not list, closed or not, and writes the manifest.
    /// No file can be begun after that. A writer that still has a removed file open writes to a
    /// deleted file.
    ///
    /// # Errors
    ///
    /// The system refuses.
    pub fn complete(&self, manifest: &Manifest) -> Result<(), Error> {
        let path = self.dir.join(manifest::FILE_NAME);
        let json = manifest.to_json().map_err(|error| io_error("write", &path, error.into()))?;
        let listed: BTreeSet<&OsStr> = manifest.files.iter().map(|it| it.name.as_ref()).collect();
        let mut state = lock(&self.state);
        state.is_sealed = true;
        let unlisted: Vec<_> =
            state.begun.keys().filter(|name| !listed.contains(name.as_os_str())).cloned().collect();
        for name in unlisted {
            let path = self.dir.join(&name);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(io_error("remove", &path, error));
                }
                _ => state.begun.remove(&name),
            };
        }
        drop(state);
        let file = daemon::file::create(&path);
        let file = file.map_err(|source| io_error("create", &path, source))?;
        let mut file = self.staged(file, path);
        file.write(json.as_bytes())?;
        file.close()
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
            lock(&self.state).begun.entry(name.to_owned()).and_modify(|it| *it = true);
        }
        Ok(())
    }
}

fn sync_directory(dir: &Path) -> Result<(), Error> {
    daemon::file::sync_directory(dir).map_err(|source| io_error("sync", dir, source))
}

/// The map stays usable after a panic, because each change is one call.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
