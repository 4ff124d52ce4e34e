//! The order of cycles: one at once, then one at every multiple of `pull-interval` after the start.
//!
//! Cycles never overlap: one that lasts longer skips the starts that it missed, and the phase
//! stays. While the spool is full (`queue-size`) none is run. The end cuts through whatever is
//! going on, except the publishing rename.

use std::convert::Infallible;
use std::time::Duration;

use config::Pull;
use daemon::{Clock, Service};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{info, warn};

use crate::Error;
use crate::cycle::Cycles;

/// How long the end waits for a snapshot that is being published.
const PUBLISH_GRACE: Duration = Duration::from_millis(700);

/// Pulls until `shutdown` completes with the reason for it. Nothing is left in `tmp_dst_dir` then.
///
/// Needs a tokio runtime with I/O and timers. Threads that hang on a dead disk or name server are
/// left behind.
///
/// # Errors
///
/// It cannot begin: there is nothing to ask, or snapshots could not be published.
pub async fn run(
    config: Pull,
    clock: Clock,
    service: Service,
    shutdown: impl Future<Output = &'static str>,
) -> Result<(), Error> {
    let interval = config.pull_interval;
    let cycles = Cycles::new(config, clock)?;
    let being_published = cycles.being_published();
    service.ready();
    let reason = tokio::select! {
        biased;
        reason = shutdown => reason,
        never = live(service) => match never {},
        never = pull(cycles, interval, service) => match never {},
    };
    service.stopping();
    // What is being published is whole: it had better come out than be cleaned at the next start. A disk that hangs is left behind.
    let _ = timeout(PUBLISH_GRACE, being_published.lock()).await;
    info!(reason, "ended");
    Ok(())
}

/// Says that the one thread of the sockets does not hang.
async fn live(service: Service) -> Infallible {
    let Some(interval) = service.alive_interval() else { return std::future::pending().await };
    loop {
        service.alive();
        sleep(interval).await;
    }
}

async fn pull(mut cycles: Cycles, interval: Duration, service: Service) -> Infallible {
    let start = Instant::now();
    let mut number = 0;
    let mut skipped_while_full = None;
    loop {
        if cycles.spool_is_full() {
            if skipped_while_full.is_none() {
                warn!("paused: dst-dir holds as many snapshots as queue-size allows");
                service.status("paused: dst-dir holds as many snapshots as queue-size allows");
            }
            *skipped_while_full.get_or_insert(0_u64) += 1;
            cycles.skip();
        } else {
            if let Some(skipped) = skipped_while_full.take() {
                info!(skipped, "going on: dst-dir has room again");
            }
            service.status(cycles.cycle().await);
        }
        let next = next_number(start.elapsed(), interval);
        let missed = next - number - 1;
        if missed > 0 {
            warn!(missed, "a cycle took longer than pull-interval");
        }
        number = next;
        sleep_until(start + after(interval, number)).await;
    }
}

/// The number of the first cycle, counted from 0, that begins after `elapsed`.
fn next_number(elapsed: Duration, interval: Duration) -> u64 {
    // The configuration allows no zero; for whoever calls us otherwise it is the shortest interval
    // there is.
    let begun = elapsed.as_nanos() / interval.as_nanos().max(1);
    u64::try_from(begun).unwrap_or(u64::MAX).saturating_add(1)
}

/// When that cycle begins, after the start.
fn after(interval: Duration, number: u64) -> Duration {
    let nanos = interval.as_nanos().saturating_mul(number.into());
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cycles_begin_at_multiples_of_the_interval_whatever_one_takes() {
        let interval = Duration::from_secs(10);
        let millis = Duration::from_millis;
        let cases = [(0, 1), (1, 1), (9_999, 1), (10_000, 2), (10_001, 2), (34_500, 4)];
        for (elapsed, number) in cases {
            assert_eq!(next_number(millis(elapsed), interval), number, "{elapsed} ms");
        }
        assert_eq!(after(interval, 4), Duration::from_secs(40));
    }

    #[test]
    fn the_next_cycle_is_never_in_the_past_and_never_more_than_an_interval_away() {
        let interval = Duration::from_nanos(333_333_333);
        for step in 0..10_000_u32 {
            let elapsed = Duration::from_nanos(7_654_321) * step;
            let next = after(interval, next_number(elapsed, interval));
            assert!(next > elapsed && next - elapsed <= interval, "{elapsed:?}");
        }
    }
}
