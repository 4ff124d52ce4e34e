//! `haproxystats-process --check`: asks every receiver once, and sends no line.

use testbed::http::{Answer, Server};

use crate::influxdb::servers::{InfluxD, Victoria};
use crate::scene::{Scene, visible};
use crate::sink::{Manner, Sink};
use crate::support::{Outcome, PROCESS, free_ports, installed, run};

fn check(scene: &Scene, sections: &str) -> Outcome {
    let base = scene.path().display();
    let text = format!(
        "[paths]\nbase-dir = {base}\n[process]\nsrc-dir = ${{paths:base-dir}}/incoming\n{sections}"
    );
    let file = scene.write("haproxystats.conf", &text);
    run(PROCESS, &["-f", file.to_str().unwrap(), "--check"])
}

/// The cells of each line of the table, without the time.
fn rows(outcome: &Outcome) -> Vec<Vec<&str>> {
    let lines = outcome.stdout.lines();
    lines
        .map(|line| {
            let cells = line.split("  ").map(str::trim).filter(|cell| !cell.is_empty());
            cells.enumerate().filter(|(at, _)| *at != 2).map(|(_, cell)| cell).collect()
        })
        .collect()
}

#[test]
fn receivers_that_work_pass_and_get_no_line() {
    let (scene, sink) = (Scene::new(), Sink::start(Manner::Whole));
    let influxdb = Server::start(Answer::status(204)).unwrap();
    let before = visible(scene.path());
    let outcome = check(
        &scene,
        &format!(
            "[graphite]\nserver = 127.0.0.1\nport = {}\n\
             [influxdb:second]\nurl = {}\ndatabase = d\n\
             [local-store]\ndir = ${{paths:base-dir}}/store\n",
            sink.port,
            influxdb.url()
        ),
    );
    assert_eq!((outcome.code, &*outcome.stderr), (Some(0), ""));
    let (graphite, store) = (format!("127.0.0.1:{}", sink.port), scene.path().join("store"));
    let headings = ["receiver", "address", "verdict", "reason", "remedy"];
    let passed = [
        ["graphite", &graphite, "ok", "it takes connections"],
        ["influxdb:second", &influxdb.url(), "ok", "it answers"],
        ["local-store", store.to_str().unwrap(), "ok", "the first batch makes the directory"],
    ];
    let rows = rows(&outcome);
    assert_eq!(rows[0], headings);
    assert_eq!(rows[1..], passed);
    assert!(sink.lines().is_empty());
    assert!(influxdb.requests().iter().all(|request| request.body.is_empty()));
    let mut after = visible(scene.path());
    assert!(after.remove("haproxystats.conf"));
    assert_eq!(after, before, "something was made");
}

#[test]
fn a_receiver_that_fails_is_named_with_a_remedy() {
    let (scene, sink) = (Scene::new(), Sink::start(Manner::Whole));
    let [nobody] = free_ports();
    scene.write("file", "no directory");
    let outcome = check(
        &scene,
        &format!(
            "[graphite]\nserver = 127.0.0.1\nport = {}\n\
             [graphite:away]\nserver = 127.0.0.1\nport = {nobody}\n\
             [influxdb]\nurl = http://127.0.0.1:{nobody}\ndatabase = d\n\
             [local-store]\ndir = ${{paths:base-dir}}/file/store\n",
            sink.port
        ),
    );
    assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
    let rows = rows(&outcome);
    let verdicts: Vec<&str> = rows.iter().skip(1).map(|row| row[2]).collect();
    assert_eq!(verdicts, ["ok", "failed", "failed", "failed"], "{}", outcome.stdout);
    let parts = ["refused", "refused", "not a directory"];
    let remedies = [
        "check that it runs and listens there",
        "check that it runs and listens there",
        "check its dir, or remove [local-store]",
    ];
    for ((row, part), remedy) in rows.iter().skip(2).zip(parts).zip(remedies) {
        assert!(row[3].contains(part) && !row[3].contains("; "), "{row:?}");
        assert_eq!(row[4], remedy, "{row:?}");
    }
}

/// Each server of a list that fails is named, and what is to be done about all is told once.
#[test]
fn every_server_of_a_list_that_fails_is_named() {
    let scene = Scene::new();
    let [one, two] = free_ports();
    let outcome =
        check(&scene, &format!("[graphite]\nserver = 127.0.0.1:{one}, 127.0.0.1:{two}\n"));
    let rows = rows(&outcome);
    assert!([one, two].iter().all(|port| rows[1][3].contains(&port.to_string())), "{rows:?}");
    assert_eq!(rows[1][4], "check that it runs and listens there", "{rows:?}");
}

/// A command tells of what is odd, whatever the service logs, and of nothing else.
#[test]
fn a_check_and_a_rendering_log_warnings_and_no_more() {
    use std::os::unix::fs::PermissionsExt;

    let scene = Scene::new();
    let server = Server::start(Answer::status(204)).unwrap();
    let token = scene.write("token", "t\n");
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o644)).unwrap();
    for level in ["info", "critical"] {
        let sections = format!(
            "loglevel = {level}\n[graphite]\nenabled = false\nwrong = 1\n[influxdb]\nurl = {}\n\
             bucket = b\ntoken-file = {}\n",
            server.url(),
            token.display()
        );
        let checked = check(&scene, &sections);
        assert_eq!(checked.code, Some(0), "{}", checked.stderr);
        let lines: Vec<&str> = checked.stderr.lines().collect();
        assert_eq!(lines.len(), 2, "{level}: {lines:?}");
        assert!(lines[0].contains("wrong") && lines[1].contains("token-file"), "{lines:?}");
        let file = scene.path().join("haproxystats.conf");
        scene.publish(1_700_000_000);
        let snapshot = scene.incoming().join("1700000000");
        let arguments = ["-f", file.to_str().unwrap(), "--render", "json"];
        let rendered = run(PROCESS, &[&arguments[..], &[snapshot.to_str().unwrap()]].concat());
        assert_eq!(rendered.code, Some(0), "{}", rendered.stderr);
        let lines: Vec<&str> = rendered.stderr.lines().collect();
        assert!(lines.len() == 1 && lines[0].contains("wrong"), "{level}: {lines:?}");
        std::fs::remove_dir_all(&snapshot).unwrap();
    }
}

/// The verdict and the reason for an InfluxDB alone.
fn verdict(scene: &Scene, options: &str) -> (String, String) {
    let outcome = check(scene, &format!("[graphite]\nenabled = false\n[influxdb]\n{options}"));
    let rows = rows(&outcome);
    assert_eq!(outcome.code, Some(i32::from(rows[1][2] != "ok")), "{}", outcome.stderr);
    (rows[1][2].to_owned(), rows[1][3].to_owned())
}

#[test]
fn a_real_influxdb_tells_whether_the_database_is_there() {
    let scene = Scene::new();
    let Some([influxd]) = installed("check: influxd", ["influxd"]) else { return };
    let server = InfluxD::start(&influxd, scene.path(), "");
    let url = format!("url = http://127.0.0.1:{}\ndatabase = d\n", server.port);
    let (is_good, found) = verdict(&scene, &url);
    assert_eq!(is_good, "ok");
    assert!(found.ends_with("; the first batch makes the database"), "{found}");
    let (is_good, reason) = verdict(&scene, &format!("{url}create-database = false\n"));
    assert_eq!(is_good, "failed");
    assert!(reason.ends_with(" \"d\""), "{reason}");
    assert!(server.query("", "CREATE DATABASE d").is_some());
    let (is_good, found) = verdict(&scene, &format!("{url}create-database = false\n"));
    assert_eq!((&*is_good, found.contains("InfluxDB 1.")), ("ok", true), "{found}");
    assert!(server.fields("d").is_empty());
}

#[test]
fn a_real_victoria_metrics_passes_by_both_paths() {
    let scene = Scene::new();
    let Some([victoria]) = installed("check: VictoriaMetrics", ["victoria-metrics"]) else {
        return;
    };
    let server = Victoria::start(&victoria, scene.path());
    for options in ["database = d", "bucket = b"] {
        let (is_good, found) =
            verdict(&scene, &format!("url = http://127.0.0.1:{}\n{options}\n", server.port));
        assert_eq!(is_good, "ok", "{found}");
    }
}
