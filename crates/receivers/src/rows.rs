//! The text of a batch in a format that has a line for each row.

use model::{Cursor, Table, form};

use crate::chunks::{ChunkReader, RowSource};

/// A format with a line for each row.
pub trait RowFormat {
    /// Prepares for the rows of a table.
    fn begin_table(&mut self, table: &Table);

    /// Appends the line of a row with its line feed; nothing if the row has no value.
    fn push_row(&mut self, table: &Table, row: usize, out: &mut Vec<u8>);
}

/// Makes the lines of a batch from its tables, of which it has one in memory at a time.
pub type RowEncoder<C, F> = ChunkReader<FormattedRows<C, F>>;

/// The rows of a batch in a format.
#[derive(Debug)]
pub struct FormattedRows<C, F> {
    cursor: C,
    format: F,
    /// The next row of the cursor's table.
    row: usize,
}

impl<C: Cursor, F: RowFormat> RowEncoder<C, F> {
    /// Before the first line.
    ///
    /// # Errors
    ///
    /// The batch cannot be read.
    pub fn new(mut cursor: C, format: F) -> Result<Self, form::Error> {
        cursor.rewind()?;
        Ok(Self::of(FormattedRows { cursor, format, row: 0 }))
    }
}

impl<C: Cursor, F: RowFormat> RowSource for FormattedRows<C, F> {
    fn push_next(&mut self, chunk: &mut Vec<u8>) -> Result<bool, form::Error> {
        if let Some(table) = self.cursor.current()
            && self.row < table.names.len()
        {
            self.format.push_row(table, self.row, chunk);
            self.row += 1;
            return Ok(true);
        }
        if !self.cursor.advance()? {
            return Ok(false);
        }
        self.row = 0;
        if let Some(table) = self.cursor.current() {
            self.format.begin_table(table);
        }
        Ok(true)
    }
}
