//! New snapshots as they come: watch first, then scan, so that what is published in between is seen
//! twice rather than never.
//!
//! Whoever takes the names must therefore know which ones it already has. What is moved in, or
//! stands there at the start, is complete and is told at once. A directory that is *made* in the
//! spool, by hand or by a script, is told once nothing in it has changed for two seconds; so is
//! what a later scan finds, because nobody saw how it came.
//!
//! Events can be lost (the kernel's queue ran over), the spool can be removed or renamed and made
//! again, and some file systems report no events at all: NFS, a virtual machine's shared folder.
//! So the spool is also listed every [`SCAN_INTERVAL`]. Nothing is read here, and every list has a
//! bound: whatever lies in the spool, memory does not grow with it.

mod fingerprint;

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use daemon::Conditions;
use notify::event::{CreateKind, ModifyKind, RenameMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use thiserror::Error;
use tracing::{debug, info, warn};

use crate::name;
use crate::reader::{self, Contents, Listed};

use fingerprint::Fingerprint;

/// The watch cannot be set up.
#[derive(Debug, Error)]
pub enum Error {
    /// The system refuses to watch it.
    #[error(
        "cannot watch {path:?}: {source}; if the limit of inotify is reached, raise \
         fs.inotify.max_user_watches and fs.inotify.max_user_instances"
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
/// How often we look whether the spool is still the directory that we watch. No event says so while
/// somebody, such as the holder of its lock, has the removed one open.
const IDENTITY_CHECK: Duration = Duration::from_secs(1);
/// How often we look for a spool that is away.
const RETURN_CHECK: Duration = Duration::from_millis(200);
/// How often the spool is listed, so that snapshots of which no event came are found.
pub const SCAN_INTERVAL: Duration = Duration::from_secs(10);
/// Events between the watcher's thread and us; beyond that the kernel's queue holds them.
const EVENTS_MAX: usize = 1024;
/// Directories that are being made at one time; a scan finds the others later.
const SETTLING_MAX: usize = 1000;
/// Strangers that are told one by one, and other states of the watch.
const TOLD_MAX: usize = 100;

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
    /// What was told and may still stand in the spool, with the number of its directory: a scan
    /// finds nothing new in it.
    told: BTreeMap<String, u64>,
    /// A bound kept something back that events had reported, so that only a scan finds it.
    is_incomplete: bool,
    looked: Instant,
    scanned: Instant,
    strangers: Conditions,
    states: Conditions,
}

#[derive(Debug)]
struct Watched {
    /// Dropped with this, which ends its thread; it may first have to get rid of what it has read
    /// from the kernel.
    _watcher: RecommendedWatcher,
    /// Dropped with this, after which the thread's events are nobody's.
    _ours: Arc<()>,
    /// One process at a time: taken on what stands at our path, and so anew when that is replaced.
    _lock: reader::Lock,
    identity: (u64, u64),
}

/// A directory that somebody is making in the spool.
#[derive(Debug)]
struct Settling {
    since: Instant,
    seen: Fingerprint,
    found: Found,
    /// The number of the directory where a list told it: some file systems tell another one
    /// elsewhere.
    listed: Option<u64>,
}

/// How a directory was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    /// By an event, by the scan after events were lost, or late because of a bound of ours.
    Reported,
    /// By a regular scan, before any event of it.
    Unreported,
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
        let now = monotonic();
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
            told: BTreeMap::new(),
            is_incomplete: false,
            looked: now,
            scanned: now,
            strangers: Conditions::new(TOLD_MAX),
            states: Conditions::new(TOLD_MAX),
        };
        fs::create_dir_all(&watch.directory).map_err(unreadable)?;
        let contents = watch.attach()?;
        watch.is_incomplete = contents.more > 0;
        for Listed { name, inode } in contents.snapshots {
            watch.tell(name, inode);
        }
        for path in &contents.strangers {
            watch.stranger(path);
        }
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
                Ok(Signal::Event { .. } | Signal::Wake) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return None,
            }
            self.look();
            self.settle();
        }
        None
    }

    /// The next snapshots' names, at most `most`; blocks until there is one. `None` once the watch
    /// is stopped.
    pub fn next_names(&mut self, most: usize) -> Option<Vec<String>> {
        let mut names = vec![self.next()?];
        while names.len() < most
            && let Some(name) = self.ready.pop_front()
        {
            names.push(name);
        }
        Some(names)
    }

    /// How long nothing may happen before we look by ourselves.
    fn patience(&self) -> Duration {
        let now = (self.monotonic)();
        let left = |since: Instant, limit: Duration| {
            limit.saturating_sub(now.saturating_duration_since(since))
        };
        self.settling
            .values()
            .map(|settling| left(settling.since, SETTLED_AFTER))
            .fold(left(self.looked, self.look_interval()), Duration::min)
    }

    fn look_interval(&self) -> Duration {
        if self.watched.is_some() { IDENTITY_CHECK } else { RETURN_CHECK }
    }

    /// Looks at what no event tells, each at its interval.
    fn look(&mut self) {
        let now = (self.monotonic)();
        if now.saturating_duration_since(self.looked) < self.look_interval() {
            return;
        }
        self.looked = now;
        self.check_identity();
        if self.watched.is_some() && now.saturating_duration_since(self.scanned) >= SCAN_INTERVAL {
            self.scan();
        }
    }

    fn take(&mut self, event: notify::Result<notify::Event>) {
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                let line = self.states.begin("events", "failed", (self.monotonic)());
                if line.is_due() {
                    let directory = &self.directory;
                    warn!(%error, ?directory, "the watch failed, looking anew{}", line.note());
                }
                return self.reattach();
            }
        };
        if event.need_rescan() {
            // A new watch, not only a new list: that the directory itself went away may be among
            // what was lost.
            let line = self.states.begin("events", "lost", (self.monotonic)());
            if line.is_due() {
                let directory = &self.directory;
                warn!(?directory, "events were lost, listing the spool anew{}", line.note());
            }
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

    /// What happens to the spool itself. Reattach even if a directory of the same identity stands
    /// there: what happened in between was not seen, and inode numbers are used again.
    fn take_own(&mut self, kind: EventKind) {
        if matches!(kind, EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_))) {
            self.reattach();
        }
    }

    fn moved_in(&mut self, path: &Path) {
        // A link to a directory is no directory.
        let metadata = match fs::symlink_metadata(path) {
            Ok(metadata) => metadata,
            // It was moved away or removed since the event.
            Err(_) => return,
        };
        match snapshot_name(path) {
            Some(name) if metadata.is_dir() => {
                self.settling.remove(&name);
                self.tell(name, metadata.ino());
            }
            _ => self.stranger(path),
        }
    }

    fn tell(&mut self, name: String, inode: u64) {
        self.told.insert(name.clone(), inode);
        self.ready.push_back(name);
    }

    fn made(&mut self, path: &Path) {
        match snapshot_name(path) {
            Some(name) => self.let_settle(name, Found::Reported, None),
            None => self.stranger(path),
        }
    }

    fn let_settle(&mut self, name: String, found: Found, listed: Option<u64>) {
        if self.settling.len() >= SETTLING_MAX && !self.settling.contains_key(&name) {
            self.is_incomplete = true;
            return;
        }
        let seen = Fingerprint::of(&self.directory.join(&name));
        self.settling.insert(name, Settling { since: (self.monotonic)(), seen, found, listed });
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
            let seen = Fingerprint::of(&path);
            let Some(settling) = self.settling.get_mut(&name) else { continue };
            if settling.seen != seen {
                (settling.since, settling.seen) = (now, seen);
                continue;
            }
            let (found, listed) = (settling.found, settling.listed);
            self.settling.remove(&name);
            let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
            if metadata.is_dir() {
                self.tell(name, listed.unwrap_or_else(|| metadata.ino()));
                if found == Found::Unreported {
                    self.say_unreported();
                }
            }
        }
    }

    fn say_unreported(&mut self) {
        let line = self.states.begin("reports", "none", (self.monotonic)());
        if line.is_due() {
            warn!(
                directory = ?self.directory,
                seconds = SCAN_INTERVAL.as_secs(),
                "snapshots come without inotify events (a network file system or a shared \
                 folder?): they are found by a list of the spool at this interval"
            );
        }
    }

    fn stranger(&mut self, path: &Path) {
        let Some(name) = path.file_name() else { return };
        if name.as_encoded_bytes().starts_with(b".") || path.symlink_metadata().is_err() {
            return;
        }
        let line = self.strangers.begin(&name.to_string_lossy(), "", (self.monotonic)());
        if line.is_due() {
            let note = line.note();
            info!(?path, "left alone: it is no directory whose name is a number{note}");
        }
    }

    fn check_identity(&mut self) {
        let now = fs::metadata(&self.directory).ok().filter(Metadata::is_dir).map(|m| identity(&m));
        if now.is_none() || now != self.watched.as_ref().map(|watched| watched.identity) {
            self.reattach();
        }
    }

    /// Lists the spool for what no event reported. An event that is still on its way tells a
    /// directory at once, while what is found here must lie untouched first.
    fn scan(&mut self) {
        self.scanned = (self.monotonic)();
        let found = if self.is_incomplete { Found::Reported } else { Found::Unreported };
        self.is_incomplete = false;
        match reader::list(&self.directory) {
            Ok(contents) => self.take_list(contents, found),
            Err(error) => {
                let line = self.states.begin("list", "fails", self.scanned);
                if line.is_due() {
                    warn!(%error, "the spool cannot be listed{}", line.note());
                }
            }
        }
    }

    fn take_list(&mut self, contents: Contents, found: Found) {
        let mut told = BTreeMap::new();
        let last = contents.snapshots.last().map(|last| last.name.clone()).unwrap_or_default();
        for Listed { name, inode } in contents.snapshots {
            if self.told.get(&name) == Some(&inode) {
                told.insert(name, inode);
            } else if !self.settling.contains_key(&name) {
                // A directory that settles already goes on: its two seconds must not begin again.
                self.let_settle(name, found, Some(inode));
            }
        }
        // What is listed no more is forgotten, but for what may be behind the list's end.
        if contents.more > 0 {
            let behind = |name: &str| name::compare(name, &last).is_gt();
            told.extend(
                std::mem::take(&mut self.told).into_iter().filter(|(name, _)| behind(name)),
            );
        }
        self.told = told;
        self.is_incomplete |= contents.more > 0;
        for path in &contents.strangers {
            self.stranger(path);
        }
        self.states.end("list", (self.monotonic)());
    }

    /// Watches whatever stands at our path now.
    fn reattach(&mut self) {
        let was_there = self.watched.take().is_some();
        let now = (self.monotonic)();
        self.scanned = now;
        match self.attach() {
            Ok(contents) => {
                let lines = [self.states.end("events", now), self.states.end("spool", now)];
                if lines.iter().any(|line| line.is_due()) || was_there {
                    debug!(directory = ?self.directory, "watching the spool anew");
                }
                if lines[1].is_due() {
                    info!(directory = ?self.directory, "the spool is back, watching it again");
                }
                // Another directory may stand there: nothing of it was told.
                self.told.clear();
                self.take_list(contents, Found::Reported);
            }
            Err(error) => {
                let line = self.states.begin("spool", "away", now);
                if line.is_due() {
                    let note = line.note();
                    warn!(%error, "the spool is away; looking for it until it is back{note}");
                }
            }
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
