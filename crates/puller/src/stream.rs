//! A connection to an endpoint, in two states: watched by the thread of all sockets, to which every
//! piece that comes is a reason to wake up, and left to whoever reads it, without anybody watching.

use std::io::{self, Read};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use rustix::net::Shutdown;
use tokio::net;

/// Watched: what comes wakes the thread of all sockets, whether anybody waits for it or not.
#[derive(Debug)]
pub(crate) enum Watched {
    Unix(net::UnixStream),
    Tcp(net::TcpStream),
}

/// Not watched, and for one reader; never blocks.
#[derive(Debug)]
pub(crate) enum Unwatched {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Watched {
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

    /// Tells the other end that no request follows. An endpoint answers as before. Sockets of
    /// another kind close then, and would keep us waiting otherwise. An error shows up when the
    /// answer is read.
    pub(crate) fn end_sending(&self) {
        let _ = match self {
            Self::Unix(stream) => rustix::net::shutdown(stream, Shutdown::Write),
            Self::Tcp(stream) => rustix::net::shutdown(stream, Shutdown::Write),
        };
    }

    pub(crate) fn unwatch(self) -> io::Result<Unwatched> {
        Ok(match self {
            Self::Unix(stream) => Unwatched::Unix(stream.into_std()?),
            Self::Tcp(stream) => Unwatched::Tcp(stream.into_std()?),
        })
    }
}

impl Unwatched {
    /// What has come in between is told at once.
    pub(crate) fn watch(self) -> io::Result<Watched> {
        Ok(match self {
            Self::Unix(stream) => Watched::Unix(net::UnixStream::from_std(stream)?),
            Self::Tcp(stream) => Watched::Tcp(net::TcpStream::from_std(stream)?),
        })
    }
}

impl Read for Unwatched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.read(buffer),
            Self::Tcp(stream) => stream.read(buffer),
        }
    }
}
