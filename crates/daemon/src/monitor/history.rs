//! The figures of the last hour, so that counters can be given over any time within it.
//!
//! A sample is kept for each second in which there was one, so the memory has a bound. Names are
//! given once; a sample has their values in the same order.

use std::collections::VecDeque;
use std::fmt::Write;
use std::time::{Duration, Instant};

/// Seconds of the longest time over which counters are given.
pub const HISTORY_SECONDS: u64 = 3600;

/// The least time between two samples.
const SPACING: Duration = Duration::from_secs(1);

/// How a figure is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nature {
    /// Its growth within the time that is asked for.
    Counter,
    /// Its last value.
    Gauge,
}

/// A figure's place in the JSON, and its nature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FigureName {
    /// The object in which it is: a source, or a part of the program.
    pub group: String,
    /// Its name there.
    pub name: &'static str,
    /// How it is given.
    pub nature: Nature,
}

impl FigureName {
    /// A figure that is given by its growth.
    #[must_use]
    pub fn counter(group: impl Into<String>, name: &'static str) -> Self {
        Self { group: group.into(), name, nature: Nature::Counter }
    }

    /// A figure that is given by its last value.
    #[must_use]
    pub fn gauge(group: impl Into<String>, name: &'static str) -> Self {
        Self { group: group.into(), name, nature: Nature::Gauge }
    }
}

/// The values of the last hour.
#[derive(Debug)]
pub struct History {
    begun: Instant,
    names: Vec<FigureName>,
    samples: VecDeque<(Instant, Vec<u64>)>,
    latest: Vec<u64>,
}

impl History {
    /// No values yet. Figures of one group follow each other.
    #[must_use]
    pub fn new(names: Vec<FigureName>, begun: Instant) -> Self {
        let zeros = vec![0; names.len()];
        // Counters begin at 0, and a time that reaches back behind the start counts from there.
        let samples = VecDeque::from([(begun, zeros.clone())]);
        Self { begun, names, samples, latest: zeros }
    }

    /// Adds the values of this moment, in the order of the names.
    pub fn record(&mut self, now: Instant, values: Vec<u64>) {
        debug_assert_eq!(values.len(), self.names.len(), "one value for each name");
        let is_due = self.samples.back().is_none_or(|(at, _)| now.duration_since(*at) >= SPACING);
        if is_due {
            self.samples.push_back((now, values.clone()));
        }
        self.latest = values;
        let oldest = Duration::from_secs(HISTORY_SECONDS);
        // The sample before the oldest moment has the values of that moment.
        while self.samples.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= oldest) {
            self.samples.pop_front();
        }
    }

    /// The groups, each once.
    #[must_use]
    pub fn groups(&self) -> Vec<String> {
        let mut groups: Vec<String> = self.names.iter().map(|name| name.group.clone()).collect();
        groups.dedup();
        groups
    }

    /// Figures over the last `seconds` as one line of JSON: of one group, or of all.
    #[must_use]
    pub fn json(&self, now: Instant, group: Option<&str>, seconds: u64) -> Option<String> {
        let span = Duration::from_secs(seconds);
        let is_before = |(at, _): &&(Instant, Vec<u64>)| now.duration_since(*at) >= span;
        let before = self.samples.iter().rev().find(is_before).or_else(|| self.samples.front());
        let before = before.map(|(_, values)| values.as_slice()).unwrap_or_default();
        let uptime = now.duration_since(self.begun).as_secs();
        let mut json = format!("{{\"instance\": {{\"uptime\": {uptime}}}, \"interval\": {seconds}");
        let mut open = "";
        for (index, FigureName { group: own, name, nature }) in self.names.iter().enumerate() {
            if group.is_some_and(|group| group != own) {
                continue;
            }
            let value = self.latest.get(index).copied().unwrap_or_default();
            let value = match nature {
                Nature::Gauge => value,
                Nature::Counter => {
                    value.saturating_sub(before.get(index).copied().unwrap_or_default())
                }
            };
            let separator = if open.is_empty() { "" } else { "}" };
            // Writing to a string cannot fail.
            let _ = if open == own {
                write!(json, ", \"{name}\": {value}")
            } else {
                write!(json, "{separator}, \"{own}\": {{\"{name}\": {value}")
            };
            open = own;
        }
        if open.is_empty() {
            return None;
        }
        json.push_str("}}");
        Some(json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(begun: Instant) -> History {
        let names = vec![
            FigureName::counter("cycles", "begun"),
            FigureName::gauge("cycles", "milliseconds"),
            FigureName::counter("haproxy", "failures"),
        ];
        History::new(names, begun)
    }

    #[test]
    fn counters_grow_within_the_time_and_gauges_are_the_last() {
        let begun = Instant::now();
        let mut history = history(begun);
        for second in 1..=5000_u64 {
            history.record(begun + Duration::from_secs(second), vec![second, second % 7, 3]);
        }
        let now = begun + Duration::from_secs(5000);
        assert_eq!(
            history.json(now, None, 300).unwrap(),
            "{\"instance\": {\"uptime\": 5000}, \"interval\": 300, \"cycles\": {\"begun\": 300, \
             \"milliseconds\": 2}, \"haproxy\": {\"failures\": 0}}"
        );
        let cycles = |seconds| history.json(now, Some("cycles"), seconds).unwrap();
        assert!(cycles(1).contains("{\"begun\": 1,"), "{}", cycles(1));
        assert!(cycles(3600).ends_with("{\"begun\": 3600, \"milliseconds\": 2}}"));
        assert_eq!(history.json(now, Some("nosuch"), 300), None);
        assert_eq!(history.groups(), ["cycles", "haproxy"]);
    }

    #[test]
    fn a_time_before_the_start_counts_from_the_start() {
        let begun = Instant::now();
        let mut history = history(begun);
        history.record(begun + Duration::from_millis(10), vec![4, 0, 1]);
        let json = history.json(begun + Duration::from_millis(20), None, 3600).unwrap();
        assert!(json.contains("\"begun\": 4") && json.contains("\"failures\": 1"), "{json}");
    }

    #[test]
    fn samples_have_a_bound() {
        let begun = Instant::now();
        let mut history = history(begun);
        for tick in 0..40_000 {
            history.record(begun + Duration::from_millis(250 * tick), vec![tick, 0, 0]);
        }
        assert!(history.samples.len() as u64 <= HISTORY_SECONDS + 2, "{}", history.samples.len());
    }
}
