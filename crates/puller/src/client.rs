//! Pulls one endpoint in one cycle: connects, asks, and has the answers brought to their
//! destination as they come.
//!
//! The thread of the sockets waits until a connection has bytes. Then a writer moves them from the
//! socket into a file, because writing may block on the disk. Meanwhile the socket is not
//! registered with the runtime, because each piece that the writer is about to read would wake the
//! thread of the sockets for nothing.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use config::{Address, Pull, Retries};
use sources::haproxy::natures::{self, ANSWER_MAX_BYTES, Natures};
use sources::{Dialogue, Memory, Pipelining, Scope, Source};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::info;

use crate::disk::Disk;
use crate::endpoint::Endpoint;
use crate::failure::Failure;
use crate::journal::{DiskTask, Journal};
use crate::lookups::{self, Lookups};
use crate::stream::AsyncStream;
use crate::transfer::{ConnectionResult, Destination, GATHERING, Progress, Transfer};
use crate::writers::Writers;

/// The limit of the questions about new columns, which come once for each start of a process.
const QUESTIONS_LIMIT: Duration = Duration::from_secs(1);

/// Asks the endpoints of one cycle.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) limits: Limits,
    pub(crate) destination: Destination,
    /// For messages about the files.
    pub(crate) tmp_dst_dir: PathBuf,
    pub(crate) disk: Disk,
    pub(crate) writers: Writers,
    pub(crate) lookups: Lookups,
    pub(crate) journal: Journal,
    /// Whether servers are asked for.
    pub(crate) servers: bool,
    /// Whether the beginnings of answers are kept beside their files.
    pub(crate) keeps_heads: bool,
}

/// The limits of each endpoint.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    retries: Retries,
    timeout: Duration,
    interval: Duration,
    /// `pull-timeout`, and the instant at which it is over.
    cycle: Option<(Duration, Instant)>,
    answer_bytes: u64,
}

/// The answers of an endpoint.
#[derive(Debug)]
pub(crate) struct Answers {
    /// How the endpoint was asked.
    pub(crate) pipelining: Pipelining,
    pub(crate) bytes: u64,
    /// The names of the files.
    pub(crate) files: Vec<String>,
    /// The beginning of the first answer, if it is kept.
    pub(crate) head: Vec<u8>,
    /// What the next dialogue with the endpoint needs.
    pub(crate) memory: Memory,
}

/// The cycle ended before the work was done.
struct Timeout {
    limit: Duration,
}

impl Limits {
    /// The limits of a cycle that begins at `start`.
    pub(crate) fn new(config: &Pull, start: Instant) -> Self {
        Self {
            retries: config.retries,
            timeout: config.timeout,
            interval: config.interval,
            // An instant that the clock cannot represent never comes.
            cycle: config.pull_timeout.and_then(|limit| Some((limit, start.checked_add(limit)?))),
            answer_bytes: config.answer_limit,
        }
    }

    /// Whether the cycle has ended.
    pub(crate) fn are_over(&self) -> bool {
        self.cycle.is_some_and(|(_, end)| Instant::now() >= end)
    }

    /// Waits for `work` until the end of the cycle. After the end no work is begun, because a timer
    /// alone would let work pass that is ready at once.
    async fn within<T>(&self, work: impl Future<Output = T>) -> Result<T, Timeout> {
        let Some((limit, end)) = self.cycle else { return Ok(work.await) };
        if Instant::now() >= end {
            return Err(Timeout { limit });
        }
        timeout_at(end, work).await.map_err(|_| Timeout { limit })
    }
}

impl Timeout {
    fn during(self, doing: impl Into<String>) -> Failure {
        Failure::Timeout { limit: self.limit, doing: doing.into() }
    }
}

impl Client {
    /// Asks an endpoint and writes its files. `memory` is that of its last dialogue.
    pub(crate) async fn pull(
        &self,
        endpoint: &Endpoint,
        pipelining: Pipelining,
        memory: Memory,
    ) -> Result<Answers, Failure> {
        let scope = Scope { worker: None, servers: self.servers };
        let failed = match self.ask(endpoint, pipelining, memory.clone(), scope).await {
            Ok(answers) => return Ok(answers),
            Err(failure) => failure,
        };
        let Failure::Answer(fault) = &failed else { return Err(failed) };
        let may_help = fault.suggests_single_requests() && fault.other_kind().is_none();
        if pipelining == Pipelining::Off || !may_help {
            return Err(failed);
        }
        let line = self.journal.begins(&format!("single {endpoint}"), "single");
        if line.is_due() {
            let note = line.note();
            info!(%endpoint, reason = %fault, "asking one command at a time{note}");
        }
        self.ask(endpoint, Pipelining::Off, memory, scope).await
    }

    /// The whole answer to a request, up to `most` bytes, in memory.
    pub(crate) async fn text(
        &self,
        endpoint: &Endpoint,
        request: &[u8],
        most: usize,
    ) -> Result<Vec<u8>, Failure> {
        let peer = endpoint.source;
        let stream = self.connect(endpoint).await?;
        self.send(peer, &stream, request).await?;
        stream.end_sending();
        let (mut text, mut buffer) = (Vec::new(), vec![0; 16 * 1024]);
        while text.len() < most {
            let bytes = text.len() as u64;
            let broken = |source| Failure::Read { peer, bytes, source };
            let readable = self.limits.within(stream.readable()).await;
            let late = |late: Timeout| {
                late.during(format!("{bytes} bytes of the answer came{}", remedy_of_slowness(peer)))
            };
            readable.map_err(late)?.map_err(broken)?;
            match stream.try_read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => text.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(broken(error)),
            }
        }
        text.truncate(most);
        Ok(text)
    }

    /// Asks for a part of the answers in one way.
    pub(crate) async fn ask(
        &self,
        endpoint: &Endpoint,
        pipelining: Pipelining,
        memory: Memory,
        scope: Scope,
    ) -> Result<Answers, Failure> {
        let source = endpoint.source;
        let (files, head) = (Vec::new(), Vec::new());
        let mut answers = Answers { pipelining, bytes: 0, files, head, memory: Memory::None };
        let mut dialogue = source.dialogue(pipelining, self.limits.answer_bytes);
        dialogue.recall(memory);
        dialogue.set_scope(scope);
        while let Some(request) = dialogue.request() {
            let stream = self.connect(endpoint).await?;
            self.send(source, &stream, request).await?;
            // A master keeps a connection open, and its place, until our side is closed.
            if endpoint.identity.is_some() || endpoint.worker.is_some() {
                stream.end_sending();
            }
            let received = self.receive(endpoint, stream, dialogue).await?;
            dialogue = received.dialogue;
            answers.bytes += received.bytes;
            answers.files.extend(received.files);
            if answers.head.is_empty() {
                answers.head = received.head;
            }
        }
        if matches!(self.destination, Destination::Files(_)) {
            self.ask_natures(endpoint, &mut dialogue).await;
        }
        answers.memory = dialogue.memory();
        Ok(answers)
    }

    /// Asks for the natures of new columns. A failure costs the natures alone.
    async fn ask_natures(&self, endpoint: &Endpoint, dialogue: &mut Dialogue) {
        let questions = dialogue.questions();
        let asking = async {
            let mut natures = Natures::new();
            for question in &questions {
                let text = self.text(endpoint, question, ANSWER_MAX_BYTES).await;
                let text = text.map_err(|failure| failure.to_string())?;
                for (name, nature) in natures::read(&text).map_err(|odd| odd.to_string())? {
                    natures.entry(name).or_insert(nature);
                }
            }
            Ok::<_, String>(natures)
        };
        let late = || format!("no answer within {} s", QUESTIONS_LIMIT.as_secs());
        let natures = timeout(QUESTIONS_LIMIT, asking).await.unwrap_or_else(|_| Err(late()));
        dialogue.end_questions(natures.unwrap_or_else(|reason| {
            info!(%endpoint, reason, "new columns fold by their names, if no nature is known yet");
            Natures::new()
        }));
    }

    async fn connect(&self, endpoint: &Endpoint) -> Result<AsyncStream, Failure> {
        let (limits, source) = (&self.limits, endpoint.source);
        let mut last = None;
        let attempts = async {
            let mut left = limits.retries;
            loop {
                let failure = match self.attempt(endpoint).await {
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
            let why = match last {
                Some(failure) => format!(", the last attempt: {failure}"),
                None => remedy_of_slowness(source),
            };
            Err(late.during(format!("still connecting{why}")))
        })
    }

    /// Tries every address of a name in turn. Each has the whole of `timeout`, so that an address
    /// that drops packets does not hide the next one.
    async fn attempt(&self, endpoint: &Endpoint) -> Result<AsyncStream, Failure> {
        let limit = self.limits.timeout;
        let peer = endpoint.source;
        let refused = |source| Failure::Connect { peer, source };
        let (host, port) = match &endpoint.address {
            Address::Unix(path) => {
                let stream = in_time(limit, UnixStream::connect(path)).await;
                return stream.map(AsyncStream::Unix).map_err(refused);
            }
            Address::Tcp { host, port } => (host, *port),
        };
        let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        // The end of the cycle, if it has one, limits the look-up too.
        let lookup_limit = if self.limits.cycle.is_some() { None } else { Some(lookups::LIMIT) };
        let addresses = self.lookups.addresses(host, port, lookup_limit).await;
        for address in addresses.map_err(Failure::Lookup)? {
            match in_time(limit, TcpStream::connect(address)).await {
                Ok(stream) => return Ok(AsyncStream::Tcp(stream)),
                Err(error) => failed = io::Error::new(error.kind(), format!("{address}: {error}")),
            }
        }
        Err(refused(failed))
    }

    async fn send(
        &self,
        peer: Source,
        stream: &AsyncStream,
        request: &[u8],
    ) -> Result<(), Failure> {
        let sent = self.limits.within(stream.write_all(request)).await;
        sent.map_err(|late| {
            let remedy = remedy_of_slowness(peer);
            late.during(format!("the commands were not taken{remedy}"))
        })?
        .map_err(|source| Failure::Send { peer, source })
    }

    /// Reads to the end of the connection, each answer into its file.
    async fn receive(
        &self,
        endpoint: &Endpoint,
        mut stream: AsyncStream,
        dialogue: Dialogue,
    ) -> Result<ConnectionResult, Failure> {
        let limits = &self.limits;
        let destination = self.destination.clone();
        let mut transfer = Transfer::new(endpoint, dialogue, destination, self.disk.clone());
        transfer.keep_head(self.keeps_heads);
        let end = limits.cycle.map(|(_, end)| end);
        loop {
            let total = transfer.total();
            let peer = endpoint.source;
            let broken = |source| Failure::Read { peer, bytes: total, source };
            let readable = limits.within(stream.readable()).await;
            readable
                .map_err(|late| {
                    let remedy = remedy_of_slowness(peer);
                    late.during(format!("{total} bytes of the answers came{remedy}"))
                })?
                .map_err(broken)?;
            let mut from = stream.into_nonblocking().map_err(broken)?;
            let begun = Arc::new(AtomicBool::new(false));
            let (begins, others_wait) = (Arc::clone(&begun), self.writers.others_wait());
            let progress = self.writers.run(move || {
                begins.store(true, Ordering::Relaxed);
                let progress = transfer.advance(&mut from, end, others_wait);
                (transfer, from, progress)
            });
            let doing = DiskTask { what: "write answers below", directory: &self.tmp_dst_dir };
            let transferred = limits.within(self.journal.patiently(doing, progress)).await;
            let transferred = transferred.map_err(|late| {
                let directory = &self.tmp_dst_dir;
                late.during(if begun.load(Ordering::Relaxed) {
                    format!("the disk has not taken the answer; look at the disk of {directory:?}")
                } else {
                    format!(
                        "all threads that take answers are busy; raise workers, or look at the \
                         disk of {directory:?}"
                    )
                })
            });
            let progress;
            (transfer, from, progress) = transferred??;
            match progress? {
                Progress::Done => return Ok(transfer.finish()),
                Progress::Open { flowing: true } => sleep(GATHERING).await,
                Progress::Open { flowing: false } => {}
            }
            let bytes = transfer.total();
            stream = from.into_async().map_err(|source| Failure::Read { peer, bytes, source })?;
        }
    }
}

/// The advice about an endpoint that takes too long.
fn remedy_of_slowness(source: Source) -> String {
    format!("; look whether its {} is overloaded, or raise pull-timeout", source.program())
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
