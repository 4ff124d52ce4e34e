//! Graphite by its plaintext protocol over TCP, with proof of delivery.
//!
//! A write that succeeds says only that our kernel took the bytes. With `confirm = close` a batch counts as delivered when the
//! receiver has read it to its end: all is written, our side is closed, then the receiver closes and nothing is unacknowledged.
//! Anything else is not delivered, and the whole batch goes again on a new connection: a line is never cut and continued.
//! `tcp` asks only for the acknowledgement of the receiver's TCP, `none` for nothing; both keep one lasting connection.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use config::Confirm;

use crate::{Delivery, Dispatcher, Error, Lines, unacknowledged};

/// Bytes handed to the kernel at once.
const WRITE_BYTES: usize = 256 * 1024;
/// Bytes read at once of what a receiver says.
const READ_BYTES: usize = 4096;
/// Bytes that a receiver may say, which none does, before we give up on its close.
const CHATTER_MAX_BYTES: usize = 64 * 1024;
/// Slices of the wait for a close.
const CLOSE_SLICES: u32 = 1024;
/// First and longest pause between two looks at what is unacknowledged; the kernel has no event for it.
const LOOK_FIRST: Duration = Duration::from_micros(50);
const LOOK_LONGEST: Duration = Duration::from_millis(20);

/// The Graphite dispatcher.
#[derive(Debug)]
pub struct Graphite {
    config: config::Graphite,
    address: String,
    /// The lasting connection, where there is one.
    lasting: Option<TcpStream>,
}

impl Graphite {
    /// Connects at the first delivery.
    #[must_use]
    pub fn new(config: config::Graphite) -> Self {
        let bracketed = config.server.contains(':');
        let server = &config.server;
        let address = if bracketed {
            format!("[{server}]:{}", config.port)
        } else {
            format!("{server}:{}", config.port)
        };
        Self { config, address, lasting: None }
    }

    fn connect(&self) -> Result<TcpStream, Error> {
        let resolve = |source| Error::Resolve { address: self.address.clone(), source };
        let connect = |source| Error::Connect { address: self.address.clone(), source };
        let addresses: Vec<SocketAddr> = (self.config.server.as_str(), self.config.port)
            .to_socket_addrs()
            .map_err(resolve)?
            .collect();
        let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
        for address in addresses {
            match TcpStream::connect_timeout(
                &address,
                at_least_a_millisecond(self.config.connect_timeout),
            ) {
                // Nobody listens there, and the system gave us the very port as our own: the batch would come back to us.
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

    fn deliver_and_close(&self, lines: &dyn Lines) -> Result<(), Error> {
        let mut stream = self.connect()?;
        let total = self.write(&mut stream, lines)?;
        let broken = |source| self.broken(total, Some(total), source);
        let mut heard = 0;
        if has_closed(&mut stream, &mut heard).map_err(broken)? {
            return Err(Error::ClosedEarly { address: self.address.clone() });
        }
        stream.shutdown(Shutdown::Write).map_err(broken)?;
        self.await_close(&mut stream, heard, total)?;
        // A close that crossed our half-close has not acknowledged it yet, and one that a reset follows never does.
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
        let limit = at_least_a_millisecond(self.config.confirm_timeout);
        // There is no clock here, so the limit is cut in slices: whatever ends a read, it took no more than one.
        let slice = at_least_a_millisecond(limit / CLOSE_SLICES);
        stream.set_read_timeout(Some(slice)).map_err(broken)?;
        let mut waited = Duration::ZERO;
        let mut said = [0; READ_BYTES];
        while waited < limit && heard <= CHATTER_MAX_BYTES {
            match stream.read(&mut said) {
                Ok(0) => return Ok(()),
                Ok(count) => heard += count,
                Err(error) if error.kind() == ErrorKind::Interrupted || is_timeout(&error) => {}
                Err(source) => return Err(broken(source)),
            }
            waited += slice;
        }
        let talked = heard > CHATTER_MAX_BYTES;
        let missing = if talked { "talked on and did not close" } else { "did not close" };
        Err(self.unconfirmed(missing, "tcp"))
    }

    fn deliver_on_lasting(&mut self, lines: &dyn Lines) -> Result<(), Error> {
        if let Some(stream) = self.lasting.take().and_then(still_open) {
            match self.deliver_on(stream, lines) {
                // The peer ended the lasting connection since the last batch: that says nothing about it now.
                Err(Error::Broken { .. }) => {}
                outcome => return outcome,
            }
        }
        let stream = self.connect()?;
        self.deliver_on(stream, lines)
    }

    /// Keeps the connection only when the batch is delivered: after a fault nobody knows where in a line it stands.
    fn deliver_on(&mut self, mut stream: TcpStream, lines: &dyn Lines) -> Result<(), Error> {
        let total = self.write(&mut stream, lines)?;
        if self.config.confirm == Confirm::Tcp {
            self.await_acknowledgement(&stream, total)?;
        }
        self.lasting = Some(stream);
        Ok(())
    }

    fn await_acknowledgement(&self, stream: &TcpStream, total: u64) -> Result<(), Error> {
        let mut waited = Duration::ZERO;
        let mut pause = LOOK_FIRST;
        while self.unacknowledged(stream, total)? > 0 {
            if waited >= self.config.confirm_timeout {
                return Err(self.unconfirmed("did not acknowledge it", "none"));
            }
            std::thread::sleep(pause);
            waited += pause;
            pause = (pause * 2).min(LOOK_LONGEST);
        }
        Ok(())
    }

    /// Bytes that the peer has not acknowledged; a connection that is broken has no such number.
    fn unacknowledged(&self, stream: &TcpStream, total: u64) -> Result<usize, Error> {
        let broken = |source| self.broken(total, Some(total), source);
        let bytes = unacknowledged::bytes(stream).map_err(broken)?;
        // Asked last: a reset empties the kernel's queue, and what a number read after it means is the kernel's affair.
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

impl Dispatcher for Graphite {
    fn name(&self) -> &'static str {
        "graphite"
    }

    fn must_have(&self) -> bool {
        true
    }

    fn deliver(&mut self, delivery: Delivery<'_>) -> Result<(), Error> {
        match self.config.confirm {
            Confirm::Close => self.deliver_and_close(delivery.lines),
            Confirm::Tcp | Confirm::None => self.deliver_on_lasting(delivery.lines),
        }
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

/// Whether the peer has closed its side already. What it says is of no interest, but it stands before its close: a peek at
/// the first byte would not see that.
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
