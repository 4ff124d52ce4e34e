//! `haproxystats-process --check`: asks every receiver once, and sends no line.

use testbed::http::{Answer, Server};

use crate::scene::{Scene, visible};
use crate::sink::{Manner, Sink};
use crate::support::{Outcome, PROCESS, free_ports, run};

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
    let expected = [
        ["receiver", "address", "verdict", "reason and remedy"],
        ["graphite", &graphite, "ok", "it takes connections"],
        ["influxdb:second", &influxdb.url(), "ok", "it answers"],
        ["local-store", store.to_str().unwrap(), "ok", "the first batch makes the directory"],
    ];
    assert_eq!(rows(&outcome), expected);
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
    let reasons: Vec<&str> = rows.iter().skip(2).map(|row| row[3]).collect();
    for (reason, part) in reasons.iter().zip(["refused", "refused", "not a directory"]) {
        assert!(reason.contains(part) && reason.contains([';', ',']), "{reason}");
    }
}
