//! The page for Prometheus against the page of HAProxy's own exporter, of one process.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::thread;

use crate::haproxy::ask;
use crate::scene::Scene;
use crate::support::{Program, data, free_ports, installed, wait_until};
use crate::uwsgi::render;

/// A parsed page: the type of each family, and the value of each series.
#[derive(Debug, Default)]
struct Parsed {
    types: BTreeMap<String, String>,
    series: BTreeMap<String, f64>,
}

impl Parsed {
    /// Parses the text format, and refuses what Prometheus refuses.
    fn of(page: &str) -> Self {
        let mut parsed = Self::default();
        let mut ended = BTreeSet::new();
        let mut current = String::new();
        for line in page.lines() {
            if let Some(header) = line.strip_prefix("# TYPE ") {
                let (name, kind) = header.split_once(' ').unwrap();
                let known = parsed.types.insert(name.to_owned(), kind.to_owned());
                assert_eq!(known, None, "{name} has two types");
            }
            if line.starts_with('#') {
                continue;
            }
            let (series, value) = line.rsplit_once(' ').unwrap();
            let name = series.split('{').next().unwrap();
            assert!(parsed.types.contains_key(name), "{name} has no type");
            if name != current {
                assert!(ended.insert(name.to_owned()), "{name} is not in one place");
                name.clone_into(&mut current);
            }
            let value = value.parse().unwrap_or_else(|_| panic!("{line} has no number"));
            let known = parsed.series.insert(series.to_owned(), value);
            assert_eq!(known, None, "{series} is there twice");
        }
        parsed
    }
}

/// A server that answers each connection with 200.
fn origin() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            // A check can close early.
            _ = stream.read(&mut [0; 4096]);
            _ = stream.write_all(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    port
}

/// The body of an answer. promex sends chunks, even to HTTP/1.0.
fn get(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let (head, mut rest) = text.split_once("\r\n\r\n")?;
    if !head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        return Some(rest.to_owned());
    }
    let mut body = String::new();
    loop {
        let (length, behind) = rest.split_once("\r\n")?;
        let length = usize::from_str_radix(length, 16).ok()?;
        if length == 0 {
            return Some(body);
        }
        body.push_str(behind.get(..length)?);
        rest = behind.get(length + 2..)?;
    }
}

fn snapshot(scene: &Scene, socket: &Path, second: u64) -> PathBuf {
    let directory = scene.path().join(second.to_string());
    fs::create_dir(&directory).unwrap();
    for (command, file) in [("show stat", "h.sock_stat"), ("show info", "h.sock_info")] {
        fs::write(directory.join(file), ask(socket, command).unwrap()).unwrap();
    }
    directory
}

/// Names of promex that our page does not have; docs/prometheus.md has the reasons.
const ABSENT: [&str; 5] = [
    "haproxy_process_nbproc",
    "haproxy_process_relative_process_id",
    "haproxy_process_unstoppable_jobs",
    "haproxy_process_build_info",
    "haproxy_server_check_code",
];

/// Names that promex gets in later versions, or that it only has for other scopes.
const MORE: [&str; 6] = [
    "haproxy_frontend_current_session_rate",
    "haproxy_backend_current_session_rate",
    "haproxy_server_current_session_rate",
    "haproxy_server_http_requests_total",
    "haproxy_server_active",
    "haproxy_server_backup",
];

/// Figures that promex's own request changes.
fn is_of_the_request(series: &str) -> bool {
    let of_process = ["connection", "session", "_rate", "tasks", "jobs", "idle", "run_queue"];
    series.contains("proxy=\"metrics\"")
        || series.starts_with("haproxy_process_")
            && of_process.iter().any(|part| series.contains(part))
}

/// Names with 0 where promex has `NaN` for some of the rows: a sum over nothing.
const ZERO_FOR_NAN: [&str; 5] = [
    "haproxy_server_check_failures_total",
    "haproxy_server_check_up_down_total",
    "haproxy_server_downtime_seconds_total",
    "haproxy_backend_downtime_seconds_total",
    "haproxy_server_idle_connections_limit",
];

/// Whether a sample of promex is one that we leave out.
fn is_left_out(series: &str, value: f64) -> bool {
    series.contains("_last_session_seconds") && value < 0.0
        || series.contains("_time_average_seconds") && value == 0.0
}

/// promex 2.6 divides by 1024 even if there were fewer requests; `show stat` does not.
fn is_average_time(series: &str) -> bool {
    series.contains("_time_average_seconds")
}

/// A HAProxy with promex, after some requests.
struct Promex {
    _haproxy: Program,
    socket: PathBuf,
    metrics: u16,
}

/// Starts it, and waits until its servers are in their states.
fn start(program: &str, scene: &Scene) -> Promex {
    let alive = origin();
    let [web, metrics, tcp, closed] = free_ports();
    let socket = scene.path().join("h.sock");
    let config = format!(
        "global\n  stats socket {} level admin\n\
         defaults\n  mode http\n  timeout connect 5s\n  timeout client 5s\n  timeout server 5s\n\
         frontend metrics\n  bind 127.0.0.1:{metrics}\n  \
         http-request use-service prometheus-exporter if {{ path /metrics }}\n\
         frontend web\n  bind 127.0.0.1:{web}\n  http-request deny if {{ path /no }}\n  \
         default_backend app\n\
         frontend tcp\n  mode tcp\n  bind 127.0.0.1:{tcp}\n  default_backend tcp\n\
         backend app\n  default-server inter 100ms fall 1 rise 1\n  \
         server alive 127.0.0.1:{alive} check weight 7 maxconn 9\n  \
         server gone 127.0.0.1:{closed} check\n  \
         server mended 127.0.0.1:{alive} check disabled\n  \
         server leaving 127.0.0.1:{alive} check\n  \
         server unchecked 127.0.0.1:{alive}\n\
         backend tcp\n  mode tcp\n  server one 127.0.0.1:{alive} weight 0\n\
         backend dark\n  server only 127.0.0.1:{closed} check inter 100ms fall 1\n\
         backend empty\n",
        socket.display(),
    );
    let config = scene.write("haproxy.cfg", &config);
    let arguments = ["-db", "-f"].map(AsRef::as_ref);
    let arguments = [&arguments[..], &[config.as_os_str()]].concat();
    let haproxy = Program::start(program, &arguments, &[], scene.path(), "haproxy");
    wait_until("HAProxy's stats socket", || ask(&socket, "show info").is_some());
    ask(&socket, "set server app/leaving state drain").unwrap();
    wait_until("states", || {
        let stat = ask(&socket, "show stat").unwrap_or_default();
        let status = |server: &str, word: &str| {
            let row = stat.lines().find(|line| line.starts_with(server));
            row.is_some_and(|row| row.contains(&format!(",{word},")))
        };
        let checked = |server: &str, word: &str| {
            let row = stat.lines().find(|line| line.starts_with(server));
            row.is_some_and(|row| row.contains(word))
        };
        status("app,gone,", "DOWN")
            && status("app,leaving,", "DRAIN")
            && status("dark,BACKEND,", "DOWN")
            && checked("app,alive,", "L4OK")
            && checked("app,leaving,", "L4OK")
    });
    for path in ["/", "/no", "/", "/"] {
        assert!(get(web, path).is_some());
    }
    let text = get(metrics, "/metrics").unwrap();
    if text.is_empty() || !text.contains("haproxy_process_nbthread") {
        panic!("HAProxy has no promex: {text}");
    }
    Promex { _haproxy: haproxy, socket, metrics }
}

#[test]
fn names_labels_types_and_values_are_those_of_promex() {
    let Some([program]) = installed("promex", ["haproxy"]) else { return };
    let scene = Scene::without_spool();
    let Promex { socket, metrics, _haproxy } = start(&program, &scene);
    let base = scene.path().display();
    let config = format!("[process]\nsrc-dir = {base}\n[graphite]\nenabled = true\n");
    let config = scene.write("haproxystats.conf", &config);
    // A value of promex lies between ours from before and after it.
    let before = snapshot(&scene, &socket, 1_700_000_000);
    let theirs = Parsed::of(&get(metrics, "/metrics").unwrap());
    let after = snapshot(&scene, &socket, 1_700_000_010);
    let before = Parsed::of(&render(&config, "prometheus", &before));
    let ours = Parsed::of(&render(&config, "prometheus", &after));

    let differences = differences(&theirs, &before, &ours);
    assert!(differences.is_empty(), "{differences:#?}");
    assert!(ours.series["haproxy_server_bytes_out_total{proxy=\"app\",server=\"alive\"}"] > 0.0);
}

/// What differs between a page of promex and ours from before and after it.
fn differences(theirs: &Parsed, before: &Parsed, ours: &Parsed) -> Vec<String> {
    let mut differences = Vec::new();
    for (series, value) in &theirs.series {
        let name = series.split('{').next().unwrap();
        if name.starts_with("haproxy_listener_") || ABSENT.contains(&name) {
            assert!(!ours.types.contains_key(name), "{name} is there after all");
            continue;
        }
        if is_left_out(series, *value) {
            continue;
        }
        if value.is_nan() {
            let found = ours.series.get(series);
            let is_zero = ZERO_FOR_NAN.contains(&name) && found == Some(&0.0);
            if found.is_some() && !is_zero {
                differences.push(format!("{series} is NaN, ours {found:?}"));
            }
            continue;
        }
        let (Some(first), Some(last)) = (before.series.get(series), ours.series.get(series)) else {
            differences.push(format!("{series} {value} is absent"));
            continue;
        };
        assert_eq!(ours.types[name], theirs.types[name], "{name}");
        let is_between = *value >= first.min(*last) - 1e-9 && *value <= first.max(*last) + 1e-9;
        if !is_between && !is_of_the_request(series) && !is_average_time(series) {
            differences.push(format!("{series} {value}, ours {first} and {last}"));
        }
    }
    for series in ours.series.keys() {
        let name = series.split('{').next().unwrap();
        let is_known = theirs.series.contains_key(series)
            || MORE.contains(&name)
            || series.starts_with("haproxystats_");
        if !is_known {
            differences.push(format!("{series} is not promex's"));
        }
    }
    differences
}

/// Every recorded snapshot makes a page that Prometheus takes, with one state for each server.
#[test]
fn recorded_snapshots_make_pages() {
    let scene = Scene::without_spool();
    let config = scene.config(1, 1, "");
    for (version, second) in [
        ("haproxy-1.5.0", "1700000001"),
        ("haproxy-2.2.9", "1700000002"),
        ("haproxy-2.6.12", "1700000003"),
        ("haproxy-3.0.11", "1700000004"),
        ("haproxy-3.4.7", "1700000005"),
    ] {
        let directory = scene.path().join(second);
        fs::create_dir(&directory).unwrap();
        for file in fs::read_dir(data("dumps").join(version)).unwrap() {
            let file = file.unwrap();
            let name = file.file_name().into_string().unwrap();
            let name = name.replace(".show_info.txt", "_info").replace(".show_stat.txt", "_stat");
            fs::copy(file.path(), directory.join(name)).unwrap();
        }
        let page = Parsed::of(&render(&config, "prometheus", &directory));
        let mut states: BTreeMap<&str, f64> = BTreeMap::new();
        for (series, value) in &page.series {
            if let Some(labels) = series.strip_prefix("haproxy_server_status{") {
                *states.entry(labels.split(",state=").next().unwrap()).or_default() += value;
            }
        }
        assert!(!states.is_empty(), "{version}");
        assert!(states.values().all(|ones| *ones == 1.0), "{version}: {states:?}");
        let time = page.series["haproxystats_snapshot_timestamp_seconds"];
        assert_eq!(time.to_string(), second);
    }
}
