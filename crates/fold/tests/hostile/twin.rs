//! The slow twin of the reader and the folds, with the csv crate, maps and 128-bit sums.
//!
//! Both must give the same metrics. The twin parses lines and not files, because a quote that is
//! never closed damages only its own row. It returns `None` for quotes that HAProxy cannot have
//! written, which csv and our reader may read differently.

use std::collections::{BTreeMap, BTreeSet};

use config::{Selection, Tables};
use model::catalog::{Choice, Fold, Nature, ProxyKind, nature};
use model::{Table, TableKind, Value};

/// The expected value of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expected {
    Whole(i128),
    Mean { sum: i128, count: i128 },
}

const ROW_MAX_BYTES: usize = 256 * 1024;
const CELLS_MAX: usize = 1024;
const NAME_MAX_BYTES: usize = 4000;
const JOINED_LINES_MAX: usize = 16;

/// A row of the twin.
struct Row {
    proxy: String,
    server: String,
    kind: ProxyKind,
    cells: BTreeMap<String, Option<i128>>,
}

/// Every metric of the stat files by its short path, as [`flat`] has them.
pub(crate) fn slow(files: &[&[u8]], config: &Tables) -> Option<BTreeMap<String, Expected>> {
    let mut rows = Vec::new();
    for file in files {
        read(file, &mut rows)?;
    }
    let mut metrics = BTreeMap::new();
    let plans = [
        (ProxyKind::Frontend, &config.frontend_metrics),
        (ProxyKind::Backend, &config.backend_metrics),
        (ProxyKind::Server, &config.server_metrics),
    ];
    for (kind, selection) in plans {
        let plan = kind.plan(match selection {
            Selection::Default => Choice::Default,
            Selection::All { .. } => Choice::All,
            Selection::Named(names) => Choice::Named(names),
        });
        let name = |row: &Row| match kind {
            ProxyKind::Frontend => format!("frontend {}", row.proxy),
            ProxyKind::Backend => format!("backend {}", row.proxy),
            ProxyKind::Server => format!("{}/{}", row.proxy, row.server),
        };
        fold(rows.iter().filter(|row| row.kind == kind), name, &plan, &mut metrics);
    }
    let servers = || rows.iter().filter(|row| row.kind == ProxyKind::Server);
    let different: BTreeSet<_> = servers().map(|row| (&row.proxy, &row.server)).collect();
    for (proxy, _) in different {
        let path = format!("backend {proxy} TotalServers");
        let Expected::Whole(count) = metrics.entry(path).or_insert(Expected::Whole(0)) else {
            continue;
        };
        *count += 1;
    }
    if config.aggr_server_metrics {
        let plan = ProxyKind::Server.plan(Choice::Default);
        fold(servers(), |row| format!("server {}", row.server), &plan, &mut metrics);
    }
    Some(metrics)
}

fn read(file: &[u8], rows: &mut Vec<Row>) -> Option<()> {
    let mut lines: Vec<&[u8]> = file.split(|byte| *byte == b'\n').collect();
    // The text after the last line end is empty or a cut line.
    lines.pop();
    let Some((header, lines)) = lines.split_first() else { return Some(()) };
    let quotes = |line: &[u8]| line.iter().filter(|byte| **byte == b'"').count();
    if quotes(header) > 0 {
        return None;
    }
    let commas = header.iter().filter(|byte| **byte == b',').count();
    let Some(header) = std::str::from_utf8(header).ok().filter(|header| {
        header.starts_with("# pxname,svname,") && header.len() < ROW_MAX_BYTES && commas < CELLS_MAX
    }) else {
        return Some(());
    };
    let header: Vec<&str> =
        header.trim_start_matches("# ").trim_end_matches(',').split(',').collect();
    let mut rest = lines;
    while let Some(line) = rest.first() {
        let is_open = quotes(line) % 2 == 1;
        let joined = if is_open { joined(rest, header.len()) } else { None };
        let line = rest[..joined.unwrap_or(1)].join(&b'\n');
        rest = &rest[joined.unwrap_or(1)..];
        if line.is_empty() || line.len() >= ROW_MAX_BYTES || quotes(&line) % 2 == 1 {
            continue;
        }
        if !is_plain(&line) {
            return None;
        }
        rows.extend(row(&line, &header));
    }
    Some(())
}

/// How many of these lines make one row of `width` cells: as few as close the quote.
fn joined(lines: &[&[u8]], width: usize) -> Option<usize> {
    let is_closed = |count: &usize| {
        lines[..*count].concat().iter().filter(|byte| **byte == b'"').count() % 2 == 0
    };
    let count = (2..=lines.len().min(JOINED_LINES_MAX)).find(is_closed)?;
    let row = lines[..count].join(&b'\n');
    let cells = cells(&row);
    let empty_last = usize::from(row.ends_with(b","));
    (cells.len() - empty_last == width && cells.iter().all(|cell| is_well_quoted(cell)))
        .then_some(count)
}

fn row(line: &[u8], header: &[&str]) -> Option<Row> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .terminator(csv::Terminator::Any(b'\n'))
        .from_reader(line);
    let record = reader.byte_records().next()?.ok()?;
    let mut cells: Vec<&[u8]> = record.iter().collect();
    if line.ends_with(b",") {
        cells.pop();
    }
    if cells.len() != header.len() {
        return None;
    }
    let named = |name: &str| {
        header.iter().position(|field| *field == name).and_then(|at| cells.get(at).copied())
    };
    let kind = match (named("type"), cells.get(1).copied()?) {
        (Some(b"0"), _) | (None, b"FRONTEND") => ProxyKind::Frontend,
        (Some(b"1"), _) | (None, b"BACKEND") => ProxyKind::Backend,
        (Some(b"2"), _) | (None, _) => ProxyKind::Server,
        _ => return None,
    };
    let text = |at: usize| Some(in_path(std::str::from_utf8(cells.get(at)?).ok()?));
    let (proxy, server) = (text(0)?, text(1)?);
    // A frontend and a backend are known by their proxy alone.
    if proxy.is_empty() || (kind == ProxyKind::Server && server.is_empty()) {
        return None;
    }
    let value = |name: &str| {
        let value = named(name).and_then(number)?;
        let is_gauge = nature(name).is_some_and(Nature::is_gauge);
        (!is_gauge || value <= i128::from(i64::MAX)).then_some(value)
    };
    let values = header.iter().map(|name| ((*name).to_owned(), value(name)));
    Some(Row { proxy, server, kind, cells: values.collect() })
}

fn number(cell: &[u8]) -> Option<i128> {
    let text = std::str::from_utf8(cell).ok()?;
    if text.is_empty() {
        return Some(0);
    }
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let value = text.parse().ok()?;
    (i128::from(i64::MIN)..=i128::from(u64::MAX)).contains(&value).then_some(value)
}

/// Whether only whole cells that need quotes have them, and names are not too long for us.
fn is_plain(line: &[u8]) -> bool {
    let cells = cells(line);
    let names = cells.iter().take(2).map(|cell| cell.len() + 1).sum::<usize>();
    names <= NAME_MAX_BYTES && cells.iter().all(|cell| is_plain_cell(cell))
}

fn cells(line: &[u8]) -> Vec<Vec<u8>> {
    let (mut cells, mut quoted) = (vec![Vec::new()], false);
    for byte in line {
        quoted ^= *byte == b'"';
        match (byte, quoted, cells.last_mut()) {
            (b',', false, _) => cells.push(Vec::new()),
            (_, _, Some(cell)) => cell.push(*byte),
            (_, _, None) => {}
        }
    }
    cells
}

/// Whether a cell has no quotes, or quotes around it and only doubled quotes in it.
fn is_well_quoted(cell: &[u8]) -> bool {
    if !cell.contains(&b'"') {
        return true;
    }
    let inner = cell.strip_prefix(b"\"").and_then(|cell| cell.strip_suffix(b"\""));
    inner.is_some_and(|inner| !String::from_utf8_lossy(inner).replace("\"\"", "").contains('"'))
}

fn is_plain_cell(cell: &[u8]) -> bool {
    let Some(inner) = cell.strip_prefix(b"\"").and_then(|cell| cell.strip_suffix(b"\"")) else {
        return !cell.contains(&b'"');
    };
    let is_mark = [&b"FRONTEND"[..], b"BACKEND"].contains(&inner);
    is_well_quoted(cell) && !is_mark && number(inner).is_none()
}

fn fold<'a>(
    rows: impl Iterator<Item = &'a Row>,
    name: impl Fn(&Row) -> String,
    plan: &[(&'static str, Fold)],
    metrics: &mut BTreeMap<String, Expected>,
) {
    for row in rows {
        let traffic = row.cells.get("lbtot").copied().flatten().is_some_and(|lbtot| lbtot > 0);
        for (field, fold) in plan {
            let Some(value) = row.cells.get(*field).copied().flatten() else { continue };
            let first = match fold {
                Fold::MeanWithTraffic if !traffic => continue,
                Fold::Smallest if value < 0 => continue,
                Fold::Mean | Fold::MeanWithTraffic => Expected::Mean { sum: value, count: 1 },
                Fold::Sum | Fold::Largest | Fold::Smallest => Expected::Whole(value),
            };
            let path = format!("{} {field}", name(row));
            let both = match (metrics.get(&path).copied(), fold) {
                (Some(Expected::Mean { sum, count }), _) => {
                    Expected::Mean { sum: sum + value, count: count + 1 }
                }
                (Some(Expected::Whole(sum)), Fold::Sum) => Expected::Whole(sum + value),
                (Some(Expected::Whole(most)), Fold::Largest) => Expected::Whole(most.max(value)),
                (Some(Expected::Whole(least)), _) => Expected::Whole(least.min(value)),
                (None, _) => first,
            };
            metrics.insert(path, both);
        }
    }
}

/// A name in a short path, in which blanks and slashes separate the parts.
pub(crate) fn in_path(name: &str) -> String {
    name.replace(' ', "\u{2420}").replace('/', "\u{2215}")
}

/// Every folded metric by its short path, each once. A made-up header can have columns that the
/// catalogue lacks; the twin does not read them, and tests of their own do.
pub(crate) fn flat(tables: &[Table]) -> BTreeMap<String, Value<'static>> {
    let mut metrics = BTreeMap::new();
    for table in tables {
        for row in 0..table.names.len() {
            let name = table.names.row(row).map(in_path).collect::<Vec<_>>().join("/");
            let of = match table.kind {
                TableKind::Daemon => "daemon".to_owned(),
                TableKind::Process => format!("process {name}"),
                TableKind::Frontend => format!("frontend {name}"),
                TableKind::Backend | TableKind::ServerCount => format!("backend {name}"),
                TableKind::BackendServer => name,
                TableKind::Server => format!("server {name}"),
                TableKind::Own => "own".to_owned(),
                TableKind::Other(_) => unreachable!("no source but HAProxy"),
            };
            let of_proxies = matches!(
                table.kind,
                TableKind::Frontend
                    | TableKind::Backend
                    | TableKind::BackendServer
                    | TableKind::Server
            );
            for column in &table.columns {
                if of_proxies && nature(&column.name).is_none() {
                    continue;
                }
                let value = match column.get(row) {
                    Some(Value::Integer(value)) => Value::Integer(value),
                    Some(Value::Mean { sum, count }) => Value::Mean { sum, count },
                    Some(Value::Decimal(value)) => Value::Decimal(value),
                    Some(other) => panic!("nothing folds to {other:?}"),
                    None => continue,
                };
                let before = metrics.insert(format!("{of} {}", column.name), value);
                assert!(before.is_none(), "{of} {} twice", column.name);
            }
        }
    }
    metrics
}

/// Fast and slow agree to the last digit.
pub(crate) fn assert_same(
    fast: &BTreeMap<String, Value<'static>>,
    slow: &BTreeMap<String, Expected>,
) {
    let paths: BTreeSet<_> = fast.keys().chain(slow.keys()).collect();
    for path in paths {
        let same = match (fast.get(path), slow.get(path)) {
            (Some(Value::Integer(value)), Some(Expected::Whole(expected))) => value == expected,
            (Some(Value::Mean { sum, count }), Some(Expected::Mean { sum: of, count: over })) => {
                sum == of && i128::from(*count) == *over
            }
            _ => false,
        };
        assert!(same, "{path}: fast {:?}, slow {:?}", fast.get(path), slow.get(path));
    }
}
