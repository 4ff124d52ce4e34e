//! A TLS connection to a server.
//!
//! With TLS 1.3 a server refuses our certificate after our first writes, so a batch counts as
//! delivered only when all that the server sent is read: our close_notify, then its close. A server
//! that closes without close_notify after ours has read everything, because a close with bytes
//! unread is a reset. Before ours it has failed.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use config::Tls;
use daemon::{Clock, Conditions};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use tracing::warn;

use super::stream::at_least_a_millisecond;
use crate::tls;

/// The age at which the files of the options are read anew, so that a certificate that is replaced
/// is found without a restart.
const FILES_MAX_AGE: Duration = Duration::from_secs(60);
/// Warnings that are followed at one time: one for each server, and one for the key file.
const WARNINGS_MAX: usize = 32;
/// Bytes of the buffer for what a server sends.
const READ_BYTES: usize = 4096;

/// The options, shared by all transports to the servers of a list.
#[derive(Debug)]
pub(super) struct TlsOptions {
    options: Tls,
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The configuration, and when its files were read.
    config: Option<(Arc<ClientConfig>, Instant)>,
    warnings: Conditions,
}

impl TlsOptions {
    pub(super) fn new(options: Tls, clock: Clock) -> Self {
        let state = State { config: None, warnings: Conditions::new(WARNINGS_MAX) };
        Self { options, clock, state: Mutex::new(state) }
    }

    /// The configuration for a connection, and the name that the server's certificate must have.
    ///
    /// # Errors
    ///
    /// What cannot be used, and what to do.
    pub(super) fn of_host(
        &self,
        host: &str,
    ) -> Result<(Arc<ClientConfig>, ServerName<'static>), String> {
        let name = self.options.server_name.as_deref().unwrap_or(host);
        let name = ServerName::try_from(name.to_owned())
            .map_err(|_| format!("no certificate can have the name {name:?}; set server-name"))?;
        Ok((self.config()?, name))
    }

    fn config(&self) -> Result<Arc<ClientConfig>, String> {
        let now = (self.clock.monotonic)();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((config, read_at)) = &state.config
            && now.saturating_duration_since(*read_at) < FILES_MAX_AGE
        {
            return Ok(Arc::clone(config));
        }
        let files = tls::read(&self.options)?;
        match files.warning {
            Some(warning) => {
                if state.warnings.begin("key", "", now).is_due() {
                    warn!("graphite: {warning}");
                }
            }
            None => {
                state.warnings.end("key", now);
            }
        }
        state.config = Some((Arc::clone(&files.client), now));
        Ok(files.client)
    }

    /// The server closed without close_notify after our own.
    pub(super) fn note_close_without_notify(&self, address: &str) {
        let now = (self.clock.monotonic)();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.warnings.begin(address, "", now).is_due() {
            warn!(
                "graphite {address} closes TLS without close_notify; its batches count as \
                 delivered, because it has read them to our end"
            );
        }
    }
}

/// An open connection.
#[derive(Debug)]
pub(super) struct TlsStream {
    connection: ClientConnection,
    pub(super) socket: TcpStream,
    /// Whether we have sent our close_notify.
    has_ended: bool,
    /// Whether the server closed without a close_notify after ours.
    pub(super) lacks_close_notify: bool,
}

impl TlsStream {
    /// Shakes hands within `limit`.
    pub(super) fn handshake(
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
        socket: TcpStream,
        limit: Duration,
        clock: Clock,
    ) -> io::Result<Self> {
        let connection = ClientConnection::new(config, name).map_err(invalid)?;
        let mut stream = Self { connection, socket, has_ended: false, lacks_close_notify: false };
        let start = (clock.monotonic)();
        let late =
            || io::Error::new(ErrorKind::TimedOut, "the TLS handshake did not finish in time");
        while stream.connection.is_handshaking() {
            let waited = (clock.monotonic)().saturating_duration_since(start);
            let left = limit.saturating_sub(waited);
            if left.is_zero() {
                return Err(late());
            }
            let left = Some(at_least_a_millisecond(left));
            stream.socket.set_read_timeout(left)?;
            stream.socket.set_write_timeout(left)?;
            match stream.shake() {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Err(late()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => other?,
            }
        }
        Ok(stream)
    }

    fn shake(&mut self) -> io::Result<()> {
        if self.connection.wants_write() {
            return self.send();
        }
        if self.receive()? == 0 {
            let text = "it closed in TLS's handshake";
            return Err(io::Error::new(ErrorKind::UnexpectedEof, text));
        }
        Ok(())
    }

    /// Sends what is encrypted.
    fn send(&mut self) -> io::Result<()> {
        while self.connection.wants_write() {
            if self.connection.write_tls(&mut self.socket)? == 0 {
                return Err(ErrorKind::WriteZero.into());
            }
        }
        Ok(())
    }

    /// Reads what the server has sent; 0 at the end of the connection.
    fn receive(&mut self) -> io::Result<usize> {
        let count = self.connection.read_tls(&mut self.socket)?;
        if let Err(error) = self.connection.process_new_packets() {
            // Tells the server the reason, if it still listens.
            let _ = self.send();
            return Err(invalid(error));
        }
        Ok(count)
    }

    /// Sends our close_notify and ends our side.
    pub(super) fn half_close(&mut self) -> io::Result<()> {
        if !self.has_ended {
            self.connection.send_close_notify();
            self.has_ended = true;
        }
        self.send()?;
        self.socket.shutdown(Shutdown::Write)
    }

    /// The alert with which the server ended the connection, if it came before the end.
    pub(super) fn alert(&mut self) -> Option<io::Error> {
        self.socket.set_nonblocking(true).ok()?;
        let mut buffer = [0; READ_BYTES];
        match self.read(&mut buffer) {
            Err(error) if error.kind() == ErrorKind::InvalidData => Some(error),
            _ => None,
        }
    }
}

impl Read for TlsStream {
    /// The end is the server's close_notify, or after our own the end of the connection.
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.connection.reader().read(room) {
                Ok(0) if self.has_ended => return self.socket.read(room),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.receive()?;
                }
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                    if self.has_ended {
                        self.lacks_close_notify = true;
                        return Ok(0);
                    }
                    let text = "it closed without TLS's close_notify, perhaps because it wants \
                                another certificate of ours";
                    return Err(io::Error::new(ErrorKind::UnexpectedEof, text));
                }
                other => return other,
            }
        }
    }
}

impl Write for TlsStream {
    /// The bytes are sent by the next write or flush, whose errors are those of these bytes too.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.send()?;
        self.connection.writer().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send()
    }
}

fn invalid(error: rustls::Error) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, error)
}
