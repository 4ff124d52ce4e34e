//! Servers that are left out after the fold, so that all sums stay complete.

use std::collections::HashMap;

use model::{Names, Table};

use crate::findings::Oddity;

/// Keeps the rows whose flag is true.
pub(crate) fn keep_rows(table: &mut Table, keep: &[bool]) {
    let mut names = Names::new(table.kind);
    for row in (0..table.names.len()).filter(|row| keep[*row]) {
        let labels: Vec<_> = table.names.row(row).collect();
        names.push(&labels);
    }
    table.names = names;
    for column in &mut table.columns {
        column.keep_rows(keep);
    }
}

/// Leaves out the servers of backends with more than `most`, and returns how many those are.
pub(crate) fn leave_out_large_backends(
    table: &mut Table,
    most: usize,
    oddities: &mut Vec<Oddity>,
) -> u64 {
    let backends = || (0..table.names.len()).map(|row| table.names.label(row, 0));
    let mut sizes: HashMap<Option<&str>, usize> = HashMap::new();
    for backend in backends() {
        *sizes.entry(backend).or_default() += 1;
    }
    let mut large: Vec<_> = sizes.iter().filter(|(_, size)| **size > most).collect();
    large.sort_unstable();
    for (backend, size) in &large {
        let text = format!(
            "its {size} servers are left out, because max-servers-per-backend is {most}; its own \
             metrics and TotalServers stay"
        );
        oddities.push(Oddity::new(backend.unwrap_or_default(), "too many servers", text));
    }
    let left_out = large.iter().map(|(_, size)| **size as u64).sum();
    if left_out > 0 {
        let is_small = |backend| sizes.get(&backend).is_none_or(|size| *size <= most);
        let keep: Vec<_> = backends().map(is_small).collect();
        keep_rows(table, &keep);
    }
    left_out
}
