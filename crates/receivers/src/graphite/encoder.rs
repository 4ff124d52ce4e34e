//! The lines of a whole batch, made while they are read: all of them together would take ten times
//! the memory of the batch.

use std::collections::VecDeque;
use std::io::{self, BufRead, Read};

use model::{BatchCursor, Cursor, SnapshotId, Table, form};

use super::collisions::Collisions;
use super::lines::RowLines;
use super::paths::Paths;
use super::survey::{CleanNames, Survey, Warning};

/// A chunk ends after the row that reaches this size, so that it still fits a write of 256 KiB.
const CHUNK_BYTES: usize = 240 * 1024;

/// Makes the lines of a batch from its tables, of which it has one in memory at a time.
///
/// Rows that share a path are joined; their lines come last.
#[derive(Debug)]
pub struct Encoder<'a, C> {
    cursor: C,
    lines: RowLines<'a>,
    collisions: Collisions,
    warnings: Vec<Warning>,
    names: CleanNames,
    /// The next row of the first table of `joined`, or else of the cursor's table.
    row: usize,
    /// The rows that were joined in this pass over the batch.
    joined: VecDeque<Table>,
    chunk: Vec<u8>,
    /// How many bytes of the chunk were read.
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
            names: CleanNames::default(),
            row: 0,
            joined: VecDeque::new(),
            chunk: Vec::with_capacity(CHUNK_BYTES + CHUNK_BYTES / 8),
            read: 0,
        })
    }

    /// The warnings about names. They are complete once all lines are read.
    pub fn take_warnings(&mut self) -> Vec<Warning> {
        self.warnings.extend(self.collisions.take_warnings());
        std::mem::take(&mut self.warnings)
    }

    /// Makes the next chunk; it stays empty after the last line.
    fn refill(&mut self) -> Result<(), form::Error> {
        self.chunk.clear();
        self.read = 0;
        while self.chunk.len() < CHUNK_BYTES {
            if !self.push_row() && !self.next_table()? {
                break;
            }
        }
        Ok(())
    }

    /// Appends the lines of the next row; false after the last row of a table.
    fn push_row(&mut self) -> bool {
        let is_joined = !self.joined.is_empty();
        let Some(table) = self.joined.front().or_else(|| self.cursor.current()) else {
            return false;
        };
        if self.row >= table.names.len() {
            return false;
        }
        self.names.read(table, self.row);
        if is_joined || !join_shared(table, self.row, &mut self.names, &mut self.collisions) {
            self.lines.push_row(table, self.row, self.names.clean(), &mut self.chunk);
        }
        self.row += 1;
        true
    }

    /// Goes to the next table, of the joined rows or of the batch; false after the last one.
    fn next_table(&mut self) -> Result<bool, form::Error> {
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

/// Joins a row if it shares a path that is joined in this pass. Returns true if this pass must not
/// make the row's lines: it shares a path, or an earlier pass made them.
fn join_shared(
    table: &Table,
    row: usize,
    names: &mut CleanNames,
    collisions: &mut Collisions,
) -> bool {
    if collisions.is_empty() || table.names.labels() == 0 {
        return !collisions.is_first_pass();
    }
    let hash = names.hash(table.kind);
    if collisions.is_shared_now(hash) {
        collisions.join(table, row, hash, names);
        return true;
    }
    !collisions.is_first_pass() || collisions.is_shared(hash)
}

impl<C: Cursor> BufRead for Encoder<'_, C> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.read >= self.chunk.len() {
            let invalid_data = |error| io::Error::new(io::ErrorKind::InvalidData, error);
            self.refill().map_err(invalid_data)?;
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

/// Appends all lines of some tables and returns the warnings about their names.
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
