//! What haproxystats says about itself with each snapshot: how long the parts took and how many metrics they gave.
//!
//! Emits `haproxystats.Metrics…` and `haproxystats.…WallClockTime…`. A part's count is one more than its lines, as the original
//! counted; a line that goes out on two paths counts once.

use std::time::{Duration, Instant};

use daemon::Clock;
use metric::{Batch, Column, Part, Section, Subject, Values};

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

/// The section about a batch that is encoded by now.
pub(crate) fn section(batch: &Batch, stopwatch: &Stopwatch) -> Section {
    let time = |name: &str, took: Duration| {
        let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        Column::full(name, Values::Milliseconds(vec![milliseconds]))
    };
    let count = |name: &str, part| Column::integers(name, [Some(batch.count(part) as i128 + 1)]);
    let lap = |name: &str, laps: &[&str]| time(name, stopwatch.lap_of(laps));
    let columns = vec![
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
    ];
    Section::of_one(Subject::Own, Part::Own, columns)
}
