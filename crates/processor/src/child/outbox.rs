//! The outbox child: it writes batches to the disk of `outbox-dir`, reads them again and removes
//! them.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use daemon::lock::{self, Lock};
use daemon::remedy;

use super::{Error, OrderHandler, ParentChannel};
use crate::core::{Folder, Order, Reply};
use crate::outbox::Outbox;

/// See the module.
#[derive(Debug)]
pub(super) struct OutboxChild {
    outbox: Outbox,
    directory: PathBuf,
    /// Keeps other programs from removing held batches.
    lock: Lock,
}

/// Files that one message lists.
const LISTED_MAX: usize = 200;

impl OutboxChild {
    /// Locks and opens the outbox, and sends the parent its list.
    ///
    /// # Errors
    ///
    /// The channel breaks. The inner error is the reason why the outbox cannot be used.
    pub(super) fn open(
        config: &config::Process,
        parent: &ParentChannel,
    ) -> Result<Result<Self, String>, Error> {
        let path = &config.outbox_dir;
        let unusable = |source: io::Error| {
            let remedy = remedy::of(&source);
            format!("cannot use the outbox {}: {source}{remedy}", path.display())
        };
        if let Err(error) = Outbox::make(path) {
            return Ok(Err(unusable(error)));
        }
        let lock = match Lock::take(path) {
            Ok(lock) => lock,
            Err(lock::Error::InUse { by }) => {
                let by = by.map(|by| format!(" ({by})")).unwrap_or_default();
                return Ok(Err(format!(
                    "another haproxystats-process{by} uses the outbox {}; stop it first, or give \
                     this one another outbox-dir",
                    path.display()
                )));
            }
            Err(lock::Error::System(error)) => return Ok(Err(unusable(error))),
        };
        // This removes unfinished files, so it needs the lock.
        let outbox = match Outbox::open(path) {
            Ok(outbox) => outbox,
            Err(error) => return Ok(Err(unusable(error))),
        };
        let folders = match outbox.list() {
            Ok(folders) => folders,
            Err(error) => return Ok(Err(unusable(error))),
        };
        for Folder { name, files } in folders {
            for part in files.chunks(LISTED_MAX) {
                let folder = Folder { name: name.clone(), files: part.to_vec() };
                parent.send(None, Reply::Folder(folder), None)?;
            }
        }
        Ok(Ok(Self { outbox, directory: path.clone(), lock }))
    }
}

impl OrderHandler for OutboxChild {
    fn handle(
        &mut self,
        order: Order,
        batch: Option<OwnedFd>,
    ) -> Result<(Reply, Option<OwnedFd>), Error> {
        // The replacement of this child makes the directory, locks and lists it anew.
        if !self.lock.is_on(&self.directory).unwrap_or(false) {
            return Err(Error::Replaced(self.directory.clone()));
        }
        let outbox = &self.outbox;
        let reason = |error: io::Error| format!("{error}{}", remedy::of(&error));
        let reply = match (order, batch) {
            (Order::Hold { entry, folders, sync }, Some(batch)) => {
                match outbox.hold(batch.as_fd(), &entry, &folders, sync) {
                    Ok(size_bytes) => Reply::Held { size_bytes },
                    Err(error) => Reply::HoldFailed { reason: reason(error) },
                }
            }
            (Order::Load { folder, entry }, _) => match outbox.load(&folder, &entry) {
                Ok(batch) => return Ok((Reply::Loaded, Some(batch))),
                Err((cause, reason)) => Reply::LoadFailed { cause, reason },
            },
            (Order::Drop { folder, entries }, _) => {
                Reply::Dropped { failure: outbox.drop(&folder, &entries).err().map(reason) }
            }
            (Order::Quarantine { folder, entry }, _) => {
                Reply::Dropped { failure: outbox.quarantine(&folder, &entry).err().map(reason) }
            }
            (order, _) => return Err(Error::WrongOrder(format!("{order:?}"))),
        };
        Ok((reply, None))
    }
}
