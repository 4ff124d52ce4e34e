//! New snapshots as they come: watch first, then scan, so that what is published in between is seen twice rather than never.
//!
//! Whoever takes the names must therefore know which ones it already has. What is moved in, or stands there at a scan, is
//! complete and is told at once; a directory that is *made* in the spool, by hand or by a script, is told once nothing in it
//! has changed for two seconds. A lost event (the kernel's queue ran over) means another scan; so does a spool that was removed
//! or renamed and made again. An event is only a name: nothing is read here.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant, SystemTime};

use notify::event::{CreateKind, ModifyKind, RenameMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use thiserror::Error;
use tracing::{debug, info, warn};

use crate::{name, reader};

/// The watch cannot be set up.
#[derive(Debug, Error)]
#[error(
    "cannot watch {}: {source}; if the limit of inotify is reached, raise fs.inotify.max_user_watches and \
     fs.inotify.max_user_instances",
    path.display()
)]
pub struct Error {
    path: PathBuf,
    source: notify::Error,
}

/// How long a directory made in the spool must lie untouched before it is taken.
const SETTLED_AFTER: Duration = Duration::from_secs(2);
/// How often we look whether the spool is still the directory that we watch, when no event says otherwise.
const IDENTITY_CHECK: Duration = Duration::from_secs(10);
/// How often we look for a spool that is away.
const RETURN_CHECK: Duration = Duration::from_millis(200);
/// Events between the watcher's thread and us; beyond that the kernel's queue holds them.
const EVENTS_MAX: usize = 1024;

enum Signal {
    Event(notify::Result<notify::Event>),
    Stop,
}

/// Ends a [`Watch`] from another thread.
#[derive(Debug, Clone)]
pub struct Stopper(SyncSender<Signal>);

/// A running watch of one spool.
#[derive(Debug)]
pub struct Watch {
    directory: PathBuf,
    monotonic: fn() -> Instant,
    signals: Receiver<Signal>,
    sender: SyncSender<Signal>,
    /// What is watched now; `None` while the spool is away.
    watched: Option<Watched>,
    ready: VecDeque<String>,
    settling: BTreeMap<String, Settling>,
    strangers_told: Vec<PathBuf>,
}

#[derive(Debug)]
struct Watched {
    /// Dropped with this, which ends its thread.
    _watcher: RecommendedWatcher,
    identity: (u64, u64),
}

/// A directory that somebody is making in the spool.
#[derive(Debug)]
struct Settling {
    since: Instant,
    seen: Vec<(PathBuf, u64, Option<SystemTime>)>,
}

impl Stopper {
    /// Lets [`Watch::next`] return `None`.
    pub fn stop(&self) {
        let _ = self.0.send(Signal::Stop);
    }
}

impl Watch {
    /// Watches a spool, which is made where it is missing, and lists what stands in it.
    ///
    /// # Errors
    ///
    /// The directory cannot be made, or the system refuses to watch it.
    pub fn start(directory: &Path, monotonic: fn() -> Instant) -> Result<Self, Error> {
        let (sender, signals) = sync_channel(EVENTS_MAX);
        let mut watch = Self {
            directory: directory.to_owned(),
            monotonic,
            signals,
            sender,
            watched: None,
            ready: VecDeque::new(),
            settling: BTreeMap::new(),
            strangers_told: Vec::new(),
        };
        fs::create_dir_all(directory).map_err(|error| watch.fault(notify::Error::io(error)))?;
        watch.attach()?;
        watch.scan();
        Ok(watch)
    }

    /// A handle that ends this watch.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        Stopper(self.sender.clone())
    }

    /// The next snapshot's name; blocks until there is one. `None` once the watch is stopped.
    #[expect(
        clippy::should_implement_trait,
        reason = "it blocks, which no iterator's user expects"
    )]
    pub fn next(&mut self) -> Option<String> {
        loop {
            if let Some(name) = self.ready.pop_front() {
                return Some(name);
            }
            match self.signals.recv_timeout(self.patience()) {
                Ok(Signal::Stop) | Err(RecvTimeoutError::Disconnected) => return None,
                Ok(Signal::Event(event)) => self.take(event),
                Err(RecvTimeoutError::Timeout) => self.check_identity(),
            }
            self.settle();
        }
    }

    /// How long nothing may happen before we look by ourselves.
    fn patience(&self) -> Duration {
        let idle = if self.watched.is_some() { IDENTITY_CHECK } else { RETURN_CHECK };
        let now = (self.monotonic)();
        self.settling
            .values()
            .map(|settling| (settling.since + SETTLED_AFTER).saturating_duration_since(now))
            .fold(idle, Duration::min)
    }

    fn take(&mut self, event: notify::Result<notify::Event>) {
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                warn!(%error, directory = %self.directory.display(), "the watch failed, looking anew");
                return self.reattach();
            }
        };
        if event.need_rescan() {
            warn!(directory = %self.directory.display(), "events were lost, listing the spool anew");
            return self.scan();
        }
        for path in &event.paths {
            if *path == self.directory {
                if matches!(
                    event.kind,
                    EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_))
                ) {
                    self.check_identity();
                }
                continue;
            }
            match event.kind {
                EventKind::Modify(ModifyKind::Name(RenameMode::To)) => self.moved_in(path),
                EventKind::Create(CreateKind::Folder) => self.made(path),
                EventKind::Create(_) => self.stranger(path),
                _ => {}
            }
        }
    }

    fn moved_in(&mut self, path: &Path) {
        match snapshot_name(path) {
            Some(name) if path.is_dir() => self.ready.push_back(name),
            // Gone again: whoever moved it away has it.
            Some(_) if !path.exists() => {}
            _ => self.stranger(path),
        }
    }

    fn made(&mut self, path: &Path) {
        let Some(name) = snapshot_name(path) else { return self.stranger(path) };
        let settling = Settling { since: (self.monotonic)(), seen: fingerprint(path) };
        self.settling.insert(name, settling);
    }

    /// Tells what has lain untouched long enough; what has changed waits anew.
    fn settle(&mut self) {
        let now = (self.monotonic)();
        let due: Vec<_> = self
            .settling
            .iter()
            .filter(|(_, settling)| now.saturating_duration_since(settling.since) >= SETTLED_AFTER)
            .map(|(name, _)| name.clone())
            .collect();
        for name in due {
            let path = self.directory.join(&name);
            let seen = fingerprint(&path);
            match self.settling.get_mut(&name) {
                Some(settling) if settling.seen != seen => {
                    *settling = Settling { since: now, seen }
                }
                _ => {
                    self.settling.remove(&name);
                    if path.is_dir() {
                        self.ready.push_back(name);
                    }
                }
            }
        }
    }

    /// Lists the spool: everything but what is being made counts as complete.
    fn scan(&mut self) {
        match reader::list(&self.directory) {
            Ok(contents) => {
                let settling = &self.settling;
                self.ready.extend(
                    contents.snapshots.into_iter().filter(|name| !settling.contains_key(name)),
                );
                for path in contents.strangers {
                    self.stranger(&path);
                }
            }
            Err(error) => {
                warn!(%error, "the spool cannot be listed");
                self.reattach();
            }
        }
    }

    fn stranger(&mut self, path: &Path) {
        let hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        if hidden || !path.exists() || self.strangers_told.iter().any(|told| told == path) {
            return;
        }
        info!(path = %path.display(), "left alone: no directory whose name is a number");
        // Bounded: what comes after a thousand strangers is left alone in silence.
        if self.strangers_told.len() < 1000 {
            self.strangers_told.push(path.to_owned());
        }
    }

    fn check_identity(&mut self) {
        let now = fs::metadata(&self.directory).ok().filter(Metadata::is_dir).map(|m| identity(&m));
        if now.is_none() || now != self.watched.as_ref().map(|watched| watched.identity) {
            self.reattach();
        }
    }

    /// Watches whatever stands at our path now.
    fn reattach(&mut self) {
        let was_there = self.watched.take().is_some();
        self.settling.clear();
        match self.attach() {
            Ok(()) => {
                info!(directory = %self.directory.display(), "watching the spool again");
                self.scan();
            }
            Err(error) if was_there => {
                warn!(%error, "the spool is away; looking for it until it is back");
            }
            Err(error) => debug!(%error, "the spool is still away"),
        }
    }

    fn attach(&mut self) -> Result<(), Error> {
        let sender = self.sender.clone();
        // When this channel is full the watcher's thread waits, and the kernel's queue after it: past its bound comes
        // an event that asks for a scan.
        let mut watcher = notify::recommended_watcher(move |event| {
            let _ = sender.send(Signal::Event(event));
        })
        .map_err(|source| self.fault(source))?;
        watcher
            .watch(&self.directory, RecursiveMode::NonRecursive)
            .map_err(|source| self.fault(source))?;
        let metadata =
            fs::metadata(&self.directory).map_err(|error| self.fault(notify::Error::io(error)))?;
        self.watched = Some(Watched { _watcher: watcher, identity: identity(&metadata) });
        Ok(())
    }

    fn fault(&self, source: notify::Error) -> Error {
        Error { path: self.directory.clone(), source }
    }
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

fn snapshot_name(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    name::is_snapshot(name).then(|| name.to_owned())
}

/// What tells a change in a directory: its entries with size and time.
fn fingerprint(path: &Path) -> Vec<(PathBuf, u64, Option<SystemTime>)> {
    let mut entries: Vec<_> = fs::read_dir(path)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| {
            let metadata = entry.metadata().ok();
            let size = metadata.as_ref().map_or(0, Metadata::len);
            (entry.path(), size, metadata.and_then(|metadata| metadata.modified().ok()))
        })
        .collect();
    entries.sort();
    entries
}
