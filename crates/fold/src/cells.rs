//! Parses cells as integers and collects them in columns. Eight digits are parsed at once, because
//! most of a fold's time is spent here.
//!
//! An empty cell is 0. A cell that is no integer is null: the fold leaves it out and keeps the
//! other cells of the metric. Counters of 64 bits are exact: a column with a value beyond `i64` is
//! folded in halves, which add up without overflow.

/// A column of cells.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cells {
    /// The values, with 0 for a value that is null or beyond `i64`.
    pub(crate) values: Vec<i64>,
    /// Values beyond `i64`, with their rows, ascending.
    beyond: Vec<(u32, u64)>,
    /// Rows without a value, ascending: from, and up to but not including.
    pub(crate) nulls: Vec<(u32, u32)>,
    /// The magnitudes of the first `measured` values joined by OR, and of some truncated values:
    /// less than twice the largest.
    magnitude: u64,
    measured: usize,
}

/// A column in halves (value = upper * 2^32 + lower), whose sums cannot overflow.
#[derive(Debug)]
pub(crate) struct Halves {
    pub(crate) lower: Vec<i64>,
    pub(crate) upper: Vec<i64>,
}

const LOW_HALF: i64 = 0xffff_ffff;

impl Cells {
    /// An empty column with capacity for `rows`.
    pub(crate) fn with_capacity(rows: usize) -> Self {
        Self { values: Vec::with_capacity(rows), ..Self::default() }
    }

    /// Appends the values of rows whose exceptions were [recorded](Self::record) before.
    pub(crate) fn extend(&mut self, values: impl Iterator<Item = i64>) {
        self.values.extend(values);
        self.measure();
    }

    /// Whether any row has a value.
    pub(crate) fn has_values(&self) -> bool {
        let nulls: usize = self.nulls.iter().map(|(begin, end)| (end - begin) as usize).sum();
        nulls < self.values.len()
    }

    pub(crate) fn push_null(&mut self) {
        self.pad(self.values.len() + 1);
    }

    /// Extends the column to `rows`; the new rows have no value.
    pub(crate) fn pad(&mut self, rows: usize) {
        let (begin, end) = (self.values.len() as u32, rows as u32);
        if begin < end {
            self.add_nulls(begin, end);
            self.values.resize(rows, 0);
        }
    }

    fn add_nulls(&mut self, begin: u32, end: u32) {
        match self.nulls.last_mut() {
            Some((_, last)) if *last == begin => *last = end,
            _ => self.nulls.push((begin, end)),
        }
    }

    /// Joins the magnitudes of the values since the last call, while these are in the cache. To
    /// read all values from memory at the end took a twentieth of a large snapshot's time.
    fn measure(&mut self) {
        let new = self.values.get(self.measured..).unwrap_or_default();
        self.magnitude = new.iter().fold(self.magnitude, |most, value| most | value.unsigned_abs());
        self.measured = self.values.len();
    }

    /// Drops the rows from `rows` on. Their magnitudes stay, so a sum may be wider than necessary.
    pub(crate) fn truncate(&mut self, rows: usize) {
        self.values.truncate(rows);
        self.measured = self.measured.min(rows);
        self.beyond.truncate(self.beyond.partition_point(|(row, _)| (*row as usize) < rows));
        self.nulls.truncate(self.nulls.partition_point(|(begin, _)| (*begin as usize) < rows));
        if let Some((_, end)) = self.nulls.last_mut() {
            *end = (*end).min(rows as u32);
        }
    }

    /// Appends any integer. Beyond 64 bits it is null.
    pub(crate) fn push_wide(&mut self, value: i128) {
        let value = self.record(self.values.len() as u32, Some(value));
        self.values.push(value.unwrap_or_default());
    }

    /// Records a row whose value does not stand in `values`: any value beyond `i64`, or none.
    /// Returns the value that is to be appended for the row; `None` if the row has no value.
    pub(crate) fn record(&mut self, row: u32, value: Option<i128>) -> Option<i64> {
        if let Some(Ok(value)) = value.map(i64::try_from) {
            return Some(value);
        }
        if let Some(Ok(value)) = value.map(u64::try_from) {
            self.beyond.push((row, value));
            return Some(0);
        }
        self.add_nulls(row, row + 1);
        None
    }

    #[cfg(test)]
    pub(crate) fn get(&self, row: usize) -> Option<i128> {
        if self.nulls.iter().any(|(begin, end)| (*begin..*end).contains(&(row as u32))) {
            return None;
        }
        let beyond = self.beyond.iter().find(|(beyond, _)| *beyond as usize == row);
        beyond.map(|(_, value)| (*value).into()).or(self.values.get(row).map(|v| (*v).into()))
    }

    /// The column in halves, if it has values beyond `i64`, or if it is summed and the sum might
    /// not fit.
    pub(crate) fn halves(&mut self, is_summed: bool) -> Option<Halves> {
        if self.beyond.is_empty() && !(is_summed && self.might_overflow()) {
            return None;
        }
        let mut lower = std::mem::take(&mut self.values);
        let mut upper: Vec<i64> = lower.iter().map(|value| value >> 32).collect();
        lower.iter_mut().for_each(|value| *value &= LOW_HALF);
        for &(row, value) in &self.beyond {
            upper[row as usize] = (value >> 32) as i64;
            lower[row as usize] = value as i64 & LOW_HALF;
        }
        Some(Halves { lower, upper })
    }

    fn might_overflow(&mut self) -> bool {
        self.measure();
        let most = self.magnitude.checked_mul(self.values.len() as u64);
        most.is_none_or(|sum| sum > i64::MAX as u64)
    }
}

/// The cell from `begin` to `end`, if it has up to 16 digits and nothing else. `text` must have at
/// least eight bytes before `end`.
///
/// Always inlined, with a small result, because a larger result would be returned through memory,
/// which costs more than the digits.
#[inline(always)]
pub(crate) fn digits(text: &[u8], begin: usize, end: usize) -> Option<u64> {
    // The lengths of cells are irregular: a branch for each length would be mispredicted, which
    // costs more than to parse the digits.
    match end - begin {
        length @ 0..=8 => eight_digits(text, end, length),
        length @ 9..=16 => {
            let high = eight_digits(text, end - 8, length - 8)?;
            Some(high * 100_000_000 + eight_digits(text, end, 8)?)
        }
        _ => None,
    }
}

/// By the length of a cell (0 to 8): a mask of its bytes among the eight before its end, of which
/// the last byte is the highest.
const INSIDE: [u64; 9] = {
    let mut masks = [0; 9];
    let mut length = 1;
    while length <= 8 {
        masks[length] = u64::MAX << (64 - 8 * length);
        length += 1;
    }
    masks
};

/// The `length` bytes (0 to 8) before `end` as decimal digits. Eight bytes are tested and
/// multiplied together in one register; the bytes before the cell count as 0.
#[inline(always)]
fn eight_digits(text: &[u8], end: usize, length: usize) -> Option<u64> {
    let bytes = text.get(end.checked_sub(8)?..end)?.first_chunk::<8>()?;
    // The first digit is in the lowest byte.
    let digits = (u64::from_le_bytes(*bytes) ^ 0x3030_3030_3030_3030) & INSIDE[length];
    // A byte above 9 has its highest bit set, or gets it when 0x76 is added.
    if (digits | digits.wrapping_add(0x7676_7676_7676_7676)) & 0x8080_8080_8080_8080 != 0 {
        return None;
    }
    let pairs = digits.wrapping_mul((10 << 8) + 1) >> 8 & 0x00ff_00ff_00ff_00ff;
    let fours = pairs.wrapping_mul((100 << 16) + 1) >> 16 & 0x0000_ffff_0000_ffff;
    Some(fours.wrapping_mul((10_000 << 32) + 1) >> 32)
}

/// The integer of any other cell.
#[cold]
pub(crate) fn other(cell: &[u8]) -> Option<i128> {
    let digits = cell.strip_prefix(b"-").unwrap_or(cell);
    // i128 would also take a leading plus sign, which HAProxy never writes.
    if !digits.first().is_some_and(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(cell).ok().and_then(|cell| cell.parse().ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::{Cells, digits, other};

    fn parse(cell: &str) -> Option<i128> {
        let text = format!("01234567{cell},tail");
        let plain = digits(text.as_bytes(), 8, 8 + cell.len());
        if let Some(plain) = plain {
            assert!(cell.is_empty() || other(cell.as_bytes()) == Some(plain.into()), "{cell:?}");
        }
        plain.map(i128::from).or_else(|| other(cell.as_bytes()))
    }

    #[test]
    fn cells_read_as_their_numbers() {
        let numbers = ["", "7", "00000012", "-1", "9223372036854775807", "18446744073709551615"];
        let expected = [0, 7, 12, -1, i64::MAX.into(), u64::MAX.into()].map(Some);
        assert_eq!(numbers.map(parse), expected);
        for text in
            ["x", "1x", "+1", "-", "1.5", "12345678x", "NaN", "\u{0}", "1 ", "\u{ff}234", ":"]
        {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_column_stays_exact_beyond_63_bits() {
        let mut cells = Cells::default();
        cells.push_wide(-3);
        cells.push_null();
        cells.push_wide(u64::MAX.into());
        cells.push_wide(i128::from(u64::MAX) + 1);
        cells.push_wide(5);
        let values: Vec<_> = (0..6).map(|row| cells.get(row)).collect();
        assert_eq!(values, [Some(-3), None, Some(u64::MAX.into()), None, Some(5), None]);
        let halves = cells.halves(false).unwrap();
        let whole = halves.upper.iter().zip(&halves.lower);
        let whole: Vec<_> =
            whole.map(|(upper, lower)| (*upper as i128 * (1 << 32)) + *lower as i128).collect();
        assert_eq!(whole, [-3, 0, u64::MAX.into(), 0, 5]);
    }

    #[test]
    fn a_sum_that_might_not_fit_is_made_of_halves() {
        let mut cells = Cells::default();
        cells.push_wide(i64::MAX.into());
        assert!(cells.halves(true).is_none());
        cells.push_wide(i64::MIN.into());
        assert!(cells.halves(false).is_none(), "it is not summed");
        assert!(cells.halves(true).is_some());
    }

    #[test]
    fn rows_can_be_padded_and_truncated_again() {
        let mut cells = Cells::default();
        cells.push_wide(7);
        cells.pad(3);
        cells.push_null();
        cells.push_wide(u64::MAX.into());
        cells.pad(9);
        assert_eq!(cells.nulls, [(1, 4), (5, 9)]);
        cells.truncate(6);
        assert_eq!((cells.nulls.as_slice(), cells.values.len()), (&[(1, 4), (5, 6)][..], 6));
        cells.truncate(2);
        cells.push_wide(-8);
        let values: Vec<_> = (0..4).map(|row| cells.get(row)).collect();
        assert_eq!(values, [Some(7), None, Some(-8), None]);
    }

    proptest! {
        /// Every number reads as the standard library reads it, with any text before it.
        #[test]
        fn every_number_reads_as_the_standard_library_reads_it(
            number in any::<u64>(),
            shift in 0..64,
        ) {
            let number: u64 = number >> shift;
            assert_eq!(parse(&number.to_string()), Some(number.into()));
        }

        /// A text with a character next to the digits in ASCII is no number.
        #[test]
        fn text_is_no_number(cell in "[0-9]{0,12}[/:;a-z.][0-9]{0,6}") {
            assert_eq!(parse(&cell), None);
        }
    }
}
