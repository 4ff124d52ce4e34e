//! What is in the topic: messages byte for byte, their keys, partitions and compression.

use config::{LinesPerMessage, MessageKey};
use haproxystats_receivers::Outcome;

use crate::{Bench, HOST, LARGE_BYTES, batch, deliver, kafka};

const ZSTD: u8 = 4;
/// `Utils.toPositive(Utils.murmur2(key.getBytes())) % 2` of Kafka 4.4.0.
const PARTITIONS: [(&str, i32); 6] = [
    ("lb1.example.org", 0),
    ("lb2.example.org", 1),
    ("lb3.example.org", 1),
    ("edge-a", 0),
    ("host", 0),
    ("\u{fc}n\u{ef}code.example", 0),
];

#[test]
fn messages_of_many_lines_are_byte_for_byte_the_batch() {
    let Some(bench) = Bench::shared("messages of many lines") else { return };
    bench.broker.create_topic("many", 1, &[]).unwrap();
    let mut kafka = kafka(bench.settings("many"));
    let lines = batch(LARGE_BYTES);
    assert_eq!(deliver(&mut kafka, &lines).unwrap(), Outcome::default());
    let records = bench.records("many");
    for record in &records {
        assert!(record.payload.len() <= 262_144 && record.payload.ends_with(b"\n"));
        assert_eq!(record.key.as_deref(), Some(HOST));
    }
    // None is much smaller than it may be.
    assert_eq!(records.len(), lines.len().div_ceil(262_000));
    assert!(bench.text("many") == lines);
    assert_eq!(bench.broker.compression("many", 0).unwrap(), Some(ZSTD));
    // The next batch goes by the same producer.
    deliver(&mut kafka, b"next 1 1\n").unwrap();
    assert_eq!(bench.records("many").last().unwrap().payload, b"next 1 1\n");
}

#[test]
fn a_message_of_one_line_has_no_line_feed() {
    let Some(bench) = Bench::shared("messages of one line") else { return };
    bench.broker.create_topic("one", 1, &[]).unwrap();
    let mut settings = bench.settings("one");
    settings.lines = LinesPerMessage::One;
    settings.key = MessageKey::None;
    settings.compression = "none".to_owned();
    // More messages than the library holds at once.
    let lines = batch(600_000);
    deliver(&mut kafka(settings), &lines).unwrap();
    let records = bench.records("one");
    assert!(records.len() > 20_000, "{}", records.len());
    assert!(records.iter().all(|record| record.key.is_none()));
    let came: Vec<_> = records.into_iter().map(|record| record.payload).collect();
    let sent: Vec<_> = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
    assert!(came == sent);
    assert_eq!(bench.broker.compression("one", 0).unwrap(), Some(0));
}

#[test]
fn a_key_has_the_partition_that_java_gives_it() {
    let Some(bench) = Bench::shared("partitions") else { return };
    bench.broker.create_topic("partitions", 2, &[]).unwrap();
    let mut kafka = kafka(bench.settings("partitions"));
    for turn in 0..2 {
        for (host, _) in PARTITIONS {
            kafka.deliver(host, &format!("{host} {turn}\n").into_bytes()).unwrap();
        }
    }
    let records = bench.records("partitions");
    for (host, partition) in PARTITIONS {
        let of_host = records.iter().filter(|record| record.key.as_deref() == Some(host));
        let of_host: Vec<_> = of_host.map(|record| (record.partition, &record.payload)).collect();
        let lines = [0, 1].map(|turn| format!("{host} {turn}\n").into_bytes());
        assert_eq!(of_host, [(partition, &lines[0]), (partition, &lines[1])], "{host}");
    }
}
