//! A connection to a server: TCP, TLS over it, or a UNIX socket.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use super::secured::TlsStream;
use crate::unacknowledged;

/// An open connection.
#[derive(Debug)]
pub(super) enum Stream {
    Tcp(TcpStream),
    Tls(Box<TlsStream>),
    Unix(UnixStream),
}

impl Stream {
    /// Connects to an address.
    pub(super) fn tcp(address: &SocketAddr, limit: Duration) -> io::Result<TcpStream> {
        let stream = TcpStream::connect_timeout(address, at_least_a_millisecond(limit))?;
        // No process listens there, and the system chose the same port for our side: we would send
        // the batch to ourselves.
        if stream.local_addr().ok() == Some(*address) {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        Ok(stream)
    }

    /// Connects to a UNIX socket. The kernel waits at most `limit` for a listener whose backlog is
    /// full (unix(7), SO_SNDTIMEO); [`UnixStream::connect`] would wait without end.
    pub(super) fn unix(path: &Path, limit: Duration) -> io::Result<Self> {
        let address = SocketAddrUnix::new(path)?;
        let flags = SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        set_socket_timeout(&socket, Timeout::Send, Some(at_least_a_millisecond(limit)))?;
        match connect(&socket, &address) {
            Ok(()) => Ok(Self::Unix(UnixStream::from(socket))),
            Err(Errno::AGAIN) => Err(io::ErrorKind::TimedOut.into()),
            Err(error) => Err(error.into()),
        }
    }

    /// The address of the server; `None` for a UNIX socket.
    pub(super) fn peer(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(stream) => stream.peer_addr().ok(),
            Self::Tls(stream) => stream.socket.peer_addr().ok(),
            Self::Unix(_) => None,
        }
    }

    pub(super) fn set_write_timeout(&self, limit: Duration) -> io::Result<()> {
        let limit = Some(at_least_a_millisecond(limit));
        match self {
            Self::Tcp(stream) => stream.set_write_timeout(limit),
            Self::Tls(stream) => stream.socket.set_write_timeout(limit),
            Self::Unix(stream) => stream.set_write_timeout(limit),
        }
    }

    pub(super) fn set_read_timeout(&self, limit: Duration) -> io::Result<()> {
        let limit = Some(at_least_a_millisecond(limit));
        match self {
            Self::Tcp(stream) => stream.set_read_timeout(limit),
            Self::Tls(stream) => stream.socket.set_read_timeout(limit),
            Self::Unix(stream) => stream.set_read_timeout(limit),
        }
    }

    pub(super) fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.set_nonblocking(nonblocking),
            Self::Tls(stream) => stream.socket.set_nonblocking(nonblocking),
            Self::Unix(stream) => stream.set_nonblocking(nonblocking),
        }
    }

    /// Tells the server that no more bytes follow.
    pub(super) fn half_close(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Self::Tls(stream) => stream.half_close(),
            Self::Unix(stream) => stream.shutdown(Shutdown::Write),
        }
    }

    /// The TLS alert with which the server ended the connection, if there is one.
    pub(super) fn alert(&mut self) -> Option<io::Error> {
        match self {
            Self::Tls(stream) => stream.alert(),
            Self::Tcp(_) | Self::Unix(_) => None,
        }
    }

    /// Bytes that the server's kernel has not acknowledged, or for a UNIX socket that the server
    /// has not read; an error if the connection is broken.
    pub(super) fn unacknowledged(&self) -> io::Result<usize> {
        let (bytes, error) = match self {
            Self::Tcp(stream) => (unacknowledged::bytes(stream)?, stream.take_error()?),
            Self::Tls(stream) => {
                (unacknowledged::bytes(&stream.socket)?, stream.socket.take_error()?)
            }
            Self::Unix(stream) => (unacknowledged::bytes(stream)?, stream.take_error()?),
        };
        // Check SO_ERROR last: after a reset SIOCOUTQ is meaningless.
        match error {
            Some(error) => Err(error),
            None => Ok(bytes),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(room),
            Self::Tls(stream) => stream.read(room),
            Self::Unix(stream) => stream.read(room),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
            Self::Unix(stream) => stream.flush(),
        }
    }
}

/// The standard library refuses a timeout of zero.
pub(super) fn at_least_a_millisecond(limit: Duration) -> Duration {
    limit.max(Duration::from_millis(1))
}
