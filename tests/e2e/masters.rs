//! The real HAProxy with a master CLI: three generations of workers after two reloads, with
//! sessions that a test holds, and their sums in Graphite's lines.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

use rustix::process::Signal;

use crate::scene::Scene;
use crate::sink::{Manner, Sink};
use crate::support::{PULL, Program, free_ports, installed, run, send, wait_until};

/// What is summed, by the kind of row.
const FRONTEND: [&str; 5] = ["scur", "stot", "bin", "bout", "conn_tot"];
const BACKEND: [&str; 5] = ["scur", "stot", "bin", "bout", "lbtot"];

/// A HAProxy in front of a server that keeps each session.
struct Stage {
    haproxy: Program,
    sockets: PathBuf,
    port: u16,
    /// The server's ends of the sessions.
    _held: Arc<Mutex<Vec<TcpStream>>>,
}

impl Stage {
    fn start(program: &str, scene: &Scene) -> Self {
        let sockets = scene.path().join("sockets");
        std::fs::create_dir(&sockets).unwrap();
        let origin = TcpListener::bind("127.0.0.1:0").unwrap();
        let [port] = free_ports();
        let config = format!(
            "global\n  stats socket {}/admin.sock level admin\ndefaults\n  mode tcp\n  \
             timeout connect 60s\n  timeout client 600s\n  timeout server 600s\nfrontend web\n  \
             bind 127.0.0.1:{port}\n  default_backend app\nbackend app\n  \
             server s1 127.0.0.1:{} check inter 100ms\n",
            sockets.display(),
            origin.local_addr().unwrap().port()
        );
        let held = Arc::new(Mutex::new(Vec::new()));
        let all = Arc::clone(&held);
        thread::spawn(move || {
            for stream in origin.incoming().flatten() {
                let mut echo = stream.try_clone().unwrap();
                all.lock().unwrap().push(stream);
                thread::spawn(move || {
                    let mut buffer = [0; 1024];
                    while let Ok(count @ 1..) = echo.read(&mut buffer) {
                        let _ = echo.write_all(&buffer[..count]);
                    }
                    let _ = echo.shutdown(Shutdown::Both);
                });
            }
        });
        let config = scene.write("haproxy.cfg", &config);
        let master = sockets.join("master.sock");
        let arguments: [&OsStr; 6] = [
            "-db".as_ref(),
            "-W".as_ref(),
            "-S".as_ref(),
            master.as_os_str(),
            "-f".as_ref(),
            config.as_os_str(),
        ];
        let haproxy = Program::start(program, &arguments, &[], scene.path(), "haproxy");
        let stage = Self { haproxy, sockets, port, _held: held };
        wait_until("a worker behind the master", || stage.answering().len() == 1);
        stage
    }

    fn ask(&self, command: &str) -> String {
        let ask = || {
            let mut stream = UnixStream::connect(self.sockets.join("master.sock")).ok()?;
            stream.write_all(format!("{command}\n").as_bytes()).ok()?;
            stream.shutdown(Shutdown::Write).ok()?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).ok()?;
            Some(answer)
        };
        ask().unwrap_or_default()
    }

    /// The workers by generation: current ones, and old ones.
    fn workers(&self) -> [BTreeSet<i32>; 2] {
        let list = self.ask("show proc");
        let section = |title: &str| {
            let rows = list.lines().skip_while(move |line| line.trim() != title).skip(1);
            let rows = rows.take_while(|line| !line.starts_with('#') && !line.is_empty());
            rows.map(|row| row.split(' ').next().unwrap().parse().unwrap()).collect()
        };
        [section("# workers"), section("# old workers")]
    }

    /// The workers that answer.
    fn answering(&self) -> Vec<i32> {
        let all = self.workers().concat();
        let answers = |pid: &i32| self.ask(&format!("@!{pid} show info")).starts_with("Name: ");
        all.into_iter().filter(answers).collect()
    }

    /// Opens sessions through the newest worker, with some bytes each way.
    fn sessions(&self, count: usize) -> Vec<TcpStream> {
        let open = |_| {
            let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
            stream.write_all(b"hello").unwrap();
            stream.read_exact(&mut [0; 5]).unwrap();
            stream
        };
        (0..count).map(open).collect()
    }

    /// Reloads, and waits until the new worker answers and the old one takes no connections.
    fn reload(&self) {
        let before = self.workers().concat();
        let answering = |pid: &i32| self.ask(&format!("@!{pid} show info"));
        self.haproxy.signal(Signal::USR2);
        wait_until("a new worker", || {
            let [current, old] = self.workers();
            let is_new = |pid: &i32| !before.contains(pid) && answering(pid).contains("Name: ");
            let stops = |pid: &i32| answering(pid).contains("\nStopping: 1\n");
            current.len() == 1 && current.iter().all(is_new) && old.iter().all(stops)
        });
    }

    /// The sums over all workers, calculated from their own answers without the programs' code.
    fn sums(&self) -> BTreeMap<String, f64> {
        let mut sums = BTreeMap::new();
        for pid in self.workers().concat() {
            let answer = self.ask(&format!("@!{pid} show stat"));
            let mut lines = answer.lines();
            let header: Vec<&str> =
                lines.next().unwrap().trim_start_matches("# ").split(',').collect();
            for line in lines.filter(|line| !line.is_empty()) {
                let row: BTreeMap<&str, &str> =
                    header.iter().copied().zip(line.split(',')).collect();
                let (path, metrics) = match row["svname"] {
                    "FRONTEND" => (format!("frontend.{}", row["pxname"]), FRONTEND),
                    "BACKEND" => (format!("backend.{}", row["pxname"]), BACKEND),
                    server => (format!("backend.{}.server.{server}", row["pxname"]), BACKEND),
                };
                for metric in metrics {
                    let value: f64 = row[metric].parse().unwrap_or(0.0);
                    *sums.entry(format!("{path}.{metric}")).or_default() += value;
                }
            }
        }
        sums
    }
}

trait Concat {
    fn concat(self) -> Vec<i32>;
}

impl Concat for [BTreeSet<i32>; 2] {
    fn concat(self) -> Vec<i32> {
        self.into_iter().flatten().collect()
    }
}

/// The lines of the newest snapshot that is whole, by path below `e2e.haproxy.`.
fn newest(sink: &Sink) -> BTreeMap<String, f64> {
    let mut by_second: BTreeMap<u64, BTreeMap<String, f64>> = BTreeMap::new();
    for line in sink.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let Some(path) = words[0].strip_prefix("e2e.haproxy.") else { continue };
        // The program's own figures between snapshots are not of a snapshot.
        if path.starts_with("haproxystats.process.") {
            continue;
        }
        let second = by_second.entry(words[2].parse().unwrap()).or_default();
        second.insert(path.to_owned(), words[1].parse().unwrap());
    }
    let is_whole = |lines: &BTreeMap<String, f64>| {
        lines.contains_key("frontend.web.scur") && lines.contains_key("haproxystats.OldWorkers")
    };
    by_second.into_values().rev().find(is_whole).unwrap_or_default()
}

fn config(scene: &Scene, port: u16, pull: &str) -> PathBuf {
    let config = scene.config(port, 1, "");
    let text = std::fs::read_to_string(&config).unwrap();
    let pull = format!(
        "[pull]\npull-interval = 1\ntimeout = 5\npull-timeout = 20\n{pull}\n\
         dst-dir = {0}/incoming\ntmp-dst-dir = {0}/incoming.tmp\n",
        scene.path().display()
    );
    let text = text.replace("[graphite]", "server-states = true\n[graphite]");
    scene.write("haproxystats.conf", &format!("{text}{pull}"))
}

fn assert_sums(stage: &Stage, sink: &Sink, sessions: f64, old: f64) {
    let what = format!("{sessions} sessions, {old} old workers");
    wait_until(&what, || {
        let lines = newest(sink);
        lines.get("frontend.web.scur") == Some(&sessions)
            && lines.get("haproxystats.OldWorkers") == Some(&old)
    });
    // The bytes of the last sessions are counted by now, or in a snapshot soon.
    let mut differences = Vec::new();
    let what = format!("the sums by hand, with {what}");
    wait_until(&what, || {
        let (lines, sums) = (newest(sink), stage.sums());
        assert_eq!(sums["frontend.web.scur"], sessions, "{sums:?}");
        differences = sums
            .into_iter()
            .filter(|(path, sum)| lines.get(path) != Some(sum))
            .map(|(path, sum)| (lines.get(&path).copied(), sum, path))
            .collect();
        differences.is_empty()
    });
}

/// The sums hold old and new workers, whether the master is named or found beside the stats socket.
#[test]
fn three_generations_of_workers_are_summed() {
    let Some([program]) = installed("masters", ["haproxy"]) else { return };
    for named in [true, false] {
        let (scene, sink) = (Scene::new(), Sink::start(Manner::Whole));
        let stage = Stage::start(&program, &scene);
        let sockets = stage.sockets.display();
        let pull = if named {
            format!("masters = unix://{sockets}/master.sock")
        } else {
            format!("socket-dir = {sockets}")
        };
        let config = config(&scene, sink.port, &pull);
        let process = scene.process(&config);
        let pull = scene.pull(&config);

        let first = stage.sessions(3);
        assert_sums(&stage, &sink, 3.0, 0.0);
        stage.reload();
        let second = stage.sessions(2);
        assert_sums(&stage, &sink, 5.0, 1.0);
        let oldest = *stage.workers()[1].first().unwrap();
        stage.reload();
        let third = stage.sessions(1);
        let [current, old] = stage.workers();
        assert_eq!((current.len(), old.len()), (1, 2), "three generations live");
        assert_sums(&stage, &sink, 6.0, 2.0);
        let lines = newest(&sink);
        assert_eq!(lines["daemon.CurrConns"], 6.0, "{lines:?}");
        // A limit is that of the current worker, its server is up once.
        let info = stage.ask(&format!("@!{} show info", current.first().unwrap()));
        let maxconn = info.lines().find_map(|line| line.strip_prefix("Maxconn: ")).unwrap();
        assert_eq!(lines["daemon.Maxconn"].to_string(), maxconn);
        assert_eq!(lines["backend.app.servers.up"], 1.0);
        assert_eq!(lines["backend.app.server.s1.up"], 1.0);
        assert_eq!(lines["haproxystats.MissingEndpoints"], 0.0);
        assert_eq!(lines["haproxystats.KeptWorkers"], 0.0);
        assert!(!lines.keys().any(|path| path.contains("process.") && path.contains('@')));

        // The second generation's worker is not the oldest, which is killed.
        assert!(old.contains(&oldest));
        send(oldest, Signal::KILL);
        wait_until("the end of a worker", || stage.workers()[1].len() == 1);
        assert_sums(&stage, &sink, 3.0, 1.0);
        drop(second);
        wait_until("the end of old workers", || stage.workers()[1].is_empty());
        assert_sums(&stage, &sink, 1.0, 0.0);

        let lines = newest(&sink);
        assert_eq!(lines["haproxystats.PullFailures"], 0.0, "{}", pull.log());
        assert_eq!(lines["haproxystats.PullEndpointFailures"], 0.0, "{}", pull.log());
        assert!(!pull.log().contains("no answer"), "{}", pull.log());
        assert!(!process.log().contains("second socket"), "{}", process.log());
        assert_checked(&config, if named { "master.sock " } else { "admin.sock " });
        drop((first, third));
        pull.finish();
        process.finish();
    }
}

/// `--check` asks a current worker through the master.
fn assert_checked(config: &Path, socket: &str) {
    let outcome = run(PULL, &["-f", config.to_str().unwrap(), "--check"]);
    assert_eq!(outcome.code, Some(0), "{}{}", outcome.stdout, outcome.stderr);
    for socket in [socket, "master.sock "] {
        let line = outcome.stdout.lines().find(|line| line.contains(socket));
        assert!(line.is_some_and(|line| line.contains(" ok")), "{}", outcome.stdout);
    }
}

/// Between two cycles with servers the lines of frontends and backends go on, and those of servers
/// are absent, not 0.
#[test]
fn servers_have_lines_in_each_nth_cycle_alone() {
    let Some([program]) = installed("masters", ["haproxy"]) else { return };
    let (scene, sink) = (Scene::new(), Sink::start(Manner::Whole));
    let stage = Stage::start(&program, &scene);
    let socket = stage.sockets.join("admin.sock");
    let options = format!("servers = unix://{}\nservers-interval = 3", socket.display());
    let config = config(&scene, sink.port, &options);
    let _sessions = stage.sessions(2);
    let process = scene.process(&config);
    let pull = scene.pull(&config);
    let of = |path: &str| {
        let start = format!("e2e.haproxy.{path} ");
        let lines = sink.lines().into_iter().filter(|line| line.starts_with(&start));
        lines.map(|line| line[start.len()..].to_owned()).collect::<Vec<_>>()
    };
    wait_until("seven snapshots", || of("backend.app.scur").len() >= 7);
    wait_until("three of them with servers", || of("backend.app.server.s1.scur").len() >= 3);
    pull.finish();
    scene.wait_for_empty_spool();
    process.finish();
    let cycles = of("backend.app.scur").len();
    assert_eq!(of("frontend.web.scur").len(), cycles);
    for path in ["server.s1.scur", "server.s1.up", "servers.up", "TotalServers"] {
        let lines = of(&format!("backend.app.{path}"));
        assert_eq!(lines.len(), cycles.div_ceil(3), "{path}: {lines:?}");
        assert!(lines.iter().all(|line| !line.starts_with("0 ")), "{path}: {lines:?}");
    }
    assert!(of("backend.app.scur").iter().all(|line| line.starts_with("2 ")));
}
