//! The tables of made and of recorded answers.

use model::{Table, TableKind, Value};

use super::*;
use crate::uwsgi::Carrier;
use crate::{Pipelining, Source};

const MEMORY_REPORT: &[u8] = include_bytes!("dumps/tcp-minified-memreport.json");
const BUSY: &[u8] = include_bytes!("dumps/busy.json");
const HTTP: &[u8] = include_bytes!("dumps/http.json");
const UNIX: &[u8] = include_bytes!("dumps/unix.json");
const PYPI: &[u8] = include_bytes!("dumps/pypi-tcp.json");

fn read_as(name: &str, bytes: &[u8]) -> Reading {
    let file = format!("{name}_uwsgi");
    read(&[Answer { endpoint: name.to_owned(), file, bytes: bytes.to_vec() }])
}

/// The values of a row, by column.
fn row(reading: &Reading, measurement: &str, labels: &[&str]) -> Vec<String> {
    let table = table(reading, measurement);
    for at in 0..table.columns[0].values.len() {
        if table.names.row(at).eq(labels.iter().copied()) {
            let columns = table.columns.iter().filter(|column| column.has(at));
            return columns
                .map(|column| format!("{}={}", column.name, shown(column.get(at))))
                .collect();
        }
    }
    panic!("no row {labels:?} in {measurement}");
}

fn shown(value: Option<Value<'_>>) -> String {
    match value {
        Some(Value::Integer(value)) => value.to_string(),
        Some(Value::Decimal(value)) => format!("{value:?}"),
        Some(Value::State(value)) => value.to_owned(),
        other => panic!("{other:?}"),
    }
}

fn table<'r>(reading: &'r Reading, measurement: &str) -> &'r Table {
    let is_it = |table: &&Table| match &table.kind {
        TableKind::Other(layout) => layout.measurement == measurement,
        _ => false,
    };
    reading.tables.iter().find(is_it).unwrap_or_else(|| panic!("no table {measurement}"))
}

fn measurements(reading: &Reading) -> Vec<&str> {
    let mut all = Vec::new();
    for table in &reading.tables {
        let TableKind::Other(layout) = &table.kind else { panic!("{:?}", table.kind) };
        assert!(layout.is_sound(), "{layout:?}");
        all.push(&*layout.measurement);
    }
    all
}

#[test]
fn every_recorded_answer_is_read() {
    let common = [
        "uwsgi",
        "uwsgi_overview",
        "uwsgi_workers",
        "uwsgi_apps",
        "uwsgi_cores",
        "uwsgi_sockets",
        "uwsgi_locks",
    ];
    for answer in [MEMORY_REPORT, HTTP, UNIX, PYPI] {
        let reading = read_as("shop", answer);
        assert_eq!((reading.usable, reading.damages.len()), (1, 0));
        assert_eq!(measurements(&reading), common);
    }
}

/// A worker was busy with `/held?a=\x01\xff"\x`, which carried a cookie.
#[test]
fn an_answer_with_a_visitors_bytes_is_read_without_them() {
    let mut dialogue = Source::Uwsgi(Carrier::Plain).dialogue(Pipelining::On, 1 << 20);
    let _ = dialogue.request();
    let mut file = Vec::new();
    let write = |_: &str, bytes: &[u8], _| {
        file.extend_from_slice(bytes);
        Ok::<(), crate::Fault>(())
    };
    dialogue.receive(BUSY, write).unwrap();
    dialogue.end_of_connection().unwrap();
    assert!(BUSY.windows(6).any(|window| window == b"geheim"));
    let kept = String::from_utf8(file).unwrap();
    assert!(!kept.contains("geheim") && !kept.contains("request_start"), "{kept}");
    let reading = read_as("shop", kept.as_bytes());
    let totals = row(&reading, "uwsgi", &["shop"]).join(" ");
    assert!(totals.contains("workers_total=3 busy_workers=1 idle_workers=0 cheap_workers=2"));
    assert_eq!(
        row(&reading, "uwsgi_caches", &["shop", "c"])[..2],
        ["hashsize=65536", "keysize=2048"]
    );
}

#[test]
fn the_tables_of_a_recorded_answer() {
    let reading = read_as("shop", MEMORY_REPORT);
    assert_eq!(
        row(&reading, "uwsgi", &["shop"]).join(" "),
        "requests=1 exceptions=0 harakiri_count=0 respawn_count=2 tx=57 workers_total=2 \
         busy_workers=0 idle_workers=2 cheap_workers=0 rss=11636736 rss_max=11636736 \
         listen_queue=0 listen_queue_max=100 avg_rt=96.0"
    );
    assert_eq!(
        row(&reading, "uwsgi_overview", &["shop", "0", "0", "2.0.21-debian"]).join(" "),
        "listen_queue=0 listen_queue_errors=0 signal_queue=0 load=0 pid=11322"
    );
    assert_eq!(
        row(&reading, "uwsgi_workers", &["shop", "2"]).join(" "),
        "requests=1 accepting=1 delta_request=1 exceptions=0 harakiri_count=0 pid=11325 signals=0 \
         signal_queue=0 rss=11636736 vsz=136540160 running_time=192 last_spawn=1795195049 \
         respawn_count=1 tx=57 avg_rt=96 status=idle"
    );
    assert_eq!(
        row(&reading, "uwsgi_apps", &["shop", "2", "0"]).join(" "),
        "modifier1=0 requests=1 startup_time=0 exceptions=0"
    );
    assert_eq!(
        row(&reading, "uwsgi_cores", &["shop", "2", "1"]).join(" "),
        "requests=0 static_requests=0 routed_requests=0 offloaded_requests=0 write_errors=0 \
         read_errors=0 in_request=0"
    );
    assert_eq!(
        row(&reading, "uwsgi_sockets", &["shop", "127.0.0.1:18200", "http"]).join(" "),
        "queue=0 max_queue=100 shared=0 can_offload=0"
    );
    assert_eq!(row(&reading, "uwsgi_locks", &["shop", "user 0"]), ["pid=0"]);
}

#[test]
fn what_uwsgi_cannot_know_is_not_given_as_0() {
    let answer = br#"{"sockets":[{"name":"/run/a.sock","proto":"uwsgi","queue":0,"max_queue":0,
        "shared":0,"can_offload":1}],"workers":[{"requests":0,"rss":0,"avg_rt":0}]}"#;
    let reading = read_as("a", answer);
    let totals = row(&reading, "uwsgi", &["a"]).join(" ");
    assert_eq!(
        totals,
        "requests=0 exceptions=0 harakiri_count=0 respawn_count=0 tx=0 workers_total=1 \
         busy_workers=0 idle_workers=0 cheap_workers=0"
    );
    let socket = row(&reading, "uwsgi_sockets", &["a", "/run/a.sock", "uwsgi"]);
    assert_eq!(socket.join(" "), "shared=0 can_offload=1");
}

#[test]
fn workers_that_never_ran_have_numbers_of_their_own() {
    let answer = br#"{"workers":[{"id":1,"pid":5,"status":"busy","requests":4,"avg_rt":10},
        {"id":0,"pid":0,"status":"cheap"},{"id":0,"pid":0,"status":"cheap"}]}"#;
    let reading = read_as("a", answer);
    let workers = table(&reading, "uwsgi_workers");
    let ids: Vec<_> = (0..3).map(|at| workers.names.label(at, 1).unwrap()).collect();
    assert_eq!(ids, ["1", "2", "3"]);
    let totals = row(&reading, "uwsgi", &["a"]).join(" ");
    assert!(totals.contains("workers_total=3 busy_workers=1 idle_workers=0 cheap_workers=2"));
}

#[test]
fn the_mean_time_of_a_request_weighs_by_the_requests_since_the_last_cycle() {
    let document =
        r#"{"pid":7,"workers":[{"requests":100,"avg_rt":10},{"requests":60,"avg_rt":50}]}"#;
    let mean = |line: &str| {
        let reading = read_as("a", format!("{line}\n{document}").as_bytes());
        row(&reading, "uwsgi", &["a"]).last().unwrap().clone()
    };
    assert_eq!(mean(r#"{"haproxystats":1}"#), "avg_rt=25.0", "the first cycle");
    let line = r#"{"haproxystats":1,"master":7,"requests":[70,50]}"#;
    assert_eq!(mean(line), "avg_rt=20.0", "30 and 10 requests");
    let line = r#"{"haproxystats":1,"master":7,"requests":[100,60]}"#;
    assert_eq!(mean(line), "avg_rt=25.0", "no request since");
    let line = r#"{"haproxystats":1,"master":6,"requests":[70,50]}"#;
    assert_eq!(mean(line), "avg_rt=25.0", "another master");
}

#[test]
fn caches_and_spoolers_are_read_and_odd_values_left_out() {
    let answer = br#"{"workers":[{"requests":"x","tx":-1,"apps":null,"cores":[7]}],"uid":"\xq",
        "caches":[{"name":"c","hash":"djb33x","items":3,"hits":18446744073709551615}],
        "spoolers":[{"dir":"/sp\d","pid":4,"tasks":2},{"dir":"/sp\d","pid":5}],"locks":[1]}"#;
    let reading = read_as("a", answer);
    assert_eq!(row(&reading, "uwsgi_caches", &["a", "c"]), ["items=3"]);
    assert_eq!(row(&reading, "uwsgi_spoolers", &["a", "/sp\\d"]), ["pid=4", "tasks=2"]);
    assert!(row(&reading, "uwsgi", &["a"]).contains(&"requests=0".to_owned()));
}

#[test]
fn a_file_that_is_no_answer_is_damaged_and_the_others_count() {
    let answer = |name: &str, bytes: &[u8]| Answer {
        endpoint: name.to_owned(),
        file: format!("{name}_uwsgi"),
        bytes: bytes.to_vec(),
    };
    let answers =
        [answer("a", b"{\"workers\":["), answer("b", b"{\"x\":1}"), answer("c", MEMORY_REPORT)];
    let reading = read(&answers);
    assert_eq!(reading.usable, 1);
    let subjects: Vec<_> = reading.damages.iter().map(|damage| &*damage.subject).collect();
    assert_eq!(subjects, ["a_uwsgi", "b_uwsgi"]);
    assert_eq!(row(&reading, "uwsgi", &["c"])[0], "requests=1");
}
