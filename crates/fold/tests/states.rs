//! States, old workers, new columns and the limit of servers, from answers of several processes.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test code")]

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use haproxystats_fold::{Generation, Input, Oddity, Tables};
use model::{Nature, TableKind, Value};

fn config() -> config::Tables {
    config::Tables {
        frontend_metrics: config::Selection::Default,
        backend_metrics: config::Selection::Default,
        server_metrics: config::Selection::Default,
        daemon_metrics: config::Selection::Default,
        aggr_server_metrics: false,
        per_process_metrics: false,
        calculate_percentages: false,
        exclude_frontends: None,
        exclude_backends: None,
        server_states: false,
        hide_maint: false,
        max_servers_per_backend: None,
        file_limit: 1 << 20,
    }
}

/// The metrics by table, names and column, with their values as texts; the oddities; the number of
/// servers that were left out.
struct Folded {
    metrics: BTreeMap<String, String>,
    oddities: Vec<Oddity>,
    left_out: Option<u64>,
}

impl Folded {
    fn get(&self, path: &str) -> Option<&str> {
        self.metrics.get(path).map(String::as_str)
    }
}

fn fold(
    config: config::Tables,
    natures: &[(&str, Nature)],
    files: &[(Generation, &str)],
) -> Folded {
    let folder = tempfile::tempdir().unwrap();
    let mut inputs = Vec::new();
    for (number, (generation, text)) in files.iter().enumerate() {
        let path = folder.path().join(format!("{number}_stat"));
        fs::write(&path, text).unwrap();
        let (endpoint, generation) = (number.to_string(), *generation);
        inputs.push(Input { endpoint, info: None, stat: Some(path), generation, by_master: false });
    }
    let natures = natures.iter().map(|(name, nature)| ((*name).to_owned(), *nature)).collect();
    let mut tables = Tables::new(config);
    let mut proxies = tables.read(&inputs, &HashMap::new(), &natures).unwrap();
    assert!(proxies.damages.is_empty(), "{:?}", proxies.damages);
    let mut all = vec![tables.frontends(&mut proxies).unwrap()];
    all.push(tables.backends(&mut proxies).unwrap());
    let servers = tables.servers(&mut proxies).unwrap();
    all.extend(servers.tables);
    proxies.oddities.extend(servers.oddities);
    let mut metrics = BTreeMap::new();
    for table in &all {
        for column in &table.columns {
            for row in 0..table.names.len() {
                let text = match column.get(row) {
                    None => continue,
                    Some(Value::State(text)) => format!("{text:?}"),
                    Some(Value::Integer(number)) => number.to_string(),
                    Some(Value::Mean { sum, count }) => format!("{sum}/{count}"),
                    Some(other) => format!("{other:?}"),
                };
                let names: Vec<_> = table.names.row(row).collect();
                let kind = match table.kind {
                    TableKind::Server => "all/",
                    TableKind::Frontend => "front/",
                    _ => "",
                };
                let is_text = if text.starts_with('"') { "$" } else { "" };
                let path = format!("{kind}{}/{}{is_text}", names.join("/"), column.name);
                assert!(metrics.insert(path.clone(), text).is_none(), "{path} twice");
            }
        }
    }
    Folded { metrics, oddities: proxies.oddities, left_out: servers.left_out }
}

use Generation::{Current, Old};

fn stat(rows: &[&str]) -> String {
    let header = "# pxname,svname,stot,slim,weight,status,check_status,type,\n";
    format!("{header}{}\n\n", rows.join("\n"))
}

#[test]
fn the_worst_state_of_the_current_processes_counts() {
    let first = stat(&[
        "b,s1,1,9,5,UP,L7OK,2,",
        "b,s2,1,9,5,UP 1/3,* L4TOUT,2,",
        "b,s3,1,9,5,MAINT (via b/s1),,2,",
        "b,s4,1,9,5,no check,,2,",
        "b,s5,1,9,5,DRAIN (agent),INI,2,",
        "b,BACKEND,1,9,5,UP,,1,",
    ]);
    let second = stat(&[
        "b,s1,1,9,5,DOWN 1/2,L4CON,2,",
        "b,s2,1,9,5,UP,L7OK,2,",
        "b,s3,1,9,5,UP,,2,",
        "b,s4,1,9,5,NOLB 1/3,,2,",
        "b,s5,1,9,5,DRAIN,,2,",
        "b,BACKEND,1,9,5,DOWN,,1,",
    ]);
    let config = config::Tables { server_states: true, ..config() };
    let folded = fold(config, &[], &[(Current, &first), (Current, &second)]);
    let expected = [
        ("b/s1/up", Some("0")),
        ("b/s1/status$", Some("\"DOWN 1/2\"")),
        ("b/s1/check_status", Some("8")),
        ("b/s1/check_status$", Some("\"L4CON\"")),
        ("b/s2/up", Some("1")),
        ("b/s2/check_status", Some("7")),
        ("b/s3/up", Some("0")),
        ("b/s3/check_status", None),
        ("b/s4/up", Some("0")),
        ("b/s5/up", Some("0")),
        ("b/s1/weight", Some("10/2")),
        ("b/servers.up", Some("1")),
        ("b/servers.down", Some("1")),
        ("b/servers.maint", Some("1")),
        ("b/servers.drain", Some("1")),
        ("b/servers.nolb", Some("1")),
        ("b/servers.no_check", Some("0")),
        ("b/state", Some("0")),
        ("b/TotalServers", Some("5")),
        ("b/s1/only_old_workers", None),
    ];
    for (path, value) in expected {
        assert_eq!(folded.get(path), value, "{path}");
    }
}

#[test]
fn an_old_workers_counters_count_and_its_states_do_not() {
    let old = stat(&["b,s1,7,9,5,DOWN,L4CON,2,", "b,gone,3,4,8,MAINT,,2,"]);
    let current = stat(&["b,s1,1,2,1,UP,L7OK,2,"]);
    for files in [[(Old, &*old), (Current, &*current)], [(Current, &*current), (Old, &*old)]] {
        let config = config::Tables { server_states: true, ..config() };
        let folded = fold(config, &[], &files);
        let expected = [
            ("b/s1/stot", Some("8")),
            ("b/s1/slim", Some("2")),
            ("b/s1/weight", Some("1/1")),
            ("b/s1/up", Some("1")),
            ("b/s1/only_old_workers", None),
            ("b/gone/stot", Some("3")),
            ("b/gone/slim", Some("4")),
            ("b/gone/weight", Some("8/1")),
            ("b/gone/up", Some("0")),
            ("b/gone/only_old_workers", Some("1")),
            ("b/servers.up", Some("1")),
            ("b/servers.maint", Some("0")),
        ];
        for (path, value) in expected {
            assert_eq!(folded.get(path), value, "{path}");
        }
    }
}

#[test]
fn a_server_is_hidden_only_if_all_current_processes_have_it_in_maintenance() {
    let first = stat(&["b,s1,1,9,5,MAINT,,2,", "b,s2,1,9,5,MAINT (resolution),,2,"]);
    let second = stat(&["b,s1,1,9,5,UP,,2,", "b,s2,1,9,5,MAINT,,2,"]);
    let old = stat(&["b,s2,1,9,5,UP,,2,"]);
    let config = config::Tables { hide_maint: true, ..config() };
    let folded = fold(config, &[], &[(Current, &first), (Current, &second), (Old, &old)]);
    assert_eq!((folded.get("b/s1/stot"), folded.get("b/s2/stot")), (Some("2"), None));
    assert_eq!((folded.get("b/TotalServers"), folded.get("b/s1/up")), (Some("2"), None));
}

#[test]
fn the_servers_of_a_large_backend_are_left_out_and_their_sums_stay() {
    let text = stat(&["a,s1,1,9,5,UP,,2,", "b,s1,1,9,5,UP,,2,", "b,s2,4,9,5,UP,,2,"]);
    let limited = |most| {
        let (max_servers_per_backend, aggr_server_metrics) = (Some(most), true);
        config::Tables { max_servers_per_backend, aggr_server_metrics, ..config() }
    };
    let folded = fold(limited(1), &[], &[(Current, &text)]);
    assert_eq!((folded.get("a/s1/stot"), folded.get("b/s2/stot")), (Some("1"), None));
    assert_eq!((folded.get("b/TotalServers"), folded.get("all/s2/stot")), (Some("2"), Some("4")));
    let [oddity] = folded.oddities.as_slice() else { panic!("{:?}", folded.oddities) };
    assert_eq!((oddity.subject.as_str(), oddity.state), ("b", "too many servers"));
    assert_eq!(folded.left_out, Some(2));
    let folded = fold(limited(2), &[], &[(Current, &text)]);
    assert_eq!((folded.get("b/s2/stot"), folded.left_out), (Some("4"), Some(0)));
}

#[test]
fn new_columns_fold_by_their_natures_or_names_and_texts_are_left_out() {
    let text = |first: u32, note: &str| {
        format!(
            "# pxname,svname,stot,type,h4req,h4_max,h4time,h4note,pid,\n\
             w,FRONTEND,1,0,{first},{first},{first},{note},7,\nb,BACKEND,1,1,,,,,7,\n\n"
        )
    };
    let files = [text(3, "x"), text(5, "8")];
    let files = [(Current, &*files[0]), (Current, &*files[1])];
    let all = || config::Selection::All { except: vec!["stot".to_owned()] };
    let of_all = || config::Tables { frontend_metrics: all(), backend_metrics: all(), ..config() };
    let folded = fold(of_all(), &[], &files);
    let expected = [
        ("front/w/h4req", Some("8")),
        ("front/w/h4_max", Some("5")),
        ("front/w/h4time", Some("8/2")),
        ("front/w/h4note", None),
        ("front/w/stot", None),
        ("front/w/pid", None),
        ("b/h4req", None),
    ];
    for (path, value) in expected {
        assert_eq!(folded.get(path), value, "{path}");
    }
    let names: Vec<_> = folded.oddities.iter().map(|oddity| &*oddity.subject).collect();
    assert_eq!(names, ["h4_max", "h4req", "h4time"]);

    let typed = [("h4req", Nature::Maximum), ("h4time", Nature::Other)];
    let folded = fold(of_all(), &typed, &files);
    assert_eq!((folded.get("front/w/h4req"), folded.get("front/w/h4time")), (Some("5"), None));

    let named = config::Selection::Named(vec!["h4_max".to_owned(), "no_such".to_owned()]);
    let folded = fold(config::Tables { frontend_metrics: named, ..config() }, &[], &files);
    let of_frontend: Vec<_> =
        folded.metrics.keys().filter(|path| path.starts_with("front/w/")).collect();
    assert_eq!(of_frontend, ["front/w/h4_max"]);
}

#[test]
fn new_columns_have_a_bound() {
    let names: Vec<_> = (0..500).map(|number| format!("c{number}")).collect();
    let text = format!(
        "# pxname,svname,type,{},\nw,FRONTEND,0,{},\n\n",
        names.join(","),
        vec!["1"; names.len()].join(",")
    );
    let all = config::Selection::All { except: Vec::new() };
    let folded =
        fold(config::Tables { frontend_metrics: all, ..config() }, &[], &[(Current, &text)]);
    assert_eq!(folded.metrics.len(), 128);
    assert!(folded.oddities.iter().any(|oddity| oddity.state == "too many new columns"));
}

/// Every answer of a real HAProxy has states, and nothing but states differs with them.
#[test]
fn states_add_metrics_to_every_recorded_answer_and_change_none() {
    let dumps = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/dumps");
    let mut answers = 0;
    for version in fs::read_dir(dumps).unwrap() {
        for file in fs::read_dir(version.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            if !path.to_string_lossy().ends_with("show_stat.txt") {
                continue;
            }
            answers += 1;
            let text = fs::read_to_string(&path).unwrap();
            let without = fold(config(), &[], &[(Current, &text)]);
            let with_states = config::Tables { server_states: true, ..config() };
            let with = fold(with_states, &[], &[(Current, &text)]);
            assert!(without.metrics.iter().all(|(path, value)| with.get(path) == Some(value)));
            assert!(with.metrics.keys().any(|path| path.ends_with("/up")), "{path:?}");
            assert!(with.metrics.keys().any(|path| path.ends_with("/status$")), "{path:?}");
            assert!(with.oddities.is_empty(), "{path:?}");
        }
    }
    assert!(answers >= 5);
}
