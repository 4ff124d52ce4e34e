//! Real HAProxy processes that share their frontends, requests through them, and their own counters
//! to compare with.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::process::Signal;

use crate::support::{Program, example, free_ports, wait_until};

/// Values by path below `haproxy.`, as Graphite names them.
pub(crate) type Counters = BTreeMap<String, u64>;

/// Counters that do not change without requests, by the kind of row.
const FRONTEND: [&str; 8] =
    ["stot", "req_tot", "bin", "bout", "hrsp_2xx", "hrsp_4xx", "hrsp_5xx", "dreq"];
const BACKEND: [&str; 8] =
    ["stot", "lbtot", "bin", "bout", "hrsp_2xx", "hrsp_4xx", "hrsp_5xx", "econ"];
const SERVER: [&str; 4] = ["stot", "lbtot", "hrsp_2xx", "hrsp_5xx"];

/// Four processes of the shipped configuration; the first process runs under a master and can be
/// reloaded.
pub(crate) struct HaProxy {
    www: u16,
    shop: u16,
    sockets: Vec<PathBuf>,
    processes: Vec<Program>,
}

impl HaProxy {
    /// Starts them with their stats sockets in `folder`, and waits until all answer.
    pub(crate) fn start(program: &str, folder: &Path) -> Self {
        let sockets_folder = folder.join("sockets");
        fs::create_dir(&sockets_folder).unwrap();
        let [www, shop, origin] = free_ports();
        let (mut sockets, mut processes) = (Vec::new(), Vec::new());
        for number in 1..=4 {
            let socket = sockets_folder.join(format!("admin{number}.sock"));
            let port = |port: u16| OsString::from(port.to_string());
            let environment = [
                ("STATS_SOCKET", socket.as_os_str()),
                ("WWW_PORT", &port(www)),
                ("SHOP_PORT", &port(shop)),
                ("ORIGIN_PORT", &port(origin)),
            ];
            let config = example("haproxy.cfg");
            let arguments = ["-W", "-db", "-f"].map(AsRef::as_ref);
            let arguments = [&arguments[usize::from(number > 1)..], &[config.as_os_str()]].concat();
            let name = format!("haproxy{number}");
            processes.push(Program::start(program, &arguments, &environment, folder, &name));
            wait_until("HAProxy's stats socket", || ask(&socket, "show info").is_some());
            sockets.push(socket);
        }
        Self { www, shop, sockets, processes }
    }

    pub(crate) fn sockets_folder(&self) -> PathBuf {
        self.sockets[0].parent().unwrap().to_owned()
    }

    /// Sends `count` requests: to both frontends, most of them good.
    pub(crate) fn traffic(&self, count: usize) {
        let requests = [
            (self.www, "/"),
            (self.shop, "/cart"),
            (self.www, "/api/items"),
            (self.www, "/missing"),
            (self.shop, "/admin"),
            (self.www, "/api/broken"),
            (self.www, "/down"),
        ];
        for (port, path) in requests.into_iter().cycle().take(count) {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
            let text = format!("GET {path} HTTP/1.1\r\nHost: e2e\r\nConnection: close\r\n\r\n");
            stream.write_all(text.as_bytes()).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 "), "{path}: {answer:?}");
        }
        // All counters have a request once its session has ended, shortly after its answer.
        wait_until("HAProxy at rest", || self.sessions() == 0);
    }

    /// Sessions that have not ended.
    fn sessions(&self) -> u64 {
        let answers =
            self.sockets.iter().map(|socket| ask(socket, "show stat").unwrap_or_default());
        let current = answers.flat_map(|answer| {
            let rows = answer.lines().skip(1).map(|row| row.split(',').nth(4).map(str::to_owned));
            rows.collect::<Vec<_>>()
        });
        // The fifth column is `scur`.
        current.flatten().filter_map(|cell| cell.parse::<u64>().ok()).sum()
    }

    /// The sums of the processes' own counters, computed without the programs' code.
    pub(crate) fn counters(&self) -> Counters {
        let mut counters = Counters::new();
        for socket in &self.sockets {
            let answer = ask(socket, "show stat").expect("HAProxy answers");
            let mut lines = answer.lines();
            let header: Vec<&str> =
                lines.next().unwrap().trim_start_matches("# ").split(',').collect();
            for line in lines.filter(|line| !line.is_empty()) {
                let row: BTreeMap<&str, &str> =
                    header.iter().copied().zip(line.split(',')).collect();
                let proxy = row["pxname"].replace('.', "_");
                let (path, metrics) = match row["svname"] {
                    "FRONTEND" => (format!("frontend.{proxy}"), &FRONTEND[..]),
                    "BACKEND" => (format!("backend.{proxy}"), &BACKEND[..]),
                    server => (format!("backend.{proxy}.server.{server}"), &SERVER[..]),
                };
                for metric in metrics {
                    let value: u64 = row[metric].parse().unwrap_or(0);
                    *counters.entry(format!("{path}.{metric}")).or_default() += value;
                }
            }
        }
        counters
    }

    /// Reloads the first process, and waits until a new worker answers on its socket.
    pub(crate) fn reload(&self) {
        let worker = || {
            let info = ask(&self.sockets[0], "show info")?;
            info.lines().find_map(|line| Some(line.strip_prefix("Pid: ")?.to_owned()))
        };
        let before = worker().expect("HAProxy answers");
        self.processes[0].signal(Signal::USR2);
        wait_until("a new worker of HAProxy", || worker().is_some_and(|now| now != before));
    }
}

/// The answer of a stats socket to a command; `None` if it gives no answer.
pub(crate) fn ask(socket: &Path, command: &str) -> Option<String> {
    let mut stream = UnixStream::connect(socket).ok()?;
    writeln!(stream, "{command}").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    (!answer.is_empty()).then_some(answer)
}
