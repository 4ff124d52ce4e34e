//! The options that only a Kafka has.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Naming, Tls};

/// The options that only a Kafka has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kafka {
    /// Addresses to begin with, `host:port` with commas between.
    pub brokers: String,
    /// The topic of all messages.
    pub topic: String,
    /// The format of a line.
    pub format: KafkaFormat,
    /// How many lines a message has.
    pub lines: LinesPerMessage,
    /// Bytes that a message may have at most.
    pub message_size: usize,
    /// The key of a message, which selects its partition.
    pub key: MessageKey,
    /// How messages are compressed, as librdkafka names it.
    pub compression: String,
    /// Encryption and login.
    pub security: KafkaSecurity,
    /// Limit of one attempt to connect.
    pub connect_timeout: Duration,
    /// A peer that answers nothing for this time while a connection is set up is given up.
    pub write_timeout: Duration,
    /// A batch is given up when no message is confirmed for this time.
    pub confirm_timeout: Duration,
    /// The paths of Graphite's lines.
    pub naming: Naming,
    /// Settings of librdkafka, in the order of the file.
    pub library: Vec<(String, String)>,
}

/// The format of a line in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum KafkaFormat {
    /// InfluxDB's line protocol with nanoseconds.
    Influx,
    /// Graphite's plaintext protocol.
    Graphite,
    /// A JSON object for each row.
    Json,
}

/// How many lines a message has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LinesPerMessage {
    /// As many as fit, each with its line feed.
    Many,
    /// One, without a line feed.
    One,
}

/// The key of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum MessageKey {
    /// The name of the machine that pulled the snapshot: its lines stay in order, in one partition.
    Host,
    /// No key: the messages are spread over the partitions.
    None,
}

/// Encryption and login at a Kafka.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KafkaSecurity {
    /// `plaintext`, `ssl`, `sasl_plaintext` or `sasl_ssl`.
    pub protocol: String,
    /// `None` for a protocol without a login.
    pub login: Option<KafkaLogin>,
    /// `None` for a protocol without TLS; has no name of a server.
    pub tls: Option<Tls>,
}

/// A login by SASL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KafkaLogin {
    /// `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`.
    pub mechanism: String,
    /// The user's name.
    pub username: String,
    /// The file with the user's password.
    pub password_file: PathBuf,
}
