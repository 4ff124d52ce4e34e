//! `[kafka]` and `[kafka:name]`: the options that only this kind of receiver has.
//!
//! An option `librdkafka.NAME` goes to the library as it is. A NAME that the program sets itself is
//! refused, because another value could break the promise of delivery.

use std::path::PathBuf;
use std::time::Duration;

use crate::fault::Problem;
use crate::kind::{Form, Kind, words};
use crate::options::{KnownOption, Opt};
use crate::reader::{Reader, Rejection};
use crate::receivers::Context;
use crate::typed::{
    Kafka, KafkaFormat, KafkaLogin, KafkaSecurity, LinesPerMessage, MessageKey, ReceiverKind,
};
use crate::values::{self, Problems, wrong};
use crate::{graphite, kind, tls};

pub(crate) const SECTION: &str = "kafka";
/// The beginning of the options that go to the library.
pub(crate) const LIBRARY_PREFIX: &str = "librdkafka.";

const DEFAULT_PORT: &str = "9092";
const TOPIC_MAX_BYTES: usize = 249;

const FORMATS: [(&str, KafkaFormat); 3] = [
    ("influx", KafkaFormat::Influx),
    ("graphite", KafkaFormat::Graphite),
    ("json", KafkaFormat::Json),
];
const LINES_PER_MESSAGE: [(&str, LinesPerMessage); 2] =
    [("many", LinesPerMessage::Many), ("one", LinesPerMessage::One)];
const MESSAGE_KEYS: [(&str, MessageKey); 2] =
    [("host", MessageKey::Host), ("none", MessageKey::None)];
const COMPRESSIONS: [(&str, &str); 5] =
    [("none", "none"), ("gzip", "gzip"), ("snappy", "snappy"), ("lz4", "lz4"), ("zstd", "zstd")];
const PROTOCOLS: [(&str, Protocol); 4] = [
    ("plaintext", Protocol { name: "plaintext", is_tls: false, has_login: false }),
    ("ssl", Protocol { name: "ssl", is_tls: true, has_login: false }),
    ("sasl_plaintext", Protocol { name: "sasl_plaintext", is_tls: false, has_login: true }),
    ("sasl_ssl", Protocol { name: "sasl_ssl", is_tls: true, has_login: true }),
];
const MECHANISMS: [(&str, &str); 3] =
    [("plain", "PLAIN"), ("scram-sha-256", "SCRAM-SHA-256"), ("scram-sha-512", "SCRAM-SHA-512")];

/// Settings of the library that are ours, and what to write in their place. A name with a `*` at
/// its end stands for all that begin so.
const OWN_SETTINGS: [(&str, &str); 42] = [
    ("bootstrap.servers", "write brokers"),
    ("metadata.broker.list", "write brokers"),
    ("acks", ALWAYS),
    ("request.required.acks", ALWAYS),
    ("enable.idempotence", ALWAYS),
    ("enable.gapless.guarantee", ALWAYS),
    ("transactional.id", ALWAYS),
    ("partitioner", ALWAYS),
    ("max.in.flight*", ALWAYS),
    ("retries", ALWAYS),
    ("message.send.max.retries", ALWAYS),
    ("queuing.strategy", ALWAYS),
    ("test.mock*", ALWAYS),
    ("plugin.library.paths", ALWAYS),
    ("topic.metadata.propagation.max.ms", ALWAYS),
    ("compression.codec", "write compression"),
    ("compression.type", "write compression"),
    ("message.max.bytes", "write message-size"),
    ("message.copy.max.bytes", ALWAYS),
    ("batch.size", "write message-size"),
    ("batch.num.messages", "write message-size"),
    ("queue.buffering.max.messages", ALWAYS),
    ("queue.buffering.max.kbytes", ALWAYS),
    ("queue.buffering.backpressure.threshold", ALWAYS),
    ("delivery.report.only.error", ALWAYS),
    ("message.timeout.ms", "write confirm-timeout"),
    ("delivery.timeout.ms", "write confirm-timeout"),
    ("request.timeout.ms", "write confirm-timeout"),
    ("socket.timeout.ms", "write confirm-timeout"),
    ("socket.connection.setup.timeout.ms", "write connect-timeout"),
    ("security.protocol", "write security-protocol"),
    ("sasl.mechanism", "write sasl-mechanism"),
    ("sasl.mechanisms", "write sasl-mechanism"),
    ("sasl.username", "write sasl-username"),
    ("sasl.password", "write sasl-password-file"),
    ("sasl.oauthbearer*", "write sasl-mechanism"),
    ("ssl.ca.location", "write ca-file"),
    ("ssl.certificate.location", "write certificate"),
    ("ssl.key.location", "write certificate-key"),
    ("ssl.key.*", "write certificate-key, with the path of a key without a password"),
    ("ssl.keystore*", "write certificate and certificate-key"),
    ("log*", ALWAYS),
];
const ALWAYS: &str = "the program sets it itself";

#[derive(Debug, Clone, Copy)]
struct Protocol {
    name: &'static str,
    is_tls: bool,
    has_login: bool,
}

const BROKERS: Opt<String> = Opt::new(
    "brokers",
    Form { kind: Kind::Brokers, parse: brokers },
    "127.0.0.1:9092",
    "brokers to begin with; they tell of the others",
);
const TOPIC: Opt<String> = Opt::new(
    "topic",
    Form { kind: Kind::Topic, parse: topic },
    "haproxystats",
    "topic of all messages",
);
const FORMAT: Opt<KafkaFormat> = Opt::new(
    "format",
    Form {
        kind: Kind::Word(const { &words(&FORMATS) }),
        parse: |text| values::word(text, "no format of lines", &FORMATS),
    },
    "influx",
    "InfluxDB's lines with nanoseconds, Graphite's lines, or a JSON object for each row",
);
const LINES: Opt<LinesPerMessage> = Opt::new(
    "lines",
    Form {
        kind: Kind::Word(const { &words(&LINES_PER_MESSAGE) }),
        parse: |text| values::word(text, "neither many nor one", &LINES_PER_MESSAGE),
    },
    "many",
    "lines of a message: as many as fit, each with its line feed, or one without",
);
const MESSAGE_SIZE: Opt<usize> = Opt::new(
    "message-size",
    kind::MESSAGE_BYTES,
    "262144",
    "bytes that a message may have; a longer line is left out and counted",
);
const KEY: Opt<MessageKey> = Opt::new(
    "key",
    Form {
        kind: Kind::Word(const { &words(&MESSAGE_KEYS) }),
        parse: |text| values::word(text, "neither host nor none", &MESSAGE_KEYS),
    },
    "host",
    "key of a message: the machine that pulled the snapshot, or none",
);
const COMPRESSION: Opt<&str> = Opt::new(
    "compression",
    Form {
        kind: Kind::Word(const { &words(&COMPRESSIONS) }),
        parse: |text| values::word(text, "no compression of Kafka's", &COMPRESSIONS),
    },
    "zstd",
    "compression of messages; zstd has level 1",
);
const SECURITY_PROTOCOL: Opt<Protocol> = Opt::new(
    "security-protocol",
    Form {
        kind: Kind::Word(const { &words(&PROTOCOLS) }),
        parse: |text| values::word(text, "no protocol of Kafka's", &PROTOCOLS),
    },
    "plaintext",
    "whether connections have TLS (ssl) and a login (sasl)",
);
const SASL_MECHANISM: Opt<&str> = Opt::new(
    "sasl-mechanism",
    Form {
        kind: Kind::Word(const { &words(&MECHANISMS) }),
        parse: |text| values::word(text, "no mechanism that we know", &MECHANISMS),
    },
    "scram-sha-512",
    "how to log in, with sasl_plaintext and sasl_ssl",
);
const SASL_USERNAME: Opt<String> =
    Opt::unset("sasl-username", kind::TEXT, "user; must be set for a login");
const SASL_PASSWORD_FILE: Opt<PathBuf> = Opt::unset(
    "sasl-password-file",
    kind::PATH,
    "file with the user's password; must be set for a login",
);
/// `key` is that of a message.
const CERTIFICATE_KEY: Opt<PathBuf> =
    Opt::unset("certificate-key", kind::PATH, "the key of certificate (PEM)");
const CONNECT_TIMEOUT: Opt<Duration> =
    Opt::new("connect-timeout", kind::LIMIT, "1", "limit of one try to connect");
const WRITE_TIMEOUT: Opt<Duration> = Opt::new(
    "write-timeout",
    kind::LIMIT,
    "1",
    "added to connect-timeout for TLS and login; limit of one try to reach a broker",
);
const CONFIRM_TIMEOUT: Opt<Duration> = Opt::new(
    "confirm-timeout",
    kind::LIMIT,
    "60",
    "a batch of which no message is confirmed for this long is given up",
);

pub(crate) const OPTIONS: &[KnownOption] = &[
    BROKERS.row,
    TOPIC.row,
    FORMAT.row,
    LINES.row,
    MESSAGE_SIZE.row,
    KEY.row,
    COMPRESSION.row,
    SECURITY_PROTOCOL.row,
    SASL_MECHANISM.row,
    SASL_USERNAME.row,
    SASL_PASSWORD_FILE.row,
    CONNECT_TIMEOUT.row,
    WRITE_TIMEOUT.row,
    CONFIRM_TIMEOUT.row,
    graphite::PATH_ROWS[0],
    graphite::PATH_ROWS[1],
    graphite::PATH_ROWS[2],
    tls::FILE_ROWS[0],
    tls::FILE_ROWS[1],
    CERTIFICATE_KEY.row,
];

/// Reads the options of this kind.
pub(crate) fn kafka(
    reader: &mut Reader<'_, '_>,
    _context: &Context<'_>,
) -> Result<ReceiverKind, Rejection> {
    // Errors are returned only after the other options, so that one run reports their faults too.
    let security = security(reader);
    let library = library(reader);
    let naming = graphite::paths(reader);
    Ok(ReceiverKind::Kafka(Kafka {
        brokers: reader.value(&BROKERS)?,
        topic: reader.value(&TOPIC)?,
        format: reader.value(&FORMAT)?,
        lines: reader.value(&LINES)?,
        message_size: reader.value(&MESSAGE_SIZE)?,
        key: reader.value(&KEY)?,
        compression: reader.value(&COMPRESSION)?.to_owned(),
        connect_timeout: reader.value(&CONNECT_TIMEOUT)?,
        write_timeout: reader.value(&WRITE_TIMEOUT)?,
        confirm_timeout: reader.value(&CONFIRM_TIMEOUT)?,
        security: security?,
        naming: naming?,
        library: library?,
    }))
}

fn security(reader: &mut Reader<'_, '_>) -> Result<KafkaSecurity, Rejection> {
    let protocol = reader.value(&SECURITY_PROTOCOL)?;
    let mechanism = reader.value(&SASL_MECHANISM)?.to_owned();
    let tls = tls::files(reader, protocol.is_tls, &CERTIFICATE_KEY);
    let username = reader.optional(&SASL_USERNAME);
    let password_file = reader.optional(&SASL_PASSWORD_FILE);
    let login = if protocol.has_login {
        let why = || {
            let why = format!("must be set for security-protocol = {}", protocol.name);
            Problem::Conflict { why }
        };
        if !reader.is_set(&SASL_USERNAME) {
            return Err(reader.refuse(&SASL_USERNAME, why()));
        }
        if !reader.is_set(&SASL_PASSWORD_FILE) {
            return Err(reader.refuse(&SASL_PASSWORD_FILE, why()));
        }
        let username = username.ok_or(Rejection)?;
        let password_file = password_file.ok_or(Rejection)?;
        Some(KafkaLogin { mechanism, username, password_file })
    } else {
        let why = || {
            let why = "is for a login, which is off here; set security-protocol = sasl_ssl or \
                       sasl_plaintext, or leave it out";
            Problem::Conflict { why: why.to_owned() }
        };
        if reader.is_set(&SASL_USERNAME) {
            return Err(reader.refuse(&SASL_USERNAME, why()));
        }
        if reader.is_set(&SASL_PASSWORD_FILE) {
            return Err(reader.refuse(&SASL_PASSWORD_FILE, why()));
        }
        None
    };
    Ok(KafkaSecurity { protocol: protocol.name.to_owned(), login, tls: tls? })
}

/// The settings of the library that the section has.
fn library(reader: &mut Reader<'_, '_>) -> Result<Vec<(String, String)>, Rejection> {
    let mut settings = Vec::new();
    let mut rejection = None;
    for (option, value) in reader.written(LIBRARY_PREFIX) {
        let name = option.strip_prefix(LIBRARY_PREFIX).unwrap_or_default();
        if let Some(remedy) = own_setting(name) {
            let why = format!("cannot be set here: {remedy}");
            rejection = Some(reader.refuse_written(&option, Problem::Conflict { why }));
        } else if name.is_empty() || value.contains(char::is_control) {
            let why = "is no setting of librdkafka; write librdkafka.NAME = VALUE in one line";
            let problem = Problem::Conflict { why: why.to_owned() };
            rejection = Some(reader.refuse_written(&option, problem));
        } else {
            settings.push((name.to_owned(), value));
        }
    }
    rejection.map_or(Ok(settings), Err)
}

/// What to do instead of setting a name that is ours.
fn own_setting(name: &str) -> Option<&'static str> {
    let is_own = |own: &&(&str, &str)| match own.0.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => name == own.0,
    };
    OWN_SETTINGS.iter().find(is_own).map(|(_, remedy)| *remedy)
}

/// Hosts with ports, each with the port that the library is to use.
fn brokers(text: &str) -> Result<String, Problems> {
    let mut brokers = Vec::new();
    let mut problems = Problems::new();
    for written in text.split(',').map(str::trim) {
        // The colons of an IPv6 address are in brackets.
        let has_port = written.rfind(':') > written.rfind(']');
        let (host, port) = match written.rsplit_once(':') {
            Some((host, port)) if has_port => (host, port),
            _ => (written, DEFAULT_PORT),
        };
        let is_port = port.parse::<u16>().is_ok_and(|port| port > 0);
        match values::host(host) {
            Ok(name) if is_port && (name == host || host.starts_with('[')) => {
                brokers.push(format!("{host}:{port}"));
            }
            _ => problems.extend(wrong(written, "no broker", "HOST:PORT, such as kafka1:9092")),
        }
    }
    if problems.is_empty() { Ok(brokers.join(",")) } else { Err(problems) }
}

/// A name that Kafka accepts.
fn topic(text: &str) -> Result<String, Problems> {
    let is_legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let is_short = (1..=TOPIC_MAX_BYTES).contains(&text.len());
    if !is_short || !text.chars().all(is_legal) || matches!(text, "." | "..") {
        let right = "one of letters, digits, dots, - and _, of at most 249 bytes";
        return Err(wrong(text, "no name of a topic", right));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brokers_get_the_default_port() {
        assert_eq!(brokers("k1, k2:19092,[::1]").unwrap(), "k1:9092,k2:19092,[::1]:9092");
        for wrong in ["", "k1,,k2", "k1:0", "k1:x", "http://k1", "k 1", "::1"] {
            assert!(brokers(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_topic_has_the_letters_that_kafka_allows() {
        assert!(topic("haproxy.Stats_1-a").is_ok());
        for wrong in ["", ".", "..", "a b", "a/b", "\u{e4}", &"x".repeat(250)] {
            assert!(topic(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn settings_of_ours_are_known_also_by_their_beginning() {
        assert_eq!(own_setting("acks"), Some(ALWAYS));
        assert_eq!(own_setting("ssl.key.password"), own_setting("ssl.key.pem"));
        assert!(own_setting("test.mock.num.brokers").is_some());
        assert_eq!(own_setting("linger.ms"), None);
        assert_eq!(own_setting("acks.more"), None);
    }
}
