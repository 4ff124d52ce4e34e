//! Deleting what was hidden: a thread of its own, because a directory can hold millions of entries and
//! a disk can hang.
//!
//! It does one round on request and reports what is left. A round that hangs keeps only this thread.

use std::path::PathBuf;

use crossbeam_channel::{Receiver, Sender};
use spool::reader::{self, Leftovers};

use crate::keeper::Event;

/// Deletes in `directories` for each request, until the requests end.
pub(crate) fn run(directories: &[PathBuf], requests: &Receiver<()>, events: &Sender<Event>) {
    for () in requests {
        let mut leftovers = Leftovers::default();
        for directory in directories {
            // One that cannot be read has its own message elsewhere.
            let Ok(left) = reader::clean(directory) else { continue };
            leftovers.count += left.count;
            leftovers.example = leftovers.example.or(left.example);
        }
        if events.send(Event::Cleaned(leftovers)).is_err() {
            return;
        }
    }
}
