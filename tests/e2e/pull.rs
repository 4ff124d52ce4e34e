//! haproxystats-pull as a program: a clean end at any moment, and nothing half-made left behind.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::thread;

use rustix::process::Signal;

use crate::scene::Scene;
use crate::support::{Program, data, wait_until};

/// How far a stand-in for HAProxy goes before it falls silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Whole,
    Nothing,
    Half,
}

/// Serves one stats socket for the rest of the test run; its folder goes with the test.
fn serve(socket: &Path, answer: Answer) {
    let dump = |name: &str| fs::read(data("dumps/haproxy-2.6.12").join(name)).unwrap();
    let mut text = [dump("sock1.show_info.txt"), dump("sock1.show_stat.txt")].concat();
    match answer {
        Answer::Whole => {}
        Answer::Nothing => text.clear(),
        Answer::Half => text.truncate(text.len() / 2),
    }
    let listener = UnixListener::bind(socket).unwrap();
    thread::spawn(move || {
        let mut kept = Vec::new();
        for mut stream in listener.incoming().flatten() {
            let mut command = String::new();
            let _ = BufReader::new(&stream).read_line(&mut command);
            let _ = stream.write_all(&text);
            if answer != Answer::Whole {
                kept.push(stream);
            }
        }
    });
}

fn config(scene: &Scene, interval: u32) -> PathBuf {
    let base = scene.path().display();
    fs::create_dir_all(scene.path().join("sockets")).unwrap();
    let text = format!(
        "[pull]\nloglevel = debug\nsocket-dir = {base}/sockets\npull-interval = {interval}\n\
         pull-timeout = 600\ntimeout = 60\n\
         dst-dir = {base}/incoming\ntmp-dst-dir = {base}/incoming.tmp\n"
    );
    scene.write("haproxystats.conf", &text)
}

fn staged(scene: &Scene) -> usize {
    fs::read_dir(scene.path().join("incoming.tmp")).map_or(0, Iterator::count)
}

fn assert_clean_end(scene: &Scene, mut pull: Program, signal: Signal) {
    pull.end_with(signal);
    assert_eq!(staged(scene), 0, "left behind after {signal:?}");
}

#[test]
fn each_signal_ends_it_while_it_waits_for_an_answer() {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        for answer in [Answer::Nothing, Answer::Half] {
            let scene = Scene::new();
            let config = config(&scene, 1);
            serve(&scene.path().join("sockets/good.sock"), Answer::Whole);
            serve(&scene.path().join("sockets/stalled.sock"), answer);
            let pull = scene.pull(&config);
            wait_until("a staged snapshot", || staged(&scene) > 0);
            assert_clean_end(&scene, pull, signal);
            assert!(scene.waiting().is_empty(), "published with {answer:?} of an answer");
        }
    }
}

#[test]
fn a_snapshot_holds_the_bytes_of_every_socket() {
    let scene = Scene::without_spool();
    let config = config(&scene, 3600);
    for name in ["one.sock", "two.sock"] {
        serve(&scene.path().join("sockets").join(name), Answer::Whole);
    }
    fs::write(scene.path().join("sockets/no-socket"), "").unwrap();
    let pull = scene.pull(&config);
    wait_until("a snapshot", || !scene.waiting().is_empty());
    // Now it sleeps, for an hour.
    assert_clean_end(&scene, pull, Signal::TERM);

    let waiting = scene.waiting();
    assert_eq!(waiting.len(), 1);
    let snapshot = scene.incoming().join(waiting.first().unwrap());
    let mut files: Vec<String> = fs::read_dir(&snapshot)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort_unstable();
    assert_eq!(files, ["one.sock_info", "one.sock_stat", "two.sock_info", "two.sock_stat"]);
    for (file, dump) in
        [("one.sock_info", "sock1.show_info.txt"), ("two.sock_stat", "sock1.show_stat.txt")]
    {
        let written = fs::read_to_string(snapshot.join(file)).unwrap();
        let recorded = fs::read_to_string(data("dumps/haproxy-2.6.12").join(dump)).unwrap();
        assert_eq!(written.trim_end(), recorded.trim_end(), "{file}");
    }
}
