//! The encoder's lines, byte by byte, and against a slow twin.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, Cursor as Bytes, Read};

use model::form::{self, Reader};
use model::{
    Batch, BatchCursor, Column, Fold, Integers, Names, Nature, SnapshotId, Table, TableKind, Texts,
    Timestamp, Value, Values, clean,
};
use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, proptest};
use proptest::sample::select;

use super::{Encoder, NameForms, Paths, Warning, count_lines, encode};

mod long_lines;
mod tags;

fn naming(groups: Option<config::Groups>) -> config::Naming {
    config::Naming {
        namespace: "lb".into(),
        host: config::HostPart::None,
        groups,
        tags: false,
        max_line: None,
    }
}

fn groups(double_writes: bool) -> config::Groups {
    let rule = |name: &str, pattern: &str| config::GroupRule {
        name: name.into(),
        pattern: pattern.into(),
    };
    config::Groups {
        namespace: "flavor".into(),
        double_writes,
        rules: config::GroupRules {
            frontend: vec![],
            backend: vec![rule("Even", "[02]$")],
            server: vec![],
        },
    }
}

fn id(origin: &str) -> SnapshotId {
    SnapshotId { origin: origin.into(), timestamp: Timestamp::of_seconds(17), serial: 0 }
}

fn names(kind: &TableKind, rows: &[&[&str]]) -> Names {
    let mut names = Names::new(kind);
    rows.iter().for_each(|row| names.push(row));
    names
}

fn sums(name: &str, values: &[i128]) -> Column {
    let values = values.iter().copied().map(Some);
    Column::integers(name, Nature::Counter, Some(Fold::Sum), values)
}

fn servers() -> Table {
    let names = names(&TableKind::BackendServer, &[&["be0", "s1"], &["be1", "s1"]]);
    let means = [Some((5, 2)), None];
    let columns = vec![
        sums("stot", &[3, -4]),
        Column::means("rtime", Nature::Average, Some(Fold::MeanWithTraffic), means),
    ];
    Table { kind: TableKind::BackendServer, names, columns }
}

fn lines_of(tables: &[Table], naming: &config::Naming, origin: &str) -> (String, Vec<Warning>) {
    let mut out = Vec::new();
    let warnings = encode(tables, &Paths::new(naming).unwrap(), &id(origin), &mut out);
    (String::from_utf8(out).unwrap(), warnings)
}

fn lines(table: Table, naming: &config::Naming) -> String {
    lines_of(&[table], naming, "h").0
}

#[test]
fn a_row_gives_a_line_for_each_value_that_is_present() {
    assert_eq!(
        lines(servers(), &naming(None)),
        "lb.haproxy.backend.be0.server.s1.stot 3 17\n\
         lb.haproxy.backend.be0.server.s1.rtime 2.5 17\n\
         lb.haproxy.backend.be1.server.s1.stot -4 17\n"
    );
}

#[test]
fn a_server_in_its_backend_has_the_backends_group() {
    assert_eq!(
        lines(servers(), &naming(Some(groups(false)))),
        "lb.haproxy.flavor.even.backend.be0.server.s1.stot 3 17\n\
         lb.haproxy.flavor.even.backend.be0.server.s1.rtime 2.5 17\n\
         lb.haproxy.backend.be1.server.s1.stot -4 17\n"
    );
}

#[test]
fn double_writes_send_a_grouped_line_on_its_plain_path_too() {
    assert_eq!(
        lines(servers(), &naming(Some(groups(true)))),
        "lb.haproxy.backend.be0.server.s1.stot 3 17\n\
         lb.haproxy.backend.be0.server.s1.rtime 2.5 17\n\
         lb.haproxy.flavor.even.backend.be0.server.s1.stot 3 17\n\
         lb.haproxy.flavor.even.backend.be0.server.s1.rtime 2.5 17\n\
         lb.haproxy.backend.be1.server.s1.stot -4 17\n"
    );
}

#[test]
fn every_kind_of_table_has_its_path() {
    let row: [&str; 2] = ["a.1", "b 2"];
    let tables = TableKind::ALL.map(|kind| Table {
        names: names(&kind, &[&row[..kind.labels()]]),
        kind,
        columns: vec![sums("m", &[1])],
    });
    assert_eq!(
        lines_of(&tables, &naming(None), "h").0,
        "lb.haproxy.daemon.m 1 17\n\
         lb.haproxy.daemon.process.a_1.m 1 17\n\
         lb.haproxy.frontend.a_1.m 1 17\n\
         lb.haproxy.backend.a_1.m 1 17\n\
         lb.haproxy.backend.a_1.m 1 17\n\
         lb.haproxy.backend.a_1.server.b_2.m 1 17\n\
         lb.haproxy.server.a_1.m 1 17\n\
         lb.haproxy.haproxystats.m 1 17\n"
    );
}

#[test]
fn the_host_is_the_origin_whole_or_cut_at_its_first_dot() {
    let own = Table::of_one_row(TableKind::Own, vec![sums("M", &[1])]);
    let with = |host| {
        let naming = config::Naming { host, ..naming(None) };
        lines_of(std::slice::from_ref(&own), &naming, "lb1.example.com").0
    };
    assert_eq!(with(config::HostPart::Full), "lb.lb1_example_com.haproxy.haproxystats.M 1 17\n");
    assert_eq!(with(config::HostPart::Short), "lb.lb1.haproxy.haproxystats.M 1 17\n");
}

#[test]
fn a_state_has_no_line() {
    let states: Texts = ["UP"].into_iter().collect();
    let status = Column::new("status", Nature::Other, None, Values::States(states));
    let table = Table {
        kind: TableKind::Frontend,
        names: names(&TableKind::Frontend, &[&["fe"]]),
        columns: vec![status, sums("stot", &[1])],
    };
    assert_eq!(count_lines(std::slice::from_ref(&table), PARTS).0.total(), 1);
    assert_eq!(lines(table, &naming(None)), "lb.haproxy.frontend.fe.stot 1 17\n");
}

/// The forms of names of a receiver without tags.
const PARTS: NameForms = NameForms { parts: true, tag_values: false };

/// `a.b` and `a_b` are one path: sums are summed, means joined exactly, the largest stays.
#[test]
fn rows_of_one_path_are_joined_with_a_warning() {
    let kind = TableKind::Backend;
    let column = |fold, values: [i128; 3]| {
        Column::integers(format!("{fold:?}"), Nature::Gauge, Some(fold), values.map(Some))
    };
    let means = [Some((10, 4)), Some((7, 1)), Some((3, 2))];
    let columns = vec![
        column(Fold::Sum, [i128::from(u64::MAX), 5, 2]),
        column(Fold::Largest, [3, 5, 4]),
        column(Fold::Smallest, [3, 5, 2]),
        Column::means("mean", Nature::Average, Some(Fold::Mean), means),
        Column::integers("some", Nature::Counter, Some(Fold::Sum), [None, Some(9), None]),
        Column::decimals("derived", Nature::Gauge, [Some(0.5), Some(1.5), Some(2.5)]),
    ];
    let names = names(&kind, &[&["a.b"], &["z"], &["a_b"]]);
    let table = Table { kind: kind.clone(), names, columns };
    let (lines, warnings) = lines_of(std::slice::from_ref(&table), &naming(None), "h");
    assert_eq!(
        lines,
        "lb.haproxy.backend.z.Sum 5 17\n\
         lb.haproxy.backend.z.Largest 5 17\n\
         lb.haproxy.backend.z.Smallest 5 17\n\
         lb.haproxy.backend.z.mean 7 17\n\
         lb.haproxy.backend.z.some 9 17\n\
         lb.haproxy.backend.z.derived 1.5 17\n\
         lb.haproxy.backend.a_b.Sum 18446744073709551617 17\n\
         lb.haproxy.backend.a_b.Largest 4 17\n\
         lb.haproxy.backend.a_b.Smallest 2 17\n\
         lb.haproxy.backend.a_b.mean 2.1666666666666665 17\n\
         lb.haproxy.backend.a_b.derived 0.5 17\n"
    );
    let text = "\"a.b\" and \"a_b\" become one path: their values are summed; rename one in \
                HAProxy to part them";
    let expected = Warning { subject: "a_b".into(), state: "names", text: text.into() };
    assert_eq!(warnings, [expected]);
    let (counts, warnings) = count_lines(&[table], PARTS);
    assert_eq!((counts.of(&kind), counts.total(), warnings.len()), (11, 11, 1));
}

/// The number of servers is the number of different paths, however the rows are joined.
#[test]
fn servers_of_one_path_count_once() {
    let rows: [&[&str]; 6] =
        [&["a.b", "s1"], &["a.b", "s2"], &["a_b", "s1"], &["c", "s.1"], &["c", "s_1"], &["d", "s"]];
    let counted = Table {
        kind: TableKind::ServerCount,
        names: names(&TableKind::ServerCount, &[&["a.b"], &["a_b"], &["c"], &["d"]]),
        columns: vec![sums("TotalServers", &[2, 1, 2, 1])],
    };
    let servers = Table {
        kind: TableKind::BackendServer,
        names: names(&TableKind::BackendServer, &rows),
        columns: vec![sums("stot", &[1; 6])],
    };
    let (lines, warnings) = lines_of(&[counted, servers], &naming(None), "h");
    let mut lines: Vec<&str> = lines.lines().filter(|line| line.contains("Total")).collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "lb.haproxy.backend.a_b.TotalServers 2 17",
            "lb.haproxy.backend.c.TotalServers 1 17",
            "lb.haproxy.backend.d.TotalServers 1 17",
        ]
    );
    assert_eq!(warnings.len(), 2, "{warnings:?}");
}

#[test]
fn a_long_name_is_shortened_with_one_warning() {
    let long = "s.".repeat(150);
    let rows: [&[&str]; 3] = [&["be", &long], &["be", "s"], &["bf", &long]];
    let table = Table {
        kind: TableKind::BackendServer,
        names: names(&TableKind::BackendServer, &rows),
        columns: vec![sums("stot", &[1; 3])],
    };
    let (lines, warnings) = lines_of(&[table], &naming(None), "h");
    let [Warning { subject, state: "long name", text }] = &warnings[..] else {
        panic!("{warnings:?}")
    };
    assert!(text.contains(&long) && subject.len() == super::PART_MAX_BYTES, "{text}");
    let first = format!("lb.haproxy.backend.be.server.{subject}.stot 1 17");
    assert_eq!(lines.lines().next(), Some(first.as_str()));
}

/// A search through all names that share the path would make this quadratic.
#[test]
fn names_that_all_become_one_cost_no_more_than_others() {
    let rows = 50_000_u32;
    let mut names = Names::new(&TableKind::BackendServer);
    for number in 0..rows {
        let name: String =
            (0..16).map(|bit| if number >> bit & 1 == 0 { '.' } else { ' ' }).collect();
        names.push(&["b", &name]);
    }
    let columns = vec![sums("scur", &vec![1; rows as usize])];
    let table = Table { kind: TableKind::BackendServer, names, columns };
    let (lines, warnings) = lines_of(&[table], &naming(None), "h");
    assert_eq!(lines, "lb.haproxy.backend.b.server.________________.scur 50000 17\n");
    assert_eq!(warnings.len(), 21, "the others have one warning together");
}

/// There are more shared paths than one pass joins: the batch is read again, and each row counts
/// once.
#[test]
fn many_paths_that_two_rows_have_are_joined_in_several_passes() {
    let paths = 2500;
    let mut names = Names::new(&TableKind::Frontend);
    for number in 0..paths {
        names.push(&[&format!("a.{number}")]);
        names.push(&[&format!("a_{number}")]);
        names.push(&[&format!("alone{number}")]);
    }
    let columns = vec![sums("stot", &vec![1; 3 * paths])];
    let table = Table { kind: TableKind::Frontend, names, columns };
    let (lines, _) = lines_of(std::slice::from_ref(&table), &naming(None), "h");
    let is_joined = |line: &&str| line.contains(".a_") && line.ends_with(" 2 17");
    let is_alone = |line: &&str| line.contains(".alone") && line.ends_with(" 1 17");
    assert_eq!(lines.lines().filter(is_joined).count(), paths);
    assert_eq!(lines.lines().filter(is_alone).count(), paths);
    assert_eq!(lines.lines().count(), 2 * paths);
    assert_eq!(count_lines(&[table], PARTS).0.total(), 2 * paths as u64);
}

#[test]
fn the_lines_of_a_batch_are_the_same_in_pieces() {
    let rows = 5_000;
    let mut names = Names::new(&TableKind::BackendServer);
    (0..rows).for_each(|row| names.push(&[&format!("be{row}"), "s1"]));
    let values = Values::Integers(Integers::Narrow((0..rows).collect()));
    let column = |name| Column::new(name, Nature::Counter, Some(Fold::Sum), values.clone());
    let many = Table { names, columns: vec![column("stot"), column("econ")], ..servers() };
    let empty =
        Table { names: Names::new(&TableKind::BackendServer), columns: vec![], ..servers() };
    let batch = Batch { id: id("h"), tables: vec![empty.clone(), many, empty] };
    for double_writes in [false, true] {
        let paths = Paths::new(&naming(Some(groups(double_writes)))).unwrap();
        let mut whole = Vec::new();
        encode(&batch.tables, &paths, &batch.id, &mut whole);
        let mut pieces = Encoder::new(&paths, &batch.id, BatchCursor::new(&batch)).unwrap();
        let (mut joined, mut count) = (Vec::new(), 0);
        while let piece = pieces.fill_buf().unwrap()
            && !piece.is_empty()
        {
            let taken = piece.len().min(100_000);
            joined.extend_from_slice(&piece[..taken]);
            pieces.consume(taken);
            count += 1;
        }
        assert!(joined == whole && count > 3);
    }
}

/// Some values of each fold, some of them absent.
fn columns(rows: usize) -> impl Strategy<Value = Vec<Column>> {
    let values = proptest::collection::vec(any::<Option<i32>>(), rows);
    let folds = [Fold::Sum, Fold::Largest, Fold::Smallest, Fold::Mean];
    folds.map(|_| values.clone()).prop_map(move |values| {
        folds.iter().zip(values).map(|(fold, values)| column(*fold, &values)).collect()
    })
}

fn column(fold: Fold, values: &[Option<i32>]) -> Column {
    let (name, values) = (format!("{fold:?}"), values.iter());
    if fold == Fold::Mean {
        let means = values.map(|value| value.map(|sum| (i128::from(sum), 1 + sum as u32 % 3)));
        return Column::means(name, Nature::Average, Some(fold), means);
    }
    Column::integers(name, Nature::Gauge, Some(fold), values.map(|value| value.map(i128::from)))
}

const NAMES: [&str; 9] = ["a", "b", "a.b", "a_b", "a b", "a\nb", "0", "\u{e9}", ".."];

/// Rows of which several can share a path.
fn table(kind: TableKind) -> impl Strategy<Value = Table> {
    let name = select(NAMES.to_vec());
    let rows = proptest::collection::btree_set((name.clone(), name), 0..30);
    rows.prop_flat_map(move |rows| {
        let (kind, labels) = (kind.clone(), kind.labels());
        let rows: BTreeSet<Vec<&str>> = rows
            .into_iter()
            .map(|(first, second)| vec![first, second][..labels].to_vec())
            .collect();
        columns(rows.len()).prop_map(move |columns| {
            let mut names = Names::new(&kind);
            rows.iter().for_each(|row| names.push(row));
            Table { kind: kind.clone(), names, columns }
        })
    })
}

fn batch() -> impl Strategy<Value = Batch> {
    let tables =
        (table(TableKind::Frontend), table(TableKind::Backend), table(TableKind::BackendServer));
    tables.prop_map(|(frontends, backends, servers)| {
        let counts = server_counts(&servers);
        Batch { id: id("h"), tables: vec![frontends, backends, counts, servers] }
    })
}

fn server_counts(servers: &Table) -> Table {
    let mut counts: BTreeMap<&str, i128> = BTreeMap::new();
    for row in 0..servers.names.len() {
        *counts.entry(servers.names.label(row, 0).unwrap()).or_default() += 1;
    }
    let mut names = Names::new(&TableKind::ServerCount);
    counts.keys().for_each(|backend| names.push(&[backend]));
    let values: Vec<i128> = counts.values().copied().collect();
    Table { kind: TableKind::ServerCount, names, columns: vec![sums("TotalServers", &values)] }
}

/// Values by path, calculated from the rules in the simplest way.
fn slow(batch: &Batch) -> BTreeMap<String, String> {
    let mut found: BTreeMap<String, Vec<(Option<Fold>, i128, u32)>> = BTreeMap::new();
    let mut servers: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for table in &batch.tables {
        for row in 0..table.names.len() {
            let names: Vec<String> = table.names.row(row).map(clean::segment).collect();
            let path = match (&table.kind, &names[..]) {
                (TableKind::Frontend, [name]) => format!("lb.haproxy.frontend.{name}"),
                (TableKind::BackendServer, [backend, server]) => {
                    let path = format!("lb.haproxy.backend.{backend}");
                    servers.entry(path.clone()).or_default().insert(server.clone());
                    format!("{path}.server.{server}")
                }
                (_, names) => format!("lb.haproxy.backend.{}", names[0]),
            };
            for column in &table.columns {
                let value = match column.get(row) {
                    Some(Value::Integer(value)) => (column.fold, value, 1),
                    Some(Value::Mean { sum, count }) => (column.fold, sum, count),
                    _ => continue,
                };
                found.entry(format!("{path}.{}", column.name)).or_default().push(value);
            }
        }
    }
    let joined = |(path, values): (String, Vec<(Option<Fold>, i128, u32)>)| {
        let numbers = || values.iter().map(|(_, value, _)| *value);
        let value = match values[0].0 {
            Some(Fold::Largest) => numbers().max().unwrap(),
            Some(Fold::Smallest) => numbers().min().unwrap(),
            Some(Fold::Mean) => {
                let count: u32 = values.iter().map(|(.., count)| count).sum();
                let mean = numbers().sum::<i128>() as f64 / f64::from(count);
                return (path, format!("{mean}"));
            }
            _ if path.ends_with(".TotalServers") => {
                servers[path.trim_end_matches(".TotalServers")].len() as i128
            }
            _ => numbers().sum(),
        };
        (path, value.to_string())
    };
    found.into_iter().map(joined).collect()
}

/// Values by path; each path must come once.
fn by_path(text: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for line in text.lines() {
        let [path, value, "17"] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let value = if value == "-0" { "0" } else { value };
        assert_eq!(found.insert(path.to_owned(), value.to_owned()), None, "{path} twice");
    }
    found
}

proptest! {
    /// Any batch gives the lines that the slow twin gives, each path once, and as many as are
    /// counted without making them.
    #[test]
    fn any_batch_gives_the_lines_of_the_slow_twin(batch in batch()) {
        let (text, _) = lines_of(&batch.tables, &naming(None), "h");
        let mut expected = slow(&batch);
        for value in expected.values_mut().filter(|value| *value == "-0") {
            "0".clone_into(value);
        }
        prop_assert_eq!(by_path(&text), expected);
        prop_assert_eq!(count_lines(&batch.tables, PARTS).0.total(), text.lines().count() as u64);
    }

    /// A batch that comes from its form gives the same bytes as one in memory.
    #[test]
    fn the_form_of_a_batch_gives_the_same_lines(batch in batch(), double_writes in any::<bool>()) {
        let paths = Paths::new(&naming(Some(groups(double_writes)))).unwrap();
        let mut bytes = Vec::new();
        form::write(&batch, &mut bytes).unwrap();
        let reader = Reader::new(Bytes::new(&bytes)).unwrap();
        let (mut streamed, mut whole) = (Vec::new(), Vec::new());
        Encoder::new(&paths, &batch.id, reader).unwrap().read_to_end(&mut streamed).unwrap();
        let memory = BatchCursor::new(&batch);
        Encoder::new(&paths, &batch.id, memory).unwrap().read_to_end(&mut whole).unwrap();
        prop_assert!(streamed == whole);
    }

    /// No name of a proxy or a server changes the number of a line's parts.
    #[test]
    fn no_name_breaks_a_line(proxy in any::<String>(), server in any::<String>()) {
        let table = Table {
            kind: TableKind::BackendServer,
            names: names(&TableKind::BackendServer, &[&[&proxy, &server]]),
            columns: vec![sums("m", &[1])],
        };
        let text = lines(table, &naming(None));
        let line = text.strip_suffix(" 1 17\n").unwrap();
        prop_assert_eq!(line.split('.').count(), 7);
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
        prop_assert!(line.bytes().all(plain), "{}", line);
    }
}
