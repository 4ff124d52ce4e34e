//! The worker: a child process that turns a snapshot into delivered metrics, one at a time, and decides nothing.
//!
//! It reads orders from stdin and answers on stdout, sends nothing a second time by itself and removes no snapshot. It ends with
//! its stdin, and dies with its parent whatever it is doing (PR_SET_PDEATHSIG).

use std::fs;
use std::io::{self, BufReader, Write};
use std::path::Path;

use daemon::{Clock, shutdown};
use dispatch::plaintext::{self, Paths};
use dispatch::{Delivery, Dispatcher};
use metric::Batch;
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};
use tables::{Input, Tables};
use thiserror::Error;
use tracing::{info, warn};

use crate::protocol::{self, Order, Outcome, Reply};
use crate::statistics::{self, Stopwatch};

/// The environment variable that makes a process a worker; its value is the parent's process id.
pub const ROLE_VARIABLE: &str = "HAPROXYSTATS_WORKER_OF";

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
    let mut replies = io::stdout();
    let (config, host) = match protocol::receive(&mut orders)? {
        Some(Order::Begin { config, host }) => (config, host),
        Some(Order::Job { .. }) => return Err(Error::NoBegin),
        None => return Ok(()),
    };
    start_logging(config.loglevel);
    let mut worker = Worker {
        tables: Tables::new(config.tables.clone()),
        paths: Paths::new(&config.naming, &host)
            .map_err(|error| Error::Config(error.to_string()))?,
        dispatchers: dispatch::all(&config, clock),
        lines: Vec::new(),
        complained: false,
        clock,
    };
    while let Some(order) = protocol::receive(&mut orders)? {
        let Order::Job { snapshot } = order else { return Err(Error::NoBegin) };
        let outcome = worker.work(&config.src_dir.join(&snapshot), &snapshot, &mut replies)?;
        protocol::send(&mut replies, &Reply::Finished(outcome))?;
    }
    Ok(())
}

#[derive(Debug)]
struct Worker {
    tables: Tables,
    paths: Paths,
    dispatchers: Vec<Box<dyn Dispatcher>>,
    /// Reused, so that its memory is asked for once.
    lines: Vec<u8>,
    /// Whether a dispatcher that need not have the batch has been complained about.
    complained: bool,
    clock: Clock,
}

impl Worker {
    fn work(
        &mut self,
        path: &Path,
        snapshot: &str,
        replies: &mut impl Write,
    ) -> io::Result<Outcome> {
        let mut stopwatch = Stopwatch::start(self.clock);
        let inputs = match inputs(path) {
            Ok(inputs) => inputs,
            Err(outcome) => return Ok(outcome),
        };
        let damaged = match self.fold(&inputs, snapshot, &mut stopwatch) {
            Ok(damaged) => damaged,
            Err(error) => return Ok(Outcome::Unusable { reason: error.to_string() }),
        };
        // What was taken away while we read it is no damage.
        if damaged > 0 && !path.exists() {
            return Ok(Outcome::Gone);
        }
        protocol::send(replies, &Reply::Encoded)?;
        let outcome = self.dispatch(snapshot, replies)?;
        let milliseconds = stopwatch.total().as_millis();
        let bytes = self.lines.len();
        info!(snapshot, files = inputs.len(), damaged, bytes, milliseconds, "snapshot done");
        Ok(outcome)
    }

    /// Fills `lines` and tells how many files were damaged.
    fn fold(
        &mut self,
        inputs: &[Input],
        snapshot: &str,
        stopwatch: &mut Stopwatch,
    ) -> Result<usize, tables::Error> {
        let daemon = self.tables.daemon(inputs)?;
        stopwatch.lap(statistics::DAEMON);
        let mut proxies = self.tables.read(inputs);
        stopwatch.lap(statistics::READ);
        let mut batch = Batch { timestamp: snapshot.to_owned(), sections: daemon.sections };
        batch.sections.extend(self.tables.frontends(&mut proxies)?);
        stopwatch.lap(statistics::FRONTENDS);
        batch.sections.extend(self.tables.backends(&mut proxies)?);
        stopwatch.lap(statistics::BACKENDS);
        batch.sections.extend(self.tables.servers(&mut proxies)?);
        stopwatch.lap(statistics::SERVERS);

        let damages: Vec<_> = daemon.damages.iter().chain(&proxies.damages).collect();
        for damage in &damages {
            warn!(snapshot, file = %damage.path.display(), reason = damage.reason, "damaged file");
        }
        self.lines.clear();
        for section in &batch.sections {
            plaintext::encode(section, &self.paths, snapshot, &mut self.lines);
        }
        let own = statistics::section(&batch, stopwatch);
        plaintext::encode(&own, &self.paths, snapshot, &mut self.lines);
        Ok(damages.len())
    }

    fn dispatch(&mut self, snapshot: &str, replies: &mut impl Write) -> io::Result<Outcome> {
        let mut outcome = Outcome::Delivered;
        let delivery = Delivery { timestamp: snapshot, lines: &self.lines };
        for dispatcher in &mut self.dispatchers {
            let name = dispatcher.name();
            match dispatcher.deliver(delivery) {
                Ok(()) if dispatcher.must_have() => {}
                Ok(()) => {
                    if std::mem::take(&mut self.complained) {
                        info!(dispatcher = name, "works again");
                    }
                }
                Err(error) if dispatcher.must_have() => {
                    let reason = error.to_string();
                    outcome = Outcome::Undelivered { dispatcher: name.to_owned(), reason };
                }
                Err(error) => {
                    if !std::mem::replace(&mut self.complained, true) {
                        warn!(dispatcher = name, %error, "does not work; nothing waits for it");
                    }
                }
            }
            protocol::send(replies, &Reply::Dispatched)?;
        }
        Ok(outcome)
    }
}

/// What is in a snapshot, or what became of it.
fn inputs(path: &Path) -> Result<Vec<Input>, Outcome> {
    let unusable = |reason: String| Outcome::Unusable { reason };
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Outcome::Gone),
        Err(error) => return Err(unusable(error.to_string())),
        Ok(_) => {}
    }
    let answers = spool::reader::answers(path).map_err(|error| unusable(error.to_string()))?;
    if answers.is_empty() {
        return Err(unusable("it holds no file named *_info or *_stat".to_owned()));
    }
    Ok(answers
        .into_iter()
        .map(|answers| Input { endpoint: answers.endpoint, info: answers.info, stat: answers.stat })
        .collect())
}
