//! Joins rows that share a path: sums and means are added, and of largest and smallest values the
//! largest and the smallest stays.
//!
//! All rows of a batch can share paths. So only [`JOINED_MAX`] of these paths are kept at one time,
//! and the encoder reads the batch again for the others.

use std::collections::HashMap;

use model::{Column, Fold, Integers, Table, TableKind, Texts, Value, Values};

use super::survey::{CleanNames, Warning};

/// Paths that are joined in one pass over a batch.
const JOINED_MAX: usize = 1000;
/// Merges with a warning each; one last warning stands for all others.
const MERGES_MAX: usize = 20;

/// The paths that several rows share, and the rows that were joined in this pass.
#[derive(Debug, Default)]
pub(super) struct Collisions {
    /// Hashes of the paths that several rows share, ascending. A row that shares only its hash is
    /// joined with no other and keeps its values.
    shared: Vec<u64>,
    /// For each server whose path another server has too, the hash of the row that counts its
    /// backend's servers; ascending.
    surplus_servers: Vec<u64>,
    /// How many of `shared` earlier passes have done.
    done: usize,
    tables: Vec<JoinedTable>,
    /// The index in `tables` for the rows that follow.
    current: usize,
    merges: usize,
    warnings: Vec<Warning>,
}

/// The joined rows of one table.
#[derive(Debug)]
struct JoinedTable {
    kind: TableKind,
    /// Without values.
    columns: Vec<Column>,
    rows: Vec<Row>,
    /// Indices of `rows` by clean names.
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

/// An owned value.
#[derive(Debug, Clone, PartialEq)]
enum Cell {
    Integer(i128),
    Mean { sum: i128, count: u32 },
    Decimal(f64),
    Milliseconds(u64),
    State(String),
    Number(String),
}

impl Collisions {
    pub(super) fn new(shared: Vec<u64>, surplus_servers: Vec<u64>) -> Self {
        Self { shared, surplus_servers, ..Self::default() }
    }

    /// Whether no shared path is left to be joined.
    pub(super) const fn is_empty(&self) -> bool {
        self.done >= self.shared.len()
    }

    /// Whether several rows share a path.
    pub(super) fn is_shared(&self, hash: u64) -> bool {
        self.shared.binary_search(&hash).is_ok()
    }

    /// Whether several rows share a path and are joined in this pass.
    pub(super) fn is_shared_now(&self, hash: u64) -> bool {
        let to = self.shared.len().min(self.done + JOINED_MAX);
        let now = self.shared.get(self.done..to).unwrap_or_default();
        now.binary_search(&hash).is_ok()
    }

    /// Whether this is the first pass, which also makes the lines of the rows that share no path.
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
        let is_same = |joined: &JoinedTable| {
            let names = joined.columns.iter().map(|column| &column.name);
            joined.kind == table.kind && names.eq(table.columns.iter().map(|column| &column.name))
        };
        self.current = match self.tables.iter().position(is_same) {
            Some(found) => found,
            None => {
                let columns = table.columns.iter().map(without_values).collect();
                let (rows, places) = (Vec::new(), HashMap::new());
                let kind = table.kind.clone();
                self.tables.push(JoinedTable { kind, columns, rows, places });
                self.tables.len() - 1
            }
        };
    }

    /// Joins a row whose path is joined in this pass.
    pub(super) fn join(&mut self, table: &Table, row: usize, hash: u64, names: &CleanNames) {
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
                    *cell = merge(cell.take(), other, column.fold);
                }
                if table.kind != TableKind::ServerCount {
                    let (spelling, subject) = (first.first.clone(), first.names.join("."));
                    self.warn_of_merge(&table.kind, &spelling, &raw(), subject);
                }
            }
        }
    }

    fn warn_of_merge(&mut self, kind: &TableKind, first: &str, other: &str, subject: String) {
        self.merges += 1;
        // The columns of other sources have no fold.
        let effect = match kind {
            TableKind::Other(_) => "the first value of each metric stays; rename one",
            _ => "their values are summed; rename one in HAProxy",
        };
        let text = if self.merges <= MERGES_MAX {
            format!("{first:?} and {other:?} become one path: {effect} to part them")
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

    fn table(&self, joined: JoinedTable) -> Table {
        let JoinedTable { kind, mut columns, mut rows, .. } = joined;
        let mut names = model::Names::new(&kind);
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
            *column = with_values(column, cells.collect());
        }
        Table { kind, names, columns }
    }

    fn surplus_servers_of(&self, hash: u64) -> i128 {
        let from = self.surplus_servers.partition_point(|row| *row < hash);
        let to = self.surplus_servers.partition_point(|row| *row <= hash);
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
            Value::Number(number) => Self::Number(number.to_owned()),
        }
    }
}

/// Merges two values of one metric. Of derived figures, of numbers in their own text
/// and of states, the first one stays.
fn merge(first: Option<Cell>, other: Option<Cell>, fold: Option<Fold>) -> Option<Cell> {
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

/// The column without values; their kind stays.
fn without_values(column: &Column) -> Column {
    let values = match column.values {
        Values::Integers(_) => Values::Integers(Integers::Narrow(Vec::new())),
        Values::Means { .. } => {
            Values::Means { sums: Integers::Narrow(Vec::new()), counts: Vec::new() }
        }
        Values::Decimals(_) => Values::Decimals(Vec::new()),
        Values::Milliseconds(_) => Values::Milliseconds(Vec::new()),
        Values::States(_) => Values::States(Texts::default()),
        Values::Numbers(_) => Values::Numbers(Texts::default()),
    };
    Column::new(column.name.as_str(), column.nature, column.fold, values)
}

/// The column with these values.
fn with_values(column: &Column, cells: Vec<Option<Cell>>) -> Column {
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
        Values::Numbers(_) => {
            let values = cells.iter().map(|cell| match cell {
                Some(Cell::Number(number)) => Some(number.as_str()),
                _ => None,
            });
            Column::numbers(name, *nature, values)
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
