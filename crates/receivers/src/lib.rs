//! Where batches go: Graphite and local-store today, a folder or a file each for those to come.
//!
//! Encoding is pure ([`graphite::Encoder`]), a connection is elsewhere; a dispatcher either has
//! delivered a batch whole or says why not. It never tries again by itself: when that is done is
//! the parent's decision.

mod error;
pub mod graphite;
mod lines;
mod local_store;
pub mod outbox;
mod unacknowledged;

pub use error::Error;
pub use graphite::Graphite;
pub use lines::Lines;
pub use local_store::LocalStore;

/// A batch on its way out.
#[derive(Debug, Clone, Copy)]
pub struct Delivery<'a> {
    /// The snapshot's name: epoch seconds.
    pub timestamp: &'a str,
    /// The batch as plaintext lines, whole.
    pub lines: &'a dyn Lines,
}

/// A way out.
pub trait Dispatcher: std::fmt::Debug {
    /// Its section in the configuration file.
    fn name(&self) -> &'static str;

    /// Whether a snapshot must stay until this one has its batch. A dispatcher that is only for looking says no.
    fn must_have(&self) -> bool;

    /// Delivers a batch whole.
    ///
    /// # Errors
    ///
    /// Why the receiver does not count as having it; what it may have got of it will come again.
    fn deliver(&mut self, delivery: Delivery<'_>) -> Result<(), Error>;
}

/// The dispatchers that the configuration turns on.
#[must_use]
pub fn all(config: &config::Process, clock: daemon::Clock) -> Vec<Box<dyn Dispatcher>> {
    let graphite =
        config.graphite.clone().map(|config| Box::new(Graphite::new(config, clock)) as Box<_>);
    let only = graphite.is_none();
    let local_store = config.local_store.clone();
    let local_store =
        local_store.map(|config| Box::new(LocalStore::new(config, clock, only)) as Box<_>);
    graphite.into_iter().chain(local_store).collect()
}
