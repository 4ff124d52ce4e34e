//! The table "Limits that are no options" of docs/configuration.md has the values of the source:
//! each row names a constant, and the constant has the row's value. Conversely, a constant with the
//! name of a bound has a row, or a reason in this file to have no row.

#![allow(clippy::unwrap_used, reason = "test code outside of test functions")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const PAGE: &str = "docs/configuration.md";
const HEADING: &str = "## Limits that are no options";

/// Crates that only developers run, or whose numbers are facts about HAProxy.
const NOT_LOOKED_AT: [&str; 3] = ["model", "testbed", "xtask"];

/// Words in the names of constants that are bounds.
const BOUND_WORDS: [&str; 10] = [
    "MAX", "LIMIT", "GRACE", "TRIES", "PAUSE", "INTERVAL", "CHECK", "THREADS", "WITHOUT", "WAITING",
];

/// Bounds that no operator can notice, each with its reason. A new bound that an operator can
/// notice gets a row in the table.
const INTERNAL: &[(&str, &str)] = &[
    ("bin::runtime::DISK_THREADS", "one works at a time; docs/architecture.md has it"),
    (
        "bin::runtime::DISK_THREADS_LIVE",
        "a thread that was idle for so long ends, and is made anew",
    ),
    ("config::directories::LINKS_MAX", "the kernel has the same bound"),
    ("config::fault::MAX_QUOTED_CHARS", "shortens what a message quotes"),
    ("config::values::LEAST_LIMIT", "the least value of an option, told where one is smaller"),
    ("receivers::graphite::collisions::JOINED_MAX", "further ones are joined in a further pass"),
    ("receivers::graphite::lines::VALUE_MAX_BYTES", "rows near max-line are measured line by line"),
    ("receivers::graphite::lines::WHOLE_MAX", "chooses the form of a number"),
    (
        "receivers::graphite::secured::WARNINGS_MAX",
        "there is one for each server and one for the key",
    ),
    ("receivers::influxdb::answer::TEXT_MAX_CHARS", "shortens what a message quotes"),
    ("receivers::influxdb::escape::VALUE_MAX_BYTES", "cuts a text that no HAProxy sends"),
    ("receivers::influxdb::session::ADDRESSES_MAX", "ureq tries no more addresses of a name"),
    ("receivers::prometheus::query::QUERY_MAX_BYTES", "a longer query is a fault that says so"),
    ("fold::columns::NEW_COLUMNS_MAX", "the log says so, and which columns are left out"),
    ("fold::states::TEXT_MAX_BYTES", "cuts a text that no HAProxy sends"),
    ("config::values::METRICS_MAX", "no HAProxy has so many columns; more is a fault that says so"),
    ("config::uwsgi::NAME_MAX_BYTES", "a longer name is a fault that says so"),
    ("config::zope::NAME_MAX_BYTES", "a longer name is a fault that says so"),
    ("config::kafka::TOPIC_MAX_BYTES", "Kafka has the same bound"),
    ("receivers::kafka::check::EVENTS_MAX", "a check looks at so many events for a reason"),
    ("receivers::kafka::settings::MESSAGE_TIMEOUT_MAX", "librdkafka's own, 24 days"),
    (
        "receivers::kafka::settings::SOCKET_TIMEOUT_MAX",
        "librdkafka's own; a longer wait is its own",
    ),
    ("receivers::influxdb::transport::QUOTED_MAX_CHARS", "shortens what a message quotes"),
    ("receivers::influxdb::transport::WARNINGS_MAX", "there are three kinds of warnings"),
    ("processor::channel::INLINE_MAX", "a larger message travels in a memfd"),
    ("processor::channel::MESSAGE_MAX", "the largest message is the configuration, with its bound"),
    ("processor::child::outbox::LISTED_MAX", "further names follow in another message"),
    ("processor::child::spool::NAMES_MAX", "further names follow in another message"),
    ("processor::child::send::DECODED_POINTS_MAX", "a larger batch is decoded in pieces"),
    ("processor::core::outbox::DROPS_MAX", "further files follow in another order"),
    ("processor::core::queue::WAITING_MAX", "names beyond it stay in the spool"),
    ("processor::parent::MESSAGES_MAX", "further messages are taken in the next turn"),
    ("puller::journal::STATES_MAX", "states of pull itself, of which there are a dozen kinds"),
    (
        "puller::writers::WAITING_WORK",
        "the socket is not read meanwhile; docs/architecture.md has it",
    ),
    ("puller::responses::REASON_MAX_CHARS", "shortens a reason in the manifest; the log has all"),
    ("sources::uwsgi::VALUE_MAX_BYTES", "cuts a version that no uWSGI sends"),
    ("puller::masters::ABSENT_MAX", "keeps what is to be removed when a master comes back"),
    ("puller::masters::START_DIFFERENCE_MAX", "tells a process from a later one with its number"),
    ("sources::haproxy::master::LIST_MAX_BYTES", "HAProxy's buffer is far smaller"),
    ("sources::haproxy::VALUE_MAX_BYTES", "cuts a version that no HAProxy sends"),
    ("sources::zope::document::NAME_MAX_BYTES", "a longer name is left out; the log says so"),
    ("sources::zope::read::NAMED_MAX", "shortens a list in a message"),
    ("puller::endpoint::zope::SUPERVISOR_LIMIT", "a real file has 3 KiB; the log says so"),
    ("spool::cycle::LIMIT", "made of CYCLE_MAX_BYTES"),
    (
        "sources::haproxy::natures::INFO_MAX_BYTES",
        "shows the start of a process; show info is shorter",
    ),
    ("sources::haproxy::natures::LINE_MAX_BYTES", "no line of HAProxy is so long"),
    ("sources::haproxy::natures::NATURES_MAX", "the manifest has the same bound"),
    ("sources::haproxy::natures::ROWS_MAX_BYTES", "a kind of rows beyond it folds by its names"),
    ("spool::manifest::LIMIT", "made of MANIFEST_MAX_BYTES"),
    ("spool::writer::FILES_MAX", "is ENTRIES_MAX of the reader"),
    ("spool::watch::EVENTS_MAX", "events beyond it stay in the kernel's queue"),
    (
        "daemon::monitor::serve::CLOSE_LIMIT",
        "the client has its answer; a slower one meets the close of ours",
    ),
    (
        "daemon::monitor::serve::IGNORED_MAX_BYTES",
        "bytes behind the last request, which are ignored",
    ),
    ("daemon::monitor::serve::ACCEPT_PAUSE", "the log says that connections cannot be accepted"),
    ("processor::core::vitals::DISTANCES_MAX", "a new interval is known after so many snapshots"),
    ("processor::core::vitals::DISTANCE_MAX", "a longer distance is an outage of pull"),
    ("processor::core::vitals::LOOKS_WITHOUT", "the main loop looks at itself all the time"),
    ("fold::exclude::LIMIT", "made of EXCLUDE_MAX_BYTES"),
    ("fold::process::INFO_MAX", "made of INFO_MAX_BYTES"),
    ("fold::process::UPTIME_DIFFERENCE_MAX", "two answers of one cycle are no further apart"),
    ("fold::process::NUMBER_MAX_DIGITS", "recognizes a process number"),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The values of the table by constant.
fn rows() -> BTreeMap<String, String> {
    let page = fs::read_to_string(root().join(PAGE)).unwrap();
    let section = page.split(&format!("\n{HEADING}\n")).nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let mut rows = BTreeMap::new();
    for line in section.lines().filter(|line| line.starts_with("| ")).skip(1) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [_limit, value, why, what_happens, constant] = cells.as_slice() else {
            panic!("a row has another number of cells: {line}");
        };
        assert!(!why.is_empty() && !what_happens.is_empty(), "{line}");
        let constant = constant.trim_matches('`').to_owned();
        assert_eq!(rows.insert(constant.clone(), (*value).to_owned()), None, "{constant} twice");
    }
    rows
}

/// The crates that are checked, and `bin` for the sources of the two programs.
fn crates() -> Vec<String> {
    let entries = fs::read_dir(root().join("crates")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let names = names.filter(|name| !NOT_LOOKED_AT.contains(&name.as_str()));
    names.chain(["bin".to_owned()]).collect()
}

/// The folder of the sources of a crate or of the programs.
fn sources(krate: &str) -> PathBuf {
    match krate {
        "bin" => root().join("src/bin"),
        name => root().join("crates").join(name).join("src"),
    }
}

/// The file and the name of a constant that is written as a path.
fn located(constant: &str) -> (PathBuf, &str) {
    let mut parts: Vec<&str> = constant.split("::").collect();
    let name = parts.pop().unwrap();
    let krate = parts.remove(0);
    let file = if parts.is_empty() { "lib".to_owned() } else { parts.join("/") };
    (sources(krate).join(format!("{file}.rs")), name)
}

/// The part of a file that ships: the code before its unit tests.
fn shipped(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests").next().unwrap()
}

/// Name and expression of a line that begins a constant.
fn constant(line: &str) -> Option<(&str, &str)> {
    let line = line.trim_start();
    let visible = ["pub(crate) ", "pub(super) ", "pub "];
    let line = visible.iter().find_map(|it| line.strip_prefix(it)).unwrap_or(line);
    let (name, rest) = line.strip_prefix("const ")?.split_once(": ")?;
    let (_type, expression) = rest.split_once(" = ")?;
    Some((name, expression))
}

/// A whole number; durations are in milliseconds.
fn number(expression: &str) -> Option<u64> {
    let expression = expression.trim().trim_end_matches(';').trim();
    let inside = |open: &str| expression.strip_prefix(open)?.strip_suffix(')');
    if let Some(limit) = expression.strip_prefix("Limit { bytes: ") {
        return number(limit.split(',').next()?);
    }
    if let Some(seconds) = inside("Duration::from_secs(") {
        return Some(number(seconds)? * 1000);
    }
    if let Some(milliseconds) = inside("Duration::from_millis(") {
        return number(milliseconds);
    }
    if let Some((left, right)) = expression.split_once(" << ") {
        return Some(number(left)? << number(right)?);
    }
    if let Some((left, right)) = expression.split_once(" * ") {
        return Some(number(left)? * number(right)?);
    }
    expression.replace('_', "").parse().ok()
}

/// A value of the table in the same unit.
fn value(text: &str) -> Option<u64> {
    let (digits, unit) = text.split_once(' ').unwrap_or((text, ""));
    let factor = match unit {
        "" | "ms" => 1,
        "s" => 1000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        _ => return None,
    };
    Some(digits.replace(',', "").parse::<u64>().ok()? * factor)
}

#[test]
fn every_limit_of_the_table_is_the_sources() {
    let rows = rows();
    assert!(rows.len() > 25, "{} rows were found", rows.len());
    for (row, written) in &rows {
        let (file, name) = located(row);
        let text = fs::read_to_string(&file)
            .unwrap_or_else(|error| panic!("{row}: {}: {error}", file.display()));
        let expression = shipped(&text)
            .lines()
            .filter_map(constant)
            .find(|(constant, _)| *constant == name)
            .unwrap_or_else(|| panic!("{} has no constant {name}", file.display()))
            .1;
        let found = number(expression);
        assert!(found.is_some(), "{row}: {expression:?} is no number that this test reads");
        assert_eq!(value(written), found, "{row}: the page has {written}, not {expression}");
    }
}

/// The constants of a crate that are named as bounds, as paths.
fn bounds(directory: &Path, path: &str, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap().path();
        let stem = entry.file_stem().unwrap().to_str().unwrap();
        if stem == "tests" {
            continue;
        }
        let inner = if stem == "lib" { path.to_owned() } else { format!("{path}::{stem}") };
        if entry.is_dir() {
            bounds(&entry, &inner, found);
            continue;
        }
        // Recorded answers lie beside the tests that read them.
        if entry.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let text = fs::read_to_string(&entry).unwrap();
        // Only constants of the module, not those within a function. An option is no fixed bound,
        // and the tables of options have its form.
        let is_option = |line: &str| line.contains(": Opt<") || line.contains(": Form<");
        let lines = shipped(&text).lines();
        let lines = lines.filter(|line| !line.starts_with(' ') && !is_option(line));
        for (name, _) in lines.filter_map(constant) {
            if name.split('_').any(|word| BOUND_WORDS.contains(&word)) {
                found.insert(format!("{inner}::{name}"));
            }
        }
    }
}

#[test]
fn every_bound_of_the_source_has_a_row_or_a_reason() {
    let mut found = BTreeSet::new();
    for name in crates() {
        bounds(&sources(&name), &name, &mut found);
    }
    let rows = rows();
    let internal: BTreeSet<&str> = INTERNAL.iter().map(|(path, _)| *path).collect();
    for bound in &found {
        let (in_table, inside) = (rows.contains_key(bound), internal.contains(bound.as_str()));
        assert!(in_table || inside, "{bound} has neither a row in {PAGE} nor a reason in INTERNAL");
        assert!(!(in_table && inside), "{bound} has both a row and a reason to have none");
    }
    for bound in internal {
        assert!(found.contains(bound), "INTERNAL names {bound}, which is not there");
    }
}

/// `config` and `receivers` may not import each other, so each has its own constant.
#[test]
fn a_part_of_a_path_has_one_bound() {
    let rows = rows();
    assert_eq!(
        rows["config::values::PART_MAX_BYTES"],
        rows["receivers::graphite::part::PART_MAX_BYTES"]
    );
}

#[test]
fn numbers_are_read_as_they_are_meant() {
    for (expression, text) in [
        ("2_000_000;", "2,000,000"),
        ("4 << 20;", "4 MiB"),
        ("32 * 1024 * 1024;", "32 MiB"),
        ("Duration::from_secs(30);", "30 s"),
        ("Duration::from_millis(700);", "700 ms"),
        ("Limit { bytes: 16 << 20, name: \"x\" };", "16 MiB"),
    ] {
        assert_eq!(number(expression), value(text), "{expression}");
        assert!(number(expression).is_some(), "{expression}");
    }
    assert_eq!((number("FOO + 1;"), value("much")), (None, None));
    assert_ne!(number("2049;"), value("2,048"));
}
