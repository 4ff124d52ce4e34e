//! local-store: the lines of each snapshot in a file, for looking at.
//!
//! A file is written aside and renamed, so that a second run of a snapshot replaces it whole. Only directories of ours are ever
//! removed: named by a number, holding nothing but `stats`.

use std::fs;
use std::io;
use std::path::Path;

use daemon::Clock;
use tracing::warn;

use crate::{Delivery, Dispatcher, Error};

/// The local-store dispatcher.
#[derive(Debug)]
pub struct LocalStore {
    config: config::LocalStore,
    clock: Clock,
    cleaned_at_seconds: u64,
}

const FILE: &str = "stats";
const FILE_ASIDE: &str = ".stats.part";
/// Seconds between two looks for what has become too old.
const CLEAN_INTERVAL_SECONDS: u64 = 60;

impl LocalStore {
    /// Makes its directory at the first delivery.
    #[must_use]
    pub const fn new(config: config::LocalStore, clock: Clock) -> Self {
        Self { config, clock, cleaned_at_seconds: 0 }
    }

    /// Removes what is older than `retention`; a fault is said and tried again later.
    fn clean(&mut self) {
        let Some(retention) = self.config.retention else { return };
        let now = self.clock.epoch_seconds();
        if now.abs_diff(self.cleaned_at_seconds) < CLEAN_INTERVAL_SECONDS {
            return;
        }
        self.cleaned_at_seconds = now;
        let oldest = now.saturating_sub(retention.as_secs());
        for entry in fs::read_dir(&self.config.dir).into_iter().flatten().flatten() {
            let timestamp = entry.file_name().to_str().and_then(|name| name.parse::<u64>().ok());
            if timestamp.is_some_and(|timestamp| timestamp < oldest)
                && let Err(error) = remove_ours(&entry.path())
            {
                warn!(path = %entry.path().display(), %error, "local-store cannot remove what is too old");
            }
        }
    }
}

impl Dispatcher for LocalStore {
    fn name(&self) -> &'static str {
        "local-store"
    }

    fn must_have(&self) -> bool {
        false
    }

    fn deliver(&mut self, delivery: Delivery<'_>) -> Result<(), Error> {
        let directory = self.config.dir.join(delivery.timestamp);
        let at = |path: &Path| {
            let path = path.to_owned();
            move |source| Error::Store { path, source }
        };
        fs::create_dir_all(&directory).map_err(at(&directory))?;
        let aside = directory.join(FILE_ASIDE);
        let file = directory.join(FILE);
        let written = fs::write(&aside, delivery.lines).map_err(at(&aside));
        let stored = written.and_then(|()| fs::rename(&aside, &file).map_err(at(&file)));
        if stored.is_err() {
            // A disk that is full must not stay full of halves.
            let _ = fs::remove_file(&aside);
            let _ = fs::remove_dir(&directory);
        }
        self.clean();
        stored
    }
}

fn remove_ours(directory: &Path) -> io::Result<()> {
    let gone = |error: io::Error| {
        if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
    };
    fs::remove_file(directory.join(FILE)).or_else(gone)?;
    fs::remove_dir(directory).or_else(gone)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant, SystemTime};

    use super::*;

    fn store(dir: &Path, retention: Option<u64>) -> LocalStore {
        let clock = Clock {
            wall: || SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_001_000),
            monotonic: Instant::now,
        };
        let retention = retention.map(Duration::from_secs);
        LocalStore::new(config::LocalStore { dir: dir.to_owned(), retention }, clock)
    }

    fn deliver(store: &mut LocalStore, timestamp: &str, lines: &str) -> Result<(), Error> {
        store.deliver(Delivery { timestamp, lines: lines.as_bytes() })
    }

    #[test]
    fn a_second_run_replaces_the_file_whole() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = store(&directory.path().join("made"), None);
        deliver(&mut store, "17", "long long\n").unwrap();
        deliver(&mut store, "17", "short\n").unwrap();
        let stored = directory.path().join("made/17");
        assert_eq!(fs::read_to_string(stored.join("stats")).unwrap(), "short\n");
        assert_eq!(fs::read_dir(stored).unwrap().count(), 1);
    }

    #[test]
    fn what_is_too_old_goes_but_nothing_of_anybody_elses() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["1699000000", "1699000001", "1700000950", "notes"] {
            fs::create_dir(directory.path().join(name)).unwrap();
            fs::write(directory.path().join(name).join("stats"), "x").unwrap();
        }
        fs::write(directory.path().join("1699000001/mine"), "x").unwrap();
        deliver(&mut store(directory.path(), Some(60)), "1700001000", "x\n").unwrap();
        let mut left: Vec<_> =
            fs::read_dir(directory.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["1699000001", "1700000950", "1700001000", "notes"]);
        assert!(directory.path().join("1699000001/mine").exists());
    }

    #[test]
    fn a_directory_that_cannot_be_written_is_told_by_name() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = deliver(&mut store(file.path(), None), "17", "x").unwrap_err().to_string();
        assert!(error.contains(&file.path().display().to_string()), "{error}");
    }
}
