//! The text of a batch in a format that has a line for each row.

use std::io::{self, BufRead, Read};

use model::{Cursor, Table, form};

/// A chunk ends after the row that reaches this size.
const CHUNK_BYTES: usize = 240 * 1024;

/// A format with a line for each row.
pub trait RowFormat {
    /// Prepares for the rows of a table.
    fn begin_table(&mut self, table: &Table);

    /// Appends the line of a row with its line feed; nothing if the row has no value.
    fn push_row(&mut self, table: &Table, row: usize, out: &mut Vec<u8>);
}

/// Makes the lines of a batch from its tables, of which it has one in memory at a time.
#[derive(Debug)]
pub struct RowEncoder<C, F> {
    cursor: C,
    format: F,
    /// The next row of the cursor's table.
    row: usize,
    chunk: Vec<u8>,
    /// How many bytes of the chunk were read.
    read: usize,
}

impl<C: Cursor, F: RowFormat> RowEncoder<C, F> {
    /// Before the first line.
    ///
    /// # Errors
    ///
    /// The batch cannot be read.
    pub fn new(mut cursor: C, format: F) -> Result<Self, form::Error> {
        cursor.rewind()?;
        let chunk = Vec::with_capacity(CHUNK_BYTES + CHUNK_BYTES / 8);
        Ok(Self { cursor, format, row: 0, chunk, read: 0 })
    }

    fn refill(&mut self) -> Result<(), form::Error> {
        self.chunk.clear();
        self.read = 0;
        while self.chunk.len() < CHUNK_BYTES {
            if let Some(table) = self.cursor.current()
                && self.row < table.names.len()
            {
                self.format.push_row(table, self.row, &mut self.chunk);
                self.row += 1;
                continue;
            }
            if !self.cursor.advance()? {
                break;
            }
            self.row = 0;
            if let Some(table) = self.cursor.current() {
                self.format.begin_table(table);
            }
        }
        Ok(())
    }
}

impl<C: Cursor, F: RowFormat> BufRead for RowEncoder<C, F> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.read >= self.chunk.len() {
            let damaged = |error| io::Error::new(io::ErrorKind::InvalidData, error);
            self.refill().map_err(damaged)?;
        }
        Ok(self.chunk.get(self.read..).unwrap_or_default())
    }

    fn consume(&mut self, count: usize) {
        self.read += count;
    }
}

impl<C: Cursor, F: RowFormat> Read for RowEncoder<C, F> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let mut chunk = self.fill_buf()?;
        let count = chunk.read(room)?;
        self.consume(count);
        Ok(count)
    }
}
