//! Finds new snapshots as they come. The watch begins before the first list, so that a snapshot
//! that is published in between is found twice rather than never, and the caller must know which
//! names it has already.
//!
//! A directory that is moved in, or is there at the start, is complete and is announced at once. A
//! directory that is *made* in the spool, by hand or by a script, is announced once nothing in it
//! has changed for two seconds. The same holds for a directory that a later list finds, because no
//! event showed how it came.
//!
//! Events can be lost (the kernel's queue overflows), the spool can be removed or renamed and made
//! again, and some file systems report no events at all: NFS, a virtual machine's shared folder.
//! So the spool is also listed every [`SCAN_INTERVAL`]. No file is read here, and every list has a
//! bound, so that memory does not grow with the contents of the spool.

mod error;
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
use tracing::{debug, info, warn};

use crate::name;
use crate::reader::{self, Contents, Entry};

use fingerprint::Fingerprint;

pub use error::Error;

/// How long a directory made in the spool must stay unchanged before it is announced.
const SETTLED_AFTER: Duration = Duration::from_secs(2);
/// How often the watch checks that the spool is still the same directory. No event reports its
/// removal while a process, such as the holder of its lock, has it open.
const IDENTITY_CHECK: Duration = Duration::from_secs(1);
/// How often the watch looks for a missing spool.
const RETURN_CHECK: Duration = Duration::from_millis(200);
/// How often the spool is listed, to find snapshots that no event reported.
pub const SCAN_INTERVAL: Duration = Duration::from_secs(10);
/// Events between the watcher's thread and the watch; beyond that the kernel's queue holds them.
const EVENTS_MAX: usize = 1024;
/// Directories that settle at one time; a later list finds the others.
const SETTLING_MAX: usize = 1000;
/// Bound for the entries that are no snapshots and are logged one by one, and for the other states
/// of the watch.
const STATES_MAX: usize = 100;

enum Signal {
    Event {
        event: notify::Result<notify::Event>,
        /// Alive while the watcher that saw the event is attached.
        watcher: Weak<()>,
    },
    /// Makes the watch check whether it is stopped.
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
    /// `None` while the spool is missing.
    attachment: Option<Attachment>,
    ready: VecDeque<String>,
    settling: BTreeMap<String, NewDirectory>,
    /// Names that were announced and may still be in the spool, with the inode numbers of their
    /// directories: a list finds nothing new in them.
    announced: BTreeMap<String, u64>,
    /// A bound dropped names that events had reported, so that only a list finds them.
    is_incomplete: bool,
    last_check: Instant,
    last_scan: Instant,
    strangers: Conditions,
    states: Conditions,
}

#[derive(Debug)]
struct Attachment {
    /// Dropping it ends its thread, which may first have to deliver events that it has read from
    /// the kernel.
    _watcher: RecommendedWatcher,
    /// Once it is dropped, events of that thread are discarded.
    _ours: Arc<()>,
    /// Locks the directory at our path, so a directory that replaces it is locked anew.
    _lock: reader::Lock,
    identity: (u64, u64),
}

/// A directory in the spool that may still change.
#[derive(Debug)]
struct NewDirectory {
    unchanged_since: Instant,
    fingerprint: Fingerprint,
    discovery: Discovery,
    /// The inode number in the list that found it; some file systems report another one elsewhere.
    listed_inode: Option<u64>,
}

/// How a directory was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Discovery {
    /// By an event, by the list after events were lost, or by a later list because of a bound.
    Reported,
    /// By a regular list, before any event.
    Unreported,
}

impl Stopper {
    /// Makes [`Watch::next`] return `None`, even if names wait to be announced.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        // If the channel is full, its events wake the watch as well.
        let _ = self.sender.try_send(Signal::Wake);
    }
}

impl Watch {
    /// Watches and lists a spool, which is made if it is missing. A spool has one watch at a time.
    ///
    /// # Errors
    ///
    /// The directory cannot be made or listed, another process has its lock, or the system refuses
    /// to watch it.
    pub fn start(directory: &Path, monotonic: fn() -> Instant) -> Result<Self, Error> {
        let (sender, signals) = sync_channel(EVENTS_MAX);
        let unreadable = |source| reader::Error::Read { path: directory.to_owned(), source };
        let now = monotonic();
        let mut watch = Self {
            // Events have absolute paths, which are compared with this one.
            directory: std::path::absolute(directory).map_err(unreadable)?,
            monotonic,
            signals,
            sender,
            stopped: Arc::default(),
            attachment: None,
            ready: VecDeque::new(),
            settling: BTreeMap::new(),
            announced: BTreeMap::new(),
            is_incomplete: false,
            last_check: now,
            last_scan: now,
            strangers: Conditions::new(STATES_MAX),
            states: Conditions::new(STATES_MAX),
        };
        fs::create_dir_all(&watch.directory).map_err(unreadable)?;
        let contents = watch.attach()?;
        watch.is_incomplete = contents.more > 0;
        for Entry { name, inode } in contents.snapshots {
            watch.announce(name, inode);
        }
        for path in &contents.strangers {
            watch.log_stranger(path);
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
            match self.signals.recv_timeout(self.time_to_next_check()) {
                // Events of an earlier watcher are discarded, because the spool was listed since.
                Ok(Signal::Event { event, watcher }) if watcher.strong_count() > 0 => {
                    self.handle(event);
                }
                Ok(Signal::Event { .. } | Signal::Wake) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return None,
            }
            self.check();
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

    /// How long to wait for an event before the next check is due.
    fn time_to_next_check(&self) -> Duration {
        let now = (self.monotonic)();
        let left = |since: Instant, limit: Duration| {
            limit.saturating_sub(now.saturating_duration_since(since))
        };
        self.settling
            .values()
            .map(|new| left(new.unchanged_since, SETTLED_AFTER))
            .fold(left(self.last_check, self.check_interval()), Duration::min)
    }

    fn check_interval(&self) -> Duration {
        if self.attachment.is_some() { IDENTITY_CHECK } else { RETURN_CHECK }
    }

    /// Makes the checks for which there is no event, each at its interval.
    fn check(&mut self) {
        let now = (self.monotonic)();
        if now.saturating_duration_since(self.last_check) < self.check_interval() {
            return;
        }
        self.last_check = now;
        self.check_identity();
        let scan_is_due = now.saturating_duration_since(self.last_scan) >= SCAN_INTERVAL;
        if self.attachment.is_some() && scan_is_due {
            self.scan();
        }
    }

    fn handle(&mut self, event: notify::Result<notify::Event>) {
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
            // A new watch and not only a new list, because the removal of the directory itself may
            // be among the lost events.
            let line = self.states.begin("events", "lost", (self.monotonic)());
            if line.is_due() {
                let directory = &self.directory;
                warn!(?directory, "events were lost, listing the spool anew{}", line.note());
            }
            return self.reattach();
        }
        for path in &event.paths {
            if *path == self.directory {
                self.handle_own(event.kind);
                continue;
            }
            match event.kind {
                EventKind::Modify(ModifyKind::Name(RenameMode::To)) => self.handle_rename(path),
                EventKind::Create(CreateKind::Folder) => self.handle_new_directory(path),
                EventKind::Create(_) => self.log_stranger(path),
                _ => {}
            }
        }
    }

    /// An event of the spool itself. Reattach even if a directory of the same identity is there,
    /// because events in between were lost, and inode numbers are reused.
    fn handle_own(&mut self, kind: EventKind) {
        if matches!(kind, EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_))) {
            self.reattach();
        }
    }

    fn handle_rename(&mut self, path: &Path) {
        // An entry that was moved or removed since the event has no metadata. A link to a directory
        // is no directory.
        let Ok(metadata) = fs::symlink_metadata(path) else { return };
        match snapshot_name(path) {
            Some(name) if metadata.is_dir() => {
                self.settling.remove(&name);
                self.announce(name, metadata.ino());
            }
            _ => self.log_stranger(path),
        }
    }

    fn announce(&mut self, name: String, inode: u64) {
        self.announced.insert(name.clone(), inode);
        self.ready.push_back(name);
    }

    fn handle_new_directory(&mut self, path: &Path) {
        match snapshot_name(path) {
            Some(name) => self.let_settle(name, Discovery::Reported, None),
            None => self.log_stranger(path),
        }
    }

    fn let_settle(&mut self, name: String, discovery: Discovery, listed_inode: Option<u64>) {
        if self.settling.len() >= SETTLING_MAX && !self.settling.contains_key(&name) {
            self.is_incomplete = true;
            return;
        }
        let unchanged_since = (self.monotonic)();
        let fingerprint = Fingerprint::of(&self.directory.join(&name));
        let new = NewDirectory { unchanged_since, fingerprint, discovery, listed_inode };
        self.settling.insert(name, new);
    }

    /// Announces directories that have not changed for long enough. The others wait anew.
    fn settle(&mut self) {
        let now = (self.monotonic)();
        let mut due = Vec::new();
        for (name, new) in &self.settling {
            if now.saturating_duration_since(new.unchanged_since) >= SETTLED_AFTER {
                due.push(name.clone());
            }
        }
        due.sort_by(|a, b| name::compare(a, b));
        for name in due {
            let path = self.directory.join(&name);
            let fingerprint = Fingerprint::of(&path);
            let Some(new) = self.settling.get_mut(&name) else { continue };
            if new.fingerprint != fingerprint {
                (new.unchanged_since, new.fingerprint) = (now, fingerprint);
                continue;
            }
            let (discovery, listed_inode) = (new.discovery, new.listed_inode);
            self.settling.remove(&name);
            let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
            if metadata.is_dir() {
                self.announce(name, listed_inode.unwrap_or_else(|| metadata.ino()));
                if discovery == Discovery::Unreported {
                    self.log_unreported();
                }
            }
        }
    }

    fn log_unreported(&mut self) {
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

    fn log_stranger(&mut self, path: &Path) {
        let Some(name) = path.file_name() else { return };
        if name::is_hidden(name) || path.symlink_metadata().is_err() {
            return;
        }
        let line = self.strangers.begin(&name.to_string_lossy(), "", (self.monotonic)());
        if line.is_due() {
            let note = line.note();
            info!(?path, "left alone: it is no directory whose name is a number{note}");
        }
    }

    fn check_identity(&mut self) {
        let is_same = match (fs::metadata(&self.directory), &self.attachment) {
            (Ok(now), Some(attachment)) => now.is_dir() && identity(&now) == attachment.identity,
            _ => false,
        };
        if !is_same {
            self.reattach();
        }
    }

    /// Lists the spool for directories that no event reported. They must settle first; an event
    /// that comes later announces its directory at once.
    fn scan(&mut self) {
        self.last_scan = (self.monotonic)();
        let discovery =
            if self.is_incomplete { Discovery::Reported } else { Discovery::Unreported };
        self.is_incomplete = false;
        match reader::list(&self.directory) {
            Ok(contents) => self.take_list(contents, discovery),
            Err(error) => {
                let line = self.states.begin("list", "fails", self.last_scan);
                if line.is_due() {
                    warn!(%error, "the spool cannot be listed{}", line.note());
                }
            }
        }
    }

    fn take_list(&mut self, contents: Contents, discovery: Discovery) {
        let mut announced = BTreeMap::new();
        let last = contents.snapshots.last().map(|last| last.name.clone()).unwrap_or_default();
        for Entry { name, inode } in contents.snapshots {
            if self.announced.get(&name) == Some(&inode) {
                announced.insert(name, inode);
            } else if !self.settling.contains_key(&name) {
                // The two seconds of a directory that settles already must not begin again.
                self.let_settle(name, discovery, Some(inode));
            }
        }
        // Names that are no longer listed are forgotten, unless they sort after the end of a list
        // that was cut at its bound.
        if contents.more > 0 {
            for (name, inode) in std::mem::take(&mut self.announced) {
                if name::compare(&name, &last).is_gt() {
                    announced.insert(name, inode);
                }
            }
        }
        self.announced = announced;
        self.is_incomplete |= contents.more > 0;
        for path in &contents.strangers {
            self.log_stranger(path);
        }
        self.states.end("list", (self.monotonic)());
    }

    /// Watches the directory that is at our path now.
    fn reattach(&mut self) {
        let was_attached = self.attachment.take().is_some();
        let now = (self.monotonic)();
        self.last_scan = now;
        match self.attach() {
            Ok(contents) => {
                let lines = [self.states.end("events", now), self.states.end("spool", now)];
                if lines.iter().any(|line| line.is_due()) || was_attached {
                    debug!(directory = ?self.directory, "watching the spool anew");
                }
                if lines[1].is_due() {
                    info!(directory = ?self.directory, "the spool is back, watching it again");
                }
                // The names that were announced may be those of another directory.
                self.announced.clear();
                self.take_list(contents, Discovery::Reported);
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

    /// Watches the directory at our path and lists it.
    fn attach(&mut self) -> Result<Contents, Error> {
        let unreadable = |source| reader::Error::Read { path: self.directory.clone(), source };
        let refused = |source| Error::Watch { path: self.directory.clone(), source };
        // Read the identity first: if the directory is replaced in between, the next check finds
        // another identity and reattaches.
        let identity = identity(&fs::metadata(&self.directory).map_err(unreadable)?);
        let lock = reader::lock(&self.directory)?;
        let sender = self.sender.clone();
        let ours = Arc::new(());
        let watcher = Arc::downgrade(&ours);
        // When this channel is full the watcher's thread waits, and the kernel's queue fills. When
        // the queue overflows, the kernel sends an event that asks for a list.
        let handler = move |event| {
            if watcher.strong_count() > 0 {
                let _ = sender.send(Signal::Event { event, watcher: Weak::clone(&watcher) });
            }
        };
        let mut watcher = notify::recommended_watcher(handler).map_err(refused)?;
        watcher.watch(&self.directory, RecursiveMode::NonRecursive).map_err(refused)?;
        let contents = reader::list(&self.directory)?;
        self.attachment =
            Some(Attachment { _watcher: watcher, _ours: ours, _lock: lock, identity });
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
