//! Graphite: the encoder of its plaintext protocol, and the transport over TCP.
//!
//! The encoder is pure: it makes lines of tables and reports what it found about names. All that
//! only Graphite asks for is here: clean names, groups, double writes, the templates of paths.

mod collisions;
mod encoder;
mod groups;
mod lines;
mod part;
mod paths;
mod survey;
#[cfg(test)]
mod tests;
mod transport;

pub use encoder::{BatchLines, Encoder, encode};
pub use groups::InvalidPattern;
pub use part::PART_MAX_BYTES;
pub use paths::Paths;
pub use survey::{LineCounts, Warning, count_lines};
pub use transport::Graphite;
