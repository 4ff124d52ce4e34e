//! Rows with the same code become one, in polars: the only place where a frame exists.
//!
//! A value is there only where at least one row had one: a sum over nothing is not 0, and a mean over nothing is no number.
//! Sums of 64-bit counters do not wrap: where they might, both halves are summed and put together in 128 bits.

use metric::catalog::Fold;
use metric::{Column, Values};
use polars::prelude::{
    Column as Series, DataFrame, Expr, Int64Chunked, IntoColumn, IntoLazy, PolarsError,
    PolarsResult, UInt32Chunked, col,
};
use polars_arrow::bitmap::{Bitmap, MutableBitmap};

use crate::cells::Cells;
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

const CODE: &str = "#code";

/// One kind's cells as a frame, which can be folded by more than one code.
#[derive(Debug)]
pub(crate) struct Table {
    frame: DataFrame,
    fields: Vec<Field>,
}

/// What a table knows of one of its columns.
#[derive(Debug)]
struct Field {
    name: &'static str,
    split: bool,
    nulls: bool,
}

impl Table {
    /// Takes the columns that any file had. A sum and a largest value can be had of the same column, whichever of the two the
    /// rows were read for; other folds leave out rows of their own.
    pub(crate) fn new(rows: Rows) -> Result<Self, Refused> {
        let height = rows.codes.len();
        let mut series = Vec::with_capacity(2 * rows.columns.len());
        let mut fields = Vec::with_capacity(rows.columns.len());
        for (((field, fold), mut cells), seen) in
            rows.plan.into_iter().zip(rows.columns).zip(rows.seen)
        {
            if !seen {
                continue;
            }
            cells.pad(height);
            if matches!(fold, Fold::Sum | Fold::Largest) {
                cells.make_summable();
            }
            let validity = validity(&cells, fold, &rows.idle);
            let (split, nulls) = (cells.upper.is_some(), validity.is_some());
            fields.push(Field { name: field, split, nulls });
            if let Some(upper) = cells.upper {
                series.push(integers(&upper_name(field), upper, validity.clone()));
            }
            series.push(integers(field, cells.values, validity));
        }
        Ok(Self { frame: DataFrame::new(height, series)?, fields })
    }

    /// The fold by `codes`, one a row, of the fields that `plan` has, each in its own way.
    pub(crate) fn fold(
        &self,
        codes: Vec<u32>,
        plan: &[(&'static str, Fold)],
    ) -> Result<Folded, Refused> {
        if codes.is_empty() {
            return Ok(Folded::default());
        }
        let fold_of = |field: &Field| plan.iter().find(|(name, _)| *name == field.name);
        let fields: Vec<(&Field, Fold)> =
            self.fields.iter().filter_map(|field| Some((field, fold_of(field)?.1))).collect();
        let asked: Vec<Expr> =
            fields.iter().flat_map(|(field, fold)| expressions(field, *fold)).collect();
        let mut frame = self.frame.clone();
        frame.with_column(UInt32Chunked::from_vec(CODE.into(), codes).into_column())?;
        let folded = frame.lazy().group_by([col(CODE)]).agg(asked).collect()?;

        let found: Vec<u32> = folded.column(CODE)?.u32()?.iter().flatten().collect();
        let mut order: Vec<usize> = (0..found.len()).collect();
        order.sort_unstable_by_key(|&row| found[row]);
        let columns = fields
            .iter()
            .map(|(field, fold)| column(&folded, field, *fold, &order))
            .collect::<PolarsResult<_>>()?;
        Ok(Folded { codes: order.iter().map(|&row| found[row]).collect(), columns })
    }
}

fn upper_name(field: &str) -> String {
    format!("{field}#upper")
}

fn count_name(field: &str) -> String {
    format!("{field}#count")
}

fn integers(name: &str, values: Vec<i64>, validity: Option<Bitmap>) -> Series {
    Int64Chunked::from_vec_validity(name.into(), values, validity).into_column()
}

/// Which rows have a value; `None` is all.
fn validity(cells: &Cells, fold: Fold, idle: &[u32]) -> Option<Bitmap> {
    let idle = if fold == Fold::MeanWithTraffic { idle } else { &[] };
    // The sign of a value that is split is in its upper half.
    let signs = cells.upper.as_ref().unwrap_or(&cells.values);
    let below_zero = fold == Fold::Smallest && signs.iter().any(|value| *value < 0);
    if cells.nulls.is_empty() && idle.is_empty() && !below_zero {
        return None;
    }
    let mut bits = MutableBitmap::from_len_set(cells.values.len());
    for row in cells.nulls.iter().flat_map(|(begin, end)| *begin..*end).chain(idle.iter().copied())
    {
        bits.set(row as usize, false);
    }
    if below_zero {
        for (row, _) in signs.iter().enumerate().filter(|(_, value)| **value < 0) {
            bits.set(row, false);
        }
    }
    Some(bits.into())
}

fn expressions(field: &Field, fold: Fold) -> Vec<Expr> {
    let name = field.name;
    let mut asked =
        if field.split { split_expressions(name, fold) } else { vec![whole(name, fold)] };
    if counted(field, fold) {
        asked.push(col(name).count().alias(count_name(name)));
    }
    asked
}

fn whole(name: &str, fold: Fold) -> Expr {
    match fold {
        Fold::Sum => col(name).sum(),
        Fold::Mean | Fold::MeanWithTraffic => col(name).mean(),
        Fold::Largest => col(name).max(),
        Fold::Smallest => col(name).min(),
    }
}

/// The lower half and the upper one. A mean is made of sums, since means of halves would cancel badly; the largest is, of the
/// rows with the largest upper half, the one with the largest lower half.
fn split_expressions(name: &str, fold: Fold) -> Vec<Expr> {
    let upper = upper_name(name);
    let of_those_with = |upper_half: Expr| col(name).filter(col(&upper).eq(upper_half));
    match fold {
        Fold::Sum | Fold::Mean | Fold::MeanWithTraffic => vec![col(name).sum(), col(&upper).sum()],
        Fold::Largest => vec![of_those_with(col(&upper).max()).max(), col(&upper).max()],
        Fold::Smallest => vec![of_those_with(col(&upper).min()).min(), col(&upper).min()],
    }
}

/// Whether the rows with a value are counted: where a sum over none must not be 0, and where a mean is made of sums.
const fn counted(field: &Field, fold: Fold) -> bool {
    match fold {
        Fold::Sum => field.nulls,
        Fold::Mean | Fold::MeanWithTraffic => field.split,
        Fold::Largest | Fold::Smallest => false,
    }
}

fn column(folded: &DataFrame, field: &Field, fold: Fold, order: &[usize]) -> PolarsResult<Column> {
    let Field { name, split, nulls } = *field;
    let values = folded.column(name)?.as_materialized_series();
    let mean = matches!(fold, Fold::Mean | Fold::MeanWithTraffic);
    if mean && !split {
        let means = values.f64()?;
        return Ok(Column::decimals(name, order.iter().map(|&row| means.get(row))));
    }
    let sums = values.i64()?;
    if !split && !nulls && fold == Fold::Sum {
        let values: Vec<i64> = sums.iter().map(Option::unwrap_or_default).collect();
        return Ok(Column::full(
            name,
            Values::Integers(order.iter().map(|&row| values[row]).collect()),
        ));
    }
    let mut values: Vec<Option<i128>> =
        order.iter().map(|&row| sums.get(row).map(i128::from)).collect();
    if split {
        let upper = folded.column(&upper_name(name))?.as_materialized_series().clone();
        let upper = upper.i64()?;
        for (value, &row) in values.iter_mut().zip(order) {
            *value = value.zip(upper.get(row)).map(|(low, high)| (i128::from(high) << 32) + low);
        }
    }
    if !counted(field, fold) {
        return Ok(Column::integers(name, values));
    }
    let counts = folded.column(&count_name(name))?.as_materialized_series().clone();
    let counts = counts.u32()?;
    let counts = order.iter().map(|&row| counts.get(row).filter(|count| *count > 0));
    if mean {
        let means = values.iter().zip(counts).map(|(sum, count)| sum.zip(count));
        return Ok(Column::decimals(
            name,
            means.map(|both| both.map(|(sum, count)| sum as f64 / f64::from(count))),
        ));
    }
    Ok(Column::integers(
        name,
        values.iter().zip(counts).map(|(sum, count)| sum.filter(|_| count.is_some())),
    ))
}
