//! Rows of a table as lines `<path> <value> <timestamp>\n`, Graphite's plaintext protocol (carbon:
//! "feeding in your data").
//!
//! Whole numbers have no point, and others have the fewest digits that read back the same; no
//! number has an exponent. Numbers in the text of their source stay as they are. If a row belongs
//! to a group, its lines have the group's path in place of the plain one, and with double writes
//! both. States have no line, because Graphite takes numbers only. A line that is longer than the
//! receiver takes is left out and counted.

use std::io::Write;

use model::{Column, Integers, SnapshotId, Table, TableKind, Values};

use super::paths::Paths;
use super::spelling::Spelling;
use crate::Loss;
use crate::groups::GroupRules;

/// The longest value: a decimal without an exponent, such as the smallest one.
const VALUE_MAX_BYTES: usize = 344;
/// Bytes of a long line that its reason has.
const QUOTED_BYTES: usize = 120;

/// Makes the lines of rows.
#[derive(Debug)]
pub(super) struct RowLines<'a> {
    paths: &'a Paths,
    groups: Option<&'a GroupRules>,
    kind: TableKind,
    /// The last name with its group, kept because the servers of a backend follow each other and
    /// have the backend's group.
    last_group: Option<(String, Option<&'a str>)>,
    host: Option<String>,
    /// The text between the name of a metric and its value: the tags and a blank, or nothing
    /// without tags.
    tags: Vec<u8>,
    /// The columns' names; `None` for a column of states, which has no lines.
    columns: Vec<Option<MetricName>>,
    /// The text between two values of a row: the end of a line, then the path of the next line.
    between: Vec<u8>,
    /// Bytes of a line's end.
    tail_bytes: usize,
    /// Bytes of a line's end and of the beginning that all paths have.
    base_bytes: usize,
    /// Bytes of a line's end and of the beginning that all paths of a table have.
    prefix_bytes: usize,
    /// Rows with more bytes in `between` can have a line that is too long.
    between_max_bytes: usize,
    long_lines: Loss,
}

impl<'a> RowLines<'a> {
    pub(super) fn new(paths: &'a Paths, id: &SnapshotId) -> Self {
        let mut between = format!(" {}\n", id.timestamp).into_bytes();
        let tail_bytes = between.len();
        between.extend_from_slice(paths.prefix(id).as_bytes());
        Self {
            paths,
            groups: None,
            kind: TableKind::Own,
            last_group: None,
            host: paths.host(id),
            tags: Vec::new(),
            columns: Vec::new(),
            tail_bytes,
            base_bytes: between.len(),
            prefix_bytes: between.len(),
            between,
            between_max_bytes: usize::MAX,
            long_lines: Loss::default(),
        }
    }

    /// The lines that were left out so far.
    pub(super) const fn long_lines(&self) -> &Loss {
        &self.long_lines
    }

    /// Must be called before the rows of a table.
    pub(super) fn begin_table(&mut self, table: &Table) {
        self.kind = table.kind.clone();
        self.groups = self.paths.groups_of(&table.kind);
        self.between.truncate(self.base_bytes);
        self.paths.push_program(&table.kind, &mut self.between);
        self.prefix_bytes = self.between.len();
        self.last_group = None;
        self.columns.clear();
        let name_bytes = table.columns.iter().map(|column| column.name.len()).max();
        let rest_bytes = name_bytes.unwrap_or_default() + VALUE_MAX_BYTES;
        self.between_max_bytes = self.paths.line_max_bytes().saturating_sub(rest_bytes);
        let name_end = match self.paths.spelling() {
            Spelling::Part => " ",
            Spelling::Value => "",
        };
        for column in &table.columns {
            self.columns.push(if has_lines(column) {
                Some(MetricName::new(&column.name, name_end))
            } else {
                None
            });
        }
    }

    /// Appends the lines of a row. `names` are its clean names.
    pub(super) fn push_row(
        &mut self,
        table: &Table,
        row: usize,
        names: &[String],
        out: &mut Vec<u8>,
    ) {
        let group = self.group_of(names);
        if group.is_some() && self.paths.double_writes() {
            self.push_lines(table, row, names, None, out);
        }
        self.push_lines(table, row, names, group, out);
    }

    fn push_lines(
        &mut self,
        table: &Table,
        row: usize,
        names: &[String],
        group: Option<&str>,
        out: &mut Vec<u8>,
    ) {
        self.between.truncate(self.prefix_bytes);
        self.paths.push_row(&self.kind, names, group, &mut self.between);
        self.tags.clear();
        self.paths.push_tags(&self.kind, names, group, self.host.as_deref(), &mut self.tags);
        let is_near_bound = self.between.len() + self.tags.len() > self.between_max_bytes;
        let (tail, mut before) = self.between.split_at(self.tail_bytes);
        for (column, name) in table.columns.iter().zip(&self.columns) {
            let Some(name) = name else { continue };
            if !column.has(row) {
                continue;
            }
            let begin = out.len();
            out.extend_from_slice(before);
            name.push(out);
            if !self.tags.is_empty() {
                out.extend_from_slice(&self.tags);
            }
            push_value(&column.values, row, out);
            if is_near_bound {
                // `before` can begin with the end of the line before this one.
                let bytes = out.len() - begin - before.len() + self.between.len();
                if bytes > self.paths.line_max_bytes() {
                    let path_bytes = self.between.len() - self.tail_bytes;
                    let line = out.get(begin + before.len() - path_bytes..).unwrap_or_default();
                    self.long_lines.add(1, || too_long(bytes, self.paths.line_max_bytes(), line));
                    out.truncate(begin);
                    continue;
                }
            }
            before = &self.between;
        }
        if before.len() == self.between.len() {
            out.extend_from_slice(tail);
        }
    }

    fn group_of(&mut self, names: &[String]) -> Option<&'a str> {
        let groups = self.groups?;
        let name = names.first()?;
        if let Some((last, group)) = &self.last_group
            && last == name
        {
            return *group;
        }
        let group = self.paths.group_of(groups, name);
        self.last_group = Some((name.clone(), group));
        group
    }
}

/// The reason for a line that is left out.
#[cold]
pub(super) fn too_long(bytes: usize, max_bytes: usize, line: &[u8]) -> String {
    let begin = line.get(..QUOTED_BYTES.min(line.len())).unwrap_or_default();
    let begin = String::from_utf8_lossy(begin);
    format!("a line has {bytes} bytes, and max-line is {max_bytes}; it begins with {begin:?}")
}

/// Whether the values of a column are numbers.
pub(super) const fn has_lines(column: &Column) -> bool {
    !matches!(column.values, Values::States(_))
}

/// A metric's name, with the blank that follows it if no tags do.
#[derive(Debug)]
enum MetricName {
    /// Padded to a fixed length, so that the compiler copies the name without a call.
    Short {
        padded: [u8; SHORT_BYTES],
        length: usize,
    },
    Long(Vec<u8>),
}

const SHORT_BYTES: usize = 32;

impl MetricName {
    fn new(name: &str, end: &str) -> Self {
        let text = format!("{name}{end}").into_bytes();
        let length = text.len();
        let mut padded = [0; SHORT_BYTES];
        match padded.get_mut(..length) {
            Some(room) => {
                room.copy_from_slice(&text);
                Self::Short { padded, length }
            }
            None => Self::Long(text),
        }
    }

    #[inline]
    fn push(&self, out: &mut Vec<u8>) {
        match self {
            Self::Short { padded, length } => {
                let end = out.len() + length;
                out.extend_from_slice(padded);
                out.truncate(end);
            }
            Self::Long(text) => out.extend_from_slice(text),
        }
    }
}

/// Appends a column's value in a row that has one.
#[inline]
fn push_value(values: &Values, row: usize, out: &mut Vec<u8>) {
    match values {
        Values::Integers(Integers::Narrow(values)) => push_integer(values[row], out),
        Values::Integers(Integers::Wide(values)) => push_integer(values[row], out),
        Values::Means { sums: Integers::Narrow(sums), counts } => {
            let (sum, count) = (sums[row], counts[row].max(1));
            push_mean(sum as f64 / f64::from(count), sum.into(), count, out);
        }
        Values::Means { sums: Integers::Wide(sums), counts } => {
            let (sum, count) = (sums[row], counts[row].max(1));
            push_mean(sum as f64 / f64::from(count), sum, count, out);
        }
        Values::Decimals(values) => push_decimal(values[row], out),
        Values::Milliseconds(values) => {
            let value = values[row];
            push_integer(value / 1000, out);
            out.push(b'.');
            out.extend([100, 10, 1].map(|by| b'0' + (value / by % 10) as u8));
        }
        Values::Numbers(numbers) => {
            out.extend_from_slice(numbers.get(row).unwrap_or_default().as_bytes());
        }
        Values::States(_) => {}
    }
}

fn push_integer(value: impl itoa::Integer, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// A mean that is a whole number is written exactly, even if it is too large for an `f64`.
#[inline]
fn push_mean(mean: f64, sum: i128, count: u32, out: &mut Vec<u8>) {
    if mean.abs() > WHOLE_MAX && sum % i128::from(count) == 0 {
        push_integer(sum / i128::from(count), out);
    } else {
        push_decimal(mean, out);
    }
}

/// Up to this magnitude an `f64` has every whole number exactly.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

fn push_decimal(value: f64, out: &mut Vec<u8>) {
    // The conversion there and back is faster than a call of `trunc`.
    if value.abs() <= WHOLE_MAX && (value as i64) as f64 == value {
        return push_integer(value as i64, out);
    }
    let mut buffer = zmij::Buffer::new();
    let shortest = buffer.format(value);
    if shortest.contains(['e', 'E']) || shortest.ends_with(".0") {
        // The standard library never writes an exponent; it is slower, and such values are rare.
        // Writing to memory cannot fail.
        let _ = write!(out, "{value}");
    } else {
        out.extend_from_slice(shortest.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::*;

    #[test]
    fn names_of_any_length_are_written_as_they_are() {
        for length in [0, 1, 30, 31, 32, 33, 100] {
            let name = "n".repeat(length);
            let mut out = b"before.".to_vec();
            MetricName::new(&name, " ").push(&mut out);
            assert_eq!(String::from_utf8(out).unwrap(), format!("before.{name} "));
        }
    }

    fn written(value: Values) -> String {
        let mut out = Vec::new();
        push_value(&value, 0, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn mean(sum: i128, count: u32) -> String {
        written(Values::Means { sums: [sum].into_iter().collect(), counts: vec![count] })
    }

    #[test]
    fn values_have_no_exponent_and_no_needless_point() {
        let decimal = |value| written(Values::Decimals(vec![value]));
        assert_eq!([decimal(5.0), decimal(0.25), decimal(-0.0)], ["5", "0.25", "0"]);
        assert_eq!([decimal(1e21), decimal(1e-7)], ["1000000000000000000000", "0.0000001"]);
        let wide = Values::Integers(Integers::Wide(vec![1 << 70]));
        assert_eq!(written(wide), "1180591620717411303424");
        assert_eq!(written(Values::Milliseconds(vec![12_034])), "12.034");
    }

    #[test]
    fn no_value_is_longer_than_the_bound() {
        let smallest = Values::Decimals(vec![-f64::from_bits(1)]);
        let digits = Values::Decimals(vec![-f64::MIN_POSITIVE * 1.234_567_890_123_456]);
        let wide = Values::Integers(Integers::Wide(vec![i128::MIN]));
        for value in [smallest, digits, wide, Values::Decimals(vec![f64::MIN])] {
            assert!(written(value).len() <= VALUE_MAX_BYTES);
        }
    }

    #[test]
    fn a_mean_that_is_whole_is_exact() {
        assert_eq!([mean(10, 4), mean(12, 4), mean(-1, 2)], ["2.5", "3", "-0.5"]);
        let large = 3 * i128::from(u64::MAX);
        assert_eq!(
            [mean(large, 3), mean(large, 1)],
            ["18446744073709551615", "55340232221128654845"]
        );
    }

    proptest! {
        /// Every finite number reads back as itself and is written with digits, a point and a sign
        /// alone.
        #[test]
        fn decimals_read_back(bits in any::<u64>()) {
            let value = f64::from_bits(bits);
            if value.is_finite() {
                let text = written(Values::Decimals(vec![value]));
                assert_eq!(text.parse::<f64>().unwrap(), value);
                let plain = |b: u8| b.is_ascii_digit() || b == b'.' || b == b'-';
                assert!(text.bytes().all(plain), "{text}");
            }
        }
    }
}
