//! Both programs end to end, at their sockets and files only: started as an operator starts them,
//! with HAProxy or its stand-in in front and carbon or its stand-in behind.
//!
//! No test sleeps for a guess: it waits for a condition, with a deadline that only a hang reaches.
//! Servers that are not installed are skipped aloud, and `cargo xtask test` makes that a failure
//! where it has installed them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "test code outside of test functions"
)]

mod bench;
mod carbon;
mod commands;
mod contrib;
mod demo;
mod exact;
mod examples;
mod faults;
mod golden;
mod haproxy;
mod life;
mod misfortunes;
mod oddities;
mod parity;
mod pull;
mod receiver;
mod scene;
mod service;
mod sink;
mod sockets;
mod support;
mod whole_road;
