//! A whole batch as line protocol: one line for each row, with all of its fields.
//!
//! The rows of proxies are those of telegraf's inputs.haproxy: measurement `haproxy`, the tags
//! `host`, `proxy`, `server`, `sv` and `type`, whole numbers as integers. Figures that telegraf
//! lacks are in the measurements `haproxy_info`, `haproxy_servers` and `haproxystats`.

use std::io::Write;

use model::{Column, Integers, SnapshotId, Table, TableKind, Values};

use super::escape::{is_tag_value, push_key, push_string};
use super::fields;
use crate::rows::RowFormat;

/// The unit of timestamps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// For HTTP, which tells the server so.
    Seconds,
    /// For files and messages: readers expect nanoseconds where nothing tells the unit.
    Nanoseconds,
}

/// The names and tags of the lines, and the unit of their timestamps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema {
    /// Whether fields and tags bear HAProxy's own names in place of telegraf's.
    pub keep_field_names: bool,
    /// Tags of every line.
    pub tags: Vec<(String, String)>,
    /// The unit of timestamps.
    pub precision: Precision,
}

/// The lines of a batch.
#[derive(Debug)]
pub struct InfluxLines<'a> {
    schema: &'a Schema,
    origin: String,
    /// A blank, the timestamp and the end of a line.
    tail: Vec<u8>,
    /// The fields of the current table: name and equals sign, escaped.
    names: Vec<Vec<u8>>,
}

impl<'a> InfluxLines<'a> {
    /// The lines of the batch of a snapshot.
    #[must_use]
    pub fn new(schema: &'a Schema, id: &SnapshotId) -> Self {
        let zeros = match schema.precision {
            Precision::Seconds => "",
            Precision::Nanoseconds => "000000000",
        };
        Self {
            schema,
            origin: id.origin.clone(),
            tail: format!(" {}{zeros}\n", id.timestamp.seconds()).into_bytes(),
            names: Vec::new(),
        }
    }
}

impl RowFormat for InfluxLines<'_> {
    fn begin_table(&mut self, table: &Table) {
        let keeps_names = self.schema.keep_field_names || !is_of_proxies(table.kind);
        self.names.clear();
        self.names.extend(table.columns.iter().map(|column| {
            let mut name = Vec::new();
            push_key(fields::of_proxy(&column.name, keeps_names), &mut name);
            name.push(b'=');
            name
        }));
    }

    fn push_row(&mut self, table: &Table, row: usize, out: &mut Vec<u8>) {
        let begin = out.len();
        push_series(table, row, &self.origin, self.schema, out);
        let mut separator = b' ';
        for (column, name) in table.columns.iter().zip(&self.names) {
            if column.has(row) {
                out.push(separator);
                out.extend_from_slice(name);
                push_value(column, row, out);
                separator = b',';
            }
        }
        if separator == b' ' {
            out.truncate(begin);
        } else {
            out.extend_from_slice(&self.tail);
        }
    }
}

const fn is_of_proxies(kind: TableKind) -> bool {
    match kind {
        TableKind::Frontend
        | TableKind::Backend
        | TableKind::ServerCount
        | TableKind::BackendServer
        | TableKind::Server => true,
        TableKind::Daemon | TableKind::Process | TableKind::Own => false,
    }
}

/// Appends the measurement and the tags of a row, the tags in the order of their names.
fn push_series(table: &Table, row: usize, origin: &str, schema: &Schema, out: &mut Vec<u8>) {
    let name = |label| table.names.label(row, label).unwrap_or_default();
    let (measurement, proxy, server, kind) = match table.kind {
        TableKind::Daemon | TableKind::Process => ("haproxy_info", "", "", ""),
        TableKind::Own => ("haproxystats", "", "", ""),
        TableKind::Frontend => ("haproxy", name(0), "FRONTEND", "frontend"),
        TableKind::Backend | TableKind::ServerCount => ("haproxy", name(0), "BACKEND", "backend"),
        TableKind::BackendServer => ("haproxy", name(0), name(1), "server"),
        TableKind::Server => ("haproxy_servers", "", name(0), "server"),
    };
    let process = if table.kind == TableKind::Process { name(0) } else { "" };
    let (proxy_tag, server_tag) =
        if schema.keep_field_names { ("pxname", "svname") } else { ("proxy", "sv") };
    let source = if is_of_proxies(table.kind) { origin } else { "" };
    let mut tags = vec![
        ("host", origin),
        ("process", process),
        (proxy_tag, proxy),
        ("server", source),
        (server_tag, server),
        ("type", kind),
    ];
    tags.extend(schema.tags.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    tags.sort_by_key(|(name, _)| *name);
    out.extend_from_slice(measurement.as_bytes());
    for (name, value) in tags {
        if is_tag_value(value) {
            out.push(b',');
            push_key(name, out);
            out.push(b'=');
            push_key(value, out);
        }
    }
}

/// Appends a value. Means are whole numbers, as telegraf has them, rounded half to even. Derived
/// figures are floats, also where they are whole: the type of a field must not change.
fn push_value(column: &Column, row: usize, out: &mut Vec<u8>) {
    match &column.values {
        Values::Integers(Integers::Narrow(values)) => push_integer(values[row], out),
        Values::Integers(Integers::Wide(values)) => push_integer(clamped(values[row]), out),
        Values::Means { sums: Integers::Narrow(sums), counts } => {
            push_integer(clamped(rounded(sums[row].into(), counts[row])), out);
        }
        Values::Means { sums: Integers::Wide(sums), counts } => {
            push_integer(clamped(rounded(sums[row], counts[row])), out);
        }
        // Writing to memory cannot fail.
        Values::Decimals(values) => _ = write!(out, "{}", values[row]),
        Values::Milliseconds(values) => {
            _ = write!(out, "{}.{:03}", values[row] / 1000, values[row] % 1000);
        }
        Values::States(states) => push_string(states.get(row).unwrap_or_default(), out),
    }
}

fn push_integer(value: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    out.push(b'i');
}

/// InfluxDB has integers of 64 bits.
fn clamped(value: i128) -> i64 {
    let fallback = if value < 0 { i64::MIN } else { i64::MAX };
    i64::try_from(value).unwrap_or(fallback)
}

/// The mean as a whole number, halves to even.
fn rounded(sum: i128, count: u32) -> i128 {
    let count = i128::from(count.max(1));
    let (whole, rest) = (sum.div_euclid(count), sum.rem_euclid(count));
    let is_up = match (2 * rest).cmp(&count) {
        std::cmp::Ordering::Less => false,
        std::cmp::Ordering::Equal => whole % 2 != 0,
        std::cmp::Ordering::Greater => true,
    };
    whole + i128::from(is_up)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use model::{Batch, BatchCursor, Fold, Names, Nature, Texts};

    use super::*;
    use crate::rows::RowEncoder;

    fn schema() -> Schema {
        Schema { keep_field_names: false, tags: Vec::new(), precision: Precision::Seconds }
    }

    fn lines(tables: Vec<Table>, schema: &Schema) -> String {
        let timestamp = "1700000000".parse().unwrap();
        let id = SnapshotId { origin: "lb 1".into(), timestamp, serial: 7 };
        let batch = Batch { id, tables };
        let mut text = String::new();
        let format = InfluxLines::new(schema, &batch.id);
        let mut encoder = RowEncoder::new(BatchCursor::new(&batch), format).unwrap();
        encoder.read_to_string(&mut text).unwrap();
        text
    }

    fn integers(name: &str, values: [Option<i128>; 2]) -> Column {
        Column::integers(name, Nature::Counter, Some(Fold::Sum), values)
    }

    fn servers() -> Table {
        let mut names = Names::new(TableKind::BackendServer);
        names.push(&["www,a", "s=1"]);
        names.push(&["www", "s2"]);
        let qtime = [Some((5, 2)), Some((7, 2))];
        let qtime = Column::means("qtime", Nature::Average, Some(Fold::Mean), qtime);
        let columns = vec![
            integers("hrsp_2xx", [Some(3), None]),
            integers("bin", [Some(1 << 70), Some(0)]),
            qtime,
        ];
        Table { kind: TableKind::BackendServer, names, columns }
    }

    #[test]
    fn a_row_is_a_line_with_telegrafs_names() {
        assert_eq!(
            lines(vec![servers()], &schema()),
            "haproxy,host=lb\\ 1,proxy=www\\,a,server=lb\\ 1,sv=s\\=1,type=server \
             http_response.2xx=3i,bin=9223372036854775807i,qtime=2i 1700000000\n\
             haproxy,host=lb\\ 1,proxy=www,server=lb\\ 1,sv=s2,type=server \
             bin=0i,qtime=4i 1700000000\n"
        );
    }

    #[test]
    fn names_can_be_haproxys_and_timestamps_nanoseconds() {
        let tags = vec![("dc".to_owned(), "ams 1".to_owned()), ("zone".to_owned(), String::new())];
        let schema = Schema { keep_field_names: true, tags, precision: Precision::Nanoseconds };
        let text = lines(vec![servers()], &schema);
        let first = text.lines().next().unwrap();
        assert_eq!(
            first,
            "haproxy,dc=ams\\ 1,host=lb\\ 1,pxname=www\\,a,server=lb\\ 1,svname=s\\=1,type=server \
             hrsp_2xx=3i,bin=9223372036854775807i,qtime=2i 1700000000000000000"
        );
    }

    #[test]
    fn other_tables_have_other_measurements() {
        let percent = Column::decimals("ConnPercentage", Nature::Gauge, [Some(2.0)]);
        let uptime = Values::Milliseconds(vec![12_034]);
        let uptime = Column::new("Uptime", Nature::Age, None, uptime);
        let daemon = Table::of_one_row(TableKind::Daemon, vec![percent, uptime]);
        let mut names = Names::new(TableKind::Process);
        names.push(&["1"]);
        let tasks = Column::integers("Tasks", Nature::Gauge, Some(Fold::Sum), [Some(-3)]);
        let process = Table { kind: TableKind::Process, names, columns: vec![tasks] };
        let status = Values::States(Texts::from_iter(["UP \"1\"\n"]));
        let mut names = Names::new(TableKind::Server);
        names.push(&["s1"]);
        let status = Column::new("status", Nature::Other, None, status);
        let server = Table { kind: TableKind::Server, names, columns: vec![status] };
        assert_eq!(
            lines(vec![daemon, process, server], &schema()),
            "haproxy_info,host=lb\\ 1 ConnPercentage=2,Uptime=12.034 1700000000\n\
             haproxy_info,host=lb\\ 1,process=1 Tasks=-3i 1700000000\n\
             haproxy_servers,host=lb\\ 1,server=lb\\ 1,sv=s1,type=server \
             status=\"UP \\\"1\\\" \" 1700000000\n"
        );
    }

    #[test]
    fn a_row_without_a_value_has_no_line() {
        let mut names = Names::new(TableKind::Frontend);
        names.push(&["a"]);
        names.push(&["b"]);
        let columns = vec![integers("stot", [None, Some(1)])];
        let table = Table { kind: TableKind::Frontend, names, columns };
        let text = lines(vec![table], &schema());
        assert_eq!(text.lines().count(), 1);
        assert!(text.contains("proxy=b"), "{text}");
    }

    #[test]
    fn means_are_rounded_half_to_even() {
        let means = [(1, 2), (3, 2), (-1, 2), (-3, 2), (5, 3), (4, 3), (0, 0)];
        assert_eq!(means.map(|(sum, count)| rounded(sum, count)), [0, 2, 0, -2, 2, 1, 0]);
    }
}
