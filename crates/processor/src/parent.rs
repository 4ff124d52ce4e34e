//! The shell around the core: it starts children, carries messages and descriptors, and waits for
//! all children in one poll loop.
//!
//! It works on no disk and no network, so nothing that hangs can stop it. Only this thread starts
//! children, because a child dies with the thread that started it.

use std::collections::{HashMap, VecDeque};
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use daemon::{Clock, Service, remedy};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tracing::{debug, error, info, warn};

use crate::channel::{Channel, OrderMessage, ReplyMessage, SetupMessage};
use crate::child::ROLE_VARIABLE;
use crate::core::{
    Action, ChildId, Core, Death, Descriptor, Event, Level, Notice, Now, Order, OrderId, Role,
    StartFailure,
};
use crate::monitor::Monitor;
use crate::{Error, Shutdown};

/// The file that this process runs, also after an upgrade has replaced it.
const EXECUTABLE: &str = "/proc/self/exe";
/// For glibc (mallopt(3)): the next snapshot needs the memory of this one again, so a fold child
/// keeps free pieces up to the first size, and as much free memory as the second. Another libc
/// ignores these.
const KEPT_MMAP_BYTES: &str = "33554432";
const KEPT_BYTES: &str = "268435456";
/// Messages of one child that are received at once, before those of other children.
const MESSAGES_MAX: usize = 64;

/// A running child.
#[derive(Debug)]
struct Process {
    child: Child,
    /// `None` once either side has closed it.
    channel: Option<Channel>,
    exit: OwnedFd,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Parent {
    core: Core,
    monitor: Option<Monitor>,
    clock: Clock,
    service: Service,
    config: config::Process,
    host: String,
    arguments: Vec<OsString>,
    children: HashMap<ChildId, Process>,
    descriptors: HashMap<Descriptor, OwnedFd>,
    last_descriptor: u64,
    events: VecDeque<Event>,
    end: Option<Result<(), StartFailure>>,
    /// A signal has come, and its pipe must not be polled again, because it stays readable.
    is_ending: bool,
}

impl Parent {
    pub(crate) fn new(settings: crate::Settings) -> Result<Self, Error> {
        let crate::Settings { config, pull_interval, clock, service, host, arguments } = settings;
        let core = Core::new(crate::settings::of_core(&config), now(clock));
        let listen = config.monitor_listen.as_ref();
        let monitor =
            listen.map(|listen| Monitor::start(listen, pull_interval, clock, &core)).transpose()?;
        Ok(Self {
            core,
            monitor,
            clock,
            service,
            config,
            host,
            arguments,
            children: HashMap::new(),
            descriptors: HashMap::new(),
            last_descriptor: 0,
            events: VecDeque::from([Event::Tick]),
            end: None,
            is_ending: false,
        })
    }

    /// Runs until the core ends the program.
    pub(crate) fn run(mut self, shutdown: &Shutdown) -> Result<(), Error> {
        let alive_interval = self.service.alive_interval();
        let mut next_alive = alive_interval.map(|interval| self.monotonic() + interval);
        loop {
            while let Some(event) = self.events.pop_front() {
                for action in self.core.step(now(self.clock), event) {
                    self.act(action);
                }
            }
            if let Some(monitor) = &self.monitor {
                monitor.publish(&self.core);
            }
            if let Some(end) = self.end.take() {
                return end.map_err(Error::from);
            }
            let moment = self.monotonic();
            if let (Some(at), Some(interval)) = (next_alive, alive_interval)
                && moment >= at
            {
                self.service.alive();
                next_alive = Some(moment + interval);
            }
            let deadline = [self.core.deadline(), next_alive].into_iter().flatten().min();
            self.wait(shutdown, deadline.map(|at| at.saturating_duration_since(moment)))?;
        }
    }

    fn monotonic(&self) -> Instant {
        (self.clock.monotonic)()
    }

    /// Waits until a child sends a message or ends, a signal comes, or the limit is over.
    fn wait(&mut self, shutdown: &Shutdown, limit: Option<Duration>) -> Result<(), Error> {
        let mut ids = Vec::with_capacity(self.children.len());
        // With no events, poll ignores the descriptor.
        let wanted = if self.is_ending { PollFlags::empty() } else { PollFlags::IN };
        let mut waited = vec![PollFd::new(&shutdown.wake, wanted)];
        for (id, process) in &self.children {
            waited.push(PollFd::new(&process.exit, PollFlags::IN));
            ids.push((*id, true));
            if let Some(channel) = &process.channel {
                waited.push(PollFd::new(channel, PollFlags::IN));
                ids.push((*id, false));
            }
        }
        let limit = limit.map(|limit| Timespec {
            tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: limit.subsec_nanos().into(),
        });
        match poll(&mut waited, limit.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::Wait(errno.into())),
        }
        let is_ready = |fd: &PollFd<'_>| !fd.revents().is_empty();
        let has_signal = waited.first().is_some_and(is_ready);
        let ready: Vec<(ChildId, bool)> = waited
            .iter()
            .skip(1)
            .zip(&ids)
            .filter(|(fd, _)| is_ready(fd))
            .map(|(_, id)| *id)
            .collect();
        drop(waited);
        if has_signal && let Some(signal) = shutdown.take() {
            self.is_ending = true;
            self.events.push_back(Event::Shutdown { signal });
        }
        // The messages of a child come before its end.
        for (id, _) in ready.iter().filter(|(_, is_exit)| !is_exit) {
            self.receive(*id);
        }
        for (id, _) in ready.iter().filter(|(_, is_exit)| *is_exit) {
            self.reap(*id);
        }
        if self.events.is_empty() {
            self.events.push_back(Event::Tick);
        }
        Ok(())
    }

    /// Receives the messages of a child.
    fn receive(&mut self, id: ChildId) {
        for _ in 0..MESSAGES_MAX {
            let Some(process) = self.children.get_mut(&id) else { return };
            let Some(channel) = &process.channel else { return };
            match channel.receive::<ReplyMessage>(RecvFlags::DONTWAIT) {
                Ok(Some((ReplyMessage { order, reply }, batch))) => {
                    let descriptor = batch.map(|batch| self.add_descriptor(batch));
                    self.events.push_back(Event::Reply { child: id, order, reply, descriptor });
                }
                Ok(None) => {
                    process.channel = None;
                    return;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    let pid = process.child.id();
                    error!(pid, %error, "a child sent a message that cannot be read, ending it");
                    process.channel = None;
                    self.kill(id);
                    return;
                }
            }
        }
    }

    fn add_descriptor(&mut self, batch: OwnedFd) -> Descriptor {
        self.last_descriptor += 1;
        let descriptor = Descriptor(self.last_descriptor);
        self.descriptors.insert(descriptor, batch);
        descriptor
    }

    /// Receives the last messages of a child, and the status with which it ended.
    fn reap(&mut self, id: ChildId) {
        self.receive(id);
        let Some(process) = self.children.get_mut(&id) else { return };
        let death = match process.child.try_wait() {
            Ok(None) => return,
            Ok(Some(status)) => death(status),
            Err(error) => {
                warn!(%error, "cannot learn how a child ended");
                Death::Crashed
            }
        };
        self.children.remove(&id);
        self.events.push_back(Event::Ended { child: id, death });
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Start { child, role } => self.start(child, role),
            Action::Order { child, id, order, descriptor } => {
                self.order(child, id, order, descriptor);
            }
            Action::Hangup(child) => {
                if let Some(process) = self.children.get_mut(&child) {
                    process.channel = None;
                }
            }
            Action::Kill(child) => self.kill(child),
            Action::Close(descriptor) => {
                self.descriptors.remove(&descriptor);
            }
            Action::Log(notice) => log(&notice),
            Action::Ready => self.service.ready(),
            Action::Status(line) => self.service.status(&line),
            Action::Stopping => self.service.stopping(),
            Action::End(result) => self.end = Some(result),
        }
    }

    fn start(&mut self, id: ChildId, role: Role) {
        let event = match self.spawn(role) {
            Ok(process) => {
                let pid = process.child.id();
                self.children.insert(id, process);
                Event::Started { child: id, pid }
            }
            Err(error) => {
                let reason = format!("{error}{}", remedy::of(&error));
                Event::SpawnFailed { child: id, reason }
            }
        };
        self.events.push_back(event);
    }

    fn spawn(&self, role: Role) -> io::Result<Process> {
        let (channel, theirs) = Channel::pair()?;
        let mut arguments = self.arguments.iter();
        let mut command = Command::new(EXECUTABLE);
        let own_name = arguments.next().cloned().unwrap_or_default();
        // A worker has the command line of the program, as checks that count processes expect.
        command.arg0(match role {
            Role::Fold(_) => own_name,
            Role::Send(index) => {
                let receiver = self.config.receivers.get(index);
                let name = receiver.map(|receiver| receiver.name.to_string());
                format!("haproxystats-send-{}", name.unwrap_or_default()).into()
            }
            Role::Outbox => "haproxystats-outbox".into(),
            Role::Spool => "haproxystats-spool".into(),
        });
        command
            .args(arguments)
            .env(ROLE_VARIABLE, std::process::id().to_string())
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null());
        match role {
            // Several fold children run at once, so polars needs no threads. It reads this once.
            Role::Fold(_) => command
                .env("POLARS_MAX_THREADS", "1")
                .env("MALLOC_MMAP_THRESHOLD_", KEPT_MMAP_BYTES)
                .env("MALLOC_TRIM_THRESHOLD_", KEPT_BYTES),
            // Each arena would keep the largest amount of memory that its thread ever needed.
            Role::Send(_) => command.env("MALLOC_ARENA_MAX", "1"),
            Role::Outbox | Role::Spool => &mut command,
        };
        let child = command.spawn()?;
        let mut process = match exit_of(&child) {
            Ok(exit) => Process { child, channel: None, exit },
            Err(error) => {
                end(child);
                return Err(error);
            }
        };
        let setup = SetupMessage { role, config: self.config.clone(), host: self.host.clone() };
        if let Err(error) = channel.send(&setup, None, SendFlags::DONTWAIT) {
            end(process.child);
            return Err(error);
        }
        process.channel = Some(channel);
        Ok(process)
    }

    fn order(&mut self, id: ChildId, order_id: OrderId, order: Order, batch: Option<Descriptor>) {
        let Some(process) = self.children.get(&id) else { return };
        let Some(channel) = &process.channel else { return };
        let batch = batch.and_then(|batch| self.descriptors.get(&batch)).map(AsFd::as_fd);
        let message = OrderMessage { id: order_id, order };
        let sent = channel.send(&message, batch, SendFlags::DONTWAIT);
        if let Err(error) = &sent
            && error.kind() == io::ErrorKind::BrokenPipe
        {
            // The child takes no more orders, because it ends after the open ones.
            debug!(pid = process.child.id(), "a child that ends takes no order");
        } else if let Err(error) = sent {
            // The child has ended or does not read. The event of its end follows.
            debug!(pid = process.child.id(), %error, "a child takes no order, ending it");
            self.kill(id);
        }
    }

    fn kill(&mut self, id: ChildId) {
        if let Some(process) = self.children.get_mut(&id)
            && let Err(error) = process.child.kill()
        {
            // The child has ended by itself.
            debug!(pid = process.child.id(), %error, "a child cannot be killed");
        }
    }
}

/// Ends a child that could not be set up. It waits for its first message, so it ends at once.
fn end(mut child: Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// A descriptor that becomes readable when the child ends.
fn exit_of(child: &Child) -> io::Result<OwnedFd> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| io::Error::other("the child has no process number"))?;
    Ok(pidfd_open(pid, PidfdFlags::empty())?)
}

fn death(status: ExitStatus) -> Death {
    match (status.code(), status.signal()) {
        (Some(0), _) => Death::Terminated,
        (_, Some(9)) => Death::Killed,
        _ => Death::Crashed,
    }
}

fn now(clock: Clock) -> Now {
    Now { monotonic: (clock.monotonic)(), epoch_seconds: clock.epoch_seconds() }
}

fn log(notice: &Notice) {
    match notice.level {
        Level::Debug => debug!("{notice}"),
        Level::Info => info!("{notice}"),
        Level::Warning => warn!("{notice}"),
        Level::Error => error!("{notice}"),
    }
}
