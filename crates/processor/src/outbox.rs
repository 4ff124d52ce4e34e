//! The outbox on the disk: a folder for each receiver, in it a file for each batch that the
//! receiver is owed.
//!
//! One batch is written once and linked into the folder of each receiver. Contract:
//!
//! - A name in a folder is a whole batch: it is linked (or, where links are refused, renamed) only
//!   after its content is synced, and never replaces another one.
//! - A hold that was answered outlives a power cut if `sync` is set; a hold that failed leaves
//!   nothing. A crash can leave a batch in some of its folders, and a hidden `.part`, which the
//!   next start removes.
//! - The core decides which batches are removed, and gives their names.
//!
//! Version 0.1.0 kept the lines of its only Graphite in the directory itself. A start moves them
//! into the folder `graphite`.

pub(crate) mod old;

use std::fs::{self, File};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use daemon::errno::Class;
use daemon::file::{self, Limit, Links, ReadError};
use model::form;
use rustix::io::Errno;

use crate::core::{Cause, Folder, OutboxFile};
use crate::entry::EntryName;
use crate::memfd;

/// The suffix of a file that is being written.
const PART_SUFFIX: &str = ".part";
/// The suffix of a batch that was set aside.
const DAMAGED_SUFFIX: &str = ".damaged";
/// Batches that are set aside in a folder.
pub const DAMAGED_MAX: usize = 10;
/// Bytes of the largest batch that is read. The largest snapshot makes some millions.
const BATCH_MAX_BYTES: u64 = 1 << 30;
/// Bytes of a block, as the system counts them (stat(2)).
const BLOCK_BYTES: u64 = 512;

/// See the module.
#[derive(Debug)]
pub struct Outbox {
    directory: PathBuf,
}

impl Outbox {
    /// Makes the directory if it is missing, so that it can be locked.
    ///
    /// # Errors
    ///
    /// The directory cannot be made.
    pub fn make(directory: &Path) -> io::Result<()> {
        make_directory(directory)
    }

    /// Makes the directory if it is missing, removes unfinished files, and moves the files of
    /// version 0.1.0. The caller must have the directory's lock.
    ///
    /// # Errors
    ///
    /// The directory cannot be made or read.
    pub fn open(directory: &Path) -> io::Result<Self> {
        make_directory(directory)?;
        let outbox = Self { directory: directory.to_owned() };
        outbox.remove_parts(directory)?;
        for name in outbox.folders()? {
            outbox.remove_parts(&directory.join(name))?;
        }
        old::migrate(directory)?;
        Ok(outbox)
    }

    /// All batches, by folder.
    ///
    /// # Errors
    ///
    /// A directory cannot be read.
    pub fn list(&self) -> io::Result<Vec<Folder>> {
        let mut folders = Vec::new();
        for name in self.folders()? {
            let mut files = Vec::new();
            for item in fs::read_dir(self.directory.join(&name))? {
                let item = item?;
                let file_name = item.file_name();
                let entry = file_name.to_str().and_then(|name| name.parse::<EntryName>().ok());
                let Some(entry) = entry else { continue };
                let metadata = item.metadata()?;
                if metadata.is_file() {
                    let size_bytes = metadata.blocks() * BLOCK_BYTES;
                    files.push(OutboxFile { entry, size_bytes });
                }
            }
            if !files.is_empty() {
                folders.push(Folder { name, files });
            }
        }
        Ok(folders)
    }

    fn folders(&self) -> io::Result<Vec<String>> {
        let mut folders = Vec::new();
        for item in fs::read_dir(&self.directory)? {
            let item = item?;
            let is_directory = item.file_type().is_ok_and(|kind| kind.is_dir());
            if let (true, Ok(name)) = (is_directory, item.file_name().into_string())
                && !name.starts_with('.')
            {
                folders.push(name);
            }
        }
        folders.sort();
        Ok(folders)
    }

    fn remove_parts(&self, directory: &Path) -> io::Result<()> {
        for item in fs::read_dir(directory)? {
            let name = item?.file_name();
            let is_part = name.to_str().is_some_and(|name| {
                let inner = name.strip_prefix('.').and_then(|n| n.strip_suffix(PART_SUFFIX));
                inner.is_some_and(|inner| inner.parse::<EntryName>().is_ok())
            });
            if is_part {
                fs::remove_file(directory.join(name))?;
            }
        }
        Ok(())
    }

    /// Writes a batch and links it into folders. Returns the bytes that the file takes, in blocks.
    ///
    /// # Errors
    ///
    /// The hold failed, and the batch is in no folder.
    pub fn hold(
        &self,
        batch: BorrowedFd<'_>,
        entry: &EntryName,
        folders: &[String],
        sync: bool,
    ) -> io::Result<u64> {
        let part = PartFile(self.directory.join(format!(".{entry}{PART_SUFFIX}")));
        let mut file = file::create(&part.0)?;
        copy(batch, &mut file)?;
        if sync {
            file.sync_all()?;
        }
        let mut undo = Undo { paths: Vec::new() };
        for folder in folders {
            let folder = self.directory.join(folder);
            make_directory(&folder)?;
            let path = folder.join(entry.to_string());
            match fs::hard_link(&part.0, &path) {
                Ok(()) => {}
                Err(error) if refuses_links(&error) => {
                    copy_into(&part.0, &folder, entry, sync)?;
                }
                Err(error) => return Err(error),
            }
            undo.paths.push(path);
            if sync {
                file::open_directory(&folder)?.sync_all()?;
            }
        }
        undo.paths.clear();
        Ok(file.metadata()?.blocks() * BLOCK_BYTES)
    }

    /// Reads a batch into memory.
    ///
    /// # Errors
    ///
    /// The batch is missing, cannot be read now, or is damaged.
    pub fn load(&self, folder: &str, entry: &EntryName) -> Result<OwnedFd, (Cause, String)> {
        let path = self.directory.join(folder).join(entry.to_string());
        let limit = Limit { bytes: BATCH_MAX_BYTES, name: "the bound for batches" };
        let is_missing = || {
            let metadata = path.symlink_metadata();
            metadata.is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
        };
        let mut file = match file::open(&path, limit, Links::Refuse) {
            Ok(file) => file,
            Err(_) if is_missing() => {
                return Err((Cause::Missing, format!("{path:?} is missing")));
            }
            Err(ReadError::Damage(why)) => {
                return Err((Cause::Unusable, format!("{path:?} {why}")));
            }
            Err(fault @ ReadError::Transient(_)) => {
                return Err((Cause::Unreadable, format!("{path:?} {fault}")));
            }
        };
        let read = memfd::sealed("held", |to| io::copy(&mut file, to).map(|_| ()));
        let read = read.map_err(|error| {
            let can_pass = Class::of(&error).can_pass();
            let cause = if can_pass { Cause::Unreadable } else { Cause::Unusable };
            (cause, format!("{path:?} cannot be read: {error}"))
        })?;
        verify(&read).map_err(|why| (Cause::Unusable, format!("{path:?}: {why}")))?;
        Ok(read)
    }

    /// Removes batches. A batch that is missing is not an error.
    ///
    /// # Errors
    ///
    /// A batch cannot be removed; the others are removed.
    pub fn drop(&self, folder: &str, entries: &[EntryName]) -> io::Result<()> {
        let mut failed = Ok(());
        for entry in entries {
            match fs::remove_file(self.directory.join(folder).join(entry.to_string())) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => failed = Err(error),
                _ => {}
            }
        }
        failed
    }

    /// Sets a batch aside under a hidden name, and removes the oldest beyond [`DAMAGED_MAX`].
    ///
    /// # Errors
    ///
    /// The batch cannot be renamed.
    pub fn quarantine(&self, folder: &str, entry: &EntryName) -> io::Result<()> {
        let folder = self.directory.join(folder);
        let aside = folder.join(format!(".{entry}{DAMAGED_SUFFIX}"));
        match fs::rename(folder.join(entry.to_string()), aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut aside: Vec<EntryName> = Vec::new();
        for item in fs::read_dir(&folder)? {
            let name = item?.file_name();
            let name = name.to_str().and_then(|name| name.strip_prefix('.'));
            let name = name.and_then(|name| name.strip_suffix(DAMAGED_SUFFIX));
            aside.extend(name.and_then(|name| name.parse().ok()));
        }
        aside.sort();
        let surplus = aside.len().saturating_sub(DAMAGED_MAX);
        for entry in aside.into_iter().take(surplus) {
            fs::remove_file(folder.join(format!(".{entry}{DAMAGED_SUFFIX}")))?;
        }
        Ok(())
    }
}

/// Reads a batch to its end, so that damage is found before its first line is sent. The send child
/// verifies a file of version 0.1.0 when it decompresses it.
fn verify(batch: &OwnedFd) -> Result<(), String> {
    let file = File::from(batch.try_clone().map_err(|error| error.to_string())?);
    if old::is_compressed(&file) {
        return Ok(());
    }
    let verified = form::Reader::new(form::FileView::new(&file)).and_then(|mut reader| {
        while reader.advance()? {}
        Ok(())
    });
    verified.map_err(|error| error.to_string())
}

/// A hidden file that is removed when this is dropped. Its other links stay.
struct PartFile(PathBuf);

impl Drop for PartFile {
    fn drop(&mut self) {
        // The file may not exist, because its creation failed.
        let _ = fs::remove_file(&self.0);
    }
}

/// Links that are removed when this is dropped. A hold that succeeds empties the list.
struct Undo {
    paths: Vec<PathBuf>,
}

impl Drop for Undo {
    fn drop(&mut self) {
        for path in &self.paths {
            let _ = fs::remove_file(path);
        }
    }
}

/// Whether this error says that links cannot be made, or not into this directory.
fn refuses_links(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    let refusals = [Errno::XDEV, Errno::PERM, Errno::OPNOTSUPP, Errno::NOSYS, Errno::MLINK];
    errno.is_some_and(|errno| refusals.contains(&errno))
}

fn copy_into(from: &Path, folder: &Path, entry: &EntryName, sync: bool) -> io::Result<()> {
    let part = PartFile(folder.join(format!(".{entry}{PART_SUFFIX}")));
    let mut file = file::create(&part.0)?;
    io::copy(&mut File::open(from)?, &mut file)?;
    if sync {
        file.sync_all()?;
    }
    let to = folder.join(entry.to_string());
    let flags = rustix::fs::RenameFlags::NOREPLACE;
    rustix::fs::renameat_with(rustix::fs::CWD, &part.0, rustix::fs::CWD, to, flags)?;
    Ok(())
}

/// Copies a memfd from its beginning, without a change of the position that its readers share.
fn copy(batch: BorrowedFd<'_>, to: &mut File) -> io::Result<()> {
    let file = File::from(batch.try_clone_to_owned()?);
    io::copy(&mut form::FileView::new(&file), to)?;
    Ok(())
}

/// Makes a directory and its parents, and syncs each: else a power cut could remove the directory
/// with all batches that were synced in it.
fn make_directory(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    let above = match directory.parent() {
        Some(above) if !above.as_os_str().is_empty() => above,
        _ => Path::new("."),
    };
    make_directory(above)?;
    match fs::create_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && directory.is_dir() => {}
        made => made?,
    }
    file::open_directory(above)?.sync_all()
}
