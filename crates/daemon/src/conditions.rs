//! Conditions that last, such as an endpoint that is down: logged when they begin, when they
//! change and when they end, and not while they last.
//!
//! A condition is a key (such as an endpoint) and a state (the failure, without numbers that change
//! each time). There are two bounds, and one line reports when either is reached. Beyond `limit`
//! keys a further condition is not logged. A key whose state changes more than [`CHANGES_MAX`]
//! times within [`CHANGES_PERIOD`] is not logged until that period is over.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Lines about one key within [`CHANGES_PERIOD`].
pub const CHANGES_MAX: u32 = 10;
/// The period of [`CHANGES_MAX`].
pub const CHANGES_PERIOD: Duration = Duration::from_secs(3600);

/// What to log about a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// Nothing: the state was logged before.
    Silent,
    /// The state.
    State,
    /// The state, and that the key is silent from now on because it changes too often.
    LastState,
    /// The state, and that further keys are not logged.
    LastKey,
}

/// Conditions by key.
///
/// ```
/// use std::time::Instant;
///
/// use haproxystats_daemon::Conditions;
///
/// let (mut endpoints, now) = (Conditions::new(100), Instant::now());
/// assert!(endpoints.begin("a.sock", "refused", now).is_due());
/// assert!(!endpoints.begin("a.sock", "refused", now).is_due());
/// assert!(endpoints.end("a.sock", now).is_due());
/// ```
#[derive(Debug)]
pub struct Conditions {
    limit: usize,
    full_was_logged: bool,
    known: BTreeMap<String, Condition>,
}

#[derive(Debug)]
struct Condition {
    /// `None` once the condition has ended; it is kept for a while to count its changes.
    state: Option<String>,
    /// The state that was logged last, which differs from `state` while the key is silent.
    logged: Option<String>,
    since: Instant,
    changes: u32,
}

impl Line {
    /// Whether there is something to log.
    #[must_use]
    pub const fn is_due(self) -> bool {
        !matches!(self, Self::Silent)
    }

    /// What to append to the message.
    #[must_use]
    pub const fn note(self) -> &'static str {
        match self {
            Self::Silent | Self::State => "",
            Self::LastState => " (this changes often: not logged again for an hour)",
            Self::LastKey => " (more of this kind are not logged)",
        }
    }
}

impl Conditions {
    /// No condition yet, and at most `limit` at a time.
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        Self { limit, full_was_logged: false, known: BTreeMap::new() }
    }

    /// Enters the state of a key.
    pub fn begin(&mut self, key: &str, state: &str, now: Instant) -> Line {
        if let Some(known) = self.known.get_mut(key) {
            return known.enter(Some(state), now);
        }
        self.forget_ended(now);
        if self.known.len() >= self.limit {
            let was_logged = std::mem::replace(&mut self.full_was_logged, true);
            return if was_logged { Line::Silent } else { Line::LastKey };
        }
        let state = Some(state.to_owned());
        let condition = Condition { logged: state.clone(), state, since: now, changes: 1 };
        self.known.insert(key.to_owned(), condition);
        Line::State
    }

    /// Ends the condition of a key.
    pub fn end(&mut self, key: &str, now: Instant) -> Line {
        match self.known.get_mut(key) {
            Some(known) => known.enter(None, now),
            None => Line::Silent,
        }
    }

    /// Ends every condition for whose key `lasts` is false, and returns the keys to log.
    pub fn end_others(
        &mut self,
        lasts: impl Fn(&str) -> bool,
        now: Instant,
    ) -> Vec<(String, Line)> {
        let mut ended = Vec::new();
        for (key, known) in &mut self.known {
            if !lasts(key) {
                let line = known.enter(None, now);
                if line.is_due() {
                    ended.push((key.clone(), line));
                }
            }
        }
        ended
    }

    /// How many keys are in some state.
    #[must_use]
    pub fn count(&self) -> usize {
        self.known.values().filter(|known| known.state.is_some()).count()
    }

    fn forget_ended(&mut self, now: Instant) {
        if self.known.len() >= self.limit {
            self.known.retain(|_, known| known.state.is_some());
            self.full_was_logged &= self.known.len() >= self.limit;
        }
        self.known.retain(|_, known| known.state.is_some() || !known.period_is_over(now));
    }
}

impl Condition {
    /// Enters a state and returns what to log. An unchanged state is logged too, if the key was
    /// silent and its period is over.
    fn enter(&mut self, state: Option<&str>, now: Instant) -> Line {
        let is_new = self.state.as_deref() != state;
        let is_logged = self.logged.as_deref() == state;
        if !is_new && (is_logged || !self.period_is_over(now)) {
            return Line::Silent;
        }
        if self.period_is_over(now) {
            (self.since, self.changes) = (now, 0);
        }
        self.state = state.map(str::to_owned);
        self.changes = self.changes.saturating_add(1);
        if self.changes > CHANGES_MAX || is_logged {
            return Line::Silent;
        }
        self.logged = self.state.clone();
        if self.changes == CHANGES_MAX { Line::LastState } else { Line::State }
    }

    fn period_is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= CHANGES_PERIOD
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_logged_when_it_begins_changes_and_ends() {
        let (mut conditions, now) = (Conditions::new(9), Instant::now());
        let mut begin = |state| conditions.begin("a", state, now);
        let lines = [begin("down"), begin("down"), begin("slow"), begin("slow")];
        assert_eq!(lines, [Line::State, Line::Silent, Line::State, Line::Silent]);
        assert_eq!(conditions.count(), 1);
        let ends = [conditions.end("a", now), conditions.end("a", now), conditions.end("b", now)];
        assert_eq!(ends, [Line::State, Line::Silent, Line::Silent]);
        assert_eq!(conditions.begin("a", "slow", now), Line::State, "it began anew");
    }

    #[test]
    fn a_state_that_flaps_is_logged_ten_times_an_hour() {
        let (mut conditions, start) = (Conditions::new(9), Instant::now());
        let mut count = |at: Duration| {
            let lines =
                [conditions.begin("a", "down", start + at), conditions.end("a", start + at)];
            lines.into_iter().filter(|line| line.is_due()).count()
        };
        let first_hour: usize = (0..600).map(|second| count(Duration::from_secs(second))).sum();
        assert_eq!(first_hour, CHANGES_MAX as usize);
        assert_eq!(count(CHANGES_PERIOD), 2, "logged again in the next hour");
    }

    #[test]
    fn the_state_of_a_silent_key_is_logged_when_its_period_is_over() {
        let (mut conditions, start) = (Conditions::new(9), Instant::now());
        for _ in 0..20 {
            conditions.begin("a", "down", start);
            conditions.end("a", start);
        }
        assert_eq!(conditions.begin("a", "down", start), Line::Silent);
        assert_eq!(conditions.begin("a", "down", start + CHANGES_PERIOD), Line::State);
        assert_eq!(conditions.begin("a", "down", start + 2 * CHANGES_PERIOD), Line::Silent);
        assert_eq!(conditions.end("a", start + 2 * CHANGES_PERIOD), Line::State);
    }

    #[test]
    fn beyond_the_limit_of_keys_one_line_says_so() {
        let (mut conditions, now) = (Conditions::new(2), Instant::now());
        let mut begin = |key: &str| conditions.begin(key, "down", now);
        let lines = [begin("a"), begin("b"), begin("c"), begin("d"), begin("a")];
        assert_eq!(lines, [Line::State, Line::State, Line::LastKey, Line::Silent, Line::Silent]);
        conditions.end("a", now);
        assert_eq!(
            conditions.begin("c", "down", now),
            Line::State,
            "an ended condition makes room"
        );
    }

    #[test]
    fn conditions_that_are_not_seen_again_have_ended() {
        let (mut conditions, now) = (Conditions::new(9), Instant::now());
        for key in ["a", "b", "c"] {
            conditions.begin(key, "damaged", now);
        }
        let ended = conditions.end_others(|key| key == "b", now);
        assert_eq!(ended, [("a".to_owned(), Line::State), ("c".to_owned(), Line::State)]);
        assert!(conditions.end_others(|key| key == "b", now).is_empty());
    }
}
