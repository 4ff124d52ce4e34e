//! The form of a batch: its bytes between processes and in an outbox.
//!
//! **Layout.** A prelude, a header, then row groups. Numbers are little-endian.
//!
//! | part | bytes |
//! |---|---|
//! | prelude | magic (8), version (4), length (4) and CRC (4) of the header, CRC of all that (4) |
//! | header | JSON: the [`SnapshotId`], how many values are present, how many row groups follow |
//! | row group | length (4) and CRC (4) of its body, CRC of its number and those two (4), body |
//!
//! A row group has some rows of one table with all columns, so that it can be used without the
//! other groups. Its body has the kind of the table, the numbers of rows and columns, then the
//! names (each once, not once per column), then column by column: name, nature, fold, which rows
//! have a value, and the values as an array. The whole numbers of a column take 1, 2, 4, 8 or 16
//! bytes each, as many as the largest needs.
//!
//! **Checks.** A CRC (32 bits, as in gzip) covers every byte. A group is verified before it is
//! used, so no byte of a damaged group leaves. The CRC covers the number of a group too, so that
//! swapped groups are found. After the last group the file must end, and the groups must have as
//! many values as the header says.
//!
//! **Bounds.** A group takes at most [`GROUP_MAX_BYTES`], also in memory. So a reader needs little
//! memory for a batch of any size, and it refuses a file with forged lengths before it allocates.
//!
//! **Versions.** The prelude is the same in all versions. A program reads its own version and all
//! older ones. It refuses a newer one with a message that says so, and does not touch the file.
//! Version 2 has tables of other sources than HAProxy, each with its [`Layout`](crate::Layout), and
//! numbers in the text of their source; a batch without both is written in version 1, which older
//! programs read.

mod arrays;
mod group;
mod read;
#[cfg(test)]
mod tests;
mod write;

use std::fmt;
use std::io;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::SnapshotId;

pub use read::{FileView, Reader};
pub use write::write;

/// The newest version.
pub const VERSION: u32 = 2;
/// Bytes that a row group may have, on disk and in memory.
pub const GROUP_MAX_BYTES: usize = 1 << 20;
/// Bytes of memory of a row group that is written, unless one row takes more. An encoder goes
/// through all columns of a group at once, so the group should fit the second-level cache.
pub const GROUP_BYTES: usize = 96 << 10;
/// Bytes of a header: an origin and a few numbers.
pub const HEADER_MAX_BYTES: usize = 64 << 10;

const MAGIC: [u8; 8] = *b"HPSTATS\n";
const PRELUDE_BYTES: usize = 24;
const GROUP_PRELUDE_BYTES: usize = 12;

/// The facts about a batch that come before its groups.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The snapshot that was folded.
    pub id: SnapshotId,
    /// How many values are present.
    pub points: u64,
    /// How many row groups follow.
    pub groups: u32,
}

/// A batch cannot be read.
#[derive(Debug, Error)]
pub enum Error {
    /// The bytes differ from those that were written.
    #[error("the batch is damaged in {place}: {what}")]
    Damaged {
        /// The damaged part.
        place: Place,
        /// The defect.
        what: &'static str,
    },
    /// The bytes end too early.
    #[error("the batch ends in {place}: it was cut")]
    Truncated {
        /// The part that is cut.
        place: Place,
    },
    /// A newer program wrote it.
    #[error(
        "the batch has form {version} and this program reads up to form {VERSION}: run the newer \
         haproxystats-process that wrote it, or move it away"
    )]
    Newer {
        /// The version of its form.
        version: u32,
    },
    /// The system refuses to read it.
    #[error("the batch cannot be read in {place}: {source}")]
    Io {
        /// The part that was read.
        place: Place,
        /// The system's error.
        source: io::Error,
    },
}

/// A part of a batch's form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The prelude or the header.
    Header,
    /// A row group, counted from 1.
    Group {
        /// The number of the group.
        number: u32,
        /// How many groups there are.
        of: u32,
    },
    /// After the last row group.
    End,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header => f.write_str("its header"),
            Self::Group { number, of } => write!(f, "row group {number} of {of}"),
            Self::End => f.write_str("what follows its last row group"),
        }
    }
}

/// The CRC of a row group's prelude, which covers the number of the group.
fn group_crc(number: u32, length_and_crc: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&number.to_le_bytes());
    crc.update(length_and_crc);
    crc.finalize()
}
