//! A batch as JSON: one flat object for each row and line (ClickHouse's `JSONEachRow`).
//!
//! | key | is |
//! |---|---|
//! | `time` | the snapshot's epoch seconds |
//! | `host` | the snapshot's origin |
//! | `kind` | `daemon`, `frontend`, `backend`, `server`, `haproxystats` for ourselves, or |
//! | | the measurement of a table of another source |
//! | `proxy` | the name of the frontend or backend; absent for a server over all backends |
//! | `server` | the server's name, where the row is a server's |
//! | `process` | the process, where the row is of one HAProxy process |
//!
//! The other keys are the names of HAProxy's columns and of `show info`, all but those without a
//! value. Means are numbers with their decimals.

use std::io::Write;

use model::{Column, Integers, Layout, SnapshotId, Table, TableKind, Values};

use crate::rows::RowFormat;

/// The objects of a batch.
#[derive(Debug)]
pub struct JsonRows {
    /// The beginning of each object: the keys that are the same in all rows.
    head: Vec<u8>,
    /// The keys of the current table's columns, with the comma before and the colon behind; `None`
    /// for a column that is left out.
    keys: Vec<Option<Vec<u8>>>,
}

impl JsonRows {
    /// The objects of the batch of a snapshot.
    #[must_use]
    pub fn new(id: &SnapshotId) -> Self {
        let mut head = format!("{{\"time\":{},\"host\":", id.timestamp.seconds()).into_bytes();
        push_text(&id.origin, &mut head);
        Self { head, keys: Vec::new() }
    }
}

impl RowFormat for JsonRows {
    fn begin_table(&mut self, table: &Table) {
        self.keys.clear();
        for column in &table.columns {
            let is_left_out = table.stands_for_texts(column);
            self.keys.push(if is_left_out { None } else { Some(key(&column.name)) });
        }
    }

    fn push_row(&mut self, table: &Table, row: usize, out: &mut Vec<u8>) {
        let begin = out.len();
        out.extend_from_slice(&self.head);
        push_labels(table, row, out);
        let mut is_empty = true;
        for (column, key) in table.columns.iter().zip(&self.keys) {
            if let Some(key) = key
                && column.has(row)
            {
                out.extend_from_slice(key);
                push_value(column, row, out);
                is_empty = false;
            }
        }
        if is_empty {
            out.truncate(begin);
        } else {
            out.extend_from_slice(b"}\n");
        }
    }
}

fn key(name: &str) -> Vec<u8> {
    let mut key = vec![b','];
    push_text(name, &mut key);
    key.push(b':');
    key
}

fn push_labels(table: &Table, row: usize, out: &mut Vec<u8>) {
    let (kind, labels): (&str, &[&str]) = match &table.kind {
        TableKind::Daemon => ("daemon", &[]),
        TableKind::Process => ("daemon", &["process"]),
        TableKind::Frontend => ("frontend", &["proxy"]),
        TableKind::Backend | TableKind::ServerCount => ("backend", &["proxy"]),
        TableKind::BackendServer => ("server", &["proxy", "server"]),
        TableKind::Server => ("server", &["server"]),
        TableKind::Own => ("haproxystats", &[]),
        TableKind::Other(layout) => return push_layout(layout, table, row, out),
    };
    // Writing to memory cannot fail.
    _ = write!(out, ",\"kind\":\"{kind}\"");
    for (label, name) in labels.iter().zip(table.names.row(row)) {
        _ = write!(out, ",\"{label}\":");
        push_text(name, out);
    }
}

/// The labels of a layout are any text, so they are escaped.
fn push_layout(layout: &Layout, table: &Table, row: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"kind\":");
    push_text(&layout.measurement, out);
    for (label, name) in layout.labels.iter().zip(table.names.row(row)) {
        out.extend(key(label));
        push_text(name, out);
    }
}

fn push_value(column: &Column, row: usize, out: &mut Vec<u8>) {
    _ = match &column.values {
        Values::Integers(Integers::Narrow(values)) => write!(out, "{}", values[row]),
        Values::Integers(Integers::Wide(values)) => write!(out, "{}", values[row]),
        Values::Means { sums: Integers::Narrow(sums), counts } => {
            write!(out, "{}", sums[row] as f64 / f64::from(counts[row].max(1)))
        }
        Values::Means { sums: Integers::Wide(sums), counts } => {
            write!(out, "{}", sums[row] as f64 / f64::from(counts[row].max(1)))
        }
        Values::Decimals(values) => write!(out, "{}", values[row]),
        Values::Milliseconds(values) => {
            write!(out, "{}.{:03}", values[row] / 1000, values[row] % 1000)
        }
        Values::Numbers(numbers) => {
            out.extend_from_slice(numbers.get(row).unwrap_or_default().as_bytes());
            Ok(())
        }
        Values::States(states) => {
            push_text(states.get(row).unwrap_or_default(), out);
            Ok(())
        }
    };
}

fn push_text(text: &str, out: &mut Vec<u8>) {
    // Writing text to memory cannot fail.
    _ = serde_json::to_writer(out, text);
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use model::{Batch, BatchCursor, Fold, Names, Nature};
    use serde_json::{Value, json};

    use super::*;
    use crate::rows::RowEncoder;

    #[test]
    fn a_row_is_an_object_and_a_line() {
        let mut names = Names::new(&TableKind::BackendServer);
        names.push(&["www \"a\"", "s1"]);
        names.push(&["www", "s2"]);
        let stot = Column::integers("stot", Nature::Counter, Some(Fold::Sum), [Some(3), None]);
        let qtime = [Some((5, 2)), None];
        let qtime = Column::means("qtime", Nature::Average, Some(Fold::Mean), qtime);
        let servers = Table { kind: TableKind::BackendServer, names, columns: vec![stot, qtime] };
        let mut names = Names::new(&TableKind::Process);
        names.push(&["1"]);
        let uptime = Column::new("Uptime", Nature::Age, None, Values::Milliseconds(vec![1_002]));
        let process = Table { kind: TableKind::Process, names, columns: vec![uptime] };
        let layout = Layout::new("uwsgi_apps", &["source", "app_id"], "uwsgi.{0}.apps.{1}");
        let kind = TableKind::Other(layout.into());
        let mut names = Names::new(&kind);
        names.push(&["blog", "0"]);
        let tx = Column::integers("tx", Nature::Counter, Some(Fold::Sum), [Some(9)]);
        let app = Table { kind, names, columns: vec![tx] };
        let timestamp = "1700000000".parse().unwrap();
        let id = SnapshotId { origin: "lb\n1".into(), timestamp, serial: 7 };
        let batch = Batch { id, tables: vec![servers, process, app] };
        let mut text = String::new();
        let format = JsonRows::new(&batch.id);
        let mut encoder = RowEncoder::new(BatchCursor::new(&batch), format).unwrap();
        encoder.read_to_string(&mut text).unwrap();
        let rows: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let server = json!({"time": 1_700_000_000, "host": "lb\n1", "kind": "server",
            "proxy": "www \"a\"", "server": "s1", "stot": 3, "qtime": 2.5});
        let process = json!({"time": 1_700_000_000, "host": "lb\n1", "kind": "daemon",
            "process": "1", "Uptime": 1.002});
        let app = json!({"time": 1_700_000_000, "host": "lb\n1", "kind": "uwsgi_apps",
            "source": "blog", "app_id": "0", "tx": 9});
        assert_eq!(rows, [server, process, app]);
    }
}
