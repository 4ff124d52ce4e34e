//! Snapshots that stay in the spool though they are not to be begun again, and why.
//!
//! Each look tries again to be rid of them. They count in the spool as all others do, so pull's
//! queue-size bounds them; where somebody else fills the spool, [`LINGERING_MAX`] does.

use std::collections::BTreeMap;

use spool::reader::{self, Removal};

use crate::queue::Queue;

/// Why a snapshot lingers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Why {
    /// It is delivered but cannot be removed.
    Done,
    /// It was given up but cannot be moved aside.
    GivenUp {
        /// Why it was given up.
        reason: String,
    },
    /// It could not be read, and is tried again.
    Unreadable,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Lingering(BTreeMap<String, Why>);

/// Snapshots that are tried again; further ones wait for the next start.
const LINGERING_MAX: usize = 10_000;

/// What a look came to.
#[derive(Debug, Default)]
pub(crate) struct Looked {
    /// Snapshots that were done and left the spool.
    pub(crate) removed: Vec<String>,
    /// Hidden directories are left to be deleted.
    pub(crate) hidden: bool,
}

impl Lingering {
    /// False if there are too many: nobody tries this one again.
    pub(crate) fn add(&mut self, snapshot: &str, why: Why) -> bool {
        let has_room = self.0.len() < LINGERING_MAX || self.0.contains_key(snapshot);
        if has_room {
            self.0.insert(snapshot.to_owned(), why);
        }
        has_room
    }

    /// Tries again, and forgets what somebody took away.
    pub(crate) fn look(&mut self, config: &config::Process, queue: &mut Queue) -> Looked {
        let (src_dir, failed) = (&config.src_dir, &config.failed_dir);
        let mut looked = Looked::default();
        self.0.retain(|snapshot, why| {
            let gone = match why {
                Why::Unreadable => {
                    queue.again(snapshot);
                    return false;
                }
                Why::Done => match reader::remove(src_dir, snapshot) {
                    Ok(removal) => {
                        looked.removed.push(snapshot.clone());
                        looked.hidden |= matches!(removal, Removal::Hidden { .. });
                        true
                    }
                    Err(_) => false,
                },
                Why::GivenUp { reason } => {
                    let gone = !src_dir.join(snapshot).exists();
                    let limit = config.failed_limit;
                    let held = gone
                        || spool::failed::hold(src_dir, snapshot, failed, reason, limit).is_ok();
                    looked.hidden |= held && !gone;
                    held
                }
            };
            if gone {
                queue.forget(snapshot);
            }
            !gone
        });
        looked
    }
}
