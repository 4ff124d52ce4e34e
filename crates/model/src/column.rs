//! A column: one metric of all rows of a table.

use crate::Texts;
use crate::catalog::{Fold, Nature};

/// One metric of all rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// The metric's name, as HAProxy spells it.
    pub name: String,
    /// The nature of the values.
    pub nature: Nature,
    /// How the rows of several processes were folded, and how folded rows can be joined. `None` for
    /// a figure that was derived from others, such as a percentile, which cannot be joined.
    pub fold: Option<Fold>,
    /// The values by row.
    pub values: Values,
    /// Which rows have a value; `None` if all have.
    pub present: Option<Vec<bool>>,
}

/// The values of a column. The entry of a row without a value has no meaning.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// Whole numbers.
    Integers(Integers),
    /// Means, each as a sum and the number of its summands, so that means can be joined exactly.
    Means {
        /// The sums.
        sums: Integers,
        /// How many summands each sum has; never 0 where the value is present.
        counts: Vec<u32>,
    },
    /// Figures derived from others; finite where present.
    Decimals(Vec<f64>),
    /// Seconds with exactly three decimals, given in milliseconds.
    Milliseconds(Vec<u64>),
    /// States, such as UP or DOWN.
    States(Texts),
    /// Numbers in the text of their source, such as `0.10` or `12345678901234567890.5`, which an
    /// `f64` would change. Every receiver gets the text; see [`is_number`].
    Numbers(Texts),
}

/// Whole numbers, in 64 bits where all of them fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Integers {
    /// All fit 64 bits.
    Narrow(Vec<i64>),
    /// Some do not fit, such as sums of 64-bit counters over many processes.
    Wide(Vec<i128>),
}

/// One value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// A whole number.
    Integer(i128),
    /// A mean.
    Mean {
        /// The sum of the summands.
        sum: i128,
        /// How many summands there are; not 0.
        count: u32,
    },
    /// A finite number.
    Decimal(f64),
    /// Milliseconds.
    Milliseconds(u64),
    /// A state.
    State(&'a str),
    /// A number in its own text.
    Number(&'a str),
}

/// Bytes of a number in the text of its source. A double needs 24.
pub const NUMBER_MAX_BYTES: usize = 64;

/// Whether a text can stand in every receiver's format as a number: one of JSON, within
/// [`NUMBER_MAX_BYTES`] and the range of an `f64`.
///
/// ```
/// use haproxystats_model::column::is_number;
///
/// assert!(["30000", "-1", "0.10", "1e5"].into_iter().all(is_number));
/// assert!(!["", "+1", "01", ".5", "1.", "NaN", "1e999", "1 2"].into_iter().any(is_number));
/// ```
#[must_use]
pub fn is_number(text: &str) -> bool {
    let digits_of = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let rest = text.strip_prefix('-').unwrap_or(text);
    let (whole, mut rest) = rest.split_at(digits_of(rest));
    if whole.is_empty() || (whole.len() > 1 && whole.starts_with('0')) {
        return false;
    }
    if let Some(fraction) = rest.strip_prefix('.') {
        let digits = digits_of(fraction);
        if digits == 0 {
            return false;
        }
        rest = &fraction[digits..];
    }
    if let Some(exponent) = rest.strip_prefix(['e', 'E']) {
        let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        let digits = digits_of(exponent);
        if digits == 0 {
            return false;
        }
        rest = &exponent[digits..];
    }
    let is_finite = || text.parse::<f64>().is_ok_and(f64::is_finite);
    rest.is_empty() && text.len() <= NUMBER_MAX_BYTES && is_finite()
}

impl Column {
    /// A column in which every row has a value.
    ///
    /// ```
    /// use haproxystats_model::{Column, Integers, Nature, Value, Values};
    ///
    /// let values = Values::Integers(Integers::Narrow(vec![7, 8]));
    /// let column = Column::new("scur", Nature::Gauge, None, values);
    /// assert_eq!((column.count(), column.get(1)), (2, Some(Value::Integer(8))));
    /// ```
    #[must_use]
    pub fn new(
        name: impl Into<String>,
        nature: Nature,
        fold: Option<Fold>,
        values: Values,
    ) -> Self {
        Self { name: name.into(), nature, fold, values, present: None }
    }

    /// A column of whole numbers, some of which may be absent.
    #[must_use]
    pub fn integers(
        name: impl Into<String>,
        nature: Nature,
        fold: Option<Fold>,
        values: impl IntoIterator<Item = Option<i128>>,
    ) -> Self {
        let (values, present) = split(values);
        let values = Values::Integers(values.into_iter().collect());
        Self { name: name.into(), nature, fold, values, present }
    }

    /// A column of means as sums and counts, some of which may be absent. A mean over no rows is
    /// absent.
    ///
    /// ```
    /// use haproxystats_model::{Column, Fold, Nature, Value};
    ///
    /// let values = [Some((5, 2)), Some((0, 0))];
    /// let column = Column::means("qtime", Nature::Average, Some(Fold::Mean), values);
    /// assert_eq!(column.get(0), Some(Value::Mean { sum: 5, count: 2 }));
    /// assert_eq!(column.get(1), None);
    /// ```
    #[must_use]
    pub fn means(
        name: impl Into<String>,
        nature: Nature,
        fold: Option<Fold>,
        values: impl IntoIterator<Item = Option<(i128, u32)>>,
    ) -> Self {
        let values = values.into_iter().map(|mean| mean.filter(|(_, count)| *count > 0));
        let (values, present) = split(values);
        let sums = values.iter().map(|(sum, _)| *sum).collect();
        let counts = values.iter().map(|(_, count)| *count).collect();
        Self { name: name.into(), nature, fold, values: Values::Means { sums, counts }, present }
    }

    /// A column of derived figures. A figure that is not finite is absent.
    #[must_use]
    pub fn decimals(
        name: impl Into<String>,
        nature: Nature,
        values: impl IntoIterator<Item = Option<f64>>,
    ) -> Self {
        let values = values.into_iter().map(|value| value.filter(|value| value.is_finite()));
        let (values, present) = split(values);
        Self { name: name.into(), nature, fold: None, values: Values::Decimals(values), present }
    }

    /// A column of numbers in the text of their source. A text that is no number is absent.
    ///
    /// ```
    /// use haproxystats_model::{Column, Nature, Value};
    ///
    /// let column = Column::numbers("load", Nature::Gauge, [Some("0.10"), Some("NaN")]);
    /// assert_eq!((column.get(0), column.get(1)), (Some(Value::Number("0.10")), None));
    /// ```
    #[must_use]
    pub fn numbers<'a>(
        name: impl Into<String>,
        nature: Nature,
        values: impl IntoIterator<Item = Option<&'a str>>,
    ) -> Self {
        let values = values.into_iter().map(|value| value.filter(|text| is_number(text)));
        let (values, present) = split(values);
        let values = Values::Numbers(values.into_iter().collect());
        Self { name: name.into(), nature, fold: None, values, present }
    }

    /// How many rows have a value.
    #[must_use]
    pub fn count(&self) -> usize {
        match &self.present {
            Some(present) => present.iter().filter(|present| **present).count(),
            None => self.values.len(),
        }
    }

    /// Keeps the rows whose flag is true.
    pub fn keep_rows(&mut self, keep: &[bool]) {
        match &mut self.values {
            Values::Integers(values) => values.keep_rows(keep),
            Values::Means { sums, counts } => {
                sums.keep_rows(keep);
                retain(counts, keep);
            }
            Values::Decimals(values) => retain(values, keep),
            Values::Milliseconds(values) => retain(values, keep),
            Values::States(texts) | Values::Numbers(texts) => {
                let flags = keep.iter().copied().chain(std::iter::repeat(true));
                *texts = texts.iter().zip(flags).filter(|(_, keep)| *keep).map(|it| it.0).collect();
            }
        }
        if let Some(present) = &mut self.present {
            retain(present, keep);
        }
    }

    /// Whether a row has a value.
    #[must_use]
    #[inline]
    pub fn has(&self, row: usize) -> bool {
        self.present.as_ref().is_none_or(|present| present.get(row) == Some(&true))
    }

    /// A row's value.
    #[must_use]
    pub fn get(&self, row: usize) -> Option<Value<'_>> {
        if !self.has(row) {
            return None;
        }
        match &self.values {
            Values::Integers(values) => values.get(row).map(Value::Integer),
            Values::Means { sums, counts } => {
                Some(Value::Mean { sum: sums.get(row)?, count: *counts.get(row)? })
            }
            Values::Decimals(values) => values.get(row).copied().map(Value::Decimal),
            Values::Milliseconds(values) => values.get(row).copied().map(Value::Milliseconds),
            Values::States(states) => states.get(row).map(Value::State),
            Values::Numbers(numbers) => numbers.get(row).map(Value::Number),
        }
    }
}

/// Splits options into values and the flags of [`Column::present`].
fn split<T: Default>(values: impl IntoIterator<Item = Option<T>>) -> (Vec<T>, Option<Vec<bool>>) {
    let values = values.into_iter();
    let mut all = Vec::with_capacity(values.size_hint().0);
    let mut present = Vec::with_capacity(values.size_hint().0);
    for value in values {
        present.push(value.is_some());
        all.push(value.unwrap_or_default());
    }
    (all, if present.contains(&false) { Some(present) } else { None })
}

/// Keeps the values whose flag is true.
fn retain<T: Copy>(values: &mut Vec<T>, keep: &[bool]) {
    let mut flags = keep.iter();
    values.retain(|_| flags.next().copied().unwrap_or(true));
}

impl Values {
    /// How many values there are, absent ones included.
    #[must_use]
    pub const fn len(&self) -> usize {
        match self {
            Self::Integers(values) => values.len(),
            Self::Means { counts, .. } => counts.len(),
            Self::Decimals(values) => values.len(),
            Self::Milliseconds(values) => values.len(),
            Self::States(texts) | Self::Numbers(texts) => texts.len(),
        }
    }

    /// Whether there is no value.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Integers {
    /// How many numbers there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        match self {
            Self::Narrow(values) => values.len(),
            Self::Wide(values) => values.len(),
        }
    }

    /// Whether there is no number.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number at a position.
    #[must_use]
    #[inline]
    pub fn get(&self, index: usize) -> Option<i128> {
        match self {
            Self::Narrow(values) => values.get(index).copied().map(i128::from),
            Self::Wide(values) => values.get(index).copied(),
        }
    }

    fn keep_rows(&mut self, keep: &[bool]) {
        match self {
            Self::Narrow(values) => retain(values, keep),
            Self::Wide(values) => retain(values, keep),
        }
    }
}

impl FromIterator<i128> for Integers {
    fn from_iter<I: IntoIterator<Item = i128>>(values: I) -> Self {
        let wide: Vec<i128> = values.into_iter().collect();
        let narrow: Result<Vec<i64>, _> = wide.iter().map(|value| i64::try_from(*value)).collect();
        match narrow {
            Ok(narrow) => Self::Narrow(narrow),
            Err(_) => Self::Wide(wide),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_values_are_not_counted_and_not_read() {
        let column = Column::decimals("Std", Nature::Gauge, [Some(1.5), None, Some(f64::NAN)]);
        assert_eq!(column.count(), 1);
        assert_eq!(column.get(0), Some(Value::Decimal(1.5)));
        assert_eq!((column.get(1), column.get(2), column.get(3)), (None, None, None));
    }

    #[test]
    fn integers_are_wide_only_where_they_must_be() {
        let of = |values: [Option<i128>; 2]| Column::integers("bin", Nature::Counter, None, values);
        let narrow = of([Some(1), None]);
        assert_eq!(narrow.values, Values::Integers(Integers::Narrow(vec![1, 0])));
        assert_eq!(narrow.count(), 1);
        let wide = of([Some(u64::MAX.into()), Some(-1)]);
        assert!(matches!(&wide.values, Values::Integers(Integers::Wide(_))), "{wide:?}");
        assert_eq!(wide.get(0), Some(Value::Integer(18_446_744_073_709_551_615)));
    }

    #[test]
    fn rows_are_left_out_of_every_kind_of_values() {
        let keep = [true, false, true];
        let integers = Values::Integers(Integers::Narrow(vec![1, 2, 3]));
        let means = Values::Means { sums: [1, 2, 3].into_iter().collect(), counts: vec![1; 3] };
        let states = Values::States(["UP", "DOWN", "MAINT"].into_iter().collect());
        let of = |values, row| {
            let mut column = Column::new("x", Nature::Other, None, values);
            column.present = Some(vec![true, true, false]);
            column.keep_rows(&keep);
            assert_eq!((column.values.len(), column.count(), column.get(1)), (2, 1, None));
            assert_eq!(column.get(0), Some(row));
        };
        of(integers, Value::Integer(1));
        of(means, Value::Mean { sum: 1, count: 1 });
        of(Values::Decimals(vec![0.5; 3]), Value::Decimal(0.5));
        of(Values::Milliseconds(vec![7; 3]), Value::Milliseconds(7));
        of(states, Value::State("UP"));
        let numbers = Values::Numbers(["0.10", "2", "3"].into_iter().collect());
        of(numbers, Value::Number("0.10"));
    }

    #[test]
    fn a_number_is_one_of_json_within_the_range_of_a_double() {
        let longest = format!("0.{}", "1".repeat(NUMBER_MAX_BYTES - 2));
        for text in ["0", "-0", "1.5e-7", "18446744073709551616", "-1.0E+30", &longest] {
            assert!(is_number(text), "{text}");
        }
        let longer = format!("{longest}1");
        for text in ["-", "1e", "1e+", "1.e5", "00", "1i", "1\n", "--1", "inf", "1e309", &longer] {
            assert!(!is_number(text), "{text}");
        }
    }
}
