//! The outbox: one directory of whole batches that a dispatcher could not deliver yet.
//!
//! **Contract.** Worker processes append, one snapshot each, several at once; one thread of the
//! parent lists, bounds and empties. Nobody else removes a batch. One that another thread is about
//! to read may go for the bound or for a rerun ([`Error::Gone`]); an open one stays readable.
//!
//! - A batch is one file, `<timestamp>-<run>-<metrics>-<bytes>.gz`: order and amount are known
//!   without opening it. It is written under a hidden name, synced, renamed, and the directory is
//!   synced: it is there whole, or it is not there. gzip carries length and CRC of the lines.
//! - A timestamp has one batch. A rerun of its snapshot is stored beside the former run under the
//!   next run's number, and the parent removes the former when it hears of it, or at the next
//!   start: the highest run counts. No clock is asked which of two files is the newer one.
//! - A file is read through once before its first line is handed out. A stream would find the
//!   damage at its end, when changed values are at the receiver and cannot be called back.
//! - Over a bound the oldest batches go. What is removed is not synced: after a power cut it may be
//!   there again, and Graphite takes the same path, value and timestamp as one.
//! - Damaged batches stay aside under a hidden name, the last few of them. Files of other people
//!   are left alone. At start the halves that a crash left are removed.

mod append;
mod entry;
mod reader;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use daemon::{lock, remedy};
use thiserror::Error;
use tracing::{info, warn};

pub use append::append;
pub use daemon::lock::Lock;
pub use entry::Entry;
pub use reader::{Reader, Stored};

use entry::{Key, Kind};

/// Why the outbox cannot do what it was asked.
#[derive(Debug, Error)]
pub enum Error {
    /// The system refused something.
    #[error("cannot {doing} {path:?} of outbox-dir: {source}{}", remedy::of(source))]
    Io {
        /// What was tried, as a verb.
        doing: &'static str,
        /// With which file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process has it.
    #[error("another haproxystats-process uses {path:?}; give each its own outbox-dir")]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// Only a decimal number of 64 bits has a place in the order.
    #[error("{timestamp:?} is no timestamp: a batch in the outbox is named by epoch seconds")]
    Timestamp {
        /// What was given for one.
        timestamp: String,
    },
    /// Somebody took the file away.
    #[error("{path:?} is gone: somebody else removed it")]
    Gone {
        /// The file that was listed.
        path: PathBuf,
    },
    /// The file is not what was written.
    #[error("{path:?} is damaged: {source}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: io::Error,
    },
}

/// What the outbox may hold; over either of them the oldest batches go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of its files.
    pub size_bytes: u64,
    /// Metrics in its batches, where that is bounded too.
    pub metrics: Option<u64>,
}

/// The parent's view of the directory. One at a time: it believes that nobody else removes.
#[derive(Debug)]
pub struct Outbox {
    dir: PathBuf,
    limits: Limits,
    batches: BTreeMap<Key, Entry>,
    // Sums of what file names say: a forged name must not make them wrap.
    metrics: u128,
    size_bytes: u128,
}

/// Takes the right to empty an outbox; makes the directory at need.
///
/// # Errors
///
/// Another process has it, or the directory cannot be made.
pub fn lock(dir: &Path) -> Result<Lock, Error> {
    append::make_dir(dir)?;
    Lock::take(dir).map_err(|error| match error {
        lock::Error::System(source) => Error::Io { doing: "lock", path: dir.to_owned(), source },
        lock::Error::Held { .. } => Error::Locked { path: dir.to_owned() },
    })
}

/// Damaged batches that are kept to be looked at.
const DAMAGED_MAX: usize = 10;

impl Outbox {
    /// Makes the directory at need, removes what a crash left, and lists what waits. That may be
    /// over the limits, if they were lowered: [`Outbox::trim`] tells what had to go.
    ///
    /// Call it before the first worker starts: a half that is being written would be removed.
    ///
    /// # Errors
    ///
    /// The directory cannot be made or read.
    pub fn open(dir: &Path, limits: Limits) -> Result<Self, Error> {
        append::make_dir(dir)?;
        let batches = BTreeMap::new();
        let mut outbox = Self { dir: dir.to_owned(), limits, batches, metrics: 0, size_bytes: 0 };
        let mut leftovers = 0_usize;
        let mut foreign = Vec::new();
        for (path, kind) in entry::list(dir)? {
            match kind {
                Kind::Batch(found) => leftovers += usize::from(outbox.take(found)?),
                Kind::Half { .. } => {
                    remove(&path);
                    leftovers += 1;
                }
                Kind::Damaged(_) => {}
                Kind::Foreign => foreign.push(path),
            }
        }
        if leftovers > 0 {
            info!(outbox = ?dir, leftovers, "removed what a crash had left in the outbox");
        }
        if let Some(example) = foreign.first() {
            let files = foreign.len();
            warn!(files, ?example, "left alone what is not ours in the outbox");
        }
        Ok(outbox)
    }

    /// Takes in what a worker has appended, in place of a former run, and returns what had to go
    /// for it, oldest first; a batch that is over a limit by itself goes at once.
    pub fn added(&mut self, entry: Entry) -> Vec<Entry> {
        // A second run says that a first was there, which this index need not know: the worker that
        // stored it may have died before it could tell.
        if entry.run > 1
            && let Err(error) = self.remove_former_runs(&entry)
        {
            warn!(%error, "cannot look for former runs of a batch in the outbox");
        }
        self.insert(entry);
        self.trim()
    }

    /// Removes what is over a limit by itself, for which all the others would go in vain, then the oldest until the rest is within
    /// the limits; returns what had to go, in this order.
    pub fn trim(&mut self) -> Vec<Entry> {
        let alone = |entry: &&Entry| self.is_over_by_itself(entry);
        let mut dropped: Vec<Entry> = self.batches.values().filter(alone).cloned().collect();
        for entry in &dropped {
            self.forget(entry);
            remove(&self.path(entry));
        }
        while self.is_over()
            && let Some((_, entry)) = self.batches.pop_first()
        {
            self.subtract(&entry);
            remove(&self.path(&entry));
            dropped.push(entry);
        }
        dropped
    }

    /// Looks again at what stands there of one timestamp, and returns what had to go for it: for
    /// when its worker died, which may have stored a batch and not told, or left a half of it; and
    /// for when a batch is gone. Call it before the snapshot is given to another worker.
    ///
    /// # Errors
    ///
    /// The directory cannot be read.
    pub fn recheck(&mut self, timestamp: &str) -> Result<Vec<Entry>, Error> {
        // First all that can fail: the index stays as it was until the answer is known.
        let there = self.dir.try_exists();
        let there = there.map_err(|source| {
            let path = self.dir.clone();
            Error::Io { doing: "look at", path, source }
        })?;
        let listed = if there { entry::list_of(&self.dir, timestamp)? } else { Vec::new() };
        let key = entry::key(timestamp);
        if let Some(known) = self.batches.remove(&key) {
            self.subtract(&known);
        }
        for (path, kind) in listed {
            match kind {
                Kind::Batch(found) => {
                    self.take(found)?;
                }
                Kind::Half { .. } => remove(&path),
                Kind::Damaged(_) | Kind::Foreign => {}
            }
        }
        Ok(self.trim())
    }

    /// The batch that goes out next.
    #[must_use]
    pub fn oldest(&self) -> Option<&Entry> {
        self.batches.first_key_value().map(|(_, entry)| entry)
    }

    /// The oldest batch that `keep` wants.
    pub fn oldest_of(&self, keep: impl Fn(&Entry) -> bool) -> Option<&Entry> {
        self.batches.values().find(|entry| keep(entry))
    }

    /// The plain lines of a batch, after all of them were seen to be what was written.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`]: set it aside with [`Outbox::damaged`]; [`Error::Gone`]: ask
    /// [`Outbox::recheck`]; else the file cannot be opened, now.
    pub fn read(&self, entry: &Entry) -> Result<Reader, Error> {
        Reader::open(self.path(entry), entry.bytes)
    }

    /// Where the lines of a batch lie, for another thread that sends them.
    #[must_use]
    pub fn stored(&self, entry: &Entry) -> Stored {
        Stored { path: self.path(entry), bytes: entry.bytes }
    }

    /// Removes a batch that the receiver has. A later run, which came in meanwhile, stays.
    pub fn delivered(&mut self, entry: &Entry) {
        self.forget(entry);
        remove(&self.path(entry));
    }

    /// Sets a damaged batch aside, where the last few of them can be looked at.
    pub fn damaged(&mut self, entry: &Entry) {
        self.forget(entry);
        let path = self.path(entry);
        let aside = self.dir.join(entry::damaged_name(entry));
        if let Err(error) = fs::rename(&path, &aside)
            && error.kind() != io::ErrorKind::NotFound
        {
            warn!(?path, %error, "cannot set a damaged batch aside{}", remedy::of(&error));
        }
        if let Err(error) = self.prune_damaged() {
            warn!(%error, "cannot look for old damaged batches in the outbox");
        }
    }

    /// Metrics that wait.
    #[must_use]
    pub fn metrics(&self) -> u64 {
        u64::try_from(self.metrics).unwrap_or(u64::MAX)
    }

    /// Bytes of the files that wait.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        u64::try_from(self.size_bytes).unwrap_or(u64::MAX)
    }

    /// Batches that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.batches.len()
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// The epoch seconds of the batch that goes out next.
    #[must_use]
    pub fn oldest_timestamp(&self) -> Option<u64> {
        self.batches.first_key_value().map(|((seconds, _), _)| *seconds)
    }

    fn path(&self, entry: &Entry) -> PathBuf {
        self.dir.join(entry.file_name())
    }

    fn is_over_by_itself(&self, entry: &Entry) -> bool {
        let too_many = self.limits.metrics.is_some_and(|limit| entry.metrics > limit);
        too_many || entry.size_bytes > self.limits.size_bytes
    }

    fn is_over(&self) -> bool {
        let too_many = self.limits.metrics.is_some_and(|limit| self.metrics > u128::from(limit));
        too_many || self.size_bytes > u128::from(self.limits.size_bytes)
    }

    /// Takes in a batch that was found in the directory, and tells whether it or a former run had
    /// to be removed. One that has vanished since is nothing.
    fn take(&mut self, found: Entry) -> Result<bool, Error> {
        let path = self.path(&found);
        match fs::metadata(&path) {
            Ok(metadata) => Ok(self.insert(Entry { size_bytes: metadata.len(), ..found })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(Error::Io { doing: "look at", path, source }),
        }
    }

    /// Keeps the higher of two runs and removes the other's file; tells whether there was one.
    fn insert(&mut self, entry: Entry) -> bool {
        let key = entry::key(&entry.timestamp);
        let known = self.batches.remove(&key);
        if let Some(known) = &known {
            self.subtract(known);
        }
        let (kept, other) = match known {
            Some(known) if known.rank() > entry.rank() => (known, Some(entry)),
            known => (entry, known),
        };
        // The same batch heard of twice is one file.
        let other = other.filter(|other| other.rank() != kept.rank());
        if let Some(other) = &other {
            remove(&self.path(other));
        }
        self.metrics += u128::from(kept.metrics);
        self.size_bytes += u128::from(kept.size_bytes);
        self.batches.insert(key, kept);
        other.is_some()
    }

    fn forget(&mut self, entry: &Entry) {
        let key = entry::key(&entry.timestamp);
        if let Some(known) = self.batches.remove(&key) {
            if known.rank() == entry.rank() {
                self.subtract(&known);
            } else {
                self.batches.insert(key, known);
            }
        }
    }

    fn subtract(&mut self, entry: &Entry) {
        self.metrics -= u128::from(entry.metrics);
        self.size_bytes -= u128::from(entry.size_bytes);
    }

    fn remove_former_runs(&self, entry: &Entry) -> Result<(), Error> {
        for (path, kind) in entry::list_of(&self.dir, &entry.timestamp)? {
            if let Kind::Batch(found) = kind
                && found.rank() < entry.rank()
            {
                remove(&path);
            }
        }
        Ok(())
    }

    fn prune_damaged(&self) -> Result<(), Error> {
        let mut damaged: Vec<(Key, PathBuf)> = entry::list(&self.dir)?
            .into_iter()
            .filter_map(|(path, kind)| match kind {
                Kind::Damaged(entry) => Some((entry::key(&entry.timestamp), path)),
                _ => None,
            })
            .collect();
        damaged.sort();
        let too_many = damaged.len().saturating_sub(DAMAGED_MAX);
        damaged.iter().take(too_many).for_each(|(_, path)| remove(path));
        Ok(())
    }
}

/// A file that cannot be removed is out of the index all the same: where nothing can be removed
/// nothing can be added, and to send it again and again would help nobody.
fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        // Once a batch: it is out of the index, and only the next start finds it again.
        warn!(?path, %error, "cannot remove from the outbox{}", remedy::of(&error));
    }
}
