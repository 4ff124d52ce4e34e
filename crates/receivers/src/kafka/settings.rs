//! The settings of librdkafka that a configuration and the current size of messages ask for.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

use crate::files;

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

/// The settings for batches of records of up to `batch_size` bytes, because a broker limits the
/// size of a batch of records and not that of a message.
///
/// # Errors
///
/// The password cannot be read.
pub(super) fn of(config: &config::Kafka, batch_size: usize) -> Result<ClientConfig, String> {
    let security = &config.security;
    let mut settings = ClientConfig::new();
    for (name, value) in &config.library {
        settings.set(name, value);
    }
    let has = |wanted: &str| config.library.iter().any(|(name, _)| name == wanted);
    settings.set_log_level(if has("debug") {
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
    if config.compression == "zstd" && !has("compression.level") {
        settings.set("compression.level", "1");
    }
    if let Some(tls) = &security.tls {
        for (name, path) in [
            ("ssl.ca.location", &tls.ca_file),
            ("ssl.certificate.location", &tls.certificate),
            ("ssl.key.location", &tls.key),
        ] {
            if let Some(path) = path {
                settings.set(name, path.to_string_lossy());
            }
        }
    }
    if let Some(login) = &security.login {
        settings.set("sasl.mechanism", &login.mechanism);
        settings.set("sasl.username", &login.username);
        settings.set("sasl.password", files::secret("sasl-password-file", &login.password_file)?);
    }
    Ok(settings)
}

/// A lasting outage of all brokers fails a batch after this time.
pub(super) fn setup_timeout(config: &config::Kafka) -> Duration {
    (config.connect_timeout + config.write_timeout).max(SETUP_MIN)
}

/// A warning about a file with a password that every user of the machine can read.
pub(super) fn warning(config: &config::Kafka) -> Option<String> {
    let path = &config.security.login.as_ref()?.password_file;
    files::warning_of_readers("sasl-password-file", path)
}

/// Two messages fit at any size, so that an empty library takes each.
fn library_kib(message_size: usize) -> usize {
    (2 * (message_size + OVERHEAD_BYTES)).div_ceil(1024).max(LIBRARY_KIB)
}

fn millis(duration: Duration, most: Duration) -> String {
    duration.clamp(SOCKET_TIMEOUT_MIN, most).as_millis().to_string()
}
