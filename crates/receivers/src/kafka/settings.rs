//! The settings of librdkafka that a configuration and the current size of messages ask for.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

/// Bytes that a message has in addition to its lines: key, headers, framing.
const OVERHEAD_BYTES: usize = 64 << 10;
/// Messages and KiB that the library holds at once: the outbox is the queue, not the library.
const LIBRARY_MESSAGES: usize = 10_000;
const LIBRARY_KIB: usize = 4096;
/// A new topic may be unknown to some brokers for so long.
const TOPIC_PROPAGATION_MS: &str = "5000";
/// librdkafka's least `socket.connection.setup.timeout.ms`.
const SETUP_MIN: Duration = Duration::from_secs(1);
/// librdkafka's bounds of other limits.
const SOCKET_TIMEOUT_MIN: Duration = Duration::from_millis(10);
const SOCKET_TIMEOUT_MAX: Duration = Duration::from_secs(300);
const MESSAGE_TIMEOUT_MAX: Duration = Duration::from_millis(i32::MAX as u64);
/// Bytes of a file with a password.
const SECRET_MAX_BYTES: u64 = 64 << 10;

/// The settings for batches of records of `batch_size` bytes: the broker's limit is one on batches.
///
/// # Errors
///
/// The password cannot be read.
pub(super) fn of(config: &config::Kafka, batch_size: usize) -> io::Result<ClientConfig> {
    let security = &config.security;
    let mut settings = ClientConfig::new();
    for (name, value) in &config.library {
        settings.set(name, value);
    }
    let is_debugged = config.library.iter().any(|(name, _)| name == "debug");
    settings.set_log_level(if is_debugged {
        RDKafkaLogLevel::Debug
    } else {
        RDKafkaLogLevel::Info
    });
    settings
        .set("bootstrap.servers", &config.brokers)
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("partitioner", "murmur2_random")
        .set("compression.codec", &config.compression)
        .set("message.max.bytes", (config.message_size + OVERHEAD_BYTES).to_string())
        .set("batch.size", batch_size.to_string())
        .set("queue.buffering.max.messages", LIBRARY_MESSAGES.to_string())
        .set("queue.buffering.max.kbytes", library_kib(config.message_size).to_string())
        .set("message.timeout.ms", millis(config.confirm_timeout, MESSAGE_TIMEOUT_MAX))
        // A broker that hangs is left for another one that leads by then.
        .set("request.timeout.ms", millis(config.confirm_timeout / 2, SOCKET_TIMEOUT_MAX))
        .set("socket.timeout.ms", millis(config.confirm_timeout / 2, SOCKET_TIMEOUT_MAX))
        .set(
            "socket.connection.setup.timeout.ms",
            millis(setup_timeout(config), MESSAGE_TIMEOUT_MAX),
        )
        .set("topic.metadata.propagation.max.ms", TOPIC_PROPAGATION_MS)
        .set("security.protocol", &security.protocol);
    if config.compression == "zstd" {
        settings.set("compression.level", "1");
    }
    for (name, path) in [
        ("ssl.ca.location", &security.ca_file),
        ("ssl.certificate.location", &security.certificate),
        ("ssl.key.location", &security.key),
    ] {
        if let Some(path) = path {
            settings.set(name, path.to_string_lossy());
        }
    }
    if security.protocol.starts_with("sasl_") {
        settings.set("sasl.mechanism", &security.mechanism);
        if let Some(username) = &security.username {
            settings.set("sasl.username", username);
        }
        if let Some(path) = &security.password_file {
            settings.set("sasl.password", secret(path)?);
        }
    }
    Ok(settings)
}

/// A lasting outage of all brokers fails a batch after this time.
pub(super) fn setup_timeout(config: &config::Kafka) -> Duration {
    (config.connect_timeout + config.write_timeout).max(SETUP_MIN)
}

/// Two messages fit at any size, so that an empty library takes each.
fn library_kib(message_size: usize) -> usize {
    (2 * (message_size + OVERHEAD_BYTES)).div_ceil(1024).max(LIBRARY_KIB)
}

fn millis(duration: Duration, most: Duration) -> String {
    duration.clamp(SOCKET_TIMEOUT_MIN, most).as_millis().to_string()
}

/// The first line of a file. It is read for each producer, so that a new password needs no restart.
fn secret(path: &Path) -> io::Result<String> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{path:?}: {error}"));
    let mut text = String::new();
    let mut file = File::open(path).map_err(named)?.take(SECRET_MAX_BYTES);
    file.read_to_string(&mut text).map_err(named)?;
    let line = text.lines().next().unwrap_or_default();
    if line.is_empty() {
        let empty = io::Error::new(ErrorKind::InvalidData, "its first line has no password");
        return Err(named(empty));
    }
    Ok(line.to_owned())
}
