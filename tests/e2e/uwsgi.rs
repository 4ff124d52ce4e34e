//! The real uWSGI by TCP, UNIX sockets and HTTP, asked without any HAProxy; and stats servers that
//! break, cut or delay their answers.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::thread;

use testbed::names;

use crate::influxdb::telegraf::{FieldType, pair, split, types};
use crate::scene::Scene;
use crate::support::{Outcome, PROCESS, PULL, Program, free_ports, installed, run, wait_until};

pub(crate) const UWSGI: &str = "uwsgi_python3";

/// `/held` answers once the file `go` is there, and `/broken` raises.
const APPLICATION: &str = r#"
import os, time

def application(environ, respond):
    if environ["PATH_INFO"] == "/held":
        open("begun", "w").close()
        while not os.path.exists("go"):
            time.sleep(0.01)
    if environ["PATH_INFO"] == "/broken":
        raise RuntimeError("on purpose")
    respond("200 OK", [("Content-Type", "text/plain")])
    return [b"hello\n"]
"#;

/// A uWSGI with one application.
pub(crate) struct Uwsgi {
    program: Program,
    port: u16,
}

impl Uwsgi {
    pub(crate) fn start(
        program: &str,
        scene: &Scene,
        name: &str,
        port: u16,
        stats: &[&str],
    ) -> Self {
        let file = scene.write(&format!("{name}/application.py"), APPLICATION);
        let folder = file.parent().unwrap().to_str().unwrap();
        let socket = format!("127.0.0.1:{port}");
        let mut arguments = vec!["--http-socket", &socket, "--wsgi-file", file.to_str().unwrap()];
        arguments.extend(["--master", "--no-orphans", "--memory-report", "--chdir", folder]);
        arguments.extend(stats);
        let arguments: Vec<_> = arguments.iter().map(AsRef::as_ref).collect();
        let program = Program::start(program, &arguments, &[], scene.path(), name);
        wait_until("its stats server", || program.log().contains("Stats server enabled"));
        Self { program, port }
    }

    /// Sends a request and returns the connection, on which the answer comes.
    fn request(&self, target: &[u8], headers: &str) -> TcpStream {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let request = [b"GET ", target, b" HTTP/1.0\r\n", headers.as_bytes(), b"\r\n"].concat();
        stream.write_all(&request).unwrap();
        stream
    }

    pub(crate) fn get(&self, target: &str) {
        let mut answer = Vec::new();
        self.request(target.as_bytes(), "").read_to_end(&mut answer).unwrap();
    }
}

fn config(scene: &Scene, servers: &str, options: &str) -> PathBuf {
    let base = scene.path().display();
    let text = format!(
        "[pull]\nhost-name = lb1\npull-interval = 1\ntimeout = 20\n\
         dst-dir = {base}/incoming\ntmp-dst-dir = {base}/incoming.tmp\n{options}\
         [uwsgi]\nservers = {servers}\n[process]\nsrc-dir = {base}/incoming\n\
         [graphite]\nnamespace = e2e\n"
    );
    scene.write("haproxystats.conf", &text)
}

pub(crate) fn once(scene: &Scene, config: &Path) -> PathBuf {
    let directory = scene.path().join("looks");
    let arguments = ["-f", config.to_str().unwrap(), "--once", directory.to_str().unwrap()];
    let outcome = run(PULL, &arguments);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    outcome.stdout.trim().into()
}

pub(crate) fn render(config: &Path, form: &str, snapshot: &Path) -> String {
    let arguments = ["-f", config.to_str().unwrap(), "--render", form, snapshot.to_str().unwrap()];
    let Outcome { code, stdout, stderr } = run(PROCESS, &arguments);
    assert_eq!(code, Some(0), "{stderr}");
    stdout
}

/// The values of Graphite's lines, by path.
fn values(lines: &str) -> BTreeMap<String, String> {
    let value = |line: &str| {
        let mut words = line.split(' ');
        let path = words.next().unwrap().strip_prefix("e2e.lb1.uwsgi.")?.to_owned();
        Some((path, words.next().unwrap().to_owned()))
    };
    lines.lines().filter_map(value).collect()
}

#[test]
fn applications_by_tcp_unix_and_http_are_read_exactly() {
    let Some([program]) = installed("the real uWSGI", [UWSGI]) else { return };
    let scene = Scene::without_spool();
    let ports: [u16; 5] = free_ports();
    let [tcp, http] = [ports[3], ports[4]].map(|port| format!("127.0.0.1:{port}"));
    let unix = scene.path().join("sockets/blog.stats");
    fs::create_dir(scene.path().join("sockets")).unwrap();
    let start = |name, port, stats: &[&str]| Uwsgi::start(&program, &scene, name, port, stats);
    let shop = start("shop", ports[0], &["--stats", &tcp, "--processes", "2"]);
    let cheap = ["--processes", "3", "--cheaper", "1", "--cache2", "name=pages,items=10"];
    let blog =
        start("blog", ports[1], &[&["--stats", unix.to_str().unwrap()][..], &cheap].concat());
    let api = start("api", ports[2], &["--stats", &http, "--stats-http", "--stats-minified"]);
    let pattern = format!("{}/sockets/*.stats", scene.path().display());
    let servers = format!("shop=tcp://{tcp}, api=http://{http}, {pattern}");
    let config = config(&scene, &servers, "");

    // Known counts.
    for _ in 0..5 {
        shop.get("/");
    }
    shop.get("/broken");
    shop.get("/broken");
    let held = blog.request(b"/held?a=\x01\xff\"", "Cookie: secret=\"geheim\"\r\n");
    wait_until("a request that is held", || scene.path().join("blog/begun").exists());

    let checked = run(PULL, &["-f", config.to_str().unwrap(), "--check"]);
    assert_eq!((checked.code, &*checked.stderr), (Some(0), ""), "{}", checked.stdout);
    let rows: Vec<Vec<&str>> =
        checked.stdout.lines().skip(1).map(|line| line.split_whitespace().collect()).collect();
    let addresses =
        [format!("tcp://{tcp}"), format!("http://{http}"), format!("unix://{}", unix.display())];
    assert_eq!(rows.len(), 3, "{}", checked.stdout);
    for ((row, address), uwsgi) in rows.iter().zip(&addresses).zip([&shop, &api, &blog]) {
        let master = uwsgi.program.pid().to_string();
        assert_eq!([row[0], row[1], row[3], row[6]], [address.as_str(), "uwsgi", &master, "ok"]);
        assert!(row[2].starts_with("2."), "{row:?}");
    }

    // uWSGI counts a request after its answer.
    let mut snapshot = PathBuf::new();
    wait_until("the counts of the requests", || {
        snapshot = once(&scene, &config);
        let values = values(&render(&config, "graphite", &snapshot));
        values["shop.requests"] == "7" && values["shop.busy_workers"] == "0"
    });
    let files: Vec<_> =
        names(&snapshot).into_iter().filter(|name| name.ends_with("_uwsgi")).collect();
    assert_eq!(files, ["api_uwsgi", "blog_uwsgi", "shop_uwsgi"]);
    for file in &files {
        let bytes = fs::read(snapshot.join(file)).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        assert!(!text.contains("geheim") && !text.contains("held"), "{text}");
    }
    let values = values(&render(&config, "graphite", &snapshot));
    for (path, value) in [
        ("shop.requests", "7"),
        ("shop.exceptions", "2"),
        ("shop.workers_total", "2"),
        ("shop.busy_workers", "0"),
        ("shop.listen_queue", "0"),
        ("blog.busy_workers", "1"),
        ("blog.cheap_workers", "2"),
        ("blog.workers.1.cores.0.in_request", "1"),
        ("blog.workers.3.pid", "0"),
        ("blog.caches.pages.max_items", "10"),
        ("api.requests", "0"),
        ("api.workers_total", "1"),
    ] {
        assert_eq!(values.get(path).map(String::as_str), Some(value), "{path} of {values:#?}");
    }
    let number = |path: &str| values[path].parse::<f64>().unwrap();
    let of_workers = ["shop.workers.1.requests", "shop.workers.2.requests"].map(number);
    assert_eq!(of_workers.iter().sum::<f64>(), 7.0);
    assert!(number("shop.rss") >= number("shop.rss_max") && number("shop.rss_max") > 1e6);
    assert!(number("shop.avg_rt") > 0.0 && number("shop.tx") > 0.0);
    fs::write(scene.path().join("blog/go"), "").unwrap();
    drop(held);
}

#[test]
fn a_file_has_the_requests_of_the_cycle_before() {
    let Some([program]) = installed("uWSGI: two cycles", [UWSGI]) else { return };
    let scene = Scene::without_spool();
    let [port, stats] = free_ports();
    let stats = format!("127.0.0.1:{stats}");
    let uwsgi = Uwsgi::start(&program, &scene, "shop", port, &["--stats", &stats]);
    uwsgi.get("/");
    wait_until("a request that counts", || {
        let mut document = String::new();
        TcpStream::connect(&stats).unwrap().read_to_string(&mut document).unwrap();
        document.contains("\"requests\":1")
    });
    let config = config(&scene, &format!("shop=tcp://{stats}"), "");
    let pull = scene.pull(&config);
    let snapshots = || names(&scene.incoming());
    wait_until("two snapshots", || scene.incoming().exists() && snapshots().len() >= 2);
    pull.finish();
    let first_line = |snapshot: &String| {
        let file = scene.incoming().join(snapshot).join("shop_uwsgi");
        fs::read_to_string(file).unwrap().lines().next().unwrap().to_owned()
    };
    let snapshots = snapshots();
    assert_eq!(first_line(&snapshots[0]), "{\"haproxystats\":1}");
    let master = uwsgi.program.pid();
    let expected = format!("{{\"haproxystats\":1,\"master\":{master},\"requests\":[1]}}");
    assert_eq!(first_line(&snapshots[1]), expected);
}

/// The series of telegraf's measurements, with the types of their fields.
fn series(lines: &str) -> BTreeMap<BTreeSet<String>, BTreeMap<String, FieldType>> {
    let mut all = BTreeMap::new();
    for line in lines.lines() {
        let parts = split(line, ' ');
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let [series, fields, _time] = parts.as_slice() else { panic!("{line}") };
        let series = split(series, ',');
        let is_telegrafs = ["uwsgi_overview", "uwsgi_workers", "uwsgi_apps", "uwsgi_cores"]
            .contains(&series[0].as_str());
        if is_telegrafs {
            // Telegraf's source is the address.
            let is_compared = |part: &&String| !part.contains('=') || pair(part).0 != "source";
            let series = series.iter().filter(is_compared).cloned().collect();
            assert!(all.insert(series, types(fields)).is_none(), "{line}");
        }
    }
    all
}

#[test]
fn points_of_uwsgi_are_telegrafs_in_names_tags_and_types() {
    let programs = [UWSGI, "telegraf"];
    let Some([program, telegraf]) = installed("uWSGI: telegraf", programs) else { return };
    let scene = Scene::without_spool();
    let [port, stats] = free_ports();
    let stats = format!("127.0.0.1:{stats}");
    let options = ["--stats", &stats, "--processes", "2", "--threads", "2"];
    let uwsgi = Uwsgi::start(&program, &scene, "shop", port, &options);
    uwsgi.get("/");
    let text = format!(
        "[agent]\nhostname = \"lb1\"\n[[inputs.uwsgi]]\nservers = [\"tcp://{stats}\"]\n\
         [[outputs.file]]\nfiles = [\"stdout\"]\ndata_format = \"influx\"\n"
    );
    let file = scene.write("telegraf.conf", &text);
    let theirs = run(&telegraf, &["--config", file.to_str().unwrap(), "--once", "--quiet"]);
    assert_eq!(theirs.code, Some(0), "{}", theirs.stderr);
    let config = config(&scene, &format!("shop=tcp://{stats}"), "");
    let ours = render(&config, "influx", &once(&scene, &config));
    let theirs = series(&theirs.stdout);
    // An overview; two workers, each with an app and two cores.
    assert_eq!(theirs.len(), 1 + 2 + 2 + 4);
    assert_eq!(series(&ours), theirs);
    assert!(ours.contains(",source=shop,") || ours.contains(",source=shop "), "{ours}");
}

/// A stats server that sends these bytes to each connection, and then closes or keeps it open.
fn serve(socket: &Path, answer: &'static [u8], closes: bool) {
    let listener = UnixListener::bind(socket).unwrap();
    thread::spawn(move || {
        let mut kept = Vec::new();
        for mut stream in listener.incoming().flatten() {
            let _ = stream.write_all(answer);
            if !closes {
                kept.push(stream);
            }
        }
    });
}

#[test]
fn an_application_that_fails_costs_no_other_one_and_says_why() {
    const WHOLE: &[u8] = b"{\"version\":\"2.0\",\"pid\":7,\"workers\":[{\"id\":1,\"requests\":3}]}";
    let scene = Scene::without_spool();
    let at = |name: &str| scene.path().join(name);
    serve(&at("good.stats"), WHOLE, true);
    serve(&at("cut.stats"), &WHOLE[..WHOLE.len() - 2], true);
    serve(&at("broken.stats"), b"{\"cwd\":\"/a\"b\",\"workers\":[{\"vars\":[\"geheim\"]}]}", true);
    serve(&at("slow.stats"), b"{\"workers\":[", false);
    let servers = format!("{}/*.stats", scene.path().display());
    let partial = config(&scene, &servers, "pull-timeout = 5\n");
    let checked = run(PULL, &["-f", partial.to_str().unwrap(), "--check"]);
    assert_eq!(checked.code, Some(1), "{}", checked.stdout);
    for reason in
        ["is no JSON from byte", "before its last bracket", "not done within pull-timeout"]
    {
        assert_eq!(checked.stdout.matches(reason).count(), 1, "{}", checked.stdout);
    }
    assert!(!checked.stdout.contains("geheim"), "{}", checked.stdout);
    let snapshot = once(&scene, &partial);
    let files = names(&snapshot);
    assert!(files.contains(&"good_uwsgi".to_owned()) && files.len() == 2, "{files:?}");
    let values = values(&render(&partial, "graphite", &snapshot));
    assert_eq!(values["good.requests"], "3");

    let text = fs::read_to_string(&partial).unwrap();
    let strict = text.replace("[process]", "allow-partial = false\n[process]");
    let strict = scene.write("strict.conf", &strict);
    let directory = at("strict");
    let arguments = ["-f", strict.to_str().unwrap(), "--once", directory.to_str().unwrap()];
    let outcome = run(PULL, &arguments);
    assert_eq!(outcome.code, Some(2), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("it would not hold every endpoint"), "{}", outcome.stderr);
}
