//! Columns that the catalogue lacks: they join the plan where `all` is configured, and may hold
//! texts.

use std::collections::HashMap;
use std::sync::Arc;

use model::{Nature, catalog};

use super::{BELOW_ZERO, FileReport, Rows, bounds};
use crate::cells::{self, Cells};
use crate::columns::{NEW_COLUMNS_MAX, Planned};
use crate::rows::Row;

/// Which new columns join a plan.
#[derive(Debug, Clone, Default)]
pub(crate) struct Joining {
    /// The names that `all` leaves out; `None` without `all`, and then no column joins.
    pub(crate) all_except: Option<Vec<String>>,
    /// The natures of the snapshot.
    pub(crate) natures: HashMap<String, Nature>,
    /// How many columns of the file with the most new ones did not join, because of the bound.
    pub(crate) surplus: usize,
}

impl Rows {
    /// Adds the columns of a header that the plan lacks, if `all` is configured.
    pub(super) fn join_new(&mut self, header: &[&str]) {
        let Some(except) = &self.joining.all_except else { return };
        let mut joined = self.plan.iter().filter(|planned| planned.is_new).count();
        let mut surplus = 0;
        for name in header {
            let is_planned = |planned: &Planned| &*planned.name == *name;
            if catalog::is_field(name)
                || !catalog::is_name(name)
                || except.iter().any(|left_out| left_out == name)
                || self.plan.iter().any(is_planned)
            {
                continue;
            }
            let Some(planned) = Planned::new_column(Arc::from(*name), &self.joining.natures) else {
                continue;
            };
            if joined == NEW_COLUMNS_MAX {
                surplus += 1;
                continue;
            }
            joined += 1;
            self.plan.push(planned);
            self.columns.push(Cells::default());
            self.seen.push(false);
        }
        self.joining.surplus = self.joining.surplus.max(surplus);
    }

    /// Appends the cells of new columns. An empty cell is no value, because the column may be of
    /// another kind of rows.
    pub(super) fn push_new(&mut self, row: Row<'_>, at: u32, report: &mut FileReport) {
        for &(cell, column) in &self.new_targets {
            let (begin, end) = bounds(row, cell);
            let cells = &mut self.columns[column];
            if begin == end {
                cells.push_null();
                continue;
            }
            let (text, planned) = (&row.text[begin..end], &self.plan[column]);
            match cells::digits(row.text, begin, end).map(i128::from).or_else(|| cells::other(text))
            {
                Some(value) if planned.nature.is_gauge() && BELOW_ZERO.contains(&value) => {
                    report.gauge_below_zero(&planned.name, text);
                    cells.push_null();
                }
                Some(value) => cells.push_wide(value),
                None => {
                    if self.texts.iter().all(|(name, _)| *name != planned.name) {
                        self.texts.push((Arc::clone(&planned.name), at));
                    }
                    cells.push_null();
                }
            }
        }
    }
}
