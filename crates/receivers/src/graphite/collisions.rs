//! Rows whose names lead to one path are joined: sums are summed, means by their sums and counts,
//! of largest and smallest values the largest and the smallest stays.
//!
//! There can be as many such rows as there are rows. So only [`JOINED_MAX`] of their paths are kept
//! at one time, and the encoder reads the batch again for further ones.

use std::collections::HashMap;

use model::{Column, Fold, Integers, Table, TableKind, Texts, Value, Values};

use super::survey::{Names, Warning};

/// Paths that are joined in one pass over a batch.
const JOINED_MAX: usize = 1000;
/// Names that share a path, told one by one.
const MERGES_MAX: usize = 20;

/// The paths that several rows have, and the rows that were joined so far.
#[derive(Debug, Default)]
pub(super) struct Collisions {
    /// Hashes of the paths that several rows have, ascending. A row that is alone with its path can
    /// be among them; it comes out as it came in.
    shared: Vec<u64>,
    /// For each server that is one with another, the hash of the row in which its backend's servers
    /// are counted; ascending.
    surplus_servers: Vec<u64>,
    /// How many of `shared` earlier passes have done.
    done: usize,
    tables: Vec<Joined>,
    /// Which of `tables` takes the rows that come.
    current: usize,
    merges: usize,
    warnings: Vec<Warning>,
}

/// Joined rows of one table.
#[derive(Debug)]
struct Joined {
    kind: TableKind,
    columns: Vec<Column>,
    rows: Vec<Row>,
    places: HashMap<Vec<String>, usize>,
}

#[derive(Debug)]
struct Row {
    hash: u64,
    /// The clean names.
    names: Vec<String>,
    /// The first row's names as HAProxy spells them.
    first: String,
    cells: Vec<Option<Cell>>,
}

/// A value that has no borrowed parts.
#[derive(Debug, Clone, PartialEq)]
enum Cell {
    Integer(i128),
    Mean { sum: i128, count: u32 },
    Decimal(f64),
    Milliseconds(u64),
    State(String),
}

impl Collisions {
    pub(super) fn new(shared: Vec<u64>, surplus_servers: Vec<u64>) -> Self {
        Self { shared, surplus_servers, ..Self::default() }
    }

    /// Whether no path is left that several rows have.
    pub(super) const fn is_empty(&self) -> bool {
        self.done >= self.shared.len()
    }

    /// Whether several rows have a path.
    pub(super) fn is_shared(&self, hash: u64) -> bool {
        self.shared.binary_search(&hash).is_ok()
    }

    /// Whether several rows have a path that is joined in this pass.
    pub(super) fn is_shared_now(&self, hash: u64) -> bool {
        let to = self.shared.len().min(self.done + JOINED_MAX);
        let now = self.shared.get(self.done..to).unwrap_or_default();
        now.binary_search(&hash).is_ok()
    }

    /// Whether this is the first pass over the batch, which makes the lines of all other rows.
    pub(super) const fn is_first_pass(&self) -> bool {
        self.done == 0
    }

    pub(super) fn next_pass(&mut self) {
        self.done = self.done.saturating_add(JOINED_MAX);
    }

    /// Must be called before the rows of a table: a piece of a table has the same columns as the
    /// pieces before it.
    pub(super) fn begin_table(&mut self, table: &Table) {
        if self.is_empty() || table.names.labels() == 0 {
            return;
        }
        let is_same = |joined: &Joined| {
            let names = joined.columns.iter().map(|column| &column.name);
            joined.kind == table.kind && names.eq(table.columns.iter().map(|column| &column.name))
        };
        self.current = match self.tables.iter().position(is_same) {
            Some(found) => found,
            None => {
                let columns = table.columns.iter().map(without_values).collect();
                let (rows, places) = (Vec::new(), HashMap::new());
                self.tables.push(Joined { kind: table.kind, columns, rows, places });
                self.tables.len() - 1
            }
        };
    }

    /// Takes a row of a path that is joined in this pass.
    pub(super) fn join(&mut self, table: &Table, row: usize, hash: u64, names: &Names) {
        let Some(joined) = self.tables.get_mut(self.current) else { return };
        let raw = || table.names.row(row).collect::<Vec<_>>().join(",");
        let cells = table.columns.iter().map(|column| column.get(row).map(Cell::from));
        match joined.places.get(names.clean()) {
            None => {
                joined.places.insert(names.clean().to_vec(), joined.rows.len());
                let names = names.clean().to_vec();
                joined.rows.push(Row { hash, names, first: raw(), cells: cells.collect() });
            }
            Some(place) => {
                let Some(first) = joined.rows.get_mut(*place) else { return };
                for ((cell, other), column) in
                    first.cells.iter_mut().zip(cells).zip(&joined.columns)
                {
                    *cell = merged(cell.take(), other, column.fold);
                }
                let merge = (first.first.clone(), raw(), first.names.join("."));
                if table.kind != TableKind::ServerCount {
                    self.note_merge(merge);
                }
            }
        }
    }

    fn note_merge(&mut self, (first, other, subject): (String, String, String)) {
        self.merges += 1;
        let text = if self.merges <= MERGES_MAX {
            format!(
                "{first:?} and {other:?} become one path: their values are summed; rename one in \
                 HAProxy to part them"
            )
        } else if self.merges == MERGES_MAX + 1 {
            "more names become one path than are told one by one".to_owned()
        } else {
            return;
        };
        self.warnings.push(Warning { subject, state: "names", text });
    }

    /// The rows that this pass has joined, as tables whose names are clean.
    pub(super) fn take_joined(&mut self) -> Vec<Table> {
        let joined = std::mem::take(&mut self.tables).into_iter();
        joined.filter(|joined| !joined.rows.is_empty()).map(|joined| self.table(joined)).collect()
    }

    fn table(&self, joined: Joined) -> Table {
        let Joined { kind, mut columns, mut rows, .. } = joined;
        let mut names = model::Names::new(kind);
        for row in &mut rows {
            names.push(&row.names.iter().map(String::as_str).collect::<Vec<_>>());
            if kind == TableKind::ServerCount
                && let Some(Some(Cell::Integer(count))) = row.cells.first_mut()
            {
                *count = count.saturating_sub(self.surplus_servers_of(row.hash));
            }
        }
        for (at, column) in columns.iter_mut().enumerate() {
            let cells = rows.iter_mut().map(|row| row.cells.get_mut(at).and_then(Option::take));
            *column = filled(column, cells.collect());
        }
        Table { kind, names, columns }
    }

    fn surplus_servers_of(&self, hash: u64) -> i128 {
        let from = self.surplus_servers.partition_point(|it| *it < hash);
        let to = self.surplus_servers.partition_point(|it| *it <= hash);
        (to - from) as i128
    }

    pub(super) fn take_warnings(&mut self) -> Vec<Warning> {
        std::mem::take(&mut self.warnings)
    }
}

impl From<Value<'_>> for Cell {
    fn from(value: Value<'_>) -> Self {
        match value {
            Value::Integer(value) => Self::Integer(value),
            Value::Mean { sum, count } => Self::Mean { sum, count },
            Value::Decimal(value) => Self::Decimal(value),
            Value::Milliseconds(value) => Self::Milliseconds(value),
            Value::State(state) => Self::State(state.to_owned()),
        }
    }
}

/// Two values of one metric as one. Of figures that were derived, and of states, the first stays.
fn merged(first: Option<Cell>, other: Option<Cell>, fold: Option<Fold>) -> Option<Cell> {
    let (first, other) = match (first, other) {
        (Some(first), Some(other)) => (first, other),
        (first, other) => return first.or(other),
    };
    Some(match (first, other, fold) {
        (Cell::Integer(first), Cell::Integer(other), Some(Fold::Sum)) => {
            Cell::Integer(first.saturating_add(other))
        }
        (Cell::Integer(first), Cell::Integer(other), Some(Fold::Largest)) => {
            Cell::Integer(first.max(other))
        }
        (Cell::Integer(first), Cell::Integer(other), Some(Fold::Smallest)) => {
            Cell::Integer(first.min(other))
        }
        (Cell::Mean { sum, count }, Cell::Mean { sum: other, count: more }, _) => {
            Cell::Mean { sum: sum.saturating_add(other), count: count.saturating_add(more) }
        }
        (first, ..) => first,
    })
}

/// The column with values of the same kind, but none.
fn without_values(column: &Column) -> Column {
    let values = match column.values {
        Values::Integers(_) => Values::Integers(Integers::Narrow(Vec::new())),
        Values::Means { .. } => {
            Values::Means { sums: Integers::Narrow(Vec::new()), counts: Vec::new() }
        }
        Values::Decimals(_) => Values::Decimals(Vec::new()),
        Values::Milliseconds(_) => Values::Milliseconds(Vec::new()),
        Values::States(_) => Values::States(Texts::default()),
    };
    Column::new(column.name.as_str(), column.nature, column.fold, values)
}

/// The column with these values.
fn filled(column: &Column, cells: Vec<Option<Cell>>) -> Column {
    let Column { name, nature, fold, values, .. } = column;
    let name = name.as_str();
    match values {
        Values::Integers(_) => {
            let values = cells.into_iter().map(|cell| match cell {
                Some(Cell::Integer(value)) => Some(value),
                _ => None,
            });
            Column::integers(name, *nature, *fold, values)
        }
        Values::Means { .. } => {
            let values = cells.into_iter().map(|cell| match cell {
                Some(Cell::Mean { sum, count }) => Some((sum, count)),
                _ => None,
            });
            Column::means(name, *nature, *fold, values)
        }
        Values::Decimals(_) => {
            let values = cells.into_iter().map(|cell| match cell {
                Some(Cell::Decimal(value)) => Some(value),
                _ => None,
            });
            Column::decimals(name, *nature, values)
        }
        Values::Milliseconds(_) => {
            let present = cells.iter().map(Option::is_some).collect();
            let values = cells.into_iter().map(|cell| match cell {
                Some(Cell::Milliseconds(value)) => value,
                _ => 0,
            });
            let values = Values::Milliseconds(values.collect());
            let column = Column::new(name, *nature, *fold, values);
            Column { present: Some(present), ..column }
        }
        Values::States(_) => {
            let present = cells.iter().map(Option::is_some).collect();
            let mut states = Texts::default();
            for cell in &cells {
                states.push(if let Some(Cell::State(state)) = cell { state } else { "" });
            }
            let column = Column::new(name, *nature, *fold, Values::States(states));
            Column { present: Some(present), ..column }
        }
    }
}
