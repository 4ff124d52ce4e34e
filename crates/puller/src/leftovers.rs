//! Leftovers are directories that could not be removed from `tmp-dst-dir`. They are logged once,
//! their removal is tried again every [`CLEAN_CYCLES`] cycles, and their end is logged.
//!
//! Without leftovers no cycle lists `tmp-dst-dir`.

use std::io;

use spool::writer::{Cleanup, Error};
use tracing::{info, warn};

use crate::journal::Journal;

/// Cycles after which a removal is tried again. Each try reads the whole of `tmp-dst-dir`, which
/// others may use too.
pub(crate) const CLEAN_CYCLES: u64 = 30;

/// The one condition of all leftovers.
const KEY: &str = "leftovers";

/// Whether there may be leftovers.
#[derive(Debug)]
pub(crate) struct Leftovers {
    journal: Journal,
    /// The cycle that tries again; `None` without leftovers.
    try_again: Option<u64>,
}

impl Leftovers {
    pub(crate) const fn new(journal: Journal) -> Self {
        Self { journal, try_again: None }
    }

    /// Whether this cycle tries to remove the leftovers.
    pub(crate) fn are_due(&self, cycle: u64) -> bool {
        self.try_again.is_some_and(|due| cycle >= due)
    }

    /// Has a later cycle look for leftovers of this cycle.
    pub(crate) fn try_later(&mut self, cycle: u64) {
        self.try_again.get_or_insert(cycle.saturating_add(CLEAN_CYCLES));
    }

    /// Logs that an unfinished snapshot of this cycle cannot be removed.
    pub(crate) fn log_failed_removal(&mut self, error: &Error, cycle: u64) {
        self.try_later(cycle);
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

    pub(crate) fn log_cleanup(&mut self, cleanup: Result<Cleanup, Error>, cycle: u64) {
        self.try_again = None;
        let cleanup = cleanup
            .unwrap_or_else(|error| Cleanup { stay: Some((error, 1)), ..Cleanup::default() });
        if let Some((first, count)) = cleanup.removed {
            info!(?first, count, "removed what an earlier run had not finished");
        }
        if let Some((error, count)) = cleanup.stay {
            self.try_later(cycle);
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
        if let Some((first, count)) = cleanup.unmarked {
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
