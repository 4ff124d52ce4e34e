//! Snapshots that stay in the spool though they are not to be begun again, and why.
//!
//! Each look tries again to be rid of them. They count in the spool as all others do, so pull's
//! queue-size bounds them.

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

/// What a look came to.
#[derive(Debug, Default)]
pub(crate) struct Looked {
    /// Snapshots left the spool that were done.
    pub(crate) removed: bool,
    /// Hidden directories are left to be deleted.
    pub(crate) hidden: bool,
}

impl Lingering {
    pub(crate) fn add(&mut self, snapshot: &str, why: Why) {
        self.0.insert(snapshot.to_owned(), why);
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
                        looked.removed = true;
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
