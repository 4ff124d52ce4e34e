//! `[kafka]`: its values in types, what does not go together, and settings of the library.

use std::path::PathBuf;
use std::time::Duration;

use haproxystats_config::{
    HostPart, Kafka, KafkaFormat, KafkaLogin, KafkaSecurity, LinesPerMessage, MessageKey, Naming,
    Program, ReceiverKind, Tls, print_in_force,
};

use crate::{faults_of, load_text};

const ALONE: &str = "[graphite]\nenabled = false\n[kafka]\n";

fn kafka(options: &str) -> Kafka {
    let receivers = load_text(&format!("{ALONE}{options}")).process.receivers;
    match receivers.into_iter().next().unwrap().kind {
        ReceiverKind::Kafka(kafka) => kafka,
        other => panic!("{other:?}"),
    }
}

fn faults(options: &str) -> Vec<String> {
    faults_of(&format!("{ALONE}{options}"))
}

fn naming(namespace: &str, host: HostPart) -> Naming {
    Naming { namespace: namespace.into(), host, groups: None, tags: false, max_line: None }
}

#[test]
fn the_section_alone_is_enough() {
    let expected = Kafka {
        brokers: "127.0.0.1:9092".into(),
        topic: "haproxystats".into(),
        format: KafkaFormat::Influx,
        lines: LinesPerMessage::Many,
        message_size: 262_144,
        key: MessageKey::Host,
        compression: "zstd".into(),
        security: KafkaSecurity { protocol: "plaintext".into(), login: None, tls: None },
        connect_timeout: Duration::from_secs(1),
        write_timeout: Duration::from_secs(1),
        confirm_timeout: Duration::from_secs(60),
        naming: naming("loadbalancers", HostPart::Full),
        library: Vec::new(),
    };
    assert_eq!(kafka(""), expected);
}

#[test]
fn every_option_is_read() {
    let written = kafka(
        "brokers = k1, [::1]:19092\ntopic = a.b\nformat = JSON\nlines = one\n\
         message-size = 2048\ncompression = LZ4\nconnect-timeout = 2\nwrite-timeout = 3\n\
         confirm-timeout = 4\nnamespace = a\nprefix-hostname = no\n",
    );
    assert_eq!(written.brokers, "k1:9092,[::1]:19092");
    assert_eq!(written.topic, "a.b");
    assert_eq!((written.format, written.lines), (KafkaFormat::Json, LinesPerMessage::One));
    assert_eq!((written.message_size, written.compression.as_str()), (2048, "lz4"));
    let limits = [written.connect_timeout, written.write_timeout, written.confirm_timeout];
    assert_eq!(limits, [2, 3, 4].map(Duration::from_secs));
    let naming = naming("a", HostPart::None);
    assert_eq!(written.naming, naming);
}

#[test]
fn a_login_needs_a_user_and_a_password() {
    let security = kafka(
        "security-protocol = sasl_ssl\nsasl-mechanism = plain\nsasl-username = u\n\
         sasl-password-file = /p\nca-file = /ca\n",
    )
    .security;
    let login =
        KafkaLogin { mechanism: "PLAIN".into(), username: "u".into(), password_file: "/p".into() };
    let ca_file = Some(PathBuf::from("/ca"));
    let tls = Tls { ca_file, certificate: None, key: None, server_name: None };
    let protocol = "sasl_ssl".to_owned();
    assert_eq!(security, KafkaSecurity { protocol, login: Some(login), tls: Some(tls) });
    let found = faults("security-protocol = sasl_ssl\nsasl-username = u\n");
    assert!(found[0].contains("sasl-password-file: must be set"), "{found:?}");
    let found = faults("sasl-username = u\n");
    assert!(found[0].contains("sasl-username: is for a login, which is off here"), "{found:?}");
    let found = faults("ca-file = /ca\n");
    assert!(found[0].contains("ca-file: is for TLS, which is off here"), "{found:?}");
}

#[test]
fn settings_of_the_library_are_handed_on_but_for_those_that_are_ours() {
    let written = kafka("x = 7\nlibrdkafka.linger.ms = ${x}\nlibrdkafka.client.id = lb 1\n");
    let expected = [("linger.ms", "7"), ("client.id", "lb 1")];
    assert_eq!(written.library, expected.map(|(name, value)| (name.into(), value.into())));
    let warnings = load_text(&format!("{ALONE}librdkafka.linger.ms = 7\n")).warnings;
    assert!(warnings.is_empty(), "{warnings:?}");
    // Only a Kafka hands them on.
    let warnings = load_text("[graphite]\nlibrdkafka.linger.ms = 7\n").warnings;
    assert!(warnings[0].to_string().contains("unknown option"), "{warnings:?}");
    let found = faults("librdkafka.acks = 1\nlibrdkafka.sasl.password = x\nlibrdkafka. = 1\n");
    let expected = [
        "librdkafka.acks: cannot be set here: the program sets it itself",
        "librdkafka.sasl.password: cannot be set here: write sasl-password-file",
        "librdkafka.: is no setting of librdkafka",
    ];
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.contains(expected), "{found}");
    }
    assert_eq!(found.len(), expected.len());
}

#[test]
fn settings_of_the_library_are_printed() {
    let config = load_text(&format!("{ALONE}librdkafka.linger.ms = 7\n"));
    let printed = print_in_force(&config.document, Program::Process);
    assert!(printed.contains("librdkafka.linger.ms = 7\n"), "{printed}");
}
