//! Graphite's plaintext protocol to one server, with proof of delivery.
//!
//! A write that succeeds proves only that our kernel took the bytes. With `confirm = close` a batch
//! counts as delivered when the receiver has read it to its end: we write all bytes and half-close,
//! then the receiver closes and no byte is unacknowledged. Otherwise the whole batch is sent again
//! on a new connection: a line is never cut and continued. `tcp` waits only for the acknowledgement
//! of the receiver's TCP, and `none` for nothing; both keep one lasting connection, until the
//! server's name resolves to other addresses.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use config::{Address, Confirm};
use daemon::Clock;
use daemon::lookup::Lookup;

use super::secured::{TlsOptions, TlsStream};
use super::stream::Stream;
use crate::{Error, Lines, Loss};

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

/// The transport to one server.
#[derive(Debug)]
pub(super) struct Server {
    config: Arc<config::Graphite>,
    address: String,
    endpoint: Endpoint,
    clock: Clock,
    lasting: Option<Stream>,
    last_lookup: Option<Instant>,
}

#[derive(Debug, Clone)]
enum Endpoint {
    Tcp {
        host: String,
        /// Shared by all transports to this server: a resolver that hangs costs one thread.
        lookup: Arc<Mutex<Lookup>>,
        /// Shared by all transports to the servers of a list.
        tls: Option<Arc<TlsOptions>>,
    },
    Unix(PathBuf),
}

impl Server {
    /// The transport connects at the first delivery.
    pub(super) fn new(
        config: Arc<config::Graphite>,
        address: &Address,
        tls: Option<Arc<TlsOptions>>,
        clock: Clock,
    ) -> Self {
        let endpoint = match address {
            Address::Tcp { host, port } => {
                let lookup = Arc::new(Mutex::new(Lookup::new(host, *port)));
                Endpoint::Tcp { host: host.clone(), lookup, tls }
            }
            Address::Unix(path) => Endpoint::Unix(path.clone()),
        };
        let address = address.to_string();
        Self { config, address, endpoint, clock, lasting: None, last_lookup: None }
    }

    /// Its address as messages have it.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Delivers a batch whole, and returns the lines that were left out.
    ///
    /// # Errors
    ///
    /// Why the batch does not count as delivered. The server may have some of its lines.
    pub(super) fn deliver(&mut self, lines: &dyn Lines) -> Result<Loss, Error> {
        match self.config.confirm {
            Confirm::Close => self.deliver_and_close(lines),
            Confirm::Tcp | Confirm::None => self.deliver_on_lasting(lines),
        }
    }

    /// A further transport to the same server, with connections of its own.
    pub(super) fn another(&self) -> Self {
        Self {
            config: Arc::clone(&self.config),
            address: self.address.clone(),
            endpoint: self.endpoint.clone(),
            clock: self.clock,
            lasting: None,
            last_lookup: None,
        }
    }

    /// Connects and sends nothing.
    pub(super) fn check(&mut self) -> Result<(), Error> {
        self.connect().map(drop)
    }

    /// Closes the lasting connection.
    pub(super) fn disconnect(&mut self) {
        self.lasting = None;
    }

    fn now(&self) -> Instant {
        (self.clock.monotonic)()
    }

    fn connect(&mut self) -> Result<Stream, Error> {
        let limit = self.config.connect_timeout;
        let stream = match &self.endpoint {
            Endpoint::Unix(path) => {
                Stream::unix(path, limit).map_err(|source| self.no_connection(source))?
            }
            Endpoint::Tcp { host, lookup, tls } => {
                // Files that cannot be used cost no connection.
                let secured = match tls {
                    Some(tls) => Some(tls.of_host(host).map_err(|text| self.no_tls(text))?),
                    None => None,
                };
                let now = self.now();
                let addresses = look_up(lookup, LOOKUP_LIMIT, now)
                    .map_err(|source| Error::Resolve { address: self.address.clone(), source })?;
                self.last_lookup = Some(now);
                let socket = connect_to_one(&addresses, limit)
                    .map_err(|source| self.no_connection(source))?;
                match secured {
                    None => Stream::Tcp(socket),
                    Some((config, name)) => {
                        // A limit of its own: the name's first addresses may have used up one.
                        let shaken = TlsStream::handshake(config, name, socket, limit, self.clock);
                        Stream::Tls(Box::new(shaken.map_err(|error| self.not_shaken(error))?))
                    }
                }
            }
        };
        let limited = stream.set_write_timeout(self.config.write_timeout);
        limited.map_err(|source| self.no_connection(source))?;
        Ok(stream)
    }

    fn no_connection(&self, source: io::Error) -> Error {
        Error::Connect { address: self.address.clone(), source }
    }

    /// A TLS connection cannot be asked for.
    fn no_tls(&self, text: String) -> Error {
        Error::Tls { address: self.address.clone(), text: format!("cannot be asked: {text}") }
    }

    /// TLS's handshake failed.
    fn not_shaken(&self, source: io::Error) -> Error {
        if source.kind() != ErrorKind::InvalidData {
            return self.no_connection(source);
        }
        let address = self.address.clone();
        let text = format!(
            "speaks no TLS that we accept: {source}; check its port, ca-file, server-name and the \
             certificates"
        );
        Error::Tls { address, text }
    }

    /// Writes all lines to the kernel. Returns their number of bytes, and the lines that are left
    /// out.
    fn write(&self, stream: &mut Stream, lines: &dyn Lines) -> Result<(u64, Loss), Error> {
        let total = lines.bytes();
        let mut source = lines.open().map_err(|source| Error::Unreadable { source })?;
        let mut sent = 0;
        loop {
            let chunk = match source.fill_buf() {
                Ok([]) if total.is_none_or(|total| sent == total) => {
                    self.flush(stream, sent)?;
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
                Err(error) if is_timeout(&error) => return Err(self.stalled(sent, total)),
                Err(source) => {
                    let source = stream.alert().unwrap_or(source);
                    return Err(self.broken(sent, total, source));
                }
            }
        }
    }

    /// The server accepted no byte in time.
    fn stalled(&self, sent: u64, total: Option<u64>) -> Error {
        let (address, timeout) = (self.address.clone(), self.config.write_timeout);
        Error::Stalled { address, timeout, sent, total }
    }

    /// Sends what TLS still holds.
    fn flush(&self, stream: &mut Stream, sent: u64) -> Result<(), Error> {
        loop {
            match stream.flush() {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if is_timeout(&error) => return Err(self.stalled(sent, Some(sent))),
                Err(source) => {
                    let source = stream.alert().unwrap_or(source);
                    return Err(self.broken(sent, Some(sent), source));
                }
            }
        }
    }

    fn deliver_and_close(&mut self, lines: &dyn Lines) -> Result<Loss, Error> {
        let mut stream = self.connect()?;
        let (total, long_lines) = self.write(&mut stream, lines)?;
        let broken = |source| self.broken(total, Some(total), source);
        let mut received = 0;
        if has_closed(&mut stream, &mut received).map_err(broken)? {
            let (address, remedy) = (self.address.clone(), self.weaker_than_close());
            return Err(Error::ClosedEarly { address, remedy });
        }
        stream.half_close().map_err(broken)?;
        self.await_close(&mut stream, received, total)?;
        if let (Stream::Tls(stream), Endpoint::Tcp { tls: Some(tls), .. }) =
            (&stream, &self.endpoint)
            && stream.lacks_close_notify
        {
            tls.note_close_without_notify(&self.address);
        }
        // A close that crossed our half-close has not acknowledged it yet, and a close before a
        // reset never does.
        match self.unacknowledged(&stream, total)? {
            0 => Ok(long_lines),
            bytes => Err(Error::Unacknowledged { address: self.address.clone(), bytes }),
        }
    }

    fn await_close(
        &self,
        stream: &mut Stream,
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
            stream.set_read_timeout(left).map_err(broken)?;
            match stream.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => received += count,
                Err(error) if error.kind() == ErrorKind::Interrupted || is_timeout(&error) => {}
                Err(source) => return Err(broken(source)),
            }
        }
        let is_chatter = received > CHATTER_MAX_BYTES;
        let missing = if is_chatter { "talked on and did not close" } else { "did not close" };
        Err(self.unconfirmed(missing, self.weaker_than_close()))
    }

    /// The confirmation that asks for less than a close. With TLS there is none.
    const fn weaker_than_close(&self) -> Option<&'static str> {
        match self.endpoint {
            Endpoint::Tcp { tls: None, .. } => Some("tcp"),
            Endpoint::Tcp { tls: Some(_), .. } => None,
            Endpoint::Unix(_) => Some("none"),
        }
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
        let Endpoint::Tcp { lookup, .. } = &self.endpoint else { return false };
        let Some(peer) = self.lasting.as_ref().and_then(Stream::peer) else { return false };
        let now = self.now();
        if let Some(last) = self.last_lookup
            && now.saturating_duration_since(last) < LOOKUP_INTERVAL
        {
            return false;
        }
        match look_up(lookup, Duration::ZERO, now) {
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
    fn deliver_on(&mut self, mut stream: Stream, lines: &dyn Lines) -> Result<Loss, Error> {
        let (total, long_lines) = self.write(&mut stream, lines)?;
        if self.config.confirm == Confirm::Tcp {
            self.await_acknowledgement(&stream, total)?;
        }
        self.lasting = Some(stream);
        Ok(long_lines)
    }

    fn await_acknowledgement(&self, stream: &Stream, total: u64) -> Result<(), Error> {
        let start = self.now();
        let mut pause = LOOK_FIRST;
        while self.unacknowledged(stream, total)? > 0 {
            if self.now().saturating_duration_since(start) >= self.config.confirm_timeout {
                return Err(self.unconfirmed("did not acknowledge it", Some("none")));
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(LOOK_LONGEST);
        }
        Ok(())
    }

    /// Bytes that the peer has not acknowledged; an error if the connection is broken.
    fn unacknowledged(&self, stream: &Stream, total: u64) -> Result<usize, Error> {
        stream.unacknowledged().map_err(|source| self.broken(total, Some(total), source))
    }

    fn unconfirmed(&self, missing: &'static str, remedy: Option<&'static str>) -> Error {
        let timeout = self.config.confirm_timeout;
        Error::Unconfirmed { address: self.address.clone(), missing, timeout, remedy }
    }

    fn broken(&self, sent: u64, total: Option<u64>, source: io::Error) -> Error {
        let address = self.address.clone();
        // With TLS the server's alert, such as that it refuses our certificate.
        if source.kind() == ErrorKind::InvalidData {
            let text = format!("refused our TLS: {source}; check certificate and key");
            return Error::Tls { address, text };
        }
        Error::Broken { address, sent, total, source }
    }
}

fn look_up(lookup: &Mutex<Lookup>, limit: Duration, now: Instant) -> io::Result<Vec<SocketAddr>> {
    lookup.lock().unwrap_or_else(PoisonError::into_inner).addresses(limit, now)
}

/// Connects to the first address that accepts; else the error of the last.
fn connect_to_one(addresses: &[SocketAddr], limit: Duration) -> io::Result<TcpStream> {
    let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        match Stream::tcp(address, limit) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// Whether the peer has neither closed a lasting connection nor sent too many bytes.
fn is_open(stream: &mut Stream) -> bool {
    let mut received = 0;
    let closed = has_closed(stream, &mut received).unwrap_or(true);
    !closed && received <= CHATTER_MAX_BYTES
}

/// Whether the peer has closed its side already. All bytes before the close are read and dropped: a
/// peek at the first byte would not find the close behind it.
fn has_closed(stream: &mut Stream, received: &mut usize) -> io::Result<bool> {
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
