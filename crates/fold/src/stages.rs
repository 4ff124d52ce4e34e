//! The stages of reading and folding, one by one, only for the benchmarks: no program has this
//! module.
//!
//! The input of a stage is the output of the stage before, so that a benchmark times one stage.

use model::catalog::ProxyKind;

use crate::Generation;
use crate::codes::{Codes, NameCells};
use crate::columns::Plan;
use crate::fold::Frame;
use crate::rows::{Buffer, Request};
use crate::stat::{AllCodes, AllRows, Rows};

/// The index: finds the positions of an answer's cells. Returns how many cells there are.
#[must_use]
pub fn index(mut text: &[u8]) -> usize {
    let mut cells = 0;
    let read = Buffer::new().rows(&mut text, |row| {
        cells += row.cells;
        Some(Request { positions: row.cells, cells: 0 })
    });
    if read.is_ok() { cells } else { 0 }
}

/// Reads the planned cells of answers into columns, index and codes included.
#[derive(Debug)]
pub struct Reader {
    buffer: Buffer,
    codes: AllCodes,
}

/// The rows that a [`Reader`] read.
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
    /// An answer is damaged.
    #[must_use]
    pub fn read(&mut self, answers: &[&[u8]]) -> Read {
        let default = &config::Selection::Default;
        let rows = |kind| Rows::new(Plan::new(kind, default).columns, 0);
        let mut rows = AllRows {
            frontends: rows(ProxyKind::Frontend),
            backends: rows(ProxyKind::Backend),
            servers: rows(ProxyKind::Server),
        };
        self.codes.begin_snapshot();
        for mut answer in answers.iter().copied() {
            let read = crate::stat::read_from(
                &mut answer,
                Generation::Current,
                &mut self.buffer,
                &mut self.codes,
                &mut rows,
            );
            assert!(read.is_ok(), "{read:?}");
        }
        Read(rows)
    }
}

/// The codes of keys, each of which is a row's text up to the end of its second cell.
#[must_use]
pub fn codes(keys: &[Vec<u8>], rounds: usize) -> u32 {
    let mut codes = Codes::default();
    codes.begin_snapshot();
    let mut last = 0;
    for _ in 0..rounds {
        codes.begin_file();
        for key in keys {
            last = codes.code(key, NameCells::Both).unwrap_or_default();
        }
    }
    last
}

/// Folds the servers. Returns how many values there are.
///
/// # Panics
///
/// Polars rejects the rows.
#[must_use]
pub fn fold(Read(rows): Read) -> usize {
    let plan = rows.servers.plan.clone();
    let frame = Frame::new(rows.servers);
    let folded = frame.fold(&frame.codes, &plan, "servers");
    assert!(folded.is_ok(), "{folded:?}");
    folded.map_or(0, |folded| folded.codes.len() * folded.columns.len())
}
