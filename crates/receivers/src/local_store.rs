//! local-store: a file for each snapshot, with the lines that Graphite gets.
//!
//! A file is written under another name and renamed, so that a second run of a snapshot replaces it
//! whole. Two snapshots of one second share a file: an empty hidden file with the serial of each
//! tells that the second one is no second run. Only our own directories are ever removed: those
//! that are named by a number and have nothing but our files in them. A clock that jumps ahead must
//! not empty the store ([`expired`]).

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use daemon::{Clock, Conditions, file, remedy};
use model::{SnapshotId, Timestamp};
use rustix::fs::{Access, AtFlags, CWD, accessat};
use tracing::{info, warn};

use crate::{Error, Lines, Outcome, lines};

/// The transport to one local-store.
#[derive(Debug)]
pub struct LocalStore {
    config: config::LocalStore,
    clock: Clock,
    sync: bool,
    cleaned_at_seconds: u64,
    states: Conditions,
}

const FILE: &str = "stats";
const FILE_ASIDE: &str = ".stats.part";
/// What the name of a serial's file begins with.
const SERIAL_PREFIX: &str = ".serial-";
/// Seconds between two searches for expired directories.
const CLEAN_INTERVAL_SECONDS: u64 = 60;

impl LocalStore {
    /// The store makes its directory at the first delivery. With `sync` a delivered batch survives
    /// a power cut, which it must if no other receiver has it.
    #[must_use]
    pub const fn new(config: config::LocalStore, clock: Clock, sync: bool) -> Self {
        Self { config, clock, sync, cleaned_at_seconds: 0, states: Conditions::new(1) }
    }

    /// The directory of the store.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.config.dir
    }

    /// Writes the lines of a snapshot whole. They replace those of an earlier run, and follow those
    /// of other snapshots of the second.
    ///
    /// # Errors
    ///
    /// A file or directory cannot be written; no partial file is left.
    pub fn deliver(&mut self, id: &SnapshotId, lines: &dyn Lines) -> Result<Outcome, Error> {
        let stored = self.store(id, lines);
        self.clean();
        stored.map(|()| Outcome::default())
    }

    /// Asks the system whether files may be made in the directory, or in the one in which it would
    /// be made, and makes none. Returns what was found.
    ///
    /// # Errors
    ///
    /// A batch would not be stored now, and why.
    pub fn check(&self) -> Result<String, Error> {
        let (mut path, mut found) = (self.config.dir.as_path(), "the directory can be written");
        while !path.exists()
            && let Some(parent) = path.parent()
        {
            (path, found) = (parent, "the first batch makes the directory");
        }
        let failed = |source| Error::Store { path: path.to_owned(), source };
        if !path.is_dir() {
            return Err(failed(io::ErrorKind::NotADirectory.into()));
        }
        let may_write = Access::WRITE_OK | Access::EXEC_OK;
        let asked = accessat(CWD, path, may_write, AtFlags::EACCESS);
        asked.map_err(|errno| failed(errno.into()))?;
        Ok(found.to_owned())
    }

    fn store(&self, id: &SnapshotId, lines: &dyn Lines) -> Result<(), Error> {
        let directory = self.config.dir.join(id.timestamp.as_str());
        let at = |path: &Path| {
            let path = path.to_owned();
            move |source| Error::Store { path, source }
        };
        fs::create_dir_all(&directory).map_err(at(&directory))?;
        let aside = directory.join(FILE_ASIDE);
        let file = directory.join(FILE);
        let serial = directory.join(format!("{SERIAL_PREFIX}{:016x}", id.serial));
        let has_others = id.serial != 0 && has_other_serial(&directory, &serial);
        if has_others && serial.exists() {
            // A second run: the file has these lines already.
            return Ok(());
        }
        let write = |to: &mut fs::File| {
            if has_others {
                io::copy(&mut fs::File::open(&file)?, to)?;
            }
            lines::copy(lines, to)
        };
        let written = file::write(&aside, self.sync, write).map_err(at(&aside));
        let mut stored = written.and_then(|_| fs::rename(&aside, &file).map_err(at(&file)));
        if stored.is_ok() && id.serial != 0 {
            stored = file::write(&serial, self.sync, |_| Ok(())).map_err(at(&serial));
        }
        if stored.is_err() {
            // Partial files must not keep a full disk full.
            let _ = fs::remove_file(&aside);
            let _ = fs::remove_dir(&directory);
        } else if self.sync {
            for directory in [&directory, &self.config.dir] {
                file::sync_directory(directory).map_err(at(directory))?;
            }
        }
        stored
    }

    /// Removes the expired directories. The first failure ends it until the next search.
    fn clean(&mut self) {
        let Some(retention) = self.config.retention else { return };
        let now = self.clock.epoch_seconds();
        if now.abs_diff(self.cleaned_at_seconds) < CLEAN_INTERVAL_SECONDS {
            return;
        }
        self.cleaned_at_seconds = now;
        let directories = numbered_directories(&self.config.dir);
        let mut failed = None;
        for directory in expired(directories, (self.clock.wall)(), retention) {
            if let Err(error) = remove_ours(&directory) {
                failed = Some((directory, error));
                break;
            }
        }
        let monotonic = (self.clock.monotonic)();
        match failed {
            Some((directory, error)) => {
                let line = self.states.begin("removal", "", monotonic);
                if line.is_due() {
                    let after = [remedy::of(&error), line.note()].concat();
                    warn!(?directory, %error, "local-store cannot remove what is too old{after}");
                }
            }
            None if self.states.end("removal", monotonic).is_due() => {
                info!(dir = ?self.config.dir, "local-store can remove what is too old again");
            }
            None => {}
        }
    }
}

/// The directories that a number names, and when each was written. Their age counts from then and
/// not from the number, because an old snapshot may come late.
fn numbered_directories(dir: &Path) -> Vec<(SystemTime, PathBuf)> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let ours = |entry: &fs::DirEntry| {
        entry.file_name().to_str().is_some_and(|name| name.parse::<Timestamp>().is_ok())
            && entry.file_type().is_ok_and(|kind| kind.is_dir())
    };
    entries
        .filter(ours)
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect()
}

/// The directories that are older than `retention` and may be removed.
///
/// A gap between two directories that is longer than `retention` means that the clock jumped ahead
/// or that the program did not run. The directories before the gap stay until the first directory
/// after it is older than `retention` too. So a jump does not empty the store, and an operator has
/// the time of `retention` to notice it.
fn expired(
    mut directories: Vec<(SystemTime, PathBuf)>,
    now: SystemTime,
    retention: Duration,
) -> Vec<PathBuf> {
    let is_old = |time: SystemTime| now.duration_since(time).is_ok_and(|age| age > retention);
    directories.sort();
    let mut expired = Vec::new();
    // The loop starts at the newest directory: the first one after the gap that was seen last.
    let mut after_gap: Option<SystemTime> = None;
    let mut later: Option<SystemTime> = None;
    for (time, path) in directories.into_iter().rev() {
        let gap = later.and_then(|later| later.duration_since(time).ok());
        if gap.is_some_and(|gap| gap > retention) {
            after_gap = later;
        }
        later = Some(time);
        if is_old(time) && after_gap.is_none_or(is_old) {
            expired.push(path);
        }
    }
    expired
}

/// Removes a directory, unless it has other files than ours in it.
fn remove_ours(directory: &Path) -> io::Result<()> {
    let names: Vec<_> = fs::read_dir(directory)?.flatten().map(|entry| entry.file_name()).collect();
    if names.iter().any(|name| name != FILE && name != FILE_ASIDE && !is_serial(name)) {
        return Ok(());
    }
    for name in names {
        unless_missing(fs::remove_file(directory.join(name)))?;
    }
    unless_missing(fs::remove_dir(directory))
}

/// Whether a directory has the serial of another snapshot.
fn has_other_serial(directory: &Path, serial: &Path) -> bool {
    let mut entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.any(|entry| is_serial(&entry.file_name()) && entry.path() != serial)
}

fn is_serial(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(SERIAL_PREFIX.as_bytes())
}

/// Another child may have removed the file first.
fn unless_missing(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn store(dir: &Path, retention: Option<u64>) -> LocalStore {
        // With a clock that is an hour ahead, each new file is an hour old.
        let clock = Clock {
            wall: || SystemTime::now() + Duration::from_secs(3600),
            monotonic: Instant::now,
        };
        let retention = retention.map(Duration::from_secs);
        let namespace = "lb".to_owned();
        let naming = config::Naming {
            namespace,
            host: config::HostPart::None,
            groups: None,
            tags: false,
            max_line: None,
        };
        let config = config::LocalStore { dir: dir.to_owned(), retention, naming };
        LocalStore::new(config, clock, false)
    }

    fn deliver(store: &mut LocalStore, timestamp: &str, lines: &str) -> Result<(), Error> {
        deliver_serial(store, timestamp, 0, lines)
    }

    fn deliver_serial(
        store: &mut LocalStore,
        timestamp: &str,
        serial: u64,
        lines: &str,
    ) -> Result<(), Error> {
        let timestamp = timestamp.parse().unwrap();
        let id = SnapshotId { origin: "lb1".to_owned(), timestamp, serial };
        store.deliver(&id, &lines.as_bytes().to_vec()).map(|_| ())
    }

    /// The clock was set back: both snapshots of the second stand in the file, each once.
    #[test]
    fn another_snapshot_of_the_second_follows_and_a_second_run_replaces() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = store(directory.path(), None);
        let read = || fs::read_to_string(directory.path().join("17/stats")).unwrap();
        deliver_serial(&mut store, "17", 1, "old\n").unwrap();
        deliver_serial(&mut store, "17", 1, "first\n").unwrap();
        assert_eq!(read(), "first\n");
        deliver_serial(&mut store, "17", 2, "second\n").unwrap();
        assert_eq!(read(), "first\nsecond\n");
        deliver_serial(&mut store, "17", 1, "first\n").unwrap();
        assert_eq!(read(), "first\nsecond\n");
        remove_ours(&directory.path().join("17")).unwrap();
        assert!(!directory.path().join("17").exists());
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
    fn expired_directories_are_removed_and_foreign_ones_stay() {
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

    /// The directories of `seconds` that are left at `now`.
    fn left(seconds: &[u64], now: u64, retention: u64) -> Vec<u64> {
        let time = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let written = seconds
            .iter()
            .map(|second| (time(*second), PathBuf::from(second.to_string())))
            .collect();
        let expired = expired(written, time(now), Duration::from_secs(retention));
        let is_left = |second: &&u64| !expired.contains(&PathBuf::from(second.to_string()));
        seconds.iter().filter(is_left).copied().collect()
    }

    #[test]
    fn the_oldest_go_at_the_age_of_retention() {
        assert_eq!(left(&[1000, 1010, 1020], 1025, 20), [1010, 1020]);
        assert_eq!(left(&[1000, 1010], 5000, 60), [0_u64; 0], "a store without new files");
        assert_eq!(left(&[2000, 2010], 1000, 60), [2000, 2010], "the clock was set back");
    }

    /// The batches are further apart than `retention`: each pair has a gap.
    #[test]
    fn a_store_that_is_written_seldom_has_its_bound_too() {
        assert_eq!(left(&[1000, 1100, 1200, 1300], 1300, 60), [1200, 1300]);
        assert_eq!(left(&[1000, 1100, 1200, 1300], 1400, 60), [0_u64; 0]);
    }

    /// At 1020 the clock jumps ahead by a year.
    #[test]
    fn a_clock_that_jumps_ahead_empties_no_store() {
        let year = 31_536_000;
        let before: Vec<u64> = (1000..=1010).step_by(10).collect();
        let at = |after: u64| {
            let jumped = (0..after).map(|number| year + 10 * number);
            [before.clone(), jumped.collect()].concat()
        };
        assert_eq!(left(&at(1), year, 60), at(1));
        assert_eq!(left(&at(7), year + 60, 60), at(7));
        let expected: Vec<u64> = (1..8).map(|number| year + 10 * number).collect();
        assert_eq!(left(&at(8), year + 70, 60), expected, "now they are old by any clock");
    }

    #[test]
    fn a_fifo_in_the_place_of_the_file_is_never_opened() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("17")).unwrap();
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        let fifo = directory.path().join("17/.stats.part");
        rustix::fs::mkfifoat(rustix::fs::CWD, fifo, mode).unwrap();
        let error = deliver(&mut store(directory.path(), None), "17", "x").unwrap_err();
        assert!(error.to_string().contains("no regular file"), "{error}");
    }

    #[test]
    fn a_directory_that_cannot_be_written_is_told_by_name() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = deliver(&mut store(file.path(), None), "17", "x").unwrap_err().to_string();
        assert!(error.contains(&file.path().display().to_string()), "{error}");
    }
}
