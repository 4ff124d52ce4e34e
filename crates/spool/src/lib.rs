//! The spool: the directory of snapshots between the two programs, and the only thing that they
//! share.
//!
//! haproxystats-pull fills a snapshot aside, with a [`manifest`] of what it holds, and publishes it
//! by one rename ([`writer`]). haproxystats-process notices it ([`watch`]), reads it and removes it
//! ([`reader`]), or moves it aside where it cannot be folded ([`failed`]). Nothing in the spool is
//! ever partial, and names ([`name`]) give the order.

pub mod cycle;
pub mod failed;
pub mod manifest;
pub mod name;
mod probe;
pub mod reader;
pub mod watch;
pub mod writer;
