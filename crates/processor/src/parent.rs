//! The main thread's world: it makes the children, chooses what is next and on which road, and tells what an operator should know.
//!
//! All that happens comes in as an event, from the watcher, the keepers and the sender of the outbox; nothing here waits for a disk or a
//! receiver longer than it takes to name a file. A state is logged when it changes, not while it lasts.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, after, bounded, never, select, tick, unbounded};
use daemon::{Clock, Service};
use dispatch::outbox;
use dispatch::plaintext::{self, Paths};
use tracing::{debug, error, info, warn};

use crate::keeper::{self, Channels, Event, Job, Shared};
use crate::outbound::Outbound;
use crate::protocol::Outcome;
use crate::queue::{Queue, Verdict};
use crate::replay;
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
    /// Snapshots that stay in the spool though they are not to be begun again, and why.
    lingering: BTreeMap<String, Lingering>,
    /// Dispatchers that nothing waits for and that do not work.
    failing: BTreeSet<String>,
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

/// Why a snapshot lingers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lingering {
    /// It is delivered but cannot be removed.
    Done,
    /// It was given up but cannot be moved aside.
    GivenUp,
    /// It could not be read, and is tried again.
    Unreadable,
}

impl Parent {
    /// Starts the keepers and the sender.
    pub(crate) fn start(settings: Settings, found: Receiver<String>) -> Result<Self, Error> {
        let Settings { config, clock, service, host, arguments } = settings;
        let paths =
            Paths::new(&config.naming, &host).map_err(|error| Error::Naming(error.to_string()))?;
        let (jobs, for_keepers) = bounded(0);
        let (event_sender, events) = unbounded();
        let (spawn_sender, spawns) = unbounded();
        let (stopping, told) = bounded(0);
        let orders = config.graphite.clone().map(|graphite| {
            let (orders, for_sender) = bounded(ORDERS_MAX);
            let events = event_sender.clone();
            let run = move || replay::run(graphite, &for_sender, &events);
            thread::Builder::new().name("replay".into()).spawn(run).map(|_| orders)
        });
        let workers = config.workers;
        let parent = Self {
            queue: Queue::default(),
            outbound: Outbound::open(&config, clock, orders.transpose()?)?,
            counts: Counts::default(),
            shared: Arc::new(Shared { config, host }),
            arguments,
            clock,
            service,
            paths,
            lingering: BTreeMap::new(),
            failing: BTreeSet::new(),
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
            thread::Builder::new()
                .name(format!("keeper-{index}"))
                .spawn(move || keeper::run(index, &shared, &channels))?;
        }
        Ok(parent)
    }

    /// Runs until `shutdown` says a word or closes.
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
            Event::Finished { snapshot, outcome, removed } => {
                self.finished(&snapshot, outcome, removed)
            }
            Event::Died { snapshot, death } => {
                self.counts.worker_restarts += 1;
                self.outbound.no_result(&snapshot);
                self.outbound.recheck(&snapshot, &mut self.counts);
                match self.queue.died(&snapshot, death) {
                    Verdict::Again => info!(snapshot, "doing the snapshot again"),
                    Verdict::GiveUp => self.give_up(&snapshot, "its workers keep dying over it"),
                }
            }
            Event::Beside { dispatcher, fault } => self.beside(dispatcher, fault),
            Event::IdleDied => self.counts.worker_restarts += 1,
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

    fn finished(&mut self, snapshot: &str, outcome: Outcome, removed: bool) {
        let done = matches!(outcome, Outcome::Delivered | Outcome::Stored { .. } | Outcome::Gone);
        match outcome {
            Outcome::Delivered => self.outbound.delivered(snapshot),
            Outcome::Stored { entry, refused } => {
                self.outbound.stored(snapshot, entry, refused.as_deref(), &mut self.counts);
            }
            Outcome::Undelivered { refused, unstored } => {
                let refused = refused.as_deref();
                self.outbound.neither(snapshot, refused, &unstored, &mut self.counts);
                self.queue.wait_again(snapshot);
            }
            Outcome::Gone => {
                warn!(snapshot, "somebody took the snapshot away, going on");
                self.outbound.no_result(snapshot);
            }
            Outcome::Unreadable { reason } => {
                self.outbound.no_result(snapshot);
                match self.queue.unreadable(snapshot) {
                    Verdict::GiveUp => self.give_up(snapshot, &reason),
                    Verdict::Again => {
                        warn!(
                            snapshot,
                            reason, "the snapshot cannot be read just now, trying again"
                        );
                        self.lingering.insert(snapshot.to_owned(), Lingering::Unreadable);
                    }
                }
            }
            Outcome::Unusable { reason } => {
                self.outbound.no_result(snapshot);
                self.give_up(snapshot, &reason);
            }
        }
        match (done, removed) {
            (true, true) => {
                self.queue.done(snapshot);
                // A clock that was set back can have given the name anew while we knew the old one.
                self.take_in(snapshot.to_owned());
            }
            (true, false) => self.linger(snapshot, Lingering::Done),
            (false, _) => {}
        }
    }

    fn linger(&mut self, snapshot: &str, why: Lingering) {
        self.queue.leave(snapshot);
        self.lingering.insert(snapshot.to_owned(), why);
    }

    /// Tries again to be rid of what should not be in the spool any more, and forgets what somebody took away.
    fn look_at_lingering(&mut self) {
        let config = &self.shared.config;
        let (src_dir, failed) = (&config.src_dir, &config.failed_dir);
        let queue = &mut self.queue;
        self.lingering.retain(|snapshot, why| {
            let gone = match why {
                Lingering::Unreadable => {
                    queue.again(snapshot);
                    return false;
                }
                Lingering::Done => spool::reader::remove(src_dir, snapshot).is_ok(),
                Lingering::GivenUp => {
                    let why = "given up before there was room or right to move it";
                    !src_dir.join(snapshot).exists()
                        || spool::failed::hold(src_dir, snapshot, failed, why, config.failed_limit)
                            .is_ok()
                }
            };
            if gone {
                queue.forget(snapshot);
            }
            !gone
        });
    }

    fn beside(&mut self, dispatcher: String, fault: Option<String>) {
        match fault {
            None => {
                if self.failing.remove(&dispatcher) {
                    info!(dispatcher, "works again");
                }
            }
            Some(reason) => {
                self.counts.local_store_failures += 1;
                if self.failing.insert(dispatcher.clone()) {
                    warn!(dispatcher, reason, "does not work; nothing waits for it");
                }
            }
        }
    }

    fn give_up(&mut self, snapshot: &str, reason: &str) {
        self.counts.failed_snapshots += 1;
        let config = &self.shared.config;
        let (spool, failed) = (&config.src_dir, &config.failed_dir);
        match spool::failed::hold(spool, snapshot, failed, reason, config.failed_limit) {
            Ok(gone) => {
                self.queue.done(snapshot);
                error!(snapshot, reason, failed_dir = %failed.display(), gone, "moved to failed-dir; mend it and move it back");
            }
            Err(error) => {
                error!(snapshot, reason, %error, "left in the spool; mend it elsewhere and move it back");
                self.linger(snapshot, Lingering::GivenUp);
            }
        }
    }

    /// What is done each liveness-check-interval: the word to the service manager and to Graphite.
    fn look(&mut self) {
        self.look_at_lingering();
        let now = self.clock.epoch_seconds();
        let src_dir = &self.shared.config.src_dir;
        let snapshots =
            spool::reader::list(src_dir).map(|contents| contents.snapshots).unwrap_or_default();
        let gauges = Gauges {
            spool_size: snapshots.len() as u64,
            snapshot_age_seconds: telemetry::age_seconds(
                now,
                snapshots.first().map(String::as_str),
            ),
            ..self.outbound.gauges()
        };
        self.service.status(&format!(
            "{} snapshots wait, {} metrics in the outbox, the receiver is {}",
            gauges.spool_size,
            gauges.outbox_metrics,
            if gauges.receiver_up { "up" } else { "down" }
        ));
        let timestamp = now.to_string();
        let section = telemetry::section(self.counts, gauges);
        let mut lines = Vec::new();
        plaintext::encode(&section, &self.paths, &timestamp, &mut lines);
        self.outbound.send_own(timestamp, lines);
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

impl From<outbox::Error> for Error {
    fn from(error: outbox::Error) -> Self {
        Self::Outbox(error)
    }
}
