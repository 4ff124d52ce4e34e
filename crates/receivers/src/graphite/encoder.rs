//! The lines of a whole batch, made while they are read.

use std::collections::VecDeque;
use std::io::BufRead;

use model::{BatchCursor, Cursor, SnapshotId, Table, form};

use super::collisions::Collisions;
use super::lines::RowLines;
use super::paths::Paths;
use super::survey::{CleanNames, Survey, Warning};
use crate::Loss;
use crate::chunks::{ChunkReader, RowSource};

/// Makes the lines of a batch from its tables, of which it has one in memory at a time.
///
/// Rows that share a path are joined; their lines come last.
pub type Encoder<'a, C> = ChunkReader<GraphiteRows<'a, C>>;

/// The rows of a batch as Graphite's lines.
#[derive(Debug)]
pub struct GraphiteRows<'a, C> {
    cursor: C,
    lines: RowLines<'a>,
    collisions: Collisions,
    warnings: Vec<Warning>,
    names: CleanNames,
    /// The next row of the first table of `joined`, or else of the cursor's table.
    row: usize,
    /// The rows that were joined in this pass over the batch.
    joined: VecDeque<Table>,
}

impl<'a, C: Cursor> Encoder<'a, C> {
    /// Goes through the batch once for its names.
    ///
    /// # Errors
    ///
    /// The batch is damaged or cannot be read.
    pub fn new(paths: &'a Paths, id: &SnapshotId, mut cursor: C) -> Result<Self, form::Error> {
        let survey = Survey::of(&mut cursor, paths.spelling())?;
        cursor.rewind()?;
        Ok(Self::of(GraphiteRows {
            cursor,
            lines: RowLines::new(paths, id),
            warnings: survey.warnings(),
            collisions: survey.into_collisions(),
            names: CleanNames::new(paths.spelling()),
            row: 0,
            joined: VecDeque::new(),
        }))
    }

    /// The warnings about names. They are complete once all lines are read.
    pub fn take_warnings(&mut self) -> Vec<Warning> {
        let rows = &mut self.source;
        rows.warnings.extend(rows.collisions.take_warnings());
        std::mem::take(&mut rows.warnings)
    }
}

impl<C: Cursor> RowSource for GraphiteRows<'_, C> {
    fn push_next(&mut self, chunk: &mut Vec<u8>) -> Result<bool, form::Error> {
        Ok(self.push_row(chunk) || self.next_table()?)
    }

    fn long_lines(&self) -> Loss {
        self.lines.long_lines().clone()
    }
}

impl<C: Cursor> GraphiteRows<'_, C> {
    /// Appends the lines of the next row; false after the last row of a table.
    fn push_row(&mut self, chunk: &mut Vec<u8>) -> bool {
        let is_joined = !self.joined.is_empty();
        let Some(table) = self.joined.front().or_else(|| self.cursor.current()) else {
            return false;
        };
        if self.row >= table.names.len() {
            return false;
        }
        self.names.read(table, self.row);
        if is_joined || !join_shared(table, self.row, &mut self.names, &mut self.collisions) {
            self.lines.push_row(table, self.row, self.names.clean(), chunk);
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
    let hash = names.hash(&table.kind);
    if collisions.is_shared_now(hash) {
        collisions.join(table, row, hash, names);
        return true;
    }
    !collisions.is_first_pass() || collisions.is_shared(hash)
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
