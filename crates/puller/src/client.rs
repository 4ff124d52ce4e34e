//! One endpoint in one cycle: connect, ask, and have the answers written to their files as they
//! come.
//!
//! The one thread of all sockets learns here when something has come, and a writer takes it from
//! socket to file: nothing that may block on the disk happens on it. Meanwhile nobody watches the
//! socket, or each piece that a writer is about to take would wake this thread for nothing.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use config::{Address, Pull, Retries};
use spool::writer::StagedFiles;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::info;

use crate::disk::Disk;
use crate::endpoint::Endpoint;
use crate::failure::Failure;
use crate::journal::{Doing, Journal};
use crate::lookups::{self, Lookups};
use crate::source::haproxy::{APART, Question, TOGETHER};
use crate::stream::Watched;
use crate::transfer::{GATHERING, Transfer, Turn};
use crate::writers::Writers;

/// What to do about an endpoint that takes too long.
const SLOW_ENDPOINT: &str = "; look whether its HAProxy is overloaded, or raise pull-timeout";

/// Whether an endpoint takes both commands on one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Together,
    Apart,
}

/// What all endpoints of a cycle share.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) limits: Limits,
    pub(crate) files: StagedFiles,
    /// Where the files are, for messages.
    pub(crate) tmp_dst_dir: PathBuf,
    pub(crate) disk: Disk,
    pub(crate) writers: Writers,
    pub(crate) lookups: Lookups,
    pub(crate) journal: Journal,
}

/// What an endpoint may take.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    retries: Retries,
    timeout: Duration,
    interval: Duration,
    /// `pull-timeout`, and when it is over.
    cycle: Option<(Duration, Instant)>,
    answer_bytes: u64,
}

/// The cycle was over first.
struct Late {
    limit: Duration,
}

impl Limits {
    /// Those of a cycle that begins at `start`.
    pub(crate) fn new(config: &Pull, start: Instant) -> Self {
        Self {
            retries: config.retries,
            timeout: config.timeout,
            interval: config.interval,
            // An end beyond the clock's reach is no end.
            cycle: config.pull_timeout.and_then(|limit| Some((limit, start.checked_add(limit)?))),
            answer_bytes: config.answer_limit,
        }
    }

    /// Waits for `work`, no longer than the cycle may last. After its end nothing is begun: a timer
    /// alone would let through whatever is ready at once.
    async fn within<T>(&self, work: impl Future<Output = T>) -> Result<T, Late> {
        let Some((limit, end)) = self.cycle else { return Ok(work.await) };
        if Instant::now() >= end {
            return Err(Late { limit });
        }
        timeout_at(end, work).await.map_err(|_| Late { limit })
    }
}

impl Late {
    fn while_doing(self, doing: impl Into<String>) -> Failure {
        Failure::Late { limit: self.limit, doing: doing.into() }
    }
}

impl Client {
    /// Asks an endpoint and writes its files. Returns the bytes of the answers and the way that
    /// worked.
    pub(crate) async fn pull(&self, endpoint: &Endpoint, way: Way) -> Result<(u64, Way), Failure> {
        if way == Way::Together {
            match self.ask(endpoint, TOGETHER).await {
                Err(Failure::Answer(fault))
                    if fault.asks_for_one_at_a_time() && fault.other_kind().is_none() =>
                {
                    let line = self.journal.begins(&format!("apart {endpoint}"), "apart");
                    if line.is_due() {
                        let note = line.note();
                        info!(%endpoint, reason = %fault, "asking one command at a time{note}");
                    }
                }
                result => return result.map(|bytes| (bytes, Way::Together)),
            }
        }
        self.ask(endpoint, APART).await.map(|bytes| (bytes, Way::Apart))
    }

    async fn ask(
        &self,
        endpoint: &Endpoint,
        questions: &'static [Question],
    ) -> Result<u64, Failure> {
        let mut bytes = 0;
        for question in questions {
            let stream = self.connect(&endpoint.address).await?;
            self.send(&stream, question.line).await?;
            if endpoint.found.is_some() {
                stream.end_sending();
            }
            bytes += self.receive(stream, question, &endpoint.name).await?;
        }
        Ok(bytes)
    }

    async fn connect(&self, address: &Address) -> Result<Watched, Failure> {
        let limits = &self.limits;
        let mut last = None;
        let attempts = async {
            let mut left = limits.retries;
            loop {
                let failure = match self.attempt(address).await {
                    Ok(stream) => return Ok(stream),
                    Err(failure) => failure,
                };
                if !failure.can_pass() {
                    return Err(failure);
                }
                left = match left {
                    Retries::Times(0) => return Err(failure),
                    Retries::Times(times) => Retries::Times(times - 1),
                    Retries::Forever => Retries::Forever,
                };
                last = Some(failure);
                sleep(limits.interval).await;
            }
        };
        limits.within(attempts).await.unwrap_or_else(|late| {
            let last = last.map(|failure| format!(", the last attempt: {failure}"));
            let last = last.unwrap_or_else(|| SLOW_ENDPOINT.to_owned());
            Err(late.while_doing(format!("still connecting{last}")))
        })
    }

    /// One attempt: every address of a name in turn, each with the whole of `timeout`, so that one
    /// that swallows packets does not hide the next.
    async fn attempt(&self, address: &Address) -> Result<Watched, Failure> {
        let limit = self.limits.timeout;
        let (host, port) = match address {
            Address::Unix(path) => {
                let stream = in_time(limit, UnixStream::connect(path)).await;
                return stream.map(Watched::Unix).map_err(Failure::Connect);
            }
            Address::Tcp { host, port } => (host, *port),
        };
        let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        // Where the cycle has an end, that is the limit.
        let patience = if self.limits.cycle.is_some() { None } else { Some(lookups::LIMIT) };
        let found = self.lookups.addresses(host, port, patience).await;
        for address in found.map_err(Failure::Lookup)? {
            match in_time(limit, TcpStream::connect(address)).await {
                Ok(stream) => return Ok(Watched::Tcp(stream)),
                Err(error) => failed = io::Error::new(error.kind(), format!("{address}: {error}")),
            }
        }
        Err(Failure::Connect(failed))
    }

    async fn send(&self, stream: &Watched, line: &[u8]) -> Result<(), Failure> {
        let sent = self.limits.within(stream.write_all(line)).await;
        sent.map_err(|late| {
            late.while_doing(format!("the commands were not taken{SLOW_ENDPOINT}"))
        })?
        .map_err(Failure::Send)
    }

    /// Reads to the end of the connection, each answer into its file. Returns how many bytes that
    /// were.
    async fn receive(
        &self,
        mut stream: Watched,
        question: &Question,
        name: &str,
    ) -> Result<u64, Failure> {
        let (limits, to) = (&self.limits, (self.files.clone(), name));
        let disk = self.disk.clone();
        let mut transfer = Transfer::new(question, to, disk, limits.answer_bytes);
        let end = limits.cycle.map(|(_, end)| end);
        loop {
            let total = transfer.total();
            let broken = |source| Failure::Read { bytes: total, source };
            let came = limits.within(stream.readable()).await;
            came.map_err(|late| {
                late.while_doing(format!("{total} bytes of the answers came{SLOW_ENDPOINT}"))
            })?
            .map_err(broken)?;
            let mut from = stream.unwatch().map_err(broken)?;
            let begun = Arc::new(AtomicBool::new(false));
            let (begins, others_wait) = (Arc::clone(&begun), self.writers.others_wait());
            let turn = self.writers.run(move || {
                begins.store(true, Ordering::Relaxed);
                let turn = transfer.turn(&mut from, end, others_wait);
                (transfer, from, turn)
            });
            let doing = Doing { what: "write answers below", directory: &self.tmp_dst_dir };
            // The cycle's end says nothing about the disk.
            let taken = limits.within(self.journal.patiently(doing, turn)).await;
            let taken = taken.map_err(|late| {
                late.while_doing(if begun.load(Ordering::Relaxed) {
                    "the disk has not taken the answer; look at the disk of tmp-dst-dir"
                } else {
                    "all threads that take answers are busy; raise workers, or look at the disk of \
                     tmp-dst-dir"
                })
            });
            let turn;
            (transfer, from, turn) = taken??;
            match turn? {
                Turn::Done => return Ok(transfer.total()),
                Turn::Open { flowing: true } => sleep(GATHERING).await,
                Turn::Open { flowing: false } => {}
            }
            let bytes = transfer.total();
            stream = from.watch().map_err(|source| Failure::Read { bytes, source })?;
        }
    }
}

async fn in_time<T>(
    limit: Duration,
    connect: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    timeout(limit, connect).await.unwrap_or_else(|_| {
        let text = format!("not done within timeout ({} s)", limit.as_secs_f64());
        Err(io::Error::new(io::ErrorKind::TimedOut, text))
    })
}
