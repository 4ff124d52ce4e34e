//! A cursor over the tables of a batch, in memory or in its form.

use crate::{Batch, Table, form};

/// Visits the tables of a batch one after the other, several times if needed. A large table can
/// come in pieces, each with some of its rows.
///
/// An encoder takes a cursor and not a batch, so that it needs the memory of one piece only.
pub trait Cursor {
    /// Goes back before the first table.
    ///
    /// # Errors
    ///
    /// The batch cannot be read.
    fn rewind(&mut self) -> Result<(), form::Error>;

    /// Goes to the next table; false after the last one.
    ///
    /// # Errors
    ///
    /// The batch is damaged or cannot be read.
    fn advance(&mut self) -> Result<bool, form::Error>;

    /// The table that the last [`advance`](Self::advance) went to.
    fn current(&self) -> Option<&Table>;
}

/// A cursor over a batch in memory.
///
/// ```
/// use haproxystats_model::{Batch, BatchCursor, Cursor, SnapshotId, Table, TableKind, Timestamp};
///
/// let id = SnapshotId { origin: "lb1".into(), timestamp: Timestamp::of_seconds(17), serial: 0 };
/// let tables = vec![Table::of_one_row(TableKind::Own, vec![])];
/// let batch = Batch { id, tables };
/// let mut cursor = BatchCursor::new(&batch);
/// assert!(cursor.advance()?);
/// assert_eq!(cursor.current(), batch.tables.first());
/// assert!(!cursor.advance()?);
/// # Ok::<(), haproxystats_model::form::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct BatchCursor<'a> {
    tables: &'a [Table],
    /// How many tables the cursor has visited.
    visited: usize,
}

impl<'a> BatchCursor<'a> {
    /// Before the first table of `batch`.
    #[must_use]
    pub fn new(batch: &'a Batch) -> Self {
        Self::over(&batch.tables)
    }

    /// Before the first of some tables.
    #[must_use]
    pub const fn over(tables: &'a [Table]) -> Self {
        Self { tables, visited: 0 }
    }
}

impl Cursor for BatchCursor<'_> {
    fn rewind(&mut self) -> Result<(), form::Error> {
        self.visited = 0;
        Ok(())
    }

    fn advance(&mut self) -> Result<bool, form::Error> {
        self.visited = self.visited.saturating_add(1);
        Ok(self.visited <= self.tables.len())
    }

    fn current(&self) -> Option<&Table> {
        self.tables.get(self.visited.checked_sub(1)?)
    }
}
