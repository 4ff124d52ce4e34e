//! The life of haproxystats-process: the snapshots that it processes, its end, its restarts.

use std::fs;

use rustix::process::Signal;

use crate::scene::{Scene, assert_exact};
use crate::sink::{Manner, Sink};
use crate::support::{Program, lives, send, wait_until};

const FIRST: u64 = 1_700_000_000;

/// Waits for the workers, after which the program also catches signals.
fn wait_for_workers(process: &Program, count: usize) -> Vec<i32> {
    let mut workers = Vec::new();
    wait_until(&format!("{count} workers"), || {
        workers = process.workers();
        workers.len() == count
    });
    workers
}

#[test]
fn each_of_the_three_signals_is_a_clean_end() {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let (scene, sink) = (Scene::new(), Sink::start(Manner::Whole));
        let mut process = scene.process(&scene.config(sink.port, 2, ""));
        let workers = wait_for_workers(&process, 2);
        scene.publish(FIRST);
        scene.wait_for_empty_spool();
        process.end_with(signal);
        wait_until("the workers' end", || !workers.iter().any(|&worker| lives(worker)));
        assert_exact(&sink, &[FIRST]);
    }
}

/// Ctrl-C in a terminal reaches the workers too, but they finish their snapshots.
#[test]
fn a_signal_to_the_whole_group_is_a_clean_end() {
    let (scene, sink) = (Scene::new(), Sink::start(Manner::Whole));
    let config = scene.config(sink.port, 2, "");
    let mut process = scene.process(&config);
    let workers = wait_for_workers(&process, 2);
    let all: Vec<u64> = (FIRST..FIRST + 10).collect();
    all.iter().for_each(|&timestamp| scene.publish(timestamp));
    wait_until("a first snapshot taken", || sink.connections() > 0);
    workers.into_iter().for_each(|worker| send(worker, Signal::INT));
    process.end_with(Signal::INT);

    let process = scene.process(&config);
    wait_for_workers(&process, 2);
    scene.wait_for_empty_spool();
    process.finish();
    assert_exact(&sink, &all);
}

/// A begun snapshot is finished and the others stay in the spool, so a restart loses nothing.
#[test]
fn a_signal_amid_the_work_loses_nothing() {
    let (scene, sink) = (Scene::new(), Sink::start(Manner::Whole));
    let config = scene.config(sink.port, 2, "");
    let all: Vec<u64> = (FIRST..FIRST + 24).collect();
    for chunk in all.chunks(8) {
        let mut process = scene.process(&config);
        let before = sink.connections();
        chunk.iter().for_each(|&timestamp| scene.publish(timestamp));
        wait_until("a first snapshot taken", || sink.connections() > before);
        process.signal(Signal::TERM);
        process.signal(Signal::INT);
        assert_eq!(process.wait().code(), Some(0));
    }
    let process = scene.process(&config);
    wait_for_workers(&process, 2);
    scene.wait_for_empty_spool();
    process.finish();
    assert_exact(&sink, &all);
}

#[test]
fn snapshots_at_the_start_are_processed_oldest_first() {
    let (scene, sink) = (Scene::new(), Sink::start(Manner::Whole));
    // Sorted as numbers: the shortest name is the oldest, but not the first by its bytes.
    let order = [999_999_999, FIRST, FIRST + 5, FIRST + 10, FIRST + 20];
    for index in [3, 0, 4, 2, 1] {
        scene.publish(order[index]);
    }
    let process = scene.process(&scene.config(sink.port, 1, ""));
    scene.wait_for_empty_spool();
    process.finish();
    assert_eq!(sink.order(), order);
    assert_exact(&sink, &order);
}

#[test]
fn every_snapshot_is_taken_and_none_twice() {
    let (scene, sink) = (Scene::new(), Sink::start(Manner::Whole));
    let all: Vec<u64> = (FIRST..FIRST + 60).collect();
    // Some snapshots before the start, some between its watch and its scan, some after.
    all[..10].iter().for_each(|&timestamp| scene.publish(timestamp));
    let process = scene.process(&scene.config(sink.port, 2, ""));
    all[10..50].iter().for_each(|&timestamp| scene.publish(timestamp));
    scene.wait_for_empty_spool();
    all[50..].iter().for_each(|&timestamp| scene.publish(timestamp));
    scene.wait_for_empty_spool();
    process.finish();
    assert_exact(&sink, &all);
    for (timestamp, lines) in sink.by_timestamp() {
        let twice = lines.iter().find(|&(_, &count)| count > 1);
        assert_eq!(twice, None, "came more than once from {timestamp}");
    }
}

/// After `cp -r` into the spool the directory may not be read before it is complete.
#[test]
fn a_directory_filled_in_place_is_taken_whole() {
    let (scene, sink) = (Scene::new(), Sink::start(Manner::Whole));
    let process = scene.process(&scene.config(sink.port, 1, ""));
    wait_for_workers(&process, 1);
    scene.create_in_place(FIRST);
    scene.wait_for_empty_spool();
    process.finish();
    assert_exact(&sink, &[FIRST]);
}

#[test]
fn a_spool_that_comes_late_or_is_made_anew_is_watched() {
    let (scene, sink) = (Scene::without_spool(), Sink::start(Manner::Whole));
    let process = scene.process(&scene.config(sink.port, 1, ""));
    wait_until("a first line of the log", || !process.log().is_empty());
    fs::create_dir_all(scene.incoming()).unwrap();
    scene.publish(FIRST);
    scene.wait_for_empty_spool();
    fs::remove_dir(scene.incoming()).unwrap();
    fs::create_dir_all(scene.incoming()).unwrap();
    scene.publish(FIRST + 1);
    scene.wait_for_empty_spool();
    process.finish();
    assert_exact(&sink, &[FIRST, FIRST + 1]);
}

#[test]
fn entries_that_are_no_snapshots_are_left_alone() {
    let (scene, sink) = (Scene::new(), Sink::start(Manner::Whole));
    scene.write("incoming/1700000050", "a file, not a directory");
    scene.write("incoming/yesterday/file", "no number");
    let process = scene.process(&scene.config(sink.port, 1, ""));
    let foreign = |name: &str| ["1700000050", "yesterday", ".editing", "notes"].contains(&name);
    let taken = || scene.waiting().iter().all(|name| foreign(name));
    scene.publish(FIRST);
    wait_until("the first snapshot taken", taken);
    scene.write("incoming/.editing/file", "hidden");
    scene.write("incoming/notes", "a file that came later");
    scene.publish(FIRST + 1);
    wait_until("the second snapshot taken", taken);
    process.finish();
    assert_exact(&sink, &[FIRST, FIRST + 1]);
    for kept in ["1700000050", "yesterday/file", ".editing/file", "notes"] {
        assert!(scene.incoming().join(kept).is_file(), "{kept} is gone");
    }
}

#[test]
fn a_killed_worker_is_replaced_and_its_snapshot_done_again() {
    let (scene, sink) = (Scene::new(), Sink::start(Manner::Whole));
    let mut process = scene.process(&scene.config(sink.port, 2, ""));
    let mut all = Vec::new();
    for round in 0..6 {
        let workers = wait_for_workers(&process, 2);
        for timestamp in [FIRST + 2 * round, FIRST + 2 * round + 1] {
            scene.publish(timestamp);
            all.push(timestamp);
        }
        let victim = workers[usize::try_from(round).unwrap() % 2];
        send(victim, Signal::KILL);
        wait_until("the end of the killed worker", || !lives(victim));
    }
    scene.wait_for_empty_spool();
    assert!(process.runs());
    wait_for_workers(&process, 2);
    process.finish();
    assert_exact(&sink, &all);
}

#[test]
fn workers_end_with_a_killed_parent_and_the_next_start_goes_on() {
    let (scene, sink) = (Scene::new(), Sink::start(Manner::Whole));
    let config = scene.config(sink.port, 2, "");
    let mut process = scene.process(&config);
    let workers = wait_for_workers(&process, 2);
    let all: Vec<u64> = (FIRST..FIRST + 10).collect();
    all.iter().for_each(|&timestamp| scene.publish(timestamp));
    process.signal(Signal::KILL);
    assert_eq!(process.wait().code(), None, "killed, not ended");
    wait_until("the workers' end", || !workers.iter().any(|&worker| lives(worker)));
    drop(process);

    let process = scene.process(&config);
    wait_for_workers(&process, 2);
    scene.wait_for_empty_spool();
    process.finish();
    assert_exact(&sink, &all);
}

#[test]
fn a_second_process_on_one_spool_refuses_and_names_the_first() {
    let (scene, sink) = (Scene::new(), Sink::start(Manner::Whole));
    let config = scene.config(sink.port, 1, "");
    let first = scene.process(&config);
    wait_for_workers(&first, 1);
    let arguments = ["-f".as_ref(), config.as_os_str()];
    let mut second =
        Program::start(crate::support::PROCESS, &arguments, &[], scene.path(), "second");
    let status = second.wait();
    assert!(!status.success(), "{status}");
    let pid = first.pid().to_string();
    assert!(second.log().contains(&pid), "{pid} is not named in:\n{}", second.log());
    first.finish();
}
