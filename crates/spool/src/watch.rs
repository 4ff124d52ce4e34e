//! New snapshots as they come: watch first, then scan, so that what is published in between is seen twice rather than never.
//!
//! Whoever takes the names must therefore know which ones it already has. What is moved in, or stands there at the start, is
//! complete and is told at once; a directory that is *made* in the spool, by hand or by a script, is told once nothing in it
//! has changed for two seconds. So is what a later scan finds, since nobody saw how it came: after a lost event (the kernel's
//! queue ran over), or when the spool was removed or renamed and made again. An event is only a name: nothing is read here.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime};

use notify::event::{CreateKind, ModifyKind, RenameMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use thiserror::Error;
use tracing::{debug, info, warn};

use crate::name;
use crate::reader::{self, Contents};

/// The watch cannot be set up.
#[derive(Debug, Error)]
pub enum Error {
    /// The system refuses to watch it.
    #[error(
        "cannot watch {}: {source}; if the limit of inotify is reached, raise fs.inotify.max_user_watches and \
         fs.inotify.max_user_instances",
        path.display()
    )]
    Watch {
        /// The spool.
        path: PathBuf,
        /// What the system said.
        source: notify::Error,
    },
    /// It cannot be made or listed.
    #[error(transparent)]
    Spool(#[from] reader::Error),
}

/// How long a directory made in the spool must lie untouched before it is taken.
const SETTLED_AFTER: Duration = Duration::from_secs(2);
/// How often we look whether the spool is still the directory that we watch. No event says so while somebody, such as the
/// holder of its lock, has the removed one open.
const IDENTITY_CHECK: Duration = Duration::from_secs(1);
/// How often we look for a spool that is away.
const RETURN_CHECK: Duration = Duration::from_millis(200);
/// Events between the watcher's thread and us; beyond that the kernel's queue holds them.
const EVENTS_MAX: usize = 1024;

enum Signal {
    Event {
        event: notify::Result<notify::Event>,
        /// Lives as long as the watcher that saw it is ours.
        of: Weak<()>,
    },
    /// Nothing but a reason to look whether we are stopped.
    Wake,
}

/// Ends a [`Watch`] from another thread.
#[derive(Debug, Clone)]
pub struct Stopper {
    stopped: Arc<AtomicBool>,
    sender: SyncSender<Signal>,
}

/// A running watch of one spool.
#[derive(Debug)]
pub struct Watch {
    directory: PathBuf,
    monotonic: fn() -> Instant,
    signals: Receiver<Signal>,
    sender: SyncSender<Signal>,
    stopped: Arc<AtomicBool>,
    /// What is watched now; `None` while the spool is away.
    watched: Option<Watched>,
    ready: VecDeque<String>,
    settling: BTreeMap<String, Settling>,
    strangers_told: Vec<PathBuf>,
}

#[derive(Debug)]
struct Watched {
    /// Dropped with this, which ends its thread; it may first have to get rid of what it has read from the kernel.
    _watcher: RecommendedWatcher,
    /// Dropped with this, after which what the thread still says is nobody's.
    _ours: Arc<()>,
    /// One process at a time: taken on what stands at our path, and so anew when that is replaced.
    _lock: reader::Lock,
    identity: (u64, u64),
}

/// A directory that somebody is making in the spool.
#[derive(Debug)]
struct Settling {
    since: Instant,
    seen: Vec<(PathBuf, u64, Option<SystemTime>)>,
}

impl Stopper {
    /// Lets [`Watch::next`] return `None`, whatever still waits to be told.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        // A full channel wakes it as well.
        let _ = self.sender.try_send(Signal::Wake);
    }
}

impl Watch {
    /// Watches a spool, which is made where it is missing, and lists what stands in it. One watch at a time has a spool.
    ///
    /// # Errors
    ///
    /// The directory cannot be made or listed, another process has it, or the system refuses to watch it.
    pub fn start(directory: &Path, monotonic: fn() -> Instant) -> Result<Self, Error> {
        let (sender, signals) = sync_channel(EVENTS_MAX);
        let unreadable = |source| reader::Error::Read { path: directory.to_owned(), source };
        let mut watch = Self {
            // Events bear whole paths, and ours are compared with them.
            directory: std::path::absolute(directory).map_err(unreadable)?,
            monotonic,
            signals,
            sender,
            stopped: Arc::default(),
            watched: None,
            ready: VecDeque::new(),
            settling: BTreeMap::new(),
            strangers_told: Vec::new(),
        };
        fs::create_dir_all(&watch.directory).map_err(unreadable)?;
        let contents = watch.attach()?;
        watch.ready.extend(contents.snapshots);
        watch.strangers(&contents.strangers);
        Ok(watch)
    }

    /// A handle that ends this watch.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        Stopper { stopped: Arc::clone(&self.stopped), sender: self.sender.clone() }
    }

    /// The next snapshot's name; blocks until there is one. `None` once the watch is stopped.
    #[expect(
        clippy::should_implement_trait,
        reason = "it blocks, which no iterator's user expects"
    )]
    pub fn next(&mut self) -> Option<String> {
        while !self.stopped.load(Ordering::Acquire) {
            if let Some(name) = self.ready.pop_front() {
                return Some(name);
            }
            match self.signals.recv_timeout(self.patience()) {
                // What a watcher of before saw is known from the scan that came after it.
                Ok(Signal::Event { event, of }) if of.strong_count() > 0 => self.take(event),
                Ok(Signal::Event { .. } | Signal::Wake) => {}
                Err(RecvTimeoutError::Timeout) => self.check_identity(),
                Err(RecvTimeoutError::Disconnected) => return None,
            }
            self.settle();
        }
        None
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
            // A new watch, not only a new list: that the directory itself went away may be among what was lost.
            warn!(directory = %self.directory.display(), "events were lost, listing the spool anew");
            return self.reattach();
        }
        for path in &event.paths {
            if *path == self.directory {
                self.take_own(event.kind);
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

    /// What happens to the spool itself. That it went away counts even where a directory of the same identity stands there by
    /// now: what happened in between was not seen, and our watch may be on a removed one whose number the new one got.
    fn take_own(&mut self, kind: EventKind) {
        if matches!(kind, EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_))) {
            self.reattach();
        }
    }

    fn moved_in(&mut self, path: &Path) {
        match snapshot_name(path) {
            Some(name) if path.is_dir() => {
                self.settling.remove(&name);
                self.ready.push_back(name);
            }
            // Gone again: whoever moved it away has it.
            Some(_) if !path.exists() => {}
            _ => self.stranger(path),
        }
    }

    fn made(&mut self, path: &Path) {
        match snapshot_name(path) {
            Some(name) => self.let_settle(name),
            None => self.stranger(path),
        }
    }

    fn let_settle(&mut self, name: String) {
        let seen = fingerprint(&self.directory.join(&name));
        self.settling.insert(name, Settling { since: (self.monotonic)(), seen });
    }

    /// Tells what has lain untouched long enough; what has changed waits anew.
    fn settle(&mut self) {
        let now = (self.monotonic)();
        let mut due: Vec<_> = self
            .settling
            .iter()
            .filter(|(_, settling)| now.saturating_duration_since(settling.since) >= SETTLED_AFTER)
            .map(|(name, _)| name.clone())
            .collect();
        due.sort_by(|a, b| name::compare(a, b));
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

    fn strangers(&mut self, paths: &[PathBuf]) {
        for path in paths {
            self.stranger(path);
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
        match self.attach() {
            Ok(contents) => {
                info!(directory = %self.directory.display(), "watching the spool again");
                for name in contents.snapshots {
                    // What settles already goes on: its two seconds must not begin again with each loss of events.
                    if !self.settling.contains_key(&name) {
                        self.let_settle(name);
                    }
                }
                self.strangers(&contents.strangers);
            }
            Err(error) if was_there => {
                warn!(%error, "the spool is away; looking for it until it is back");
            }
            Err(error) => debug!(%error, "the spool is still away"),
        }
    }

    /// Watches what stands at our path and lists it.
    fn attach(&mut self) -> Result<Contents, Error> {
        let unreadable = |source| reader::Error::Read { path: self.directory.clone(), source };
        let refused = |source| Error::Watch { path: self.directory.clone(), source };
        // Asked before: where the directory is replaced in between, the next check finds another identity and comes back.
        let identity = identity(&fs::metadata(&self.directory).map_err(unreadable)?);
        let lock = reader::lock(&self.directory)?;
        let sender = self.sender.clone();
        let ours = Arc::new(());
        let of = Arc::downgrade(&ours);
        // When this channel is full the watcher's thread waits, and the kernel's queue after it: past its bound comes
        // an event that asks for a scan.
        let handler = move |event| {
            if of.strong_count() > 0 {
                let _ = sender.send(Signal::Event { event, of: Weak::clone(&of) });
            }
        };
        let mut watcher = notify::recommended_watcher(handler).map_err(refused)?;
        watcher.watch(&self.directory, RecursiveMode::NonRecursive).map_err(refused)?;
        let contents = reader::list(&self.directory)?;
        self.watched = Some(Watched { _watcher: watcher, _ours: ours, _lock: lock, identity });
        Ok(contents)
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
