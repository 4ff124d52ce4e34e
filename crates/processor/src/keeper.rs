//! A keeper: the thread of the parent that owns one worker process. It gives it one job at a time,
//! hears when it dies, and asks for another.
//!
//! The child itself is made by the parent's main thread, on request: the signal that ends a child
//! with its parent follows the *thread* that made it. A snapshot leaves the spool here, once every
//! dispatcher that must have it has it. What a keeper notices is logged by the parent, which knows
//! what is new.

use std::io::{self, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{
    Receiver, RecvTimeoutError, Sender, TryRecvError, after, bounded, never, select,
};
use daemon::{Backoff, remedy};
use receivers::outbox::Entry;
use rustix::process::Signal;
use spool::reader::{Leftovers, Removal};
use tracing::{debug, error, info};

use crate::gate::Mode;
use crate::protocol::{self, Findings, Order, Outcome, Reply};
use crate::queue::Death;
use crate::replay::Sent;

/// What the keepers have in common.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: config::Process,
    pub(crate) host: String,
}

/// A keeper's ends of the channels.
#[derive(Debug, Clone)]
pub(crate) struct Channels {
    /// Snapshots to do; the parent holds the other end and closes it at the end.
    pub(crate) jobs: Receiver<Job>,
    /// What became of them; the parent reads.
    pub(crate) events: Sender<Event>,
    /// Requests for a child; the parent's main thread answers.
    pub(crate) spawns: Sender<Sender<io::Result<Child>>>,
    /// Never sends; closed by the parent when the program is to end.
    pub(crate) stopping: Receiver<()>,
}

/// A snapshot to do, and on which road.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) snapshot: String,
    pub(crate) mode: Mode,
}

impl Job {
    /// Stands where there is no job, and is never handed out.
    pub(crate) const fn none() -> Self {
        Self { snapshot: String::new(), mode: Mode::Direct }
    }
}

/// A worker that is gone and is replaced.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Loss {
    pub(crate) index: usize,
    pub(crate) pid: u32,
    pub(crate) death: Death,
}

/// Whether a snapshot that is done has left the spool.
#[derive(Debug)]
pub(crate) enum Removed {
    Deleted,
    /// Under a hidden name, and cannot be deleted now.
    Hidden {
        /// Where, and why.
        reason: String,
    },
    /// It stands where it stood.
    Not {
        /// Why.
        reason: String,
    },
}

/// What the parent's threads tell its main thread.
#[derive(Debug)]
pub(crate) enum Event {
    /// A job came to an end.
    Finished {
        /// The snapshot.
        snapshot: String,
        /// How.
        outcome: Outcome,
        /// What its worker found.
        findings: Findings,
        /// Whether the snapshot has left the spool.
        removed: Removed,
    },
    /// A worker died over a snapshot.
    Died {
        /// The snapshot.
        snapshot: String,
        /// Which worker, how it died, and why it was ended where we ended it.
        loss: Loss,
    },
    /// The receiver took so long over a batch that the worker was ended.
    TooSlow {
        /// The snapshot; it stays in the spool.
        snapshot: String,
    },
    /// The sender's last word.
    SenderEnded,
    /// A job was given up because the program ends.
    GivenUp {
        /// The snapshot; it stays in the spool.
        snapshot: String,
    },
    /// A dispatcher that nothing waits for does not work, or works again.
    Beside {
        /// Its name.
        dispatcher: String,
        /// What is wrong with it.
        fault: Option<String>,
    },
    /// A worker without a job died.
    IdleDied {
        /// Which, and how.
        loss: Loss,
    },
    /// A worker could not be started; it is tried again.
    NotStarted {
        /// Which.
        index: usize,
        /// Why.
        reason: String,
    },
    /// A worker has taken its configuration.
    Started {
        /// Which.
        index: usize,
    },
    /// Hidden directories were deleted, or not.
    Cleaned {
        /// What is left.
        leftovers: Leftovers,
        /// Directories that could not be looked at.
        unread: usize,
    },
    /// A batch of the outbox was tried.
    Replayed {
        /// Which.
        entry: Entry,
        /// How it went.
        sent: Sent,
    },
    /// Lines about ourselves were tried.
    OwnSent {
        /// How it went.
        sent: Sent,
    },
    /// A keeper's last word.
    Ended,
}

/// Pauses before a worker that died is replaced.
const REPLACE_FIRST: Duration = Duration::from_millis(50);
const REPLACE_LONGEST: Duration = Duration::from_secs(10);
/// How long a worker may take to be ready, which takes milliseconds.
const START_LIMIT: Duration = Duration::from_secs(30);
/// How long a snapshot may take that is worked on when the program is to end.
const FOLD_GRACE: Duration = Duration::from_secs(5);
/// How long an idle worker has to end when its stdin is closed.
const END_GRACE: Duration = Duration::from_secs(1);

/// Runs a keeper until its jobs end.
pub(crate) fn run(index: usize, shared: &Arc<Shared>, channels: &Channels) {
    // However this thread ends, the parent hears of it.
    let _last_word = LastWord(channels.events.clone());
    let mut backoff = Backoff::new(REPLACE_FIRST, 2.0, REPLACE_LONGEST);
    while let Some(mut worker) = Worker::obtain(index, shared, channels, &mut backoff) {
        let end = worker.serve(channels, &mut backoff);
        worker.finish(end);
        if end == End::NoMoreJobs {
            break;
        }
        if pause(backoff.pause(), &channels.stopping) == Stop::Stopping {
            break;
        }
    }
}

struct LastWord(Sender<Event>);

impl Drop for LastWord {
    fn drop(&mut self) {
        let _ = self.0.send(Event::Ended);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    NoMoreJobs,
    Died,
}

#[derive(Debug, PartialEq, Eq)]
enum Stop {
    GoOn,
    Stopping,
}

/// A child with its pipes.
#[derive(Debug)]
struct Worker {
    index: usize,
    shared: Arc<Shared>,
    child: Child,
    orders: Option<ChildStdin>,
    /// Closed when the child's stdout ends, which is how we hear that it died.
    replies: Receiver<Reply>,
}

impl Worker {
    /// A worker that has its configuration; tries until there is one or the program ends.
    fn obtain(
        index: usize,
        shared: &Arc<Shared>,
        channels: &Channels,
        backoff: &mut Backoff,
    ) -> Option<Self> {
        loop {
            let (reply, answer) = bounded(1);
            channels.spawns.send(reply).ok()?;
            let begun = answer.recv().ok()?.and_then(|child| Self::begin(index, shared, child));
            let ready = begun.and_then(|worker| worker.await_ready(&channels.stopping));
            match ready {
                Err(_) if channels.stopping.try_recv() == Err(TryRecvError::Disconnected) => {
                    return None;
                }
                Ok(worker) => {
                    debug!(worker = index, pid = worker.child.id(), "worker started");
                    let _ = channels.events.send(Event::Started { index });
                    return Some(worker);
                }
                Err(error) => {
                    let reason = format!("{error}{}", remedy::of(&error));
                    let _ = channels.events.send(Event::NotStarted { index, reason });
                }
            }
            if pause(backoff.pause(), &channels.stopping) == Stop::Stopping {
                return None;
            }
        }
    }

    fn begin(index: usize, shared: &Arc<Shared>, mut child: Child) -> io::Result<Self> {
        match Self::set_up(index, shared, &mut child) {
            Ok((orders, replies)) => {
                let shared = Arc::clone(shared);
                Ok(Self { index, shared, child, orders: Some(orders), replies })
            }
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(error)
            }
        }
    }

    /// Until it has taken its configuration it gets no job: what ends it before says nothing about a snapshot.
    fn await_ready(mut self, stopping: &Receiver<()>) -> io::Result<Self> {
        let why = select! {
            recv(self.replies) -> reply => match reply {
                Ok(Reply::Ready) => return Ok(self),
                Ok(_) => "it did not say first that it is ready".to_owned(),
                Err(_) => format!("it ended before it was ready ({:?})", self.death()),
            },
            recv(stopping) -> _ => "the program ends".to_owned(),
            recv(after(START_LIMIT)) -> _ => format!("it was not ready within {START_LIMIT:?}"),
        };
        let _ = self.child.kill();
        let _ = self.child.wait();
        Err(io::Error::other(why))
    }

    /// Begins to listen to a child and gives it its configuration.
    fn set_up(
        index: usize,
        shared: &Shared,
        child: &mut Child,
    ) -> io::Result<(ChildStdin, Receiver<Reply>)> {
        let missing = || io::Error::other("the child has no pipes");
        let mut orders = child.stdin.take().ok_or_else(missing)?;
        let stdout = child.stdout.take().ok_or_else(missing)?;
        let (sender, replies) = bounded(1);
        thread::Builder::new().name(format!("replies-{index}")).spawn(move || {
            let mut stdout = BufReader::new(stdout);
            loop {
                match protocol::receive(&mut stdout) {
                    Ok(Some(reply)) => {
                        if sender.send(reply).is_err() {
                            break;
                        }
                    }
                    Ok(None) => break,
                    Err(error) => {
                        error!(worker = index, %error, "the worker said what is no reply");
                        break;
                    }
                }
            }
        })?;
        let config = Box::new(shared.config.clone());
        protocol::send(&mut orders, &Order::Begin { config, host: shared.host.clone() })?;
        Ok((orders, replies))
    }

    /// Gives it jobs until there are no more, or it dies.
    fn serve(&mut self, channels: &Channels, backoff: &mut Backoff) -> End {
        loop {
            select! {
                recv(channels.jobs) -> job => {
                    let Ok(job) = job else { return End::NoMoreJobs };
                    let event = self.work(job, channels);
                    let end = match &event {
                        Event::Finished { .. } => {
                            backoff.reset();
                            None
                        }
                        Event::GivenUp { .. } => Some(End::NoMoreJobs),
                        _ => Some(End::Died),
                    };
                    if channels.events.send(event).is_err() {
                        return End::NoMoreJobs;
                    }
                    if let Some(end) = end {
                        return end;
                    }
                }
                // Nothing is said without a job: this is the end of its stdout.
                recv(self.replies) -> _ => {
                    let loss = self.loss();
                    let _ = channels.events.send(Event::IdleDied { loss });
                    return End::Died;
                }
            }
        }
    }

    /// One job, from the order to the acknowledgement.
    fn work(&mut self, Job { snapshot, mode }: Job, channels: &Channels) -> Event {
        let Channels { events, stopping, .. } = channels;
        let order = Order::Job { snapshot: snapshot.clone(), mode };
        let sent = self.orders.as_mut().map(|orders| protocol::send(orders, &order));
        if !matches!(sent, Some(Ok(()))) {
            return self.died(snapshot);
        }
        let mut folded = false;
        let mut ending = false;
        let mut stopping = stopping.clone();
        let mut limit = after(self.patience(false));
        loop {
            select! {
                recv(self.replies) -> reply => {
                    match reply {
                        Ok(Reply::Ready) => {}
                        Ok(Reply::Folded) => folded = true,
                        Ok(Reply::Beside { dispatcher, fault }) => {
                            let _ = events.send(Event::Beside { dispatcher, fault });
                        }
                        Ok(Reply::Finished { outcome, findings }) => {
                            return self.finished(snapshot, outcome, findings);
                        }
                        Err(_) => return self.died(snapshot),
                    }
                    // The end has one limit, whatever is said on the way.
                    if !ending {
                        limit = after(self.patience(folded));
                    }
                }
                recv(stopping) -> _ => {
                    stopping = never();
                    ending = true;
                    limit = after(self.grace());
                }
                recv(limit) -> _ => {
                    let _ = self.child.kill();
                    // What it has stored is in its place before anybody looks for it.
                    let _ = self.child.wait();
                    if ending {
                        info!(snapshot, "given up, since the program ends; it stays in the spool");
                        return Event::GivenUp { snapshot };
                    }
                    if folded && mode == Mode::Direct {
                        return Event::TooSlow { snapshot };
                    }
                    let (index, pid) = (self.index, self.child.id());
                    return Event::Died { snapshot, loss: Loss { index, pid, death: Death::Hung } };
                }
            }
        }
    }

    /// How long the worker may say nothing.
    fn patience(&self, folded: bool) -> Duration {
        let config = &self.shared.config;
        // Waiting for a receiver is no hang: its own limits come on top.
        let graphite = config.graphite.as_ref().filter(|_| folded);
        let limits = graphite.map(|g| g.connect_timeout + g.write_timeout + g.confirm_timeout);
        config.job_timeout + limits.unwrap_or_default()
    }

    /// How long a worker may go on once the program is to end: enough to fold a snapshot and to hand it to a receiver that takes it.
    fn grace(&self) -> Duration {
        let config = &self.shared.config;
        let limits = config.graphite.as_ref().map(|g| g.connect_timeout + g.write_timeout);
        config.job_timeout.min(FOLD_GRACE) + limits.unwrap_or_default()
    }

    fn finished(&self, snapshot: String, outcome: Outcome, findings: Findings) -> Event {
        let done = matches!(outcome, Outcome::Delivered | Outcome::Stored { .. });
        let removed = if done { self.remove(&snapshot) } else { Removed::Deleted };
        Event::Finished { snapshot, outcome, findings, removed }
    }

    fn remove(&self, snapshot: &str) -> Removed {
        match spool::reader::remove(&self.shared.config.src_dir, snapshot) {
            Ok(Removal::Deleted) => Removed::Deleted,
            Ok(Removal::Hidden { path, source }) => {
                Removed::Hidden { reason: format!("{path:?}: {source}{}", remedy::of(&source)) }
            }
            Err(error) => Removed::Not { reason: error.to_string() },
        }
    }

    fn died(&mut self, snapshot: String) -> Event {
        Event::Died { snapshot, loss: self.loss() }
    }

    fn loss(&mut self) -> Loss {
        let death = self.death();
        Loss { index: self.index, pid: self.child.id(), death }
    }

    /// Waits for the child, whose stdout has ended, and tells who ended it.
    fn death(&mut self) -> Death {
        self.orders = None;
        // It has ended, unless it said what is no reply; then it must not be waited for.
        let _ = self.child.kill();
        let Ok(status) = self.child.wait() else { return Death::Crashed };
        match status.signal() {
            // Its own kill above comes too late for a process that has ended.
            None if status.success() => Death::Asked,
            Some(signal) if signal == Signal::KILL.as_raw() || signal == Signal::TERM.as_raw() => {
                Death::Killed
            }
            _ => Death::Crashed,
        }
    }

    /// Ends the child: in order where it has no more jobs.
    fn finish(mut self, end: End) {
        self.orders = None;
        if end == End::NoMoreJobs {
            // Its stdout ends when it does; nothing more is said.
            while self.replies.recv_timeout(END_GRACE).is_ok() {}
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn pause(how_long: Duration, stopping: &Receiver<()>) -> Stop {
    match stopping.recv_timeout(how_long) {
        Err(RecvTimeoutError::Timeout) => Stop::GoOn,
        Ok(()) | Err(RecvTimeoutError::Disconnected) => Stop::Stopping,
    }
}

/// Where the executable is that a worker re-executes: the one we run, even after an upgrade has replaced the file.
pub(crate) fn executable() -> PathBuf {
    PathBuf::from("/proc/self/exe")
}
