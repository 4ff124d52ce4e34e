//! Receivers: Graphite and local-store today, a folder or a file each for those to come.
//!
//! Encoding is pure ([`graphite::Encoder`]), a connection is elsewhere. A transport either has
//! delivered a batch whole or says why not. It never tries again by itself: the parent decides when
//! that is done.

mod error;
pub mod graphite;
mod lines;
mod local_store;
mod unacknowledged;

pub use error::Error;
pub use graphite::Graphite;
pub use lines::Lines;
pub use local_store::LocalStore;
