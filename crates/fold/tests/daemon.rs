//! The figures of `show info`: the lists of `daemon-metrics`, and old workers beside current ones.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test code")]

use std::collections::BTreeMap;
use std::fs;

use haproxystats_fold::Generation::{Current, Old};
use haproxystats_fold::{Generation, Input, Tables};
use model::{TableKind, Value};

fn config(daemon_metrics: config::Selection) -> config::Tables {
    config::Tables {
        frontend_metrics: config::Selection::Default,
        backend_metrics: config::Selection::Default,
        server_metrics: config::Selection::Default,
        daemon_metrics,
        aggr_server_metrics: false,
        per_process_metrics: true,
        calculate_percentages: true,
        exclude_frontends: None,
        exclude_backends: None,
        server_states: false,
        hide_maint: false,
        max_servers_per_backend: None,
        file_limit: 1 << 20,
    }
}

/// The metrics as `<process> <key>`, or `<key>` of the daemon, and the subjects of the oddities.
fn fold(
    config: config::Tables,
    answers: &[(Generation, &str)],
) -> (BTreeMap<String, String>, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let mut inputs = Vec::new();
    for (number, (generation, text)) in answers.iter().enumerate() {
        let path = folder.path().join(format!("e{number}_info"));
        fs::write(&path, text).unwrap();
        let (endpoint, generation) = (format!("e{number}"), *generation);
        inputs.push(Input { endpoint, info: Some(path), stat: None, generation, by_master: false });
    }
    let daemon = Tables::new(config).daemon(&inputs).unwrap();
    assert!(daemon.damages.is_empty(), "{:?}", daemon.damages);
    let mut metrics = BTreeMap::new();
    for table in &daemon.tables {
        for column in &table.columns {
            for row in 0..table.names.len() {
                let value = match column.get(row) {
                    None => continue,
                    Some(Value::Integer(value)) => value.to_string(),
                    Some(Value::Mean { sum, count }) => format!("{sum}/{count}"),
                    Some(other) => format!("{other:?}"),
                };
                let name = match table.kind {
                    TableKind::Daemon => column.name.to_string(),
                    _ => format!("{} {}", table.names.label(row, 0).unwrap(), column.name),
                };
                metrics.insert(name, value);
            }
        }
    }
    (metrics, daemon.oddities.into_iter().map(|oddity| oddity.subject).collect())
}

const FIRST: &str = "Pid: 10\nProcess_num: 1\nStart_time_sec: 100\nUptime_sec: 50\nMaxconn: 1000\n\
                     CurrConns: 10\nCumReq: 500\nMaxConnRate: 7\nPoolFailed: 1\nIdle_pct: 40\n\
                     Brand_new: 3\nBrand_new_max: 9\nWords: some text\n";
const SECOND: &str = "Pid: 11\nProcess_num: 1\nStart_time_sec: 150\nUptime_sec: 2\nMaxconn: 2000\n\
                      CurrConns: 90\nCumReq: 20\nMaxConnRate: 5\nPoolFailed: 2\nIdle_pct: 60\n\
                      Brand_new: 4\nBrand_new_max: 8\nWords: 5\n";

fn expect(metrics: &BTreeMap<String, String>, expected: &[(&str, Option<&str>)]) {
    for (name, value) in expected {
        assert_eq!(metrics.get(*name).map(String::as_str), *value, "{name} of {metrics:#?}");
    }
}

#[test]
fn a_list_replaces_the_sums_and_leaves_our_own_figures() {
    let names = ["PoolFailed", "Brand_new_max"].map(String::from).to_vec();
    let answers = [(Current, FIRST), (Current, SECOND)];
    let (metrics, oddities) = fold(config(config::Selection::Named(names)), &answers);
    expect(
        &metrics,
        &[
            ("PoolFailed", Some("3")),
            ("Brand_new_max", Some("9")),
            ("Idle_pct", Some("100/2")),
            ("Uptime_sec", Some("52/2")),
            // Calculated of keys that are not sent.
            ("ConnPercentage", Some("3")),
            ("CurrConns", None),
            ("Maxconn", None),
            ("CumReq", None),
            ("50PercentileCpuUsagePct", Some("40")),
            ("e0 PoolFailed", Some("1")),
            ("e0 CpuUsagePct", Some("60")),
            ("e1 ConnPercentage", Some("4")),
            ("e1 CurrConns", None),
        ],
    );
    assert_eq!(oddities, ["Brand_new_max"], "its name decides how it folds");
}

#[test]
fn all_takes_what_the_catalogue_lacks() {
    let except = vec!["CumReq".to_owned(), "Brand_new".to_owned()];
    let answers = [(Current, FIRST), (Current, SECOND)];
    let (metrics, oddities) = fold(config(config::Selection::All { except }), &answers);
    expect(
        &metrics,
        &[
            ("MaxConnRate", Some("7")),
            ("Start_time_sec", Some("150")),
            ("CurrConns", Some("100")),
            ("Brand_new_max", Some("9")),
            ("Words", Some("5")),
            ("CumReq", None),
            ("Brand_new", None),
            ("Pid", None),
        ],
    );
    assert_eq!(oddities, ["Brand_new_max", "Words"]);
}

#[test]
fn old_workers_count_in_sums_and_not_in_limits_and_means() {
    let answers = [(Old, FIRST), (Current, SECOND)];
    let (metrics, _) = fold(config(config::Selection::Default), &answers);
    expect(
        &metrics,
        &[
            ("CurrConns", Some("100")),
            ("CumReq", Some("520")),
            ("Maxconn", Some("2000")),
            ("Uptime_sec", Some("2/1")),
            ("Idle_pct", Some("60/1")),
            ("ConnPercentage", Some("5")),
            // The process keeps its name while an old one with the same number lives.
            ("1 CurrConns", Some("90")),
            ("e0 CurrConns", None),
            ("50PercentileCpuUsagePct", None),
        ],
    );
    let (metrics, _) = fold(config(config::Selection::Default), &[(Old, FIRST)]);
    expect(&metrics, &[("Maxconn", Some("1000")), ("1 CurrConns", Some("10"))]);
}
