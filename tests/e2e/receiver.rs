//! A Graphite that is down or misbehaves: a batch counts as delivered only if Graphite has read it
//! to the end, and nothing is lost.

use std::fmt::Write;
use std::fs;

use crate::scene::{Scene, assert_exact};
use crate::sink::{Manner, Sink};
use crate::support::{data, free_ports, wait_until};

const FIRST: u64 = 1_700_000_000;

#[test]
fn waiting_batches_arrive_oldest_first() {
    let scene = Scene::new();
    let [port] = free_ports();
    let all = [FIRST, FIRST + 1, FIRST + 2, FIRST + 3];
    all.iter().rev().for_each(|&timestamp| scene.publish(timestamp));
    let process = scene.process(&scene.config(port, 1, ""));
    scene.wait_for_empty_spool();
    assert!(process.log().contains("refused"));
    assert_eq!(scene.stored(), all.len());

    let sink = Sink::start_on(port, Manner::Whole);
    scene.wait_until_delivered();
    process.finish();
    assert_eq!(sink.order(), all);
    assert_exact(&sink, &all);
}

/// With a peer of any bad manner a batch is kept, tried again on a new connection, and delivered
/// whole.
fn survives(manner: Manner, options: &str) {
    let (scene, sink) = (Scene::new(), Sink::start(manner));
    scene.publish(FIRST);
    let process = scene.process(&scene.config(sink.port, 1, options));
    wait_until("a third connection", || sink.connections() >= 3);
    assert_eq!(scene.waiting().len() + scene.stored(), 1, "{manner:?} counted as delivered");
    sink.behave(Manner::Whole);
    scene.wait_until_delivered();
    process.finish();
    assert_exact(&sink, &[FIRST]);
}

#[test]
fn a_peer_that_closes_at_once_has_nothing() {
    survives(Manner::CloseAtOnce, "");
}

#[test]
fn a_reset_amid_a_batch_is_no_delivery() {
    survives(Manner::Reset, "");
}

/// The batch fits into the kernels' buffers, so that only the missing confirmation shows the fault.
#[test]
fn a_small_batch_that_nobody_reads_is_not_delivered() {
    survives(Manner::NeverRead, "confirm-timeout = 0.3");
}

/// The batch is larger than the kernels' buffers, so that the write itself stalls.
#[test]
fn a_large_batch_that_nobody_reads_runs_into_the_write_timeout() {
    let (scene, sink) = (Scene::new(), Sink::start(Manner::NeverRead));
    let servers = 1200;
    publish_large(&scene, servers);
    let options = "write-timeout = 0.5\nconfirm-timeout = 600";
    let process = scene.process(&scene.config(sink.port, 1, options));
    wait_until("a second connection", || sink.connections() >= 2);
    assert_eq!(scene.waiting().len() + scene.stored(), 1);
    sink.behave(Manner::Whole);
    scene.wait_until_delivered();
    process.finish();
    let sessions = sink.lines().iter().filter(|line| line.contains(".stot 7 ")).count();
    // Only the servers count, because the backend's own row has 0.
    assert!(sessions >= servers, "{sessions} of {servers} servers");
    assert!(sink.lines().iter().all(|line| line.split(' ').count() == 3));
}

/// Publishes one backend whose servers have long names: some 40 lines of 270 bytes for each server.
fn publish_large(scene: &Scene, servers: usize) {
    let text = fs::read_to_string(data("parity/01-default/1700000000/admin1.sock_stat")).unwrap();
    let header = text.lines().next().unwrap();
    let row = |svname: &str, kind: &str| {
        let cells: Vec<&str> = header
            .trim_start_matches("# ")
            .split(',')
            .map(|column| match column {
                "pxname" => "large",
                "svname" => svname,
                "type" => kind,
                "stot" if kind == "2" => "7",
                "" => "",
                _ => "0",
            })
            .collect();
        cells.join(",")
    };
    let mut stat = format!("{header}\n");
    for number in 0..servers {
        writeln!(stat, "{}", row(&format!("{number:0>220}"), "2")).unwrap();
    }
    writeln!(stat, "{}\n", row("BACKEND", "1")).unwrap();
    scene.write("staged-large/sock_stat", &stat);
    let info = data("parity/01-default/1700000000/admin1.sock_info");
    fs::copy(info, scene.path().join("staged-large/sock_info")).unwrap();
    fs::rename(scene.path().join("staged-large"), scene.incoming().join(FIRST.to_string()))
        .unwrap();
}

#[test]
fn a_peer_that_never_closes_is_told_with_the_remedy() {
    let (scene, sink) = (Scene::new(), Sink::start(Manner::NeverClose));
    scene.publish(FIRST);
    let options = "confirm = close\nconfirm-timeout = 1";
    let process = scene.process(&scene.config(sink.port, 1, options));
    wait_until("the remedy in the log", || process.log().contains("confirm = tcp"));
    process.finish();
    assert_eq!(scene.waiting().len() + scene.stored(), 1);
}

/// Four batches wait for their confirmation at once. All of them are refused with one connection
/// after the other, which is one outage, and arrive once the peer works.
#[test]
fn several_batches_are_in_flight_while_a_peer_takes_its_time() {
    let (scene, mut sink) = (Scene::new(), Sink::start(Manner::NeverClose));
    let all: Vec<u64> = (FIRST..FIRST + 6).collect();
    all.iter().for_each(|&timestamp| scene.publish(timestamp));
    let process = scene.process(&scene.config(sink.port, 2, "confirm-timeout = 80"));
    wait_until("four connections", || sink.connections() == 4);
    // All others are held, which takes longer than a fifth connection would.
    wait_until("six held batches", || scene.stored() == 6);
    assert_eq!(sink.connections(), 4);
    sink.kill();
    sink.behave(Manner::Whole);
    wait_until("the outage", || process.log().contains("receiver is down"));
    sink.revive();
    scene.wait_until_delivered();
    let outages = process.log().matches("receiver is down").count();
    process.finish();
    assert_eq!(outages, 1);
    assert_exact(&sink, &all);
}

#[test]
fn the_same_peer_is_fine_with_confirm_tcp() {
    let (scene, sink) = (Scene::new(), Sink::start(Manner::NeverClose));
    let all = [FIRST, FIRST + 1, FIRST + 2];
    all.iter().for_each(|&timestamp| scene.publish(timestamp));
    let process = scene.process(&scene.config(sink.port, 1, "confirm = tcp"));
    scene.wait_for_empty_spool();
    process.finish();
    // The kernel acknowledges bytes before the sink's thread reads them.
    wait_until("all snapshots read", || sink.order().len() == all.len());
    wait_until("whole snapshots read", || {
        let lines: usize = sink.by_timestamp().values().map(|lines| lines.len()).sum();
        lines >= all.len() * crate::scene::reference().len()
    });
    assert_exact(&sink, &all);
}

#[test]
fn confirm_none_keeps_one_connection() {
    let (scene, sink) = (Scene::new(), Sink::start(Manner::Whole));
    let process = scene.process(&scene.config(sink.port, 1, "confirm = none"));
    let all = [FIRST, FIRST + 1, FIRST + 2];
    for timestamp in all {
        scene.publish(timestamp);
        scene.wait_for_empty_spool();
    }
    process.finish();
    wait_until("whole snapshots read", || {
        let lines: usize = sink.by_timestamp().values().map(|lines| lines.len()).sum();
        lines >= all.len() * crate::scene::reference().len()
    });
    assert_exact(&sink, &all);
    assert_eq!(sink.connections(), 1);
}
