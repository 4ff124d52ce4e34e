//! A batch: all metrics of one snapshot, folded, as tables.
//!
//! A table has a row for each frontend, backend, server and so on, and a column for each metric.
//! Names are HAProxy's, letter by letter: an encoder replaces the characters that its receiver does
//! not accept. A value can be absent, such as a mean over no rows.

use std::sync::Arc;

use crate::{Column, Layout, Names, SnapshotId, Values};

/// All metrics of one snapshot.
///
/// ```
/// use haproxystats_model::{Batch, Column, Fold, Names, Nature, SnapshotId, Table, TableKind};
/// use haproxystats_model::{Timestamp, Value};
///
/// let mut names = Names::new(&TableKind::Frontend);
/// names.push(&["www.example.com"]);
/// let sessions = Column::integers("stot", Nature::Counter, Some(Fold::Sum), [Some(42)]);
/// let batch = Batch {
///     id: SnapshotId { origin: "lb1".into(), timestamp: Timestamp::of_seconds(17), serial: 0 },
///     tables: vec![Table { kind: TableKind::Frontend, names, columns: vec![sessions] }],
/// };
/// assert_eq!(batch.points(), 1);
/// assert_eq!(batch.tables[0].columns[0].get(0), Some(Value::Integer(42)));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// The snapshot that was folded.
    pub id: SnapshotId,
    /// A table for each kind that has metrics.
    pub tables: Vec<Table>,
}

/// The kind of a table's rows.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TableKind {
    /// All HAProxy processes together: one row without a name.
    Daemon,
    /// Each HAProxy process, by its number or its endpoint's name.
    Process,
    /// Frontends.
    Frontend,
    /// Backends.
    Backend,
    /// How many servers each backend has.
    ServerCount,
    /// Servers, each in its backend.
    BackendServer,
    /// Servers over all backends.
    Server,
    /// haproxystats itself: one row without a name.
    Own,
    /// Rows of another source than HAProxy.
    Other(Arc<Layout>),
}

/// Rows by columns.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// The kind of the rows.
    pub kind: TableKind,
    /// The rows' names; no two rows have the same.
    pub names: Names,
    /// The metrics; each has as many values as there are rows.
    pub columns: Vec<Column>,
}

impl Batch {
    /// How many values are present.
    #[must_use]
    pub fn points(&self) -> u64 {
        self.tables.iter().map(|table| table.points() as u64).sum()
    }
}

impl TableKind {
    /// Every kind of HAProxy's rows and of our own.
    pub const ALL: [Self; 8] = [
        Self::Daemon,
        Self::Process,
        Self::Frontend,
        Self::Backend,
        Self::ServerCount,
        Self::BackendServer,
        Self::Server,
        Self::Own,
    ];

    /// How many names a row has.
    ///
    /// ```
    /// assert_eq!(haproxystats_model::TableKind::BackendServer.labels(), 2);
    /// ```
    #[must_use]
    pub fn labels(&self) -> usize {
        match self {
            Self::Daemon | Self::Own => 0,
            Self::Process | Self::Frontend | Self::Backend | Self::ServerCount | Self::Server => 1,
            Self::BackendServer => 2,
            Self::Other(layout) => layout.labels.len(),
        }
    }
}

impl Table {
    /// A table of one row without a name.
    #[must_use]
    pub fn of_one_row(kind: TableKind, columns: Vec<Column>) -> Self {
        let mut names = Names::new(&kind);
        names.push(&[]);
        Self { kind, names, columns }
    }

    /// Whether a column has the numbers of a column of texts with the same name. Such numbers are
    /// for receivers that take no texts; any other receiver gets the texts alone, because its
    /// fields have one type each.
    #[must_use]
    pub fn stands_for_texts(&self, column: &Column) -> bool {
        let is_text = |column: &Column| matches!(column.values, Values::States(_));
        !is_text(column)
            && self.columns.iter().any(|other| is_text(other) && other.name == column.name)
    }

    /// How many values are present.
    #[must_use]
    pub fn points(&self) -> usize {
        self.columns.iter().map(Column::count).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Fold, Nature, Timestamp};

    #[test]
    fn points_are_the_values_that_are_present() {
        let column =
            Column::integers("Tasks", Nature::Gauge, Some(Fold::Sum), [Some(3), None, Some(0)]);
        let mut names = Names::new(&TableKind::Process);
        ["1", "2", "3"].iter().for_each(|name| names.push(&[name]));
        let table =
            Table { kind: TableKind::Process, names, columns: vec![column.clone(), column] };
        let id =
            SnapshotId { origin: "lb1".into(), timestamp: Timestamp::of_seconds(1), serial: 7 };
        assert_eq!(Batch { id, tables: vec![table.clone(), table] }.points(), 8);
    }

    #[test]
    fn numbers_stand_for_the_texts_of_the_same_name() {
        let number = |name: &str| Column::integers(name, Nature::Gauge, None, [Some(8)]);
        let texts = Values::States(["L4CON"].into_iter().collect());
        let texts = Column::new("check_status", Nature::Other, None, texts);
        let columns = vec![number("check_status"), number("up"), texts];
        let table = Table::of_one_row(TableKind::Daemon, columns);
        let stand: Vec<_> =
            table.columns.iter().map(|column| table.stands_for_texts(column)).collect();
        assert_eq!(stand, [true, false, false]);
    }
}
