//! Files are opened so that nothing in their place can block us or fill the memory.
//!
//! What lies in a snapshot may be anything: a FIFO would block whoever opens it, a device do something when it is opened, a
//! directory or `/dev/zero` never end. So only regular files are opened, and no more of one is read than its limit.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Take};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// How many bytes a file may have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit {
    pub(crate) bytes: u64,
    /// What sets the limit, for the message.
    pub(crate) name: &'static str,
}

/// Why a file cannot be used.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The file is at fault, and will be; what is said speaks of it.
    Damage(String),
    /// The moment is: it may be readable later.
    Passing(io::Error),
}

impl From<String> for Fault {
    fn from(damage: String) -> Self {
        Self::Damage(damage)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damage(damage) => to.write_str(damage),
            Self::Passing(error) => write!(to, "cannot be read: {error}"),
        }
    }
}

/// A file that is gone, or that the disk cannot give, will not come back. Rights, memory, descriptors and servers of files will.
pub(crate) fn unreadable(error: io::Error) -> Fault {
    let passing = [
        Errno::ACCESS,
        Errno::PERM,
        Errno::NOMEM,
        Errno::MFILE,
        Errno::NFILE,
        Errno::STALE,
        Errno::TIMEDOUT,
        Errno::NOTCONN,
        Errno::HOSTDOWN,
    ];
    if passing.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error())) {
        return Fault::Passing(error);
    }
    Fault::Damage(format!("cannot be read: {error}"))
}

/// Opens a regular file that keeps to its limit.
pub(crate) fn open(path: &Path, limit: Limit) -> Result<Take<File>, Fault> {
    // Asked before it is opened, since opening alone can have an effect; and once more of what was opened, since it may have
    // been exchanged in between, against which the flag helps.
    check(&std::fs::metadata(path).map_err(unreadable)?, limit)?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let opened = rustix::fs::open(path, flags, Mode::empty()).map_err(io::Error::from);
    let file = opened.map(File::from).map_err(unreadable)?;
    check(&file.metadata().map_err(unreadable)?, limit)?;
    Ok(file.take(limit.bytes))
}

fn check(metadata: &std::fs::Metadata, limit: Limit) -> Result<(), Fault> {
    if !metadata.is_file() {
        return Err(Fault::Damage("is no regular file".to_owned()));
    }
    let (bytes, Limit { bytes: most, name }) = (metadata.len(), limit);
    if bytes > most {
        return Err(format!("has {bytes} bytes, more than {name} = {most} allows").into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Errno, Fault, unreadable};

    #[test]
    fn only_the_moment_is_tried_again() {
        for errno in [Errno::MFILE, Errno::ACCESS, Errno::STALE] {
            assert!(matches!(unreadable(errno.into()), Fault::Passing(_)), "{errno:?}");
        }
        for errno in [Errno::NOENT, Errno::IO, Errno::ISDIR] {
            assert!(matches!(unreadable(errno.into()), Fault::Damage(_)), "{errno:?}");
        }
    }
}
