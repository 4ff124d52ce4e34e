//! What haproxystats says about itself with each snapshot: how long the parts took and how many metrics they gave.
//!
//! Emits `haproxystats.Metrics…`, `haproxystats.…WallClockTime…`, `haproxystats.DamagedFiles`, and of pull's cycle, where the snapshot tells of it,
//! `haproxystats.MissingEndpoints` and `haproxystats.Pull…`. A part's count is one more than its lines, as the original
//! counted; a line that goes out on two paths counts once.

use std::time::{Duration, Instant};

use daemon::Clock;
use metric::{Batch, Column, Part, Section, Subject, Values};
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

    /// A part has ended.
    pub(crate) fn lap(&mut self, name: &'static str) {
        let now = (self.clock.monotonic)();
        self.laps.push((name, now.saturating_duration_since(self.last)));
        self.last = now;
    }

    /// Everything so far.
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

/// The section about a batch that is folded by now.
pub(crate) fn section(
    batch: &Batch,
    stopwatch: &Stopwatch,
    damaged_files: usize,
    cycle: Option<&Cycle>,
) -> Section {
    let time = |name: &str, took: Duration| {
        let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        Column::full(name, Values::Milliseconds(vec![milliseconds]))
    };
    let count = |name: &str, part| Column::integers(name, [Some(batch.count(part) as i128 + 1)]);
    let lap = |name: &str, laps: &[&str]| time(name, stopwatch.lap_of(laps));
    let mut columns = vec![
        lap("WallClockTimeHAProxy", &[DAEMON]),
        lap("WallClockTimeFrontends", &[FRONTENDS]),
        lap("WallClockTimeBackends", &[BACKENDS]),
        lap("WallClockTimeServers", &[SERVERS]),
        lap("WallClockTimeAllStats", &[READ, FRONTENDS, BACKENDS, SERVERS]),
        time("TotalWallClockTime", stopwatch.total()),
        count("MetricsHAProxy", Part::HAProxy),
        count("MetricsFrontend", Part::Frontend),
        count("MetricsBackend", Part::Backend),
        count("MetricsServer", Part::Server),
        Column::integers("DamagedFiles", [Some(damaged_files as i128)]),
    ];
    columns.extend(cycle.into_iter().flat_map(of_pull));
    Section::of_one(Subject::Own, Part::Own, columns)
}

/// What pull says of itself: the endpoints that this snapshot lacks, and its counts since its start.
fn of_pull(cycle: &Cycle) -> impl Iterator<Item = Column> {
    [
        ("MissingEndpoints", cycle.missing),
        ("PullCycles", cycle.cycles),
        ("PullFailures", cycle.failures),
        ("PullEndpointFailures", cycle.endpoint_failures),
        ("PullSkipped", cycle.skipped),
        ("PullMilliseconds", cycle.milliseconds),
    ]
    .into_iter()
    .map(|(name, value)| Column::integers(name, [Some(i128::from(value))]))
}
