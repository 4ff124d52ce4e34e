//! The stages of reading and folding, one by one, for the benchmarks alone: no program is built
//! with this.
//!
//! Each takes what the one before it made, so that a benchmark times that stage
//! alone.

use model::catalog::{Choice, ProxyKind};

use crate::codes::{Codes, Key};
use crate::fold::Frame;
use crate::rows::{Buffer, Wanted};
use crate::stat::{AllCodes, AllRows, Rows};

/// Where cells end: the index over the text of an answer. Returns how many cells there are.
#[must_use]
pub fn index(mut text: &[u8]) -> usize {
    let mut cells = 0;
    let read = Buffer::new().rows(&mut text, |row| {
        cells += row.cells;
        Some(Wanted { looked_at: row.cells, cells: 0 })
    });
    if read.is_ok() { cells } else { 0 }
}

/// The wanted cells of an answer as columns, index and codes included.
#[derive(Debug)]
pub struct Reader {
    buffer: Buffer,
    codes: AllCodes,
}

/// What a [`Reader`] made.
#[derive(Debug, Clone)]
pub struct Read(AllRows);

impl Default for Reader {
    fn default() -> Self {
        Self { buffer: Buffer::new(), codes: AllCodes::default() }
    }
}

impl Reader {
    /// Reads the answers of several processes.
    ///
    /// # Panics
    ///
    /// One of them is no answer.
    #[must_use]
    pub fn read(&mut self, answers: &[&[u8]]) -> Read {
        let rows = |kind: ProxyKind| Rows::new(kind.plan(Choice::Default), 0);
        let mut rows = AllRows {
            frontends: rows(ProxyKind::Frontend),
            backends: rows(ProxyKind::Backend),
            servers: rows(ProxyKind::Server),
        };
        self.codes.begin_snapshot();
        for mut answer in answers.iter().copied() {
            let read =
                crate::stat::read_from(&mut answer, &mut self.buffer, &mut self.codes, &mut rows);
            assert!(read.is_ok(), "{read:?}");
        }
        Read(rows)
    }
}

/// Codes of keys, each a row's proxy and server as they stand in the text.
#[must_use]
pub fn codes(keys: &[Vec<u8>], rounds: usize) -> u32 {
    let mut codes = Codes::default();
    codes.begin_snapshot();
    let mut last = 0;
    for _ in 0..rounds {
        codes.begin_file();
        for key in keys {
            last = codes.code(key, Key::ProxyAndServer).unwrap_or_default();
        }
    }
    last
}

/// The fold of the servers. Returns how many values it made.
///
/// # Panics
///
/// Polars refuses it.
#[must_use]
pub fn fold(Read(rows): Read) -> usize {
    let plan = rows.servers.plan.clone();
    let frame = Frame::new(rows.servers);
    let folded = frame.fold(&frame.codes, &plan);
    assert!(folded.is_ok(), "{folded:?}");
    folded.map_or(0, |folded| folded.codes.len() * folded.columns.len())
}
