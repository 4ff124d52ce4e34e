//! Real and generated dumps, changed at random: the fast and the slow reader agree, and unchanged
//! rows keep their values.

use std::collections::{BTreeMap, BTreeSet};

use haproxystats_fold::Tables;
use proptest::collection::vec;
use proptest::prelude::{
    Just, ProptestConfig, Strategy, any, prop_assert_eq, prop_oneof, proptest,
};
use proptest::sample::{Index, select};

use crate::twin;
use crate::workbench::{Metrics, Snapshot, VERSIONS, config, everything, info_dump, stat_dump};

/// One change of a file's bytes.
#[derive(Debug, Clone)]
enum Change {
    Flip(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, u8),
    Cut(Index),
}

/// Byte sequences with a meaning for some reader.
const TOKENS: [&[u8]; 18] = [
    b",",
    b"\n",
    b"\r\n",
    b"\"",
    b"\"\"",
    b"\",\"",
    b"\0",
    b"\xff",
    b"-",
    b"-1",
    b"0",
    b"18446744073709551615",
    b"18446744073709551616",
    b"9223372036854775808",
    b"FRONTEND",
    b"BACKEND",
    b"# pxname,svname,",
    b": ",
];

fn change() -> impl Strategy<Value = Change> {
    let token = prop_oneof![
        3 => select(&TOKENS[..]).prop_map(<[u8]>::to_vec),
        1 => vec(any::<u8>(), 1..20),
    ];
    prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Change::Flip(at, byte)),
        (any::<Index>(), token).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        (any::<Index>(), any::<u8>()).prop_map(|(at, count)| Change::Remove(at, count)),
        any::<Index>().prop_map(Change::Cut),
    ]
}

fn changed(bytes: &[u8], changes: &[Change]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for change in changes {
        let at = |index: &Index| index.index(bytes.len() + 1);
        match change {
            Change::Flip(index, bits) => {
                let at = at(index);
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= bits;
                }
            }
            Change::Insert(index, inserted) => {
                let at = at(index);
                bytes.splice(at..at, inserted.iter().copied());
            }
            Change::Remove(index, count) => {
                let at = at(index);
                let end = bytes.len().min(at + usize::from(*count));
                bytes.drain(at..end);
            }
            Change::Cut(index) => bytes.truncate(at(index)),
        }
    }
    bytes
}

/// A cell of a generated dump: mostly a number.
fn cell() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => any::<u16>().prop_map(|number| number.to_string()),
        3 => Just(String::new()),
        2 => any::<u64>().prop_map(|number| number.to_string()),
        // Small, because a mean of large values that cancel out is not a question of reading.
        2 => (-1_000_000_i64..0).prop_map(|number| number.to_string()),
        1 => Just("18446744073709551616".to_owned()),
        1 => Just("no check".to_owned()),
        1 => Just("\"L7OK, \"\"fine\"\"\"".to_owned()),
        1 => "[0-9]{1,20}[ ./:x-]{0,2}",
    ]
}

const FIELDS: [&str; 12] = [
    "scur",
    "smax",
    "stot",
    "bin",
    "lbtot",
    "rtime",
    "weight",
    "throttle",
    "lastchg",
    "qtime_max",
    "check_duration",
    "status",
];

/// A whole dump: any fields in any order, well-formed rows, and now and then a malformed row.
fn dump() -> impl Strategy<Value = Vec<u8>> {
    let fields = Just(FIELDS.to_vec()).prop_shuffle();
    let name = select(vec!["a", "b", "a.b", "a_b", "NA", "123", "\"x,y\"", "\"\"\"\"", "z\u{e9}"]);
    let svname = prop_oneof![name.clone(), Just("FRONTEND"), Just("BACKEND")];
    let kind = select(vec!["0", "1", "2", "2", "2", "3", ""]);
    let row = (name, svname, kind, vec(cell(), FIELDS.len()), 0..40_u8);
    (fields, 1..FIELDS.len(), vec(row, 0..30)).prop_map(|(fields, columns, rows)| {
        let mut text = format!("# pxname,svname,type,{},\n", fields[..columns].join(","));
        for (proxy, server, kind, cells, oddity) in rows {
            let cells = cells[..columns].join(",");
            text.push_str(&match oddity {
                0 => format!("{proxy},{server},{kind},{cells}\n"),
                1 => format!("{proxy},{server},{kind},{cells},1,2,\n"),
                2 => format!("{proxy},{server}\n\n"),
                3 => format!("{proxy},{server},{kind},\"{cells},\n"),
                _ => format!("{proxy},{server},{kind},{cells},\n"),
            });
        }
        text.into_bytes()
    })
}

/// The possible names of a row's proxy, whichever of its quotes count.
fn names_of(line: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(line).into_owned();
    let cell = text.split(',').next().unwrap_or_default();
    let whole = [cell, cell.trim_matches('"')].map(str::to_owned);
    let single = whole.clone().map(|name| name.replace("\"\"", "\""));
    whole.iter().chain(&single).map(|name| twin::in_path(name)).collect()
}

/// The proxy of a metric.
fn proxy_of(path: &str) -> &str {
    let mut words = path.split([' ', '/']);
    let first = words.next().unwrap();
    let kind = ["frontend", "backend"].contains(&first) && !path.contains('/');
    if kind { words.next().unwrap() } else { first }
}

/// The metrics of wanted proxies.
fn of(metrics: &Metrics, wanted: impl Fn(&str) -> bool) -> Metrics {
    let kept = metrics.iter().filter(|(path, _)| wanted(proxy_of(path)));
    kept.map(|(path, value)| (path.clone(), *value)).collect::<BTreeMap<_, _>>()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Generated dumps read as the slow twin reads them, by fresh tables as by used ones.
    #[test]
    fn generated_dumps_read_as_the_slow_twin_reads_them(dumps in vec(dump(), 1..5)) {
        let dumps: Vec<&[u8]> = dumps.iter().map(Vec::as_slice).collect();
        let snapshot = Snapshot::of_stats(&dumps);
        let slow = twin::slow(&dumps, &everything()).unwrap();
        let mut tables = Tables::new(everything());
        let (fresh, _) = snapshot.fold_with(&mut tables);
        twin::assert_same(&fresh, &slow);
        let (used, _) = snapshot.fold_with(&mut tables);
        prop_assert_eq!(fresh, used);
    }

    /// A damaged file among whole files reads as the slow twin reads it, with any damage.
    #[test]
    fn damaged_dumps_read_as_the_slow_twin_reads_them(
        version in select(&VERSIONS[..]),
        changes in vec(change(), 1..6),
    ) {
        let whole = stat_dump(version);
        let damaged = changed(&whole, &changes);
        let files = [&whole[..], &damaged, &whole];
        let (metrics, _) = Snapshot::of_stats(&files).fold(&config());
        if let Some(slow) = twin::slow(&files, &config()) {
            twin::assert_same(&metrics, &slow);
        }
    }

    /// A damaged row changes no value of a proxy that it names neither before nor after.
    #[test]
    fn a_damaged_row_costs_itself(
        version in select(&VERSIONS[..]),
        row in any::<Index>(),
        changes in vec(change(), 1..4),
    ) {
        let whole = stat_dump(version);
        let mut lines: Vec<Vec<u8>> =
            whole.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        let at = 1 + row.index(lines.len() - 1);
        let damaged = changed(lines[at].strip_suffix(b"\n").unwrap_or(&lines[at]), &changes);
        let touched: BTreeSet<String> = damaged
            .split(|byte| *byte == b'\n')
            .chain([&lines[at][..]])
            .flat_map(names_of)
            .collect();
        lines[at] = [&damaged[..], b"\n"].concat();
        let (before, _) = Snapshot::of_stats(&[&whole]).fold(&config());
        let (after, _) = Snapshot::of_stats(&[&lines.concat()]).fold(&config());
        // A damaged name can at most be a new name, which belongs to no other proxy.
        let known: BTreeSet<String> =
            whole.split(|byte| *byte == b'\n').flat_map(names_of).collect();
        let others = |proxy: &str| known.contains(proxy) && !touched.contains(proxy);
        prop_assert_eq!(of(&before, others), of(&after, others));
    }

    /// With any damage to an answer to `show info`, the other processes keep their figures, and
    /// nothing panics.
    #[test]
    fn a_damaged_answer_to_show_info_costs_itself(
        version in select(&VERSIONS[..]),
        changes in vec(change(), 1..6),
    ) {
        let whole = String::from_utf8(info_dump(version)).unwrap();
        // Different pids, or the three would be sockets of one process.
        let of = |pid: u32| whole.replace("\nPid: ", &format!("\nPid: {pid}"));
        let damaged = changed(of(3).as_bytes(), &changes);
        let others = Snapshot::new().info_of("x", of(1)).info_of("y", of(2));
        let (alone, _) = others.fold(&everything());
        let (metrics, _) = others.info_of("z", &damaged).fold(&everything());
        for (path, value) in alone.iter().filter(|(path, _)| path.starts_with("process ")) {
            prop_assert_eq!(metrics.get(path), Some(value), "{}", path);
        }
    }
}
