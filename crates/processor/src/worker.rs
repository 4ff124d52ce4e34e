//! The worker: a child process that turns a snapshot into delivered metrics, one at a time, and
//! decides nothing.
//!
//! It reads orders from stdin and answers on stdout, sends nothing a second time by itself and
//! removes no snapshot. It ends with its stdin, and dies with its parent whatever it is doing
//! (PR_SET_PDEATHSIG). SIGTERM ends it after the snapshot in hand; its parent replaces it.

use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;

use config::PartialInput;
use daemon::{Clock, remedy, shutdown};
use fold::{Damage, Input, Oddity, Tables};
use model::Batch;
use receivers::plaintext::{BatchLines, Paths, shortened_names};
use receivers::{Delivery, Dispatcher, outbox};
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};
use spool::cycle::Cycle;
use thiserror::Error;
use tracing::{debug, info};

use crate::gate::Mode;
use crate::protocol::{self, FINDINGS_MAX, Finding, FindingKind, Findings, Order, Outcome, Reply};
use crate::statistics::{self, Parts, Stopwatch};

/// The environment variable that makes a process a worker; its value is the parent's process id.
pub const ROLE_VARIABLE: &str = "HAPROXYSTATS_WORKER_OF";

/// A worker cannot go on.
#[derive(Debug, Error)]
pub enum Error {
    /// The pipes to the parent.
    #[error("cannot speak with the parent: {0}; its log says why it ended")]
    Pipe(#[from] io::Error),
    /// The system refuses what a worker needs at its start.
    #[error("cannot start: {doing}: {source}{}", remedy::of(source))]
    Start {
        /// What was tried.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
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
    let start = |doing| move |source| Error::Start { doing, source };
    let ending = shutdown::after_work().map_err(start("catching signals"))?;
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|errno| start("asking to die with the parent")(errno.into()))?;
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
    fold::on_its_thread(move || serve(&config, &host, clock, &ending, orders, replies))
}

fn serve(
    config: &config::Process,
    host: &str,
    clock: Clock,
    ending: &shutdown::AfterWork,
    mut orders: impl BufRead,
    mut replies: impl Write,
) -> Result<(), Error> {
    let paths =
        Paths::new(&config.naming, host).map_err(|error| Error::Config(error.to_string()))?;
    let mut worker = Worker {
        tables: Tables::new(config.tables.clone()),
        outbox: config.outbox.clone(),
        paths,
        dispatchers: receivers::all(config, clock),
        partial_input: config.partial_input,
        clock,
    };
    protocol::send(&mut replies, &Reply::Ready)?;
    while !ending.wait_begins() {
        let Some(order) = protocol::receive(&mut orders)? else { break };
        ending.work_begins();
        let Order::Job { snapshot, mode } = order else { return Err(Error::NoBegin) };
        let path = config.src_dir.join(&snapshot);
        let mut findings = Findings::default();
        let outcome = worker.work(&path, &snapshot, mode, &mut findings, &mut replies)?;
        protocol::send(&mut replies, &Reply::Finished { outcome, findings })?;
    }
    Ok(())
}

#[derive(Debug)]
struct Worker {
    tables: Tables,
    paths: Paths,
    dispatchers: Vec<Box<dyn Dispatcher>>,
    outbox: Option<config::Outbox>,
    partial_input: PartialInput,
    clock: Clock,
}

/// A snapshot that was read and folded.
struct Folded {
    batch: Batch,
    damaged: usize,
    findings: Findings,
}

impl Worker {
    fn work(
        &mut self,
        path: &Path,
        snapshot: &str,
        mode: Mode,
        findings: &mut Findings,
        replies: &mut impl Write,
    ) -> io::Result<Outcome> {
        let mut stopwatch = Stopwatch::start(self.clock);
        let inputs = match inputs(path) {
            Ok(inputs) => inputs,
            Err(outcome) => return Ok(outcome),
        };
        let folded = match self.fold(path, &inputs, &mut stopwatch) {
            Ok(folded) => folded,
            Err(outcome) => return Ok(outcome),
        };
        let Folded { batch, damaged, findings: found } = folded;
        // What was taken away while we read it is no damage, and what is left of it would give
        // lower sums.
        if damaged > 0 {
            match self::inputs(path) {
                Ok(now) if now == inputs => {}
                Ok(_) => return Ok(Outcome::Gone),
                Err(outcome) => return Ok(outcome),
            }
        }
        *findings = found;
        if let Some(refusal) = self.refusal(damaged, findings) {
            return Ok(refusal);
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
        match &outcome {
            Outcome::Delivered => {
                info!(snapshot, endpoints, damaged, metrics, milliseconds, "delivered");
            }
            Outcome::Stored { .. } => {
                info!(snapshot, endpoints, damaged, metrics, milliseconds, "stored in the outbox");
            }
            // It is tried again and again; the parent tells the state.
            _ => debug!(snapshot, endpoints, damaged, metrics, milliseconds, "not delivered"),
        }
        Ok(outcome)
    }

    /// Why a snapshot with damaged files is not folded, where the operator asked for that.
    fn refusal(&self, damaged: usize, findings: &Findings) -> Option<Outcome> {
        if damaged == 0 || self.partial_input == PartialInput::Accept {
            return None;
        }
        let first = first_damage(findings);
        let reason = format!("{damaged} files are damaged (partial-input = refuse): {first}");
        Some(Outcome::Unusable { reason })
    }

    /// Reads and folds a snapshot. An outcome in place of it ends the job.
    fn fold(
        &mut self,
        path: &Path,
        inputs: &[Input],
        stopwatch: &mut Stopwatch,
    ) -> Result<Folded, Outcome> {
        let mut list = Vec::new();
        let cycle = cycle(path, &mut list);
        let daemon = self.tables.daemon(inputs).map_err(ended)?;
        stopwatch.lap(statistics::DAEMON);
        let mut proxies = self.tables.read(inputs, &daemon.doubles).map_err(ended)?;
        stopwatch.lap(statistics::READ);
        list.extend(daemon.damages.iter().chain(&proxies.damages).map(of_damage));
        list.extend(daemon.oddities.into_iter().chain(proxies.oddities.drain(..)).map(of_oddity));
        let damaged = daemon.damages.len() + proxies.damages.len();
        if daemon.usable + proxies.usable == 0 {
            // What was taken away while we read it is no damage.
            if self::inputs(path)? != inputs {
                return Err(Outcome::Gone);
            }
            let first = first_damage(&Findings { list: Some(list), more: 0 });
            let reason = format!("nothing of it can be used: {first}");
            return Err(Outcome::Unusable { reason });
        }
        let timestamp = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut batch = Batch { timestamp, sections: daemon.sections };
        batch.sections.extend(self.tables.frontends(&mut proxies).map_err(ended)?);
        stopwatch.lap(statistics::FRONTENDS);
        batch.sections.extend(self.tables.backends(&mut proxies).map_err(ended)?);
        stopwatch.lap(statistics::BACKENDS);
        batch.sections.extend(self.tables.servers(&mut proxies).map_err(ended)?);
        stopwatch.lap(statistics::SERVERS);
        list.extend(shortened_names(&batch).into_iter().map(of_long_name));
        let parts = Parts {
            info: inputs.iter().any(|input| input.info.is_some()),
            stat: inputs.iter().any(|input| input.stat.is_some()),
        };
        let own =
            statistics::section(&batch, stopwatch, parts, damaged, cycle.as_ref(), daemon.missing);
        batch.sections.push(own);
        let more = list.len().saturating_sub(FINDINGS_MAX);
        list.truncate(FINDINGS_MAX);
        Ok(Folded { batch, damaged, findings: Findings { list: Some(list), more } })
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

/// What pull tells of its cycle, and what is odd about it.
fn cycle(path: &Path, findings: &mut Vec<Finding>) -> Option<Cycle> {
    let mut odd = |state: &str, text| {
        findings.push(Finding {
            kind: FindingKind::Oddity,
            subject: spool::manifest::FILE_NAME.to_owned(),
            state: state.to_owned(),
            text,
        });
    };
    match spool::manifest::header(path) {
        Ok(header) => {
            if let Some(Cycle { missing, endpoints, .. }) = header.cycle
                && missing > 0
            {
                let text =
                    format!("{missing} of {endpoints} endpoints are missing (allow-partial)");
                odd("missing endpoints", text);
            }
            header.cycle
        }
        Err(error) => {
            odd("unreadable", format!("what pull tells of its cycle cannot be read: {error}"));
            None
        }
    }
}

/// How a job ends whose fold cannot be made.
fn ended(error: fold::Error) -> Outcome {
    let reason = error.to_string();
    match error {
        fold::Error::Unreadable { .. } => Outcome::Unreadable { reason },
        fold::Error::Fold { .. } => Outcome::Unusable { reason },
    }
}

fn of_damage(damage: &Damage) -> Finding {
    Finding {
        kind: FindingKind::Damage,
        subject: damage.path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        state: damage.state.to_owned(),
        text: damage.reason.clone(),
    }
}

fn of_oddity(oddity: Oddity) -> Finding {
    Finding {
        kind: if oddity.lasts { FindingKind::Oddity } else { FindingKind::Name },
        subject: oddity.subject,
        state: oddity.state.to_owned(),
        text: oddity.text,
    }
}

fn of_long_name((name, short): (&str, String)) -> Finding {
    Finding {
        kind: FindingKind::Name,
        subject: short,
        state: "long name".to_owned(),
        text: format!("stands in paths for the name {name:?}, which is too long for a file's name"),
    }
}

fn first_damage(findings: &Findings) -> String {
    let list = findings.list.iter().flatten();
    let mut damages = list.filter(|finding| finding.kind == FindingKind::Damage);
    let first = damages.next().map(|first| format!("{:?}: {}", first.subject, first.text));
    first.unwrap_or_default()
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
