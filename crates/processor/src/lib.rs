//! haproxystats-process: watches the spool, hands snapshots to worker processes, sees them delivered.
//!
//! The parent decides, the workers work. Its main thread makes the children and chooses what is next ([`queue`]); a thread watches
//! the spool; a keeper thread owns each worker. All of them meet in channels, none polls.

mod keeper;
mod protocol;
mod queue;
mod statistics;
pub mod worker;

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, after, bounded, never, select, unbounded};
use daemon::Clock;
use spool::watch::Watch;
use thiserror::Error;
use tracing::{debug, error, info, warn};

use crate::keeper::{Channels, Event, Shared};
use crate::protocol::Outcome;
use crate::queue::{Change, Queue, Verdict};

/// What the program is given by `bin`, since nothing below reads it by itself.
#[derive(Debug)]
pub struct Settings {
    /// The configuration.
    pub config: config::Process,
    /// The clocks.
    pub clock: Clock,
    /// This machine's name.
    pub host: String,
    /// Our own command line; workers bear the same, so that a look at the process list tells what they are.
    pub arguments: Vec<OsString>,
}

/// The program cannot run.
#[derive(Debug, Error)]
pub enum Error {
    /// The spool cannot be watched.
    #[error(transparent)]
    Watch(#[from] spool::watch::Error),
    /// The spool cannot be read.
    #[error(transparent)]
    Spool(#[from] spool::reader::Error),
    /// The system gives no thread.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] io::Error),
}

/// Names on their way from the watcher; when these wait, the watcher waits.
const FOUND_MAX: usize = 64;

/// The two ends by which a program is told to end, with the name of the signal.
#[must_use]
pub fn shutdown_channel() -> (Sender<&'static str>, Receiver<&'static str>) {
    bounded(1)
}

/// Runs until `shutdown` says a word or closes: then what the workers hold is finished, and what is not begun stays.
///
/// Call it from the main thread: children die with the thread that made them.
///
/// # Errors
///
/// The spool cannot be watched, another process reads it, or the system gives no thread.
pub fn run(settings: Settings, shutdown: &Receiver<&'static str>) -> Result<(), Error> {
    let src_dir = settings.config.src_dir.clone();
    let mut watch = Watch::start(&src_dir, settings.clock.monotonic)?;
    let _lock = spool::reader::lock(&src_dir)?;
    spool::reader::clean(&src_dir)?;
    let stopper = watch.stopper();
    let (found_sender, found) = bounded(FOUND_MAX);
    let watcher = thread::Builder::new().name("watch".into()).spawn(move || {
        while let Some(snapshot) = watch.next() {
            if found_sender.send(snapshot).is_err() {
                break;
            }
        }
    })?;
    let mut parent = Parent::new(settings, found)?;
    parent.run(shutdown);
    parent.end();
    stopper.stop();
    let _ = watcher.join();
    Ok(())
}

/// The main thread's world.
#[derive(Debug)]
struct Parent {
    shared: Arc<Shared>,
    arguments: Vec<OsString>,
    clock: Clock,
    queue: Queue,
    /// Since when a receiver is down.
    down_since: Option<Instant>,
    /// Fires when a receiver that is down is to be tried.
    retry: Receiver<Instant>,
    /// From the watcher.
    found: Receiver<String>,
    /// To the keepers: handed over only to one that is free.
    jobs: Option<Sender<String>>,
    /// From the keepers.
    events: Receiver<Event>,
    /// From the keepers.
    spawns: Receiver<Sender<io::Result<Child>>>,
    /// Dropped to tell the keepers that the program ends.
    stopping: Option<Sender<()>>,
    keepers: usize,
}

impl Parent {
    fn new(settings: Settings, found: Receiver<String>) -> Result<Self, Error> {
        let Settings { config, clock, host, arguments } = settings;
        let workers = config.workers;
        let (jobs, for_keepers) = bounded(0);
        let (event_sender, events) = unbounded();
        let (spawn_sender, spawns) = unbounded();
        let (stopping, told) = bounded(0);
        let parent = Self {
            queue: Queue::new(config.graphite.as_ref()),
            shared: Arc::new(Shared { config, host }),
            arguments,
            clock,
            down_since: None,
            retry: never(),
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

    fn run(&mut self, shutdown: &Receiver<&'static str>) {
        let config = &self.shared.config;
        info!(src_dir = %config.src_dir.display(), workers = config.workers, "watching");
        if let Some(graphite) = &config.graphite {
            info!(server = graphite.server, port = graphite.port, confirm = ?graphite.confirm, "sending to graphite");
        }
        if let Some(store) = &config.local_store {
            info!(dir = %store.dir.display(), "keeping lines in local-store");
        }
        // A channel that nobody takes from: stands in where there is nothing to hand out.
        let (nobody, _kept) = bounded(0);
        let no_names = never();
        loop {
            let next = self.queue.next().map(str::to_owned);
            let jobs = self.jobs.as_ref().filter(|_| next.is_some()).unwrap_or(&nobody);
            let found = if self.queue.has_room() { &self.found } else { &no_names };
            select! {
                recv(shutdown) -> signal => {
                    let signal = signal.unwrap_or("the caller");
                    info!(signal, waiting = self.queue.len(), "ending: finishing what the workers hold");
                    return;
                }
                recv(self.spawns) -> request => if let Ok(reply) = request {
                    let _ = reply.send(self.spawn());
                },
                recv(self.events) -> event => if let Ok(event) = event {
                    self.take(event);
                },
                recv(found) -> name => if let Ok(name) = name {
                    self.take_in(name);
                },
                recv(self.retry) -> _ => {
                    self.retry = never();
                    self.queue.pause_over();
                }
                send(jobs, next.clone().unwrap_or_default()) -> sent => if let (Ok(()), Some(next)) = (sent, next) {
                    self.queue.begun(&next);
                },
            }
        }
    }

    /// Waits until the keepers have finished what they hold and their workers are gone.
    fn end(&mut self) {
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

    fn take_in(&mut self, snapshot: String) {
        // A second event of one that is done by now.
        if self.shared.config.src_dir.join(&snapshot).is_dir() && self.queue.add(snapshot.clone()) {
            debug!(snapshot, "found");
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Finished { snapshot, outcome } => self.finished(&snapshot, outcome),
            Event::Died { snapshot, death } => match self.queue.died(&snapshot, death) {
                Verdict::Again => info!(snapshot, "doing the snapshot again"),
                Verdict::SetAside => error!(
                    snapshot,
                    "left in the spool and not touched again until the next start: its workers keep dying; look at \
                     its files, and move it away"
                ),
            },
            Event::GivenUp { snapshot } => self.queue.wait_again(&snapshot),
            Event::Ended => self.keepers -= 1,
        }
    }

    fn finished(&mut self, snapshot: &str, outcome: Outcome) {
        match outcome {
            Outcome::Delivered => {
                if self.queue.delivered(snapshot) == Change::CameUp {
                    let since = self.down_since.take();
                    let now = (self.clock.monotonic)();
                    let seconds = since.map(|since| now.saturating_duration_since(since).as_secs());
                    info!(
                        waiting = self.queue.len(),
                        seconds, "the receiver is back, going on oldest first"
                    );
                    self.retry = never();
                }
            }
            Outcome::Undelivered { dispatcher, reason } => {
                let (change, pause) = self.queue.undelivered(snapshot);
                let waiting = self.queue.len();
                if change == Change::WentDown {
                    self.down_since = Some((self.clock.monotonic)());
                    warn!(
                        dispatcher,
                        reason, waiting, "not delivered; snapshots wait in the spool until it is"
                    );
                } else {
                    debug!(dispatcher, reason, waiting, "still not delivered");
                }
                if let Some(pause) = pause {
                    self.retry = after(pause);
                }
            }
            Outcome::Gone => {
                warn!(snapshot, "somebody took the snapshot away, going on");
                self.queue.gone(snapshot);
            }
            Outcome::Unusable { reason } => {
                error!(
                    snapshot,
                    reason,
                    "left in the spool and not touched again until the next start; look at it, and move it away"
                );
                self.queue.set_aside(snapshot);
            }
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
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
    }
}
