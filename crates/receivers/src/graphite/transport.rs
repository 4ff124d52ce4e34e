//! Graphite by its plaintext protocol over TCP, with proof of delivery.
//!
//! A write that succeeds says only that our kernel took the bytes. With `confirm = close` a batch
//! counts as delivered when the receiver has read it to its end: all is written, our side is
//! closed, then the receiver closes and nothing is unacknowledged. Anything else is not delivered,
//! and the whole batch goes again on a new connection: a line is never cut and continued. `tcp`
//! asks only for the acknowledgement of the receiver's TCP, `none` for nothing; both keep one
//! lasting connection, which ends when the server's name has become another address.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use config::Confirm;
use daemon::Clock;
use daemon::lookup::Lookup;

use crate::{Error, Lines, unacknowledged};

/// Bytes handed to the kernel at once.
const WRITE_BYTES: usize = 256 * 1024;
/// Bytes read at once of what a receiver says.
const READ_BYTES: usize = 4096;
/// Bytes that a receiver may say, which none does, before we give up on its close.
const CHATTER_MAX_BYTES: usize = 64 * 1024;
/// How long a look-up is waited for before a connection is made. A later answer serves the next
/// try.
const LOOKUP_LIMIT: Duration = Duration::from_secs(10);
/// How often the server's name is looked up while a lasting connection works.
const LOOKUP_INTERVAL: Duration = Duration::from_secs(10);
/// First and longest pause between two looks at what is unacknowledged; the kernel has no event for
/// it.
const LOOK_FIRST: Duration = Duration::from_micros(50);
const LOOK_LONGEST: Duration = Duration::from_millis(20);

/// The transport to one Graphite.
#[derive(Debug)]
pub struct Graphite {
    config: config::Graphite,
    address: String,
    clock: Clock,
    /// The lasting connection, where there is one.
    lasting: Option<TcpStream>,
    lookup: Lookup,
    /// When the name was looked up last.
    looked_up: Option<Instant>,
}

impl Graphite {
    /// Connects at the first delivery.
    #[must_use]
    pub fn new(config: config::Graphite, clock: Clock) -> Self {
        let bracketed = config.server.contains(':');
        let server = &config.server;
        let address = if bracketed {
            format!("[{server}]:{}", config.port)
        } else {
            format!("{server}:{}", config.port)
        };
        let lookup = Lookup::new(&config.server, config.port);
        Self { config, address, clock, lasting: None, lookup, looked_up: None }
    }

    /// Delivers a batch whole.
    ///
    /// # Errors
    ///
    /// Why the receiver does not count as having it. What it may have got of it will come again.
    pub fn deliver(&mut self, lines: &dyn Lines) -> Result<(), Error> {
        match self.config.confirm {
            Confirm::Close => self.deliver_and_close(lines),
            Confirm::Tcp | Confirm::None => self.deliver_on_lasting(lines),
        }
    }

    fn now(&self) -> Instant {
        (self.clock.monotonic)()
    }

    fn connect(&mut self) -> Result<TcpStream, Error> {
        let resolve = |source| Error::Resolve { address: self.address.clone(), source };
        let connect = |source| Error::Connect { address: self.address.clone(), source };
        let now = (self.clock.monotonic)();
        let addresses = self.lookup.addresses(LOOKUP_LIMIT, now).map_err(resolve)?;
        self.looked_up = Some(now);
        let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
        for address in addresses {
            match TcpStream::connect_timeout(
                &address,
                at_least_a_millisecond(self.config.connect_timeout),
            ) {
                // Nobody listens there, and the system gave us the very port as our own: the batch
                // would come back to us.
                Ok(stream) if stream.local_addr().ok() == Some(address) => {
                    last = ErrorKind::ConnectionRefused.into();
                }
                Ok(stream) => {
                    let limit = at_least_a_millisecond(self.config.write_timeout);
                    stream.set_write_timeout(Some(limit)).map_err(connect)?;
                    return Ok(stream);
                }
                Err(error) => last = error,
            }
        }
        Err(connect(last))
    }

    /// Hands everything to the kernel and returns how many bytes that were.
    fn write(&self, stream: &mut TcpStream, lines: &dyn Lines) -> Result<u64, Error> {
        let total = lines.bytes();
        let opened = lines.open();
        let mut source = opened.map_err(|source| Error::Unreadable { source, begun: false })?;
        let mut sent = 0;
        loop {
            let chunk = match source.fill_buf() {
                Ok([]) if total.is_none_or(|total| sent == total) => return Ok(sent),
                Ok([]) => {
                    let source = ErrorKind::UnexpectedEof.into();
                    return Err(Error::Unreadable { source, begun: true });
                }
                Ok(chunk) => &chunk[..chunk.len().min(WRITE_BYTES)],
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(source) => return Err(Error::Unreadable { source, begun: true }),
            };
            match stream.write(chunk) {
                Ok(count) => {
                    sent += count as u64;
                    source.consume(count);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if is_timeout(&error) => {
                    return Err(Error::Stalled {
                        address: self.address.clone(),
                        timeout: self.config.write_timeout,
                        sent,
                        total,
                    });
                }
                Err(source) => return Err(self.broken(sent, total, source)),
            }
        }
    }

    fn deliver_and_close(&mut self, lines: &dyn Lines) -> Result<(), Error> {
        let mut stream = self.connect()?;
        let total = self.write(&mut stream, lines)?;
        let broken = |source| self.broken(total, Some(total), source);
        let mut heard = 0;
        if has_closed(&mut stream, &mut heard).map_err(broken)? {
            return Err(Error::ClosedEarly { address: self.address.clone() });
        }
        stream.shutdown(Shutdown::Write).map_err(broken)?;
        self.await_close(&mut stream, heard, total)?;
        // A close that crossed our half-close has not acknowledged it yet, and one that a reset
        // follows never does.
        match self.unacknowledged(&stream, total)? {
            0 => Ok(()),
            bytes => Err(Error::Unacknowledged { address: self.address.clone(), bytes }),
        }
    }

    fn await_close(
        &self,
        stream: &mut TcpStream,
        mut heard: usize,
        total: u64,
    ) -> Result<(), Error> {
        let broken = |source| self.broken(total, Some(total), source);
        let begun = self.now();
        let mut said = [0; READ_BYTES];
        while heard <= CHATTER_MAX_BYTES {
            let waited = self.now().saturating_duration_since(begun);
            let left = self.config.confirm_timeout.saturating_sub(waited);
            if left.is_zero() {
                break;
            }
            stream.set_read_timeout(Some(at_least_a_millisecond(left))).map_err(broken)?;
            match stream.read(&mut said) {
                Ok(0) => return Ok(()),
                Ok(count) => heard += count,
                Err(error) if error.kind() == ErrorKind::Interrupted || is_timeout(&error) => {}
                Err(source) => return Err(broken(source)),
            }
        }
        let talked = heard > CHATTER_MAX_BYTES;
        let missing = if talked { "talked on and did not close" } else { "did not close" };
        Err(self.unconfirmed(missing, "tcp"))
    }

    fn deliver_on_lasting(&mut self, lines: &dyn Lines) -> Result<(), Error> {
        if self.is_elsewhere() {
            self.lasting = None;
        }
        if let Some(stream) = self.lasting.take().and_then(still_open) {
            match self.deliver_on(stream, lines) {
                // The peer ended the lasting connection since the last batch: that says nothing
                // about it now.
                Err(Error::Broken { .. }) => {}
                outcome => return outcome,
            }
        }
        let stream = self.connect()?;
        self.deliver_on(stream, lines)
    }

    /// Whether the server's name no longer leads to the address that the lasting connection is to.
    /// Never waits: an answer that is on its way is looked at before the next batch.
    fn is_elsewhere(&mut self) -> bool {
        let Some(peer) = self.lasting.as_ref().and_then(|stream| stream.peer_addr().ok()) else {
            return false;
        };
        let now = self.now();
        let is_due = |looked_up| now.saturating_duration_since(looked_up) >= LOOKUP_INTERVAL;
        if !self.looked_up.is_none_or(is_due) {
            return false;
        }
        match self.lookup.addresses(Duration::ZERO, now) {
            Ok(addresses) => {
                self.looked_up = Some(now);
                !addresses.iter().any(|address| address.ip() == peer.ip())
            }
            Err(error) => {
                // A resolver that answers with an error is asked again in a while; the connection
                // works.
                if error.kind() != ErrorKind::TimedOut {
                    self.looked_up = Some(now);
                }
                false
            }
        }
    }

    /// Keeps the connection only when the batch is delivered: after a fault nobody knows where in a
    /// line it stands.
    fn deliver_on(&mut self, mut stream: TcpStream, lines: &dyn Lines) -> Result<(), Error> {
        let total = self.write(&mut stream, lines)?;
        if self.config.confirm == Confirm::Tcp {
            self.await_acknowledgement(&stream, total)?;
        }
        self.lasting = Some(stream);
        Ok(())
    }

    fn await_acknowledgement(&self, stream: &TcpStream, total: u64) -> Result<(), Error> {
        let begun = self.now();
        let mut pause = LOOK_FIRST;
        while self.unacknowledged(stream, total)? > 0 {
            if self.now().saturating_duration_since(begun) >= self.config.confirm_timeout {
                return Err(self.unconfirmed("did not acknowledge it", "none"));
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(LOOK_LONGEST);
        }
        Ok(())
    }

    /// Bytes that the peer has not acknowledged; a connection that is broken has no such number.
    fn unacknowledged(&self, stream: &TcpStream, total: u64) -> Result<usize, Error> {
        let broken = |source| self.broken(total, Some(total), source);
        let bytes = unacknowledged::bytes(stream).map_err(broken)?;
        // Check SO_ERROR last: after a reset SIOCOUTQ is meaningless.
        match stream.take_error().map_err(broken)? {
            Some(source) => Err(broken(source)),
            None => Ok(bytes),
        }
    }

    fn unconfirmed(&self, missing: &'static str, remedy: &'static str) -> Error {
        let timeout = self.config.confirm_timeout;
        Error::Unconfirmed { address: self.address.clone(), missing, timeout, remedy }
    }

    fn broken(&self, sent: u64, total: Option<u64>, source: io::Error) -> Error {
        Error::Broken { address: self.address.clone(), sent, total, source }
    }
}

/// A timeout of zero is refused by the system, which takes it for "none".
fn at_least_a_millisecond(timeout: Duration) -> Duration {
    timeout.max(Duration::from_millis(1))
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// The connection, unless its peer has ended it since the last batch or talks without end.
fn still_open(mut stream: TcpStream) -> Option<TcpStream> {
    let mut heard = 0;
    let closed = has_closed(&mut stream, &mut heard).unwrap_or(true);
    (!closed && heard <= CHATTER_MAX_BYTES).then_some(stream)
}

/// Whether the peer has closed its side already. What it says is of no interest, but it stands
/// before its close: a peek at the first byte would not see that.
fn has_closed(stream: &mut TcpStream, heard: &mut usize) -> io::Result<bool> {
    stream.set_nonblocking(true)?;
    let mut said = [0; READ_BYTES];
    let closed = loop {
        match stream.read(&mut said) {
            Ok(0) => break Ok(true),
            Ok(count) => *heard += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => break Ok(false),
            Err(error) => break Err(error),
        }
        if *heard > CHATTER_MAX_BYTES {
            break Ok(false);
        }
    };
    stream.set_nonblocking(false)?;
    closed
}
