//! Whether a receiver is up or down, and when it is tried again: pure decisions, no clock, no channel.
//!
//! It goes down with the first batch that it refuses and comes up with the first that it takes. While it is down one try goes out at a
//! time: `retries` quick ones whose pauses grow from `interval` by `backoff`, then one every `delay`. Each pause is shortened at random by up to a
//! tenth, so that many balancers do not knock together.

use std::time::Duration;

use config::Retries;
use daemon::Backoff;

/// A receiver's state.
#[derive(Debug)]
pub(crate) struct Circuit {
    down: bool,
    quick: Backoff,
    retries: Retries,
    /// Quick pauses so far.
    made: u32,
    delay: Duration,
    random: fn() -> f64,
}

/// What a result means for the operator.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// As before.
    None,
    /// Down from now on.
    WentDown,
    /// Up again.
    CameUp,
}

/// The largest part of a pause that chance takes away.
const JITTER: f64 = 0.1;
/// Whatever the file says: trying without a pause would keep a processor busy for nothing.
const PAUSE_LEAST: Duration = Duration::from_millis(20);
/// Pause between tries where no option says it.
const WITHOUT_GRAPHITE: Duration = Duration::from_secs(2);

impl Circuit {
    /// `random` gives numbers from 0 to 1. Without Graphite it is local-store that can be down.
    pub(crate) fn new(graphite: Option<&config::Graphite>, random: fn() -> f64) -> Self {
        let (interval, factor, retries, delay) = graphite
            .map_or((WITHOUT_GRAPHITE, 1.0, Retries::Forever, WITHOUT_GRAPHITE), |g| {
                (g.interval, g.backoff, g.retries, g.delay)
            });
        Self {
            down: false,
            quick: Backoff::new(interval, factor, delay.max(interval)),
            retries,
            made: 0,
            delay,
            random,
        }
    }

    pub(crate) const fn is_down(&self) -> bool {
        self.down
    }

    /// It took a batch.
    pub(crate) fn took(&mut self) -> Change {
        self.quick.reset();
        self.made = 0;
        if std::mem::replace(&mut self.down, false) { Change::CameUp } else { Change::None }
    }

    /// It refused one.
    pub(crate) const fn refused(&mut self) -> Change {
        if std::mem::replace(&mut self.down, true) { Change::None } else { Change::WentDown }
    }

    /// The pause before the next try.
    pub(crate) fn pause(&mut self) -> Duration {
        let quick = match self.retries {
            Retries::Forever => true,
            Retries::Times(times) => self.made < times,
        };
        self.made = self.made.saturating_add(1);
        let pause = if quick { self.quick.pause() } else { self.delay };
        pause.mul_f64((self.random)().clamp(0.0, 1.0).mul_add(-JITTER, 1.0)).max(PAUSE_LEAST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn circuit(retries: Retries, random: fn() -> f64) -> Circuit {
        Circuit {
            down: false,
            quick: Backoff::new(SECOND, 2.0, 10 * SECOND),
            retries,
            made: 0,
            delay: 10 * SECOND,
            random,
        }
    }

    #[test]
    fn a_state_is_told_once() {
        let mut circuit = circuit(Retries::Times(0), || 0.0);
        let changes = [circuit.took(), circuit.refused(), circuit.refused(), circuit.took()];
        assert_eq!(changes, [Change::None, Change::WentDown, Change::None, Change::CameUp]);
    }

    #[test]
    fn quick_tries_then_one_every_delay_and_anew_after_a_success() {
        let mut circuit = circuit(Retries::Times(2), || 0.0);
        let pauses: Vec<_> = (0..4).map(|_| circuit.pause()).collect();
        assert_eq!(pauses, [SECOND, 2 * SECOND, 10 * SECOND, 10 * SECOND]);
        circuit.took();
        assert_eq!(circuit.pause(), SECOND);
    }

    #[test]
    fn without_end_pauses_grow_up_to_delay() {
        let mut circuit = circuit(Retries::Forever, || 0.0);
        assert_eq!((0..9).map(|_| circuit.pause()).last(), Some(10 * SECOND));
    }

    #[test]
    fn there_is_a_pause_where_the_file_asks_for_none() {
        let mut circuit = circuit(Retries::Times(0), || 0.0);
        circuit.delay = Duration::ZERO;
        assert_eq!(circuit.pause(), PAUSE_LEAST);
    }

    #[test]
    fn chance_takes_at_most_a_tenth() {
        let mut circuit = circuit(Retries::Times(1), || 1.0);
        assert_eq!(circuit.pause(), SECOND.mul_f64(0.9));
    }
}
