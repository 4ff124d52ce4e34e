//! The outbox against a simple model, and against what disks and signals do to it.

#![allow(clippy::unwrap_used, reason = "tests")]

mod faults;
mod model;

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use haproxystats_receivers::outbox::{Entry, Error, Limits, Outbox};

const UNBOUNDED: Limits = Limits { size_bytes: u64::MAX, metrics: None };

/// Lines that do not compress well, so that file sizes differ and damage can strike anywhere.
fn noise(seed: u64, lines: u64) -> Vec<u8> {
    let mut state = seed;
    let mut text = String::new();
    for _ in 0..lines {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        text.push_str(&format!("lb.haproxy.{:x} {} 17\n", state >> 20, state >> 40));
    }
    text.into_bytes()
}

fn lines_of(outbox: &Outbox, entry: &Entry) -> Result<Vec<u8>, Error> {
    let mut lines = Vec::new();
    outbox.read(entry)?.read_to_end(&mut lines).unwrap();
    Ok(lines)
}

/// Names in a directory, sorted.
fn names(dir: &Path) -> Vec<String> {
    let listed: io::Result<Vec<_>> = fs::read_dir(dir).unwrap().collect();
    let mut names: Vec<_> =
        listed.unwrap().iter().map(|item| item.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
