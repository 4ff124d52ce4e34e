//! What the monitor server tells of pull: its health by the age of the last snapshot, and figures
//! of its cycles and sources.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use config::{Listen, Pull};
use daemon::Clock;
use daemon::monitor::{Board, FigureName, Health, ListenError, Listener, Subject, Vitals, serve};
use spool::cycle::Cycle;
use tracing::{error, info};

use crate::responses::Responses;

/// Intervals without a snapshot after which pull is unhealthy.
const INTERVALS_WITHOUT: u32 = 3;
/// The sources by their names.
const SOURCES: [&str; 3] = ["haproxy", "uwsgi", "zope"];

/// The figures of pull. Without `monitor-listen` nobody asks for them.
#[derive(Debug, Clone)]
pub(crate) struct Monitor {
    board: Option<Arc<Board<Pulse>>>,
    clock: Clock,
    pulse: Pulse,
    published: u64,
    bytes: u64,
    sources: [SourceCounts; 3],
}

/// The state from which the health follows.
#[derive(Debug, Clone)]
struct Pulse {
    begun: Instant,
    interval: Duration,
    last_snapshot: Option<Instant>,
    /// Why the last cycle left no snapshot.
    reason: Option<String>,
}

#[derive(Debug, Clone, Copy, Default)]
struct SourceCounts {
    endpoints: u64,
    missing: u64,
    answers: u64,
    failures: u64,
}

/// Takes the address of the monitor server, if there is to be one.
pub(crate) fn listen(config: &Pull) -> Result<Option<Listener>, ListenError> {
    let listener = match &config.monitor_listen {
        None => return Ok(None),
        Some(Listen::Tcp(address)) => Listener::tcp(*address)?,
        Some(Listen::Unix(path)) => Listener::unix(path)?,
    };
    info!(listen = ?config.monitor_listen, "the monitor server answers");
    Ok(Some(listener))
}

/// Answers the connections of the monitor server.
pub(crate) async fn answer(listener: Option<Listener>, monitor: Monitor) -> Infallible {
    if let (Some(listener), Some(board)) = (listener, monitor.board) {
        let board: Arc<dyn Subject> = board;
        let Err(error) = serve(listener, board).await;
        error!(%error, "the monitor server has ended; please report this");
    }
    std::future::pending().await
}

impl Monitor {
    pub(crate) fn new(config: &Pull, clock: Clock) -> Self {
        let begun = (clock.monotonic)();
        let interval = config.pull_interval;
        let pulse = Pulse { begun, interval, last_snapshot: None, reason: None };
        let board = || Arc::new(Board::new("haproxystats-pull", clock, pulse.clone(), names()));
        Self {
            board: config.monitor_listen.as_ref().map(|_| board()),
            clock,
            pulse,
            published: 0,
            bytes: 0,
            sources: Default::default(),
        }
    }

    /// Notes the responses of a cycle.
    pub(crate) fn asked(&mut self, responses: &Responses) {
        self.bytes += responses.bytes();
        for (name, counts) in SOURCES.iter().zip(&mut self.sources) {
            let (endpoints, missing) = responses.of_source(name);
            counts.endpoints = endpoints;
            counts.missing = missing;
            counts.answers += endpoints.saturating_sub(missing);
            counts.failures += missing;
        }
    }

    /// Notes the end of a cycle, or that none is run: `reason` says why there is no snapshot.
    pub(crate) fn ended(&mut self, reason: Option<String>, facts: &Cycle) {
        if reason.is_none() {
            self.pulse.last_snapshot = Some((self.clock.monotonic)());
            self.published += 1;
        }
        self.pulse.reason = reason;
        let Some(board) = &self.board else { return };
        let cycles = [
            facts.cycles,
            self.published,
            facts.failures,
            facts.skipped,
            self.bytes,
            facts.milliseconds,
        ];
        let sources = self
            .sources
            .iter()
            .flat_map(|counts| [counts.endpoints, counts.missing, counts.answers, counts.failures]);
        board.publish(self.pulse.clone(), cycles.into_iter().chain(sources).collect());
    }
}

/// The names of the figures, in the order of [`Monitor::ended`].
fn names() -> Vec<FigureName> {
    let mut names: Vec<_> = ["begun", "published", "failed", "skipped", "bytes"]
        .map(|name| FigureName::counter("cycles", name))
        .into();
    names.push(FigureName::gauge("cycles", "milliseconds"));
    for source in SOURCES {
        names.extend([
            FigureName::gauge(source, "endpoints"),
            FigureName::gauge(source, "missing"),
            FigureName::counter(source, "answers"),
            FigureName::counter(source, "failures"),
        ]);
    }
    names
}

impl Vitals for Pulse {
    fn health(&self, now: Instant) -> Health {
        let since = now.saturating_duration_since(self.last_snapshot.unwrap_or(self.begun));
        if since >= self.interval * INTERVALS_WITHOUT {
            let seconds = since.as_secs();
            let reason = match &self.reason {
                Some(reason) => reason.as_str(),
                None => "the cycle has not ended; the log says where it hangs",
            };
            let reason = reason.strip_prefix("no snapshot: ").unwrap_or(reason);
            return Health::Failing(format!("no snapshot for {seconds} s: {reason}"));
        }
        if self.last_snapshot.is_none() { Health::Booting } else { Health::Healthy }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pull_is_healthy_until_three_intervals_passed_without_a_snapshot() {
        let begun = Instant::now();
        let interval = Duration::from_secs(10);
        let mut pulse = Pulse { begun, interval, last_snapshot: None, reason: None };
        let at = |seconds| begun + Duration::from_secs(seconds);
        assert_eq!(pulse.health(at(29)), Health::Booting);
        let hangs = "no snapshot for 30 s: the cycle has not ended; the log says where it hangs";
        assert_eq!(pulse.health(at(30)), Health::Failing(hangs.to_owned()));
        pulse.last_snapshot = Some(at(30));
        assert_eq!(pulse.health(at(59)), Health::Healthy);
        pulse.reason = Some("no snapshot: no endpoint has answered".to_owned());
        assert_eq!(pulse.health(at(59)), Health::Healthy, "one cycle may fail");
        let failing = "no snapshot for 35 s: no endpoint has answered";
        assert_eq!(pulse.health(at(65)), Health::Failing(failing.to_owned()));
    }
}
