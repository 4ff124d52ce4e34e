//! Runs the cycles: one at once, then one at every multiple of `pull-interval` after the start.
//!
//! Cycles never overlap: after a cycle that lasts longer than the interval the next one begins at
//! the next multiple. While the spool is full (`queue-size`) no cycle runs. The end of the program
//! cancels the running cycle, except for work on the disk, for which it waits within a bound.

use std::convert::Infallible;
use std::time::Duration;

use config::Pull;
use daemon::Service;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{info, warn};

use crate::cycle::Cycles;
use crate::disk::Disk;
use crate::journal::Journal;
use crate::monitor::{self, Monitor};
use crate::{Error, Machine};

/// How long the end waits for the disk, which may be publishing a snapshot or removing an
/// unfinished one.
pub(crate) const DISK_GRACE: Duration = Duration::from_millis(700);

/// The message while the spool is full.
pub(crate) const PAUSED: &str = "paused: dst-dir holds as many snapshots as queue-size allows; \
                                 look why haproxystats-process does not take them, or raise \
                                 queue-size";

/// Pulls until `shutdown` completes with its reason. Afterwards `tmp_dst_dir` is empty, unless the
/// disk hangs.
///
/// Needs a tokio runtime with I/O and timers. Threads that hang on a dead disk or name server are
/// left behind: the caller ends the runtime without waiting for them (`shutdown_background`).
///
/// # Errors
///
/// There is nothing to ask, snapshots could not be published, or the address of the monitor server
/// is taken.
pub async fn run(
    config: Pull,
    machine: Machine,
    service: Service,
    shutdown: impl Future<Output = &'static str>,
) -> Result<(), Error> {
    let listener = monitor::listen(&config)?;
    let monitor = Monitor::new(&config, machine.clock);
    let journal = Journal::new(machine.clock, service);
    let (disk, ends) = Disk::new(journal.clone());
    let reason = tokio::select! {
        biased;
        reason = shutdown => reason,
        never = live(service) => match never {},
        never = monitor::answer(listener, monitor.clone()) => match never {},
        begun = pull(config, machine, service, journal, disk, monitor.clone()) => match begun? {},
    };
    service.stopping();
    // A snapshot that is being published is whole and should not be lost; an unfinished one is
    // being removed.
    if timeout(DISK_GRACE, ends.wait()).await.is_err() {
        warn!("the disk has not answered at the end: the next start removes what was not finished");
    }
    info!(reason, "ended");
    Ok(())
}

/// Tells the watchdog that the thread of the sockets is running.
async fn live(service: Service) -> Infallible {
    let Some(interval) = service.alive_interval() else { return std::future::pending().await };
    loop {
        service.alive();
        sleep(interval).await;
    }
}

async fn pull(
    config: Pull,
    machine: Machine,
    service: Service,
    journal: Journal,
    disk: Disk,
    monitor: Monitor,
) -> Result<Infallible, Error> {
    let interval = config.pull_interval;
    let mut cycles = Cycles::new(config, machine, journal.clone(), disk).await?;
    cycles.set_monitor(monitor);
    service.ready();
    let start = Instant::now();
    let mut number = 0;
    let mut skipped = 0_u64;
    loop {
        if cycles.spool_is_full().await {
            let line = journal.begins("spool", "full");
            if line.is_due() {
                warn!("{PAUSED}{}", line.note());
            }
            service.status(PAUSED);
            skipped += 1;
            cycles.skip();
        } else {
            let line = journal.ends("spool");
            if line.is_due() {
                info!(skipped, "going on: dst-dir has room again{}", line.note());
            }
            skipped = 0;
            service.status(cycles.cycle().await);
        }
        let next = next_number(start.elapsed(), interval);
        log_missed_cycles(&journal, next - number - 1);
        number = next;
        sleep_until(start + after(interval, number)).await;
    }
}

/// Logs when cycles begin to take longer than the interval, and when they no longer do.
fn log_missed_cycles(journal: &Journal, missed: u64) {
    if missed > 0 {
        let line = journal.begins("interval", "too short");
        if line.is_due() {
            warn!(
                missed,
                "a cycle took longer than pull-interval; raise pull-interval, or lower \
                 pull-timeout{}",
                line.note()
            );
        }
        return;
    }
    let line = journal.ends("interval");
    if line.is_due() {
        info!("cycles take less than pull-interval again{}", line.note());
    }
}

/// The number of the first cycle, counted from 0, that begins after `elapsed`.
fn next_number(elapsed: Duration, interval: Duration) -> u64 {
    // The configuration refuses zero; a caller that passes it gets the shortest interval.
    let begun = elapsed.as_nanos() / interval.as_nanos().max(1);
    u64::try_from(begun).unwrap_or(u64::MAX).saturating_add(1)
}

/// The time between the start and the cycle of this number.
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
