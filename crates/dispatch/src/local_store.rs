//! local-store: the lines of each snapshot in a file, for looking at.
//!
//! A file is written aside and renamed, so that a second run of a snapshot replaces it whole. Only directories of ours are ever
//! removed: named by a number, holding nothing but `stats`.

use std::fs;
use std::io;
use std::path::Path;

use daemon::Clock;
use tracing::warn;

use crate::{Delivery, Dispatcher, Error, lines};

/// The local-store dispatcher.
#[derive(Debug)]
pub struct LocalStore {
    config: config::LocalStore,
    clock: Clock,
    only: bool,
    cleaned_at_seconds: u64,
}

const FILE: &str = "stats";
const FILE_ASIDE: &str = ".stats.part";
/// Seconds between two looks for what has become too old.
const CLEAN_INTERVAL_SECONDS: u64 = 60;

impl LocalStore {
    /// Makes its directory at the first delivery. The `only` way out must have every batch; beside another it is for looking.
    #[must_use]
    pub const fn new(config: config::LocalStore, clock: Clock, only: bool) -> Self {
        Self { config, clock, only, cleaned_at_seconds: 0 }
    }

    /// Removes what is older than `retention`; a fault is said and tried again later.
    fn clean(&mut self) {
        let Some(retention) = self.config.retention else { return };
        let now = self.clock.epoch_seconds();
        if now.abs_diff(self.cleaned_at_seconds) < CLEAN_INTERVAL_SECONDS {
            return;
        }
        self.cleaned_at_seconds = now;
        for entry in fs::read_dir(&self.config.dir).into_iter().flatten().flatten() {
            let ours = entry.file_name().to_str().is_some_and(|name| name.parse::<u64>().is_ok());
            // When it was written counts, not its name: an old snapshot may come late.
            let written = entry.metadata().and_then(|metadata| metadata.modified()).ok();
            let age = written.and_then(|written| (self.clock.wall)().duration_since(written).ok());
            if ours
                && age.is_some_and(|age| age > retention)
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
        self.only
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
        let write = || lines::copy(delivery.lines, &mut fs::File::create(&aside)?);
        let written = write().map_err(at(&aside));
        let stored = written.and_then(|_| fs::rename(&aside, &file).map_err(at(&file)));
        if stored.is_err() {
            // A disk that is full must not stay full of halves.
            let _ = fs::remove_file(&aside);
            let _ = fs::remove_dir(&directory);
        }
        self.clean();
        stored
    }
}

/// Removes a directory that holds nothing but what we write.
fn remove_ours(directory: &Path) -> io::Result<()> {
    let names: Vec<_> = fs::read_dir(directory)?.flatten().map(|entry| entry.file_name()).collect();
    if names.iter().any(|name| name != FILE && name != FILE_ASIDE) {
        return Ok(());
    }
    for name in names {
        gone(fs::remove_file(directory.join(name)))?;
    }
    gone(fs::remove_dir(directory))
}

/// Another worker may have been faster.
fn gone(removed: io::Result<()>) -> io::Result<()> {
    removed
        .or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant, SystemTime};

    use super::*;

    fn store(dir: &Path, retention: Option<u64>) -> LocalStore {
        // A clock that is an hour ahead makes all that is written now an hour old.
        let clock = Clock {
            wall: || SystemTime::now() + Duration::from_secs(3600),
            monotonic: Instant::now,
        };
        let retention = retention.map(Duration::from_secs);
        LocalStore::new(config::LocalStore { dir: dir.to_owned(), retention }, clock, false)
    }

    fn deliver(store: &mut LocalStore, timestamp: &str, lines: &str) -> Result<(), Error> {
        store.deliver(Delivery { timestamp, lines: &lines.as_bytes() })
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

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_is_too_old_goes_but_nothing_of_anybody_elses() {
        let directory = tempfile::tempdir().unwrap();
        for (name, file) in
            [("17", "stats"), ("18", "mine"), ("19", ".stats.part"), ("notes", "stats")]
        {
            fs::create_dir(directory.path().join(name)).unwrap();
            fs::write(directory.path().join(name).join(file), "x").unwrap();
        }
        fs::write(directory.path().join("18/stats"), "x").unwrap();
        deliver(&mut store(directory.path(), Some(7200)), "20", "x\n").unwrap();
        assert_eq!(names(directory.path()), ["17", "18", "19", "20", "notes"]);
        deliver(&mut store(directory.path(), Some(60)), "20", "x\n").unwrap();
        assert_eq!(names(directory.path()), ["18", "notes"]);
        assert_eq!(names(&directory.path().join("18")), ["mine", "stats"]);
    }

    #[test]
    fn a_directory_that_cannot_be_written_is_told_by_name() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = deliver(&mut store(file.path(), None), "17", "x").unwrap_err().to_string();
        assert!(error.contains(&file.path().display().to_string()), "{error}");
    }
}
