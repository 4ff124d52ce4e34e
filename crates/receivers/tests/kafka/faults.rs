//! What a broker does to us: it is killed, frozen, has no topic, takes no message of our size, or
//! refuses our login.

use std::fs;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use config::{KafkaLogin, LinesPerMessage};
use haproxystats_receivers::Outcome;
use haproxystats_receivers::kafka::FailureKind;
use testbed::free_ports;
use testbed::kafka::{PASSWORD, USER};

use crate::{
    Bench, HOST, Interrupted, LARGE_BYTES, batch, deliver, deliver_at_last, failure, kafka,
    settings,
};

#[test]
fn a_broker_that_is_killed_in_mid_batch_loses_no_line() {
    let Some(bench) = Bench::start("a broker that is killed", "") else { return };
    bench.broker.create_topic("killed", 1, &[]).unwrap();
    let mut kafka = kafka(bench.settings("killed"));
    let lines = batch(LARGE_BYTES);
    let bench = Mutex::new(bench);
    let kill = || bench.lock().unwrap().broker.kill().unwrap();
    let interrupted =
        Interrupted { lines: &lines, at: LARGE_BYTES / 2, act: Mutex::new(Some(kill)) };
    let start = Instant::now();
    let (kind, text) = failure(kafka.deliver(HOST, &interrupted));
    assert_eq!(kind, FailureKind::Unreachable, "{text}");
    assert!(text.contains("; check that a broker runs and listens there"), "{text}");
    // Not only when confirm-timeout is over.
    assert!(start.elapsed() < Duration::from_secs(30), "{text}");
    bench.lock().unwrap().broker.restart().unwrap();
    // The batch is sent again whole, and this time the broker is back at once.
    let again = || {
        let broker = &mut bench.lock().unwrap().broker;
        broker.kill().unwrap();
        broker.restart().unwrap();
    };
    let interrupted =
        Interrupted { lines: &lines, at: LARGE_BYTES / 3, act: Mutex::new(Some(again)) };
    assert_eq!(deliver_at_last(&mut kafka, &interrupted), Outcome::default());
    let bench = bench.into_inner().unwrap();
    bench.assert_exact("killed", &lines);
}

#[test]
fn a_broker_that_is_frozen_in_mid_batch_loses_no_line() {
    let Some(bench) = Bench::start("a frozen broker", "") else { return };
    bench.broker.create_topic("frozen", 1, &[]).unwrap();
    let mut settings = bench.settings("frozen");
    settings.confirm_timeout = Duration::from_secs(3);
    let mut kafka = kafka(settings);
    let lines = batch(LARGE_BYTES);
    let freeze = || bench.broker.freeze().unwrap();
    let interrupted =
        Interrupted { lines: &lines, at: LARGE_BYTES / 2, act: Mutex::new(Some(freeze)) };
    let (kind, text) = failure(kafka.deliver(HOST, &interrupted));
    let is_due = |kind| matches!(kind, FailureKind::Unconfirmed { .. } | FailureKind::Unreachable);
    assert!(is_due(kind), "{text}");
    // A new producer cannot connect either.
    let (kind, text) = failure(deliver(&mut kafka, &lines));
    assert!(is_due(kind), "{text}");
    bench.broker.thaw().unwrap();
    deliver_at_last(&mut kafka, &lines);
    bench.assert_exact("frozen", &lines);
}

#[test]
fn a_topic_that_is_deleted_and_made_again_gets_whole_batches() {
    let Some(bench) = Bench::shared("a topic that is deleted") else { return };
    let mut kafka = kafka(bench.settings("again"));
    bench.broker.create_topic("again", 1, &[]).unwrap();
    deliver(&mut kafka, b"before 1 1\n").unwrap();
    // Between two batches.
    bench.broker.delete_topic("again").unwrap();
    bench.broker.create_topic("again", 1, &[]).unwrap();
    deliver_at_last(&mut kafka, &b"between 1 1\n".to_vec());
    bench.assert_exact("again", b"between 1 1\n");
    // In mid batch: what the first half was is gone with the topic, so the batch must be sent again
    // whole, or must have been sent after the new topic was there.
    let lines = batch(LARGE_BYTES);
    let delete = || {
        bench.broker.delete_topic("again").unwrap();
        bench.broker.create_topic("again", 1, &[]).unwrap();
    };
    let interrupted =
        Interrupted { lines: &lines, at: LARGE_BYTES / 2, act: Mutex::new(Some(delete)) };
    deliver_at_last(&mut kafka, &interrupted);
    // Messages that a broker had confirmed before the topic was deleted are lost with it.
    deliver_at_last(&mut kafka, &lines);
    bench.assert_exact("again", &lines);
}

#[test]
fn a_topic_that_does_not_exist_is_named_and_loses_nothing() {
    let Some(bench) = Bench::shared("an unknown topic") else { return };
    let mut kafka = kafka(bench.settings("unknown"));
    let (kind, text) = failure(deliver(&mut kafka, b"a 1 1\n"));
    assert_eq!(kind, FailureKind::UnknownTopic, "{text}");
    let expected =
        format!("kafka {}, topic \"unknown\": the topic does not exist: ", bench.broker.address());
    assert!(text.starts_with(&expected) && text.ends_with("; create it, or check topic"), "{text}");
    bench.broker.create_topic("unknown", 1, &[]).unwrap();
    deliver_at_last(&mut kafka, &b"a 1 1\n".to_vec());
    assert_eq!(bench.text("unknown"), b"a 1 1\n");
}

#[test]
fn messages_that_are_too_large_for_the_topic_are_halved() {
    let Some(bench) = Bench::shared("the limit of a topic") else { return };
    for (topic, lines) in
        [("limit-many", LinesPerMessage::Many), ("limit-one", LinesPerMessage::One)]
    {
        bench.broker.create_topic(topic, 1, &[("max.message.bytes", "20000")]).unwrap();
        let mut settings = bench.settings(topic);
        settings.lines = lines;
        settings.compression = "none".to_owned();
        let mut kafka = kafka(settings);
        let kept = batch(1 << 20);
        let at = kept.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        // A line that no message can have is in the middle of others.
        let large = format!("lb.large.{} 1 1\n", "x".repeat(30_000));
        let batch = [&kept[..at], large.as_bytes(), &kept[at..]].concat();
        let outcome = deliver(&mut kafka, &batch).unwrap();
        assert_eq!(outcome.long_lines.count, 1, "{topic}: {outcome:?}");
        let reason = outcome.long_lines.reason.unwrap();
        assert!(reason.starts_with("\"lb.large.xxx"), "{reason}");
        assert!(reason.ends_with("raise max.message.bytes of the topic"), "{reason}");
        let records = bench.records(topic);
        let mut came: Vec<_> = records
            .iter()
            .flat_map(|record| record.payload.split(|byte| *byte == b'\n'))
            .filter(|line| !line.is_empty())
            .collect();
        let mut sent: Vec<_> =
            kept.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
        came.sort_unstable();
        sent.sort_unstable();
        assert!(came == sent, "{topic}");
        // The next batch begins with the size that the broker takes: nothing is refused.
        assert_eq!(deliver(&mut kafka, &kept).unwrap(), Outcome::default());
    }
}

#[test]
fn a_line_above_message_size_is_left_out_and_named() {
    let Some(bench) = Bench::shared("a large line") else { return };
    bench.broker.create_topic("large-line", 1, &[]).unwrap();
    let mut settings = bench.settings("large-line");
    settings.message_size = 1024;
    let large = format!("lb.large.{} 1 1\n", "x".repeat(2000));
    let lines = [b"a 1 1\n", large.as_bytes(), b"b 1 1\n"].concat();
    let outcome = deliver(&mut kafka(settings), &lines).unwrap();
    assert_eq!(outcome.long_lines.count, 1);
    let reason = outcome.long_lines.reason.unwrap();
    assert!(reason.contains("has 2014 bytes, more than message-size"), "{reason}");
    assert_eq!(bench.text("large-line"), b"a 1 1\nb 1 1\n");
}

#[test]
fn a_refused_login_is_an_error_and_a_new_password_is_read() {
    let Some(bench) = Bench::shared("a refused login") else { return };
    bench.broker.create_topic("login", 1, &[]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let password_file = folder.path().join("password");
    let mut settings = settings(&bench.broker.login_address(), "login");
    settings.security.protocol = "sasl_plaintext".to_owned();
    settings.security.login = Some(KafkaLogin {
        mechanism: "PLAIN".to_owned(),
        username: USER.to_owned(),
        password_file: password_file.clone(),
    });
    let mut kafka = kafka(settings);
    let (kind, text) = failure(deliver(&mut kafka, b"a 1 1\n"));
    assert_eq!(kind, FailureKind::Secret, "{text}");
    assert!(text.contains(&format!("{password_file:?}")), "{text}");
    fs::write(&password_file, "wrong\n").unwrap();
    let (kind, text) = failure(deliver(&mut kafka, b"a 1 1\n"));
    assert_eq!(kind, FailureKind::Authentication, "{text}");
    assert!(!text.contains("wrong"), "{text}");
    fs::write(&password_file, format!("{PASSWORD}\n")).unwrap();
    deliver(&mut kafka, b"a 1 1\n").unwrap();
    assert_eq!(bench.text("login"), b"a 1 1\n");
}

#[test]
fn brokers_that_cannot_be_reached_are_named_with_the_reason() {
    let [port] = free_ports().unwrap();
    let address = format!("127.0.0.1:{port}");
    let (kind, text) = failure(deliver(&mut kafka(settings(&address, "t")), b"a 1 1\n"));
    assert_eq!(kind, FailureKind::Unreachable, "{text}");
    assert!(text.contains("Connection refused") && text.contains(&address), "{text}");
    let (kind, text) = failure(deliver(&mut kafka(settings("no.invalid:9092", "t")), b"a 1 1\n"));
    assert_eq!(kind, FailureKind::Unresolved, "{text}");
}

#[test]
fn a_check_finds_the_topic_and_makes_none() {
    let Some(bench) = Bench::shared("a check") else { return };
    bench.broker.create_topic("check", 3, &[]).unwrap();
    let found = kafka(bench.settings("check")).find_topic().unwrap();
    assert_eq!(found, "the topic is there: 3 partition(s), 1 broker(s)");
    for _ in 0..2 {
        let error = kafka(bench.settings("check-none")).find_topic().unwrap_err().to_string();
        let expected = "the topic does not exist: no batch makes it: auto.create.topics.enable of \
                        broker 1 is false; create it, or check topic";
        assert!(error.ends_with(expected), "{error}");
    }
    assert!(bench.text("check").is_empty());
}

#[test]
fn a_check_names_the_reason_why_no_broker_answers() {
    let [port] = free_ports().unwrap();
    let error = kafka(settings(&format!("127.0.0.1:{port}"), "t")).find_topic().unwrap_err();
    let text = error.to_string();
    assert!(text.contains("no broker can be reached") && text.contains("refused"), "{text}");
}
