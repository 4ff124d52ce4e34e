//! Produces the messages of a batch and awaits the report of each.

use std::time::{Duration, Instant};
use std::{fmt, io};

use config::MessageKey;
use daemon::Clock;
use rdkafka::ClientConfig;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::types::RDKafkaErrorCode;
use tracing::warn;

use super::failure::{Failure, FailureKind, Meaning, meaning};
use super::messages::{Messages, leave_out};
use super::reports::Reports;
use super::settings;
use crate::{Error, Lines, Outcome};

/// First and longest pause between two looks at the reports. A poll always lasts its full
/// time, even if a report arrives earlier.
const POLL_FIRST: Duration = Duration::from_millis(1);
const POLL_LONGEST: Duration = Duration::from_millis(20);
/// The library reports each message within `confirm-timeout` and the second in which it looks for
/// late ones. If it does not, we give it up.
pub(super) const REPORT_GRACE: Duration = Duration::from_secs(5);

/// The transport to one Kafka.
pub struct Kafka {
    pub(super) config: config::Kafka,
    clock: Clock,
    /// `None` before the first delivery and after a failed one.
    producer: Option<BaseProducer<Reports>>,
    /// Bytes of a message and of a batch of records that the broker is known to take; less than
    /// `message-size` once a broker has refused one as too large.
    limit: usize,
}

/// A batch that is being delivered.
struct Delivery<'a> {
    key: Option<&'a str>,
    /// Messages that the current producer has got.
    produced: u64,
    /// Messages that the library itself refused as too large.
    too_large: Vec<Vec<u8>>,
    /// Lines that the brokers refused as too large.
    outcome: Outcome,
}

impl fmt::Debug for Kafka {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kafka").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Kafka {
    /// The transport connects at the first delivery.
    ///
    /// # Errors
    ///
    /// librdkafka does not know a setting or its value.
    pub fn new(config: config::Kafka, clock: Clock) -> Result<Self, Error> {
        let limit = config.message_size;
        let kafka = Self { config, clock, producer: None, limit };
        // A file with a password may come later, but a wrong setting never becomes right.
        if let Ok(settings) = settings::of(&kafka.config, limit) {
            let checked = settings.create_native_config();
            checked.map_err(|error| kafka.failure(FailureKind::Setting, error.to_string()))?;
        }
        if let Some(warning) = settings::warning(&kafka.config) {
            warn!("{warning}");
        }
        Ok(kafka)
    }

    /// The brokers and the topic.
    #[must_use]
    pub fn address(&self) -> String {
        format!("{} {}", self.config.brokers, self.config.topic)
    }

    /// Delivers a batch whole, but for the lines that no message can have. `host` is the machine
    /// that pulled it.
    ///
    /// # Errors
    ///
    /// Why the batch does not count as delivered. Brokers may have some of its messages, and will
    /// get them again.
    pub fn deliver(&mut self, host: &str, lines: &dyn Lines) -> Result<Outcome, Error> {
        let delivered = self.try_deliver(host, lines);
        if delivered.is_err() {
            // Its messages must not arrive beside those of the next try, and after a fatal error it
            // would take no more.
            self.producer = None;
        }
        delivered
    }

    fn try_deliver(&mut self, host: &str, lines: &dyn Lines) -> Result<Outcome, Error> {
        let source = lines.open().map_err(unreadable)?;
        let mut messages = Messages::new(source, self.config.lines, self.config.message_size);
        let mut delivery = Delivery {
            key: (self.config.key == MessageKey::Host).then_some(host),
            produced: 0,
            too_large: Vec::new(),
            outcome: Outcome::default(),
        };
        if let Some(producer) = &self.producer {
            producer.context().lock().begin(self.now());
        }
        let mut message = Vec::with_capacity(self.limit);
        while messages.next(self.limit, &mut message).map_err(unreadable)? {
            self.produce(&mut delivery, &message)?;
            if self.has_too_large(&delivery) {
                self.finish(&mut delivery)?;
            }
        }
        self.finish(&mut delivery)?;
        let mut outcome = messages.into_outcome();
        outcome.add(delivery.outcome);
        Ok(outcome)
    }

    /// Hands a message to the library, as soon as that has room.
    fn produce(&mut self, delivery: &mut Delivery<'_>, message: &[u8]) -> Result<(), Error> {
        if self.producer.is_none() {
            self.producer = Some(self.new_producer()?);
        }
        let Some(producer) = &self.producer else {
            return Err(self.failure(FailureKind::Other, "there is no producer".to_owned()));
        };
        let mut record = BaseRecord::to(&self.config.topic).payload(message);
        record.key = delivery.key;
        loop {
            let Err((error, refused)) = producer.send(record) else {
                delivery.produced += 1;
                // A poll of no length takes one event at most, so a failure is seen soon.
                producer.poll(Duration::ZERO);
                return self.check(producer, delivery);
            };
            match error.rdkafka_error_code() {
                Some(RDKafkaErrorCode::QueueFull) => {
                    record = refused;
                    self.await_report(producer, delivery)?;
                }
                Some(code) if meaning(code) == Meaning::TooLarge => {
                    delivery.too_large.push(message.to_vec());
                    return Ok(());
                }
                code => {
                    let other = FailureKind::Other;
                    let kind = code.map_or(other, |code| meaning(code).kind_or(other));
                    return Err(self.failure_of(producer, kind, error.to_string()));
                }
            }
        }
    }

    fn new_producer(&self) -> Result<BaseProducer<Reports>, Error> {
        self.client(&self.settings()?)
    }

    pub(super) fn settings(&self) -> Result<ClientConfig, Error> {
        settings::of(&self.config, self.limit)
            .map_err(|error| self.failure(FailureKind::Secret, error))
    }

    pub(super) fn client<T: FromClientConfigAndContext<Reports>>(
        &self,
        settings: &ClientConfig,
    ) -> Result<T, Error> {
        settings
            .create_with_context(Reports::new(self.clock))
            .map_err(|error: KafkaError| self.failure(FailureKind::Setting, error.to_string()))
    }

    fn has_too_large(&self, delivery: &Delivery<'_>) -> bool {
        let reported = |producer: &BaseProducer<Reports>| producer.context().lock().has_too_large();
        !delivery.too_large.is_empty() || self.producer.as_ref().is_some_and(reported)
    }

    /// Awaits the report of every message. Messages that were too large are sent again in smaller
    /// ones, until a broker takes them or they are a line that it does not take alone.
    fn finish(&mut self, delivery: &mut Delivery<'_>) -> Result<(), Error> {
        loop {
            let mut too_large = std::mem::take(&mut delivery.too_large);
            if let Some(producer) = &self.producer {
                while producer.context().lock().reported < delivery.produced {
                    self.await_report(producer, delivery)?;
                }
                too_large.append(&mut producer.context().lock().too_large);
            }
            let refused = too_large.len();
            let limit = self.limit;
            too_large.retain(|message| {
                let is_alone = is_alone(message, limit);
                if is_alone {
                    let why = "more than the broker takes; raise max.message.bytes of the topic";
                    leave_out(&mut delivery.outcome, message, message.len(), why);
                }
                !is_alone
            });
            if too_large.is_empty() {
                return Ok(());
            }
            self.limit = (self.limit / 2).max(1);
            warn!(
                brokers = self.config.brokers,
                topic = self.config.topic,
                refused,
                size = self.limit,
                "the broker refuses messages as too large: smaller ones are sent from now on; \
                 lower message-size, or raise max.message.bytes of the topic"
            );
            // The size of its batches of records is fixed.
            self.producer = None;
            delivery.produced = 0;
            for message in too_large {
                self.produce_pieces(delivery, &message)?;
            }
        }
    }

    fn produce_pieces(&mut self, delivery: &mut Delivery<'_>, message: &[u8]) -> Result<(), Error> {
        let most = self.config.message_size;
        let mut pieces = Messages::new(Box::new(message), self.config.lines, most);
        let mut piece = Vec::new();
        while pieces.next(self.limit, &mut piece).map_err(unreadable)? {
            self.produce(delivery, &piece)?;
        }
        Ok(())
    }

    /// Waits until a further message has its report.
    fn await_report(
        &self,
        producer: &BaseProducer<Reports>,
        delivery: &Delivery<'_>,
    ) -> Result<(), Error> {
        let start = self.now();
        let before = producer.context().lock().reported;
        let mut pause = POLL_FIRST;
        loop {
            producer.poll(pause);
            self.check(producer, delivery)?;
            if producer.context().lock().reported > before {
                return Ok(());
            }
            let waited = self.now().saturating_duration_since(start);
            if waited >= self.config.confirm_timeout + REPORT_GRACE {
                return Err(self.unconfirmed(producer, delivery));
            }
            pause = (pause * 2).min(POLL_LONGEST);
        }
    }

    /// Whether the batch can still be delivered.
    fn check(
        &self,
        producer: &BaseProducer<Reports>,
        delivery: &Delivery<'_>,
    ) -> Result<(), Error> {
        let mut state = producer.context().lock();
        if let Some((kind, reason)) = state.failed.take() {
            drop(state);
            return Err(match kind {
                Some(kind) => self.failure_of(producer, kind, reason),
                None => self.unconfirmed(producer, delivery),
            });
        }
        let Some(since) = state.down_since else { return Ok(()) };
        if self.now().saturating_duration_since(since) < settings::setup_timeout(&self.config) {
            return Ok(());
        }
        let (kind, reason) =
            state.last_error.take().unwrap_or_else(|| (FailureKind::Unreachable, String::new()));
        drop(state);
        Err(self.failure_of(producer, kind, reason))
    }

    /// No message was confirmed in time; an error of the connections tells more, if there is one.
    fn unconfirmed(&self, producer: &BaseProducer<Reports>, delivery: &Delivery<'_>) -> Error {
        let mut state = producer.context().lock();
        if let Some((kind, reason)) = state.last_error.take() {
            return self.failure(kind, reason);
        }
        let (confirmed, of) = (state.confirmed, delivery.produced);
        let timeout = self.config.confirm_timeout;
        self.failure(FailureKind::Unconfirmed { confirmed, of, timeout }, String::new())
    }

    /// A failure, with the cause of a fatal error, of which a report has only the code.
    fn failure_of(
        &self,
        producer: &BaseProducer<Reports>,
        kind: FailureKind,
        reason: String,
    ) -> Error {
        match producer.client().fatal_error() {
            Some((code, cause)) => {
                // A missing right is fatal to an idempotent producer, and a new one does not help.
                let kind = match meaning(code) {
                    Meaning::Failed(FailureKind::Authorization) => FailureKind::Authorization,
                    _ => FailureKind::Fatal,
                };
                self.failure(kind, format!("{code}: {cause}"))
            }
            None => self.failure(kind, reason),
        }
    }

    pub(super) fn failure(&self, kind: FailureKind, reason: String) -> Error {
        let config::Kafka { brokers, topic, .. } = &self.config;
        Error::Kafka(Failure { brokers: brokers.clone(), topic: topic.clone(), kind, reason })
    }

    fn now(&self) -> Instant {
        (self.clock.monotonic)()
    }
}

/// Whether a message was sent alone: nothing can be added to a batch of records that is full.
fn is_alone(message: &[u8], limit: usize) -> bool {
    let begin = message.len().saturating_sub(1);
    message.len() >= limit && !message[..begin].contains(&b'\n')
}

fn unreadable(source: io::Error) -> Error {
    Error::Unreadable { source }
}
