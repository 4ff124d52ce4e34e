//! Monitors of Zope instances, for which stand-ins speak here: zc.monitor runs on Python 2.7 alone.
//! And the script that prints what ftw.monitor's own script printed.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;

use testbed::names;

use crate::scene::Scene;
use crate::support::{Outcome, PULL, free_ports, installed, run};
use crate::uwsgi::{once, render};

/// A recorded answer, and what the original script printed of it.
const ANSWER: &str = include_str!("../../crates/sources/src/zope/read/dumps/perf_metrics.json");
const RECORDED: &str =
    include_str!("../../crates/sources/src/zope/read/dumps/dump-perf-metrics.txt");

/// A monitor as zc.monitor: it answers the first line and closes.
pub(crate) struct Monitor {
    pub(crate) port: u16,
    /// The lines that were sent to it.
    asked: Arc<Mutex<BTreeSet<String>>>,
}

impl Monitor {
    /// Answers with what `answer` makes at each request; with `None` it keeps the connection open.
    pub(crate) fn start(answer: impl Fn() -> Option<String> + Send + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        Self::on(listener, answer)
    }

    fn on(listener: TcpListener, answer: impl Fn() -> Option<String> + Send + 'static) -> Self {
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(BTreeSet::new()));
        let lines = Arc::clone(&asked);
        thread::spawn(move || {
            let mut kept = Vec::new();
            for stream in listener.incoming().flatten() {
                let mut line = String::new();
                let read = BufReader::new(&stream).read_line(&mut line);
                // The real one loses its reply where the client half-closes at once.
                if read.is_err() || line.is_empty() || has_half_closed(&stream) {
                    continue;
                }
                lines.lock().unwrap().insert(line);
                match answer() {
                    Some(answer) => _ = (&stream).write_all(answer.as_bytes()),
                    None => kept.push(stream),
                }
            }
        });
        Self { port, asked }
    }

    fn of(answer: &'static str) -> Self {
        Self::start(move || Some(answer.to_owned()))
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().iter().cloned().collect()
    }
}

fn has_half_closed(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let has = matches!(stream.peek(&mut [0]), Ok(0));
    stream.set_nonblocking(false).unwrap();
    has
}

fn config(scene: &Scene, zope: &str) -> PathBuf {
    let base = scene.path().display();
    let text = format!(
        "[pull]\nhost-name = lb1\ntimeout = 20\nretries = 0\npull-timeout = 5\n\
         dst-dir = {base}/incoming\ntmp-dst-dir = {base}/incoming.tmp\n\
         [zope]\n{zope}[process]\nsrc-dir = {base}/incoming\n[graphite]\nnamespace = e2e\n"
    );
    scene.write("haproxystats.conf", &text)
}

/// A deployment whose `instance1` has this port for its monitor.
fn deployment(folder: &Path, monitor: u16, instances: &[&str]) {
    fs::create_dir_all(folder.join("parts/supervisor")).unwrap();
    fs::create_dir_all(folder.join("bin")).unwrap();
    // The supervisor is at base + 99, the monitor of instance1 at base + 81.
    let text = format!("[inet_http_server]\nport = 127.0.0.1:{}\n", monitor + 18);
    fs::write(folder.join("parts/supervisor/supervisord.conf"), text).unwrap();
    for instance in instances {
        fs::write(folder.join("bin").join(instance), "").unwrap();
    }
}

/// The lines without those about haproxystats itself.
fn of_zope(lines: &str) -> String {
    let is_of_zope = |line: &&str| line.contains("deployments") || line.contains(".zope.");
    lines.split_inclusive('\n').filter(is_of_zope).collect()
}

#[test]
fn an_instance_gives_the_line_that_the_original_script_printed() {
    let scene = Scene::without_spool();
    let monitor = Monitor::of(ANSWER);
    let servers =
        format!("servers = 01-foo.example.org/instance1=tcp://127.0.0.1:{}\n", monitor.port);
    let config = config(&scene, &format!("{servers}database = catalog\nsampling-interval = 60\n"));
    let checked = run(PULL, &["-f", config.to_str().unwrap(), "--check"]);
    assert_eq!((checked.code, &*checked.stderr), (Some(0), ""), "{}", checked.stdout);
    let row: Vec<&str> = checked.stdout.lines().nth(1).unwrap().split_whitespace().collect();
    let bytes = ANSWER.len().to_string();
    assert_eq!((row[0], row[1]), (&*format!("tcp://127.0.0.1:{}", monitor.port), "zope"));
    assert_eq!(row[row.len() - 2..], [&*bytes, "ok"]);

    let snapshot = once(&scene, &config);
    assert_eq!(monitor.asked(), ["perf_metrics catalog 60\n"]);
    assert!(names(&snapshot).contains(&"01-foo.example.org%2finstance1_zope".to_owned()));
    let line = format!("{}\n", RECORDED.trim_end());
    assert_eq!(of_zope(&render(&config, "influx", &snapshot)), line);
    let seconds = snapshot.file_name().unwrap().to_str().unwrap();
    let (_, fields) = line.trim_end().split_once(' ').unwrap();
    let graphite: String = fields
        .split(',')
        .map(|field| {
            let field = field.replace('=', " ");
            format!("e2e.lb1.zope.01-foo_example_org.instance1.{field} {seconds}\n")
        })
        .collect();
    assert_eq!(of_zope(&render(&config, "graphite", &snapshot)), graphite);
    let json: serde_json::Value =
        serde_json::from_str(&of_zope(&render(&config, "json", &snapshot))).unwrap();
    assert_eq!((&json["kind"], &json["cache.max_size"]), (&"deployments".into(), &30000.into()));
}

#[test]
fn an_instance_that_fails_costs_no_other_one_and_says_why() {
    let scene = Scene::without_spool();
    let good = Monitor::of("{\"db\": {\"loads\": -1, \"x\": 0.12345678901234567}}\r\n");
    let error = Monitor::of("{\"error\": \"Database 'main' disconnected.\"}\n");
    let cut = Monitor::of("{\"db\": {\"loads\": 12");
    let booting = Monitor::of("Instance is booting\n");
    let old = Monitor::of("Invalid command 'perf_metrics'\nTry \"help\".\n");
    let slow = Monitor::start(|| None);
    let [gone] = free_ports();
    let unix = scene.path().join("i.sock");
    let listener = UnixListener::bind(&unix).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut line = String::new();
            if BufReader::new(&stream).read_line(&mut line).is_ok() {
                let _ = (&stream).write_all(b"{\"db\": {\"loads\": 7}}\n");
            }
        }
    });
    let ports = [good.port, error.port, cut.port, booting.port, old.port, slow.port, gone];
    let mut servers: Vec<String> = ports
        .iter()
        .enumerate()
        .map(|(at, port)| format!("shop/instance{}=tcp://127.0.0.1:{port}", at + 1))
        .collect();
    servers.push(format!("blog/i=unix://{}", unix.display()));
    let partial = config(&scene, &format!("servers = {}\n", servers.join(", ")));
    let checked = run(PULL, &["-f", partial.to_str().unwrap(), "--check"]);
    assert_eq!(checked.code, Some(1), "{}", checked.stdout);
    for reason in [
        "the instance has no metrics: \"Database \\'main\\' disconnected.\"",
        "before its last bracket",
        "the answer is \"Instance is booting\" in place of metrics",
        "install ftw.monitor",
        "not done within pull-timeout",
        "start its Zope instance",
    ] {
        assert_eq!(checked.stdout.matches(reason).count(), 1, "{reason}: {}", checked.stdout);
    }
    let snapshot = once(&scene, &partial);
    let files = names(&snapshot);
    let files: Vec<_> = files.iter().filter(|name| name.ends_with("_zope")).collect();
    assert_eq!(files, ["blog%2fi_zope", "shop%2finstance1_zope"]);
    assert_eq!(
        of_zope(&render(&partial, "influx", &snapshot)),
        "deployments,deployment=blog,process=i db.loads=7\n\
         deployments,deployment=shop,process=instance1 db.loads=-1,db.x=0.12345678901234567\n"
    );

    let text = fs::read_to_string(&partial).unwrap();
    let strict = text.replace("[process]", "allow-partial = false\n[process]");
    let strict = scene.write("strict.conf", &strict);
    let directory = scene.path().join("strict");
    let arguments = ["-f", strict.to_str().unwrap(), "--once", directory.to_str().unwrap()];
    let outcome = run(PULL, &arguments);
    assert_ne!(outcome.code, Some(0), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("it would not hold every endpoint"), "{}", outcome.stderr);
}

#[test]
fn folders_without_an_instance_are_told() {
    let scene = Scene::without_spool();
    let base = scene.path().display();
    let config = config(&scene, &format!("deployments = {base}/none/*\n"));
    let checked = run(PULL, &["-f", config.to_str().unwrap(), "--check"]);
    assert_eq!(checked.code, Some(1), "{}", checked.stdout);
    assert!(checked.stderr.contains("no folder of deployments in [zope]"), "{}", checked.stderr);
}

/// Runs the script with this build's programs in its PATH.
fn dump(script: &Path, arguments: &[&Path]) -> Outcome {
    let programs = Path::new(PULL).parent().unwrap().to_owned();
    let system = std::env::var_os("PATH").unwrap();
    let folders = std::iter::once(programs).chain(std::env::split_paths(&system));
    let path: OsString = std::env::join_paths(folders).unwrap();
    let output = Command::new(script).args(arguments).env("PATH", path).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    Outcome {
        code: output.status.code(),
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
    }
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/zope/dump-perf-metrics")
}

#[test]
fn the_script_in_a_deployment_prints_what_the_original_printed() {
    let scene = Scene::without_spool();
    let monitor = Monitor::of(ANSWER);
    let odd = "a b,c=d*$x";
    for name in ["01-foo.example.org", odd] {
        let folder = scene.path().join("zope").join(name);
        deployment(&folder, monitor.port, &["instance0", "instance1"]);
        symlink(script(), folder.join("bin/dump-perf-metrics")).unwrap();
    }
    let linked = |name: &str| scene.path().join("zope").join(name).join("bin/dump-perf-metrics");
    let line = format!("{}\n", RECORDED.trim_end());
    let printed = dump(&linked("01-foo.example.org"), &[]);
    assert_eq!((printed.code, &*printed.stderr, &*printed.stdout), (Some(0), "", &*line));
    assert_eq!(monitor.asked(), ["perf_metrics main 300\n"]);
    // The original printed these letters as they are, which is no valid line.
    let printed = dump(&linked(odd), &[]);
    assert_eq!((printed.code, &*printed.stderr), (Some(0), ""));
    let escaped = line.replace("01-foo.example.org", "a\\ b\\,c\\=d*$x");
    assert_eq!(printed.stdout, escaped);

    // An instance that is gone, and a deployment of which nothing answers.
    let folder = scene.path().join("zope/01-foo.example.org");
    fs::write(folder.join("bin/instance65000"), "").unwrap();
    fs::write(folder.join("bin/instance2"), "").unwrap();
    let printed = dump(&linked("01-foo.example.org"), &[]);
    assert!(printed.stderr.contains("instance65000 would have a port beyond"), "{printed:?}");
    fs::remove_file(folder.join("bin/instance65000")).unwrap();
    let taken = TcpListener::bind(("127.0.0.1", monitor.port + 1));
    let printed = dump(&linked("01-foo.example.org"), &[]);
    if taken.is_err() {
        // Another program has the port of instance2 on this machine.
        return;
    }
    assert_eq!((printed.code, &*printed.stdout), (Some(0), &*line), "{}", printed.stderr);
    assert!(printed.stderr.contains("pull-timeout"), "{}", printed.stderr);
    fs::remove_file(folder.join("bin/instance1")).unwrap();
    let printed = dump(&linked("01-foo.example.org"), &[]);
    assert_eq!((printed.code, &*printed.stdout), (Some(2), ""), "{}", printed.stderr);
    assert!(printed.stderr.contains("no endpoint has answered"), "{}", printed.stderr);
}

#[test]
fn the_script_with_a_file_prints_all_deployments() {
    let scene = Scene::without_spool();
    let monitors = [Monitor::of(ANSWER), Monitor::of(ANSWER)];
    for (name, monitor) in ["01-foo.example.org", "02-bar"].iter().zip(&monitors) {
        deployment(&scene.path().join("zope").join(name), monitor.port, &["instance1"]);
    }
    let named = Monitor::of("{\"a\": {\"b\": 1}}\n");
    let text = format!(
        "deployments = {}/zope/*\nservers = shop/i=tcp://127.0.0.1:{}\n",
        scene.path().display(),
        named.port
    );
    let config = config(&scene, &text);
    let printed = dump(&script(), &[&config]);
    let line = format!("{}\n", RECORDED.trim_end());
    let expected = format!(
        "{line}{}deployments,deployment=shop,process=i a.b=1\n",
        line.replace("01-foo.example.org", "02-bar")
    );
    assert_eq!((printed.code, &*printed.stderr, &*printed.stdout), (Some(0), "", &*expected));
    assert_eq!(dump(&script(), &[&config, &config]).code, Some(64));
    let outside = dump(&script(), &[]);
    assert_eq!(outside.code, Some(64), "{}", outside.stderr);
    assert!(outside.stderr.contains("has no parts/supervisor"), "{}", outside.stderr);
    let missing = dump(&script(), &[&scene.path().join("missing.conf")]);
    assert_eq!((missing.code, &*missing.stdout), (Some(1), ""), "{}", missing.stderr);
}

#[test]
fn the_script_is_clean() {
    let Some([shellcheck]) = installed("dump-perf-metrics: shellcheck", ["shellcheck"]) else {
        return;
    };
    let outcome = run(&shellcheck, &[script().to_str().unwrap()]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stdout);
}
