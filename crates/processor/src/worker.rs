//! The worker: a child process that turns a snapshot into delivered metrics, one at a time, and decides nothing.
//!
//! It reads orders from stdin and answers on stdout, sends nothing a second time by itself and removes no snapshot. It ends with
//! its stdin, and dies with its parent whatever it is doing (PR_SET_PDEATHSIG).

use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;

use daemon::{Clock, shutdown};
use dispatch::plaintext::{BatchLines, Paths};
use dispatch::{Delivery, Dispatcher, outbox};
use metric::Batch;
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};
use spool::cycle::Cycle;
use tables::{Input, Tables};
use thiserror::Error;
use tracing::{info, warn};

use crate::gate::Mode;
use crate::protocol::{self, Order, Outcome, Reply};
use crate::statistics::{self, Stopwatch};

/// The environment variable that makes a process a worker; its value is the parent's process id.
pub const ROLE_VARIABLE: &str = "HAPROXYSTATS_WORKER_OF";

/// Damaged files of one snapshot that are told by name.
const WARNINGS_MAX: usize = 20;

/// A worker cannot go on.
#[derive(Debug, Error)]
pub enum Error {
    /// The pipes to the parent.
    #[error("cannot speak with the parent: {0}")]
    Pipe(#[from] io::Error),
    /// What the parent said.
    #[error("the parent did not begin with the configuration")]
    NoBegin,
    /// Something that the parent had checked.
    #[error("the configuration cannot be used: {0}")]
    Config(String),
}

/// Runs a worker until its parent is done with it. `parent` is the process that it belongs to, from [`ROLE_VARIABLE`];
/// `start_logging` is called once the level is known.
///
/// # Errors
///
/// The pipes break, or the parent does not begin as it should.
pub fn run(
    parent: Option<u32>,
    clock: Clock,
    start_logging: impl FnOnce(config::LogLevel),
) -> Result<(), Error> {
    shutdown::leave_to_parent()?;
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(io::Error::from)?;
    let expected = parent.and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if getppid() != expected {
        // It died before we asked to die with it.
        return Ok(());
    }
    let mut orders = BufReader::new(io::stdin());
    let replies = io::stdout();
    let (config, host) = match protocol::receive(&mut orders)? {
        Some(Order::Begin { config, host }) => (config, host),
        Some(Order::Job { .. }) => return Err(Error::NoBegin),
        None => return Ok(()),
    };
    start_logging(config.loglevel);
    // All of it, or each fold would wake another thread and wait for it.
    tables::on_its_thread(move || serve(&config, &host, clock, orders, replies))
}

fn serve(
    config: &config::Process,
    host: &str,
    clock: Clock,
    mut orders: impl BufRead,
    mut replies: impl Write,
) -> Result<(), Error> {
    let paths =
        Paths::new(&config.naming, host).map_err(|error| Error::Config(error.to_string()))?;
    let mut worker = Worker {
        tables: Tables::new(config.tables.clone()),
        outbox: config.outbox.clone(),
        paths,
        dispatchers: dispatch::all(config, clock),
        clock,
    };
    protocol::send(&mut replies, &Reply::Ready)?;
    while let Some(order) = protocol::receive(&mut orders)? {
        let Order::Job { snapshot, mode } = order else { return Err(Error::NoBegin) };
        let path = config.src_dir.join(&snapshot);
        let outcome = worker.work(&path, &snapshot, mode, &mut replies)?;
        protocol::send(&mut replies, &Reply::Finished(outcome))?;
    }
    Ok(())
}

#[derive(Debug)]
struct Worker {
    tables: Tables,
    paths: Paths,
    dispatchers: Vec<Box<dyn Dispatcher>>,
    outbox: Option<config::Outbox>,
    clock: Clock,
}

impl Worker {
    fn work(
        &mut self,
        path: &Path,
        snapshot: &str,
        mode: Mode,
        replies: &mut impl Write,
    ) -> io::Result<Outcome> {
        let mut stopwatch = Stopwatch::start(self.clock);
        let inputs = match inputs(path) {
            Ok(inputs) => inputs,
            Err(outcome) => return Ok(outcome),
        };
        let cycle = spool::cycle::read(path).unwrap_or_else(|error| {
            warn!(snapshot, %error, "what pull says of its cycle cannot be read");
            None
        });
        if let Some(cycle) = cycle.as_ref().filter(|cycle| cycle.missing > 0) {
            let (missing, endpoints) = (cycle.missing, cycle.endpoints);
            warn!(snapshot, missing, endpoints, "the snapshot lacks endpoints (allow-partial)");
        }
        let folded = self.fold(&inputs, snapshot, cycle.as_ref(), &mut stopwatch);
        let (batch, damaged) = match folded {
            Ok(folded) => folded,
            Err(error @ tables::Error::Unreadable { .. }) => {
                return Ok(Outcome::Unreadable { reason: error.to_string() });
            }
            Err(error) => return Ok(Outcome::Unusable { reason: error.to_string() }),
        };
        // What was taken away while we read it is no damage, and what is left of it would give lower sums.
        if damaged > 0 {
            match self::inputs(path) {
                Ok(now) if now == inputs => {}
                Ok(_) => return Ok(Outcome::Gone),
                Err(outcome) => return Ok(outcome),
            }
        }
        protocol::send(replies, &Reply::Folded)?;
        let lines = BatchLines::new(&batch, &self.paths);
        let metrics = lines.count();
        let refused = Self::dispatch(&mut self.dispatchers, snapshot, mode, &lines, replies)?;
        let outcome = match (mode, refused) {
            (Mode::Direct, None) => Outcome::Delivered,
            (_, refused) => store(self.outbox.as_ref(), snapshot, metrics, &lines, refused),
        };
        let milliseconds = stopwatch.total().as_millis();
        let endpoints = inputs.len();
        let end = match &outcome {
            Outcome::Delivered => "delivered",
            Outcome::Stored { .. } => "stored in the outbox",
            _ => "not delivered",
        };
        info!(snapshot, endpoints, damaged, metrics, milliseconds, "{end}");
        Ok(outcome)
    }

    /// The batch, and how many files were damaged.
    fn fold(
        &mut self,
        inputs: &[Input],
        snapshot: &str,
        cycle: Option<&Cycle>,
        stopwatch: &mut Stopwatch,
    ) -> Result<(Batch, usize), tables::Error> {
        let daemon = self.tables.daemon(inputs)?;
        stopwatch.lap(statistics::DAEMON);
        let mut proxies = self.tables.read(inputs)?;
        stopwatch.lap(statistics::READ);
        let mut batch = Batch { timestamp: snapshot.to_owned(), sections: daemon.sections };
        batch.sections.extend(self.tables.frontends(&mut proxies)?);
        stopwatch.lap(statistics::FRONTENDS);
        batch.sections.extend(self.tables.backends(&mut proxies)?);
        stopwatch.lap(statistics::BACKENDS);
        batch.sections.extend(self.tables.servers(&mut proxies)?);
        stopwatch.lap(statistics::SERVERS);

        let damages: Vec<_> = daemon.damages.iter().chain(&proxies.damages).collect();
        for damage in damages.iter().take(WARNINGS_MAX) {
            warn!(snapshot, file = %damage.path.display(), reason = damage.reason, "damaged file");
        }
        if damages.len() > WARNINGS_MAX {
            warn!(snapshot, more = damages.len() - WARNINGS_MAX, "more damaged files");
        }
        let own = statistics::section(&batch, stopwatch, damages.len(), cycle);
        batch.sections.push(own);
        Ok((batch, damages.len()))
    }

    /// Gives the batch to every dispatcher, and tells why one that must have it has not.
    fn dispatch(
        dispatchers: &mut [Box<dyn Dispatcher>],
        snapshot: &str,
        mode: Mode,
        lines: &BatchLines<'_>,
        replies: &mut impl Write,
    ) -> io::Result<Option<String>> {
        let mut refused = None;
        let delivery = Delivery { timestamp: snapshot, lines };
        for dispatcher in dispatchers {
            if dispatcher.must_have() && mode == Mode::Store {
                continue;
            }
            let fault = dispatcher.deliver(delivery).err().map(|error| error.to_string());
            if dispatcher.must_have() {
                refused = refused.or(fault);
            } else {
                let dispatcher = dispatcher.name().to_owned();
                protocol::send(replies, &Reply::Beside { dispatcher, fault })?;
            }
        }
        Ok(refused)
    }
}

/// Into the outbox with what no receiver has.
fn store(
    config: Option<&config::Outbox>,
    snapshot: &str,
    metrics: u64,
    lines: &BatchLines<'_>,
    refused: Option<String>,
) -> Outcome {
    let Some(config) = config else {
        return Outcome::Undelivered { refused, unstored: "there is no outbox".to_owned() };
    };
    match outbox::append(&config.dir, snapshot, metrics, lines, config.sync) {
        Ok(entry) => Outcome::Stored { entry, refused },
        Err(error) => Outcome::Undelivered { refused, unstored: error.to_string() },
    }
}

/// What is in a snapshot, or what became of it. What cannot be read may be readable later; only what it holds can make it unusable.
fn inputs(path: &Path) -> Result<Vec<Input>, Outcome> {
    let answers = match spool::reader::answers(path) {
        Err(_) if matches!(path.try_exists(), Ok(false)) => return Err(Outcome::Gone),
        Err(error @ spool::reader::Error::TooMany { .. }) => {
            return Err(Outcome::Unusable { reason: error.to_string() });
        }
        answers => answers.map_err(|error| Outcome::Unreadable { reason: error.to_string() })?,
    };
    if answers.is_empty() {
        let reason = "it holds no file named *_info or *_stat".to_owned();
        return Err(Outcome::Unusable { reason });
    }
    Ok(answers
        .into_iter()
        .map(|answers| Input { endpoint: answers.endpoint, info: answers.info, stat: answers.stat })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_surely_not_there_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(inputs(&folder.path().join("1700000000")), Err(Outcome::Gone));
        // The system cannot say whether there is such a name.
        let unknown = inputs(&folder.path().join("1".repeat(300)));
        assert!(matches!(unknown, Err(Outcome::Unreadable { .. })), "{unknown:?}");
        let empty = inputs(folder.path());
        assert!(matches!(empty, Err(Outcome::Unusable { .. })), "{empty:?}");
    }
}
