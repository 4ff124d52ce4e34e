//! Exactness: after any fault of a connection, a receiver or the program, the receiver gets every
//! line of every snapshot at least once, and no other line.
//!
//! A receiver counts a line once its newline is there, also on a connection that is cut later; a
//! repeated line is the same line.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use fastrand::Rng;
use rustix::process::Signal;

use crate::bench::{Bench, FIRST};
use crate::scene::{assert_exact, reference};
use crate::sink::{Ending, Manner, Sink};
use crate::support::{Program, lives, send, skip, wait_until};

/// A snapshot that gives one line about HAProxy and a dozen lines about haproxystats.
const TINY: &str = "# pxname,svname,stot,type\nwww,FRONTEND,7,0\n\n";
const TINY_LINE: &str = "e2e.haproxy.frontend.www.stot 7";
const TINY_OPTIONS: &str = "frontend-metrics = stot\nworkers = 1";

fn publish_tiny(bench: &Bench, timestamp: u64) {
    bench.scene.write("staged/sock_stat", TINY);
    let published = bench.scene.incoming().join(timestamp.to_string());
    fs::rename(bench.scene.path().join("staged"), published).unwrap();
}

/// The whole batch of each timestamp came, with the lines about haproxystats, and nothing else.
fn assert_tiny_exact(sink: &Sink, timestamps: &[u64]) {
    let arrived = sink.by_timestamp();
    assert_eq!(arrived.keys().copied().collect::<Vec<_>>(), timestamps);
    let first = paths_of(sink, timestamps[0]);
    assert!(first.len() >= 10, "the lines about ourselves are missing: {first:?}");
    for timestamp in timestamps {
        let lines: Vec<&String> = arrived[timestamp].keys().collect();
        assert_eq!(lines, [TINY_LINE], "{timestamp}");
        assert_eq!(paths_of(sink, *timestamp), first, "{timestamp}");
    }
}

fn paths_of(sink: &Sink, timestamp: u64) -> BTreeSet<String> {
    let suffix = format!(" {timestamp}");
    let lines = sink.lines().into_iter().filter(|line| line.ends_with(&suffix));
    lines.filter_map(|line| Some(line.split_once(' ')?.0.to_owned())).collect()
}

/// One batch, and a connection for each number of bytes, from none to all but the last byte. The
/// first connection is from a worker, the others are from the outbox.
fn climbs(ending: Ending) {
    let bench = Bench::new(Manner::Climb(ending));
    publish_tiny(&bench, FIRST);
    let process = bench.start(&bench.config(TINY_OPTIONS, ""));
    bench.wait_until_drained();
    process.finish();
    assert_tiny_exact(&bench.sink, &[FIRST]);
    let bytes = bench.sink.bytes();
    let (last, cut) = bytes.split_last().unwrap();
    assert_eq!(cut[..*last], (0..*last).collect::<Vec<_>>(), "bytes read before each cut");
}

#[test]
fn a_close_after_every_byte_loses_nothing() {
    climbs(Ending::Close);
}

#[test]
fn a_reset_after_every_byte_loses_nothing() {
    climbs(Ending::Reset);
}

/// One snapshot for each cut, so that the cut hits the delivery of a worker.
#[test]
fn a_cut_of_a_workers_delivery_loses_nothing() {
    let bench = Bench::new(Manner::Whole);
    let process = bench.start(&bench.config(TINY_OPTIONS, ""));
    publish_tiny(&bench, FIRST);
    bench.wait_until_drained();
    let size = bench.sink.bytes()[0];
    let mut all = vec![FIRST];
    for ending in [Ending::Close, Ending::Reset, Ending::HalfClose] {
        // No line's length is a multiple of this prime, so cuts fall at all places of a line.
        for after in (0..size).step_by(23) {
            let before = bench.sink.connections();
            bench.sink.behave(Manner::Cut(after, ending));
            let timestamp = all.last().unwrap() + 1;
            publish_tiny(&bench, timestamp);
            all.push(timestamp);
            wait_until("the connection that is cut", || bench.sink.connections() > before);
            wait_until("the cut", || bench.sink.bytes()[before] >= after);
            bench.sink.behave(Manner::Whole);
            bench.wait_until_drained();
        }
    }
    process.finish();
    assert_tiny_exact(&bench.sink, &all);
}

#[test]
fn a_stall_within_a_batch_loses_nothing() {
    let bench = Bench::new(Manner::Whole);
    let process = bench.start(&bench.config(TINY_OPTIONS, "confirm-timeout = 0.2"));
    publish_tiny(&bench, FIRST);
    bench.wait_until_drained();
    let size = bench.sink.bytes()[0];
    let mut all = vec![FIRST];
    for after in [0, 1, size / 2, size - 1, size] {
        let before = bench.sink.connections();
        bench.sink.behave(Manner::Cut(after, Ending::Stall));
        let timestamp = all.last().unwrap() + 1;
        publish_tiny(&bench, timestamp);
        all.push(timestamp);
        // One connection from the worker, one from the outbox.
        wait_until("stalled connections", || bench.sink.connections() >= before + 2);
        bench.sink.behave(Manner::Whole);
        bench.wait_until_drained();
    }
    process.finish();
    assert_tiny_exact(&bench.sink, &all);
}

/// The receiver closes in good order while most of the batch is still in our kernel, because the
/// window is small.
#[test]
fn a_fin_before_the_batch_is_through_is_no_delivery() {
    let mut bench = Bench::new(Manner::Whole);
    bench.sink = Sink::start_narrow(Manner::Cut(0, Ending::Fin));
    let size: usize = reference().iter().map(|line| line.len() + " 1700000000\n".len()).sum();
    let config = bench.config("workers = 1", "write-timeout = 0.2\nconfirm-timeout = 0.5");
    let all = bench.publish(1);
    let process = bench.start(&config);
    // More bytes than any window follow the last cut.
    for after in (0..size / 2).step_by(2999) {
        let before = bench.sink.connections();
        bench.sink.behave(Manner::Cut(after, Ending::Fin));
        wait_until("a second connection", || bench.sink.connections() >= before + 2);
        // In this order: a batch in the outbox never goes back into the spool.
        let kept = bench.waits() || bench.stored().len() == 1;
        assert!(kept, "counted as delivered after {after} bytes");
    }
    bench.sink.behave(Manner::Whole);
    // With a small window a batch takes longer than the limits above allow.
    process.finish();
    let process = bench.start(&bench.config("workers = 1", ""));
    bench.wait_until_drained();
    process.finish();
    assert_exact(&bench.sink, &all);
}

#[test]
fn a_receiver_that_reads_a_byte_now_and_then_holds_nothing_up() {
    let bench = Bench::new(Manner::Trickle(Duration::from_millis(20)));
    let config = bench.config("", "write-timeout = 0.2\nconfirm-timeout = 0.3");
    let all = bench.publish(6);
    let process = bench.start(&config);
    bench.wait_until_stored(all.len());
    bench.sink.behave(Manner::Whole);
    bench.wait_until_drained();
    process.finish();
    assert_exact(&bench.sink, &all);
}

#[test]
fn a_receiver_killed_amid_batches_and_restarted_gets_all() {
    let mut bench = Bench::new(Manner::Whole);
    let process = bench.start(&bench.config("", ""));
    let all = bench.publish(40);
    for _ in 0..6 {
        let (before, arrived) = (bench.sink.connections(), total(&bench.sink));
        // In the middle of a batch, if a batch is left.
        wait_until("more bytes", || total(&bench.sink) > arrived || drained(&bench));
        bench.sink.kill();
        wait_until("what is left is stored", || bench.scene.waiting().is_empty());
        bench.sink.revive();
        wait_until("a connection", || bench.sink.connections() > before || drained(&bench));
    }
    bench.wait_until_drained();
    process.finish();
    assert_exact(&bench.sink, &all);
}

fn total(sink: &Sink) -> usize {
    sink.bytes().iter().sum()
}

fn drained(bench: &Bench) -> bool {
    bench.scene.waiting().is_empty() && bench.stored().is_empty()
}

/// The receiver is down at the start: the spool empties, and held batches survive the program.
#[test]
fn with_graphite_down_snapshots_go_into_the_outbox_and_survive_a_kill() {
    let mut bench = Bench::new(Manner::Whole);
    bench.sink.kill();
    let config = bench.config("workers = 1", "");
    let all = bench.publish(12);
    let mut process = bench.start(&config);
    bench.wait_until_stored(all.len());
    process.signal(Signal::KILL);
    process.wait();
    drop(process);

    let process = bench.start(&config);
    wait_until("the word on a receiver that is down", || process.log().contains("is down"));
    assert_eq!(bench.stored().len(), all.len());
    bench.sink.revive();
    bench.wait_until_drained();
    process.finish();
    assert_eq!(bench.sink.order(), all);
    assert_exact(&bench.sink, &all);
}

/// New batches go at once to a receiver that is back, while the outbox follows.
#[test]
fn state_changes_are_told_once_each() {
    let mut bench = Bench::new(Manner::Whole);
    bench.sink.kill();
    let process = bench.start(&bench.config("", ""));
    let all = bench.publish(8);
    bench.wait_until_stored(all.len());
    bench.sink.revive();
    bench.wait_until_drained();
    let log = process.log();
    for (word, times) in [("receiver is down", 1), ("receiver is back", 1)] {
        assert_eq!(log.matches(word).count(), times, "{word:?} in:\n{log}");
    }
    process.finish();
    assert_exact(&bench.sink, &all);
}

/// An unknown name counts as down; the outbox survives a change of the server.
#[test]
fn a_server_whose_name_does_not_resolve_is_down_and_a_change_of_the_server_is_no_loss() {
    let bench = Bench::new(Manner::Whole);
    let mut process = bench.start(&bench.config("", "server = no-such-host.invalid"));
    let all = bench.publish(4);
    bench.wait_until_stored(all.len());
    assert!(process.log().contains("does not resolve"), "{}", process.log());
    process.end_with(Signal::TERM);
    assert_eq!(bench.sink.connections(), 0);

    let process = bench.start(&bench.config("", ""));
    bench.wait_until_drained();
    process.finish();
    assert_exact(&bench.sink, &all);
}

/// Over its bound the outbox drops its oldest batches, and logs their number.
#[test]
fn over_the_bound_the_oldest_go_and_are_counted() {
    let mut bench = Bench::new(Manner::Whole);
    bench.sink.kill();
    // Room for the metrics of three of ten batches.
    let metrics = reference().len() + 40;
    let options = format!("queue-size = {}", 3 * metrics);
    let config = bench.config("workers = 1\nliveness-check-interval = 1", &options);
    let all = bench.publish(10);
    let process = bench.start(&config);
    wait_until("an empty spool", || bench.scene.waiting().is_empty());
    wait_until("three batches", || bench.stored().len() == 3);
    assert_eq!(process.log().matches("over its bound").count(), 1, "{}", process.log());
    bench.sink.revive();
    bench.wait_until_drained();
    let each = bench.sink.lines().iter().filter(|line| line.ends_with(" 1700000009")).count();
    bench.wait_for_own("DroppedMetrics", u64::try_from(7 * each).unwrap());
    process.finish();
    assert_exact(&bench.sink, &all[7..]);
}

/// The newest batch stays even if it alone is over the bound, because no batch would be held
/// otherwise.
#[test]
fn the_bound_in_bytes_holds_too() {
    let mut bench = Bench::new(Manner::Whole);
    bench.sink.kill();
    let process = bench.start(&bench.config("", "outbox-size = 2000"));
    let all = bench.publish(4);
    bench.wait_until_stored(1);
    assert!(bench.stored().iter().all(|name| name.contains(&all[3].to_string())));
    bench.sink.revive();
    // A further snapshot would push the held one out, as long as the receiver counts as down.
    bench.wait_until_drained();
    let last = FIRST + 4;
    bench.scene.publish(last);
    bench.wait_until_drained();
    process.finish();
    assert_exact(&bench.sink, &[all[3], last]);
}

/// A batch that is damaged on the disk is set aside and counted; the others are delivered.
#[test]
fn a_damaged_batch_costs_itself_alone() {
    let mut bench = Bench::new(Manner::Whole);
    bench.sink.kill();
    let config = bench.config("liveness-check-interval = 1", "");
    let all = bench.publish(3);
    let process = bench.start(&config);
    bench.wait_until_stored(3);
    let name = bench.stored().into_iter().nth(1).unwrap();
    let path = bench.scene.path().join("outbox").join(name);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    fs::write(path, bytes).unwrap();
    bench.sink.revive();
    bench.wait_until_drained();
    let each = bench.sink.lines().iter().filter(|line| line.ends_with(" 1700000000")).count();
    bench.wait_for_own("DroppedMetrics", u64::try_from(each).unwrap());
    process.finish();
    assert_exact(&bench.sink, &[all[0], all[2]]);
}

/// A file system for the outbox, which a file of the test fills; unmounted on drop.
struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
    fn mount(path: &'a Path) -> Option<Self> {
        fs::create_dir(path).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=1m", "none"]).arg(path);
        let mounted = mount.output().is_ok_and(|output| output.status.success());
        mounted.then_some(Self(path))
    }

    fn fill(&self) {
        // Until the system refuses.
        let written = fs::write(self.0.join(".filler"), vec![0; 2 << 20]);
        assert!(written.is_err(), "2 MiB fit into 1 MiB");
    }

    fn make_room(&self) {
        fs::remove_file(self.0.join(".filler")).unwrap();
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0).status();
    }
}

/// With the receiver down and the outbox full snapshots stay in the spool; room lets them go on.
#[test]
fn a_full_disk_for_the_outbox_keeps_snapshots_in_the_spool() {
    let mut bench = Bench::new(Manner::Whole);
    let outbox = bench.scene.path().join("outbox");
    let Some(disk) = SmallDisk::mount(&outbox) else {
        return skip("a_full_disk_for_the_outbox: a tmpfs cannot be mounted here");
    };
    bench.sink.kill();
    disk.fill();
    let all = bench.publish(6);
    let process = bench.start(&bench.config("workers = 2", ""));
    wait_until("the word on the outbox", || process.log().contains("the outbox takes nothing"));
    assert_eq!(bench.scene.waiting().len(), all.len());
    // The other worker may still try when the first message comes.
    let left =
        || fs::read_dir(&outbox).unwrap().map(|e| e.unwrap().file_name()).collect::<Vec<_>>();
    wait_until("nothing half-written is left", || left() == [".filler"]);

    disk.make_room();
    bench.wait_until_stored(all.len());
    bench.sink.revive();
    bench.wait_until_drained();
    let log = process.log();
    assert_eq!(log.matches("the outbox takes nothing").count(), 1, "{log}");
    process.finish();
    drop(disk);
    assert_exact(&bench.sink, &all);
}

/// A receiver that is back gets the batches for which the outbox had no room.
#[test]
fn with_a_full_disk_a_receiver_that_is_back_gets_all() {
    let mut bench = Bench::new(Manner::Whole);
    let outbox = bench.scene.path().join("outbox");
    let Some(disk) = SmallDisk::mount(&outbox) else {
        return skip("with_a_full_disk: a tmpfs cannot be mounted here");
    };
    bench.sink.kill();
    disk.fill();
    let all = bench.publish(6);
    let process = bench.start(&bench.config("", ""));
    wait_until("the word on the outbox", || process.log().contains("the outbox takes nothing"));
    bench.sink.revive();
    bench.scene.wait_for_empty_spool();
    process.finish();
    drop(disk);
    assert_exact(&bench.sink, &all);
}

/// All faults at random moments; `HAPROXYSTATS_SEED` repeats a run or tries another one.
#[test]
fn kills_and_cuts_at_random_moments_lose_nothing() {
    let seed = std::env::var("HAPROXYSTATS_SEED").map_or(3, |text| text.parse().unwrap());
    println!("HAPROXYSTATS_SEED={seed}");
    let mut random = Rng::with_seed(seed);
    let mut bench = Bench::new(Manner::Whole);
    let config = bench.config("", "confirm-timeout = 1\nwrite-timeout = 1");
    let mut process = bench.start(&config);
    let mut all = Vec::new();
    for _ in 0..60 {
        for _ in 0..random.u64(0..3) {
            let timestamp = FIRST + u64::try_from(all.len()).unwrap();
            bench.scene.publish(timestamp);
            all.push(timestamp);
        }
        // The only sleep in the tests, because the moment of a fault must be random.
        thread::sleep(Duration::from_millis(random.u64(0..250)));
        process = strike(&mut random, &mut bench, process, &config);
    }
    bench.sink.kill();
    bench.sink.behave(Manner::Whole);
    bench.sink.revive();
    bench.wait_until_drained();
    wait_until_it_listens(&process);
    process.finish();
    assert_eq!(bench.failed(), BTreeSet::new(), "held");
    assert_exact(&bench.sink, &all);
}

/// The program does not catch signals before its first line of the log.
fn wait_until_it_listens(process: &Program) {
    wait_until("the program's first line", || process.log().contains(" starts"));
}

fn strike(random: &mut Rng, bench: &mut Bench, mut process: Program, config: &Path) -> Program {
    let endings = [Ending::Close, Ending::Reset, Ending::HalfClose, Ending::Stall];
    match random.u32(0..10) {
        0..3 => {
            if let Some(&worker) = random.choice(&process.children()) {
                send(worker, Signal::KILL);
            }
        }
        3 => {
            let workers = process.children();
            process.signal(Signal::KILL);
            assert_eq!(process.wait().code(), None, "killed, not ended");
            wait_until("the workers' end", || !workers.iter().any(|&worker| lives(worker)));
            return bench.start(config);
        }
        4 => {
            wait_until_it_listens(&process);
            process.end_with(Signal::TERM);
            return bench.start(config);
        }
        5 => {
            bench.sink.kill();
            bench.sink.revive();
        }
        6..8 => bench.sink.behave(Manner::Whole),
        _ => {
            let after = 1 << random.u32(0..16);
            bench.sink.behave(Manner::Cut(after, *random.choice(&endings).unwrap()));
        }
    }
    process
}
