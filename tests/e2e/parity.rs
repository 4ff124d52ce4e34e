//! The original's lines, case by case: `tests/data/parity/<case>` has a configuration, a snapshot
//! and the lines of haproxystats 0.5.2, without the times that it took.
//!
//! Values are compared as numbers, at the receiver and in local-store. A line that the original
//! gives as `nan`, or for a column that no file has, must not come.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::scene::{Scene, copy_files};
use crate::sink::{Manner, Sink};
use crate::support::{data, wait_until};

/// Lines by path and timestamp.
type Lines = BTreeMap<(String, String), f64>;

const SNAPSHOT: &str = "1700000000";
const DERIVED: [&str; 6] = [
    "TotalServers",
    "CpuUsagePct",
    "StdCpuUsagePct",
    "Percentage",
    "Metrics",
    "PercentileCpuUsagePct",
];

fn run_case(case: &str) {
    let (scene, sink) = (Scene::new(), Sink::start(Manner::Whole));
    let case = data(&format!("parity/{case}"));
    for entry in fs::read_dir(&case).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            fs::copy(&path, scene.path().join(path.file_name().unwrap())).unwrap();
        }
    }
    let config = fs::read_to_string(case.join("conf.ini")).unwrap();
    let config = config.replace("@DIR@", &scene.path().display().to_string());
    let config = scene.write("conf.ini", &config.replace("@PORT@", &sink.port.to_string()));
    let aside = scene.path().join("aside");
    copy_files(&case.join(SNAPSHOT), &aside);
    fs::rename(aside, scene.incoming().join(SNAPSHOT)).unwrap();

    let process = scene.process(&config);
    let stored = scene.path().join("out").join(SNAPSHOT).join("stats");
    wait_until("an empty spool", || scene.waiting().is_empty() && stored.exists());
    process.finish();

    let expected = expected(&case);
    assert!(expected.len() > 200, "{} lines to compare", expected.len());
    assert_same("the receiver", &parse(&sink.lines().join("\n")), &expected);
    assert_same("local-store", &parse(&fs::read_to_string(stored).unwrap()), &expected);
}

fn expected(case: &Path) -> Lines {
    let columns = columns(&case.join(SNAPSHOT));
    let text = fs::read_to_string(case.join("expected.txt")).unwrap();
    let has_nan = text.contains(" nan ");
    let lines = text.lines().filter(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        let metric = words[0].rsplit('.').next().unwrap();
        let derived = DERIVED.iter().any(|part| metric.contains(part));
        // The original also counts lines that it should not have sent.
        let miscounted = has_nan && metric.starts_with("Metrics");
        words[1] != "nan" && !miscounted && (derived || columns.contains(metric))
    });
    parse(&lines.collect::<Vec<_>>().join("\n"))
}

/// Every CSV column and every info key of a snapshot.
fn columns(snapshot: &Path) -> BTreeSet<String> {
    let mut columns = BTreeSet::new();
    for entry in fs::read_dir(snapshot).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        match text.strip_prefix("# ") {
            Some(csv) => columns.extend(csv.lines().next().unwrap().split(',').map(str::to_owned)),
            None => {
                columns.extend(text.lines().filter_map(|l| Some(l.split_once(": ")?.0.to_owned())))
            }
        }
    }
    columns
}

fn parse(text: &str) -> Lines {
    let mut lines = Lines::new();
    for line in text.lines().filter(|line| is_the_originals(line)) {
        let words: Vec<&str> = line.split(' ').collect();
        let [path, value, timestamp] = words[..] else { panic!("malformed: {line:?}") };
        let value = value.parse().unwrap();
        let before = lines.insert((path.to_owned(), timestamp.to_owned()), value);
        assert!(before.is_none(), "twice: {line}");
    }
    lines
}

/// Whether a metric can be compared: it is neither a duration of work nor missing in the original.
fn is_the_originals(line: &str) -> bool {
    !line.contains(".haproxystats.") || line.contains(".haproxystats.Metrics")
}

fn assert_same(place: &str, found: &Lines, expected: &Lines) {
    for (key, value) in expected {
        let near =
            found.get(key).is_some_and(|have| (have - value).abs() <= 1e-9 * value.abs().max(1.0));
        assert!(near, "{place}: {key:?} is {:?} and not {value}", found.get(key));
    }
    let counts = |path: &str| path.contains(".haproxystats.Metrics");
    let extra: Vec<_> =
        found.keys().filter(|key| !expected.contains_key(*key) && !counts(&key.0)).collect();
    assert!(extra.is_empty(), "{place} has more: {extra:?}");
}

macro_rules! cases {
    ($($name:ident = $case:literal;)*) => {
        $(#[test] fn $name() { run_case($case); })*

        #[test]
        fn every_case_is_run() {
            let mut there: Vec<_> = fs::read_dir(data("parity"))
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            there.sort();
            assert_eq!(there, [$($case),*]);
        }
    };
}

cases! {
    defaults = "01-default";
    per_process = "02-per-process";
    percentages = "03-percentages";
    aggregated_servers = "05-aggr-servers";
    exclusions = "06-exclude";
    custom_metrics = "07-custom-metrics";
    groups = "11-groups";
    groups_with_double_writes = "12-groups-double";
    no_traffic_at_all = "18-idle-everything";
    processes_that_differ = "19-uneven";
}
