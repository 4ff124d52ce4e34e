//! Both programs end to end, tested only at their sockets and files: started as an operator starts
//! them, with HAProxy or a fake in front and carbon or a fake behind.
//!
//! A test never sleeps for a guessed time: it waits for a condition, with a deadline that only a
//! hang reaches. A test whose server is not installed is skipped with a note; `cargo xtask test`
//! makes that a failure if it has installed all servers.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "test code outside of test functions"
)]

mod bench;
mod carbon;
mod check;
mod commands;
mod contrib;
mod demo;
mod disks;
mod exact;
mod examples;
mod faults;
mod frozen;
mod golden;
mod graphite_web;
mod haproxy;
mod influxdb;
mod kafka;
mod life;
mod masters;
mod misfortunes;
mod monitor;
mod oddities;
mod once;
mod parity;
mod prometheus;
mod pull;
mod real_servers;
mod receiver;
mod receivers;
mod relay;
mod scene;
mod secrets;
mod service;
mod sink;
mod sockets;
mod states;
mod support;
mod tags;
mod uwsgi;
mod zope;
