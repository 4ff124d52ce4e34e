//! How many bytes of a connection the peer has not acknowledged, from the ioctl SIOCOUTQ (tcp(7)).
//! It needs an unsafe line, because the standard library has no call for it.

use std::ffi::c_int;
use std::io;
use std::os::fd::AsRawFd;

/// Bytes that were written and not acknowledged yet; an end of a TCP stream counts as one. Of a
/// UNIX socket the bytes that the peer has not read, which the kernel counts with its own overhead.
#[expect(unsafe_code, reason = "an ioctl")]
pub(crate) fn bytes(stream: &impl AsRawFd) -> io::Result<usize> {
    let mut count: c_int = 0;
    // SAFETY: SIOCOUTQ (the same number as TIOCOUTQ) writes one int through the pointer, which is
    // valid for one, and the descriptor is open.
    let result = unsafe { libc::ioctl(stream.as_raw_fd(), libc::TIOCOUTQ, &raw mut count) };
    if result == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(usize::try_from(count).unwrap_or(0))
}
