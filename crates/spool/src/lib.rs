//! The spool: the directory of snapshots between the two programs, and the only thing that they
//! share.
//!
//! `haproxystats-pull` stages a snapshot aside ([`writer`]) and publishes it by one rename;
//! `haproxystats-process` notices it ([`watch`]), reads it and takes it away ([`reader`]). Nothing
//! in the spool is ever partial, and names ([`name`]) give the order.

pub mod cycle;
pub mod failed;
pub mod lock;
pub mod name;
mod probe;
pub mod reader;
pub mod watch;
pub mod writer;
