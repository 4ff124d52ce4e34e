//! Kafka's promise, tested with a real broker that is killed, frozen and misconfigured: a batch
//! that counts as delivered is in the topic, byte for byte, and any other is sent again whole.
//!
//! What is in a topic is read by kcat.

#![allow(clippy::unwrap_used, reason = "tests")]

mod faults;
mod messages;
mod mock;

use std::io::{self, BufReader, Read};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime};

use config::{HostPart, KafkaFormat, KafkaSecurity, LinesPerMessage, MessageKey, Naming};
use daemon::Clock;
use haproxystats_receivers::kafka::{Failure, FailureKind};
use haproxystats_receivers::{Error, Kafka, LineReader, Lines, Outcome};
use tempfile::TempDir;
use testbed::installed;
use testbed::kafka::{Broker, Record};

const CLOCK: Clock = Clock { wall: SystemTime::now, monotonic: Instant::now };
const HOST: &str = "lb1.example.org";
/// Only a hang takes so long.
const DEADLINE: Duration = Duration::from_secs(90);
/// More than the library holds at once.
const LARGE_BYTES: usize = 12 << 20;

/// A broker in a folder of its own, and the client that reads from it.
struct Bench {
    broker: Broker,
    kcat: String,
    _folder: TempDir,
}

impl Bench {
    /// `None`, with a note, if a program is missing.
    fn start(test: &str, properties: &str) -> Option<Self> {
        let [program, kcat, _] = installed(test, ["kafka-broker", "kcat", "java"])?;
        let folder = tempfile::tempdir().unwrap();
        let broker = Broker::start(&program, folder.path(), properties).unwrap();
        Some(Self { broker, kcat, _folder: folder })
    }

    /// The broker of the tests that do it no harm; each has a topic of its own.
    fn shared(test: &str) -> Option<Arc<Self>> {
        static SHARED: Mutex<Weak<Bench>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bench) = shared.upgrade() {
            return Some(bench);
        }
        let bench = Arc::new(Self::start(test, "auto.create.topics.enable=false")?);
        *shared = Arc::downgrade(&bench);
        Some(bench)
    }

    fn settings(&self, topic: &str) -> config::Kafka {
        settings(&self.broker.address(), topic)
    }

    fn records(&self, topic: &str) -> Vec<Record> {
        self.broker.records(&self.kcat, topic).unwrap()
    }

    /// The payloads of a topic, one after the other.
    fn text(&self, topic: &str) -> Vec<u8> {
        self.records(topic).into_iter().flat_map(|record| record.payload).collect()
    }

    /// Asserts that a topic has each of the lines at least once, and no others.
    fn assert_exact(&self, topic: &str, lines: &[u8]) {
        let text = self.text(topic);
        let mut came: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
        let mut sent: Vec<&[u8]> = lines.split_inclusive(|byte| *byte == b'\n').collect();
        came.sort_unstable();
        came.dedup();
        sent.sort_unstable();
        assert!(came == sent, "{} of {} lines came to {topic}", came.len(), sent.len());
    }
}

fn settings(brokers: &str, topic: &str) -> config::Kafka {
    config::Kafka {
        brokers: brokers.to_owned(),
        topic: topic.to_owned(),
        format: KafkaFormat::Graphite,
        lines: LinesPerMessage::Many,
        message_size: 262_144,
        key: MessageKey::Host,
        compression: "zstd".to_owned(),
        security: KafkaSecurity { protocol: "plaintext".to_owned(), login: None, tls: None },
        connect_timeout: Duration::from_secs(1),
        write_timeout: Duration::from_secs(1),
        confirm_timeout: Duration::from_secs(60),
        naming: Naming {
            namespace: "lb".into(),
            host: HostPart::None,
            groups: None,
            tags: false,
            max_line: None,
        },
        library: Vec::new(),
    }
}

fn kafka(settings: config::Kafka) -> Kafka {
    Kafka::new(settings, CLOCK).unwrap()
}

fn deliver(kafka: &mut Kafka, lines: &[u8]) -> Result<Outcome, Error> {
    kafka.deliver(HOST, &lines.to_vec())
}

/// Tries until the batch is delivered, as the parent does.
fn deliver_at_last(kafka: &mut Kafka, lines: &dyn Lines) -> Outcome {
    let end = Instant::now() + DEADLINE;
    loop {
        match kafka.deliver(HOST, lines) {
            Ok(outcome) => return outcome,
            Err(error) => assert!(Instant::now() < end, "{error}"),
        }
    }
}

/// The class of a failed delivery, and its text.
fn failure(delivered: Result<Outcome, Error>) -> (FailureKind, String) {
    match delivered {
        Err(Error::Kafka(failure)) => {
            let text = failure.to_string();
            let Failure { kind, .. } = failure;
            (kind, text)
        }
        other => panic!("{other:?}"),
    }
}

/// Lines of `bytes` in all, each line different.
fn batch(bytes: usize) -> Vec<u8> {
    let mut batch = Vec::with_capacity(bytes + 64);
    for number in 0_u32.. {
        if batch.len() >= bytes {
            break;
        }
        batch.extend_from_slice(format!("lb.m{number} {number} 1700000000\n").as_bytes());
    }
    batch
}

/// Lines that do something once the reader has passed a place in them.
struct Interrupted<'a, F> {
    lines: &'a [u8],
    at: usize,
    act: Mutex<Option<F>>,
}

impl<F> std::fmt::Debug for Interrupted<'_, F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Interrupted").field("at", &self.at).finish_non_exhaustive()
    }
}

impl<F: FnOnce() + Send> Lines for Interrupted<'_, F> {
    fn open(&self) -> io::Result<Box<dyn LineReader + '_>> {
        let (before, after) = self.lines.split_at(self.at);
        let act = || self.act.lock().unwrap_or_else(PoisonError::into_inner).take();
        Ok(Box::new(BufReader::new(before.chain(Act(act)).chain(after))))
    }
}

/// A reader of nothing that acts once it is read.
struct Act<G>(G);

impl<F: FnOnce(), G: Fn() -> Option<F>> Read for Act<G> {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        if let Some(act) = (self.0)() {
            act();
        }
        Ok(0)
    }
}
