//! What the monitor server tells of process: whether folds come, whether the backlog from before
//! the start is worked off, and whether a receiver loses metrics.
//!
//! The interval of the snapshots is what the spool shows: the longest of the last distances between
//! two of them, because snapshots of several machines lie closer together, and never less than the
//! `pull-interval` of our own configuration.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use daemon::monitor::{FigureName, Health};

use super::Core;

/// Intervals without a fold, or since a loss, in which process is unhealthy.
const INTERVALS_WITHOUT: u32 = 3;
/// Distances that are remembered.
const DISTANCES_MAX: usize = 9;
/// Seconds of the longest distance that counts as an interval; more is an outage of pull.
const DISTANCE_MAX: u64 = 3600;
/// Looks of the core at itself that may be missed before it counts as hung.
const LOOKS_WITHOUT: u32 = 3;
/// A loaded machine can stall the main loop for less than this.
const HANG_LEAST: Duration = Duration::from_secs(30);

/// Facts from all folds since the start.
#[derive(Debug, Default)]
pub(super) struct Folds {
    last: Option<Instant>,
    newest_second: Option<u64>,
    distances: VecDeque<u64>,
    /// The backlog from before the start is worked off.
    is_warm: bool,
}

impl Folds {
    /// A snapshot of this second was folded.
    fn add(&mut self, now: Instant, second: u64) {
        self.last = Some(now);
        let newest = self.newest_second.replace(second).unwrap_or(second);
        match second.checked_sub(newest) {
            Some(0) => {}
            Some(distance) => {
                self.distances.push_back(distance.min(DISTANCE_MAX));
                if self.distances.len() > DISTANCES_MAX {
                    self.distances.pop_front();
                }
            }
            // Another worker has folded an older one, unless the clock was set back.
            None if newest - second <= DISTANCE_MAX => self.newest_second = Some(newest),
            None => {}
        }
    }
}

/// The state of the program at one moment.
#[derive(Debug, Clone)]
pub(crate) struct State {
    begun: Instant,
    seen: Instant,
    look_interval: Duration,
    longest_distance: Duration,
    last_fold: Option<Instant>,
    is_warm: bool,
    is_ending: bool,
    /// Receivers that have lost metrics, and when for the last time.
    losses: Vec<(String, Instant)>,
}

impl State {
    /// The health at `now`, if pull's cycles begin at this interval.
    pub(crate) fn health(&self, now: Instant, pull_interval: Duration) -> Health {
        let failing = |text: String| Health::Failing(text);
        if self.is_ending {
            return failing("the program ends".to_owned());
        }
        let silent = now.saturating_duration_since(self.seen);
        if silent >= HANG_LEAST.max(self.look_interval * LOOKS_WITHOUT) {
            let seconds = silent.as_secs();
            return failing(format!("the main loop has not run for {seconds} s; report this"));
        }
        let limit = pull_interval.max(self.longest_distance) * INTERVALS_WITHOUT;
        let is_recent = |at: &Instant| now.saturating_duration_since(*at) < limit;
        let losing: Vec<&str> = self
            .losses
            .iter()
            .filter(|(_, at)| is_recent(at))
            .map(|(name, _)| name.as_str())
            .collect();
        if !losing.is_empty() {
            let names = losing.join(", ");
            return failing(format!("metrics are lost for {names}; the log says why"));
        }
        if !is_recent(&self.last_fold.unwrap_or(self.begun)) {
            let since = now.saturating_duration_since(self.last_fold.unwrap_or(self.begun));
            return failing(format!(
                "no snapshot was folded for {} s; look at haproxystats-pull, and at src-dir",
                since.as_secs()
            ));
        }
        match (self.last_fold, self.is_warm) {
            (None, _) => Health::Booting,
            (_, false) => Health::WarmingUp,
            _ => Health::Healthy,
        }
    }
}

impl Core {
    /// A snapshot of this second was folded.
    pub(super) fn note_fold(&mut self, second: u64, points: u64) {
        self.folds.add(self.now(), second);
        self.counts.folded_snapshots += 1;
        self.counts.folded_points += points;
        let is_worked_off = self.queue.oldest().is_none_or(|oldest| oldest >= self.begun_second);
        self.folds.is_warm |= is_worked_off;
    }

    /// The state for the monitor server.
    pub(crate) fn state(&self) -> State {
        let losses = self.receivers.iter();
        State {
            begun: self.begun,
            seen: self.now.monotonic,
            look_interval: self.settings.look_interval,
            longest_distance: Duration::from_secs(
                self.folds.distances.iter().max().copied().unwrap_or_default(),
            ),
            last_fold: self.folds.last,
            is_warm: self.folds.is_warm,
            is_ending: !self.phase.is_running(),
            losses: losses
                .filter_map(|one| Some((one.settings.name.clone(), one.lost_at?)))
                .collect(),
        }
    }

    /// The names of [`Core::values`].
    pub(crate) fn value_names(&self) -> Vec<FigureName> {
        let mut names = vec![
            FigureName::counter("snapshots", "folded"),
            FigureName::counter("snapshots", "metrics"),
            FigureName::counter("snapshots", "failed"),
            FigureName::gauge("snapshots", "waiting"),
            FigureName::gauge("snapshots", "parked"),
            FigureName::counter("children", "restarts"),
        ];
        for receiver in &self.receivers {
            let group = &receiver.settings.name;
            names.extend([
                FigureName::gauge(group, "up"),
                FigureName::counter(group, "batches"),
                FigureName::counter(group, "failures"),
                FigureName::counter(group, "dropped_metrics"),
                FigureName::counter(group, "refused_points"),
                FigureName::counter(group, "long_lines"),
                FigureName::gauge(group, "outbox_metrics"),
                FigureName::gauge(group, "outbox_bytes"),
            ]);
        }
        names
    }

    /// Figures for the monitor server.
    pub(crate) fn values(&self) -> Vec<u64> {
        let mut values = vec![
            self.counts.folded_snapshots,
            self.counts.folded_points,
            self.counts.failed_snapshots,
            self.queue.len() as u64,
            self.parked.len() as u64,
            self.counts.restarts,
        ];
        for receiver in &self.receivers {
            values.extend([
                u64::from(!receiver.circuit.is_down()),
                receiver.taken,
                receiver.failures,
                receiver.dropped_points,
                receiver.refused_points,
                receiver.long_lines,
                receiver.points(),
                receiver.bytes(),
            ]);
        }
        values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(10);

    fn state(begun: Instant) -> State {
        State {
            begun,
            seen: begun,
            look_interval: Duration::from_secs(10),
            longest_distance: Duration::ZERO,
            last_fold: None,
            is_warm: false,
            is_ending: false,
            losses: Vec::new(),
        }
    }

    fn failing(health: Health) -> String {
        match health {
            Health::Failing(reason) => reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn health_goes_from_booting_over_the_backlog_to_healthy() {
        let begun = Instant::now();
        let mut state = state(begun);
        let at = |seconds| begun + Duration::from_secs(seconds);
        assert_eq!(state.health(at(29), INTERVAL), Health::Booting);
        state.last_fold = Some(at(5));
        assert_eq!(state.health(at(29), INTERVAL), Health::WarmingUp);
        state.is_warm = true;
        assert_eq!(state.health(at(29), INTERVAL), Health::Healthy);
        state.is_ending = true;
        assert_eq!(failing(state.health(at(29), INTERVAL)), "the program ends");
    }

    #[test]
    fn three_intervals_without_a_fold_are_a_failure_by_the_longer_interval() {
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        let mut state = state(begun);
        state.seen = at(40);
        let reason = failing(state.health(at(40), INTERVAL));
        assert!(reason.starts_with("no snapshot was folded for 40 s"), "{reason}");
        (state.last_fold, state.is_warm) = (Some(at(10)), true);
        assert_eq!(state.health(at(39), INTERVAL), Health::Healthy);
        failing(state.health(at(40), INTERVAL));
        state.longest_distance = Duration::from_secs(60);
        assert_eq!(state.health(at(40), INTERVAL), Health::Healthy);
    }

    #[test]
    fn losses_and_a_hung_loop_are_failures_for_a_while() {
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        let mut state = state(begun);
        (state.last_fold, state.is_warm, state.seen) = (Some(at(50)), true, at(50));
        state.losses = vec![("graphite".to_owned(), at(45)), ("kafka".to_owned(), at(1))];
        let reason = failing(state.health(at(50), INTERVAL));
        assert_eq!(reason, "metrics are lost for graphite; the log says why");
        state.losses.clear();
        assert_eq!(state.health(at(79), INTERVAL), Health::Healthy);
        let reason = failing(state.health(at(80), INTERVAL));
        assert_eq!(reason, "the main loop has not run for 30 s; report this");
    }

    #[test]
    fn distances_are_those_of_new_snapshots() {
        let (mut folds, now) = (Folds::default(), Instant::now());
        for second in [100, 110, 105, 120, 100_000, 100_010, 50, 60] {
            folds.add(now, second);
        }
        assert_eq!(folds.distances, [10, 10, DISTANCE_MAX, 10, 10]);
        for second in 61..100 {
            folds.add(now, second);
        }
        assert_eq!(folds.distances, [1; DISTANCES_MAX]);
    }
}
