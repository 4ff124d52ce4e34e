//! The kernel's state of a connection with both ends on this machine.

use std::fs;
use std::io;
use std::net::TcpStream;
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;

/// The state of a side that has closed and whose FIN is not acknowledged.
pub(super) const FIN_WAIT1: u8 = 4;

/// One end of a connection.
pub(super) struct Socket {
    pub(super) state: u8,
    /// Bytes that the other side has not acknowledged; the end of this side counts as one.
    pub(super) unacknowledged: u64,
    pub(super) unread: u64,
}

/// Our end and the sender's end; `None` if one of them has ended or uses IPv6.
pub(super) fn both_ends(stream: &TcpStream) -> Option<[Socket; 2]> {
    let ours = stream.local_addr().ok()?.port();
    let theirs = stream.peer_addr().ok()?.port();
    let table = fs::read_to_string("/proc/net/tcp").ok()?;
    Some([socket(&table, ours, theirs)?, socket(&table, theirs, ours)?])
}

fn socket(table: &str, local: u16, remote: u16) -> Option<Socket> {
    let number = |hex: &str| u64::from_str_radix(hex, 16).ok();
    let port = |address: &str| number(address.split_once(':')?.1);
    for line in table.lines().skip(1) {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let &[_, from, to, state, queues, ..] = fields.as_slice() else { continue };
        if port(from) == Some(local.into()) && port(to) == Some(remote.into()) {
            let (unacknowledged, unread) = queues.split_once(':')?;
            return Some(Socket {
                state: u8::from_str_radix(state, 16).ok()?,
                unacknowledged: number(unacknowledged)?,
                unread: number(unread)?,
            });
        }
    }
    None
}

/// Makes the later close send RST.
pub(super) fn reset_on_close(stream: &TcpStream) -> io::Result<()> {
    Ok(set_socket_linger(stream, Some(Duration::ZERO))?)
}
