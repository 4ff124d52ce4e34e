//! A child process: it carries out the parent's orders and decides nothing. Only a send child works
//! on several orders at once.
//!
//! The first message on its standard input, a socket, has its role and its configuration. A child
//! ends when that socket is closed, and dies with its parent at any moment (PR_SET_PDEATHSIG).
//! SIGTERM ends it after the current order; the parent replaces it.

mod files;
pub(crate) mod fold;
mod outbox;
pub(crate) mod send;
mod spool;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use daemon::{Clock, remedy, shutdown};
use rustix::net::{RecvFlags, SendFlags};
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};
use thiserror::Error;

use crate::channel::{Channel, OrderMessage, ReplyMessage, SetupMessage};
use crate::core::{Order, OrderId, Reply, Role, StartFailure};

/// The environment variable that makes a process a child; its value is the parent's process number.
pub const ROLE_VARIABLE: &str = "HAPROXYSTATS_WORKER_OF";

/// A child cannot go on.
#[derive(Debug, Error)]
pub enum Error {
    /// The socket to the parent.
    #[error("cannot speak with the parent: {0}; its log says why it ended")]
    Channel(#[from] io::Error),
    /// The system refuses a call that the start of a child needs.
    #[error("cannot start: {doing}: {source}{}", remedy::of(source))]
    Start {
        /// The step that failed.
        doing: &'static str,
        /// The system's error.
        source: io::Error,
    },
    /// Another directory has taken the place of the one that this child has locked.
    #[error("{} was removed or replaced, looking at it anew", .0.display())]
    Replaced(PathBuf),
    /// An order for another role.
    #[error("the order {0} is not for this child; please report this")]
    WrongOrder(String),
}

/// Carries out the orders of a role.
pub(super) trait OrderHandler {
    /// Carries out an order. It may come with a batch, and its reply may have one.
    fn handle(
        &mut self,
        order: Order,
        batch: Option<OwnedFd>,
    ) -> Result<(Reply, Option<OwnedFd>), Error>;
}

/// The child's end of the channel.
#[derive(Debug, Clone)]
pub(super) struct ParentChannel(Arc<Channel>);

impl ParentChannel {
    /// Sends a reply, or a message that answers no order. Waits while the socket is full.
    pub(super) fn send(
        &self,
        order: Option<OrderId>,
        reply: Reply,
        batch: Option<&OwnedFd>,
    ) -> io::Result<()> {
        let message = ReplyMessage { order, reply };
        self.0.send(&message, batch.map(AsFd::as_fd), SendFlags::empty())
    }
}

/// Runs a child until its parent closes the channel. `parent` is the parent's process number, from
/// [`ROLE_VARIABLE`]; `start_logging` is called once the level is known.
///
/// # Errors
///
/// The channel breaks, or the system refuses a call that a child needs.
pub fn run(
    parent: Option<u32>,
    clock: Clock,
    start_logging: impl FnOnce(config::LogLevel),
) -> Result<(), Error> {
    let start = |doing| move |source| Error::Start { doing, source };
    let ending = shutdown::child_signals().map_err(start("catching signals"))?;
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|errno| start("asking to die with the parent")(errno.into()))?;
    let expected = parent.and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if getppid() != expected {
        // The parent died before this process asked to die with it.
        return Ok(());
    }
    let stdin = io::stdin().as_fd().try_clone_to_owned().map_err(start("taking the socket"))?;
    let parent = ParentChannel(Arc::new(Channel::new(stdin)));
    let Some((setup, _)) = parent.0.receive::<SetupMessage>(RecvFlags::empty())? else {
        return Ok(());
    };
    let SetupMessage { role, config, host } = setup;
    start_logging(config.loglevel);
    match role {
        // The whole child runs there: else each fold would wake another thread and wait for it.
        Role::Fold(_) => ::fold::on_polars_thread(move || {
            let forms = fold::name_forms(&config.receivers);
            serve(&mut fold::FoldChild::new(&config, forms, &host, clock), &parent, &ending)
        }),
        Role::Send(index) => match send::SendChild::several(&config, index, &host, clock) {
            Ok(children) => send::serve_together(children, &parent, &ending),
            Err(reason) => fail(&parent, StartFailure { reason, is_configuration: true }),
        },
        Role::Outbox => match outbox::OutboxChild::open(&config, &parent)? {
            Ok(mut child) => serve(&mut child, &parent, &ending),
            Err(reason) => fail(&parent, StartFailure { reason, is_configuration: false }),
        },
        Role::Spool => match spool::SpoolChild::start(&config, clock, &parent) {
            Ok(mut child) => serve(&mut child, &parent, &ending),
            Err(failure) => fail(&parent, failure),
        },
    }
}

/// Reports that this child can never start, and waits until the parent ends it.
fn fail(parent: &ParentChannel, failure: StartFailure) -> Result<(), Error> {
    parent.send(None, Reply::StartFailure(failure), None)?;
    while parent.0.receive::<OrderMessage>(RecvFlags::empty())?.is_some() {}
    Ok(())
}

fn serve(
    child: &mut impl OrderHandler,
    parent: &ParentChannel,
    ending: &shutdown::ChildSignals,
) -> Result<(), Error> {
    parent.send(None, Reply::Ready, None)?;
    while !ending.wait_begins() {
        let Some((message, batch)) = parent.0.receive::<OrderMessage>(RecvFlags::empty())? else {
            break;
        };
        ending.work_begins();
        let is_continue = message.order == Order::Continue;
        let (reply, batch) = child.handle(message.order, batch)?;
        if !is_continue {
            parent.send(Some(message.id), reply, batch.as_ref())?;
        }
    }
    Ok(())
}
