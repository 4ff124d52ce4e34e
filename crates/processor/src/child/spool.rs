//! The spool child: it names new snapshots, releases settled ones, and moves those that cannot be
//! processed to `failed-dir`.
//!
//! One thread watches the spool, another one deletes hidden directories, because a directory can
//! hold millions of entries.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};
use daemon::{Clock, remedy};
use model::Timestamp;
use spool::failed::DirectoryError;
use spool::reader::{self, Removal};
use spool::watch::Watch;
use tracing::warn;

use super::{Error, OrderHandler, ParentChannel};
use crate::core::{Order, Reply, StartFailure};

/// See the module.
#[derive(Debug)]
pub(super) struct SpoolChild {
    src_dir: PathBuf,
    failed_dir: PathBuf,
    failed_limit: usize,
    /// To the thread that watches: the core has room for more names.
    continues: Sender<()>,
    /// To the thread that deletes: a round is requested.
    cleanings: Sender<()>,
    undeleted: Arc<Mutex<UndeletedSnapshots>>,
}

/// The hidden snapshots that the last round could not delete.
#[derive(Debug, Default, Clone)]
struct UndeletedSnapshots {
    count: u64,
    reason: Option<String>,
}

/// Names in one message.
const NAMES_MAX: usize = 64;

impl SpoolChild {
    /// Starts to watch the spool.
    ///
    /// # Errors
    ///
    /// The spool cannot be watched, or `failed-dir` cannot take its snapshots.
    pub(super) fn start(
        config: &config::Process,
        clock: Clock,
        parent: &ParentChannel,
    ) -> Result<Self, StartFailure> {
        let failure = |reason: String| StartFailure { reason, is_configuration: false };
        let (src_dir, failed_dir) = (config.src_dir.clone(), config.failed_dir.clone());
        let watch = Watch::start(&src_dir, clock.monotonic);
        let watch = watch.map_err(|error| failure(error.to_string()))?;
        match spool::failed::prepare(&src_dir, &failed_dir) {
            Ok(()) => {}
            // The spool can be emptied without it, which may free a full disk.
            Err(error @ DirectoryError::Unusable { .. }) => {
                warn!("{error}; until then snapshots that cannot be processed stay in src-dir");
            }
            Err(error @ DirectoryError::OtherFileSystem { .. }) => {
                return Err(StartFailure { reason: error.to_string(), is_configuration: true });
            }
        }
        let (continues, permits) = bounded(1);
        let parent = parent.clone();
        spawn("watch", move || name_snapshots(watch, &parent, &permits)).map_err(failure)?;
        let (cleanings, requests) = bounded(1);
        let undeleted = Arc::new(Mutex::new(UndeletedSnapshots::default()));
        let (directories, shared) = ([src_dir.clone(), failed_dir.clone()], Arc::clone(&undeleted));
        spawn("delete", move || delete(&directories, &requests, &shared)).map_err(failure)?;
        let failed_limit = config.failed_limit;
        Ok(Self { src_dir, failed_dir, failed_limit, continues, cleanings, undeleted })
    }

    fn release(&self, snapshot: &Timestamp, identity: u64) -> Reply {
        let name = snapshot.as_str();
        // If an earlier try released the snapshot, a new one can have its name.
        match reader::identity(&self.src_dir.join(name)) {
            Ok(standing) if standing == identity => {}
            Ok(_) => return Reply::Released { undeleted: None },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Reply::Released { undeleted: None };
            }
            Err(error) => {
                let reason = format!("{name}: {error}{}", remedy::of(&error));
                return Reply::ReleaseFailed { reason };
            }
        }
        match reader::remove(&self.src_dir, name) {
            Ok(Removal::Deleted) => Reply::Released { undeleted: None },
            Ok(Removal::Hidden { path, source }) => {
                let reason = format!("{path:?}: {source}{}", remedy::of(&source));
                let mut left = self.undeleted.lock().unwrap_or_else(PoisonError::into_inner);
                left.count += 1;
                left.reason.get_or_insert_with(|| reason.clone());
                Reply::Released { undeleted: Some(reason) }
            }
            Err(error) => Reply::ReleaseFailed { reason: error.to_string() },
        }
    }

    fn give_up(&self, snapshot: &Timestamp, reason: &str) -> Reply {
        let (name, limit) = (snapshot.as_str(), self.failed_limit);
        match spool::failed::move_aside(&self.src_dir, name, &self.failed_dir, reason, limit) {
            Ok(removed) => Reply::GivenUp { removed: removed as u64 },
            // Another program removed the snapshot meanwhile.
            Err(_) if is_missing(&self.src_dir.join(name)) => Reply::GivenUp { removed: 0 },
            Err(error) => Reply::ReleaseFailed { reason: error.to_string() },
        }
    }

    fn inspect(&self) -> Reply {
        // If the channel is full, a round is requested already.
        let _ = self.cleanings.try_send(());
        let contents = reader::list(&self.src_dir).unwrap_or_default();
        let undeleted = self.undeleted.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let oldest = contents.snapshots.first().and_then(|listed| listed.name.parse().ok());
        Reply::Inspected {
            waiting: contents.snapshots.len() as u64 + contents.more,
            oldest,
            undeleted: undeleted.count,
            reason: undeleted.reason,
        }
    }
}

impl OrderHandler for SpoolChild {
    fn handle(
        &mut self,
        order: Order,
        _batch: Option<OwnedFd>,
    ) -> Result<(Reply, Option<OwnedFd>), Error> {
        let reply = match order {
            Order::Release { snapshot, identity } => self.release(&snapshot, identity),
            Order::GiveUp { snapshot, reason } => self.give_up(&snapshot, &reason),
            Order::Inspect => self.inspect(),
            Order::Continue => {
                let _ = self.continues.try_send(());
                Reply::Ready
            }
            order => return Err(Error::WrongOrder(format!("{order:?}"))),
        };
        Ok((reply, None))
    }
}

fn is_missing(path: &Path) -> bool {
    matches!(path.try_exists(), Ok(false))
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), String> {
    let spawned = thread::Builder::new().name(name.to_owned()).spawn(run);
    let unstarted =
        |error: io::Error| format!("cannot start the thread {name}: {error}{}", remedy::of(&error));
    spawned.map(|_| ()).map_err(unstarted)
}

/// Sends the parent the names that the watch finds. After each message it waits until the core has
/// room for more.
fn name_snapshots(mut watch: Watch, parent: &ParentChannel, permits: &Receiver<()>) {
    while let Some(names) = watch.next_names(NAMES_MAX) {
        let snapshots = names.iter().filter_map(|name| name.parse().ok()).collect();
        if parent.send(None, Reply::Names { snapshots }, None).is_err() || permits.recv().is_err() {
            return;
        }
    }
}

/// Deletes the hidden snapshots, in a round for each request.
fn delete(directories: &[PathBuf], requests: &Receiver<()>, undeleted: &Mutex<UndeletedSnapshots>) {
    for () in requests {
        let mut left = UndeletedSnapshots::default();
        for directory in directories {
            // A missing directory has no hidden snapshots. If it cannot be read, the work in it
            // logs the error, and the next round tries again.
            let Ok(found) = reader::clean(directory) else { continue };
            left.count += found.count;
            if let (None, Some((path, error))) = (&left.reason, found.example) {
                left.reason = Some(format!("{path:?}: {error}{}", remedy::of(&error)));
            }
        }
        *undeleted.lock().unwrap_or_else(PoisonError::into_inner) = left;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A release whose child died is ordered again, and meanwhile pull may have published another
    /// snapshot of the same name.
    #[test]
    fn a_release_takes_only_the_snapshot_that_it_is_for() {
        let spool = tempfile::tempdir().unwrap();
        let (continues, _names) = bounded(1);
        let (cleanings, _requests) = bounded(1);
        let child = SpoolChild {
            src_dir: spool.path().to_owned(),
            failed_dir: spool.path().join(".failed"),
            failed_limit: 1,
            continues,
            cleanings,
            undeleted: Arc::default(),
        };
        let snapshot = Timestamp::of_seconds(1_700_000_000);
        let path = spool.path().join(snapshot.as_str());
        std::fs::create_dir(&path).unwrap();
        let identity = reader::identity(&path).unwrap();
        let released = Reply::Released { undeleted: None };
        assert_eq!(child.release(&snapshot, identity ^ 1), released);
        assert!(path.is_dir(), "another snapshot stays");
        assert_eq!(child.release(&snapshot, identity), released);
        assert!(!path.exists());
        assert_eq!(child.release(&snapshot, identity), released, "it was released before");
    }
}
