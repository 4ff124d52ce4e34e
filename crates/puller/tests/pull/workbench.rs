//! The workbench of a test: its directories, its log, and the program that it starts and ends.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use config::{Address, LogLevel, Pull, Retries, Uwsgi, Zope};
use daemon::{Clock, Service};
use haproxystats_puller::Machine;
use spool::cycle::Cycle;
use spool::manifest::{self, Manifest};
use testbed::log::Capture;
pub(crate) use testbed::names;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Long enough for the slowest machine; no test takes longer because of it.
const DEADLINE: Duration = Duration::from_secs(20);

/// The clock of a test stands still at this second until the test sets it.
pub(crate) const SECOND: u64 = 1_700_000_000;

thread_local! {
    /// The time of this test's clock; each test has its thread.
    static WALL: Cell<u64> = const { Cell::new(SECOND) };
    static SERIAL: Cell<u64> = const { Cell::new(0) };
}

/// Sets the clock of this test.
pub(crate) fn set_clock(seconds: u64) {
    WALL.set(seconds);
}

pub(crate) struct Workbench {
    root: tempfile::TempDir,
    log: Capture,
}

/// A program that pulls.
pub(crate) struct Program {
    end: oneshot::Sender<()>,
    run: JoinHandle<Result<(), haproxystats_puller::Error>>,
}

impl Workbench {
    pub(crate) fn new() -> Self {
        let log = Capture::start(tracing::Level::DEBUG);
        let bench = Self { root: tempfile::tempdir().unwrap(), log };
        fs::create_dir(bench.sockets()).unwrap();
        bench
    }

    pub(crate) fn sockets(&self) -> PathBuf {
        self.root.path().join("sockets")
    }

    pub(crate) fn socket(&self, name: &str) -> PathBuf {
        self.sockets().join(name)
    }

    pub(crate) fn dst(&self) -> PathBuf {
        self.root.path().join("incoming")
    }

    pub(crate) fn tmp(&self) -> PathBuf {
        self.root.path().join("incoming.tmp")
    }

    /// A configuration with the sockets of `sockets`, short cycles, and limits that only a fault
    /// reaches.
    pub(crate) fn config(&self) -> Pull {
        Pull {
            host_name: None,
            loglevel: LogLevel::Info,
            socket_dir: Some(self.sockets()),
            servers: Vec::new(),
            retries: Retries::Times(0),
            timeout: DEADLINE,
            interval: Duration::from_millis(5),
            pull_timeout: None,
            pull_interval: Duration::from_millis(20),
            answer_limit: 1 << 20,
            dst_dir: self.dst(),
            tmp_dst_dir: self.tmp(),
            workers: 2,
            queue_size: 360,
            sync: false,
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
        }
    }

    /// The same, with this one server in place of the directory.
    pub(crate) fn config_for(&self, server: Address) -> Pull {
        Pull { socket_dir: None, servers: vec![server], ..self.config() }
    }

    /// The names of the answers in a snapshot.
    pub(crate) fn answers(&self, second: u64) -> Vec<String> {
        let mut names = names(&self.dst().join(second.to_string()));
        names.retain(|name| name != manifest::FILE_NAME);
        names
    }

    pub(crate) fn manifest(&self, second: u64) -> Manifest {
        manifest::read(&self.dst().join(second.to_string())).unwrap().unwrap()
    }

    /// The numbers of the cycle in a snapshot's manifest.
    pub(crate) fn cycle(&self, second: u64) -> Cycle {
        self.manifest(second).cycle
    }

    pub(crate) fn start(&self, config: Pull) -> Program {
        let (end, ended) = oneshot::channel();
        let shutdown = async {
            let _ = ended.await;
            "the test"
        };
        Program {
            end,
            run: tokio::task::spawn_local(haproxystats_puller::run(
                config,
                machine(),
                Service::none(),
                shutdown,
            )),
        }
    }

    /// The names of the published snapshots, oldest first.
    pub(crate) fn snapshots(&self) -> Vec<String> {
        snapshots_in(&self.dst())
    }

    /// The text of one file of a snapshot.
    pub(crate) fn file(&self, second: u64, name: &str) -> String {
        fs::read_to_string(self.dst().join(second.to_string()).join(name)).unwrap()
    }

    pub(crate) fn log(&self) -> String {
        self.log.text()
    }

    /// The lines that an operator sees at the level `info`.
    pub(crate) fn lines(&self) -> Vec<String> {
        let log = self.log();
        let shown = log.lines().filter(|line| !line.contains(" DEBUG "));
        shown.map(str::to_owned).collect()
    }

    /// The number of such lines that contain a text.
    pub(crate) fn count(&self, text: &str) -> usize {
        self.lines().iter().filter(|line| line.contains(text)).count()
    }

    /// Waits until that many cycles have ended from now on.
    pub(crate) async fn until_cycles(&self, count: usize) {
        let ended = || self.log().matches("a cycle has ended").count();
        let before = ended();
        self.until(|| ended() >= before + count, &format!("{count} cycles")).await;
    }

    pub(crate) async fn until_snapshots(&self, count: usize) {
        self.until(|| self.snapshots().len() >= count, &format!("{count} snapshots")).await;
    }

    /// Waits until a snapshot of this second is in the spool.
    pub(crate) async fn until_snapshot(&self, second: u64) {
        let path = self.dst().join(second.to_string());
        self.until(|| path.exists(), &format!("snapshot {second}")).await;
    }

    pub(crate) async fn until_logged(&self, text: &str) {
        self.until(|| self.log().contains(text), text).await;
    }

    /// Waits for a condition; shows the log if the deadline passes first.
    pub(crate) async fn until(&self, condition: impl Fn() -> bool, what: &str) {
        let waiting = async {
            while !condition() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        if tokio::time::timeout(DEADLINE, waiting).await.is_err() {
            panic!("waited in vain for: {what}\n{}", self.log());
        }
    }

    /// Ends the program and checks that it ends well.
    pub(crate) async fn end(&self, program: Program) {
        program.end.send(()).unwrap();
        let ended = tokio::time::timeout(DEADLINE, program.run).await;
        ended.expect("does not end").unwrap().unwrap();
    }

    /// Ends the program and checks that it ends well and leaves nothing half done.
    pub(crate) async fn stop(&self, program: Program) {
        self.end(program).await;
        assert_eq!(names(&self.tmp()), [""; 0], "{}", self.log());
    }
}

/// The names of the snapshots in a directory, without the hidden probe that a start moves into it.
pub(crate) fn snapshots_in(dst: &Path) -> Vec<String> {
    let mut names = names(dst);
    names.retain(|name| !name.starts_with('.'));
    names
}

/// A machine whose clock a test sets, and whose random numbers are 1, 2, 3.
pub(crate) fn machine() -> Machine {
    let wall = || SystemTime::UNIX_EPOCH + Duration::from_secs(WALL.get());
    let random = || {
        SERIAL.set(SERIAL.get() + 1);
        SERIAL.get()
    };
    let clock = Clock { wall, monotonic: Instant::now };
    Machine { name: "lb1".to_owned(), clock, random }
}
