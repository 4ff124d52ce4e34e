//! Takes the address of a monitor server, once, at the start of a program.
//!
//! The file of a UNIX socket stays when a program ends, so the next start finds it. It is replaced
//! by a rename if nobody listens on it; a socket in use and another kind of file are faults.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use thiserror::Error;

use crate::remedy;

/// Every local user may ask. The folder of the socket can say otherwise.
const MODE: u32 = 0o666;

/// An address that is listened on.
#[derive(Debug)]
pub enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// A UNIX socket.
    Unix(UnixListener),
}

/// The address of a monitor server cannot be had.
#[derive(Debug, Error)]
pub enum ListenError {
    /// Another program has it.
    #[error(
        "cannot listen on {address}: another program has this address; end that one, or choose \
         another address in monitor-listen"
    )]
    Taken {
        /// As in the configuration.
        address: String,
    },
    /// The path has another kind of file.
    #[error(
        "cannot listen on {address}: the path has a file that is no socket; remove the file, or \
         choose another path in monitor-listen"
    )]
    NoSocket {
        /// As in the configuration.
        address: String,
    },
    /// The system refuses it.
    #[error("cannot listen on {address}: {source}{}", remedy::of(source))]
    Refused {
        /// As in the configuration.
        address: String,
        /// The error of the system.
        source: io::Error,
    },
}

impl ListenError {
    /// Whether the configuration must change before another try can succeed.
    #[must_use]
    pub const fn is_configuration(&self) -> bool {
        matches!(self, Self::Taken { .. } | Self::NoSocket { .. })
    }
}

impl Listener {
    /// Listens on an address of TCP.
    ///
    /// # Errors
    ///
    /// The address is taken, or not of this machine.
    pub fn tcp(address: SocketAddr) -> Result<Self, ListenError> {
        let refused = |source| refusal(address.to_string(), source);
        let listener = TcpListener::bind(address).map_err(refused)?;
        listener.set_nonblocking(true).map_err(refused)?;
        Ok(Self::Tcp(listener))
    }

    /// Listens on a UNIX socket, whose file replaces that of a program that has ended.
    ///
    /// # Errors
    ///
    /// A program listens there, the path has another kind of file, or the folder is closed to us.
    pub fn unix(path: &Path) -> Result<Self, ListenError> {
        let address = format!("unix://{}", path.display());
        let refused = |source| refusal(address.clone(), source);
        match fs::symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => {
                return Err(ListenError::NoSocket { address });
            }
            Ok(_) => is_abandoned(path).map_err(refused)?,
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(refused(error)),
        }
        let staged = staged(path);
        // An earlier program with our process number can have left this file behind.
        let _ = fs::remove_file(&staged);
        let listener = UnixListener::bind(&staged).map_err(refused)?;
        let set_up = || {
            listener.set_nonblocking(true)?;
            fs::set_permissions(&staged, Permissions::from_mode(MODE))?;
            fs::rename(&staged, path)
        };
        if let Err(error) = set_up() {
            let _ = fs::remove_file(&staged);
            return Err(refused(error));
        }
        Ok(Self::Unix(listener))
    }
}

fn refusal(address: String, source: io::Error) -> ListenError {
    if source.kind() == ErrorKind::AddrInUse {
        return ListenError::Taken { address };
    }
    ListenError::Refused { address, source }
}

/// Fails if a program listens on the socket, or if that cannot be found out.
fn is_abandoned(path: &Path) -> io::Result<()> {
    match connect(path) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Ok(_) => Err(ErrorKind::AddrInUse.into()),
        // The queue of a listener is full.
        Err(error) if error.kind() == ErrorKind::WouldBlock => Err(ErrorKind::AddrInUse.into()),
        Err(error) => Err(error),
    }
}

/// Connects without waiting for room in the queue of a listener.
fn connect(path: &Path) -> io::Result<UnixStream> {
    use rustix::net::{
        AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    connect(&socket, &SocketAddrUnix::new(path)?).map_err(|errno: Errno| io::Error::from(errno))?;
    Ok(socket.into())
}

/// A name beside the socket, on its file system.
fn staged(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}", std::process::id()));
    name.into()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn an_address_in_use_is_taken() {
        let first = Listener::tcp("127.0.0.1:0".parse().unwrap()).unwrap();
        let Listener::Tcp(listener) = &first else { panic!("{first:?}") };
        let address = listener.local_addr().unwrap();
        let error = Listener::tcp(address).unwrap_err();
        assert!(error.is_configuration(), "{error}");
        assert!(error.to_string().contains("another program has this address"), "{error}");
    }

    #[test]
    fn an_abandoned_socket_is_replaced_and_one_in_use_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("monitor.sock");
        let first = Listener::unix(&path).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, MODE);
        let error = Listener::unix(&path).unwrap_err();
        assert!(matches!(error, ListenError::Taken { .. }), "{error}");
        assert!(error.to_string().contains("monitor.sock"), "{error}");
        drop(first);
        assert!(path.exists(), "the file stays when its program ends");
        let second = Listener::unix(&path).unwrap();
        UnixStream::connect(&path).unwrap().write_all(b"x").unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else stays");
        drop(second);
    }

    #[test]
    fn no_other_file_is_ever_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "kept").unwrap();
        let error = Listener::unix(&path).unwrap_err();
        assert!(matches!(error, ListenError::NoSocket { .. }), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "kept");
        let absent = folder.path().join("none/monitor.sock");
        let error = Listener::unix(&absent).unwrap_err();
        assert!(error.to_string().contains("; check that it is there"), "{error}");
        assert!(!error.is_configuration());
    }
}
