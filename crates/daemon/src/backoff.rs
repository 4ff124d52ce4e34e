//! How long to wait before the next try, as a pure schedule: no clock, no sleep.
//!
//! The n-th pause is `interval * factor^n`, at most `limit`. After a success the schedule begins
//! anew.

use std::time::Duration;

/// A growing pause with an upper limit.
///
/// ```
/// use std::time::Duration;
///
/// use haproxystats_daemon::Backoff;
///
/// let seconds = Duration::from_secs;
/// let mut backoff = Backoff::new(seconds(1), 2.0, seconds(3));
/// assert_eq!([backoff.pause(), backoff.pause(), backoff.pause()], [1, 2, 3].map(seconds));
/// backoff.reset();
/// assert_eq!(backoff.pause(), seconds(1));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Backoff {
    interval: Duration,
    factor: f64,
    limit: Duration,
    next: Duration,
}

impl Backoff {
    /// The first pause is `interval`. Each further pause is `factor` (at least 1) times the pause
    /// before, at most `limit`.
    #[must_use]
    pub fn new(interval: Duration, factor: f64, limit: Duration) -> Self {
        Self { interval, factor: factor.max(1.0), limit, next: interval.min(limit) }
    }

    /// The pause before the next try.
    pub fn pause(&mut self) -> Duration {
        let pause = self.next;
        let grown = pause.as_secs_f64() * self.factor;
        self.next = Duration::try_from_secs_f64(grown).unwrap_or(self.limit).min(self.limit);
        pause
    }

    /// A try succeeded: the next pause is the first again.
    pub fn reset(&mut self) {
        self.next = self.interval.min(self.limit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_by_the_factor_up_to_the_limit_and_begin_anew() {
        let seconds = Duration::from_secs;
        let mut backoff = Backoff::new(seconds(2), 2.0, seconds(10));
        let pauses: Vec<_> = (0..5).map(|_| backoff.pause()).collect();
        assert_eq!(pauses, [seconds(2), seconds(4), seconds(8), seconds(10), seconds(10)]);
        backoff.reset();
        assert_eq!(backoff.pause(), seconds(2));
    }

    #[test]
    fn a_factor_below_one_or_a_huge_one_keeps_to_the_bounds() {
        let mut shrinking = Backoff::new(Duration::from_secs(1), 0.1, Duration::from_secs(9));
        assert_eq!([shrinking.pause(), shrinking.pause()], [Duration::from_secs(1); 2]);
        let mut huge = Backoff::new(Duration::from_secs(1), f64::MAX, Duration::from_secs(9));
        huge.pause();
        assert_eq!(huge.pause(), Duration::from_secs(9));
    }
}
