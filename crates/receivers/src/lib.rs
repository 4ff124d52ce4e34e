//! Receivers: Graphite and local-store. Each kind has a folder or a file.
//!
//! Encoding is pure ([`graphite::Encoder`]) and knows no connection. A transport delivers a batch
//! whole or returns the reason. It never tries again by itself, because the parent decides when to.

mod error;
pub mod graphite;
pub mod influxdb;
pub mod json;
mod lines;
mod local_store;
mod rows;
mod unacknowledged;

pub use error::Error;
pub use graphite::Graphite;
pub use lines::Lines;
pub use local_store::LocalStore;
pub use rows::{RowEncoder, RowFormat};
