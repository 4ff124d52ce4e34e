//! The reports of librdkafka: of messages, of errors that concern no single message, and its log.
//!
//! The library calls us back only within a poll, hence on the thread of the transport.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use daemon::Clock;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::producer::{DeliveryResult, ProducerContext};
use rdkafka::types::RDKafkaErrorCode;
use tracing::{debug, info, warn};

use super::failure::{FailureKind, Meaning, meaning};

/// Lines of librdkafka's log within [`LOG_PERIOD`]. Why a batch fails is logged in any case.
const LOG_LINES: u32 = 5;
const LOG_PERIOD: Duration = Duration::from_secs(600);

/// What the library has reported.
#[derive(Debug)]
pub(super) struct Reports {
    clock: Clock,
    state: Mutex<State>,
    log: Mutex<LogBudget>,
}

/// The state of a delivery.
#[derive(Debug, Default)]
pub(super) struct State {
    /// Messages that a broker has.
    pub(super) confirmed: u64,
    /// Messages with a report, good or not.
    pub(super) reported: u64,
    /// Messages that are too large for the broker.
    pub(super) too_large: Vec<Vec<u8>>,
    /// The first failure of a message: its kind, unless it timed out, and the library's words.
    pub(super) failed: Option<(Option<FailureKind>, String)>,
    /// The last error that concerns no message, such as a refused connection.
    pub(super) last_error: Option<(FailureKind, String)>,
    /// Since when no broker can be reached.
    pub(super) down_since: Option<Instant>,
}

/// The library's words for a failure of TLS.
const TLS_FAILED: &str = "SSL handshake failed";

#[derive(Debug, Default)]
struct LogBudget {
    since: Option<Instant>,
    used: u32,
    left_out: u64,
}

impl Reports {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, state: Mutex::default(), log: Mutex::default() }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Instant {
        (self.clock.monotonic)()
    }
}

impl State {
    /// Forgets the batch before. If all brokers were down then, the outage begins anew at `now`,
    /// because librdkafka reports an outage only once.
    pub(super) fn begin(&mut self, now: Instant) {
        *self = Self {
            down_since: self.down_since.map(|_| now),
            last_error: self.last_error.take(),
            ..Self::default()
        };
    }

    pub(super) fn has_too_large(&self) -> bool {
        !self.too_large.is_empty()
    }

    fn confirm(&mut self) {
        self.confirmed += 1;
        self.reported += 1;
        self.down_since = None;
        self.last_error = None;
    }

    fn refuse(&mut self, code: RDKafkaErrorCode, payload: &[u8]) {
        self.reported += 1;
        match meaning(code) {
            Meaning::TooLarge => self.too_large.push(payload.to_vec()),
            Meaning::Failed(kind) => {
                self.failed.get_or_insert_with(|| (Some(kind), code.to_string()));
            }
            Meaning::TimedOut => {
                self.failed.get_or_insert_with(|| (None, code.to_string()));
            }
        }
    }

    fn add_error(&mut self, code: RDKafkaErrorCode, reason: &str, now: Instant) {
        if code == RDKafkaErrorCode::AllBrokersDown {
            self.down_since.get_or_insert(now);
            return;
        }
        // Here a time-out is not that of a message, but of a broker that does not answer.
        let kind = match meaning(code).kind_or(FailureKind::Unreachable) {
            // A broker without TLS closes the connection, which the library calls a transport
            // failure.
            FailureKind::Unreachable if reason.contains(TLS_FAILED) => FailureKind::Tls,
            kind => kind,
        };
        if kind == FailureKind::Fatal {
            self.failed.get_or_insert_with(|| (Some(kind), reason.to_owned()));
        }
        self.last_error = Some((kind, reason.to_owned()));
    }
}

impl LogBudget {
    /// Whether a line may be logged, and how many lines were left out before it.
    fn take(&mut self, now: Instant) -> Option<u64> {
        if self.since.is_none_or(|since| now.saturating_duration_since(since) >= LOG_PERIOD) {
            *self = Self { since: Some(now), used: 0, left_out: self.left_out };
        }
        if self.used == LOG_LINES {
            self.left_out += 1;
            return None;
        }
        self.used += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let mut state = self.lock();
        match result {
            Ok(_) => state.confirm(),
            Err((error, message)) => {
                let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
                state.refuse(code, message.payload().unwrap_or_default());
            }
        }
    }
}

impl ClientContext for Reports {
    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
        self.lock().add_error(code, reason, self.now());
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        if matches!(level, RDKafkaLogLevel::Debug) {
            // An operator has asked for them by librdkafka.debug.
            debug!(facility, message, "librdkafka");
            return;
        }
        let left_out = self.log.lock().unwrap_or_else(PoisonError::into_inner).take(self.now());
        let Some(left_out) = left_out else { return };
        match level {
            RDKafkaLogLevel::Info | RDKafkaLogLevel::Notice => {
                info!(facility, message, left_out, "librdkafka");
            }
            _ => warn!(facility, message, left_out, "librdkafka"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_counts_and_too_large_messages_are_kept() {
        let mut state = State::default();
        state.confirm();
        state.refuse(RDKafkaErrorCode::MessageSizeTooLarge, b"large");
        state.refuse(RDKafkaErrorCode::MessageTimedOut, b"");
        state.refuse(RDKafkaErrorCode::UnknownTopic, b"");
        assert_eq!((state.confirmed, state.reported), (1, 4));
        assert_eq!(state.too_large, [b"large"]);
        assert_eq!(state.failed.as_ref().unwrap().0, None);
        state.begin(Instant::now());
        assert_eq!((state.reported, state.failed.is_some()), (0, false));
    }

    #[test]
    fn brokers_are_down_from_the_first_report_of_it_until_a_message_is_confirmed() {
        let (mut state, now) = (State::default(), Instant::now());
        state.add_error(RDKafkaErrorCode::BrokerTransportFailure, "refused", now);
        assert_eq!(state.down_since, None);
        state.add_error(RDKafkaErrorCode::AllBrokersDown, "1/1 brokers are down", now);
        state.add_error(RDKafkaErrorCode::AllBrokersDown, "again", now + LOG_PERIOD);
        assert_eq!(state.down_since, Some(now));
        let expected = (FailureKind::Unreachable, "refused".to_owned());
        assert_eq!(state.last_error, Some(expected));
        state.confirm();
        assert_eq!((state.down_since, state.last_error), (None, None));
    }

    #[test]
    fn a_broker_without_tls_is_a_failure_of_tls() {
        let mut state = State::default();
        let reason = "SSL handshake failed: Disconnected";
        state.add_error(RDKafkaErrorCode::BrokerTransportFailure, reason, Instant::now());
        assert_eq!(state.last_error, Some((FailureKind::Tls, reason.to_owned())));
    }

    #[test]
    fn a_fatal_error_fails_the_batch() {
        let mut state = State::default();
        state.add_error(RDKafkaErrorCode::Fatal, "a gap", Instant::now());
        assert_eq!(state.failed, Some((Some(FailureKind::Fatal), "a gap".to_owned())));
    }

    #[test]
    fn a_library_that_logs_all_the_time_is_cut_short() {
        let (mut budget, now) = (LogBudget::default(), Instant::now());
        let taken: Vec<_> = (0..8).map(|_| budget.take(now)).collect();
        assert_eq!(taken, [Some(0), Some(0), Some(0), Some(0), Some(0), None, None, None]);
        assert_eq!(budget.take(now + LOG_PERIOD), Some(3));
    }
}
