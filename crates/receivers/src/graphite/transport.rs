//! Graphite's plaintext protocol over TCP, with proof of delivery.
//!
//! A write that succeeds proves only that our kernel took the bytes. With `confirm = close` a batch
//! counts as delivered when the receiver has read it to its end: we write all bytes and half-close,
//! then the receiver closes and no byte is unacknowledged. Otherwise the whole batch is sent again
//! on a new connection: a line is never cut and continued. `tcp` waits only for the acknowledgement
//! of the receiver's TCP, and `none` for nothing; both keep one lasting connection, until the
//! server's name resolves to other addresses.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use config::Confirm;
use daemon::Clock;
use daemon::lookup::Lookup;

use crate::{Error, Lines, Loss, Outcome, unacknowledged};

/// Bytes handed to the kernel at once.
const WRITE_BYTES: usize = 256 * 1024;
/// Bytes that are read from a receiver at once.
const READ_BYTES: usize = 4096;
/// Bytes that a receiver may send before its close; carbon sends none.
const CHATTER_MAX_BYTES: usize = 64 * 1024;
/// How long a new connection waits for the look-up of its name. A later answer serves the next try.
const LOOKUP_LIMIT: Duration = Duration::from_secs(10);
/// How often the server's name is looked up while a lasting connection works.
const LOOKUP_INTERVAL: Duration = Duration::from_secs(10);
/// First and longest pause between two queries of the unacknowledged bytes, for which the kernel
/// has no event.
const LOOK_FIRST: Duration = Duration::from_micros(50);
const LOOK_LONGEST: Duration = Duration::from_millis(20);

/// The transport to one Graphite.
#[derive(Debug)]
pub struct Graphite {
    config: config::Graphite,
    address: String,
    clock: Clock,
    lasting: Option<TcpStream>,
    /// Shared by all transports to this server: a resolver that hangs costs one thread.
    lookup: Arc<Mutex<Lookup>>,
    last_lookup: Option<Instant>,
}

impl Graphite {
    /// The transport connects at the first delivery.
    #[must_use]
    pub fn new(config: config::Graphite, clock: Clock) -> Self {
        let (server, port) = (&config.server, config.port);
        let is_ipv6 = server.contains(':');
        let address =
            if is_ipv6 { format!("[{server}]:{port}") } else { format!("{server}:{port}") };
        let lookup = Arc::new(Mutex::new(Lookup::new(server, port)));
        Self { config, address, clock, lasting: None, lookup, last_lookup: None }
    }

    /// Delivers a batch whole.
    ///
    /// # Errors
    ///
    /// Why the batch does not count as delivered. The receiver may have some of its lines, and will
    /// get them again.
    pub fn deliver(&mut self, lines: &dyn Lines) -> Result<Outcome, Error> {
        let long_lines = match self.config.confirm {
            Confirm::Close => self.deliver_and_close(lines)?,
            Confirm::Tcp | Confirm::None => self.deliver_on_lasting(lines)?,
        };
        Ok(Outcome { long_lines, ..Outcome::default() })
    }

    /// A further transport to the same server, with connections of its own.
    #[must_use]
    pub fn another(&self) -> Self {
        Self {
            config: self.config.clone(),
            address: self.address.clone(),
            clock: self.clock,
            lasting: None,
            lookup: Arc::clone(&self.lookup),
            last_lookup: None,
        }
    }

    fn look_up(&self, limit: Duration, now: Instant) -> io::Result<Vec<SocketAddr>> {
        self.lookup.lock().unwrap_or_else(PoisonError::into_inner).addresses(limit, now)
    }

    fn now(&self) -> Instant {
        (self.clock.monotonic)()
    }

    fn connect(&mut self) -> Result<TcpStream, Error> {
        let resolve = |source| Error::Resolve { address: self.address.clone(), source };
        let connect = |source| Error::Connect { address: self.address.clone(), source };
        let now = self.now();
        let addresses = self.look_up(LOOKUP_LIMIT, now).map_err(resolve)?;
        self.last_lookup = Some(now);
        let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
        let connect_timeout = at_least_a_millisecond(self.config.connect_timeout);
        for address in addresses {
            match TcpStream::connect_timeout(&address, connect_timeout) {
                // No process listens there, and the system chose the same port for our side: we
                // would send the batch to ourselves.
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

    /// Writes all lines to the kernel. Returns their number of bytes, and the lines that are left
    /// out.
    fn write(&self, stream: &mut TcpStream, lines: &dyn Lines) -> Result<(u64, Loss), Error> {
        let total = lines.bytes();
        let mut source = lines.open().map_err(|source| Error::Unreadable { source })?;
        let mut sent = 0;
        loop {
            let chunk = match source.fill_buf() {
                Ok([]) if total.is_none_or(|total| sent == total) => {
                    return Ok((sent, source.long_lines()));
                }
                Ok([]) => {
                    let source = ErrorKind::UnexpectedEof.into();
                    return Err(Error::Unreadable { source });
                }
                Ok(chunk) => &chunk[..chunk.len().min(WRITE_BYTES)],
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(source) => return Err(Error::Unreadable { source }),
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

    fn deliver_and_close(&mut self, lines: &dyn Lines) -> Result<Loss, Error> {
        let mut stream = self.connect()?;
        let (total, long_lines) = self.write(&mut stream, lines)?;
        let broken = |source| self.broken(total, Some(total), source);
        let mut received = 0;
        if has_closed(&mut stream, &mut received).map_err(broken)? {
            return Err(Error::ClosedEarly { address: self.address.clone() });
        }
        stream.shutdown(Shutdown::Write).map_err(broken)?;
        self.await_close(&mut stream, received, total)?;
        // A close that crossed our half-close has not acknowledged it yet, and a close before a
        // reset never does.
        match self.unacknowledged(&stream, total)? {
            0 => Ok(long_lines),
            bytes => Err(Error::Unacknowledged { address: self.address.clone(), bytes }),
        }
    }

    fn await_close(
        &self,
        stream: &mut TcpStream,
        mut received: usize,
        total: u64,
    ) -> Result<(), Error> {
        let broken = |source| self.broken(total, Some(total), source);
        let start = self.now();
        let mut buffer = [0; READ_BYTES];
        while received <= CHATTER_MAX_BYTES {
            let waited = self.now().saturating_duration_since(start);
            let left = self.config.confirm_timeout.saturating_sub(waited);
            if left.is_zero() {
                break;
            }
            stream.set_read_timeout(Some(at_least_a_millisecond(left))).map_err(broken)?;
            match stream.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => received += count,
                Err(error) if error.kind() == ErrorKind::Interrupted || is_timeout(&error) => {}
                Err(source) => return Err(broken(source)),
            }
        }
        let is_chatter = received > CHATTER_MAX_BYTES;
        let missing = if is_chatter { "talked on and did not close" } else { "did not close" };
        Err(self.unconfirmed(missing, "tcp"))
    }

    fn deliver_on_lasting(&mut self, lines: &dyn Lines) -> Result<Loss, Error> {
        if self.has_moved() {
            self.lasting = None;
        }
        if let Some(mut stream) = self.lasting.take()
            && is_open(&mut stream)
        {
            match self.deliver_on(stream, lines) {
                // The peer may have ended the connection long ago: a new one decides.
                Err(Error::Broken { .. }) => {}
                outcome => return outcome,
            }
        }
        let stream = self.connect()?;
        self.deliver_on(stream, lines)
    }

    /// Whether the server's name no longer has the address of the lasting connection. Never waits
    /// for the look-up: a pending answer is read before the next batch.
    fn has_moved(&mut self) -> bool {
        let Some(peer) = self.lasting.as_ref().and_then(|stream| stream.peer_addr().ok()) else {
            return false;
        };
        let now = self.now();
        if let Some(last) = self.last_lookup
            && now.saturating_duration_since(last) < LOOKUP_INTERVAL
        {
            return false;
        }
        match self.look_up(Duration::ZERO, now) {
            Ok(addresses) => {
                self.last_lookup = Some(now);
                !addresses.iter().any(|address| address.ip() == peer.ip())
            }
            Err(error) => {
                // The connection works, so an error of the resolver can wait for the next look-up.
                if error.kind() != ErrorKind::TimedOut {
                    self.last_lookup = Some(now);
                }
                false
            }
        }
    }

    /// Keeps the connection only if the batch is delivered: after an error the receiver may have
    /// half a line.
    fn deliver_on(&mut self, mut stream: TcpStream, lines: &dyn Lines) -> Result<Loss, Error> {
        let (total, long_lines) = self.write(&mut stream, lines)?;
        if self.config.confirm == Confirm::Tcp {
            self.await_acknowledgement(&stream, total)?;
        }
        self.lasting = Some(stream);
        Ok(long_lines)
    }

    fn await_acknowledgement(&self, stream: &TcpStream, total: u64) -> Result<(), Error> {
        let start = self.now();
        let mut pause = LOOK_FIRST;
        while self.unacknowledged(stream, total)? > 0 {
            if self.now().saturating_duration_since(start) >= self.config.confirm_timeout {
                return Err(self.unconfirmed("did not acknowledge it", "none"));
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(LOOK_LONGEST);
        }
        Ok(())
    }

    /// Bytes that the peer has not acknowledged; an error if the connection is broken.
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

/// The standard library refuses a timeout of zero.
fn at_least_a_millisecond(timeout: Duration) -> Duration {
    timeout.max(Duration::from_millis(1))
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// Whether the peer has neither closed a lasting connection nor sent too many bytes.
fn is_open(stream: &mut TcpStream) -> bool {
    let mut received = 0;
    let closed = has_closed(stream, &mut received).unwrap_or(true);
    !closed && received <= CHATTER_MAX_BYTES
}

/// Whether the peer has closed its side already. All bytes before the close are read and dropped: a
/// peek at the first byte would not find the close behind it.
fn has_closed(stream: &mut TcpStream, received: &mut usize) -> io::Result<bool> {
    stream.set_nonblocking(true)?;
    let mut buffer = [0; READ_BYTES];
    let closed = loop {
        match stream.read(&mut buffer) {
            Ok(0) => break Ok(true),
            Ok(count) => *received += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => break Ok(false),
            Err(error) => break Err(error),
        }
        if *received > CHATTER_MAX_BYTES {
            break Ok(false);
        }
    };
    stream.set_nonblocking(false)?;
    closed
}
