//! Folds the rows of a code to one row, by polars' aggregations. Only this module has polars'
//! types.
//!
//! The codes group the rows already, so polars neither plans a query nor hashes a key. A folded
//! value is present only if at least one row has a value: a sum over no values is not 0, and a mean
//! over no values is no number. A mean is kept as its sum and the number of its rows. Sums of
//! 64-bit counters do not wrap: a column whose sum might is folded in 128 bits, without polars.

use std::sync::Arc;

use model::catalog::is_frozen;
use model::{Column, Fold, Integers, Nature, Values};
use polars::frame::group_by::{GroupsIdx, GroupsType};
use polars::polars_utils::idx_vec::IdxVec;
use polars::prelude::{Column as Series, Int64Chunked, IntoColumn, PolarsError};
use polars_arrow::bitmap::{Bitmap, MutableBitmap};
use polars_core::runtime::RAYON;

use crate::Error;
use crate::cells::{Cells, Halves};
use crate::columns::Planned;
use crate::stat::Rows;

/// CodedTable columns, with codes in place of names, ascending.
#[derive(Debug, Default)]
pub(crate) struct CodedTable {
    pub(crate) codes: Vec<u32>,
    pub(crate) columns: Vec<Column>,
}

impl CodedTable {
    /// The table with further columns.
    pub(crate) fn with(mut self, columns: Vec<Column>) -> Self {
        self.columns.extend(columns);
        self
    }
}

/// Polars rejected our input, which is a bug of ours.
#[derive(Debug, thiserror::Error)]
#[error("polars: {0}")]
struct FoldError(#[from] PolarsError);

/// The cells of one kind of rows, which can be folded by more than one set of codes.
#[derive(Debug)]
pub(crate) struct Frame {
    fields: Vec<Field>,
    /// The code of each row.
    pub(crate) codes: Vec<u32>,
}

#[derive(Debug)]
struct Field {
    name: Arc<str>,
    nature: Nature,
    cells: Data,
}

/// The cells of a field. The fold leaves out the rows with null.
#[derive(Debug)]
enum Data {
    /// A sum over all rows fits 64 bits.
    Narrow(Series),
    /// A sum over all rows might not fit 64 bits.
    Wide { halves: Halves, valid: Option<Bitmap> },
}

/// Runs `work` on polars' own thread. On any other thread polars would send each fold of a column
/// to its own thread and wait, which for a small snapshot takes more time than the sums.
pub fn on_polars_thread<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    RAYON.install(work)
}

impl Frame {
    /// Takes the columns that any file had. Sums and largest values can be folded from the same
    /// column, because neither leaves out rows that the other needs; other folds do.
    pub(crate) fn new(rows: Rows) -> Self {
        let height = rows.codes.len();
        let superseded = rows.superseded();
        let mut fields = Vec::with_capacity(rows.columns.len());
        for ((planned, mut cells), seen) in rows.plan.into_iter().zip(rows.columns).zip(rows.seen) {
            let Planned { name, fold, nature, is_new } = planned;
            if !seen || (is_new && rows.texts.iter().any(|(text, _)| *text == name)) {
                continue;
            }
            cells.pad(height);
            let frozen: &[u32] = if is_frozen(&name, nature) { &superseded } else { &[] };
            let valid = validity(&cells, fold, &rows.idle, frozen);
            let cells = match cells.halves(fold != Fold::Smallest) {
                Some(halves) => Data::Wide { halves, valid },
                None => Data::Narrow(
                    Int64Chunked::from_vec_validity((&*name).into(), cells.values, valid)
                        .into_column(),
                ),
            };
            fields.push(Field { name, nature, cells });
        }
        Self { fields, codes: rows.codes }
    }

    /// Folds the fields of `plan` by `codes`, which has a code for each row. `what` names the rows
    /// in an error.
    pub(crate) fn fold(
        &self,
        codes: &[u32],
        plan: &[Planned],
        what: &'static str,
    ) -> Result<CodedTable, Error> {
        let groups = RowsByCode::new(codes);
        let fold_of = |field: &Field| plan.iter().find(|planned| planned.name == field.name);
        let fields = self.fields.iter().filter_map(|field| Some((field, fold_of(field)?.fold)));
        let columns = fields.map(|(field, fold)| match &field.cells {
            Data::Narrow(series) => fold_narrow(field, series, fold, &groups),
            Data::Wide { halves: Halves { lower, upper }, valid } => {
                let value = |row: usize| {
                    let is_valid = valid.as_ref().is_none_or(|valid| valid.get(row) == Some(true));
                    is_valid.then(|| (i128::from(upper[row]) << 32) + i128::from(lower[row]))
                };
                Ok(fold_wide(field, value, fold, &groups))
            }
        });
        let columns = on_polars_thread(|| columns.collect::<Result<_, FoldError>>())
            .map_err(|error| Error::Fold { what, source: Box::new(error) })?;
        Ok(CodedTable { codes: groups.codes, columns })
    }
}

/// Which rows have a value; `None` if all have.
fn validity(cells: &Cells, fold: Fold, idle: &[u32], frozen: &[u32]) -> Option<Bitmap> {
    let idle = if fold == Fold::MeanWithTraffic { idle } else { &[] };
    let below_zero = fold == Fold::Smallest && cells.values.iter().any(|value| *value < 0);
    if cells.nulls.is_empty() && idle.is_empty() && frozen.is_empty() && !below_zero {
        return None;
    }
    let mut bits = MutableBitmap::from_len_set(cells.values.len());
    let left_out = idle.iter().chain(frozen).copied();
    for row in cells.nulls.iter().flat_map(|(begin, end)| *begin..*end).chain(left_out) {
        bits.set(row as usize, false);
    }
    if below_zero {
        for (row, _) in cells.values.iter().enumerate().filter(|(_, value)| **value < 0) {
            bits.set(row, false);
        }
    }
    Some(bits.into())
}

/// The rows of each code that has rows.
struct RowsByCode {
    /// The codes, ascending.
    codes: Vec<u32>,
    positions: GroupsType,
    /// The number of rows; all positions are below it.
    height: usize,
}

impl RowsByCode {
    fn new(codes: &[u32]) -> Self {
        let most = codes.iter().max().map_or(0, |most| *most as usize + 1);
        let mut counts = vec![0; most];
        for &code in codes {
            counts[code as usize] += 1;
        }
        let mut all: Vec<IdxVec> =
            counts.iter().map(|count| IdxVec::with_capacity(*count)).collect();
        for (row, &code) in codes.iter().enumerate() {
            all[code as usize].push(row as u32);
        }
        let used = (0..).zip(&counts).filter(|(_, count)| **count > 0);
        let used: Vec<u32> = used.map(|(code, _)| code).collect();
        all.retain(|rows| !rows.is_empty());
        let firsts = all.iter().map(|rows| rows[0]).collect();
        Self {
            codes: used,
            positions: GroupsType::Idx(GroupsIdx::new(firsts, all, false)),
            height: codes.len(),
        }
    }

    fn iter(&self) -> impl Iterator<Item = &[u32]> {
        self.positions.unwrap_idx().all().iter().map(|rows: &IdxVec| rows.as_slice())
    }
}

fn fold_narrow(
    field: &Field,
    series: &Series,
    fold: Fold,
    groups: &RowsByCode,
) -> Result<Column, FoldError> {
    let (folded, valid) = aggregate(series, fold, groups);
    let folded = folded.as_materialized_series();
    let integers = folded.i64()?;
    let values = match integers.cont_slice() {
        Ok(values) => values.to_vec(),
        Err(_) => integers.iter().map(Option::unwrap_or_default).collect(),
    };
    let values = Integers::Narrow(values);
    // How many rows of each group have a value, if some rows have none.
    let counts = match &valid {
        Some(valid) => {
            let counts = valid.as_materialized_series().u32()?;
            Some(counts.iter().map(Option::unwrap_or_default).collect::<Vec<u32>>())
        }
        None => None,
    };
    let present = match &counts {
        Some(counts) if counts.contains(&0) => {
            Some(counts.iter().map(|count| *count > 0).collect())
        }
        _ => None,
    };
    let values = if is_mean(fold) {
        let counts =
            counts.unwrap_or_else(|| groups.iter().map(|rows| rows.len() as u32).collect());
        Values::Means { sums: values, counts }
    } else {
        Values::Integers(values)
    };
    let Field { name, nature, .. } = field;
    Ok(Column { name: (**name).to_owned(), nature: *nature, fold: Some(fold), values, present })
}

/// The aggregation of each group (the sum for a mean), and how many rows of each group have a value
/// if some rows have none.
#[expect(unsafe_code, reason = "polars checks no bounds in its aggregations")]
fn aggregate(series: &Series, fold: Fold, groups: &RowsByCode) -> (Series, Option<Series>) {
    assert!(groups.height <= series.len(), "more codes than rows");
    let rows = &groups.positions;
    // SAFETY: the groups hold positions below their height, each made by counting through the
    // codes, and the series is no shorter than that.
    unsafe {
        let folded = match fold {
            Fold::Sum | Fold::Mean | Fold::MeanWithTraffic => series.agg_sum(rows),
            Fold::Largest => series.agg_max(rows),
            Fold::Smallest => series.agg_min(rows),
        };
        (folded, series.has_nulls().then(|| series.agg_valid_count(rows)))
    }
}

const fn is_mean(fold: Fold) -> bool {
    matches!(fold, Fold::Mean | Fold::MeanWithTraffic)
}

fn fold_wide(
    field: &Field,
    value: impl Fn(usize) -> Option<i128>,
    fold: Fold,
    groups: &RowsByCode,
) -> Column {
    let groups = groups.iter().map(|rows| {
        let values: Vec<i128> = rows.iter().filter_map(|row| value(*row as usize)).collect();
        values
    });
    let sum = |values: &[i128]| (!values.is_empty()).then(|| values.iter().sum::<i128>());
    let Field { name, nature, .. } = field;
    let integers = |values: &mut dyn Iterator<Item = Option<i128>>| {
        Column::integers(&**name, *nature, Some(fold), values)
    };
    match fold {
        Fold::Sum => integers(&mut groups.map(|values| sum(&values))),
        Fold::Largest => integers(&mut groups.map(|values| values.into_iter().max())),
        Fold::Smallest => integers(&mut groups.map(|values| values.into_iter().min())),
        Fold::Mean | Fold::MeanWithTraffic => {
            let mean = |values: Vec<i128>| Some((sum(&values)?, values.len() as u32));
            Column::means(&**name, *nature, Some(fold), groups.map(mean))
        }
    }
}
