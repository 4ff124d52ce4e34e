//! Kafka as a receiver, with a real broker and the real programs: each format is in its topic as
//! `--render` prints it, and nothing is lost when the broker or our processes are killed.

#![cfg(feature = "kafka")]

mod partitions;
mod secure;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use testbed::kafka::Broker;

use crate::scene::{Scene, copy_files, reference};
use crate::support::{PROCESS, Program, data, installed, lives, run, send, wait_until};

const FIRST: u64 = 1_700_000_000;
/// Limits that let faults be seen soon.
const QUICK: &str = "interval = 0.05\nbackoff = 1\ndelay = 0.2\nconfirm-timeout = 5\n";
const SNAPSHOT: &str = "parity/01-default/1700000000";

/// A broker, and the path of the client that reads from it.
fn broker(test: &str, scene: &Scene) -> Option<(Broker, String)> {
    let [program, kcat, _] = installed(test, ["kafka-broker", "kcat", "java"])?;
    let folder = scene.path().join("broker");
    std::fs::create_dir(&folder).unwrap();
    Some((Broker::start(&program, &folder, "").unwrap(), kcat))
}

/// A configuration without Graphite; `receivers` are whole sections.
fn config(scene: &Scene, receivers: &str) -> PathBuf {
    let text = format!(
        "[DEFAULT]\nloglevel = debug\n[paths]\nbase-dir = {}\n\
         [process]\nsrc-dir = {}\nworkers = 2\n[graphite]\nenabled = false\nnamespace = e2e\n\
         prefix-hostname = false\n{receivers}\n",
        scene.path().display(),
        scene.incoming().display(),
    );
    scene.write("haproxystats.conf", &text)
}

/// A section of a Kafka with Graphite's lines, as [`reference`] has them.
fn graphite_section(broker: &Broker, topic: &str) -> String {
    format!(
        "[kafka]\n{QUICK}brokers = {}\ntopic = {topic}\nformat = graphite\nnamespace = e2e\n\
         prefix-hostname = false\n",
        broker.address()
    )
}

/// The text of a topic without lines about haproxystats, whose values are of the moment.
fn lines(broker: &Broker, kcat: &str, topic: &str) -> Vec<String> {
    let records = broker.records(kcat, topic).unwrap();
    let payloads: Vec<u8> = records.into_iter().flat_map(|record| record.payload).collect();
    of_haproxy(&String::from_utf8(payloads).unwrap())
}

fn of_haproxy(text: &str) -> Vec<String> {
    text.lines().filter(|line| !line.contains("haproxystats")).map(str::to_owned).collect()
}

/// What `--render` prints of the snapshot whose files are in a folder.
fn rendered(scene: &Scene, config: &str, format: &str, files: &Path) -> Vec<String> {
    let folder = scene.path().join(format!("of-{format}"));
    std::fs::create_dir(&folder).unwrap();
    let snapshot = folder.join(FIRST.to_string());
    copy_files(files, &snapshot);
    let outcome = run(PROCESS, &["-f", config, "--render", format, snapshot.to_str().unwrap()]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    of_haproxy(&outcome.stdout)
}

#[test]
fn each_format_is_in_its_topic_as_it_is_rendered() {
    let scene = Scene::new();
    let Some((broker, kcat)) = broker("kafka: formats", &scene) else { return };
    let mut receivers = graphite_section(&broker, "graphite");
    for format in ["influx", "json"] {
        let address = broker.address();
        receivers.push_str(&format!(
            "[kafka:{format}]\n{QUICK}brokers = {address}\ntopic = {format}\nformat = {format}\n\
             message-size = 4096\nlibrdkafka.client.id = e2e\n"
        ));
    }
    let config = config(&scene, &receivers);
    let process = scene.process(&config);
    scene.publish(FIRST);
    scene.wait_until_delivered();
    assert!(process.log().contains("sending to kafka"));
    process.finish();
    for format in ["graphite", "influx", "json"] {
        let came = lines(&broker, &kcat, format);
        let sent = rendered(&scene, config.to_str().unwrap(), format, &data(SNAPSHOT));
        assert!(!sent.is_empty() && came == sent, "{format}: {} of {}", came.len(), sent.len());
    }
    let keys: BTreeSet<_> =
        broker.records(&kcat, "json").unwrap().into_iter().map(|record| record.key).collect();
    assert!(keys.len() == 1 && keys.iter().all(Option::is_some), "{keys:?}");
}

/// Every line of each snapshot is in the topic, and no other.
fn assert_exact(broker: &Broker, kcat: &str, topic: &str, seconds: &[u64]) {
    let of_haproxy = reference().iter().filter(|line| !line.contains("haproxystats"));
    let of_haproxy: Vec<&str> = of_haproxy.map(String::as_str).collect();
    assert_lines(&lines(broker, kcat, topic), &of_haproxy, seconds);
}

/// Every line came with each of the seconds, and no other line.
fn assert_lines(came: &[String], of_snapshot: &[&str], seconds: &[u64]) {
    let came: BTreeSet<&str> = came.iter().map(String::as_str).collect();
    let of_second = |second| of_snapshot.iter().map(move |line| format!("{line} {second}"));
    let sent: BTreeSet<String> = seconds.iter().flat_map(of_second).collect();
    let missing: Vec<_> =
        sent.iter().filter(|line| !came.contains(line.as_str())).take(3).collect();
    let extra: Vec<_> = came.iter().filter(|line| !sent.contains(**line)).take(3).collect();
    assert!(missing.is_empty() && extra.is_empty(), "missing {missing:?}, extra {extra:?}");
}

/// The send child, by its name in the list of processes.
fn send_child(process: &Program) -> Option<i32> {
    process.children().into_iter().find(|pid| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains("haproxystats-send-kafka")
    })
}

#[test]
fn nothing_is_lost_when_the_broker_and_our_processes_are_killed() {
    let scene = Scene::new();
    let Some((mut broker, kcat)) = broker("kafka: killed", &scene) else { return };
    let config = config(&scene, &graphite_section(&broker, "haproxystats"));
    let mut process = scene.process(&config);
    let mut seconds: Vec<u64> = (FIRST..FIRST + 20).collect();
    seconds.iter().for_each(|second| scene.publish(*second));
    // In mid work, and more comes while the broker is away.
    wait_until("the first snapshots", || scene.waiting().len() < 18);
    broker.kill().unwrap();
    seconds.extend(FIRST + 20..FIRST + 30);
    (FIRST + 20..FIRST + 30).for_each(|second| scene.publish(second));
    wait_until("held batches", || scene.stored() > 0 && scene.waiting().is_empty());
    let log = process.log();
    assert!(log.contains("no broker can be reached") && log.contains("brokers"), "{log}");
    // Ours while it is away, all of it.
    process.signal(Signal::KILL);
    process.wait();
    process = scene.process(&config);
    broker.restart().unwrap();
    // The send child in mid work, and the whole program once more.
    for second in FIRST + 30..FIRST + 40 {
        scene.publish(second);
        seconds.push(second);
        if second % 4 == 0
            && let Some(child) = send_child(&process)
        {
            send(child, Signal::KILL);
            wait_until("the end of the child", || !lives(child));
        }
        if second == FIRST + 35 {
            process.signal(Signal::KILL);
            process.wait();
            process = scene.process(&config);
        }
    }
    scene.wait_until_delivered();
    assert!(process.runs());
    process.finish();
    assert_exact(&broker, &kcat, "haproxystats", &seconds);
}

/// A send child that was frozen for longer than the limits of its messages: what timed out
/// meanwhile is sent again.
#[test]
fn a_frozen_send_child_loses_nothing() {
    let scene = Scene::new();
    let Some((broker, kcat)) = broker("kafka: frozen", &scene) else { return };
    let section = graphite_section(&broker, "haproxystats").replace("timeout = 5", "timeout = 1");
    let process = scene.process(&config(&scene, &section));
    scene.publish(FIRST);
    scene.wait_until_delivered();
    let child = send_child(&process).unwrap();
    send(child, Signal::STOP);
    let seconds: Vec<u64> = (FIRST..FIRST + 5).collect();
    seconds[1..].iter().for_each(|second| scene.publish(*second));
    wait_until("held batches", || scene.stored() > 0 && scene.waiting().is_empty());
    send(child, Signal::CONT);
    scene.wait_until_delivered();
    process.finish();
    assert_exact(&broker, &kcat, "haproxystats", &seconds);
}

#[test]
fn a_setting_that_librdkafka_does_not_know_ends_the_start() {
    let scene = Scene::new();
    let config = config(&scene, "[kafka]\nlibrdkafka.linger.ns = 1\n");
    let outcome = run(PROCESS, &["-f", config.to_str().unwrap()]);
    assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("[kafka]") && outcome.stderr.contains("linger.ns"));
}
