//! The meaning of librdkafka's errors: why a batch was not delivered, and what to do about it.

use std::fmt;
use std::time::Duration;

use rdkafka::types::RDKafkaErrorCode as Code;
use thiserror::Error;

/// Why a batch was not delivered. The batch stays ours, whatever the failure.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("kafka {brokers}, topic {topic:?}: {kind}{}{}", Reason(reason), remedy(*kind))]
pub struct Failure {
    /// The brokers of the configuration.
    pub brokers: String,
    /// The topic.
    pub topic: String,
    /// The class.
    pub kind: FailureKind,
    /// What the library or a broker says about it; can be empty.
    pub reason: String,
}

/// The classes of failures that differ in what an operator can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// No broker can be reached.
    Unreachable,
    /// The name of no broker resolves.
    Unresolved,
    /// The brokers do not have the topic.
    UnknownTopic,
    /// Partitions of the topic have no leader.
    NoLeader,
    /// The name of the topic is against the rules.
    InvalidTopic,
    /// The login is refused.
    Authentication,
    /// The user may not write to the topic, or not with an idempotent producer.
    Authorization,
    /// TLS failed.
    Tls,
    /// Too few replicas are in sync.
    Replicas,
    /// No message was confirmed in time.
    Unconfirmed {
        /// Messages that were confirmed before.
        confirmed: u64,
        /// Messages that were produced.
        of: u64,
        /// `confirm-timeout`.
        timeout: Duration,
    },
    /// librdkafka refuses a setting.
    Setting,
    /// A file of the configuration cannot be read.
    Secret,
    /// The producer cannot go on.
    Fatal,
    /// Any other error.
    Other,
}

/// What a report or an error of librdkafka means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The broker takes no message of this size.
    TooLarge,
    /// The batch is not delivered.
    Failed(FailureKind),
    /// The message timed out in the library.
    TimedOut,
}

impl Meaning {
    /// The kind of a failure; `other` for the meanings that have none.
    pub(super) const fn kind_or(self, other: FailureKind) -> FailureKind {
        match self {
            Self::Failed(kind) => kind,
            Self::TooLarge | Self::TimedOut => other,
        }
    }
}

/// The meaning of an error code. A code that we do not know is a failure too, so the batch is sent
/// again.
pub(super) const fn meaning(code: Code) -> Meaning {
    Meaning::Failed(match code {
        Code::MessageSizeTooLarge | Code::MessageBatchTooLarge => return Meaning::TooLarge,
        Code::MessageTimedOut
        | Code::OperationTimedOut
        | Code::RequestTimedOut
        | Code::TimedOutQueue => return Meaning::TimedOut,
        Code::BrokerTransportFailure | Code::AllBrokersDown | Code::NetworkException => {
            FailureKind::Unreachable
        }
        Code::Resolve => FailureKind::Unresolved,
        Code::UnknownTopic
        | Code::UnknownPartition
        | Code::UnknownTopicOrPartition
        | Code::UnknownTopicId => FailureKind::UnknownTopic,
        Code::LeaderNotAvailable => FailureKind::NoLeader,
        Code::InvalidTopic => FailureKind::InvalidTopic,
        Code::Authentication
        | Code::SaslAuthenticationFailed
        | Code::UnsupportedSASLMechanism
        | Code::IllegalSASLState => FailureKind::Authentication,
        Code::TopicAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::TransactionalIdAuthorizationFailed => FailureKind::Authorization,
        Code::SSL => FailureKind::Tls,
        Code::NotEnoughReplicas | Code::NotEnoughReplicasAfterAppend => FailureKind::Replicas,
        Code::Fatal
        | Code::GaplessGuarantee
        | Code::Inconsistent
        | Code::Fenced
        | Code::ProducerFenced
        | Code::OutOfOrderSequenceNumber
        | Code::UnknownProducerId
        | Code::InvalidProducerEpoch => FailureKind::Fatal,
        _ => FailureKind::Other,
    })
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unreachable => "no broker can be reached",
            Self::Unresolved => "the name of no broker resolves",
            Self::UnknownTopic => "the topic does not exist",
            Self::NoLeader => "partitions of the topic have no leader",
            Self::InvalidTopic => "the brokers refuse the topic's name",
            Self::Authentication => "the login is refused",
            Self::Authorization => "the user may not write to the topic",
            Self::Tls => "TLS failed",
            Self::Replicas => "too few replicas of the topic are in sync",
            Self::Unconfirmed { confirmed, of, timeout } => {
                return write!(
                    f,
                    "{confirmed} of {of} messages were confirmed, and none for {}s \
                     (confirm-timeout)",
                    timeout.as_secs_f64()
                );
            }
            Self::Setting => "librdkafka refuses a setting",
            Self::Secret => "cannot read a file",
            Self::Fatal => "the producer cannot go on",
            Self::Other => "not delivered",
        })
    }
}

/// What an operator can do.
const fn remedy(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::Unreachable => "; check that a broker runs and listens there",
        FailureKind::Unresolved => "; check brokers, and the names that the brokers advertise",
        FailureKind::UnknownTopic => "; create it, or check topic",
        FailureKind::NoLeader => "; look at the brokers that should lead them",
        FailureKind::InvalidTopic => "; check topic",
        FailureKind::Authentication => {
            "; check sasl-username, sasl-password-file and sasl-mechanism"
        }
        FailureKind::Authorization => {
            "; grant the user WRITE on the topic, and IDEMPOTENT_WRITE before Kafka 3"
        }
        FailureKind::Tls => "; check security-protocol, ca-file and certificate",
        FailureKind::Replicas => "; look at the brokers of the topic and its min.insync.replicas",
        FailureKind::Unconfirmed { .. } => "; look at the load and the logs of the brokers",
        FailureKind::Setting => "; check the options librdkafka.*",
        FailureKind::Secret => "; check the file and its permissions",
        FailureKind::Fatal => "; the next try has a new producer",
        FailureKind::Other => "",
    }
}

/// A reason after a colon, if there is one.
struct Reason<'a>(&'a str);

impl fmt::Display for Reason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, ": {}", self.0) }
    }
}
