//! Whether the topic takes batches, asked without making it.
//!
//! Brokers can be set to make a topic that a producer asks for by its name. The check forbids that
//! for its own question. If the topic is missing, it asks a broker for that setting, because then
//! the first batch makes the topic.

use std::time::Duration;

use futures_executor::block_on;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, ConfigResource, ResourceSpecifier};
use rdkafka::error::KafkaError;
use rdkafka::metadata::{MetadataPartition, MetadataTopic};
use rdkafka::producer::{BaseProducer, Producer};
use rdkafka::types::RDKafkaErrorCode;

use super::failure::{FailureKind, meaning};
use super::reports::Reports;
use super::settings;
use super::transport::{Kafka, REPORT_GRACE};
use crate::Error;

/// Events of a failed connection that are looked at for its reason. With `librdkafka.debug = all`
/// each step of the library is one.
const EVENTS_MAX: usize = 100_000;
/// The library's setting for the question; the producers of batches leave it to the user.
const AUTO_CREATION: &str = "allow.auto.create.topics";

/// What a broker does about a topic that does not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Creation {
    /// It makes the topic.
    Automatic { partitions: String, replicas: String },
    /// It does not, and why.
    None(String),
    /// It does not tell, and why.
    Unknown(String),
}

impl Kafka {
    /// Connects, logs in and looks for the topic, which is not made. Returns what was found.
    ///
    /// # Errors
    ///
    /// A batch would not be delivered now, and why.
    pub fn find_topic(&self) -> Result<String, Error> {
        let mut settings = self.settings()?;
        // Without its warning that this is a setting of consumers: producers heed it, too.
        settings.set(AUTO_CREATION, "false").set("log_level", "3");
        let producer: BaseProducer<Reports> = self.client(&settings)?;
        let asked = producer.client().fetch_metadata(Some(&self.config.topic), self.check_limit());
        let metadata = asked.map_err(|error| self.no_metadata(&producer, &error))?;
        let Some(topic) = metadata.topics().first() else {
            return Err(self.failure(FailureKind::UnknownTopic, String::new()));
        };
        let brokers: Vec<i32> = metadata.brokers().iter().map(|broker| broker.id()).collect();
        match topic.error().map(RDKafkaErrorCode::from) {
            None => self.topic_found(topic, brokers.len()),
            Some(RDKafkaErrorCode::UnknownTopicOrPartition) => {
                self.topic_missing(&settings, &brokers)
            }
            Some(code) => {
                let kind = meaning(code).kind_or(FailureKind::Other);
                Err(self.failure(kind, code.to_string()))
            }
        }
    }

    fn check_limit(&self) -> Duration {
        settings::setup_timeout(&self.config) + REPORT_GRACE
    }

    /// Why there is no metadata: the errors of the connections tell more than the call.
    fn no_metadata(&self, producer: &BaseProducer<Reports>, error: &KafkaError) -> Error {
        for _ in 0..EVENTS_MAX {
            producer.poll(Duration::ZERO);
        }
        if let Some((kind, reason)) = producer.context().lock().last_error.take() {
            return self.failure(kind, reason);
        }
        let other = FailureKind::Unreachable;
        let kind = error.rdkafka_error_code().map_or(other, |code| meaning(code).kind_or(other));
        self.failure(kind, error.to_string())
    }

    fn topic_found(&self, topic: &MetadataTopic, brokers: usize) -> Result<String, Error> {
        let is_dead = |partition: &&MetadataPartition| partition.leader() < 0;
        let dead = topic.partitions().iter().filter(is_dead).map(MetadataPartition::id);
        let (dead, partitions): (Vec<i32>, _) = (dead.collect(), topic.partitions().len());
        if let Some(first) = dead.first() {
            let reason = format!("{} of {partitions}, such as partition {first}", dead.len());
            return Err(self.failure(FailureKind::NoLeader, reason));
        }
        Ok(format!("the topic is there: {partitions} partition(s), {brokers} broker(s)"))
    }

    fn topic_missing(&self, settings: &ClientConfig, brokers: &[i32]) -> Result<String, Error> {
        let is_off = |(name, value): &(String, String)| name == AUTO_CREATION && value == "false";
        let creation = match brokers.first() {
            _ if self.config.library.iter().any(is_off) => {
                Creation::None(format!("librdkafka.{AUTO_CREATION} is false"))
            }
            Some(broker) => self.ask_for_creation(settings, *broker, brokers.len()),
            None => Creation::Unknown("no broker is known".to_owned()),
        };
        match creation {
            Creation::Automatic { partitions, replicas } => Ok(format!(
                "the topic does not exist; the first batch makes it with {partitions} \
                 partition(s) and {replicas} replica(s), if the user may do that"
            )),
            Creation::None(reason) => {
                Err(self.failure(FailureKind::UnknownTopic, format!("no batch makes it: {reason}")))
            }
            Creation::Unknown(reason) => {
                let reason = format!("it cannot be known whether a batch makes it: {reason}");
                Err(self.failure(FailureKind::UnknownTopic, reason))
            }
        }
    }

    /// All brokers of a cluster should have the same settings, so one of them is asked.
    fn ask_for_creation(&self, settings: &ClientConfig, broker: i32, brokers: usize) -> Creation {
        let admin: AdminClient<Reports> = match self.client(settings) {
            Ok(admin) => admin,
            Err(error) => return Creation::Unknown(error.to_string()),
        };
        let options = AdminOptions::new().request_timeout(Some(self.check_limit()));
        let resource = [ResourceSpecifier::Broker(broker)];
        let described = match block_on(admin.describe_configs(&resource, &options)) {
            Ok(mut described) => described.pop(),
            Err(error) => return Creation::Unknown(error.to_string()),
        };
        match described {
            Some(Ok(described)) => creation_by(broker, brokers, |name| value(&described, name)),
            Some(Err(code)) => Creation::Unknown(format!("broker {broker}: {code}")),
            None => Creation::Unknown(format!("broker {broker} answers nothing")),
        }
    }
}

fn value(described: &ConfigResource, name: &str) -> Option<String> {
    described.get(name)?.value.clone()
}

/// What a broker of a cluster does by its settings.
fn creation_by(broker: i32, brokers: usize, setting: impl Fn(&str) -> Option<String>) -> Creation {
    let [automatic, partitions, replicas] =
        ["auto.create.topics.enable", "num.partitions", "default.replication.factor"].map(setting);
    let (Some(automatic), Some(partitions), Some(replicas)) = (automatic, partitions, replicas)
    else {
        return Creation::Unknown(format!("broker {broker} does not tell its settings"));
    };
    if automatic != "true" {
        let reason = format!("auto.create.topics.enable of broker {broker} is {automatic}");
        return Creation::None(reason);
    }
    if replicas.parse().is_ok_and(|replicas: usize| replicas > brokers) {
        return Creation::None(format!(
            "default.replication.factor of broker {broker} is {replicas}, and {brokers} broker(s) \
             are there"
        ));
    }
    Creation::Automatic { partitions, replicas }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn creation(settings: [Option<&str>; 3]) -> Creation {
        let names = ["auto.create.topics.enable", "num.partitions", "default.replication.factor"];
        creation_by(1, 2, |wanted| {
            let at = names.iter().position(|name| *name == wanted).unwrap();
            settings[at].map(str::to_owned)
        })
    }

    #[test]
    fn a_broker_makes_a_topic_if_its_settings_and_its_cluster_allow_it() {
        let made = Creation::Automatic { partitions: "6".to_owned(), replicas: "2".to_owned() };
        assert_eq!(creation([Some("true"), Some("6"), Some("2")]), made);
        let off = "auto.create.topics.enable of broker 1 is false".to_owned();
        assert_eq!(creation([Some("false"), Some("6"), Some("2")]), Creation::None(off));
        let Creation::None(reason) = creation([Some("true"), Some("6"), Some("3")]) else {
            panic!("more replicas than brokers");
        };
        assert_eq!(
            reason,
            "default.replication.factor of broker 1 is 3, and 2 broker(s) are there"
        );
        assert!(matches!(creation([None, Some("6"), Some("2")]), Creation::Unknown(_)));
    }
}
