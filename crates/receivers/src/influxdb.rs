//! InfluxDB's line protocol (influxdata, "Line protocol reference") over HTTP, for InfluxDB 1.x, 2
//! and 3 and for VictoriaMetrics.

mod answer;
mod encoder;
mod escape;
mod fields;
mod piece;
mod session;
mod transport;

pub use encoder::{InfluxLines, Precision, Schema};
pub use transport::InfluxDb;
