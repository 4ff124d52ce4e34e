//! Files are opened so that nothing in their place can block us or fill the memory.
//!
//! What lies in a snapshot may be anything: a FIFO would block whoever opens it, a device do something when it is opened, a
//! directory or `/dev/zero` never end. So only regular files are opened, and no more of one is read than its limit.

use std::fs::File;
use std::io::{self, Read, Take};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

/// How many bytes a file may have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit {
    pub(crate) bytes: u64,
    /// What sets the limit, for the message.
    pub(crate) name: &'static str,
}

/// Opens a regular file that keeps to its limit. What is said to be wrong speaks of the file.
pub(crate) fn open(path: &Path, limit: Limit) -> Result<Take<File>, String> {
    let unreadable = |error: io::Error| format!("cannot be read: {error}");
    // Asked before it is opened, since opening alone can have an effect; and once more of what was opened, since it may have
    // been exchanged in between, against which the flag helps.
    check(&std::fs::metadata(path).map_err(unreadable)?, limit)?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let opened = rustix::fs::open(path, flags, Mode::empty()).map_err(io::Error::from);
    let file = opened.map(File::from).map_err(unreadable)?;
    check(&file.metadata().map_err(unreadable)?, limit)?;
    Ok(file.take(limit.bytes))
}

fn check(metadata: &std::fs::Metadata, limit: Limit) -> Result<(), String> {
    if !metadata.is_file() {
        return Err("is no regular file".to_owned());
    }
    let (bytes, Limit { bytes: most, name }) = (metadata.len(), limit);
    if bytes > most {
        return Err(format!("has {bytes} bytes, more than {name} = {most} allows"));
    }
    Ok(())
}
