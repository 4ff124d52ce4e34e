//! Answers of real HAProxies that the manual does not describe, from their sockets to Graphite's
//! lines: nothing is lost, nothing is counted twice, and an oddity is logged once.

use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::thread;

use crate::carbon::Carbon;
use crate::haproxy::ask;
use crate::scene::Scene;
use crate::sink::{Manner, Sink};
use crate::support::{Program, free_ports, installed, wait_until};

/// A check whose expected string has line ends, a listener with a frontend's name, a description
/// that looks like figures, two sockets of one process.
const CONFIG: &str = "
global
  stats socket SOCKETS/admin.sock level admin
  stats socket SOCKETS/operator.sock level operator
  description \"f\u{fc}r\\n\\nIdle_pct: 3\\nTasks: 77777\\nCumReq: 88888\"
  node e2e
defaults
  mode tcp
  timeout connect 60s
  timeout client 60s
  timeout server 60s
frontend web
  bind 127.0.0.1:WEB name FRONTEND
  option socket-stats
  default_backend app
backend app
  option tcp-check
  tcp-check connect
  tcp-check send role\\r\\n
  tcp-check expect string role:master\\r\\n
  server broken 127.0.0.1:ORIGIN check inter 100ms
  server LONGNAME 127.0.0.1:ORIGIN
";

/// A server that answers every connection as a redis replica does, until the test is over.
fn origin() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { break };
            let mut asked = [0; 64];
            let _ = stream.read(&mut asked);
            let _ = stream.write_all(b"role:slave\r\n");
        }
    });
    port
}

fn start(program: &str, scene: &Scene, web: u16, long_name: &str) -> Program {
    let sockets = scene.path().join("sockets");
    fs::create_dir(&sockets).unwrap();
    let text = CONFIG
        .replace("SOCKETS", sockets.to_str().unwrap())
        .replace("WEB", &web.to_string())
        .replace("ORIGIN", &origin().to_string())
        .replace("LONGNAME", long_name);
    // In latin-1 every character of the text is one byte.
    let bytes: Vec<u8> = text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
    let config = scene.path().join("haproxy.cfg");
    fs::write(&config, bytes).unwrap();
    let arguments: [&OsStr; 3] = ["-db".as_ref(), "-f".as_ref(), config.as_os_str()];
    let haproxy = Program::start(program, &arguments, &[], scene.path(), "haproxy");
    let socket = sockets.join("admin.sock");
    wait_until("a failed check with a line end in it", || {
        ask(&socket, "show stat").is_some_and(|answer| answer.contains("role:master\r\n"))
    });
    haproxy
}

fn config(scene: &Scene, port: u16) -> std::path::PathBuf {
    let base = scene.path().display();
    let text = format!(
        "[paths]\nbase-dir = {base}\n[pull]\nsocket-dir = {base}/sockets\npull-interval = 1\n\
         pull-timeout = 20\ndst-dir = {base}/incoming\ntmp-dst-dir = {base}/incoming.tmp\n\
         [process]\nsrc-dir = {base}/incoming\nworkers = 2\naggr-server-metrics = true\n\
         [graphite]\nserver = 127.0.0.1\nport = {port}\nnamespace = e2e\n\
         prefix-hostname = false\n"
    );
    scene.write("haproxystats.conf", &text)
}

/// The value of a path in the newest snapshot that has it.
fn value(sink: &Sink, path: &str) -> Option<f64> {
    let lines = sink.lines();
    let line = lines.iter().rev().find(|line| line.starts_with(&format!("e2e.haproxy.{path} ")))?;
    line.split(' ').nth(1)?.parse().ok()
}

fn count(log: &str, words: &str) -> usize {
    log.lines().filter(|line| line.contains(words)).count()
}

#[test]
fn a_real_haproxy_that_does_all_of_it_is_read_right() {
    let Some([program]) = installed("oddities", ["haproxy"]) else { return };
    let (scene, sink) = (Scene::new(), Sink::start(Manner::Whole));
    let long_name = format!("pod:{}:https:10.1.2.3:8443", "x".repeat(260));
    let [web] = free_ports();
    let haproxy = start(&program, &scene, web, &long_name);
    for _ in 0..3 {
        // The backend may be down by then, but the session counts.
        let mut stream = TcpStream::connect(("127.0.0.1", web)).unwrap();
        let _ = stream.write_all(b"role\r\n");
        let _ = stream.read_to_end(&mut Vec::new());
    }
    let config = config(&scene, sink.port);
    let (pull, process) = (scene.pull(&config), scene.process(&config));
    wait_until("six snapshots", || sink.by_timestamp().len() >= 6);

    // The row whose last_chk has a line end, and the rows after it.
    assert_eq!(value(&sink, "backend.app.server.broken.chkdown"), Some(1.0));
    assert_eq!(value(&sink, "backend.app.TotalServers"), Some(2.0));
    assert!(value(&sink, "backend.app.chkdown").is_some());
    // The listener called FRONTEND counts the same sessions, which must not be added.
    wait_until("three sessions", || value(&sink, "frontend.web.stot") >= Some(3.0));
    assert_eq!(value(&sink, "frontend.web.stot"), Some(3.0));
    // Numbers in the description are text, and the second socket does not count.
    let tasks = value(&sink, "daemon.Tasks").unwrap();
    assert!(tasks < 1000.0, "{tasks} tasks");
    assert_eq!(value(&sink, "daemon.Maxconn"), maxconn(&scene), "one process, not two");
    assert_eq!(value(&sink, "haproxystats.DamagedFiles"), Some(0.0));
    assert_eq!(value(&sink, "haproxystats.MissingEndpoints"), Some(0.0));
    // The long name is short in a path, and the same in every snapshot.
    let parts: std::collections::BTreeSet<String> = sink
        .lines()
        .iter()
        .filter_map(|line| line.strip_prefix("e2e.haproxy.backend.app.server.pod:"))
        .filter_map(|rest| Some(rest.split_once('.')?.0.to_owned()))
        .collect();
    assert_eq!(parts.len(), 1, "{parts:?}");
    assert!(parts.iter().all(|part| part.len() + "pod:".len() == 250), "{parts:?}");

    let log = process.log();
    assert_eq!(count(&log, "are sockets of one process"), 1, "{log}");
    assert_eq!(count(&log, "too long for a file's name"), 1, "{log}");
    assert_eq!(count(&log, "damaged file"), 0, "{log}");
    pull.finish();
    scene.wait_for_empty_spool();
    process.finish();
    drop(haproxy);
}

fn maxconn(scene: &Scene) -> Option<f64> {
    let socket = scene.path().join("sockets/admin.sock");
    let mut stream = std::os::unix::net::UnixStream::connect(socket).ok()?;
    writeln!(stream, "show info").ok()?;
    // The description is not UTF-8.
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let answer = String::from_utf8_lossy(&answer);
    answer.lines().find_map(|line| line.strip_prefix("Maxconn: ")?.parse().ok())
}

const STAT: &str = "# pxname,svname,stot,type,\nwww,FRONTEND,7,0,\n\n";

fn publish(scene: &Scene, timestamp: u64, files: &[(&str, &str)]) {
    let staged = scene.path().join("staged");
    fs::create_dir(&staged).unwrap();
    for (name, text) in files {
        fs::write(staged.join(name), text).unwrap();
    }
    fs::rename(staged, scene.incoming().join(timestamp.to_string())).unwrap();
}

fn own_lines(sink: &Sink, timestamp: u64) -> Vec<String> {
    let end = format!(" {timestamp}");
    let lines = sink.lines().into_iter().filter(|line| line.ends_with(&end));
    let own = lines.filter_map(|line| {
        let path = line.split(' ').next()?.strip_prefix("e2e.haproxy.haproxystats.")?.to_owned();
        Some(path)
    });
    own.collect()
}

/// As in the original, a part without a file has no `haproxystats.…` lines.
#[test]
fn a_snapshot_without_a_kind_of_file_has_no_own_lines_of_that_part() {
    let (scene, sink) = (Scene::new(), Sink::start(Manner::Whole));
    publish(&scene, 1_700_000_000, &[("a_stat", STAT)]);
    publish(&scene, 1_700_000_001, &[("a_info", "Process_num: 1\nTasks: 5\n\n")]);
    let process = scene.process(&scene.config(sink.port, 1, ""));
    scene.wait_until_delivered();
    process.finish();
    let of_info = |path: &String| path.ends_with("HAProxy");
    let of_stat = |path: &String| {
        ["Frontend", "Backend", "Server", "AllStats"].iter().any(|part| path.contains(part))
    };
    let stat_alone = own_lines(&sink, 1_700_000_000);
    assert!(!stat_alone.iter().any(of_info) && stat_alone.iter().any(of_stat), "{stat_alone:?}");
    let info_alone = own_lines(&sink, 1_700_000_001);
    assert!(!info_alone.iter().any(of_stat) && info_alone.iter().any(of_info), "{info_alone:?}");
    for lines in [stat_alone, info_alone] {
        assert!(lines.iter().any(|path| path == "TotalWallClockTime"), "{lines:?}");
    }
}

/// Three of four processes have a socket, because systemd-tmpfiles removes old sockets.
#[test]
fn processes_without_a_socket_are_counted_and_told_once() {
    let (scene, sink) = (Scene::new(), Sink::start(Manner::Whole));
    let info = |number: u32| {
        format!(
            "Nbproc: 4\nProcess_num: {number}\nPid: {number}\nUptime_sec: 9\nnode: n\nTasks: 1\n\n"
        )
    };
    let texts = [1, 2, 4].map(info);
    for timestamp in 1_700_000_000..1_700_000_009 {
        let files = ["1_info", "2_info", "4_info"];
        let files: Vec<_> = files.into_iter().zip(texts.iter().map(String::as_str)).collect();
        publish(&scene, timestamp, &files);
    }
    let process = scene.process(&scene.config(sink.port, 2, ""));
    scene.wait_until_delivered();
    assert_eq!(value(&sink, "haproxystats.MissingEndpoints"), Some(1.0));
    assert_eq!(count(&process.log(), "has 4 processes (Nbproc)"), 1, "{}", process.log());
    process.finish();
}

#[test]
fn a_file_that_is_damaged_in_every_snapshot_is_told_once_and_once_when_it_is_whole() {
    let (scene, sink) = (Scene::new(), Sink::start(Manner::Whole));
    let process = scene.process(&scene.config(sink.port, 4, ""));
    let publish_and_wait = |seconds: std::ops::Range<u64>, bad: &str| {
        for timestamp in seconds {
            publish(&scene, timestamp, &[("a_stat", STAT), ("b_stat", bad)]);
            scene.wait_until_delivered();
        }
    };
    publish_and_wait(1_700_000_000..1_700_000_020, "Permission denied\n\n");
    publish_and_wait(1_700_000_020..1_700_000_025, STAT);
    let log = process.log();
    assert_eq!(count(&log, "damaged file"), 1, "{log}");
    assert_eq!(count(&log, "found no more"), 1, "{log}");
    process.finish();
}

/// A name of more than 250 bytes reaches a whisper file; carbon used to fail for each point.
#[test]
fn a_long_name_reaches_a_whisper_file() {
    let servers = ["carbon-cache", "whisper-fetch"];
    let Some([carbon_cache, whisper_fetch]) = installed("long names", servers) else { return };
    let scene = Scene::new();
    let carbon = Carbon::start(&carbon_cache, &whisper_fetch, scene.path());
    let server = format!("pod:{}", "y".repeat(400));
    let stat = format!("# pxname,svname,stot,type,\napp,{server},7,2,\n\n");
    publish(&scene, now(), &[("a_stat", &stat)]);
    let process = scene.process(&scene.config(carbon.port, 1, ""));
    let folder = carbon.storage.join("e2e/haproxy/backend/app/server");
    wait_until("a whisper file", || has_whisper_file(&folder));
    process.finish();
}

fn has_whisper_file(folder: &Path) -> bool {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path().join("stot.wsp")).any(|file| file.is_file())
}

fn now() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.unwrap().as_secs()
}
