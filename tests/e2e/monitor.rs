//! The monitor servers of both programs: what they answer over their lives, what hostile clients
//! cost, the address at the start, and the checks of the real HAProxy.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread::{self, JoinHandle};
use std::time::SystemTime;

use rustix::process::Signal;

use crate::scene::{Scene, assert_exact};
use crate::sink::{Manner, Sink};
use crate::support::{PROCESS, PULL, Program, free_ports, installed, run, wait_until};

/// Sends a request and returns all that comes until the close; `None` without a connection.
pub(crate) fn ask(port: u16, request: &str) -> Option<String> {
    let stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    talk(stream, request)
}

fn talk(mut stream: impl Read + Write, request: &str) -> Option<String> {
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

fn health(port: u16) -> String {
    ask(port, "health_check\r\n").unwrap_or_default()
}

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

/// 500 connections that never end their request, and 10 MB of garbage.
struct Attack {
    slow: Vec<TcpStream>,
    garbage: JoinHandle<()>,
}

impl Attack {
    fn start(port: u16) -> Self {
        let connect = move || TcpStream::connect(("127.0.0.1", port)).unwrap();
        let slow = (0..500).map(|_| {
            let mut stream = connect();
            // Older ones are closed meanwhile, which may be seen here.
            let _ = stream.write_all(b"health_");
            stream
        });
        let slow = slow.collect();
        let garbage = thread::spawn(move || {
            let piece = vec![b'x'; 1 << 16];
            let mut left: usize = 10 << 20;
            while left > 0 {
                let mut stream = connect();
                let mut is_open = true;
                while left > 0 && is_open {
                    is_open = stream.write_all(&piece).is_ok();
                    left = left.saturating_sub(piece.len());
                }
            }
        });
        Self { slow, garbage }
    }

    /// Waits until all garbage is sent; the slow connections stay.
    fn end(self) -> Vec<TcpStream> {
        self.garbage.join().unwrap();
        self.slow
    }
}

/// A configuration of pull for one endpoint, with a cycle each second.
fn pull_config(scene: &Scene, listen: &str, endpoint: u16) -> PathBuf {
    let base = scene.path().display();
    let text = format!(
        "[pull]\nservers = tcp://127.0.0.1:{endpoint}\npull-interval = 1\npull-timeout = 1\n\
         retries = 0\ndst-dir = {base}/incoming\ntmp-dst-dir = {base}/incoming.tmp\n\
         monitor-listen = {listen}\n"
    );
    scene.write("pull.conf", &text)
}

/// Zope's monitor on this port is the simplest endpoint: one line, one answer.
fn zope_config(scene: &Scene, listen: &str, endpoint: u16) -> PathBuf {
    let text = std::fs::read_to_string(pull_config(scene, listen, endpoint)).unwrap();
    let (servers, rest) = text.split_once("\npull-interval").unwrap();
    let address = servers.rsplit_once(" = ").unwrap().1;
    let text = format!("[pull]\npull-interval{rest}[zope]\nservers = shop/i1={address}\n");
    scene.write("pull.conf", &text)
}

#[test]
fn pull_is_healthy_while_snapshots_come_and_says_why_it_is_not() {
    let scene = Scene::without_spool();
    let instance = crate::zope::Monitor::start(|| Some("{\"db\": {\"loads\": 1}}\n".to_owned()));
    let [port, gone] = free_ports();
    let listen = format!("127.0.0.1:{port}");
    let pull = scene.pull(&zope_config(&scene, &listen, instance.port));
    wait_until("a healthy pull", || health(port) == "OK\n");
    let json = ask(port, "perf_metrics zope 60\n").unwrap();
    let figures: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&figures["interval"], &figures["zope"]["endpoints"]), (&60.into(), &1.into()));
    assert!(figures["zope"]["answers"].as_u64() >= Some(1), "{json}");
    assert_eq!(json.lines().count(), 1);
    let all: serde_json::Value =
        serde_json::from_str(&ask(port, "perf_metrics\n").unwrap()).unwrap();
    assert!(all["cycles"]["published"].as_u64() >= Some(1), "{all}");
    let process = ask(port, "monitor\n").unwrap();
    assert!(process.starts_with("haproxystats-pull ") && process.contains("VmRSS:"), "{process}");
    let session = ask(port, "interactive\nnosuch\nquit\n").unwrap();
    assert_eq!(
        session,
        "Interactive mode on.  Use \"quit\" To exit.\nInvalid command 'nosuch'\nTry \"help\".\n\
         Goodbye.\n"
    );
    pull.finish();
    assert_eq!(ask(port, "health_check\n"), None, "nothing listens after the end");

    let pull = scene.pull(&zope_config(&scene, &listen, gone));
    let mut seen = Vec::new();
    wait_until("an error", || {
        let answer = health(port);
        if seen.last() != Some(&answer) {
            seen.push(answer);
        }
        seen.last().unwrap().starts_with("Error: ")
    });
    seen.retain(|answer| !answer.is_empty());
    let reason = seen.pop().unwrap();
    assert!(reason.contains("no endpoint has answered"), "{reason}");
    assert!(seen.iter().all(|answer| answer == "Instance is booting\n"), "{seen:?}");
    pull.finish();
}

#[test]
fn process_tells_of_its_backlog_its_health_and_its_losses() {
    let (scene, sink) = (Scene::new(), Sink::start(Manner::Whole));
    let [port] = free_ports();
    let listen = format!("monitor-listen = unix://{}/m.sock\n", scene.path().display());
    let config = scene.config(sink.port, 1, "");
    let text = std::fs::read_to_string(&config).unwrap();
    let text = text.replace("[process]\n", &format!("[process]\n{listen}"));
    scene.write("haproxystats.conf", &text);
    let ask = |request: &str| {
        let stream = UnixStream::connect(scene.path().join("m.sock")).ok()?;
        talk(stream, request)
    };
    let process = scene.process(&config);
    wait_until("an answer", || ask("health_check\n").is_some());
    assert_eq!(ask("health_check\n").unwrap(), "Instance is booting\n");
    scene.publish(now());
    wait_until("a healthy process", || ask("health_check\n").unwrap() == "OK\n");
    let json = ask("perf_metrics graphite\n").unwrap();
    let figures: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&figures["graphite"]["up"], figures.get("snapshots")), (&1.into(), None), "{json}");
    let all = ask("perf_metrics -\n").unwrap();
    assert!(all.contains("\"snapshots\": {\"folded\": 1,"), "{all}");
    process.finish();

    // A backlog from before the start.
    (1_700_000_000..1_700_000_060).for_each(|second| scene.publish(second));
    let process = scene.process(&config);
    let is = |text: &str| ask("health_check\n").is_some_and(|answer| answer == text);
    wait_until("the first fold of a backlog", || is("Warmup in progress\n"));
    wait_until("the end of the backlog", || is("OK\n"));
    process.finish();

    // The file of the socket stays, and the next start takes its place. The receiver is away, and
    // its outbox keeps one batch.
    let away = text.replace(&format!("port = {}", sink.port), &format!("port = {port}"));
    scene.write("haproxystats.conf", &format!("{away}outbox-size = 1\n"));
    let process = scene.process(&config);
    let mut second = now();
    wait_until("a loss", || {
        second += 1;
        scene.publish(second);
        ask("health_check\n").is_some_and(|answer| answer.starts_with("Error: metrics are lost"))
    });
    assert!(ask("health_check\n").unwrap().contains("for graphite;"));
    process.finish();
}

#[test]
fn hostile_clients_cost_no_delivery() {
    let (scene, sink) = (Scene::new(), Sink::start(Manner::Whole));
    let [port] = free_ports();
    let config = scene.config(sink.port, 1, "");
    let text = std::fs::read_to_string(&config).unwrap();
    let listen = format!("[process]\nmonitor-listen = 127.0.0.1:{port}\n");
    scene.write("haproxystats.conf", &text.replace("[process]\n", &listen));
    let process = scene.process(&config);
    wait_until("an answer", || !health(port).is_empty());
    let attack = Attack::start(port);
    let all: Vec<u64> = (1_700_000_000..1_700_000_010).collect();
    all.iter().for_each(|&second| scene.publish(second));
    scene.wait_until_delivered();
    assert_exact(&sink, &all);
    wait_until("an answer beside the slow ones", || health(port) == "OK\n");
    let _slow = attack.end();
    process.finish();
}

#[test]
fn hostile_clients_cost_no_snapshot() {
    let scene = Scene::without_spool();
    let instance = crate::zope::Monitor::start(|| Some("{\"db\": {\"loads\": 1}}\n".to_owned()));
    let [port] = free_ports();
    let listen = format!("127.0.0.1:{port}");
    let pull = scene.pull(&zope_config(&scene, &listen, instance.port));
    wait_until("a healthy pull", || health(port) == "OK\n");
    let attack = Attack::start(port);
    let before = scene.waiting().len();
    wait_until("three more snapshots", || scene.waiting().len() >= before + 3);
    wait_until("an answer beside the slow ones", || health(port) == "OK\n");
    let _slow = attack.end();
    assert!(!pull.log().contains("WARN"), "{}", pull.log());
    pull.finish();
}

#[test]
fn an_address_that_is_taken_is_a_fault_at_the_start() {
    let scene = Scene::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let pull = pull_config(&scene, &listen, 1);
    let base = scene.path().display();
    let text = format!("[paths]\nbase-dir = {base}\n[process]\nsrc-dir = {base}/incoming\n");
    let process = scene.write("process.conf", &format!("{text}monitor-listen = {listen}\n"));
    for (program, config) in [(PULL, pull), (PROCESS, process)] {
        let outcome = run(program, &["-f", config.to_str().unwrap()]);
        assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
        let message = format!("cannot listen on {listen}: another program has this address");
        assert!(outcome.stderr.contains(&message), "{}", outcome.stderr);
    }
}

#[test]
fn haproxy_takes_a_server_out_when_the_program_stops() {
    let Some([haproxy]) = installed("monitor", ["haproxy"]) else { return };
    let (scene, sink) = (Scene::new(), Sink::start(Manner::Whole));
    let [port] = free_ports();
    let config = scene.config(sink.port, 1, "");
    let text = std::fs::read_to_string(&config).unwrap();
    let listen = format!("[process]\nmonitor-listen = 127.0.0.1:{port}\n");
    scene.write("haproxystats.conf", &text.replace("[process]\n", &listen));
    let socket = scene.path().join("admin.sock");
    let checks = format!(
        "global\n  stats socket {} level admin\ndefaults\n  mode tcp\n  timeout connect 10s\n  \
         timeout client 10s\n  timeout server 10s\nbackend collector\n  option tcp-check\n  \
         tcp-check connect\n  tcp-check send health_check\\r\\n\n  tcp-check expect string OK\n  \
         server lb1 127.0.0.1:{port} check port {port} inter 100ms fall 1 rise 1\n",
        socket.display()
    );
    let checks = scene.write("haproxy.cfg", &checks);
    let arguments = ["-db".as_ref(), "-f".as_ref(), checks.as_os_str()];
    let mut balancer = Program::start(&haproxy, &arguments, &[], scene.path(), "haproxy");
    let row = || {
        let stat = UnixStream::connect(&socket).ok().and_then(|it| talk(it, "show stat\n"));
        let stat = stat.unwrap_or_default();
        stat.lines().find(|line| line.starts_with("collector,lb1,")).map(str::to_owned)
    };
    let has = |text: &str| row().is_some_and(|row| row.contains(text));
    let process = scene.process(&config);
    // Before the first fold the answer is another one, and HAProxy reports it.
    wait_until("DOWN while it boots", || has(",DOWN,") && has("L7RSP"));
    scene.publish(now());
    wait_until("UP", || has(",UP,") && has("L7OK"));
    process.finish();
    wait_until("DOWN after the end", || has(",DOWN,") && has("L4CON"));
    balancer.signal(Signal::TERM);
    balancer.wait();
}
