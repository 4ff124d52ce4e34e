//! Whether a receiver is up or down, and when it is tried again.
//!
//! A receiver goes down with the first batch that it refuses and comes up with the first that it
//! takes. While it is down, one try is made at a time: `retries` quick tries whose pauses grow from
//! `interval` by `backoff`, then one try every `delay`. A random part of up to a tenth is taken off
//! each pause, so that many balancers do not try at one moment. A receiver can ask for a longer
//! pause, up to [`WAIT_MAX`].

use std::time::{Duration, Instant};

use config::Retries;
use daemon::Backoff;

/// When a receiver that is down is tried again.
#[derive(Debug, Clone, PartialEq)]
pub struct CircuitSettings {
    /// Quick tries before `delay` is waited.
    pub retries: Retries,
    /// First pause between tries.
    pub interval: Duration,
    /// Factor from one pause to the next.
    pub backoff: f64,
    /// Pause once the quick tries are used up.
    pub delay: Duration,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Circuit {
    settings: CircuitSettings,
    quick: Backoff,
    quick_tries: u32,
    /// When the next try is due, while the receiver is down.
    retry_at: Option<Instant>,
}

/// The largest part of a pause that is taken off at random.
const JITTER: f64 = 0.1;
/// A receiver that asks for a longer wait is tried after this time nevertheless.
const WAIT_MAX: Duration = Duration::from_secs(600);
/// Without a pause, tries would keep a processor busy for nothing.
const PAUSE_MIN: Duration = Duration::from_millis(20);

impl Circuit {
    pub(crate) fn new(settings: &CircuitSettings) -> Self {
        let longest = settings.delay.max(settings.interval);
        Self {
            quick: Backoff::new(settings.interval, settings.backoff, longest),
            settings: settings.clone(),
            quick_tries: 0,
            retry_at: None,
        }
    }

    pub(crate) const fn is_down(&self) -> bool {
        self.retry_at.is_some()
    }

    /// When a receiver that is down is tried again.
    pub(crate) const fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Whether a batch may be sent now.
    pub(crate) fn allows(&self, now: Instant) -> bool {
        self.retry_at.is_none_or(|at| now >= at)
    }

    /// The receiver took a batch. True if it was down before.
    pub(crate) fn close(&mut self) -> bool {
        self.quick.reset();
        self.quick_tries = 0;
        self.retry_at.take().is_some()
    }

    /// The receiver refused a batch, and asks us to wait for at least `wait`. True if it was up
    /// before. `random` is from 0 to 1.
    pub(crate) fn open(&mut self, now: Instant, random: f64, wait: Duration) -> bool {
        let was_up = self.retry_at.is_none();
        let is_quick = match self.settings.retries {
            Retries::Forever => true,
            Retries::Times(times) => self.quick_tries < times,
        };
        self.quick_tries = self.quick_tries.saturating_add(1);
        let pause = if is_quick { self.quick.pause() } else { self.settings.delay };
        let pause = pause.mul_f64(JITTER.mul_add(-random.clamp(0.0, 1.0), 1.0)).max(PAUSE_MIN);
        self.retry_at = Some(now + pause.max(wait.min(WAIT_MAX)));
        was_up
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn circuit(retries: Retries) -> Circuit {
        let (interval, backoff, delay) = (SECOND, 2.0, 10 * SECOND);
        Circuit::new(&CircuitSettings { retries, interval, backoff, delay })
    }

    fn pauses(circuit: &mut Circuit, random: f64, count: usize) -> Vec<Duration> {
        let now = Instant::now();
        let pause = |_| {
            circuit.open(now, random, Duration::ZERO);
            circuit.retry_at().unwrap() - now
        };
        (0..count).map(pause).collect()
    }

    #[test]
    fn a_change_is_reported_once() {
        let (mut circuit, now) = (circuit(Retries::Times(0)), Instant::now());
        let changes = [
            circuit.close(),
            circuit.open(now, 0.0, Duration::ZERO),
            circuit.open(now, 0.0, Duration::ZERO),
            circuit.close(),
            circuit.close(),
        ];
        assert_eq!(changes, [false, true, false, true, false]);
    }

    #[test]
    fn quick_tries_then_one_every_delay_and_anew_after_a_success() {
        let mut circuit = circuit(Retries::Times(2));
        let seen = pauses(&mut circuit, 0.0, 4);
        assert_eq!(seen, [SECOND, 2 * SECOND, 10 * SECOND, 10 * SECOND]);
        circuit.close();
        assert_eq!(pauses(&mut circuit, 0.0, 1), [SECOND]);
    }

    #[test]
    fn endless_quick_tries_have_pauses_that_grow_up_to_delay() {
        assert_eq!(pauses(&mut circuit(Retries::Forever), 0.0, 9).last(), Some(&(10 * SECOND)));
    }

    #[test]
    fn at_most_a_tenth_is_taken_off_and_some_pause_always_stays() {
        assert_eq!(pauses(&mut circuit(Retries::Times(1)), 1.0, 1), [SECOND.mul_f64(0.9)]);
        let mut circuit = circuit(Retries::Times(0));
        circuit.settings.delay = Duration::ZERO;
        assert_eq!(pauses(&mut circuit, 0.5, 1), [PAUSE_MIN]);
    }

    #[test]
    fn a_try_is_allowed_when_its_pause_is_over() {
        let (mut circuit, now) = (circuit(Retries::Forever), Instant::now());
        assert!(circuit.allows(now) && !circuit.is_down());
        circuit.open(now, 0.0, Duration::ZERO);
        assert!(!circuit.allows(now) && circuit.allows(now + SECOND));
    }

    #[test]
    fn a_receiver_can_ask_for_a_longer_pause_within_a_bound() {
        let (mut circuit, now) = (circuit(Retries::Forever), Instant::now());
        let mut pause = |wait| {
            circuit.open(now, 0.0, wait);
            circuit.retry_at().unwrap() - now
        };
        assert_eq!(pause(Duration::from_millis(1)), SECOND);
        assert_eq!(pause(30 * SECOND), 30 * SECOND);
        assert_eq!(pause(Duration::MAX), WAIT_MAX);
    }
}
