//! Faults that a real broker has seldom, by the mock cluster of librdkafka.

use std::time::Duration;

use haproxystats_receivers::Outcome;
use haproxystats_receivers::kafka::FailureKind;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use crate::{batch, deliver, deliver_at_last, failure, kafka, settings};

type Cluster = MockCluster<'static, DefaultProducerContext>;

fn cluster(brokers: i32, partitions: i32) -> (Cluster, config::Kafka) {
    let cluster = MockCluster::new(brokers).unwrap();
    cluster.create_topic("mock", partitions, 1).unwrap();
    let settings = settings(&cluster.bootstrap_servers(), "mock");
    (cluster, settings)
}

#[test]
fn after_a_fatal_error_the_next_try_has_a_new_producer() {
    let (cluster, settings) = cluster(1, 1);
    let mut kafka = kafka(settings);
    let refused = RDKafkaRespErr::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED;
    cluster.request_errors(RDKafkaApiKey::InitProducerId, &[refused]);
    let (kind, text) = failure(deliver(&mut kafka, b"a 1 1\n"));
    // Its remedy is that of the cause.
    assert_eq!(kind, FailureKind::Authorization, "{text}");
    assert!(text.contains("authoriz") && text.contains("grant the user"), "{text}");
    assert_eq!(deliver(&mut kafka, b"a 1 1\n").unwrap(), Outcome::default());
}

#[test]
fn an_error_that_passes_is_no_failure() {
    let (cluster, settings) = cluster(1, 1);
    let mut kafka = kafka(settings);
    for error in [
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR__TRANSPORT,
    ] {
        cluster.request_errors(RDKafkaApiKey::Produce, &[error]);
        assert_eq!(deliver(&mut kafka, &batch(1 << 20)).unwrap(), Outcome::default(), "{error:?}");
    }
}

#[test]
fn a_user_without_the_right_to_write_is_told_so() {
    let (cluster, settings) = cluster(1, 1);
    let mut kafka = kafka(settings);
    let refused = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    cluster.request_errors(RDKafkaApiKey::Produce, &[refused]);
    let (kind, text) = failure(deliver(&mut kafka, b"a 1 1\n"));
    assert_eq!(kind, FailureKind::Authorization, "{text}");
    assert!(text.contains("; grant the user WRITE on the topic"), "{text}");
    deliver(&mut kafka, b"a 1 1\n").unwrap();
}

/// A batch counts as delivered only with all partitions, so a dead leader keeps it ours.
#[test]
fn a_partition_without_its_broker_fails_the_batches_of_its_hosts_only() {
    let (cluster, mut settings) = cluster(2, 2);
    for partition in 0..2 {
        cluster.partition_leader("mock", partition, Some(partition + 1)).unwrap();
    }
    settings.confirm_timeout = Duration::from_secs(4);
    let mut kafka = kafka(settings);
    cluster.broker_down(2).unwrap();
    let lines = batch(1 << 20);
    // By their hashes, see `messages`.
    let [alive, dead] = ["lb1.example.org", "lb2.example.org"];
    kafka.deliver(alive, &lines).unwrap();
    let (_, text) = failure(kafka.deliver(dead, &lines));
    assert!(text.starts_with("kafka 127.0.0.1:") && text.contains("\"mock\""), "{text}");
    kafka.deliver(alive, &lines).unwrap();
    cluster.broker_up(2).unwrap();
    deliver_at_last(&mut kafka, &lines);
    kafka.deliver(dead, &lines).unwrap();
}

#[test]
fn a_check_names_what_it_cannot_know_and_what_has_no_leader() {
    let (cluster, mut settings) = cluster(1, 2);
    // The mock knows no request for the settings of a broker.
    settings.topic = "absent".to_owned();
    for _ in 0..2 {
        let text = kafka(settings.clone()).find_topic().unwrap_err().to_string();
        assert!(text.contains("it cannot be known whether a batch makes it: "), "{text}");
        assert!(text.ends_with("; create it, or check topic"), "{text}");
    }
    settings.library = vec![("allow.auto.create.topics".to_owned(), "false".to_owned())];
    let text = kafka(settings.clone()).find_topic().unwrap_err().to_string();
    assert!(text.contains("librdkafka.allow.auto.create.topics is false"), "{text}");
    settings.topic = "mock".to_owned();
    let found = kafka(settings.clone()).find_topic().unwrap();
    assert_eq!(found, "the topic is there: 2 partition(s), 1 broker(s)");
    cluster.partition_leader("mock", 1, None).unwrap();
    let text = kafka(settings).find_topic().unwrap_err().to_string();
    assert!(text.contains("partitions of the topic have no leader: 1 of 2, such as"), "{text}");
}

#[test]
fn a_setting_that_the_library_does_not_know_is_refused_at_the_start() {
    let mut settings = settings("127.0.0.1:1", "t");
    settings.library = vec![("linger.ns".to_owned(), "1".to_owned())];
    let error = haproxystats_receivers::Kafka::new(settings, crate::CLOCK).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("linger.ns") && text.contains("librdkafka.*"), "{text}");
}
