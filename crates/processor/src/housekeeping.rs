//! Deleting what was hidden: a thread of its own, because a directory can hold millions of entries
//! and a disk can hang.
//!
//! It does one round on request and reports what is left. A round that hangs keeps only this
//! thread.

use std::io::ErrorKind;
use std::path::PathBuf;

use crossbeam_channel::{Receiver, Sender};
use spool::reader::{self, Error, Leftovers};

use crate::keeper::Event;

/// Deletes in `directories` for each request, until the requests end.
pub(crate) fn run(directories: &[PathBuf], requests: &Receiver<()>, events: &Sender<Event>) {
    for () in requests {
        let (mut leftovers, mut unread) = (Leftovers::default(), 0);
        for directory in directories {
            match reader::clean(directory) {
                Ok(left) => {
                    leftovers.count += left.count;
                    leftovers.example = leftovers.example.or(left.example);
                }
                // A directory that is not there holds nothing.
                Err(Error::Read { source, .. }) if source.kind() == ErrorKind::NotFound => {}
                // No message here: whoever works in this directory logs its error, and the next
                // round looks again.
                Err(_) => unread += 1,
            }
        }
        if events.send(Event::Cleaned { leftovers, unread }).is_err() {
            return;
        }
    }
}
