//! The spool child: it names the snapshots that come, takes away those that are settled, and moves
//! aside those that cannot be processed.
//!
//! A thread of its own watches, and another one deletes what is hidden, because a directory can
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

use super::{Error, Parent, Work};
use crate::core::{Order, Reply};

/// See the module.
#[derive(Debug)]
pub(super) struct SpoolChild {
    src_dir: PathBuf,
    failed_dir: PathBuf,
    failed_limit: usize,
    /// To the watch: more names may be told.
    continues: Sender<()>,
    /// To the thread that deletes.
    cleanings: Sender<()>,
    leftovers: Arc<Mutex<Leftovers>>,
}

/// What the last round of deleting left.
#[derive(Debug, Default, Clone)]
struct Leftovers {
    count: u64,
    reason: Option<String>,
}

/// Why there can be no spool child.
#[derive(Debug)]
pub(super) struct UnfitSpool {
    pub(super) reason: String,
    /// Whether the configuration must change first.
    pub(super) is_configuration: bool,
}

/// Names that one message tells.
const NAMES_MAX: usize = 64;

impl SpoolChild {
    /// Watches the spool.
    ///
    /// # Errors
    ///
    /// It cannot be watched, or `failed-dir` cannot take its snapshots.
    pub(super) fn start(
        config: &config::Process,
        clock: Clock,
        parent: &Parent,
    ) -> Result<Self, UnfitSpool> {
        let unfit = |reason: String| UnfitSpool { reason, is_configuration: false };
        let (src_dir, failed_dir) = (config.src_dir.clone(), config.failed_dir.clone());
        let watch = Watch::start(&src_dir, clock.monotonic);
        let watch = watch.map_err(|error| unfit(error.to_string()))?;
        match spool::failed::prepare(&src_dir, &failed_dir) {
            Ok(()) => {}
            // A full disk must not keep the spool from being emptied.
            Err(error @ DirectoryError::Unusable { .. }) => {
                warn!("{error}; until then snapshots that cannot be processed stay in src-dir");
            }
            Err(error @ DirectoryError::OtherFileSystem { .. }) => {
                return Err(UnfitSpool { reason: error.to_string(), is_configuration: true });
            }
        }
        let (continues, told) = bounded(1);
        let parent = parent.clone();
        spawn("watch", move || name_snapshots(watch, &parent, &told)).map_err(unfit)?;
        let (cleanings, requests) = bounded(1);
        let leftovers = Arc::new(Mutex::new(Leftovers::default()));
        let (directories, shared) = ([src_dir.clone(), failed_dir.clone()], Arc::clone(&leftovers));
        spawn("delete", move || delete(&directories, &requests, &shared)).map_err(unfit)?;
        let failed_limit = config.failed_limit;
        Ok(Self { src_dir, failed_dir, failed_limit, continues, cleanings, leftovers })
    }

    fn release(&self, snapshot: &Timestamp, identity: u64) -> Reply {
        let name = snapshot.as_str();
        // A new snapshot can bear the name of one that went in an earlier try.
        match reader::identity(&self.src_dir.join(name)) {
            Ok(standing) if standing == identity => {}
            Ok(_) => return Reply::Released { undeleted: None },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Reply::Released { undeleted: None };
            }
            Err(error) => {
                let reason = format!("{name}: {error}{}", remedy::of(&error));
                return Reply::Unreleased { reason };
            }
        }
        match reader::remove(&self.src_dir, name) {
            Ok(Removal::Deleted) => Reply::Released { undeleted: None },
            Ok(Removal::Hidden { path, source }) => {
                let reason = format!("{path:?}: {source}{}", remedy::of(&source));
                let mut left = self.leftovers.lock().unwrap_or_else(PoisonError::into_inner);
                left.count += 1;
                left.reason.get_or_insert_with(|| reason.clone());
                Reply::Released { undeleted: Some(reason) }
            }
            Err(error) => Reply::Unreleased { reason: error.to_string() },
        }
    }

    fn give_up(&self, snapshot: &Timestamp, reason: &str) -> Reply {
        let (name, limit) = (snapshot.as_str(), self.failed_limit);
        match spool::failed::move_aside(&self.src_dir, name, &self.failed_dir, reason, limit) {
            Ok(removed) => Reply::GivenUp { removed: removed as u64 },
            // Somebody took it away meanwhile.
            Err(_) if is_missing(&self.src_dir.join(name)) => Reply::GivenUp { removed: 0 },
            Err(error) => Reply::Unreleased { reason: error.to_string() },
        }
    }

    fn inspect(&self) -> Reply {
        // A request while one waits adds nothing.
        let _ = self.cleanings.try_send(());
        let contents = reader::list(&self.src_dir).unwrap_or_default();
        let leftovers = self.leftovers.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let oldest = contents.snapshots.first().and_then(|listed| listed.name.parse().ok());
        Reply::Inspected {
            waiting: contents.snapshots.len() as u64 + contents.more,
            oldest,
            undeleted: leftovers.count,
            reason: leftovers.reason,
        }
    }
}

impl Work for SpoolChild {
    fn work(
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

/// Tells the parent what the watch finds; waits after each message for its leave to go on.
fn name_snapshots(mut watch: Watch, parent: &Parent, continues: &Receiver<()>) {
    while let Some(names) = watch.next_names(NAMES_MAX) {
        let snapshots = names.iter().filter_map(|name| name.parse().ok()).collect();
        if parent.say(None, Reply::Found { snapshots }, None).is_err() || continues.recv().is_err()
        {
            return;
        }
    }
}

/// Deletes what was hidden, a round for each request.
fn delete(directories: &[PathBuf], requests: &Receiver<()>, leftovers: &Mutex<Leftovers>) {
    for () in requests {
        let mut left = Leftovers::default();
        for directory in directories {
            // A directory that is not there holds nothing. Whoever works in one that cannot be
            // read logs the error, and the next round looks again.
            let Ok(found) = reader::clean(directory) else { continue };
            left.count += found.count;
            if let (None, Some((path, error))) = (&left.reason, found.example) {
                left.reason = Some(format!("{path:?}: {error}{}", remedy::of(&error)));
            }
        }
        *leftovers.lock().unwrap_or_else(PoisonError::into_inner) = left;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A release whose child died is ordered again. Meanwhile pull may have published another
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
            leftovers: Arc::default(),
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
        assert_eq!(child.release(&snapshot, identity), released, "it is gone already");
    }
}
