//! Rows with the same code become one, by polars' aggregations: the only place where a column of polars exists.
//!
//! Which rows belong together is known already, by their codes; so polars is told, and neither plans a query nor hashes a key. A
//! value is there only where at least one row had one: a sum over nothing is not 0, and a mean over nothing is no number. Sums
//! of 64-bit counters do not wrap: a column in which they might is folded by hand, in 128 bits.

use model::catalog::Fold;
use model::section::{Column, Values};
use polars::frame::group_by::{GroupsIdx, GroupsType};
use polars::polars_utils::idx_vec::IdxVec;
use polars::prelude::{Column as Series, Int64Chunked, IntoColumn, PolarsError};
use polars_arrow::bitmap::{Bitmap, MutableBitmap};
use polars_core::runtime::RAYON;

use crate::cells::{Cells, Halves};
use crate::stat::Rows;

/// The metrics of everything that had rows, in the order of codes.
#[derive(Debug, Default)]
pub(crate) struct Folded {
    pub(crate) codes: Vec<u32>,
    pub(crate) columns: Vec<Column>,
}

/// Polars refused what we built: a fault of ours.
#[derive(Debug, thiserror::Error)]
#[error("polars: {0}")]
pub(crate) struct Refused(#[from] PolarsError);

/// One kind's cells, which can be folded by more than one code.
#[derive(Debug)]
pub(crate) struct Table {
    fields: Vec<Field>,
    /// The code of each row.
    pub(crate) codes: Vec<u32>,
}

#[derive(Debug)]
struct Field {
    name: &'static str,
    cells: Data,
}

/// The cells of a field; a null is a row that its fold leaves out.
#[derive(Debug)]
enum Data {
    /// A sum over all rows fits.
    Narrow(Series),
    /// It may not.
    Wide { halves: Halves, valid: Option<Bitmap> },
}

/// Runs `work` on polars' own thread, where all that it asks of polars is done on the spot. From any other thread each fold of a
/// column would go there and come back, which costs a small snapshot more than its sums.
pub fn on_its_thread<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    RAYON.install(work)
}

impl Table {
    /// Takes the columns that any file had. A sum and a largest value can be had of the same column, whichever of the two the
    /// rows were read for; other folds leave out rows of their own.
    pub(crate) fn new(rows: Rows) -> Self {
        let height = rows.codes.len();
        let mut fields = Vec::with_capacity(rows.columns.len());
        for (((name, fold), mut cells), seen) in
            rows.plan.into_iter().zip(rows.columns).zip(rows.seen)
        {
            if !seen {
                continue;
            }
            cells.pad(height);
            let valid = validity(&cells, fold, &rows.idle);
            let cells = match cells.halves(matches!(fold, Fold::Sum | Fold::Largest)) {
                Some(halves) => Data::Wide { halves, valid },
                None => Data::Narrow(
                    Int64Chunked::from_vec_validity(name.into(), cells.values, valid).into_column(),
                ),
            };
            fields.push(Field { name, cells });
        }
        Self { fields, codes: rows.codes }
    }

    /// The fold by `codes`, one a row, of the fields that `plan` has, each in its own way.
    pub(crate) fn fold(
        &self,
        codes: &[u32],
        plan: &[(&'static str, Fold)],
    ) -> Result<Folded, Refused> {
        let groups = Groups::new(codes);
        let fold_of = |field: &Field| plan.iter().find(|(name, _)| *name == field.name);
        let fields = self.fields.iter().filter_map(|field| Some((field, fold_of(field)?.1)));
        let columns = fields.map(|(field, fold)| match &field.cells {
            Data::Narrow(series) => narrow(field.name, series, fold, &groups),
            Data::Wide { halves: Halves { lower, upper }, valid } => {
                let value = |row: usize| {
                    let there = valid.as_ref().is_none_or(|valid| valid.get(row) == Some(true));
                    there.then(|| (i128::from(upper[row]) << 32) + i128::from(lower[row]))
                };
                Ok(wide(field.name, value, fold, &groups))
            }
        });
        let columns = on_its_thread(|| columns.collect::<Result<_, _>>())?;
        Ok(Folded { codes: groups.codes, columns })
    }
}

/// Which rows have a value; `None` is all.
fn validity(cells: &Cells, fold: Fold, idle: &[u32]) -> Option<Bitmap> {
    let idle = if fold == Fold::MeanWithTraffic { idle } else { &[] };
    let below_zero = fold == Fold::Smallest && cells.values.iter().any(|value| *value < 0);
    if cells.nulls.is_empty() && idle.is_empty() && !below_zero {
        return None;
    }
    let mut bits = MutableBitmap::from_len_set(cells.values.len());
    for row in cells.nulls.iter().flat_map(|(begin, end)| *begin..*end).chain(idle.iter().copied())
    {
        bits.set(row as usize, false);
    }
    if below_zero {
        for (row, _) in cells.values.iter().enumerate().filter(|(_, value)| **value < 0) {
            bits.set(row, false);
        }
    }
    Some(bits.into())
}

/// The rows of each code that has any.
struct Groups {
    /// The codes, ascending.
    codes: Vec<u32>,
    positions: GroupsType,
    /// No row is beyond this.
    height: usize,
}

impl Groups {
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
        let codes_that_are = (0..).zip(&counts).filter(|(_, count)| **count > 0);
        let found: Vec<u32> = codes_that_are.map(|(code, _)| code).collect();
        all.retain(|rows| !rows.is_empty());
        let firsts = all.iter().map(|rows| rows[0]).collect();
        Self {
            codes: found,
            positions: GroupsType::Idx(GroupsIdx::new(firsts, all, false)),
            height: codes.len(),
        }
    }

    fn iter(&self) -> impl Iterator<Item = &[u32]> {
        self.positions.unwrap_idx().all().iter().map(|rows: &IdxVec| rows.as_slice())
    }
}

#[expect(unsafe_code, reason = "polars checks no bounds in its aggregations")]
fn narrow(name: &str, series: &Series, fold: Fold, groups: &Groups) -> Result<Column, Refused> {
    assert!(groups.height <= series.len(), "a code without its row");
    let rows = &groups.positions;
    // SAFETY: the groups hold positions below their height, each made by counting through the codes, and the series is no
    // shorter than that.
    let folded = unsafe {
        match fold {
            Fold::Sum => series.agg_sum(rows),
            Fold::Mean | Fold::MeanWithTraffic => series.agg_mean(rows),
            Fold::Largest => series.agg_max(rows),
            Fold::Smallest => series.agg_min(rows),
        }
    };
    let folded = folded.as_materialized_series();
    if matches!(fold, Fold::Mean | Fold::MeanWithTraffic) {
        return Ok(Column::decimals(name, folded.f64()?.iter()));
    }
    let integers = folded.i64()?;
    if fold == Fold::Sum && series.has_nulls() {
        let counts = series.agg_valid_count(rows);
        let counts = counts.as_materialized_series().u32()?;
        let there = counts.iter().map(|count| count > Some(0));
        let sums = integers.iter().zip(there);
        return Ok(Column::integers(
            name,
            sums.map(|(sum, there)| sum.filter(|_| there).map(i128::from)),
        ));
    }
    if let Ok(values) = integers.cont_slice() {
        return Ok(Column::full(name, Values::Integers(values.to_vec())));
    }
    Ok(Column::integers(name, integers.iter().map(|value| value.map(i128::from))))
}

fn wide(name: &str, value: impl Fn(usize) -> Option<i128>, fold: Fold, groups: &Groups) -> Column {
    let values =
        |rows: &[u32]| rows.iter().filter_map(|row| value(*row as usize)).collect::<Vec<_>>();
    let sum = |rows: &[u32]| {
        let values = values(rows);
        (!values.is_empty()).then(|| (values.iter().sum::<i128>(), values.len()))
    };
    let groups = groups.iter();
    match fold {
        Fold::Sum => Column::integers(name, groups.map(|rows| sum(rows).map(|(sum, _)| sum))),
        Fold::Mean | Fold::MeanWithTraffic => {
            let mean = |rows| sum(rows).map(|(sum, count)| sum as f64 / count as f64);
            Column::decimals(name, groups.map(mean))
        }
        Fold::Largest => Column::integers(name, groups.map(|rows| values(rows).into_iter().max())),
        Fold::Smallest => Column::integers(name, groups.map(|rows| values(rows).into_iter().min())),
    }
}
