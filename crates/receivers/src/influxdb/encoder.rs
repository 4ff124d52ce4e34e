//! A whole batch as line protocol: one line for each row, with all of its fields.
//!
//! The rows of proxies are those of telegraf's inputs.haproxy: measurement `haproxy`, the tags
//! `host`, `proxy`, `server`, `sv` and `type`, whole numbers as integers. Figures that telegraf
//! lacks are in the measurements `haproxy_info`, `haproxy_servers` and `haproxystats`.

use std::io::Write;

use model::{Column, Integers, SnapshotId, Table, TableKind, Values, clean};

use super::escape::{is_tag_value, push_key, push_string};
use super::fields;
use crate::groups::{GroupRules, GroupSections, InvalidPattern};
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
#[derive(Debug)]
pub struct Schema {
    keep_field_names: bool,
    /// Tags of every line.
    tags: Vec<(String, String)>,
    /// The groups that give the tag `group`.
    groups: Option<GroupSections>,
    precision: Precision,
    /// Whether rows of a bare layout have neither host nor time.
    obeys_bare_layouts: bool,
}

impl Schema {
    /// The schema of a receiver.
    ///
    /// # Errors
    ///
    /// A group's pattern does not compile; the configuration refuses such a pattern earlier.
    pub fn new(config: &config::InfluxDb, precision: Precision) -> Result<Self, InvalidPattern> {
        let groups = config.groups.as_ref().map(GroupSections::compile).transpose()?;
        let (keep_field_names, tags) = (config.keep_field_names, config.tags.clone());
        Ok(Self { keep_field_names, tags, groups, precision, obeys_bare_layouts: false })
    }

    /// Telegraf's names, and no tag or group of a configuration.
    #[must_use]
    pub const fn plain(precision: Precision) -> Self {
        Self {
            keep_field_names: false,
            tags: Vec::new(),
            groups: None,
            precision,
            obeys_bare_layouts: false,
        }
    }

    /// The schema of a command's output: rows of a bare layout have neither host nor time.
    #[must_use]
    pub fn for_commands(self) -> Self {
        Self { obeys_bare_layouts: true, ..self }
    }

    fn is_bare(&self, kind: &TableKind) -> bool {
        self.obeys_bare_layouts && matches!(kind, TableKind::Other(layout) if layout.is_bare)
    }
}

/// The lines of a batch.
#[derive(Debug)]
pub struct InfluxLines<'a> {
    schema: &'a Schema,
    origin: String,
    /// A blank, the timestamp and the end of a line.
    tail: Vec<u8>,
    /// The series of the current table's rows: measurement and tags, in the order of the tags.
    series: Vec<SeriesPart>,
    groups: Option<&'a GroupRules>,
    /// The first label of the last row that was asked for its group, and the group: servers of a
    /// backend follow each other.
    last_group: Option<(String, Option<&'a str>)>,
    /// The fields of the current table: name and equals sign, escaped; `None` for a column that is
    /// left out.
    names: Vec<Option<Vec<u8>>>,
}

/// A part of the series of a row.
#[derive(Debug)]
enum SeriesPart {
    /// What all rows of a table have in common.
    Fixed(Vec<u8>),
    /// A tag with a label of the row: comma, key and equals sign.
    Label { key: Vec<u8>, label: usize },
    /// The tag of the row's group, if it has one.
    Group { key: Vec<u8> },
}

/// The value of a tag.
#[derive(Debug, Clone, Copy)]
enum TagValue<'a> {
    Fixed(&'a str),
    Label(usize),
    Group,
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
            series: Vec::new(),
            groups: None,
            last_group: None,
            names: Vec::new(),
        }
    }

    fn push_series(&mut self, table: &Table, row: usize, out: &mut Vec<u8>) {
        let group = self.group_of(table, row);
        for part in &self.series {
            let (key, value) = match part {
                SeriesPart::Fixed(bytes) => {
                    out.extend_from_slice(bytes);
                    continue;
                }
                SeriesPart::Label { key, label } => (key, table.names.label(row, *label)),
                SeriesPart::Group { key } => (key, group),
            };
            let value = value.unwrap_or_default();
            if is_tag_value(value) {
                out.extend_from_slice(key);
                push_key(value, out);
            }
        }
    }

    fn group_of(&mut self, table: &Table, row: usize) -> Option<&'a str> {
        let groups = self.groups?;
        let name = table.names.label(row, 0)?;
        if let Some((last, group)) = &self.last_group
            && last == name
        {
            return *group;
        }
        let group = groups.of(&clean::segment(name));
        self.last_group = Some((name.to_owned(), group));
        group
    }
}

impl RowFormat for InfluxLines<'_> {
    fn begin_table(&mut self, table: &Table) {
        let schema = self.schema;
        let keeps_names = schema.keep_field_names || !is_of_proxies(&table.kind);
        self.names.clear();
        self.names.extend(table.columns.iter().map(|column| {
            if table.stands_for_texts(column) {
                return None;
            }
            let mut name = Vec::new();
            push_key(fields::of_proxy(&column.name, keeps_names), &mut name);
            name.push(b'=');
            Some(name)
        }));
        self.groups = schema.groups.as_ref().and_then(|groups| groups.of_kind(&table.kind));
        self.last_group = None;
        self.series = series(&table.kind, &self.origin, schema, self.groups.is_some());
    }

    fn push_row(&mut self, table: &Table, row: usize, out: &mut Vec<u8>) {
        let begin = out.len();
        self.push_series(table, row, out);
        let mut separator = b' ';
        for (column, name) in table.columns.iter().zip(&self.names) {
            let Some(name) = name else { continue };
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
            let is_bare = self.schema.is_bare(&table.kind);
            out.extend_from_slice(if is_bare { b"\n" } else { &self.tail });
        }
    }
}

const fn is_of_proxies(kind: &TableKind) -> bool {
    match kind {
        TableKind::Frontend
        | TableKind::Backend
        | TableKind::ServerCount
        | TableKind::BackendServer
        | TableKind::Server => true,
        TableKind::Daemon | TableKind::Process | TableKind::Own | TableKind::Other(_) => false,
    }
}

/// The series of a table's rows, the tags in the order of their names.
fn series(kind: &TableKind, origin: &str, schema: &Schema, has_groups: bool) -> Vec<SeriesPart> {
    let (proxy, server) =
        if schema.keep_field_names { ("pxname", "svname") } else { ("proxy", "sv") };
    let (label, fixed) = (TagValue::Label, TagValue::Fixed);
    let of_layout;
    let (measurement, own): (&str, &[(&str, TagValue<'_>)]) = match kind {
        TableKind::Daemon => ("haproxy_info", &[]),
        TableKind::Process => ("haproxy_info", &[("process", label(0))]),
        TableKind::Own => ("haproxystats", &[]),
        TableKind::Frontend => (
            "haproxy",
            &[(proxy, label(0)), (server, fixed("FRONTEND")), ("type", fixed("frontend"))],
        ),
        TableKind::Backend | TableKind::ServerCount => (
            "haproxy",
            &[(proxy, label(0)), (server, fixed("BACKEND")), ("type", fixed("backend"))],
        ),
        TableKind::BackendServer => {
            ("haproxy", &[(proxy, label(0)), (server, label(1)), ("type", fixed("server"))])
        }
        TableKind::Server => ("haproxy_servers", &[(server, label(0)), ("type", fixed("server"))]),
        TableKind::Other(layout) => {
            let tags = layout.labels.iter().enumerate();
            of_layout = tags.map(|(at, name)| (name.as_str(), label(at))).collect::<Vec<_>>();
            (&layout.measurement, &of_layout)
        }
    };
    let mut tags = Vec::new();
    if !schema.is_bare(kind) {
        tags.push(("host", fixed(origin)));
    }
    tags.extend(own);
    if is_of_proxies(kind) {
        tags.push(("server", fixed(origin)));
    }
    if has_groups {
        tags.push(("group", TagValue::Group));
    }
    tags.extend(schema.tags.iter().map(|(name, value)| (name.as_str(), fixed(value))));
    tags.sort_by_key(|(name, _)| *name);

    let mut parts = Vec::new();
    let mut fixed = measurement.as_bytes().to_vec();
    for (name, value) in tags {
        let mut key = vec![b','];
        push_key(name, &mut key);
        key.push(b'=');
        match value {
            TagValue::Fixed(value) if is_tag_value(value) => {
                fixed.extend(key);
                push_key(value, &mut fixed);
            }
            TagValue::Fixed(_) => {}
            TagValue::Label(label) => {
                parts.push(SeriesPart::Fixed(std::mem::take(&mut fixed)));
                parts.push(SeriesPart::Label { key, label });
            }
            TagValue::Group => {
                parts.push(SeriesPart::Fixed(std::mem::take(&mut fixed)));
                parts.push(SeriesPart::Group { key });
            }
        }
    }
    parts.push(SeriesPart::Fixed(fixed));
    parts
}

/// Appends a value. Means are whole numbers, as telegraf has them, rounded half to even. Derived
/// figures and numbers in their own text are floats, also where they are whole: the type of a field
/// must not change.
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
        Values::Numbers(numbers) => {
            out.extend_from_slice(numbers.get(row).unwrap_or_default().as_bytes());
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

    use model::{Batch, BatchCursor, Fold, Layout, Names, Nature, Texts};

    use super::*;
    use crate::rows::RowEncoder;

    fn schema() -> Schema {
        Schema::plain(Precision::Seconds)
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
        let mut names = Names::new(&TableKind::BackendServer);
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
        let schema =
            Schema { keep_field_names: true, tags, ..Schema::plain(Precision::Nanoseconds) };
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
        let mut names = Names::new(&TableKind::Process);
        names.push(&["1"]);
        let tasks = Column::integers("Tasks", Nature::Gauge, Some(Fold::Sum), [Some(-3)]);
        let process = Table { kind: TableKind::Process, names, columns: vec![tasks] };
        let status = Values::States(Texts::from_iter(["UP \"1\"\n"]));
        let mut names = Names::new(&TableKind::Server);
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
    fn a_layout_gives_measurement_and_tags() {
        let layout = Layout::new("uwsgi_workers", &["source", "gid"], "uwsgi.{0}.workers.{1}");
        let kind = TableKind::Other(layout.into());
        let mut names = Names::new(&kind);
        names.push(&["my shop", "0"]);
        names.push(&["blog", ""]);
        let table = Table { kind, names, columns: vec![integers("req_tot", [Some(3), Some(4)])] };
        assert_eq!(
            lines(vec![table], &schema()),
            "uwsgi_workers,gid=0,host=lb\\ 1,source=my\\ shop req_tot=3i 1700000000\n\
             uwsgi_workers,host=lb\\ 1,source=blog req_tot=4i 1700000000\n"
        );
    }

    #[test]
    fn a_bare_layout_has_neither_host_nor_time_in_the_output_of_a_command() {
        let layout = Layout::new("deployments", &["deployment"], "zope.{0}").bare();
        let kind = TableKind::Other(layout.into());
        let mut names = Names::new(&kind);
        names.push(&["a b,c=d"]);
        let numbers = [Some("30000")];
        let size = Column::numbers("cache.max_size", Nature::Limit, numbers);
        let load = Column::numbers("load", Nature::Gauge, [Some("0.12345678901234567")]);
        let table = Table { kind, names, columns: vec![size, load] };
        let fields = "cache.max_size=30000,load=0.12345678901234567";
        assert_eq!(
            lines(vec![table.clone(), servers()], &schema().for_commands()).lines().next(),
            Some(&*format!("deployments,deployment=a\\ b\\,c\\=d {fields}"))
        );
        assert_eq!(
            lines(vec![table], &schema()),
            format!("deployments,deployment=a\\ b\\,c\\=d,host=lb\\ 1 {fields} 1700000000\n")
        );
        let all = lines(vec![servers()], &schema().for_commands());
        assert_eq!(all, lines(vec![servers()], &schema()));
    }

    #[test]
    fn a_member_of_a_group_has_a_tag_for_it() {
        let rule = |name: &str, pattern: &str| config::GroupRule {
            name: name.to_owned(),
            pattern: pattern.to_owned(),
        };
        let backend = vec![rule("comma", "^www_a$"), rule("All", "w")];
        let rules = config::GroupRules { frontend: vec![], backend, server: vec![] };
        let groups = Some(GroupSections::compile(&rules).unwrap());
        let text = lines(vec![servers()], &Schema { groups, ..schema() });
        let begins: Vec<&str> =
            text.lines().map(|line| line.split(",host").next().unwrap()).collect();
        assert_eq!(begins, ["haproxy,group=comma", "haproxy,group=all"]);
        let mut names = Names::new(&TableKind::Frontend);
        names.push(&["www"]);
        let columns = vec![Column::integers("stot", Nature::Counter, None, [Some(1)])];
        let frontend = Table { kind: TableKind::Frontend, names, columns };
        let groups = Some(GroupSections::compile(&rules).unwrap());
        let text = lines(vec![frontend], &Schema { groups, ..schema() });
        assert!(text.starts_with("haproxy,host=lb\\ 1,proxy=www,"), "{text}");
    }

    #[test]
    fn a_row_without_a_value_has_no_line() {
        let mut names = Names::new(&TableKind::Frontend);
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
