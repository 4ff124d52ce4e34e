//! InfluxDB as a receiver, with a real InfluxDB 1.x and a real VictoriaMetrics: every value is read
//! back, and nothing is lost when the server is killed, frozen, or refuses.

pub(crate) mod servers;
pub(crate) mod telegraf;
mod values;

use std::fs;
use std::path::PathBuf;
use std::time::{Instant, SystemTime};

use rustix::process::Signal;
use testbed::http::{Answer, Server};

use crate::golden;
use crate::scene::Scene;
use crate::support::{Program, installed, skip_for_the_machine, wait_until};
use servers::{InfluxD, Victoria};

/// The seconds of the first snapshot.
const FIRST: u64 = 1_700_000_000;
/// A local-store whose files have Graphite's lines of the same batches.
const STORE: &str = "[local-store]\ndir = ${paths:base-dir}/local-store\n";
/// Limits that let faults be seen soon.
const QUICK: &str = "interval = 0.05\nbackoff = 1\ndelay = 0.2\nconnect-timeout = 5\n\
                     write-timeout = 5\n";
/// All tables and columns.
const EVERYTHING: &str = "frontend-metrics = all\nbackend-metrics = all\nserver-metrics = all\n\
                          aggr-server-metrics = true\nper-process-metrics = true\n\
                          calculate-percentages = true\n";

/// A configuration with InfluxDB alone; `receivers` begins with the options of `[influxdb]`.
fn config(scene: &Scene, process: &str, receivers: &str) -> PathBuf {
    let text = format!(
        "[DEFAULT]\nloglevel = debug\n[paths]\nbase-dir = {}\n\
         [process]\nsrc-dir = {}\nworkers = 2\n{process}\n[graphite]\nenabled = false\n\
         namespace = e2e\nprefix-hostname = false\n[influxdb]\n{QUICK}{receivers}\n",
        scene.path().display(),
        scene.incoming().display(),
    );
    scene.write("haproxystats.conf", &text)
}

fn influxd(test: &str, scene: &Scene) -> Option<InfluxD> {
    let [influxd] = installed(test, ["influxd"])?;
    Some(InfluxD::start(&influxd, scene.path(), ""))
}

fn publish(scene: &Scene, seconds: impl Iterator<Item = u64>) -> Vec<u64> {
    let seconds: Vec<u64> = seconds.collect();
    seconds.iter().for_each(|second| scene.publish(*second));
    seconds
}

fn stored(scene: &Scene, second: u64) -> String {
    fs::read_to_string(scene.path().join(format!("local-store/{second}/stats"))).unwrap()
}

/// Every value of every dump that we have, from HAProxy 1.5 to 3.4.
#[test]
fn every_value_is_read_back_from_influxdb() {
    let scene = Scene::new();
    let Some(server) = influxd("influxdb: values", &scene) else { return };
    let receivers = format!(
        "url = http://127.0.0.1:{}\ndatabase = my \"db\"\ngzip = true\nbatch-points = 7\n\
         tags = dc=ams 1\n{STORE}",
        server.port
    );
    let process = scene.process(&config(&scene, EVERYTHING, &receivers));
    let mut expected = values::Values::new();
    for (second, dumps) in (FIRST..).zip(golden::DUMPS) {
        golden::publish(&scene, dumps, second);
        scene.wait_until_delivered();
        expected.extend(values::of_lines(&stored(&scene, second)));
    }
    assert!(process.log().contains("is made"), "the database was not made");
    process.finish();
    let fields = server.fields("my \"db\"");
    assert!(fields.iter().all(|field| field.tags["dc"] == "ams 1"));
    let found = values::of_fields(&fields);
    values::assert_equal(&expected, &found);
    assert_eq!(expected.len(), found.len());
    // Fields are whole numbers, but for derived ones and texts: telegraf's types.
    for field in fields.iter().filter(|field| field.measurement == "haproxy") {
        assert!(values::is_whole(&field.value) || field.value.is_string(), "{field:?}");
    }
}

#[test]
fn every_value_is_read_back_from_victoria_metrics_by_both_paths() {
    let Some([victoria]) = installed("influxdb: VictoriaMetrics", ["victoria-metrics"]) else {
        return;
    };
    let scene = Scene::new();
    let server = Victoria::start(&victoria, scene.path());
    let url = format!("url = http://127.0.0.1:{}", server.port);
    let receivers = format!(
        "{url}\ndatabase = d\ntags = via=v1\n[influxdb:two]\n{QUICK}{url}/influx\nbucket = b\n\
         org = any\ntags = via=v2\ngzip = true\n{STORE}"
    );
    let process = scene.process(&config(&scene, EVERYTHING, &receivers));
    golden::publish(&scene, "haproxy-2.2.9", FIRST);
    scene.wait_until_delivered();
    process.finish();
    let expected = values::of_lines(&stored(&scene, FIRST));
    for via in ["v1", "v2"] {
        // New points are found after a moment.
        wait_until("the points", || {
            let found = values::of_fields(&server.fields(via));
            expected.keys().all(|key| found.contains_key(key))
        });
        values::assert_equal(&expected, &values::of_fields(&server.fields(via)));
    }
}

/// VictoriaMetrics refuses the whole request. No line of ours is malformed, so the lines come from
/// the test.
#[test]
fn a_line_that_victoria_metrics_does_not_understand_is_counted_and_all_else_is_stored() {
    let Some([victoria]) = installed("influxdb: malformed lines", ["victoria-metrics"]) else {
        return;
    };
    let scene = Scene::new();
    let server = Victoria::start(&victoria, scene.path());
    let receivers = format!("url = http://127.0.0.1:{}\nbucket = b\n", server.port);
    let file = config(&scene, "", &receivers);
    let loaded = config::load(&config::Sources { file, dir: None }).unwrap();
    let influxdb = loaded.process.receivers.into_iter().find_map(|receiver| match receiver.kind {
        config::ReceiverKind::InfluxDb(influxdb) => Some(influxdb),
        _ => None,
    });
    let clock = daemon::Clock { wall: SystemTime::now, monotonic: Instant::now };
    let mut transport = receivers::InfluxDb::new(influxdb.unwrap(), clock);
    let lines = (0..100_u64).map(|number| match number {
        37 => format!("m,via=halves value {FIRST}\n"),
        number => format!("m,via=halves,n={number} value={number}i {FIRST}\n"),
    });
    let outcome = transport.deliver(&lines.collect::<String>().into_bytes()).unwrap();
    assert_eq!(outcome.refused_points.count, 1, "{outcome:?}");
    let reason = outcome.refused_points.reason.unwrap();
    assert!(reason.contains("answered 400") && reason.contains("m,via=halves value"), "{reason}");
    wait_until("the points", || server.fields("halves").len() == 99);
}

/// Starts a process with InfluxDB alone, which makes its database.
fn start(scene: &Scene, server: &InfluxD, process: &str) -> Program {
    let receivers = format!("url = http://127.0.0.1:{}\ndatabase = stats\n", server.port);
    scene.process(&config(scene, process, &receivers))
}

/// Waits until the database has the points of all these seconds.
fn assert_arrived(server: &InfluxD, scene: &Scene, seconds: &[u64]) {
    scene.wait_until_delivered();
    wait_until("all snapshots in the database", || server.seconds("stats") == seconds);
}

#[test]
fn what_comes_while_influxdb_is_down_arrives_when_it_is_back() {
    let scene = Scene::new();
    let Some(mut server) = influxd("influxdb: down", &scene) else { return };
    server.go_down();
    let process = start(&scene, &server, "");
    let mut seconds = publish(&scene, FIRST..FIRST + 5);
    wait_until("held batches", || scene.stored() == 5 && scene.waiting().is_empty());
    process.finish();
    let mut process = start(&scene, &server, "");
    server.come_up();
    assert_arrived(&server, &scene, &seconds);
    // Killed and started again in between, as often as snapshots come.
    for second in FIRST + 5..FIRST + 15 {
        scene.publish(second);
        seconds.push(second);
        server.go_down();
        server.come_up();
    }
    assert_arrived(&server, &scene, &seconds);
    assert!(process.runs());
    process.finish();
}

#[test]
fn a_frozen_influxdb_costs_the_timeout_and_no_point() {
    let scene = Scene::new();
    let Some(server) = influxd("influxdb: frozen", &scene) else { return };
    let receivers =
        format!("url = http://127.0.0.1:{}\ndatabase = stats\ntimeout = 0.2\n", server.port);
    let process = scene.process(&config(&scene, "", &receivers));
    let mut seconds = publish(&scene, FIRST..FIRST + 1);
    assert_arrived(&server, &scene, &seconds);
    server.signal(Signal::STOP);
    seconds.extend(publish(&scene, FIRST + 1..FIRST + 4));
    wait_until("held batches", || scene.stored() == 3 && scene.waiting().is_empty());
    let log = process.log();
    assert!(log.contains("gave no answer within 0.2s (timeout)"), "{log}");
    server.signal(Signal::CONT);
    assert_arrived(&server, &scene, &seconds);
    process.finish();
}

#[test]
fn a_database_that_was_dropped_is_made_again() {
    let scene = Scene::new();
    let Some(server) = influxd("influxdb: dropped", &scene) else { return };
    let process = start(&scene, &server, "");
    scene.publish(FIRST);
    assert_arrived(&server, &scene, &[FIRST]);
    server.query("stats", "DROP DATABASE \"stats\"").unwrap();
    scene.publish(FIRST + 1);
    assert_arrived(&server, &scene, &[FIRST + 1]);
    process.finish();
}

/// A value of the database itself about a receiver.
fn own(server: &InfluxD, name: &str) -> Option<u64> {
    let statement = format!("SELECT last(\"influxdb.{name}\") FROM haproxystats");
    server.query("stats", &statement)?["results"][0]["series"][0]["values"][0][1].as_u64()
}

#[test]
fn a_field_of_another_type_is_counted_and_all_else_is_stored() {
    let scene = Scene::new();
    let Some(server) = influxd("influxdb: types", &scene) else { return };
    server.query("stats", "CREATE DATABASE \"stats\"").unwrap();
    server.write("stats", &format!("haproxy,sv=old stot=1.5 {FIRST}\n"));
    let process = start(&scene, &server, "liveness-check-interval = 1\n");
    scene.publish(FIRST + 1);
    scene.wait_until_delivered();
    wait_until("RefusedPoints", || own(&server, "RefusedPoints") > Some(0));
    let refused = own(&server, "RefusedPoints").unwrap();
    let log = process.log();
    let text = "the receiver refused points, they are not sent again; RefusedPoints counts";
    assert_eq!(log.matches(text).count(), 1, "{log}");
    assert!(log.contains("field type conflict"), "{log}");
    // All rows of proxies have the field, and nothing else is refused.
    let rows = stored_rows(&scene);
    assert_eq!(refused, rows);
    let info = server.query("stats", "SELECT count(*) FROM haproxy_info").unwrap();
    assert!(info["results"][0]["series"].is_array(), "{info}");
    process.finish();
    assert_eq!(scene.stored(), 0);
}

/// The rows with the field `stot`, as `--render` shows them.
fn stored_rows(scene: &Scene) -> u64 {
    let snapshot = scene.path().join(FIRST.to_string());
    let staged = Scene::new();
    staged.publish(FIRST);
    fs::rename(staged.incoming().join(FIRST.to_string()), &snapshot).unwrap();
    let file = scene.path().join("haproxystats.conf");
    let arguments =
        ["-f", file.to_str().unwrap(), "--render", "influx", snapshot.to_str().unwrap()];
    let rendered = crate::support::run(crate::support::PROCESS, &arguments);
    assert_eq!(rendered.code, Some(0), "{}", rendered.stderr);
    let has_stot = |line: &&str| line.contains(" stot=") || line.contains(",stot=");
    let lines: Vec<&str> = rendered.stdout.lines().collect();
    // Nanoseconds where nothing tells the unit.
    assert!(lines.iter().all(|line| line.ends_with(&format!(" {FIRST}000000000"))), "{lines:?}");
    lines.iter().filter(|line| has_stot(line)).count() as u64
}

/// A server with the bound that a proxy in front of it often has.
#[test]
fn requests_are_as_small_as_the_server_wants_them() {
    let scene = Scene::new();
    let Some([influxd]) = installed("influxdb: 413", ["influxd"]) else { return };
    let server = InfluxD::start(&influxd, scene.path(), "max-body-size = 3000");
    let process = start(&scene, &server, EVERYTHING);
    let seconds = publish(&scene, FIRST..FIRST + 3);
    assert_arrived(&server, &scene, &seconds);
    let log = process.log();
    process.finish();
    assert!(!log.contains("refused points"), "{log}");
}

/// The order of all receivers and their independence are those of every kind: a server that never
/// answers keeps no other receiver waiting.
#[test]
fn a_receiver_beside_it_gets_each_snapshot_at_once() {
    let scene = Scene::new();
    let server = Server::start(Answer::Never).unwrap();
    let receivers = format!("url = {}\ndatabase = d\ntimeout = 30\n{STORE}", server.url());
    let mut process = scene.process(&config(&scene, "", &receivers));
    for second in FIRST..FIRST + 3 {
        scene.publish(second);
        let file = scene.path().join(format!("local-store/{second}/stats"));
        wait_until("the file of local-store", || file.exists());
    }
    wait_until("held batches", || scene.stored() >= 2 && scene.waiting().is_empty());
    drop(server);
    process.end_with(Signal::TERM);
}

/// A batch that a server refuses again and again, while it takes others, is set aside.
#[test]
fn a_batch_that_is_never_taken_does_not_stop_the_others() {
    let scene = Scene::new();
    let server = Server::start(Answer::text(400, "unable to parse 'x'")).unwrap();
    let receivers = format!("url = {}\ndatabase = d\nretries = -1\n", server.url());
    let process = scene.process(&config(&scene, "", &receivers));
    scene.publish(FIRST);
    wait_until("the first refusal", || !server.requests().is_empty());
    wait_until("its end", || process.log().contains("a batch of the outbox is lost"));
    server.behave(Answer::status(204));
    scene.publish(FIRST + 1);
    scene.wait_until_delivered();
    let damaged = scene.path().join("outbox/influxdb");
    let names = testbed::names(&damaged);
    assert!(names.iter().any(|name| name.ends_with(".damaged")), "{names:?}");
    process.finish();
}

/// The reason of a "500" may be the server or the batch. The other batches show which, but a
/// passing condition must not cost the batch.
#[test]
fn a_batch_that_is_refused_while_others_are_taken_waits() {
    let scene = Scene::new();
    let server = Server::start(Answer::status(204)).unwrap();
    server.answer_to(&format!(" {FIRST}\n"), Answer::text(500, "engine: no such shard"));
    let receivers =
        |server: &Server| format!("url = {}\ndatabase = d\nretries = -1\n", server.url());
    let process = scene.process(&config(&scene, "", &receivers(&server)));
    scene.publish(FIRST);
    wait_until("the held batch", || scene.stored() == 1 && scene.waiting().is_empty());
    let mut second = FIRST;
    // The first refusal of the held batch does not count, the second does.
    while count_tries(&server) < 3 {
        let tries = count_tries(&server);
        second += 1;
        scene.publish(second);
        wait_until("the batch, and another try of the refused one", || {
            let is_taken = scene.waiting().is_empty() && scene.stored() < 2;
            is_taken && count_tries(&server) > tries
        });
    }
    assert_eq!(scene.stored(), 1);
    let log = process.log();
    process.finish();
    assert!(!log.contains("a batch of the outbox is lost"), "{log}");
    // The condition has passed.
    let healthy = Server::start(Answer::status(204)).unwrap();
    let process = scene.process(&config(&scene, "", &receivers(&healthy)));
    wait_until("its delivery", || scene.stored() == 0 && count_tries(&healthy) == 1);
    process.finish();
}

/// How often the batch of [`FIRST`] was sent.
fn count_tries(server: &Server) -> usize {
    let time = format!(" {FIRST}\n");
    let requests = server.requests();
    let has_time = |body: &[u8]| String::from_utf8_lossy(body).contains(&time);
    requests.iter().filter(|request| has_time(&request.body)).count()
}

/// Two servers on one port of two addresses, and a name that moves from one to the other while the
/// first goes on to listen: a new connection goes to the new address.
#[test]
fn a_server_whose_name_moves_is_found_with_a_new_connection() {
    if installed("influxdb: a name that moves", ["unshare"]).is_none() {
        return;
    }
    let scene = Scene::new();
    let server = Server::start(Answer::status(204)).unwrap();
    let port = server.address().port();
    let hosts = scene.write("hosts", "127.0.0.1 influxdb.e2e\n");
    let receivers = format!("url = http://influxdb.e2e:{port}\ndatabase = d\n");
    let file = config(&scene, "liveness-check-interval = 3600", &receivers);
    let mut process = scene.process_with_hosts(&file, &hosts);
    scene.publish(FIRST);
    wait_until("the first server, or a refusal to mount", || {
        !process.runs() || count_tries(&server) > 0
    });
    if !process.runs() {
        return skip_for_the_machine(
            "influxdb: a name that moves: no file system of one's own view",
        );
    }
    scene.wait_until_delivered();
    let moved = Server::start_at(([127, 0, 0, 2], port).into(), Answer::status(204)).unwrap();
    fs::write(&hosts, "127.0.0.2 influxdb.e2e\n").unwrap();
    let before = server.requests().len();
    server.close_connections();
    scene.publish(FIRST + 1);
    wait_until("the batch at the new address", || !moved.requests().is_empty());
    scene.wait_until_delivered();
    assert_eq!(server.requests().len(), before);
    process.finish();
}

/// The answers of `-P` and the log never have a secret.
#[test]
fn a_token_is_neither_printed_nor_logged() {
    let scene = Scene::new();
    let token = scene.write("token", "s3cret-token\n");
    let server = Server::start(Answer::text(401, "{\"code\":\"unauthorized\"}")).unwrap();
    let receivers =
        format!("url = {}\nbucket = b\ntoken-file = {}\n", server.url(), token.display());
    let file = config(&scene, "", &receivers);
    let process = scene.process(&file);
    scene.publish(FIRST);
    wait_until("a held batch", || scene.stored() == 1);
    let sent = server.requests();
    assert_eq!(sent[0].header("authorization"), Some("Token s3cret-token"));
    let log = process.log();
    process.finish();
    assert!(log.contains("answered 401") && !log.contains("s3cret"), "{log}");
    let printed =
        crate::support::run(crate::support::PROCESS, &["-f", file.to_str().unwrap(), "-P"]);
    assert!(printed.stdout.contains("token-file = ") && !printed.stdout.contains("s3cret"));
}
