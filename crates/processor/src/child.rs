//! A child process: it does what the parent orders and decides nothing. Only a send child does
//! several orders at once.
//!
//! It gets its role and its configuration as the first message on its standard input, a socket. It
//! ends with that socket, and dies with its parent whatever it is doing (PR_SET_PDEATHSIG). SIGTERM
//! ends it after the order in hand; its parent replaces it.

mod fold;
mod outbox;
mod send;
mod spool;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use daemon::{Clock, remedy, shutdown};
use rustix::net::{RecvFlags, SendFlags};
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};
use thiserror::Error;

use crate::channel::{Begin, Channel, OrderMessage, ReplyMessage};
use crate::core::{Order, OrderId, Reply, Role};

/// The environment variable that makes a process a child; its value is the parent's process number.
pub const ROLE_VARIABLE: &str = "HAPROXYSTATS_WORKER_OF";

/// A child cannot go on.
#[derive(Debug, Error)]
pub enum Error {
    /// The socket to the parent.
    #[error("cannot speak with the parent: {0}; its log says why it ended")]
    Channel(#[from] io::Error),
    /// The system refuses what a child needs at its start.
    #[error("cannot start: {doing}: {source}{}", remedy::of(source))]
    Start {
        /// What was tried.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The directory that this child has locked is another one now.
    #[error("{} was removed or replaced, looking at it anew", .0.display())]
    Replaced(PathBuf),
    /// An order that this child cannot have.
    #[error("the order {0} is not for this child; please report this")]
    WrongOrder(String),
}

/// What a role makes of its orders.
pub(super) trait Work {
    /// Does one order; the descriptor is its batch, and the reply may carry one too.
    fn work(
        &mut self,
        order: Order,
        batch: Option<OwnedFd>,
    ) -> Result<(Reply, Option<OwnedFd>), Error>;
}

/// The child's end of the channel.
#[derive(Debug, Clone)]
pub(super) struct Parent(Arc<Channel>);

impl Parent {
    /// Says something; waits while the parent is busy.
    pub(super) fn say(
        &self,
        order: Option<OrderId>,
        reply: Reply,
        batch: Option<&OwnedFd>,
    ) -> io::Result<()> {
        let message = ReplyMessage { order, reply };
        self.0.send(&message, batch.map(AsFd::as_fd), SendFlags::empty())
    }
}

/// Runs a child until its parent is done with it. `parent` is the process that it belongs to, from
/// [`ROLE_VARIABLE`]; `start_logging` is called once the level is known.
///
/// # Errors
///
/// The channel breaks, or the system refuses what a child needs.
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
        // It died before we asked to die with it.
        return Ok(());
    }
    let stdin = io::stdin().as_fd().try_clone_to_owned().map_err(start("taking the socket"))?;
    let parent = Parent(Arc::new(Channel::new(stdin)));
    let Some((begin, _)) = parent.0.receive::<Begin>(RecvFlags::empty())? else { return Ok(()) };
    start_logging(begin.config.loglevel);
    let Begin { role, config, host } = begin;
    match role {
        // All of it, or each fold would wake another thread and wait for it.
        Role::Fold(_) => ::fold::on_polars_thread(move || {
            serve(&mut fold::FoldChild::new(&config, &host, clock), &parent, &ending)
        }),
        Role::Send(index) => match send::SendChild::several(&config, index, &host, clock) {
            Ok(children) => send::serve_together(children, &parent, &ending),
            Err(reason) => unfit(&parent, reason, true),
        },
        Role::Outbox => match outbox::OutboxChild::open(&config, &parent)? {
            Ok(mut child) => serve(&mut child, &parent, &ending),
            Err(reason) => unfit(&parent, reason, false),
        },
        Role::Spool => match spool::SpoolChild::start(&config, clock, &parent) {
            Ok(mut child) => serve(&mut child, &parent, &ending),
            Err(unfit_spool) => unfit(&parent, unfit_spool.reason, unfit_spool.is_configuration),
        },
    }
}

/// Says that this child can never start, and waits for the parent to end it.
fn unfit(parent: &Parent, reason: String, is_configuration: bool) -> Result<(), Error> {
    parent.say(None, Reply::Unfit { reason, is_configuration }, None)?;
    while parent.0.receive::<OrderMessage>(RecvFlags::empty())?.is_some() {}
    Ok(())
}

fn serve(
    child: &mut impl Work,
    parent: &Parent,
    ending: &shutdown::ChildSignals,
) -> Result<(), Error> {
    parent.say(None, Reply::Ready, None)?;
    while !ending.wait_begins() {
        let Some((message, batch)) = parent.0.receive::<OrderMessage>(RecvFlags::empty())? else {
            break;
        };
        ending.work_begins();
        let is_continue = message.order == Order::Continue;
        let (reply, batch) = child.work(message.order, batch)?;
        if !is_continue {
            parent.say(Some(message.id), reply, batch.as_ref())?;
        }
    }
    Ok(())
}
