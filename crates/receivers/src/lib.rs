//! Receivers: Graphite, InfluxDB, Kafka (with the feature `kafka`) and local-store, and the
//! encoders for JSON and Prometheus. Each kind has a folder or a file.
//!
//! Encoding is pure ([`graphite::Encoder`], [`RowEncoder`]) and knows no connection. A transport
//! delivers a batch whole or returns the reason. It never tries again by itself, because the parent
//! decides when to.

mod chunks;
mod error;
mod files;
pub mod graphite;
mod groups;
pub mod influxdb;
pub mod json;
#[cfg(feature = "kafka")]
pub mod kafka;
mod lines;
mod local_store;
mod outcome;
pub mod prometheus;
mod rows;
mod tls;
mod unacknowledged;

pub use chunks::{ChunkReader, RowSource};
pub use error::Error;
pub use graphite::Graphite;
pub use groups::InvalidPattern;
pub use influxdb::InfluxDb;
#[cfg(feature = "kafka")]
pub use kafka::Kafka;
pub use lines::{LineReader, Lines};
pub use local_store::LocalStore;
pub use outcome::{Loss, Outcome};
pub use rows::{FormattedRows, RowEncoder, RowFormat};
