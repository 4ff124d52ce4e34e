//! Graphite: the encoder of its plaintext protocol, and the transport over TCP and UNIX sockets.
//!
//! The encoder is pure: it makes lines of tables and reports its findings about names. Clean names,
//! groups, double writes and the templates of paths are here, because only Graphite needs them.

mod choice;
mod collisions;
mod encoder;
mod lines;
mod part;
mod paths;
mod secured;
mod server;
mod short_lines;
mod spelling;
mod stream;
mod survey;
mod tag;
#[cfg(test)]
mod tests;
mod transport;

pub use encoder::{Encoder, GraphiteRows, encode};
pub use part::PART_MAX_BYTES;
pub use paths::Paths;
pub use short_lines::ShortLines;
pub use survey::{LineCounts, NameForms, Warning, count_lines};
pub use transport::{Graphite, try_limit};
