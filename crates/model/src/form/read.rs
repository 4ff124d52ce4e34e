//! Reads a batch group by group.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;

use super::{
    Error, GROUP_MAX_BYTES, GROUP_PRELUDE_BYTES, HEADER_MAX_BYTES, Header, MAGIC, PRELUDE_BYTES,
    Place, VERSION, group, group_crc,
};
use crate::{Batch, Cursor, Table};

/// Reads a batch, one verified row group at a time.
///
/// A batch is whole if [`advance`](Self::advance) returns false and no error before.
///
/// ```
/// use haproxystats_model::form::{self, Reader};
/// use haproxystats_model::{Batch, Column, Nature, SnapshotId, Table, TableKind, Timestamp};
///
/// let tasks = Column::integers("Tasks", Nature::Gauge, None, [Some(3)]);
/// let batch = Batch {
///     id: SnapshotId { origin: "lb1".into(), timestamp: Timestamp::of_seconds(17), serial: 0 },
///     tables: vec![Table::of_one_row(TableKind::Daemon, vec![tasks])],
/// };
/// let mut bytes = Vec::new();
/// form::write(&batch, &mut bytes)?;
///
/// let mut reader = Reader::new(bytes.as_slice())?;
/// assert_eq!(reader.header().points, 1);
/// assert!(reader.advance()?);
/// assert_eq!(reader.current(), batch.tables.first());
/// assert!(!reader.advance()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    version: u32,
    header: Header,
    /// The position of the first group.
    begin: u64,
    /// How many groups were read.
    groups: u32,
    /// How many values were present in the groups that were read.
    points: u64,
    body: Vec<u8>,
    table: Option<Table>,
}

impl<R: Read> Reader<R> {
    /// Reads the header.
    ///
    /// # Errors
    ///
    /// The header is damaged, cut or of a newer program, or cannot be read.
    pub fn new(mut input: R) -> Result<Self, Error> {
        let place = Place::Header;
        let damaged = |what| Error::Damaged { place, what };
        let mut prelude = [0; PRELUDE_BYTES];
        fill(&mut input, &mut prelude, place)?;
        let (checked, crc) = prelude.split_at(PRELUDE_BYTES - 4);
        if !checked.starts_with(&MAGIC) {
            return Err(damaged("it does not begin as a batch does"));
        }
        if number_at(crc, 0) != crc32fast::hash(checked) {
            return Err(damaged("its first bytes do not match their checksum"));
        }
        let [version, length, crc] = [8, 12, 16].map(|at| number_at(checked, at));
        // Checked before the length, because a newer version may allow a longer header.
        if version > VERSION {
            return Err(Error::Newer { version });
        }
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > HEADER_MAX_BYTES {
            return Err(damaged("it is longer than a header may be"));
        }
        let mut json = vec![0; length];
        fill(&mut input, &mut json, place)?;
        if crc32fast::hash(&json) != crc {
            return Err(damaged("it does not match its checksum"));
        }
        let header = match version {
            1 | 2 => serde_json::from_slice(&json).map_err(|_| damaged("it is no header"))?,
            _ => return Err(damaged("there is no such version")),
        };
        let begin = (PRELUDE_BYTES + length) as u64;
        let (body, table) = (Vec::new(), None);
        Ok(Self { input, version, header, begin, groups: 0, points: 0, body, table })
    }

    /// The header.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// The rows of the group that [`advance`](Self::advance) has read.
    #[must_use]
    pub const fn current(&self) -> Option<&Table> {
        self.table.as_ref()
    }

    /// Reads the next group; false after the last one.
    ///
    /// # Errors
    ///
    /// The group is damaged or cut, or cannot be read.
    pub fn advance(&mut self) -> Result<bool, Error> {
        self.table = None;
        if self.groups == self.header.groups {
            return self.end();
        }
        let number = self.groups + 1;
        let place = Place::Group { number, of: self.header.groups };
        let damaged = |what| Error::Damaged { place, what };
        let mut prelude = [0; GROUP_PRELUDE_BYTES];
        fill(&mut self.input, &mut prelude, place)?;
        let (checked, crc) = prelude.split_at(GROUP_PRELUDE_BYTES - 4);
        if number_at(crc, 0) != group_crc(number, checked) {
            return Err(damaged("its length or its place does not match its checksum"));
        }
        let [length, crc] = [0, 4].map(|at| number_at(checked, at));
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > GROUP_MAX_BYTES {
            return Err(damaged("it is longer than a row group may be"));
        }
        self.body.resize(length, 0);
        fill(&mut self.input, &mut self.body, place)?;
        if crc32fast::hash(&self.body) != crc {
            return Err(damaged("it does not match its checksum"));
        }
        let table = match self.version {
            1 | 2 => group::read(&self.body).map_err(damaged)?,
            _ => return Err(damaged("there is no such version")),
        };
        self.groups = number;
        self.points = self.points.saturating_add(table.points() as u64);
        self.table = Some(table);
        Ok(true)
    }

    /// Reads all groups that are left.
    ///
    /// # Errors
    ///
    /// A group is damaged or cut, or cannot be read.
    pub fn into_batch(mut self) -> Result<Batch, Error> {
        let mut tables = Vec::new();
        while self.advance()? {
            tables.extend(self.table.take());
        }
        Ok(Batch { id: self.header.id, tables })
    }

    fn end(&mut self) -> Result<bool, Error> {
        let place = Place::End;
        if self.points != self.header.points {
            let what = "the row groups hold another number of values than the header says";
            return Err(Error::Damaged { place, what });
        }
        match fill(&mut self.input, &mut [0], place) {
            Err(Error::Truncated { .. }) => Ok(false),
            Err(error) => Err(error),
            Ok(()) => Err(Error::Damaged { place, what: "there are more bytes" }),
        }
    }
}

impl<R: Read + Seek> Cursor for Reader<R> {
    fn rewind(&mut self) -> Result<(), Error> {
        let sought = self.input.seek(SeekFrom::Start(self.begin));
        sought.map_err(|source| Error::Io { place: Place::Header, source })?;
        (self.groups, self.points, self.table) = (0, 0, None);
        Ok(())
    }

    fn advance(&mut self) -> Result<bool, Error> {
        self.advance()
    }

    fn current(&self) -> Option<&Table> {
        self.current()
    }
}

fn fill(input: &mut impl Read, room: &mut [u8], place: Place) -> Result<(), Error> {
    input.read_exact(room).map_err(|source| match source.kind() {
        ErrorKind::UnexpectedEof => Error::Truncated { place },
        _ => Error::Io { place, source },
    })
}

fn number_at(bytes: &[u8], at: usize) -> u32 {
    let number = bytes.get(at..).and_then(<[u8]>::first_chunk);
    number.map_or(0, |number| u32::from_le_bytes(*number))
}

/// A reader of a file with a position of its own. The processes that got one memfd share the file's
/// position, so each of them would move it for the others.
#[derive(Debug)]
pub struct FileView<'a> {
    file: &'a File,
    at: u64,
}

impl<'a> FileView<'a> {
    /// Starts at the beginning of `file`, whatever the position of `file` is.
    #[must_use]
    pub const fn new(file: &'a File) -> Self {
        Self { file, at: 0 }
    }
}

impl Read for FileView<'_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(room, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

impl Seek for FileView<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.file.metadata()?.len().checked_add_signed(by),
        };
        self.at = at.ok_or(ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}
