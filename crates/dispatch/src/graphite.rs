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

use crate::{Delivery, Dispatcher, Error, unacknowledged};

/// Bytes handed to the kernel at once.
const WRITE_BYTES: usize = 256 * 1024;
/// Bytes that a receiver may say, which none does, before we give up on its close.
const CHATTER_MAX_BYTES: usize = 64 * 1024;
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

    fn write(&self, stream: &mut TcpStream, lines: &[u8]) -> Result<(), Error> {
        let mut sent = 0;
        while sent < lines.len() {
            let chunk = &lines[sent..lines.len().min(sent + WRITE_BYTES)];
            match stream.write(chunk) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    return Err(Error::Stalled {
                        address: self.address.clone(),
                        timeout: self.config.write_timeout,
                        sent,
                        total: lines.len(),
                    });
                }
                Err(source) => return Err(self.broken(sent, lines.len(), source)),
            }
        }
        Ok(())
    }

    fn deliver_and_close(&self, lines: &[u8]) -> Result<(), Error> {
        let total = lines.len();
        let broken = |source| self.broken(total, total, source);
        let mut stream = self.connect()?;
        self.write(&mut stream, lines)?;
        if is_closed(&stream).map_err(broken)? {
            return Err(Error::ClosedEarly { address: self.address.clone() });
        }
        stream.shutdown(Shutdown::Write).map_err(broken)?;
        self.await_close(&mut stream, total)?;
        match unacknowledged::bytes(&stream).map_err(broken)? {
            0 => Ok(()),
            bytes => Err(Error::Unacknowledged { address: self.address.clone(), bytes }),
        }
    }

    fn await_close(&self, stream: &mut TcpStream, total: usize) -> Result<(), Error> {
        let broken = |source| self.broken(total, total, source);
        let limit = at_least_a_millisecond(self.config.confirm_timeout);
        stream.set_read_timeout(Some(limit)).map_err(broken)?;
        let mut heard = 0;
        let mut said = [0; 4096];
        while heard < CHATTER_MAX_BYTES {
            match stream.read(&mut said) {
                Ok(0) => return Ok(()),
                Ok(count) => heard += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    break;
                }
                Err(source) => return Err(broken(source)),
            }
        }
        Err(Error::Unconfirmed {
            address: self.address.clone(),
            missing: "did not close",
            timeout: self.config.confirm_timeout,
            remedy: "tcp",
        })
    }

    fn deliver_on_lasting(&mut self, lines: &[u8]) -> Result<(), Error> {
        let reused = self.lasting.take().filter(|stream| matches!(is_closed(stream), Ok(false)));
        let mut stream = match reused {
            Some(stream) => stream,
            None => self.connect()?,
        };
        self.write(&mut stream, lines)?;
        if self.config.confirm == Confirm::Tcp {
            self.await_acknowledgement(&stream, lines.len())?;
        }
        self.lasting = Some(stream);
        Ok(())
    }

    fn await_acknowledgement(&self, stream: &TcpStream, total: usize) -> Result<(), Error> {
        let mut waited = Duration::ZERO;
        let mut pause = LOOK_FIRST;
        loop {
            if let Some(source) = stream.take_error().ok().flatten() {
                return Err(self.broken(total, total, source));
            }
            let left = unacknowledged::bytes(stream)
                .map_err(|source| self.broken(total, total, source))?;
            if left == 0 {
                return Ok(());
            }
            if waited >= self.config.confirm_timeout {
                return Err(Error::Unconfirmed {
                    address: self.address.clone(),
                    missing: "did not acknowledge it",
                    timeout: self.config.confirm_timeout,
                    remedy: "none",
                });
            }
            std::thread::sleep(pause);
            waited += pause;
            pause = (pause * 2).min(LOOK_LONGEST);
        }
    }

    fn broken(&self, sent: usize, total: usize, source: io::Error) -> Error {
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
            Confirm::Tcp | Confirm::None => {
                let reusing = self.lasting.is_some();
                match self.deliver_on_lasting(delivery.lines) {
                    // The peer ended the lasting connection since the last batch: that says nothing about it now.
                    Err(Error::Broken { .. }) if reusing => self.deliver_on_lasting(delivery.lines),
                    other => other,
                }
            }
        }
    }
}

/// A timeout of zero is refused by the system, which takes it for "none".
fn at_least_a_millisecond(timeout: Duration) -> Duration {
    timeout.max(Duration::from_millis(1))
}

/// Whether the peer has closed its side already; what it says is of no interest.
fn is_closed(stream: &TcpStream) -> io::Result<bool> {
    stream.set_nonblocking(true)?;
    let mut byte = [0];
    let peeked = stream.peek(&mut byte);
    stream.set_nonblocking(false)?;
    match peeked {
        Ok(count) => Ok(count == 0),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}
