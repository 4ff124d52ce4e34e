//! The table about the fold of a snapshot: how long the parts took and how many metrics they made.
//!
//! Emits `haproxystats.Metrics…`, `haproxystats.…WallClockTime…` and
//! `haproxystats.DamagedFiles`. If the manifest has the facts of pull's cycle,
//! `haproxystats.MissingEndpoints`, `haproxystats.OldWorkers`, `haproxystats.KeptWorkers` and
//! `haproxystats.Pull…` are added; with
//! `max-servers-per-backend`, `haproxystats.LeftOutServers`. As in the original program, the count
//! of a part is one more than its lines, and a part without files has no lines here. A line that is
//! sent under two paths counts once.

use std::time::{Duration, Instant};

use daemon::Clock;
use model::{Column, Nature, Table, TableKind, Values};
use receivers::graphite::LineCounts;
use spool::cycle::Cycle;

/// A stopwatch over the parts of a snapshot.
#[derive(Debug)]
pub(crate) struct Stopwatch {
    clock: Clock,
    begun: Instant,
    last: Instant,
    laps: Vec<(&'static str, Duration)>,
}

impl Stopwatch {
    pub(crate) fn start(clock: Clock) -> Self {
        let begun = (clock.monotonic)();
        Self { clock, begun, last: begun, laps: Vec::new() }
    }

    /// Notes that a part has ended.
    pub(crate) fn lap(&mut self, name: &'static str) {
        let now = (self.clock.monotonic)();
        self.laps.push((name, now.saturating_duration_since(self.last)));
        self.last = now;
    }

    /// The time since the start.
    pub(crate) fn total(&self) -> Duration {
        (self.clock.monotonic)().saturating_duration_since(self.begun)
    }

    fn lap_of(&self, names: &[&str]) -> Duration {
        self.laps.iter().filter(|(name, _)| names.contains(name)).map(|(_, lap)| *lap).sum()
    }
}

/// Names of the laps.
pub(crate) const DAEMON: &str = "daemon";
pub(crate) const READ: &str = "read";
pub(crate) const FRONTENDS: &str = "frontends";
pub(crate) const BACKENDS: &str = "backends";
pub(crate) const SERVERS: &str = "servers";

/// The number of a backend's servers counts among the metrics of servers.
const SERVER_KINDS: [TableKind; 3] =
    [TableKind::ServerCount, TableKind::BackendServer, TableKind::Server];

/// The kinds of files that a snapshot has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parts {
    /// Answers to `show info`.
    pub(crate) info: bool,
    /// Answers to `show stat`.
    pub(crate) stat: bool,
}

/// What a snapshot lacks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counts {
    /// Files that were left out, whole or in part.
    pub(crate) damaged_files: usize,
    /// Processes without an endpoint.
    pub(crate) missing_processes: u64,
    /// Servers without lines; `None` without `max-servers-per-backend`.
    pub(crate) left_out_servers: Option<u64>,
}

/// The table about a batch whose other tables make `lines`.
pub(crate) fn table(
    lines: &LineCounts,
    stopwatch: &Stopwatch,
    parts: Parts,
    counts: Counts,
    cycle: Option<&Cycle>,
) -> Table {
    let time = |name: &str, took: Duration| {
        let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        Column::new(name, Nature::Duration, None, Values::Milliseconds(vec![milliseconds]))
    };
    let count = |name: &str, kinds: &[TableKind]| {
        let lines: u64 = kinds.iter().map(|kind| lines.of(kind)).sum();
        gauge(name, i128::from(lines) + 1)
    };
    let lap = |name: &str, laps: &[&str]| time(name, stopwatch.lap_of(laps));
    let mut columns = Vec::new();
    if parts.info {
        columns.push(lap("WallClockTimeHAProxy", &[DAEMON]));
    }
    if parts.stat {
        columns.extend([
            lap("WallClockTimeFrontends", &[FRONTENDS]),
            lap("WallClockTimeBackends", &[BACKENDS]),
            lap("WallClockTimeServers", &[SERVERS]),
            lap("WallClockTimeAllStats", &[READ, FRONTENDS, BACKENDS, SERVERS]),
        ]);
    }
    columns.push(time("TotalWallClockTime", stopwatch.total()));
    if parts.info {
        columns.push(count("MetricsHAProxy", &[TableKind::Daemon, TableKind::Process]));
    }
    if parts.stat {
        columns.extend([
            count("MetricsFrontend", &[TableKind::Frontend]),
            count("MetricsBackend", &[TableKind::Backend]),
            count("MetricsServer", &SERVER_KINDS),
        ]);
    }
    columns.push(gauge("DamagedFiles", counts.damaged_files as i128));
    if cycle.is_some() || counts.missing_processes > 0 {
        let missing = i128::from(counts.missing_processes)
            + cycle.map_or(0, |cycle| i128::from(cycle.missing));
        columns.push(gauge("MissingEndpoints", missing));
    }
    let old_workers = cycle.and_then(|cycle| cycle.old_workers);
    let kept_workers = cycle.and_then(|cycle| cycle.kept_workers);
    for (name, workers) in [("OldWorkers", old_workers), ("KeptWorkers", kept_workers)] {
        if let Some(workers) = workers {
            columns.push(gauge(name, i128::from(workers)));
        }
    }
    if let Some(servers) = counts.left_out_servers {
        columns.push(gauge("LeftOutServers", i128::from(servers)));
    }
    columns.extend(cycle.into_iter().flat_map(of_pull));
    Table::of_one_row(TableKind::Own, columns)
}

fn gauge(name: &str, value: i128) -> Column {
    Column::integers(name, Nature::Gauge, None, [Some(value)])
}

/// The counts of pull since its start.
fn of_pull(cycle: &Cycle) -> impl Iterator<Item = Column> {
    [
        ("PullCycles", cycle.cycles),
        ("PullFailures", cycle.failures),
        ("PullEndpointFailures", cycle.endpoint_failures),
        ("PullSkipped", cycle.skipped),
        ("PullMilliseconds", cycle.milliseconds),
    ]
    .into_iter()
    .map(|(name, value)| Column::integers(name, Nature::Counter, None, [Some(i128::from(value))]))
}
