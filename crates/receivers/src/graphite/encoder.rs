//! A whole batch as lines, made when they are read and as they are read: they are ten times the
//! size of the batch, so that nobody should hold them all.

use std::collections::VecDeque;
use std::io::{self, BufRead, Read};

use model::{Batch, BatchCursor, Cursor, SnapshotId, Table, form};

use super::collisions::Collisions;
use super::lines::RowLines;
use super::paths::Paths;
use super::survey::{Names, Survey, Warning, count_lines};
use crate::Lines;

/// Bytes that are made at once: with the row that passes it a chunk is still one write of 256 KiB.
const CHUNK_BYTES: usize = 240 * 1024;

/// Makes the lines of a batch from its tables, of which it holds one at a time.
///
/// The rows whose names lead to one path are joined; their lines come last.
#[derive(Debug)]
pub struct Encoder<'a, C> {
    cursor: C,
    lines: RowLines<'a>,
    collisions: Collisions,
    warnings: Vec<Warning>,
    names: Names,
    /// The next row of the table that the cursor is at, or of the first of `joined`.
    row: usize,
    /// Rows that were joined in this pass over the batch, as tables.
    joined: VecDeque<Table>,
    chunk: Vec<u8>,
    /// How much of the chunk was read.
    read: usize,
}

impl<'a, C: Cursor> Encoder<'a, C> {
    /// Goes through the batch once for its names.
    ///
    /// # Errors
    ///
    /// The batch is damaged or cannot be read.
    pub fn new(paths: &'a Paths, id: &SnapshotId, mut cursor: C) -> Result<Self, form::Error> {
        let survey = Survey::of(&mut cursor)?;
        cursor.rewind()?;
        Ok(Self {
            cursor,
            lines: RowLines::new(paths, id),
            warnings: survey.warnings(),
            collisions: survey.into_collisions(),
            names: Names::default(),
            row: 0,
            joined: VecDeque::new(),
            chunk: Vec::with_capacity(CHUNK_BYTES + CHUNK_BYTES / 8),
            read: 0,
        })
    }

    /// What was found about names. All of it is known once all lines are read.
    pub fn take_warnings(&mut self) -> Vec<Warning> {
        self.warnings.extend(self.collisions.take_warnings());
        std::mem::take(&mut self.warnings)
    }

    /// Makes the next chunk; it stays empty behind the last line.
    fn refill(&mut self) -> Result<(), form::Error> {
        self.chunk.clear();
        self.read = 0;
        while self.chunk.len() < CHUNK_BYTES {
            if !self.push_row() && !self.go_on()? {
                break;
            }
        }
        Ok(())
    }

    /// Appends the lines of the next row; false behind the last row of a table.
    fn push_row(&mut self) -> bool {
        let is_joined = !self.joined.is_empty();
        let table = self.joined.front().or_else(|| self.cursor.current());
        let Some(table) = table.filter(|table| self.row < table.names.len()) else { return false };
        self.names.take(table, self.row);
        if is_joined || is_alone(table, self.row, &mut self.names, &mut self.collisions) {
            self.lines.push_row(table, self.row, self.names.clean(), &mut self.chunk);
        }
        self.row += 1;
        true
    }

    /// Goes to the next table, be it joined or of the batch; false behind the last one.
    fn go_on(&mut self) -> Result<bool, form::Error> {
        self.row = 0;
        if self.joined.pop_front().is_none() {
            if self.cursor.advance()? {
                if let Some(table) = self.cursor.current() {
                    self.lines.begin_table(table);
                    self.collisions.begin_table(table);
                }
                return Ok(true);
            }
            self.joined = self.collisions.take_joined().into();
        }
        if let Some(table) = self.joined.front() {
            self.lines.begin_table(table);
            return Ok(true);
        }
        self.collisions.next_pass();
        if self.collisions.is_empty() {
            return Ok(false);
        }
        self.cursor.rewind()?;
        Ok(true)
    }
}

/// Whether the lines of a row of the batch are to be made now. A row that shares its path is joined
/// instead, in this pass over the batch or in another.
fn is_alone(table: &Table, row: usize, names: &mut Names, collisions: &mut Collisions) -> bool {
    if collisions.is_empty() || table.names.labels() == 0 {
        return collisions.is_first_pass();
    }
    let hash = names.hash(table.kind);
    if collisions.is_shared_now(hash) {
        collisions.join(table, row, hash, names);
        return false;
    }
    collisions.is_first_pass() && !collisions.is_shared(hash)
}

impl<C: Cursor> BufRead for Encoder<'_, C> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.read >= self.chunk.len() {
            self.refill().map_err(io_error)?;
        }
        Ok(self.chunk.get(self.read..).unwrap_or_default())
    }

    fn consume(&mut self, count: usize) {
        self.read += count;
    }
}

impl<C: Cursor> Read for Encoder<'_, C> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let mut chunk = self.fill_buf()?;
        let count = chunk.read(room)?;
        self.consume(count);
        Ok(count)
    }
}

fn io_error(error: form::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// Appends all lines of some tables and returns what was found about their names.
pub fn encode(tables: &[Table], paths: &Paths, id: &SnapshotId, out: &mut Vec<u8>) -> Vec<Warning> {
    // Tables in memory can always be read.
    let Ok(mut encoder) = Encoder::new(paths, id, BatchCursor::over(tables)) else {
        return Vec::new();
    };
    while let Ok(chunk) = encoder.fill_buf()
        && !chunk.is_empty()
    {
        out.extend_from_slice(chunk);
        let count = chunk.len();
        encoder.consume(count);
    }
    encoder.take_warnings()
}

/// The lines of a batch in memory as [`Lines`].
#[derive(Debug)]
pub struct BatchLines<'a> {
    batch: &'a Batch,
    paths: &'a Paths,
}

impl<'a> BatchLines<'a> {
    /// The lines of all tables of `batch`.
    #[must_use]
    pub const fn new(batch: &'a Batch, paths: &'a Paths) -> Self {
        Self { batch, paths }
    }

    /// How many lines there are, double writes included.
    #[must_use]
    pub fn count(&self) -> u64 {
        if !self.paths.double_writes() {
            return count_lines(&self.batch.tables).0.total();
        }
        let mut lines = Vec::new();
        encode(&self.batch.tables, self.paths, &self.batch.id, &mut lines);
        lines.iter().filter(|byte| **byte == b'\n').count() as u64
    }
}

impl Lines for BatchLines<'_> {
    fn bytes(&self) -> Option<u64> {
        None
    }

    fn open(&self) -> io::Result<Box<dyn BufRead + '_>> {
        let cursor = BatchCursor::new(self.batch);
        let encoder = Encoder::new(self.paths, &self.batch.id, cursor).map_err(io_error)?;
        Ok(Box::new(encoder))
    }
}
