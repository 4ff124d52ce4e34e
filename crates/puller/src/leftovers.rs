//! Directories that could not be removed from `tmp-dst-dir`. The log says so once, their removal is
//! tried again every [`CLEAN_CYCLES`] cycles, and the log says when they are gone.
//!
//! Without leftovers no cycle looks for any.

use std::io;

use spool::writer::{Cleanup, Error};
use tracing::{info, warn};

use crate::journal::Journal;

/// Cycles after which a removal is tried again. Each try reads the whole of `tmp-dst-dir`, which
/// others may use too.
pub(crate) const CLEAN_CYCLES: u64 = 30;

/// The one condition of all leftovers.
const KEY: &str = "leftovers";

/// Whether anything may be left.
#[derive(Debug)]
pub(crate) struct Leftovers {
    journal: Journal,
    /// The cycle that tries again; `None` where nothing is left.
    try_again: Option<u64>,
}

impl Leftovers {
    pub(crate) const fn new(journal: Journal) -> Self {
        Self { journal, try_again: None }
    }

    /// Whether this cycle tries to remove them.
    pub(crate) fn are_due(&self, cycle: u64) -> bool {
        self.try_again.is_some_and(|due| cycle >= due)
    }

    /// Something may be left since this cycle.
    pub(crate) fn may_stay(&mut self, cycle: u64) {
        self.try_again.get_or_insert(cycle.saturating_add(CLEAN_CYCLES));
    }

    /// Something is left since this cycle.
    pub(crate) fn stay(&mut self, error: &Error, cycle: u64) {
        self.may_stay(cycle);
        let line = self.journal.begins(KEY, &state(error));
        if line.is_due() {
            warn!(
                %error,
                "an unfinished snapshot stays in tmp-dst-dir; its removal is tried again every \
                 {CLEAN_CYCLES} cycles{}",
                line.note()
            );
        }
    }

    /// Logs the result of a removal.
    pub(crate) fn cleaned(&mut self, cleaned: Result<Cleanup, Error>, cycle: u64) {
        self.try_again = None;
        let cleaned = cleaned
            .unwrap_or_else(|error| Cleanup { stay: Some((error, 1)), ..Cleanup::default() });
        if let Some((first, count)) = cleaned.removed {
            info!(?first, count, "removed what an earlier run had not finished");
        }
        if let Some((error, count)) = cleaned.stay {
            self.may_stay(cycle);
            let line = self.journal.begins(KEY, &state(&error));
            if line.is_due() {
                warn!(
                    %error,
                    count,
                    "leftovers of an earlier run stay; their removal is tried again every \
                     {CLEAN_CYCLES} cycles{}",
                    line.note()
                );
            }
        } else {
            let line = self.journal.ends(KEY);
            if line.is_due() {
                info!("nothing unfinished is left in tmp-dst-dir any more{}", line.note());
            }
        }
        if let Some((first, count)) = cleaned.unmarked {
            let line = self.journal.begins("unmarked", "there");
            if line.is_due() {
                warn!(
                    ?first,
                    count,
                    "directories of others are left alone in tmp-dst-dir: they lack the marker of \
                     haproxystats-pull{}",
                    line.note()
                );
            }
        }
    }
}

/// The error without its path: one state for the log.
fn state(error: &Error) -> String {
    let kind = match error {
        Error::Io { source, .. } => source.kind(),
        _ => io::ErrorKind::Other,
    };
    format!("{kind:?}")
}
