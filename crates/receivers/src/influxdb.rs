//! InfluxDB's line protocol (influxdata, "Line protocol reference") over HTTP, for InfluxDB 1.x, 2
//! and 3 and for VictoriaMetrics.

mod encoder;
mod escape;
mod fields;

pub use encoder::{InfluxLines, Precision, Schema};
