//! What is wrong or odd in a file of `show stat`.

use std::path::Path;

use crate::findings::{self, Damage, Oddity};

/// The findings about a file.
#[derive(Debug, Default)]
pub(crate) struct FileReport {
    /// How many rows could not be used, and the reason for the first.
    pub(crate) rows: Option<(usize, String)>,
    /// How many cells are no number, and the first of them.
    pub(crate) cells: Option<(usize, String)>,
    /// How many gauges are below zero, and the first of them.
    pub(crate) below_zero: Option<(usize, String)>,
    /// Whether the file has a row after the header.
    pub(crate) has_rows: bool,
    /// Whether a row could be used.
    pub(super) is_used: bool,
    /// How many more rows the snapshot can have.
    pub(super) room: usize,
}

impl FileReport {
    #[cold]
    pub(super) fn bad_row(&mut self, why: impl FnOnce() -> String) {
        self.rows.get_or_insert_with(|| (0, why())).0 += 1;
    }

    #[cold]
    pub(super) fn bad_cell(&mut self, field: &str, cell: &[u8]) {
        let first =
            || format!("{field} is {:?}", String::from_utf8_lossy(&cell[..cell.len().min(40)]));
        self.cells.get_or_insert_with(|| (0, first())).0 += 1;
    }

    /// Whether a row could be used, or the file has no rows, which is no damage.
    pub(crate) const fn is_usable(&self) -> bool {
        self.is_used || !self.has_rows
    }

    /// The damage of the file, if any.
    pub(crate) fn damage(&self, path: &Path) -> Option<Damage> {
        let rows = self
            .rows
            .as_ref()
            .map(|(count, why)| format!("{count} rows left out, the first since {why}"));
        let cells = self
            .cells
            .as_ref()
            .map(|(count, first)| format!("{count} cells are no numbers, the first: {first}"));
        let (state, reason) = match (rows, cells) {
            (None, None) => return None,
            (Some(rows), None) => (findings::OF_ROWS, rows),
            (None, Some(cells)) => (findings::OF_CELLS, cells),
            (Some(rows), Some(cells)) => (findings::OF_ROWS_AND_CELLS, format!("{rows}; {cells}")),
        };
        Some(Damage { path: path.to_owned(), state, reason })
    }

    /// The oddities of an endpoint's file.
    pub(crate) fn oddities(&self, endpoint: &str) -> impl Iterator<Item = Oddity> {
        let empty = (!self.has_rows).then(|| {
            let text = "its answer to show stat has a header and no rows: nothing of it counts";
            Oddity::new(endpoint, "no rows", text)
        });
        let below_zero = self.below_zero.as_ref().map(|(count, first)| {
            let text =
                format!("{count} gauges are below zero and count as no value, the first: {first}");
            Oddity::new(endpoint, "gauge below zero", text)
        });
        empty.into_iter().chain(below_zero)
    }

    pub(super) fn gauge_below_zero(&mut self, field: &str, cell: &[u8]) {
        let first = || format!("{field} is {}", String::from_utf8_lossy(cell));
        self.below_zero.get_or_insert_with(|| (0, first())).0 += 1;
    }
}
