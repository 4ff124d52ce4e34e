//! Makes snapshots of any size from the rows of a recorded dump, with other names and numbers: a
//! cell that HAProxy leaves empty is empty here, and a cell that it quotes is quoted.
//!
//! The same seed gives the same bytes. Every process has every proxy, in the same order.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use fastrand::Rng;

use crate::Failure;

/// The size of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) name: &'static str,
    pub(crate) processes: usize,
    pub(crate) frontends: usize,
    pub(crate) backends: usize,
    /// Servers in each backend.
    pub(crate) servers: usize,
}

pub(crate) const TINY: Size =
    Size { name: "tiny", processes: 4, frontends: 4, backends: 5, servers: 4 };
pub(crate) const MID: Size =
    Size { name: "mid", processes: 4, frontends: 100, backends: 200, servers: 10 };
pub(crate) const LARGE: Size =
    Size { name: "large", processes: 8, frontends: 500, backends: 1000, servers: 20 };

/// The columns of a dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Columns {
    /// The 83 of HAProxy 1.8.
    V18,
    /// The 128 of HAProxy 2.6 as Debian builds it.
    V26,
}

impl Columns {
    pub(crate) const BOTH: [Self; 2] = [Self::V18, Self::V26];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::V18 => "1.8",
            Self::V26 => "2.6",
        }
    }

    /// The dump of 2.2 serves for 1.8, because no dump of 1.8 exists and both begin with the same
    /// columns.
    fn recorded(self) -> (&'static str, &'static str, usize) {
        macro_rules! dump {
            ($name:literal) => {
                include_str!(concat!("../../../../tests/data/dumps/", $name, ".txt"))
            };
        }
        match self {
            Self::V18 => {
                (dump!("haproxy-2.2.9/sock1.show_info"), dump!("haproxy-2.2.9/sock1.show_stat"), 83)
            }
            Self::V26 => (
                dump!("haproxy-2.6.12/sock1.show_info"),
                dump!("haproxy-2.6.12/sock1.show_stat"),
                128,
            ),
        }
    }
}

const SEED: u64 = 20_261_120;
/// One server in this many is idle in a process: it gets no traffic and has times of 0.
const IDLE_ONE_IN: u32 = 10;
/// One server in this many has a check's answer with a comma, which HAProxy quotes.
const QUOTED_ONE_IN: u32 = 8;
const QUOTED_CHECK: &str = "\"HTTP status check returned code <200>, cached\"";

/// Writes a snapshot's files into a directory and returns their size in bytes.
pub(crate) fn write(size: Size, columns: Columns, directory: &Path) -> Result<u64, Failure> {
    let put = |name: String, text: &str| {
        let path = directory.join(name);
        fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
    };
    let mut generator = Generator::new(columns, SEED)?;
    let mut bytes = 0;
    for process in 1..=size.processes {
        let (info, stat) = (generator.info(process), generator.stat(size, process));
        bytes += (info.len() + stat.len()) as u64;
        put(format!("haproxy{process}.sock_info"), &info)?;
        put(format!("haproxy{process}.sock_stat"), &stat)?;
    }
    Ok(bytes)
}

/// The rule by which the numbers of a column are made.
#[derive(Debug, Clone, Copy)]
enum Nature {
    /// The recorded cell: a word, a weight, a mark, or an empty cell.
    Kept(&'static str),
    /// Grows with each connection.
    Count,
    /// Grows with each byte.
    Bytes,
    /// Is small and moves up and down.
    Gauge,
    /// Is 0 as long as all is well.
    Mishap,
    /// A time in ms.
    Time,
    Proxy,
    Server,
    Process,
    ProxyNumber,
    ServerNumber,
    Address,
    LastCheck(&'static str),
}

/// The natures of the cells of one kind of row.
type Row = Vec<Nature>;

struct Generator {
    random: Rng,
    info: &'static str,
    header: String,
    frontend: Row,
    server: Row,
    backend: Row,
}

/// The proxy and server of a row.
struct Place<'a> {
    proxy: &'a str,
    server: &'a str,
    process: usize,
    proxy_number: usize,
    server_number: usize,
}

impl Generator {
    fn new(columns: Columns, seed: u64) -> Result<Self, Failure> {
        let (info, stat, count) = columns.recorded();
        let mut lines = stat.lines();
        let names: Vec<&str> = lines.next().unwrap_or_default().split(',').take(count).collect();
        let row = |proxy: &str, server: &str| {
            let begin = format!("{proxy},{server},");
            let line = stat.lines().find(|line| line.starts_with(&begin));
            let line = line.ok_or_else(|| format!("the recorded dump lacks {begin}"))?;
            Ok::<Row, Failure>(names.iter().zip(line.split(',')).map(nature).collect())
        };
        let mut header = names.join(",");
        header.push_str(",\n");
        Ok(Self {
            random: Rng::with_seed(seed),
            info,
            header,
            frontend: row("www", "FRONTEND")?,
            server: row("be1", "s1")?,
            backend: row("be1", "BACKEND")?,
        })
    }

    fn info(&mut self, process: usize) -> String {
        let mut text = String::with_capacity(self.info.len() * 2);
        for line in self.info.lines() {
            let Some((key, value)) = line.split_once(": ") else { continue };
            // A String takes all.
            let _ = match key {
                "Process_num" => writeln!(text, "{key}: {process}"),
                "Idle_pct" => writeln!(text, "{key}: {}", self.random.u32(20..100)),
                "Maxconn" | "Ulimit-n" | "Maxsock" | "Hard_maxconn" => {
                    writeln!(text, "{key}: 40000")
                }
                _ if key.starts_with("Cum") => {
                    writeln!(text, "{key}: {}", self.random.u64(1_000_000..900_000_000))
                }
                _ if key.starts_with("Curr") || key.contains("Rate") => {
                    writeln!(text, "{key}: {}", self.random.u32(0..9_000))
                }
                _ => writeln!(text, "{key}: {value}"),
            };
        }
        text.push('\n');
        text
    }

    fn stat(&mut self, size: Size, process: usize) -> String {
        let mut text = self.header.clone();
        let (frontend, backend, server) =
            (self.frontend.clone(), self.backend.clone(), self.server.clone());
        for number in 1..=size.frontends {
            let proxy = format!("www{number:04}.example.com");
            let place = Place {
                proxy: &proxy,
                server: "FRONTEND",
                process,
                proxy_number: number + 1,
                server_number: 0,
            };
            self.row(&frontend, &place, &mut text);
        }
        for number in 1..=size.backends {
            let proxy = format!("app{number:04}_http");
            let mut place = Place {
                proxy: &proxy,
                server: "",
                process,
                proxy_number: size.frontends + number + 1,
                server_number: 0,
            };
            for index in 1..=size.servers {
                let name = format!("node{index:02}.rack{:02}", number % 100);
                place.server_number = index;
                self.row(&server, &Place { server: &name, ..place }, &mut text);
            }
            self.row(&backend, &Place { server: "BACKEND", server_number: 0, ..place }, &mut text);
        }
        text.push('\n');
        text
    }

    fn row(&mut self, row: &[Nature], place: &Place<'_>, text: &mut String) {
        let random = &mut self.random;
        let idle = place.server_number > 0 && random.u32(0..IDLE_ONE_IN) == 0;
        // From a few connections to some ten million; each order of magnitude is equally likely.
        let connections = if idle { 0.0 } else { 10_f64.powf(1.5 + 5.5 * random.f64()) };
        for nature in row {
            let number = match nature {
                Nature::Kept(recorded) => {
                    text.push_str(recorded);
                    None
                }
                Nature::Proxy => {
                    text.push_str(place.proxy);
                    None
                }
                Nature::Server => {
                    text.push_str(place.server);
                    None
                }
                Nature::LastCheck(recorded) => {
                    let quoted = place.server_number > 0 && random.u32(0..QUOTED_ONE_IN) == 0;
                    text.push_str(if quoted { QUOTED_CHECK } else { recorded });
                    None
                }
                Nature::Address => {
                    let (high, low) = (place.proxy_number / 250 % 250, place.proxy_number % 250);
                    let _ = write!(text, "10.{high}.{low}.{}:8080", place.server_number);
                    None
                }
                Nature::Process => Some(place.process as u64),
                Nature::ProxyNumber => Some(place.proxy_number as u64),
                Nature::ServerNumber => Some(place.server_number as u64),
                Nature::Count => Some((connections * random.f64()) as u64),
                Nature::Bytes => Some((connections * 20_000.0 * random.f64()) as u64),
                Nature::Gauge => Some((connections.sqrt() * 0.2 * random.f64()) as u64),
                Nature::Mishap if random.u32(0..6) == 0 => Some((connections * 1e-3) as u64),
                Nature::Mishap => Some(0),
                Nature::Time if idle => Some(0),
                Nature::Time => Some(random.u64(0..400)),
            };
            if let Some(number) = number {
                let _ = write!(text, "{number}");
            }
            text.push(',');
        }
        text.push('\n');
    }
}

/// The nature of a recorded cell of that column.
fn nature((name, cell): (&&str, &'static str)) -> Nature {
    match *name {
        "# pxname" => Nature::Proxy,
        "svname" => Nature::Server,
        "pid" => Nature::Process,
        "iid" => Nature::ProxyNumber,
        "sid" => Nature::ServerNumber,
        "addr" if !cell.is_empty() => Nature::Address,
        "last_chk" => Nature::LastCheck(cell),
        "weight" | "uweight" | "act" | "bck" | "type" | "check_rise" | "check_fall"
        | "check_health" | "check_code" | "slim" | "need_conn_est" | "src_ilim" => {
            Nature::Kept(cell)
        }
        _ if cell.parse::<u64>().is_err() => Nature::Kept(cell),
        "bin" | "bout" | "comp_in" | "comp_out" | "comp_byp" => Nature::Bytes,
        name if name.contains("bytes") => Nature::Bytes,
        "qcur" | "qmax" | "scur" | "smax" | "rate" | "rate_max" | "req_rate" | "req_rate_max"
        | "conn_rate" | "conn_rate_max" | "srv_icur" | "idle_conn_cur" | "used_conn_cur" => {
            Nature::Gauge
        }
        "stot" | "lbtot" | "hrsp_2xx" | "hrsp_3xx" | "hrsp_4xx" | "req_tot" | "conn_tot"
        | "connect" | "reuse" | "cli_abrt" | "lastchg" | "lastsess" | "cache_lookups" => {
            Nature::Count
        }
        name if name.ends_with("time") || name.ends_with("time_max") => Nature::Time,
        "check_duration" => Nature::Time,
        name if name.contains("_total_") || name.contains("_rcvd") || name.starts_with("ssl_") => {
            Nature::Count
        }
        _ => Nature::Mishap,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Size = Size { name: "small", processes: 2, frontends: 2, backends: 3, servers: 8 };

    fn stat(columns: Columns, seed: u64) -> String {
        Generator::new(columns, seed).unwrap().stat(SMALL, 1)
    }

    #[test]
    fn a_seed_gives_the_same_bytes_each_time() {
        assert_eq!(stat(Columns::V26, 7), stat(Columns::V26, 7));
        assert_ne!(stat(Columns::V26, 7), stat(Columns::V26, 8));
    }

    /// The number of cells in a line; commas inside quotes do not count.
    fn cells(line: &str) -> usize {
        let mut quoted = false;
        let ends = line.chars().filter(|&letter| {
            quoted ^= letter == '"';
            letter == ',' && !quoted
        });
        ends.count()
    }

    #[test]
    fn every_row_has_every_column_and_every_proxy_is_there() {
        for (columns, count) in [(Columns::V18, 83), (Columns::V26, 128)] {
            let text = stat(columns, 1);
            let lines: Vec<&str> = text.lines().collect();
            assert_eq!(lines.len(), 1 + 2 + 3 * 9 + 1);
            let (last, rows) = lines.split_last().unwrap();
            assert!(last.is_empty() && rows[0].starts_with("# pxname,svname,"));
            for row in rows {
                assert_eq!(cells(row), count, "{row}");
            }
            assert_eq!(rows.iter().filter(|row| row.contains(",FRONTEND,")).count(), 2);
            assert_eq!(rows.iter().filter(|row| row.contains(",BACKEND,")).count(), 3);
        }
    }

    #[test]
    fn there_are_empty_cells_quoted_checks_and_idle_servers() {
        let text = stat(Columns::V26, 1);
        assert!(text.contains(",,,") && text.contains(">, cached\","));
        let lbtot = text.lines().next().unwrap().split(',').position(|name| name == "lbtot");
        let servers: Vec<&str> = text.lines().filter(|line| line.contains(",node")).collect();
        let idle = servers.iter().filter(|line| line.split(',').nth(lbtot.unwrap()) == Some("0"));
        let idle = idle.count();
        assert!(idle > 0 && idle < servers.len() / 2, "{idle} of {}", servers.len());
    }

    #[test]
    fn processes_are_told_apart() {
        let info = Generator::new(Columns::V26, 1).unwrap().info(3);
        assert!(info.contains("\nProcess_num: 3\n") && info.ends_with("\n\n"));
    }
}
