//! haproxystats-pull as a program: a clean end at any moment that leaves nothing unfinished behind.

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::thread;

use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};
use rustix::process::Signal;

use crate::scene::Scene;
use crate::support::{PULL, Program, data, skip, wait_until};

/// The part of its answers that a fake HAProxy sends before it stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Whole,
    Nothing,
    Half,
}

/// Serves one stats socket for the rest of the test run; its folder goes with the test.
pub(crate) fn serve(socket: &Path, answer: Answer) {
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

/// Files in staged snapshots.
fn files_staged(scene: &Scene) -> usize {
    let snapshots = fs::read_dir(scene.path().join("incoming.tmp")).into_iter().flatten();
    let files = snapshots.filter_map(|snapshot| fs::read_dir(snapshot.ok()?.path()).ok());
    files.map(Iterator::count).sum()
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
    // Now pull sleeps for an hour.
    assert_clean_end(&scene, pull, Signal::TERM);

    let waiting = scene.waiting();
    assert_eq!(waiting.len(), 1);
    let snapshot = scene.incoming().join(waiting.first().unwrap());
    let mut files: Vec<String> = fs::read_dir(&snapshot)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort_unstable();
    assert_eq!(
        files,
        [
            "haproxystats.manifest",
            "one.sock_info",
            "one.sock_stat",
            "two.sock_info",
            "two.sock_stat"
        ]
    );
    for (file, dump) in
        [("one.sock_info", "sock1.show_info.txt"), ("two.sock_stat", "sock1.show_stat.txt")]
    {
        let written = fs::read_to_string(snapshot.join(file)).unwrap();
        let recorded = fs::read_to_string(data("dumps/haproxy-2.6.12").join(dump)).unwrap();
        assert_eq!(written.trim_end(), recorded.trim_end(), "{file}");
    }
}

/// The system's resolver reads the aliases of hosts from the test's file. Reading from a pipe
/// without a writer never ends.
#[test]
fn it_ends_while_a_name_is_looked_up() {
    let scene = Scene::without_spool();
    let base = scene.path().display();
    let text = format!(
        "[pull]\nservers = tcp://stalled:7\npull-timeout = 0\n\
         dst-dir = {base}/incoming\ntmp-dst-dir = {base}/incoming.tmp\n"
    );
    let config = scene.write("haproxystats.conf", &text);
    let aliases = scene.path().join("aliases");
    mknodat(CWD, &aliases, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let arguments = [OsStr::new("-f"), config.as_os_str()];
    let environment = [("HOSTALIASES", aliases.as_os_str())];
    let pull = Program::start(PULL, &arguments, &environment, scene.path(), "pull");
    // The open succeeds once the resolver reads, and then keeps the resolver waiting.
    let mut writer = None;
    let flags = OFlags::NONBLOCK.bits().try_into().unwrap();
    wait_until("the lookup", || {
        writer = OpenOptions::new().write(true).custom_flags(flags).open(&aliases).ok();
        writer.is_some() || pull.log().contains("cannot find an address")
    });
    if writer.is_none() {
        return skip("a lookup that hangs: the resolver here reads no aliases");
    }
    assert_eq!(staged(&scene), 1);
    assert_clean_end(&scene, pull, Signal::TERM);
}

/// A pipe without a writer makes the resolver hang, as above.
#[test]
fn a_resolver_that_hangs_holds_one_thread_however_many_cycles_ask() {
    let scene = Scene::without_spool();
    let base = scene.path().display();
    let text = format!(
        "[pull]\nloglevel = debug\nservers = tcp://stalled:7\npull-timeout = 0.2\n\
         pull-interval = 1\ndst-dir = {base}/incoming\ntmp-dst-dir = {base}/incoming.tmp\n"
    );
    let config = scene.write("haproxystats.conf", &text);
    let aliases = scene.path().join("aliases");
    mknodat(CWD, &aliases, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    // Open for reading and writing, so that a reader waits for the test.
    let _writer = OpenOptions::new().read(true).write(true).open(&aliases).unwrap();
    let arguments = [OsStr::new("-f"), config.as_os_str()];
    let environment = [("HOSTALIASES", aliases.as_os_str())];
    let pull = Program::start(PULL, &arguments, &environment, scene.path(), "pull");
    let cycles = || pull.log().matches("a cycle has ended").count();
    wait_until("four cycles", || cycles() >= 4);
    if pull.log().contains("cannot find an address") {
        return skip("a lookup that hangs: the resolver here reads no aliases");
    }
    let tasks = fs::read_dir(format!("/proc/{}/task", pull.pid())).unwrap();
    let names = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
    assert_eq!(names.filter(|name| name == "lookup\n").count(), 1, "{}", pull.log());
    assert_eq!(pull.log().matches("no answer endpoint=").count(), 1, "{}", pull.log());
    assert_clean_end(&scene, pull, Signal::TERM);
}

/// Runs pull with this limit of open files, until it ends or its first cycle has ended.
fn with_open_files(scene: &Scene, config: &Path, limit: u32) -> (Option<i32>, String) {
    let script = format!("ulimit -n {limit}; exec \"$0\" -f \"$1\"");
    let arguments = [OsStr::new("-c"), script.as_ref(), PULL.as_ref(), config.as_os_str()];
    let mut pull = Program::start("sh", &arguments, &[], scene.path(), "pull");
    wait_until("the end or a cycle", || !pull.runs() || pull.log().contains("a cycle has ended"));
    let code = if pull.runs() { None } else { pull.wait().code() };
    (code, pull.log())
}

#[test]
fn a_start_with_too_few_open_files_says_what_was_tried_and_what_to_do() {
    let scene = Scene::without_spool();
    let config = config(&scene, 3600);
    serve(&scene.path().join("sockets/good.sock"), Answer::Whole);
    for limit in [5, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 28] {
        let (code, log) = with_open_files(&scene, &config, limit);
        assert!(!log.contains("panicked"), "{limit}: {log}");
        for line in log.lines().filter(|line| line.contains("os error 24")) {
            let tried = line.contains("cannot ");
            assert!(tried && line.contains("; raise our limit of open files"), "{limit}: {line}");
        }
        let refused = log.contains("cannot open the files that a start needs: Too many open files");
        assert!(refused == (code == Some(2)), "{limit}: {code:?}, {log}");
        assert!(refused || limit > 12, "{limit}: {log}");
    }
}

/// Both answers of an endpoint, whole.
fn assert_whole(snapshot: &Path) {
    for (file, dump) in
        [("good.sock_info", "sock1.show_info.txt"), ("good.sock_stat", "sock1.show_stat.txt")]
    {
        let written = fs::read(snapshot.join(file)).unwrap();
        let recorded = fs::read(data("dumps/haproxy-2.6.12").join(dump)).unwrap();
        assert!(written == recorded, "{} is not whole", snapshot.join(file).display());
    }
}

#[test]
fn leftovers_of_a_kill_are_removed_at_the_next_start() {
    let scene = Scene::new();
    let config = config(&scene, 1);
    let stalled = scene.path().join("sockets/stalled.sock");
    serve(&scene.path().join("sockets/good.sock"), Answer::Whole);
    serve(&stalled, Answer::Half);
    let mut pull = scene.pull(&config);
    wait_until("three files or more", || files_staged(&scene) >= 3);
    pull.signal(Signal::KILL);
    pull.wait();
    assert_eq!((staged(&scene), scene.waiting().len()), (1, 0));

    fs::remove_file(stalled).unwrap();
    let pull = scene.pull(&config);
    wait_until("a snapshot", || !scene.waiting().is_empty());
    assert!(pull.log().contains("removed what an earlier run had not finished"), "{}", pull.log());
    assert_clean_end(&scene, pull, Signal::TERM);
}

/// pull is killed with more and more of a snapshot staged, up to a published snapshot.
#[test]
fn a_kill_at_any_moment_leaves_nothing_partial() {
    let scene = Scene::new();
    let config = config(&scene, 1);
    serve(&scene.path().join("sockets/good.sock"), Answer::Whole);
    // The start tries a rename with a hidden directory, which no list counts.
    let visible = || {
        let mut names = scene.waiting();
        names.retain(|name| !name.starts_with('.'));
        names
    };
    for round in 0..20 {
        let before = visible().len();
        let mut pull = scene.pull(&config);
        let moment = || files_staged(&scene) > round % 4 || visible().len() > before;
        // The moment passes faster than `wait_until` checks.
        wait_until("the moment", || (0..1_000).any(|_| moment()));
        pull.signal(Signal::KILL);
        pull.wait();
        for name in visible() {
            assert_whole(&scene.incoming().join(name));
        }
    }
    let before = visible().len();
    let pull = scene.pull(&config);
    wait_until("a snapshot", || visible().len() > before);
    assert_clean_end(&scene, pull, Signal::TERM);
    assert_eq!(scene.waiting(), visible(), "of an earlier run");
}

#[test]
fn a_second_one_is_refused_and_the_first_goes_on() {
    let scene = Scene::without_spool();
    let config = config(&scene, 1);
    serve(&scene.path().join("sockets/good.sock"), Answer::Whole);
    let first = scene.pull(&config);
    wait_until("a snapshot", || !scene.waiting().is_empty());
    let arguments = [OsStr::new("-f"), config.as_os_str()];
    let mut second = Program::start(PULL, &arguments, &[], scene.path(), "second");
    assert_eq!(second.wait().code(), Some(2), "{}", second.log());
    let name = format!("another haproxystats-pull (pid {})", first.pid());
    assert!(second.log().contains(&name), "{}", second.log());
    let before = scene.waiting().len();
    wait_until("another snapshot", || scene.waiting().len() > before);
    assert_clean_end(&scene, first, Signal::TERM);
}
