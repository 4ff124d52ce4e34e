//! InfluxDB's write requests over HTTP.
//!
//! A batch goes in requests of at most `batch-points` lines, one after the other. It counts as
//! delivered when each has been answered. After a failure the whole batch is sent again: InfluxDB
//! unites points of the same series and time, so a point that arrives twice is one.
//!
//! A server can refuse a whole request because of one line that it does not understand. Then the
//! request is sent in halves, down to that line. The number of such requests has a bound, because
//! a server that refuses every line would get two for each.
//!
//! A session has one connection, lasts [`SESSION_MAX_AGE`] at most, and ends with its connection
//! and with the first failure. Then addresses, credentials and certificates are read anew.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use config::InfluxTarget;
use daemon::lookup::Lookup;
use daemon::{Clock, Conditions};
use tracing::{info, warn};

use super::answer::{Answer, Verdict, verdict};
use super::piece::{PieceReader, count_lines, halves};
use super::session::{Failure, Response, Session, failure};
use crate::{Error, Lines, Outcome};

/// Bytes of a request before it is compressed: below the 10 MiB of InfluxDB 3 and the 25 MB of
/// InfluxDB 1.
const REQUEST_MAX_BYTES: usize = 4 << 20;
/// A request that broke the connection was not too large if it had no more bytes: a server that
/// refuses a large one may close before we read its answer.
const REQUEST_SURE_BYTES: usize = 64 << 10;
/// Further requests for a batch to find the lines that the server does not understand: enough for
/// 4 lines anywhere among 5000.
const SEARCH_REQUESTS_MAX: usize = 100;
/// Characters of such a line that a message quotes.
const QUOTED_MAX_CHARS: usize = 200;
/// How long the look-up of the server's name may take. A later answer serves the next session.
const LOOKUP_LIMIT: Duration = Duration::from_secs(10);
/// The age at which a session ends.
const SESSION_MAX_AGE: Duration = Duration::from_secs(60);
/// Warnings that are followed at one time.
const WARNINGS_MAX: usize = 20;

/// The transport to one InfluxDB.
#[derive(Debug)]
pub struct InfluxDb {
    config: config::InfluxDb,
    clock: Clock,
    lookup: Arc<Mutex<Lookup>>,
    session: Option<Session>,
    /// Bytes of a request that the server takes, as far as we know.
    request_max_bytes: usize,
    reader: PieceReader,
    warnings: Conditions,
}

/// What became of a request.
enum Sent {
    Done,
    TooLarge { reason: String },
    Malformed { reason: String },
}

/// What became of a batch so far.
#[derive(Default)]
struct Progress {
    outcome: Outcome,
    /// Whether the server has taken a request.
    is_taken: bool,
    /// Requests to find malformed lines.
    search_requests: usize,
    /// Why the server refused a malformed line.
    malformed: Option<String>,
}

impl InfluxDb {
    /// The transport connects at the first delivery.
    #[must_use]
    pub fn new(config: config::InfluxDb, clock: Clock) -> Self {
        let lookup = Arc::new(Mutex::new(Lookup::new(&config.url.host, config.url.port)));
        Self {
            config,
            clock,
            lookup,
            session: None,
            request_max_bytes: REQUEST_MAX_BYTES,
            reader: PieceReader::default(),
            warnings: Conditions::new(WARNINGS_MAX),
        }
    }

    /// The URL of the server.
    #[must_use]
    pub fn url(&self) -> String {
        self.config.url.to_string()
    }

    /// Delivers a batch whole, but for points that the server refuses.
    ///
    /// # Errors
    ///
    /// Why the batch does not count as delivered. The server may have some of its lines, and will
    /// get them again.
    pub fn deliver(&mut self, lines: &dyn Lines) -> Result<Outcome, Error> {
        let delivered = self.deliver_pieces(lines);
        if delivered.is_ok() {
            // The server may take larger requests again one day.
            let grown = self.request_max_bytes + self.request_max_bytes / 64;
            self.request_max_bytes = grown.min(REQUEST_MAX_BYTES);
        } else {
            self.session = None;
        }
        delivered
    }

    fn deliver_pieces(&mut self, lines: &dyn Lines) -> Result<Outcome, Error> {
        let unreadable = |source| Error::Unreadable { source };
        let mut source = lines.open().map_err(unreadable)?;
        let mut progress = Progress::default();
        let mut reader = std::mem::take(&mut self.reader);
        loop {
            let (lines_max, bytes_max) = (self.config.batch_points, self.request_max_bytes);
            let piece = reader.read(&mut source, lines_max, bytes_max).map_err(unreadable)?;
            if piece.is_empty() {
                break;
            }
            self.deliver_piece(piece, &mut progress)?;
        }
        self.reader = reader;
        match progress.malformed {
            // The reason may be the request, not its lines. A copy is kept of what is set aside.
            Some(reason) if !progress.is_taken => Err(self.rejected(&reason)),
            _ => Ok(progress.outcome),
        }
    }

    /// Sends a piece, in halves where it is too large or malformed. A single line that is so is
    /// refused.
    fn deliver_piece(&mut self, piece: &[u8], progress: &mut Progress) -> Result<(), Error> {
        let mut rest = vec![piece];
        while let Some(part) = rest.pop() {
            match (self.send(part, &mut progress.outcome)?, halves(part)) {
                (Sent::Done, _) => progress.is_taken = true,
                (Sent::TooLarge { .. }, Some((first, second))) => {
                    self.request_max_bytes = first.len().max(second.len());
                    rest.extend([second, first]);
                }
                (Sent::TooLarge { reason }, None) => {
                    let bytes = part.len();
                    let reason = || format!("{reason}, to a line of {bytes} bytes");
                    progress.outcome.refused_points.add(1, reason);
                }
                (Sent::Malformed { reason }, Some((first, second))) => {
                    progress.search_requests += 2;
                    if progress.search_requests > SEARCH_REQUESTS_MAX {
                        return Err(self.rejected(&format!("{reason}; please report this")));
                    }
                    rest.extend([second, first]);
                }
                (Sent::Malformed { reason }, None) => {
                    let reason =
                        format!("{reason}, to the line {}; please report this", quote(part));
                    progress.outcome.refused_points.add(1, || reason.clone());
                    progress.malformed.get_or_insert(reason);
                }
            }
        }
        Ok(())
    }

    /// Sends some lines in one request, and makes the database if it is missing.
    fn send(&mut self, lines: &[u8], outcome: &mut Outcome) -> Result<Sent, Error> {
        let mut may_create = true;
        loop {
            let answer = self.request(lines)?;
            let url = self.config.url.to_string();
            let failed =
                |text, wait| Error::InfluxDb { text: format!("influxdb {url} {text}"), wait };
            match self.verdict(&answer) {
                Verdict::Delivered => return Ok(Sent::Done),
                Verdict::Partial { refused, reason } => {
                    let most = count_lines(lines);
                    outcome.refused_points.add(refused.min(most), || reason);
                    return Ok(Sent::Done);
                }
                Verdict::TooLarge { reason } => return Ok(Sent::TooLarge { reason }),
                Verdict::Malformed { reason } => return Ok(Sent::Malformed { reason }),
                Verdict::NoDatabase { .. } if may_create && self.create_database()? => {
                    may_create = false;
                }
                Verdict::NoDatabase { reason } => {
                    return Err(failed(format!("{reason}; create the database"), None));
                }
                Verdict::Wait { reason, pause } => return Err(failed(reason, pause)),
                Verdict::Doubtful { reason } => {
                    return Err(Error::Doubtful { reason: format!("influxdb {url} {reason}") });
                }
            }
        }
    }

    fn verdict(&self, response: &Response) -> Verdict {
        let answer = Answer {
            status: response.status,
            retry_after: response.retry_after.as_deref(),
            location: response.location.as_deref(),
            body: &response.body,
        };
        verdict(&answer, (self.clock.wall)())
    }

    /// Connects and writes no lines, to find whether the server is there, lets us write, and has
    /// the database or bucket. Returns what was found.
    ///
    /// # Errors
    ///
    /// A batch would not be delivered now, and why.
    pub fn check(&mut self) -> Result<String, Error> {
        let checked = self.check_server();
        self.session = None;
        checked
    }

    fn check_server(&mut self) -> Result<String, Error> {
        let url = self.config.url.to_string();
        let failed = |text| Error::InfluxDb { text: format!("influxdb {url} {text}"), wait: None };
        let pong = self.ask(|session| session.get("/ping"))?;
        let pong = pong.map_err(|failure| self.failed(&failure))?;
        let found = match &pong.version {
            Some(version) => format!("it says that it is InfluxDB {version}"),
            None => "it answers".to_owned(),
        };
        // InfluxDB 3 answers with a text, and a proxy with a page.
        let is_pong = pong.status / 100 == 2 && !pong.body.trim_start().starts_with('<');
        if !is_pong {
            return Err(match self.verdict(&pong) {
                Verdict::Wait { reason, .. } | Verdict::Doubtful { reason } => failed(reason),
                _ => failed(format!("answered {} to a ping; check url", pong.status)),
            });
        }
        // The server looks for the database, and for our right to write there, before the lines.
        let answer = self.request(&[])?;
        match (self.verdict(&answer), &self.config.target) {
            (Verdict::Delivered | Verdict::Malformed { .. }, _) => Ok(found),
            // InfluxDB 2 and 3 refuse a request without lines.
            (Verdict::Doubtful { .. }, InfluxTarget::V2 { .. }) if answer.status == 400 => {
                Ok(found)
            }
            (Verdict::NoDatabase { .. }, InfluxTarget::V1 { create_database: true, .. }) => {
                Ok(format!("{found}; the first batch makes the database"))
            }
            (Verdict::NoDatabase { reason }, _) => {
                Err(failed(format!("{reason}; create the database")))
            }
            (Verdict::Wait { reason, .. } | Verdict::Doubtful { reason }, _) => Err(failed(reason)),
            (Verdict::Partial { reason, .. } | Verdict::TooLarge { reason }, _) => {
                Err(failed(format!("{reason}, to a request without lines; check url")))
            }
        }
    }

    /// Posts lines and returns the answer.
    fn request(&mut self, lines: &[u8]) -> Result<Response, Error> {
        let target = self.config.target.clone();
        let (path, query) = write_request(&target);
        let answer = self.ask(|session| session.write(path, &query, lines))?;
        answer.map_err(|failure| {
            if failure.is_broken && lines.len() > REQUEST_SURE_BYTES {
                self.request_max_bytes = (lines.len() / 2).max(REQUEST_SURE_BYTES);
            }
            self.failed(&failure)
        })
    }

    /// Asks in the session, or in a new one: a lasting connection may have ended long ago.
    ///
    /// # Errors
    ///
    /// There is no session. Why the server gave no answer is in the result.
    fn ask(
        &mut self,
        ask: impl Fn(&mut Session) -> Result<Response, ureq::Error>,
    ) -> Result<Result<Response, Failure>, Error> {
        loop {
            let mut session = self.open_session()?;
            let was_used = session.is_used;
            match ask(&mut session) {
                Ok(response) => {
                    self.session = Some(session);
                    return Ok(Ok(response));
                }
                Err(error) => {
                    let failure = failure(&error, &self.config);
                    if !failure.is_broken || !was_used {
                        return Ok(Err(failure));
                    }
                }
            }
        }
    }

    /// The session, or a new one if it is too old.
    fn open_session(&mut self) -> Result<Session, Error> {
        let now = (self.clock.monotonic)();
        if let Some(session) = self.session.take()
            && now.saturating_duration_since(session.since) < SESSION_MAX_AGE
        {
            return Ok(session);
        }
        let mut lookup = self.lookup.lock().unwrap_or_else(PoisonError::into_inner);
        let addresses = lookup.addresses(LOOKUP_LIMIT, now);
        drop(lookup);
        let addresses = addresses.map_err(|error| self.unresolved(&error))?;
        let opened = Session::open(&self.config, addresses, now);
        let (session, warnings) = opened.map_err(|failure| self.failed(&failure))?;
        for warning in warnings {
            if self.warnings.begin(&warning, "", now).is_due() {
                warn!("influxdb {}: {warning}", self.config.url);
            }
        }
        Ok(session)
    }

    /// Makes the database. False if that is not wanted, or refused.
    fn create_database(&mut self) -> Result<bool, Error> {
        let InfluxTarget::V1 { database, create_database: true, .. } = &self.config.target else {
            return Ok(false);
        };
        let statement = create_statement(database);
        let database = database.clone();
        let created =
            self.ask(|session| session.post("/query", &[("q", &statement)], None, &[]))?;
        let refusal = match created {
            Ok(response) if response.status == 200 && !response.body.contains("\"error\"") => {
                info!("influxdb {}: database {database:?} is made", self.config.url);
                self.warnings.end(CREATE, (self.clock.monotonic)());
                return Ok(true);
            }
            Ok(response) => match self.verdict(&response) {
                Verdict::Wait { reason, .. } | Verdict::Doubtful { reason } => reason,
                _ => format!("answered {}: {}", response.status, response.body.trim()),
            },
            Err(failure) => failure.text,
        };
        if self.warnings.begin(CREATE, "", (self.clock.monotonic)()).is_due() {
            warn!(
                "influxdb {} does not make the database {database:?}, it {refusal}; make it, or \
                 set create-database = false",
                self.config.url
            );
        }
        Ok(false)
    }

    fn failed(&self, failure: &Failure) -> Error {
        Error::InfluxDb { text: format!("influxdb {} {failure}", self.config.url), wait: None }
    }

    /// The server does not understand the batch.
    fn rejected(&self, reason: &str) -> Error {
        Error::Rejected { reason: format!("influxdb {} {reason}", self.config.url) }
    }

    fn unresolved(&self, error: &io::Error) -> Error {
        let text = format!("influxdb {} does not resolve: {error}; check url", self.config.url);
        Error::InfluxDb { text, wait: None }
    }
}

/// The beginning of a line, quoted.
fn quote(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let text = text.trim_end();
    match text.char_indices().nth(QUOTED_MAX_CHARS) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

/// The condition that the server refuses to make the database.
const CREATE: &str = "create-database";

/// The path and the parameters of a write.
fn write_request(target: &InfluxTarget) -> (&'static str, Vec<(&'static str, &str)>) {
    let precision = ("precision", "s");
    match target {
        InfluxTarget::V1 { database, retention_policy, .. } => {
            let mut query = vec![("db", database.as_str())];
            query.extend(retention_policy.as_deref().map(|policy| ("rp", policy)));
            query.push(precision);
            ("/write", query)
        }
        InfluxTarget::V2 { org, bucket, .. } => {
            let mut query = Vec::new();
            query.extend(org.as_deref().map(|org| ("org", org)));
            query.extend([("bucket", bucket.as_str()), precision]);
            ("/api/v2/write", query)
        }
    }
}

/// InfluxQL's statement, with the name quoted.
fn create_statement(database: &str) -> String {
    let name = database.replace('\\', "\\\\").replace('"', "\\\"");
    format!("CREATE DATABASE \"{name}\"")
}
