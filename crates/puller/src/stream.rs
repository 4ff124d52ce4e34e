//! A connection to an endpoint, in two states: registered with the runtime, which wakes the thread
//! of the sockets for every piece that comes, and not registered, while a writer reads it.

use std::io::{self, Read};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use rustix::net::Shutdown;
use tokio::net;

/// Registered: every piece that comes wakes the thread of the sockets.
#[derive(Debug)]
pub(crate) enum AsyncStream {
    Unix(net::UnixStream),
    Tcp(net::TcpStream),
}

/// Not registered; reads never block.
#[derive(Debug)]
pub(crate) enum NonblockingStream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl AsyncStream {
    pub(crate) async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Unix(stream) => stream.readable().await,
            Self::Tcp(stream) => stream.readable().await,
        }
    }

    pub(crate) async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = match self {
                Self::Unix(stream) => {
                    stream.writable().await?;
                    stream.try_write(bytes)
                }
                Self::Tcp(stream) => {
                    stream.writable().await?;
                    stream.try_write(bytes)
                }
            };
            match written {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads the bytes that have come.
    pub(crate) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.try_read(buffer),
            Self::Tcp(stream) => stream.try_read(buffer),
        }
    }

    /// Tells the other end that no request follows. An endpoint answers as before. A socket of
    /// another kind closes then, where it would otherwise keep us waiting. An error shows up when
    /// the answer is read.
    pub(crate) fn end_sending(&self) {
        let _ = match self {
            Self::Unix(stream) => rustix::net::shutdown(stream, Shutdown::Write),
            Self::Tcp(stream) => rustix::net::shutdown(stream, Shutdown::Write),
        };
    }

    pub(crate) fn into_nonblocking(self) -> io::Result<NonblockingStream> {
        Ok(match self {
            Self::Unix(stream) => NonblockingStream::Unix(stream.into_std()?),
            Self::Tcp(stream) => NonblockingStream::Tcp(stream.into_std()?),
        })
    }
}

impl NonblockingStream {
    /// Registers the connection again. Bytes that came in between make it readable at once.
    pub(crate) fn into_async(self) -> io::Result<AsyncStream> {
        Ok(match self {
            Self::Unix(stream) => AsyncStream::Unix(net::UnixStream::from_std(stream)?),
            Self::Tcp(stream) => AsyncStream::Tcp(net::TcpStream::from_std(stream)?),
        })
    }
}

impl Read for NonblockingStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.read(buffer),
            Self::Tcp(stream) => stream.read(buffer),
        }
    }
}
