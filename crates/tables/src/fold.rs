//! Rows with the same code become one, in polars: the only place where a frame exists.
//!
//! A value is there only where at least one row had one: a sum over nothing is not 0, and a mean over nothing is no number.
//! Sums of 64-bit counters do not wrap: where they might, both halves are summed and put together in 128 bits.

use metric::catalog::Fold;
use metric::{Column, Values};
use polars::prelude::{
    Column as Series, DataFrame, Expr, Float64Chunked, Int64Chunked, IntoColumn, IntoLazy,
    PolarsError, PolarsResult, UInt32Chunked, col,
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
    /// What is in it: field, whether it is split, whether it has nulls.
    fields: Vec<(&'static str, Fold, bool, bool)>,
}

impl Table {
    /// Takes the columns that any file had.
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
            if fold == Fold::Sum {
                cells.make_summable();
            }
            let validity = validity(&cells, fold, &rows.idle);
            fields.push((field, fold, cells.upper.is_some(), validity.is_some()));
            if let Some(upper) = cells.upper {
                series.push(integers(&upper_name(field), upper, validity.clone()));
            }
            series.push(integers(field, cells.values, validity));
        }
        Ok(Self { frame: DataFrame::new(height, series)?, fields })
    }

    /// The fold by `codes`, one a row, of the fields that `wanted` keeps, each in its own way.
    pub(crate) fn fold(
        &self,
        codes: Vec<u32>,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<Folded, Refused> {
        if codes.is_empty() {
            return Ok(Folded::default());
        }
        let fields: Vec<_> = self.fields.iter().filter(|(name, ..)| wanted(name)).collect();
        let asked: Vec<Expr> = fields
            .iter()
            .flat_map(|(name, fold, split, nulls)| expressions(name, *fold, *split, *nulls))
            .collect();
        let mut frame = self.frame.clone();
        frame.with_column(UInt32Chunked::from_vec(CODE.into(), codes).into_column())?;
        let folded = frame.lazy().group_by([col(CODE)]).agg(asked).collect()?;

        let found: Vec<u32> = folded.column(CODE)?.u32()?.iter().flatten().collect();
        let mut order: Vec<usize> = (0..found.len()).collect();
        order.sort_unstable_by_key(|&row| found[row]);
        let columns = fields
            .iter()
            .map(|(name, fold, split, nulls)| column(&folded, name, *fold, *split, *nulls, &order))
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
    let below_zero = fold == Fold::Smallest && cells.values.iter().any(|value| *value < 0);
    if cells.nulls.is_empty() && idle.is_empty() && !below_zero {
        return None;
    }
    let mut bits = MutableBitmap::from_len_set(cells.values.len());
    for &row in cells.nulls.iter().chain(idle) {
        bits.set(row as usize, false);
    }
    if below_zero {
        for (row, _) in cells.values.iter().enumerate().filter(|(_, value)| **value < 0) {
            bits.set(row, false);
        }
    }
    Some(bits.into())
}

fn expressions(name: &str, fold: Fold, split: bool, nulls: bool) -> Vec<Expr> {
    let upper = upper_name(name);
    let mut asked = match fold {
        Fold::Sum => vec![col(name).sum()],
        Fold::Mean | Fold::MeanWithTraffic => vec![col(name).mean()],
        Fold::Largest => vec![col(name).max()],
        Fold::Smallest => vec![col(name).min()],
    };
    if split {
        asked.push(match fold {
            Fold::Sum => col(&upper).sum(),
            Fold::Mean | Fold::MeanWithTraffic => col(&upper).mean(),
            Fold::Largest => col(&upper).max(),
            Fold::Smallest => col(&upper).min(),
        });
    }
    if nulls && fold == Fold::Sum {
        asked.push(col(name).count().alias(count_name(name)));
    }
    asked
}

fn column(
    folded: &DataFrame,
    name: &str,
    fold: Fold,
    split: bool,
    nulls: bool,
    order: &[usize],
) -> PolarsResult<Column> {
    let values = folded.column(name)?.as_materialized_series();
    if matches!(fold, Fold::Mean | Fold::MeanWithTraffic) {
        let mut means: Vec<Option<f64>> = gathered(values.f64()?, order);
        if split {
            let upper = folded.column(&upper_name(name))?.as_materialized_series().clone();
            let upper: Vec<Option<f64>> = gathered(upper.f64()?, order);
            for (mean, upper) in means.iter_mut().zip(upper) {
                *mean = mean.zip(upper).map(|(low, high)| high.mul_add(4_294_967_296.0, low));
            }
        }
        return Ok(Column::decimals(name, means));
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
    if nulls && fold == Fold::Sum {
        let counts = folded.column(&count_name(name))?.as_materialized_series().clone();
        let counts = counts.u32()?;
        for (value, &row) in values.iter_mut().zip(order) {
            *value = value.filter(|_| counts.get(row).is_some_and(|count| count > 0));
        }
    }
    Ok(Column::integers(name, values))
}

fn gathered(values: &Float64Chunked, order: &[usize]) -> Vec<Option<f64>> {
    order.iter().map(|&row| values.get(row)).collect()
}
