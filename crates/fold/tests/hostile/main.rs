//! Hostile input: a bad file of a snapshot is left out alone, is reported by name, and takes
//! bounded memory and time.

#![allow(clippy::unwrap_used, reason = "test code outside of test functions")]

mod bounds;
mod info;
mod mutations;
mod stat;
mod twin;
mod workbench;
