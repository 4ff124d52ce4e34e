//! The main thread: it makes the children, chooses what is next and where it goes, and tells what
//! an operator should know.
//!
//! All that happens comes in as an event, from the watcher, the keepers and the sender of the
//! outbox. A state is logged when it changes, not while it lasts.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, after, bounded, never, select, tick, unbounded};
use daemon::{Clock, Service, remedy};
use model::{SnapshotId, Timestamp};
use receivers::graphite::{self, Paths};
use receivers::outbox;
use spool::reader::Leftovers;
use tracing::{debug, info};

use crate::housekeeping;
use crate::keeper::{self, Channels, Event, Job, Loss, Removed, Shared};
use crate::lingering::{Lingering, Why};
use crate::notes::Notes;
use crate::outbound::Outbound;
use crate::protocol::{Findings, Outcome};
use crate::queue::{Queue, Verdict};
use crate::replay;
use crate::states::States;
use crate::telemetry::{self, Counts, Gauges};
use crate::{Error, Settings, worker};

/// Orders that the sender may have before it: a batch of the outbox and lines about ourselves.
const ORDERS_MAX: usize = 2;

/// See the module.
#[derive(Debug)]
pub(crate) struct Parent {
    shared: Arc<Shared>,
    arguments: Vec<OsString>,
    clock: Clock,
    service: Service,
    paths: Paths,
    queue: Queue,
    counts: Counts,
    outbound: Outbound,
    lingering: Lingering,
    states: States,
    notes: Notes,
    /// Asks for another round of deleting what is hidden.
    housekeeping: Sender<()>,
    /// Whether something hidden may be left to delete.
    is_cleaning_due: bool,
    /// Hidden directories that could not be deleted.
    undeleted: u64,
    /// Fires when something is to be tried.
    retry: Receiver<Instant>,
    retry_armed: bool,
    /// From the watcher.
    found: Receiver<String>,
    /// To the keepers: handed over only to one that is free.
    jobs: Option<Sender<Job>>,
    /// From the keepers and the sender.
    events: Receiver<Event>,
    /// From the keepers.
    spawns: Receiver<Sender<io::Result<Child>>>,
    /// Dropped to tell the keepers that the program ends.
    stopping: Option<Sender<()>>,
    keepers: usize,
}

/// Pieces up to this size come from memory that a worker keeps, and so much of it may lie idle.
const KEPT_MMAP_BYTES: &str = "33554432";
const KEPT_BYTES: &str = "268435456";

impl Parent {
    /// Starts the keepers and the sender.
    pub(crate) fn start(settings: Settings, found: Receiver<String>) -> Result<Self, Error> {
        let Settings { config, clock, service, host, arguments } = settings;
        let paths = Paths::new(&config.naming).map_err(|error| Error::Naming(error.to_string()))?;
        let (jobs, for_keepers) = bounded(0);
        let (event_sender, events) = unbounded();
        let (spawn_sender, spawns) = unbounded();
        let (stopping, told) = bounded(0);
        let orders = config.graphite.clone().map(|graphite| {
            let (orders, for_sender) = bounded(ORDERS_MAX);
            let events = event_sender.clone();
            let run = move || replay::run(graphite, clock, &for_sender, &events);
            spawn_thread("replay", run).map(|()| orders)
        });
        let workers = config.workers;
        // One round at a time; another request while one waits adds nothing.
        let (housekeeping, requests) = bounded(1);
        let (directories, events_of_rounds) =
            ([config.src_dir.clone(), config.failed_dir.clone()], event_sender.clone());
        spawn_thread("housekeeping", move || {
            housekeeping::run(&directories, &requests, &events_of_rounds);
        })?;
        let parent = Self {
            queue: Queue::default(),
            outbound: Outbound::open(&config, clock, orders.transpose()?)?,
            counts: Counts::default(),
            shared: Arc::new(Shared { config, host }),
            arguments,
            clock,
            service,
            paths,
            lingering: Lingering::default(),
            states: States::new(clock.monotonic),
            notes: Notes::new(),
            housekeeping,
            is_cleaning_due: true,
            undeleted: 0,
            retry: never(),
            retry_armed: false,
            found,
            jobs: Some(jobs),
            events,
            spawns,
            stopping: Some(stopping),
            keepers: workers,
        };
        let channels = Channels {
            jobs: for_keepers,
            events: event_sender,
            spawns: spawn_sender,
            stopping: told,
        };
        for index in 0..workers {
            let (shared, channels) = (Arc::clone(&parent.shared), channels.clone());
            spawn_thread(&format!("keeper-{index}"), move || {
                keeper::run(index, &shared, &channels);
            })?;
        }
        Ok(parent)
    }

    /// Runs until `shutdown` receives a signal's name or closes.
    ///
    /// # Errors
    ///
    /// A thread ended by itself, which only a fault of ours can do.
    pub(crate) fn run(&mut self, shutdown: &Receiver<&'static str>) -> Result<(), Error> {
        self.begin();
        let look = tick(self.shared.config.liveness_check_interval);
        let alive = self.service.alive_interval().map_or_else(never, tick);
        // A channel that nobody takes from: stands in where there is nothing to hand out.
        let (nobody, _kept) = bounded(0);
        let no_names = never();
        loop {
            self.arm();
            let job = self.outbound.mode().zip(self.queue.next());
            let job = job.map(|(mode, snapshot)| Job { snapshot: snapshot.to_owned(), mode });
            let jobs = self.jobs.as_ref().filter(|_| job.is_some()).unwrap_or(&nobody);
            let found = if self.queue.has_room() { &self.found } else { &no_names };
            select! {
                recv(shutdown) -> signal => {
                    let signal = signal.unwrap_or("the caller");
                    info!(signal, waiting = self.queue.len(), "ending: finishing what the workers hold");
                    return Ok(());
                }
                recv(self.spawns) -> request => if let Ok(reply) = request {
                    let _ = reply.send(self.spawn());
                },
                recv(self.events) -> event => match event {
                    Ok(Event::Ended) | Err(_) => {
                        self.keepers -= 1;
                        return Err(Error::Ended("a keeper"));
                    }
                    Ok(Event::SenderEnded) => return Err(Error::Ended("the sender")),
                    Ok(event) => self.take(event),
                },
                recv(found) -> name => match name {
                    Ok(name) => self.take_in(name),
                    Err(_) => return Err(Error::Ended("the watch")),
                },
                recv(self.retry) -> _ => self.pause_over(),
                recv(look) -> _ => self.look(),
                recv(alive) -> _ => self.service.alive(),
                send(jobs, job.clone().unwrap_or_else(Job::none)) -> sent => if let (Ok(()), Some(job)) = (sent, job) {
                    self.queue.begun(&job.snapshot);
                    self.outbound.begun(&job.snapshot);
                },
            }
        }
    }

    /// Waits until the keepers have finished what they hold and their workers are gone. A batch of the outbox that is on its way stays there.
    pub(crate) fn end(&mut self) {
        self.service.stopping();
        self.jobs = None;
        self.stopping = None;
        while self.keepers > 0 {
            select! {
                recv(self.events) -> event => match event {
                    Ok(event) => self.take(event),
                    Err(_) => break,
                },
                // Whoever asks for a child now hears, by the closed channel, that there is none.
                recv(self.spawns) -> _ => {}
            }
        }
        info!(waiting = self.queue.len(), "ended");
    }

    fn begin(&mut self) {
        let config = &self.shared.config;
        info!(src_dir = %config.src_dir.display(), workers = config.workers, "watching");
        if let Some(graphite) = &config.graphite {
            info!(server = graphite.server, port = graphite.port, confirm = ?graphite.confirm, "sending to graphite");
        }
        if let Some(store) = &config.local_store {
            info!(dir = %store.dir.display(), "keeping lines in local-store");
        }
        self.outbound.begin(&mut self.counts);
        self.clean();
        self.service.ready();
        self.service.status("watching");
    }

    /// Sets the timer for what is to be tried next, unless it runs.
    fn arm(&mut self) {
        if self.outbound.timer_was_stale() {
            self.retry_armed = false;
        }
        if !self.retry_armed
            && let Some(pause) = self.outbound.pause()
        {
            self.retry = after(pause);
            self.retry_armed = true;
        }
    }

    fn pause_over(&mut self) {
        self.retry = never();
        self.retry_armed = false;
        self.outbound.pause_over();
    }

    fn take_in(&mut self, snapshot: String) {
        let found = std::fs::metadata(self.shared.config.src_dir.join(&snapshot));
        // A second event of one that is done by now. What cannot be looked at now is there all the same.
        let gone = match found {
            Ok(metadata) => !metadata.is_dir(),
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        };
        if !gone && self.queue.add(snapshot.clone()) {
            debug!(snapshot, "found");
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Finished { snapshot, outcome, findings, removed } => {
                self.finished(&snapshot, outcome, findings, removed);
            }
            Event::Died { snapshot, loss } => self.died(&snapshot, loss),
            Event::Beside { dispatcher, fault } => self.beside(&dispatcher, fault),
            Event::IdleDied { loss } => {
                self.counts.worker_restarts += 1;
                self.states.worker_lost(loss, None);
            }
            Event::NotStarted { index, reason } => {
                self.counts.worker_restarts += 1;
                self.states.worker_not_started(index, &reason);
            }
            Event::Started { index } => self.states.worker_started(index),
            Event::Cleaned { leftovers, unread } => self.cleaned(leftovers, unread),
            Event::TooSlow { snapshot } => {
                self.counts.worker_restarts += 1;
                self.outbound.recheck(&snapshot, &mut self.counts);
                self.outbound.too_slow(&snapshot, &mut self.counts);
                self.queue.wait_again(&snapshot);
            }
            Event::SenderEnded => {}
            Event::GivenUp { snapshot } => {
                self.outbound.no_result(&snapshot);
                self.queue.wait_again(&snapshot);
            }
            Event::Replayed { entry, sent } => {
                self.outbound.replayed(&entry, sent, &mut self.counts);
            }
            Event::OwnSent { sent } => self.outbound.own_sent(sent, &mut self.counts),
            Event::Ended => self.keepers -= 1,
        }
    }

    fn cleaned(&mut self, leftovers: Leftovers, unread: usize) {
        self.undeleted = leftovers.count;
        self.is_cleaning_due |= leftovers.count > 0 || unread > 0;
        match leftovers.example {
            Some((path, error)) => {
                let reason = format!("{path:?}: {error}{}", remedy::of(&error));
                self.states.not_deleted(&reason);
            }
            None if unread == 0 => self.states.deleted(),
            None => {}
        }
    }

    fn died(&mut self, snapshot: &str, loss: Loss) {
        self.counts.worker_restarts += 1;
        self.states.worker_lost(loss, Some(snapshot));
        self.outbound.no_result(snapshot);
        self.outbound.recheck(snapshot, &mut self.counts);
        match self.queue.died(snapshot, loss.death) {
            Verdict::Again => debug!(snapshot, "doing the snapshot again"),
            Verdict::GiveUp => {
                let reason = "its workers keep dying over it";
                self.give_up(snapshot, reason, Why::GivenUp { reason: reason.to_owned() });
            }
        }
    }

    fn finished(&mut self, snapshot: &str, outcome: Outcome, findings: Findings, removed: Removed) {
        self.notes.take(snapshot, findings, (self.clock.monotonic)());
        let done = matches!(outcome, Outcome::Delivered | Outcome::Stored { .. } | Outcome::Gone);
        if !matches!(outcome, Outcome::Unreadable { .. }) {
            self.states.read(snapshot);
        }
        match outcome {
            Outcome::Delivered => {
                self.states.folded();
                self.outbound.delivered(snapshot);
            }
            Outcome::Stored { entry, refused } => {
                self.states.folded();
                self.outbound.stored(snapshot, entry, refused.as_deref(), &mut self.counts);
            }
            Outcome::Undelivered { refused, unstored } => {
                let refused = refused.as_deref();
                self.outbound.neither(snapshot, refused, &unstored, &mut self.counts);
                self.queue.wait_again(snapshot);
            }
            Outcome::Gone => {
                self.states.gone(snapshot);
                self.outbound.no_result(snapshot);
            }
            Outcome::Unreadable { reason } => {
                self.outbound.no_result(snapshot);
                match self.queue.unreadable(snapshot) {
                    // What cannot be moved aside either may be whole: it is read again.
                    Verdict::GiveUp => {
                        if self.give_up(snapshot, &reason, Why::Unreadable) {
                            self.states.read(snapshot);
                        }
                    }
                    Verdict::Again => {
                        self.states.unreadable(snapshot, &reason);
                        if !self.lingering.add(snapshot, Why::Unreadable) {
                            self.queue.forget(snapshot);
                        }
                    }
                }
            }
            Outcome::Unusable { reason } => {
                self.outbound.no_result(snapshot);
                let why = Why::GivenUp { reason: reason.clone() };
                self.give_up(snapshot, &reason, why);
            }
        }
        if !done {
            return;
        }
        match removed {
            Removed::Not { reason } => {
                self.states.not_removed(snapshot, &reason);
                self.linger(snapshot, Why::Done);
                return;
            }
            Removed::Hidden { reason } => {
                self.states.not_deleted(&reason);
                self.undeleted += 1;
                self.is_cleaning_due = true;
            }
            Removed::Deleted => {}
        }
        self.states.removed(snapshot);
        self.queue.done(snapshot);
        // A clock that was set back can have given the name anew while we knew the old one.
        self.take_in(snapshot.to_owned());
    }

    fn linger(&mut self, snapshot: &str, why: Why) {
        self.queue.leave(snapshot);
        if !self.lingering.add(snapshot, why) {
            self.queue.forget(snapshot);
        }
    }

    fn beside(&mut self, dispatcher: &str, fault: Option<String>) {
        match fault {
            None => self.states.beside_works(dispatcher),
            Some(reason) => {
                self.counts.local_store_failures += 1;
                self.states.beside_fails(dispatcher, &reason);
            }
        }
    }

    /// Moves a snapshot aside; one that cannot be moved lingers. Whether it was moved.
    fn give_up(&mut self, snapshot: &str, reason: &str, otherwise: Why) -> bool {
        self.counts.failed_snapshots += 1;
        let config = &self.shared.config;
        let (spool, failed) = (&config.src_dir, &config.failed_dir);
        match spool::failed::hold(spool, snapshot, failed, reason, config.failed_limit) {
            Ok(gone) => {
                self.queue.done(snapshot);
                self.is_cleaning_due |= gone > 0;
                self.states.moved_aside(snapshot, reason, &failed.display().to_string(), gone);
                true
            }
            Err(error) => {
                self.states.not_moved(snapshot, reason, &error.to_string());
                self.linger(snapshot, otherwise);
                false
            }
        }
    }

    /// What is done each liveness-check-interval: what could not be removed is tried again, and the
    /// service manager and Graphite hear how things stand.
    fn look(&mut self) {
        let looked = self.lingering.look(&self.shared.config, &mut self.queue);
        for snapshot in &looked.removed {
            self.states.removed(snapshot);
        }
        self.is_cleaning_due |= looked.hidden;
        self.clean();
        let now = self.clock.epoch_seconds();
        let src_dir = &self.shared.config.src_dir;
        let contents = spool::reader::list(src_dir).unwrap_or_default();
        let oldest = contents.snapshots.first().map(|listed| listed.name.as_str());
        let gauges = Gauges {
            spool_size: contents.snapshots.len() as u64 + contents.more,
            snapshot_age_seconds: telemetry::age_seconds(now, oldest),
            undeleted_snapshots: self.undeleted,
            ..self.outbound.gauges()
        };
        self.service.status(&format!(
            "{} snapshots wait, {} metrics in the outbox, the receiver is {}",
            gauges.spool_size,
            gauges.outbox_metrics,
            if gauges.receiver_up { "up" } else { "down" }
        ));
        let timestamp = Timestamp::of_seconds(now);
        let id = SnapshotId { origin: self.shared.host.clone(), timestamp, serial: 0 };
        let table = telemetry::table(self.counts, gauges);
        let mut lines = Vec::new();
        graphite::encode(&[table], &self.paths, &id, &mut lines);
        self.outbound.send_own(now.to_string(), lines);
    }

    /// Asks for a round of deleting, unless one is on its way.
    fn clean(&mut self) {
        if self.is_cleaning_due && self.housekeeping.try_send(()).is_ok() {
            self.is_cleaning_due = false;
        }
    }

    fn spawn(&self) -> io::Result<Child> {
        let mut arguments = self.arguments.iter();
        let mut command = Command::new(keeper::executable());
        if let Some(name) = arguments.next() {
            command.arg0(name);
        }
        command
            .args(arguments)
            .env(worker::ROLE_VARIABLE, std::process::id().to_string())
            // Workers are the parallelism; polars reads this once, at its first use.
            .env("POLARS_MAX_THREADS", "1")
            // glibc (mallopt(3)): what a snapshot needed the next one needs too. Giving it back in between and taking it page by
            // page again was a twentieth of a large snapshot's time. Where glibc is not, nobody reads them.
            .env("MALLOC_MMAP_THRESHOLD_", KEPT_MMAP_BYTES)
            .env("MALLOC_TRIM_THRESHOLD_", KEPT_BYTES)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
    }
}

/// Starts one of the parent's threads, which ends by itself.
pub(crate) fn spawn_thread(name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), Error> {
    let spawned = thread::Builder::new().name(name.to_owned()).spawn(run);
    spawned.map(|_| ()).map_err(|source| Error::Thread { name: name.to_owned(), source })
}

impl From<outbox::Error> for Error {
    fn from(error: outbox::Error) -> Self {
        Self::Outbox(error)
    }
}
