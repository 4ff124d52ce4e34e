//! The courier between pull and process: copies each snapshot before it publishes it, so that the
//! soak knows what must have arrived.
//!
//! pull publishes into another directory by a rename, and the courier publishes into the spool by a
//! rename too. A pull that was killed and started again can make a second snapshot for one second.
//! The courier throws it away, because process would get two snapshots of one name.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::Failure;

const LOOK: Duration = Duration::from_millis(20);

/// The three directories.
pub(super) struct Directories {
    /// The directory into which pull publishes.
    pub(super) pulled: PathBuf,
    /// The spool of process.
    pub(super) incoming: PathBuf,
    /// The directory of the copies.
    pub(super) copies: PathBuf,
}

/// The time at which each snapshot was published.
type Published = Arc<Mutex<BTreeMap<u64, Instant>>>;

/// A thread that carries snapshots until it is finished.
pub(super) struct Courier {
    over: Arc<AtomicBool>,
    published: Published,
    thread: Option<JoinHandle<io::Result<u64>>>,
}

impl Courier {
    pub(super) fn start(directories: Directories) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let published = Published::default();
        let (until, count) = (Arc::clone(&over), Arc::clone(&published));
        let thread = thread::spawn(move || {
            let mut seen = BTreeSet::new();
            let mut doubles = 0;
            loop {
                // Read before the directory is listed, so that the last snapshots are carried.
                let last = until.load(Ordering::Relaxed);
                doubles += carry(&directories, &mut seen, &count)?;
                if last {
                    return Ok(doubles);
                }
                thread::sleep(LOOK);
            }
        });
        Self { over, published, thread: Some(thread) }
    }

    /// Snapshots that process was given so far.
    pub(super) fn published(&self) -> u64 {
        self.times().len() as u64
    }

    /// The time at which each of these snapshots was published.
    pub(super) fn times(&self) -> BTreeMap<u64, Instant> {
        self.published.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// An error if it cannot go on.
    pub(super) fn check(&mut self) -> Result<(), Failure> {
        if self.thread.as_ref().is_some_and(JoinHandle::is_finished) {
            self.finish().map(|_| ())
        } else {
            Ok(())
        }
    }

    /// Carries the remaining snapshots, and returns the number of doubles, which were thrown away.
    pub(super) fn finish(&mut self) -> Result<u64, Failure> {
        self.over.store(true, Ordering::Relaxed);
        let Some(thread) = self.thread.take() else { return Ok(0) };
        match thread.join() {
            Ok(outcome) => outcome.map_err(|error| format!("between pull and process: {error}")),
            Err(_) => Err("the courier panicked".to_owned()),
        }
    }
}

/// Carries the snapshots in `pulled`, and returns the number of doubles.
fn carry(
    directories: &Directories,
    seen: &mut BTreeSet<u64>,
    published: &Mutex<BTreeMap<u64, Instant>>,
) -> io::Result<u64> {
    let mut doubles = 0;
    for name in snapshots(&directories.pulled) {
        let from = directories.pulled.join(name.to_string());
        if !seen.insert(name) {
            fs::remove_dir_all(from)?;
            doubles += 1;
            continue;
        }
        let copy = directories.copies.join(name.to_string());
        fs::create_dir(&copy)?;
        for entry in fs::read_dir(&from)? {
            let entry = entry?;
            fs::copy(entry.path(), copy.join(entry.file_name()))?;
        }
        let begin = Instant::now();
        fs::rename(from, directories.incoming.join(name.to_string()))?;
        published.lock().unwrap_or_else(PoisonError::into_inner).insert(name, begin);
    }
    Ok(doubles)
}

/// The snapshots in a directory, oldest first.
pub(super) fn snapshots(directory: &Path) -> BTreeSet<u64> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}
