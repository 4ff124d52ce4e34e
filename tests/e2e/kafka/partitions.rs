//! A topic of two partitions over which each batch is spread: the broker is frozen and killed and
//! our program is killed, each in mid batch.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use testbed::kafka::Broker;

use super::{FIRST, SNAPSHOT, assert_lines, broker, config, graphite_section, lines, rendered};
use crate::scene::{Scene, copy_files};
use crate::support::{data, wait_until};

const TOPIC: &str = "partitions";
const PARTITIONS: i32 = 2;
/// How often the rows of the snapshot are in a large one, which takes some hundred messages.
const COPIES: usize = 20;
/// Batches after which one was caught on its way for certain.
const TRIES: usize = 50;

/// A spool that gets large snapshots, and the topic in which their lines arrive.
struct Flow<'a> {
    scene: &'a Scene,
    files: PathBuf,
    /// The lines of each snapshot, without their time.
    lines: Vec<String>,
    seconds: RefCell<Vec<u64>>,
}

impl Flow<'_> {
    fn publish(&self) -> u64 {
        let second = FIRST + self.seconds.borrow().len() as u64;
        let staged = self.scene.path().join(format!("staged-{second}"));
        copy_files(&self.files, &staged);
        fs::rename(staged, self.scene.incoming().join(second.to_string())).unwrap();
        self.seconds.borrow_mut().push(second);
        second
    }

    /// Lines of a second that the broker has on its disk.
    fn arrived(broker: &Broker, second: u64) -> usize {
        let end = format!(" {second}\n").into_bytes();
        let of_partition = |partition| {
            let log = broker.log_of(TOPIC, partition).unwrap();
            log.windows(end.len()).filter(|window| *window == end).count()
        };
        (0..PARTITIONS).map(of_partition).sum()
    }

    /// Freezes the broker when it has a part of a batch, and publishes batches until that succeeds.
    fn freeze_in_mid_batch(&self, broker: &Broker) {
        for _ in 0..TRIES {
            let second = self.publish();
            wait_until("the first lines", || Self::arrived(broker, second) > 0);
            broker.freeze().unwrap();
            if Self::arrived(broker, second) < self.lines.len() {
                return;
            }
            broker.thaw().unwrap();
            self.scene.wait_until_delivered();
        }
        panic!("no batch was caught on its way");
    }
}

/// The files of a snapshot with each row of a proxy many times, under names of their own.
fn make_large(files: &Path) {
    copy_files(&data(SNAPSHOT), files);
    for entry in fs::read_dir(files).unwrap() {
        let path = entry.unwrap().path();
        if !path.to_string_lossy().ends_with("_stat") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let mut large = String::new();
        for line in text.lines() {
            match line.split_once(',') {
                Some((proxy, rest)) if !line.starts_with('#') => {
                    for copy in 0..COPIES {
                        large.push_str(&format!("{proxy}_{copy},{rest}\n"));
                    }
                }
                _ => large.push_str(&format!("{line}\n")),
            }
        }
        fs::write(path, large).unwrap();
    }
}

#[test]
fn a_batch_over_two_partitions_is_whole_whatever_is_killed() {
    let scene = Scene::new();
    let Some((mut broker, kcat)) = broker("kafka: partitions", &scene) else { return };
    broker.create_topic(TOPIC, PARTITIONS, &[]).unwrap();
    // A partition for each message by chance, in place of one for some time.
    let options = "key = none\nmessage-size = 1024\ncompression = none\n\
                   librdkafka.sticky.partitioning.linger.ms = 0\n";
    let config = config(&scene, &(graphite_section(&broker, TOPIC) + options));
    let files = scene.path().join("large");
    make_large(&files);
    let time = format!(" {FIRST}");
    let rendered = rendered(&scene, config.to_str().unwrap(), "graphite", &files);
    let lines_of_snapshot =
        rendered.iter().map(|line| line.strip_suffix(&time).unwrap().to_owned());
    let lines_of_snapshot: Vec<String> = lines_of_snapshot.collect();
    assert!(lines_of_snapshot.len() > 5000, "{}", lines_of_snapshot.len());
    let flow = Flow { scene: &scene, files, lines: lines_of_snapshot, seconds: RefCell::default() };
    let mut process = scene.process(&config);

    // The broker is killed and started again.
    flow.freeze_in_mid_batch(&broker);
    broker.kill().unwrap();
    broker.restart().unwrap();
    scene.wait_until_delivered();

    // It is frozen until the batch has failed.
    flow.freeze_in_mid_batch(&broker);
    let failed = || {
        let log = process.log();
        log.contains("messages were confirmed, and none for")
            || log.contains("no broker can be reached")
    };
    wait_until("a failed batch", failed);
    wait_until("a held batch", || scene.stored() > 0);
    flow.publish();
    broker.thaw().unwrap();
    scene.wait_until_delivered();

    // Our program is killed, with its children.
    flow.freeze_in_mid_batch(&broker);
    process.signal(Signal::KILL);
    process.wait();
    broker.thaw().unwrap();
    process = scene.process(&config);
    scene.wait_until_delivered();
    process.finish();

    let of_snapshot: Vec<&str> = flow.lines.iter().map(String::as_str).collect();
    assert_lines(&lines(&broker, &kcat, TOPIC), &of_snapshot, &flow.seconds.borrow());
    let records = broker.records(&kcat, TOPIC).unwrap();
    let partitions: BTreeSet<i32> = records.iter().map(|record| record.partition).collect();
    assert_eq!(partitions, (0..PARTITIONS).collect());
    assert!(records.iter().all(|record| record.key.is_none()));
}
