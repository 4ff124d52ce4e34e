//! Writes one snapshot into a directory of the user's choice (`--once`), while the service runs.
//!
//! The endpoints are asked as in a cycle, and the snapshot is published by the same rename. It is
//! staged below the directory itself, in [`STAGING`], so that both are on one file system; the name
//! is hidden, so that no list counts it. Neither `dst-dir` nor `tmp-dst-dir` is changed or locked.
//! A directory in one of them is refused, because haproxystats-process would take the snapshot
//! away, and a start of haproxystats-pull could remove it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use config::Pull;
use daemon::Service;
use rustix::io::Errno;
use spool::writer::{self, Spool};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tracing::warn;

use crate::cycle::Cycles;
use crate::disk::Disk;
use crate::endpoint::Finder;
use crate::journal::{DiskTask, Journal};
use crate::run::DISK_GRACE;
use crate::writers::WorkError;
use crate::{Error, Machine};

/// The staging directory, below the directory of the snapshot.
const STAGING: &str = ".haproxystats-once";

/// The signal that has come, if any.
type Signal = watch::Receiver<Option<&'static str>>;

/// Publishes one snapshot as `directory/<seconds>` and returns its path. The directory is made if
/// it is missing; its parent must be there. A name that is taken stays as it is, and the next free
/// second is used.
///
/// `shutdown` completes with the reason to stop. Whatever the end, nothing unfinished stays, unless
/// the disk hangs. As with [`crate::run()`], the caller ends the runtime without waiting for its
/// threads.
///
/// # Errors
///
/// No snapshot was published: there is nothing to ask, too few endpoints have answered, the
/// directory is unsuitable, the disk refuses, or `shutdown` came first.
pub async fn once(
    config: Pull,
    directory: &Path,
    machine: Machine,
    shutdown: impl Future<Output = &'static str>,
) -> Result<PathBuf, Error> {
    let journal = Journal::new(machine.clock, Service::none());
    let (tell, signal) = watch::channel(None);
    let mut work = std::pin::pin!(work(config, directory, machine, journal, signal));
    let reason = tokio::select! {
        biased;
        result = &mut work => return result,
        reason = shutdown => reason,
    };
    // From now on nothing is asked. A publication that has begun is finished, because it is whole.
    tell.send_replace(Some(reason));
    let ended = timeout(DISK_GRACE, work).await;
    ended.unwrap_or_else(|_| Err(Error::Hangs { reason, directory: directory.to_owned() }))
}

/// Makes the directory, publishes, and removes what is not needed any more.
async fn work(
    config: Pull,
    directory: &Path,
    machine: Machine,
    journal: Journal,
    signal: Signal,
) -> Result<PathBuf, Error> {
    let finder = Finder::new(&config)?;
    let (disk, completion) = Disk::new(journal.clone());
    let doing = DiskTask { what: "prepare", directory };
    let spool_dirs = [("dst-dir", config.dst_dir.clone()), ("tmp-dst-dir", config.tmp_dst_dir)];
    let (dir, sync) = (directory.to_owned(), config.sync);
    let prepared = disk.run(doing, move || prepare(&dir, &spool_dirs, sync)).await;
    let (spool, is_new) = prepared.map_err(broken)??;
    let config =
        Pull { dst_dir: directory.to_owned(), tmp_dst_dir: directory.join(STAGING), ..config };
    let cycles = Cycles::with_spool(config, finder, machine, journal.clone(), disk, spool);
    let published = match cycles {
        Ok(cycles) => ask_and_publish(cycles, directory, signal).await,
        Err(error) => Err(error),
    };
    // The staged directory is gone after this, and the lock.
    completion.wait().await;
    let (disk, _) = Disk::new(journal);
    let doing = DiskTask { what: "remove the staging directory in", directory };
    let (dir, is_unused) = (directory.to_owned(), is_new && published.is_err());
    let tidied = disk.run(doing, move || tidy(&dir, is_unused)).await;
    if let Err(error) = tidied {
        warn!(%error, ?directory, "the staging directory stays");
    }
    published
}

async fn ask_and_publish(
    mut cycles: Cycles,
    directory: &Path,
    mut signal: Signal,
) -> Result<PathBuf, Error> {
    let answered = tokio::select! {
        biased;
        Ok(reason) = signal.wait_for(Option::is_some) => {
            let reason = reason.unwrap_or_default();
            return Err(Error::Interrupted { reason, directory: directory.to_owned() });
        }
        answered = cycles.ask(Instant::now()) => answered?,
    };
    match cycles.reason_against(&answered) {
        Some(reason) => Err(reason.into()),
        None => Ok(cycles.publish(answered).await?.path),
    }
}

fn broken(error: WorkError) -> Error {
    Error::Opening(error.to_string())
}

/// Makes and locks the directories. Also returns whether `dir` was made.
fn prepare(
    dir: &Path,
    spool_dirs: &[(&'static str, PathBuf)],
    sync: bool,
) -> Result<(Spool, bool), Error> {
    let real = resolve(dir);
    for (option, spool_dir) in spool_dirs {
        if real.starts_with(resolve(spool_dir)) {
            let (directory, spool_dir) = (dir.to_owned(), spool_dir.clone());
            return Err(Error::InSpool { directory, option, spool_dir });
        }
    }
    let is_new = make(dir)?;
    let opened = Spool::open(dir, &dir.join(STAGING), sync).map_err(|error| match error {
        writer::Error::Locked { by, .. } => Error::InUse { directory: dir.to_owned(), by },
        error => Error::Spool(error),
    });
    // A leftover that stays is reported at the end, when its directory cannot be removed.
    let spool = opened.and_then(|spool| {
        spool.clean()?;
        Ok(spool)
    });
    if let Err(error) = &spool
        && !matches!(error, Error::InUse { .. })
    {
        tidy(dir, is_new);
    }
    Ok((spool?, is_new))
}

/// Makes the directory; returns whether it was missing.
fn make(dir: &Path) -> Result<bool, Error> {
    let failed =
        |doing, source| Error::Spool(writer::Error::Io { doing, path: dir.to_owned(), source });
    match fs::create_dir(dir) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(Error::NoParent { directory: dir.to_owned() })
        }
        Err(_) if dir.is_dir() => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(failed("use as a directory", Errno::NOTDIR.into()))
        }
        Err(error) => Err(failed("create directory", error)),
    }
}

/// Removes the staging directory; with `is_unused` also the directory that was made for a snapshot
/// which does not exist.
fn tidy(dir: &Path, is_unused: bool) {
    let staging = dir.join(STAGING);
    match fs::remove_dir(&staging) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => warn!(
            %error,
            directory = ?staging,
            "the staging directory stays; the next --once with this directory tries to remove it"
        ),
        _ => {}
    }
    if is_unused {
        // Not recursive: what others have put in meanwhile is kept.
        let _ = fs::remove_dir(dir);
    }
}

/// The path without links. A part that is missing, or that we may not look at, stays as written.
fn resolve(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    for ancestor in absolute.ancestors() {
        if let (Ok(real), Ok(rest)) = (fs::canonicalize(ancestor), absolute.strip_prefix(ancestor))
        {
            return real.join(rest);
        }
    }
    absolute
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_path_is_resolved_as_far_as_it_is_there() {
        let root = tempfile::tempdir().unwrap();
        let base = fs::canonicalize(root.path()).unwrap();
        fs::create_dir(base.join("real")).unwrap();
        symlink(base.join("real"), base.join("link")).unwrap();
        for (written, real) in [
            ("link", "real"),
            ("link/new/deep", "real/new/deep"),
            ("real/../link", "real"),
            ("other", "other"),
        ] {
            assert_eq!(resolve(&base.join(written)), base.join(real), "{written}");
        }
    }

    #[test]
    fn a_directory_is_made_below_a_parent_that_is_there() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        assert!(make(&at("new")).unwrap());
        assert!(!make(&at("new")).unwrap());
        let error = make(&at("far/new")).unwrap_err();
        assert!(error.to_string().contains("make its parent first"), "{error}");
        assert!(!at("far").exists());
        fs::write(at("file"), "").unwrap();
        for name in ["file", "file/new"] {
            let error = make(&at(name)).unwrap_err();
            assert!(error.to_string().ends_with("is no directory"), "{error}");
        }
        assert!(matches!(make(Path::new("")), Err(Error::NoParent { .. })));
    }
}
