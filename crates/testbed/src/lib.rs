//! Helpers that the tests of all crates, the examples and the tasks share: a Graphite receiver, an
//! HTTP server, a Kafka broker, a certificate authority, a capture of the log, waits with a
//! deadline.
//!
//! Neither program depends on this crate. It knows nothing of haproxystats: a receiver sees lines,
//! not snapshots. Errors are returned, because the tasks use it too; tests unwrap them.

pub mod graphite;
pub mod http;
pub mod kafka;
pub mod log;
mod programs;
mod scratch;
pub mod tls;
mod wait;

pub use programs::{installed, skip, skip_for_the_machine};
pub use scratch::{free_ports, names};
pub use wait::wait_until;
