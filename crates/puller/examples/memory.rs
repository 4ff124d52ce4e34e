//! Measures the memory of pulling: `cargo run --release -p haproxystats-puller --example memory
//! [endpoints] [megabytes]`
//!
//! Starts that many fake stats sockets (8 by default), each with an answer of that many megabytes
//! (25 by default), runs one cycle, and prints the largest resident size of the process. The fakes
//! are threads of the same process, so pulling alone takes less.

#![allow(clippy::print_stdout, reason = "it is run to be read")]

use std::error::Error;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::str::FromStr;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use config::{LogLevel, Pull, Retries, Uwsgi, Zope};
use daemon::{Clock, Service};
use haproxystats_puller::Machine;

const ROW: &[u8] =
    b"backend,server,0,0,0,12,,4711,123456789,987654321,,0,,0,0,0,0,UP,1,1,0,0,0,5,0,,1,3,1,,\n";

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let endpoints: usize = number(arguments.next(), 8)?;
    let megabytes: usize = number(arguments.next(), 25)?;
    let root = tempfile::tempdir()?;
    let sockets = root.path().join("sockets");
    fs::create_dir(&sockets)?;
    for endpoint in 0..endpoints {
        let listener = UnixListener::bind(sockets.join(endpoint.to_string()))?;
        thread::Builder::new().stack_size(64 * 1024).spawn(move || {
            for stream in listener.incoming().flatten() {
                // An error means that the puller has closed the connection, which the result shows.
                let _ = answer(&stream, megabytes);
            }
        })?;
    }
    daemon::logging::start(daemon::LevelFilter::INFO);
    let dst_dir = root.path().join("incoming");
    let config = Pull {
        host_name: None,
        loglevel: LogLevel::Info,
        socket_dir: Some(sockets),
        servers: Vec::new(),
        retries: Retries::Times(1),
        timeout: Duration::from_millis(100),
        interval: Duration::from_millis(500),
        pull_timeout: None,
        pull_interval: Duration::from_secs(10),
        answer_limit: u64::MAX,
        dst_dir: dst_dir.clone(),
        tmp_dst_dir: root.path().join("incoming.tmp"),
        workers: 8,
        queue_size: 360,
        sync: true,
        allow_partial: false,
        monitor_listen: None,
        masters: Vec::new(),
        old_workers: true,
        servers_interval: 1,
        uwsgi: Uwsgi { servers: Vec::new(), allow_partial: true },
        zope: Zope {
            servers: Vec::new(),
            deployments: Vec::new(),
            database: "main".to_owned(),
            sampling_interval: Duration::from_secs(300),
            allow_partial: true,
        },
    };
    let machine = Machine {
        name: "example".to_owned(),
        clock: Clock { wall: SystemTime::now, monotonic: Instant::now },
        random: || 1,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(haproxystats_puller::run(
        config,
        machine,
        Service::none(),
        published(&dst_dir),
    ))?;
    for line in fs::read_to_string("/proc/self/status")?.lines() {
        if line.starts_with("VmHWM") || line.starts_with("VmRSS") {
            println!("{line}");
        }
    }
    Ok(())
}

fn number<T: FromStr>(argument: Option<String>, default: T) -> Result<T, T::Err> {
    argument.map_or(Ok(default), |text| text.parse())
}

fn answer(mut stream: &UnixStream, megabytes: usize) -> std::io::Result<()> {
    BufReader::new(stream).read_line(&mut String::new())?;
    stream.write_all(b"Name: HAProxy\n\n# pxname,svname,\n")?;
    let rows = ROW.repeat(100);
    for _ in 0..megabytes * 1_000_000 / rows.len() {
        stream.write_all(&rows)?;
    }
    stream.write_all(b"\n")
}

async fn published(dst_dir: &Path) -> &'static str {
    while spool::name::waiting(dst_dir).is_ok_and(|count| count == 0) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    "a snapshot is there"
}
