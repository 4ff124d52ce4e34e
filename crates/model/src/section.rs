//! A batch: all metrics of one snapshot, kept as tables, because that is how they come and how they are written fast.
//!
//! A section is a set of rows (the subjects: frontends, servers, …) by columns (the metrics). A value that is not there (a mean
//! over no rows) is no metric and no line. Names are clean path segments already; where a path begins (namespace, host, group)
//! is the dispatcher's affair.

pub use crate::{clean, groups};

/// All metrics of one snapshot.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Batch {
    /// The snapshot's name as it stands: epoch seconds.
    pub timestamp: String,
    /// The metrics, by what they speak of.
    pub sections: Vec<Section>,
}

/// What the rows of a section are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// All HAProxy processes together: one row without a name.
    Daemon,
    /// HAProxy processes by number, or by their endpoint's name.
    Process,
    /// Frontends.
    Frontend,
    /// Backends.
    Backend,
    /// Servers in their backend: two names a row.
    BackendServer,
    /// Servers over all backends.
    Server,
    /// haproxystats itself: one row without a name.
    Own,
}

/// Which of the `Metrics…` counts a section belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// `MetricsHAProxy`.
    HAProxy,
    /// `MetricsFrontend`.
    Frontend,
    /// `MetricsBackend`.
    Backend,
    /// `MetricsServer`; the number of a backend's servers counts here too.
    Server,
    /// Our own figures: not counted.
    Own,
}

/// Rows by columns.
#[derive(Debug, Clone, PartialEq)]
pub struct Section {
    /// What the rows are.
    pub subject: Subject,
    /// Where the metrics are counted.
    pub part: Part,
    /// The rows' names.
    pub names: Names,
    /// The metrics; each has as many values as there are rows.
    pub columns: Vec<Column>,
}

/// One metric of all rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// The metric's name, the last part of the path.
    pub name: String,
    /// Its values by row.
    pub values: Values,
    /// Which rows have a value; `None` is all.
    pub present: Option<Vec<bool>>,
}

/// The values of a column.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// Integers that fit.
    Integers(Vec<i64>),
    /// Integers beyond that: sums of 64-bit counters over many processes.
    Wide(Vec<i128>),
    /// Means and the like; always finite where present.
    Decimals(Vec<f64>),
    /// Seconds with exactly three decimals, given in milliseconds.
    Milliseconds(Vec<u64>),
}

/// One value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value {
    /// A whole number.
    Integer(i64),
    /// A whole number that needs more than 64 bits.
    Wide(i128),
    /// A finite number.
    Decimal(f64),
    /// Milliseconds, written as seconds with three decimals.
    Milliseconds(u64),
}

impl Batch {
    /// How many metrics of a part there are.
    #[must_use]
    pub fn count(&self, part: Part) -> usize {
        self.sections.iter().filter(|section| section.part == part).map(Section::count).sum()
    }
}

impl Section {
    /// A section of one row without a name.
    #[must_use]
    pub fn of_one(subject: Subject, part: Part, columns: Vec<Column>) -> Self {
        let mut names = Names::default();
        names.push("", "");
        Self { subject, part, names, columns }
    }

    /// How many metrics there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.columns.iter().map(Column::count).sum()
    }
}

impl Column {
    /// A column in which every row has a value.
    #[must_use]
    pub fn full(name: impl Into<String>, values: Values) -> Self {
        Self { name: name.into(), values, present: None }
    }

    /// A column of decimals; what is absent or not finite is no metric.
    #[must_use]
    pub fn decimals(
        name: impl Into<String>,
        values: impl IntoIterator<Item = Option<f64>>,
    ) -> Self {
        let values: Vec<_> = values.into_iter().map(|v| v.filter(|v| v.is_finite())).collect();
        let present = values.iter().map(Option::is_some).collect::<Vec<_>>();
        Self {
            name: name.into(),
            present: present.contains(&false).then_some(present),
            values: Values::Decimals(values.into_iter().map(Option::unwrap_or_default).collect()),
        }
    }

    /// A column of integers, some of which may be absent.
    #[must_use]
    pub fn integers(
        name: impl Into<String>,
        values: impl IntoIterator<Item = Option<i128>>,
    ) -> Self {
        let values: Vec<_> = values.into_iter().collect();
        let present = values.iter().map(Option::is_some).collect::<Vec<_>>();
        let wide: Vec<_> = values.into_iter().map(Option::unwrap_or_default).collect();
        let narrow = wide.iter().map(|&v| i64::try_from(v)).collect::<Result<Vec<_>, _>>();
        Self {
            name: name.into(),
            values: narrow.map_or(Values::Wide(wide), Values::Integers),
            present: present.contains(&false).then_some(present),
        }
    }

    /// How many rows have a value.
    #[must_use]
    pub fn count(&self) -> usize {
        match &self.present {
            Some(present) => present.iter().filter(|present| **present).count(),
            None => self.values.len(),
        }
    }

    /// Leaves out the rows whose flag is false.
    pub fn keep_rows(&mut self, keep: &[bool]) {
        fn kept<T: Copy>(values: &mut Vec<T>, keep: &[bool]) {
            let mut flags = keep.iter();
            values.retain(|_| flags.next().copied().unwrap_or(true));
        }
        match &mut self.values {
            Values::Integers(values) => kept(values, keep),
            Values::Wide(values) => kept(values, keep),
            Values::Decimals(values) => kept(values, keep),
            Values::Milliseconds(values) => kept(values, keep),
        }
        if let Some(present) = &mut self.present {
            kept(present, keep);
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
    pub fn get(&self, row: usize) -> Option<Value> {
        if !self.has(row) {
            return None;
        }
        match &self.values {
            Values::Integers(values) => values.get(row).copied().map(Value::Integer),
            Values::Wide(values) => values.get(row).copied().map(Value::Wide),
            Values::Decimals(values) => values.get(row).copied().map(Value::Decimal),
            Values::Milliseconds(values) => values.get(row).copied().map(Value::Milliseconds),
        }
    }
}

impl Values {
    /// How many values there are, absent ones included.
    #[must_use]
    pub const fn len(&self) -> usize {
        match self {
            Self::Integers(values) => values.len(),
            Self::Wide(values) => values.len(),
            Self::Decimals(values) => values.len(),
            Self::Milliseconds(values) => values.len(),
        }
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The names of rows, up to two a row, in one allocation: a snapshot can have 100,000 servers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    text: String,
    /// Where the first and the second name of each row end.
    ends: Vec<(usize, usize)>,
}

impl Names {
    /// Adds a row; a name that the subject does not have is empty.
    pub fn push(&mut self, first: &str, second: &str) {
        self.text.push_str(first);
        let middle = self.text.len();
        self.text.push_str(second);
        self.ends.push((middle, self.text.len()));
    }

    /// How many rows there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// A row's first and second name.
    #[must_use]
    pub fn get(&self, row: usize) -> Option<(&str, &str)> {
        let begin = row.checked_sub(1).map_or(Some(0), |before| Some(self.ends.get(before)?.1))?;
        let (middle, end) = *self.ends.get(row)?;
        Some((self.text.get(begin..middle)?, self.text.get(middle..end)?))
    }

    /// The rows in order: first and second name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut begin = 0;
        self.ends.iter().map(move |&(middle, end)| {
            let names = (&self.text[begin..middle], &self.text[middle..end]);
            begin = end;
            names
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back_row_by_row() {
        let mut names = Names::default();
        names.push("be1", "s1");
        names.push("", "");
        names.push("be2", "");
        assert_eq!(names.iter().collect::<Vec<_>>(), [("be1", "s1"), ("", ""), ("be2", "")]);
        let got: Vec<_> = (0..names.len()).map(|row| names.get(row).unwrap()).collect();
        assert_eq!((names.iter().collect(), names.get(3)), (got, None));
    }

    #[test]
    fn absent_values_are_not_counted_and_not_read() {
        let column = Column::decimals("rtime", [Some(1.5), None, Some(f64::NAN)]);
        assert_eq!(column.count(), 1);
        assert_eq!(column.get(0), Some(Value::Decimal(1.5)));
        assert_eq!((column.get(1), column.get(2), column.get(3)), (None, None, None));
    }

    #[test]
    fn integers_are_wide_only_where_they_must_be() {
        let narrow = Column::integers("bin", [Some(1), None]);
        assert_eq!((&narrow.values, narrow.count()), (&Values::Integers(vec![1, 0]), 1));
        let wide = Column::integers("bin", [Some(i128::from(u64::MAX))]);
        assert_eq!(wide.get(0), Some(Value::Wide(18_446_744_073_709_551_615)));
    }

    #[test]
    fn a_batch_counts_by_part() {
        let section = Section::of_one(
            Subject::Daemon,
            Part::HAProxy,
            vec![Column::integers("Tasks", [Some(3)])],
        );
        let batch = Batch { timestamp: "1".into(), sections: vec![section.clone(), section] };
        assert_eq!((batch.count(Part::HAProxy), batch.count(Part::Server)), (2, 0));
    }
}
