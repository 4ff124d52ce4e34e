//! Kafka: the messages of a batch, and the transport that produces them by librdkafka.
//!
//! Cutting lines into messages ([`Messages`]) and the meaning of librdkafka's errors ([`Failure`])
//! are pure. The transport awaits the report of every message: a batch is delivered when all are
//! good. After any failure the batch stays ours and the producer is dropped with all that it still
//! holds, so that a producer in an unknown state, or with a fatal error, is never used again.

mod check;
mod failure;
mod messages;
mod reports;
mod settings;
mod transport;

pub use failure::{Failure, FailureKind};
pub use messages::Messages;
pub use transport::Kafka;
