//! Faults of the processes and the directories: workers that crash, hang or are killed, a spool
//! that moves, snapshots that vanish.

use std::fs;

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};

use crate::bench::{Bench, FIRST};
use crate::scene::{Scene, assert_exact, copy_files};
use crate::sink::Manner;
use crate::support::{PROCESS, Program, data, lives, send, wait_until};

/// The newest worker that the log names, once it lives.
pub(crate) fn worker(process: &Program) -> i32 {
    let mut worker = None;
    wait_until("a worker", || {
        let log = process.log();
        let started = log.lines().rfind(|line| line.contains("worker started"));
        let pid = started.and_then(|line| line.rsplit_once("pid=")?.1.parse().ok());
        worker = pid.filter(|&pid| lives(pid));
        worker.is_some()
    });
    worker.unwrap()
}

/// The number of times that a worker has begun a snapshot.
fn folds(process: &Program) -> usize {
    process.log().matches("folding snapshot=").count()
}

/// Ends the only worker each time it has begun a long snapshot.
fn end_busy_worker(bench: &Bench, process: &Program, signals: &[Signal]) {
    for (ended, &signal) in signals.iter().enumerate() {
        assert_eq!(bench.failed().len(), 0, "given up after {ended} deaths");
        wait_until("a busy worker", || folds(process) > ended);
        let victim = worker(process);
        send(victim, signal);
        wait_until("its end", || !lives(victim));
    }
}

/// The snapshot is in failed-dir with a reason, and the next snapshot is delivered.
fn assert_in_failed_dir(bench: &Bench, process: Program, reason: &str) {
    wait_until("the snapshot in failed-dir", || bench.failed().len() == 2);
    let failed = bench.scene.path().join("failed");
    assert!(failed.join(FIRST.to_string()).join("admin1.sock_stat").is_file());
    let text = fs::read_to_string(failed.join(format!("{FIRST}.reason"))).unwrap();
    assert!(text.contains(reason), "{reason:?} is not in {text:?}");
    bench.sink.behave(Manner::Whole);
    bench.scene.publish(FIRST + 1);
    bench.wait_until_drained();
    bench.wait_for_own("FailedSnapshots", 1);
    process.finish();
    assert_exact(&bench.sink, &[FIRST + 1]);
}

const ONE_WORKER: &str = "workers = 1\nliveness-check-interval = 1";

#[test]
fn a_worker_that_crashes_twice_on_a_snapshot_costs_the_snapshot_only() {
    let bench = Bench::new(Manner::Whole);
    let process = bench.start(&bench.config(ONE_WORKER, ""));
    publish_long(&bench);
    end_busy_worker(&bench, &process, &[Signal::ABORT, Signal::FPE]);
    assert_in_failed_dir(&bench, process, "its workers keep dying over it");
}

/// After one crash the snapshot is tried again.
#[test]
fn a_worker_that_crashes_once_is_replaced_and_the_snapshot_done_again() {
    let bench = Bench::new(Manner::Whole);
    let process = bench.start(&bench.config("workers = 1", ""));
    let victim = worker(&process);
    send(victim, Signal::STOP);
    let all = bench.publish(3);
    wait_until("a busy worker", || folds(&process) > 0);
    send(victim, Signal::ABORT);
    send(victim, Signal::CONT);
    process_ends_exact(&bench, process, &all);
}

fn process_ends_exact(bench: &Bench, process: Program, all: &[u64]) {
    bench.wait_until_drained();
    process.finish();
    assert_exact(&bench.sink, all);
}

/// A snapshot that keeps a worker busy long enough to stop it.
fn publish_long(bench: &Bench) {
    let staged = bench.scene.path().join("long");
    copy_files(&data("parity/01-default/1700000000"), &staged);
    let file = staged.join("admin1.sock_stat");
    let mut text = fs::read_to_string(&file).unwrap();
    let row = text.lines().find(|row| row.contains(",BACKEND,")).unwrap();
    let tail = row.split_once(',').unwrap().1.to_owned();
    text.truncate(text.trim_end().len());
    (0..40_000).for_each(|number| text.push_str(&format!("\nlong{number},{tail}")));
    fs::write(&file, text + "\n\n").unwrap();
    fs::rename(staged, bench.scene.incoming().join(FIRST.to_string())).unwrap();
}

/// One worker is stopped as soon as it is ready, the next one during the snapshot: neither makes
/// progress. An earlier stop would not count against the snapshot.
#[test]
fn a_worker_that_hangs_twice_on_a_snapshot_costs_the_snapshot_only() {
    let bench = Bench::new(Manner::Whole);
    let process = bench.start(&bench.config(&format!("{ONE_WORKER}\njob-timeout = 1"), ""));
    let mut stopped = 0;
    wait_until("the snapshot in failed-dir", || {
        let ready = process.log().matches("worker started").count();
        if ready > stopped {
            send(worker(&process), Signal::STOP);
            if stopped == 0 {
                publish_long(&bench);
            }
            stopped = ready;
        }
        bench.failed().len() == 2
    });
    send(worker(&process), Signal::CONT);
    assert!(process.log().contains("job-timeout"), "{}", process.log());
    assert_in_failed_dir(&bench, process, "its workers keep dying over it");
}

/// A killed worker says little about its snapshot, so the snapshot gets five tries.
#[test]
fn a_worker_killed_from_outside_is_forgiven_four_times() {
    let bench = Bench::new(Manner::Whole);
    let process = bench.start(&bench.config("workers = 1", ""));
    publish_long(&bench);
    end_busy_worker(&bench, &process, &[Signal::KILL; 4]);
    bench.wait_until_drained();
    assert_eq!(bench.failed().len(), 0);
    process.finish();
    assert!(bench.sink.by_timestamp().contains_key(&FIRST));
}

#[test]
fn a_snapshot_whose_worker_is_killed_five_times_is_held() {
    let bench = Bench::new(Manner::Whole);
    let process = bench.start(&bench.config(ONE_WORKER, ""));
    publish_long(&bench);
    end_busy_worker(&bench, &process, &[Signal::KILL; 5]);
    assert_in_failed_dir(&bench, process, "its workers keep dying over it");
}

#[test]
fn idle_workers_killed_again_and_again_are_replaced_and_counted() {
    let bench = Bench::new(Manner::Whole);
    let process = bench.start(&bench.config(ONE_WORKER, ""));
    for _ in 0..4 {
        let victim = worker(&process);
        send(victim, Signal::KILL);
        wait_until("its end", || !lives(victim));
    }
    let all = bench.publish(2);
    bench.wait_until_drained();
    bench.wait_for_own("WorkerRestarts", 4);
    process_ends_exact(&bench, process, &all);
}

/// The receiver does not confirm the batch; the end must not wait for confirm-timeout.
#[test]
fn two_signals_end_it_while_a_receiver_keeps_it_waiting() {
    let bench = Bench::new(Manner::NeverRead);
    let limits = "confirm-timeout = 600\nwrite-timeout = 1\nconnect-timeout = 1";
    let config = bench.config("workers = 2", limits);
    let mut process = bench.start(&config);
    let all = bench.publish(4);
    wait_until("a batch on its way", || bench.sink.connections() >= 1);
    for worker in process.children() {
        send(worker, Signal::TERM);
    }
    process.signal(Signal::TERM);
    process.end_with(Signal::HUP);

    bench.sink.behave(Manner::Whole);
    let process = bench.start(&config);
    process_ends_exact(&bench, process, &all);
}

#[test]
fn a_spool_renamed_under_it_and_made_anew_is_watched() {
    let bench = Bench::new(Manner::Whole);
    let process = bench.start(&bench.config("", ""));
    let first = bench.publish(1);
    bench.wait_until_drained();
    let aside = bench.scene.path().join("aside");
    fs::rename(bench.scene.incoming(), &aside).unwrap();
    wait_until("the word on it", || process.log().contains("the spool is away"));
    fs::create_dir(bench.scene.incoming()).unwrap();
    bench.scene.publish(FIRST + 1);
    bench.wait_until_drained();
    // A snapshot in the renamed directory must not be processed.
    fs::create_dir(aside.join((FIRST + 2).to_string())).unwrap();
    bench.scene.publish(FIRST + 3);
    bench.wait_until_drained();
    assert_eq!(fs::read_dir(aside).unwrap().count(), 1);
    process_ends_exact(&bench, process, &[first[0], FIRST + 1, FIRST + 3]);
}

/// The lock is on the directory, so a new directory in its place is locked anew.
#[test]
fn a_spool_made_anew_is_still_ours_alone() {
    let bench = Bench::new(Manner::Whole);
    let config = bench.config("", "");
    let process = bench.start(&config);
    bench.publish(1);
    bench.wait_until_drained();
    fs::remove_dir(bench.scene.incoming()).unwrap();
    fs::create_dir(bench.scene.incoming()).unwrap();
    bench.scene.publish(FIRST + 1);
    bench.wait_until_drained();
    let arguments = ["-f".as_ref(), config.as_os_str()];
    let mut second = Program::start(PROCESS, &arguments, &[], bench.scene.path(), "second");
    assert!(!second.wait().success(), "a second program runs on the same spool");
    process_ends_exact(&bench, process, &[FIRST, FIRST + 1]);
}

#[test]
fn snapshots_taken_away_by_hand_are_no_fault() {
    let bench = Bench::new(Manner::Whole);
    let process = bench.start(&bench.config("workers = 1", ""));
    let worker = worker(&process);
    send(worker, Signal::STOP);
    let all = bench.publish(4);
    wait_until("a busy worker", || folds(&process) > 0);
    // The worker has the order for the first snapshot, the second snapshot waits.
    for timestamp in &all[..2] {
        fs::remove_dir_all(bench.scene.incoming().join(timestamp.to_string())).unwrap();
    }
    send(worker, Signal::CONT);
    bench.wait_until_drained();
    wait_until("the word on it", || process.log().contains("took the snapshot away"));
    process_ends_exact(&bench, process, &all[2..]);
}

/// Not even root can make the directory of local-store below a file. Its batches wait in the outbox
/// until it can be made.
#[test]
fn a_local_store_that_does_not_work_holds_nothing_up_and_is_told_once() {
    let bench = Bench::new(Manner::Whole);
    let file = bench.scene.write("file", "");
    let store = format!("[local-store]\ninterval = 0.05\ndir = {}/store", file.display());
    let process = bench.start(&bench.config(ONE_WORKER, &store));
    let all = bench.publish(5);
    wait_until("what local-store is owed", || {
        let held = bench.stored();
        held.len() == 5 && held.iter().all(|name| name.starts_with("local-store/"))
    });
    wait_until("the count", || bench.own("LocalStoreFailures").is_some_and(|count| count > 0));
    let log = process.log();
    assert_eq!(log.matches("local-store cannot write").count(), 1, "{log}");
    fs::remove_file(&file).unwrap();
    process_ends_exact(&bench, process, &all);
    for timestamp in all {
        assert!(file.join("store").join(timestamp.to_string()).join("stats").is_file());
    }
}

/// A killed parent leaves no worker.
#[test]
fn workers_stopped_in_mid_work_die_with_their_parent() {
    let bench = Bench::new(Manner::NeverRead);
    let config = bench.config("workers = 2", "");
    let mut process = bench.start(&config);
    let all = bench.publish(2);
    wait_until("a batch on its way", || bench.sink.connections() >= 1);
    let workers = process.children();
    workers.iter().for_each(|&worker| send(worker, Signal::STOP));
    process.signal(Signal::KILL);
    process.wait();
    wait_until("the workers' end", || !workers.iter().any(|&worker| lives(worker)));
    drop(process);

    bench.sink.behave(Manner::Whole);
    let process = bench.start(&config);
    process_ends_exact(&bench, process, &all);
}

/// A batch that local-store cannot write is held for it, as for any receiver.
#[test]
fn batches_that_local_store_cannot_write_are_held() {
    let scene = Scene::new();
    let dir = scene.write("store", "a file where the directory should be");
    let options = format!("enabled = false\n[local-store]\ndir = {}", dir.display());
    let process = scene.process(&scene.config(9, 1, &options));
    scene.publish(FIRST);
    wait_until("the word on local-store", || process.log().contains("local-store cannot write"));
    wait_until("a held batch", || scene.stored() == 1);
    fs::remove_file(&dir).unwrap();
    scene.wait_until_delivered();
    process.finish();
    let stored = fs::read_to_string(dir.join(FIRST.to_string()).join("stats")).unwrap();
    assert!(stored.lines().count() > 500);
}

/// Without snapshots and held batches only the program's own lines show that the receiver is down.
#[test]
fn a_receiver_that_was_away_is_found_again_without_any_snapshot() {
    let mut bench = Bench::new(Manner::Whole);
    let config = bench.config("liveness-check-interval = 0.1", "");
    let process = bench.start(&config);
    wait_until("lines about ourselves", || bench.sink.connections() > 0);
    bench.sink.kill();
    wait_until("the word that it is down", || process.log().contains("the receiver is down"));
    bench.sink.revive();
    wait_until("the word that it is back", || process.log().contains("the receiver is back"));
    process.finish();
}

/// Sets the number of descriptors that a worker may have; the hard limit stays.
fn limit_descriptors(worker: i32, current: u64) {
    let limit = Rlimit { current: Some(current), ..getrlimit(Resource::Nofile) };
    prlimit(Pid::from_raw(worker), Resource::Nofile, limit).unwrap();
}

/// While no descriptor is free the snapshot waits; it is neither folded in part nor given up.
#[test]
fn a_snapshot_that_cannot_be_read_for_a_moment_is_read_later() {
    let bench = Bench::new(Manner::Whole);
    let process = bench.start(&bench.config(ONE_WORKER, ""));
    let worker = worker(&process);
    // The open descriptors: the three standard ones and its channel.
    limit_descriptors(worker, 4);
    bench.publish(1);
    wait_until("a try in vain", || process.log().contains("cannot be read just now"));
    assert_eq!(bench.scene.waiting().len(), 1);
    limit_descriptors(worker, 256);
    bench.wait_until_drained();
    assert_eq!(bench.failed().len(), 0);
    process.finish();
    assert_exact(&bench.sink, &[FIRST]);
}
