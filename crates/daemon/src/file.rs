//! Opens files in directories that others can write to, so that no entry can block the program or
//! fill its memory.
//!
//! To open a FIFO blocks, to open a device can have an effect, `/dev/zero` never ends, and a link
//! leads out of the directory. So [`open`] and [`create`] accept regular files only, and a reader
//! gets no more bytes of a file than its limit.
//!
//! Also the synced writing of files and directories ([`write()`], [`sync_directory`]).

use std::fmt;
use std::fs::{self, File, Metadata};
use std::io::{self, Read, Take};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};

use crate::errno::Class;
use crate::remedy;

/// How many bytes a file may have.
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    /// The largest size.
    pub bytes: u64,
    /// The name of the limit, for the message.
    pub name: &'static str,
}

/// The treatment of symbolic links.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Links {
    /// A link counts as its target: for paths that the operator chose.
    Follow,
    /// A link is refused: for entries of a directory that others fill.
    Refuse,
}

/// Why a file cannot be read.
#[derive(Debug)]
pub enum ReadError {
    /// The file is wrong, and a later try fails too. The text continues "the file …".
    Damage(String),
    /// A later try can succeed ([`Class::can_pass`]).
    Transient(io::Error),
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        if Class::of(&error).can_pass() {
            return Self::Transient(error);
        }
        Self::Damage(format!("cannot be read: {error}{}", remedy::of(&error)))
    }
}

impl From<String> for ReadError {
    fn from(damage: String) -> Self {
        Self::Damage(damage)
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damage(damage) => to.write_str(damage),
            Self::Transient(error) => {
                write!(to, "cannot be read: {error}{}", remedy::of(error))
            }
        }
    }
}

impl From<ReadError> for io::Error {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Damage(damage) => Self::new(io::ErrorKind::InvalidData, damage),
            ReadError::Transient(error) => error,
        }
    }
}

/// Whether no entry has this name. A link without a target is an entry.
#[must_use]
pub fn is_absent(path: &Path) -> bool {
    matches!(path.symlink_metadata(), Err(error) if error.kind() == io::ErrorKind::NotFound)
}

/// Opens a regular file for reading, if it is within its limit.
///
/// # Errors
///
/// It is no regular file, larger than `limit`, or cannot be opened.
pub fn open(path: &Path, limit: Limit, links: Links) -> Result<Take<File>, ReadError> {
    // Look before opening, because opening a device can have an effect.
    let metadata = match links {
        Links::Follow => fs::metadata(path),
        Links::Refuse => fs::symlink_metadata(path),
    };
    check(&metadata?, limit)?;
    let mut flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    if links == Links::Refuse {
        flags |= OFlags::NOFOLLOW;
    }
    let opened = retry_on_intr(|| rustix::fs::open(path, flags, Mode::empty()));
    let file = File::from(opened.map_err(io::Error::from)?);
    // Check the open file again, because another one may have taken its place.
    check(&file.metadata()?, limit)?;
    Ok(file.take(limit.bytes))
}

/// Creates a file for writing, or empties the regular file of that name.
///
/// # Errors
///
/// The name belongs to something else than a regular file, or the system refuses.
pub fn create(path: &Path) -> io::Result<File> {
    let flags = OFlags::WRONLY
        | OFlags::CREATE
        | OFlags::NOFOLLOW
        | OFlags::NONBLOCK
        | OFlags::NOCTTY
        | OFlags::CLOEXEC;
    let no_file = || io::Error::new(io::ErrorKind::AlreadyExists, "it is no regular file");
    let mode = Mode::from_raw_mode(0o666);
    let file = match retry_on_intr(|| rustix::fs::open(path, flags, mode)) {
        // A link, a FIFO without a reader, a directory.
        Err(Errno::LOOP | Errno::NXIO | Errno::ISDIR) => return Err(no_file()),
        opened => File::from(opened?),
    };
    if !file.metadata()?.is_file() {
        return Err(no_file());
    }
    file.set_len(0)?;
    Ok(file)
}

/// Writes a file anew with `fill`; with `sync` it is on the disk afterwards. After an error no file
/// is left.
///
/// ```
/// use std::io::Write;
///
/// use haproxystats_daemon::file;
///
/// let directory = tempfile::tempdir()?;
/// let path = directory.path().join("reason");
/// file::write(&path, true, |file| file.write_all(b"why"))?;
/// assert_eq!(std::fs::read(&path)?, b"why");
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
///
/// The name belongs to something else than a regular file, which stays, or the system refuses.
pub fn write<T>(
    path: &Path,
    sync: bool,
    fill: impl FnOnce(&mut File) -> io::Result<T>,
) -> io::Result<T> {
    let mut file = create(path)?;
    let fill_and_sync = || {
        let filled = fill(&mut file)?;
        if sync {
            file.sync_all()?;
        }
        Ok(filled)
    };
    let filled = fill_and_sync();
    if filled.is_err() {
        let _ = fs::remove_file(path);
    }
    filled
}

/// Syncs a directory to the disk: the names that were made, changed or removed in it.
///
/// # Errors
///
/// It is no directory, or the disk refuses.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    open_directory(path)?.sync_all()
}

/// Opens a directory, to lock or to sync it. Anything else, such as a FIFO, is refused at once.
///
/// # Errors
///
/// It is no directory, or the system refuses.
pub fn open_directory(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(File::from(retry_on_intr(|| rustix::fs::open(path, flags, Mode::empty()))?))
}

fn check(metadata: &Metadata, limit: Limit) -> Result<(), ReadError> {
    if !metadata.is_file() {
        return Err(ReadError::Damage("is no regular file".to_owned()));
    }
    let (bytes, Limit { bytes: most, name }) = (metadata.len(), limit);
    if bytes > most {
        return Err(format!("has {bytes} bytes, more than {name} = {most} allows").into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::*;

    const LIMIT: Limit = Limit { bytes: 4, name: "some-limit" };

    fn read(path: &Path, links: Links) -> Result<String, String> {
        let mut text = String::new();
        let mut file = open(path, LIMIT, links).map_err(|error| error.to_string())?;
        file.read_to_string(&mut text).unwrap();
        Ok(text)
    }

    #[test]
    fn an_error_of_the_system_is_damage_or_transient() {
        for errno in [Errno::MFILE, Errno::ACCESS, Errno::STALE] {
            assert!(
                matches!(ReadError::from(io::Error::from(errno)), ReadError::Transient(_)),
                "{errno:?}"
            );
        }
        for errno in [Errno::NOENT, Errno::IO, Errno::ISDIR] {
            assert!(
                matches!(ReadError::from(io::Error::from(errno)), ReadError::Damage(_)),
                "{errno:?}"
            );
        }
    }

    /// To open a FIFO blocks until a writer comes, so this test would hang.
    #[test]
    fn nothing_but_a_regular_file_is_read_or_written() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        rustix::fs::mkfifoat(rustix::fs::CWD, at("fifo"), Mode::RUSR | Mode::WUSR).unwrap();
        let _socket = UnixListener::bind(at("socket")).unwrap();
        fs::create_dir(at("folder")).unwrap();
        symlink("/dev/zero", at("device")).unwrap();
        symlink(at("nowhere"), at("dangling")).unwrap();
        for name in ["fifo", "socket", "folder", "device", "dangling"] {
            for links in [Links::Follow, Links::Refuse] {
                assert!(read(&at(name), links).is_err(), "{name} {links:?}");
            }
            assert_eq!(open_directory(&at(name)).is_ok(), name == "folder", "{name}");
            let refused = create(&at(name)).map(|_| ()).unwrap_err();
            assert!(refused.to_string().contains("no regular file"), "{name}: {refused}");
        }
        assert!(!at("nowhere").exists(), "a link was followed to create a file");
    }

    #[test]
    fn a_link_counts_as_its_file_only_where_the_operator_chose_it() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("file"), dir.path().join("link"));
        fs::write(&file, "abc").unwrap();
        symlink(&file, &link).unwrap();
        assert_eq!(read(&link, Links::Follow), Ok("abc".to_owned()));
        assert_eq!(read(&link, Links::Refuse), Err("is no regular file".to_owned()));
        assert_eq!(read(&file, Links::Refuse), Ok("abc".to_owned()));
    }

    #[test]
    fn a_file_keeps_to_its_limit_also_when_it_grows() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "abcd").unwrap();
        let mut opened = open(file.path(), LIMIT, Links::Refuse).unwrap();
        fs::write(file.path(), "abcdefgh").unwrap();
        let mut text = String::new();
        opened.read_to_string(&mut text).unwrap();
        assert_eq!(text, "abcd");
        let why = read(file.path(), Links::Refuse).unwrap_err();
        assert_eq!(why, "has 8 bytes, more than some-limit = 4 allows");
    }

    #[test]
    fn a_file_that_cannot_be_filled_is_removed_and_a_directory_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (path, folder) = (dir.path().join("file"), dir.path().join("folder"));
        let written = write(&path, true, |file| {
            file.write_all(b"half")?;
            Err::<(), _>(io::ErrorKind::StorageFull.into())
        });
        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert!(is_absent(&path));
        fs::create_dir(&folder).unwrap();
        write(&folder, false, |_| Ok(())).unwrap_err();
        assert!(folder.is_dir());
        sync_directory(&folder).unwrap();
        sync_directory(&path).unwrap_err();
    }

    #[test]
    fn a_file_that_is_created_anew_is_empty() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "abcd").unwrap();
        create(file.path()).unwrap().write_all(b"x").unwrap();
        assert_eq!(fs::read_to_string(file.path()).unwrap(), "x");
    }
}
