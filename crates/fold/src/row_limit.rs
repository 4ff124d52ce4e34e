//! Rows that are left out after the fold, so that all sums stay complete.

use model::{Names, Table};

/// Keeps the rows whose flag is true.
pub(crate) fn keep_rows(table: &mut Table, keep: &[bool]) {
    let mut names = Names::new(&table.kind);
    for row in (0..table.names.len()).filter(|row| keep[*row]) {
        let labels: Vec<_> = table.names.row(row).collect();
        names.push(&labels);
    }
    table.names = names;
    for column in &mut table.columns {
        column.keep_rows(keep);
    }
}
