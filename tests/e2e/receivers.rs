//! Several receivers, also of one kind: each gets every batch independently, and a batch waits only
//! for the receivers that lack it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::bench::{Bench, FIRST};
use crate::scene::{assert_exact, reference};
use crate::sink::{Manner, Sink};
use crate::support::wait_until;

/// Adds sections to a configuration.
fn append(config: &Path, sections: &str) {
    let text = fs::read_to_string(config).unwrap();
    fs::write(config, format!("{text}\n{sections}\n")).unwrap();
}

/// A section like the bench's `[graphite]`, for another receiver.
fn second(sink: &Sink, options: &str) -> String {
    format!(
        "[graphite:second]\nserver = 127.0.0.1\nport = {}\nnamespace = e2e\n\
         prefix-hostname = false\ninterval = 0.05\nbackoff = 1\ndelay = 0.1\n{options}",
        sink.port
    )
}

#[test]
fn two_graphites_and_a_local_store_each_get_all_while_one_is_down() {
    let bench = Bench::new(Manner::Whole);
    let mut other = Sink::start(Manner::Whole);
    other.kill();
    let config = bench.config("liveness-check-interval = 1", "");
    let store = bench.scene.path().join("store");
    let local = format!("[local-store]\ndir = {}", store.display());
    append(&config, &format!("{}\n{local}", second(&other, "")));
    let process = bench.start(&config);
    let all = bench.publish(5);
    wait_until("all at the healthy receiver", || bench.sink.by_timestamp().len() == all.len());
    let stored = |timestamp: u64| store.join(timestamp.to_string()).join("stats");
    wait_until("all in local-store", || all.iter().all(|&at| stored(at).is_file()));
    wait_until("what the other one is owed", || {
        let held = bench.stored();
        held.len() == all.len() && held.iter().all(|name| name.starts_with("graphite:second/"))
    });
    bench.wait_for_own("graphite_second.ReceiverUp", 0);
    bench.wait_for_own("ReceiverUp", 1);
    wait_until("its figure", || bench.own("graphite_second.OutboxMetrics") > Some(0));

    other.revive();
    bench.wait_until_drained();
    bench.wait_for_own("graphite_second.ReceiverUp", 1);
    process.finish();
    assert_exact(&bench.sink, &all);
    assert_exact(&other, &all);
    let lines = fs::read_to_string(stored(FIRST)).unwrap();
    let of_haproxy = lines.lines().filter(|line| !line.contains(".haproxystats."));
    assert_eq!(of_haproxy.count(), reference().len());
}

#[test]
fn groups_can_be_switched_off_in_one_receiver() {
    let bench = Bench::new(Manner::Whole);
    let other = Sink::start(Manner::Whole);
    let groups = "group-namespace = flavor\ngroup-namespace-double-writes = false";
    let config = bench.config("", groups);
    let off = second(&other, "groups = false");
    append(&config, &format!("{off}\n[frontend-groups]\nall = .*"));
    let process = bench.start(&config);
    bench.publish(1);
    bench.wait_until_drained();
    process.finish();
    let has_groups = |sink: &Sink| sink.lines().iter().any(|line| line.contains(".flavor.all."));
    assert!(has_groups(&bench.sink) && !has_groups(&other));
    assert_exact(&other, &[FIRST]);
}

/// The batches of a receiver that was removed from the configuration stay, are reported, and are
/// delivered when it is back.
#[test]
fn batches_of_a_removed_receiver_stay_until_it_is_back() {
    let bench = Bench::new(Manner::Whole);
    let mut other = Sink::start(Manner::Whole);
    other.kill();
    let config = bench.config("", "");
    let without = fs::read_to_string(&config).unwrap();
    append(&config, &second(&other, ""));
    let with = fs::read_to_string(&config).unwrap();
    let process = bench.start(&config);
    let all = bench.publish(2);
    bench.wait_until_stored(2);
    process.finish();

    fs::write(&config, without).unwrap();
    let process = bench.start(&config);
    wait_until("the report", || process.log().contains("receiver=\"graphite:second\" batches=2"));
    process.finish();
    assert_eq!(bench.stored().len(), 2);

    fs::write(&config, with).unwrap();
    other.revive();
    let process = bench.start(&config);
    bench.wait_until_drained();
    process.finish();
    assert_exact(&other, &all);
}

/// The clock was set back while Graphite was down: both snapshots of the second go out, in order.
#[test]
fn two_snapshots_of_one_second_both_go_out() {
    let mut bench = Bench::new(Manner::Whole);
    bench.sink.kill();
    let process = bench.start(&bench.config("", ""));
    for stot in [7, 8] {
        let text = format!("# pxname,svname,stot,type\nwww,FRONTEND,{stot},0\n\n");
        bench.scene.write("staged/sock_stat", &text);
        let published = bench.scene.incoming().join(FIRST.to_string());
        fs::rename(bench.scene.path().join("staged"), published).unwrap();
        bench.wait_until_stored(stot - 6);
    }
    bench.sink.revive();
    bench.wait_until_drained();
    process.finish();
    let lines = bench.sink.lines();
    let values: Vec<&str> = lines
        .iter()
        .filter_map(|line| line.strip_prefix("e2e.haproxy.frontend.www.stot "))
        .map(|rest| rest.split(' ').next().unwrap())
        .collect();
    assert_eq!(values, ["7", "8"]);
}

/// The origin of a manifest replaces the host.
#[test]
fn the_origin_of_a_manifest_is_the_host_in_paths() {
    let bench = Bench::new(Manner::Whole);
    let process = bench.start(&bench.config("", "prefix-hostname = true"));
    bench.scene.write("staged/sock_stat", "# pxname,svname,stot,type\nwww,FRONTEND,7,0\n\n");
    let manifest = r#"{"version": 1, "origin": "edge.1", "serial": "00000000000000ff",
        "cycle": {"endpoints": 1, "missing": 0, "cycles": 1, "failures": 0,
        "endpoint-failures": 0, "skipped": 0, "milliseconds": 1}, "files": [], "unanswered": []}"#;
    bench.scene.write("staged/haproxystats.manifest", manifest);
    let published = bench.scene.incoming().join(FIRST.to_string());
    fs::rename(bench.scene.path().join("staged"), published).unwrap();
    bench.wait_until_drained();
    process.finish();
    let expected = format!("e2e.edge_1.haproxy.frontend.www.stot 7 {FIRST}");
    assert!(bench.sink.lines().contains(&expected), "{:?}", bench.sink.lines());
}

fn gzip(text: &str, to: &PathBuf) {
    let mut gzip = Command::new("gzip")
        .arg("-c")
        .stdin(Stdio::piped())
        .stdout(fs::File::create(to).unwrap())
        .spawn()
        .unwrap();
    gzip.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(gzip.wait().unwrap().success());
}

/// Version 0.1.0 stored lines directly in the outbox; the later of two runs counts.
#[test]
fn batches_of_version_0_1_0_are_sent_and_damaged_ones_set_aside() {
    let bench = Bench::new(Manner::Whole);
    let outbox = bench.scene.path().join("outbox");
    fs::create_dir(&outbox).unwrap();
    let too_long = format!("e2e.{} 1 17\n", "x".repeat(20_000));
    let first = format!("e2e.old 1 17\n{too_long}");
    let lines = [&*first, "e2e.old 2 17\n", "e2e.old 3 18\n"];
    for (name, text) in ["17-1-1-13.gz", "17-2-1-13.gz", "18-1-1-13.gz"].iter().zip(lines) {
        gzip(text, &outbox.join(name));
    }
    fs::write(outbox.join("19-1-1-13.gz"), [0x1f, 0x8b, 8, 0, 1, 2, 3]).unwrap();
    let process = bench.start(&bench.config("", ""));
    bench.wait_until_drained();
    wait_until("what is set aside", || process.log().contains("a batch of the outbox is lost"));
    let log = process.log();
    process.finish();
    assert!(log.contains("a line has 20010 bytes, and max-line is 16384"), "{log}");
    assert_eq!(bench.sink.lines(), ["e2e.old 1 17", "e2e.old 2 17", "e2e.old 3 18"]);
    let names = fs::read_dir(outbox.join("graphite")).unwrap();
    let aside = names
        .filter(|name| name.as_ref().unwrap().file_name().to_string_lossy().ends_with(".damaged"));
    assert_eq!(aside.count(), 1);
}
