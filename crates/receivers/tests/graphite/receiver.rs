//! A Graphite receiver that does what a script says, one script for each connection in the order of their coming.
//!
//! It listens on a port of the system's choice and keeps what it read of each connection. Nothing in it sleeps for a time that
//! was guessed: a step waits for the other side, or looks again until a deadline.

use std::ffi::c_int;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::mpsc::{Receiver as Channel, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// No step takes so long unless something is wrong.
const DEADLINE: Duration = Duration::from_secs(30);

/// What a receiver does with a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Reads so many bytes, fewer where the batch ends before.
    Read(usize),
    /// Reads until the sender has closed its side.
    ReadToEnd,
    /// Looks until so many bytes lie unread.
    AwaitUnread(usize),
    /// Looks until the sender's kernel and ours hold so many bytes together.
    AwaitWritten(u64),
    /// Looks until the sender has closed its side, which we need not have heard of: it can lie behind bytes that we do not take.
    AwaitHalfClose,
    /// Says so many bytes.
    Say(usize),
    /// Says so many bytes, each after the sender has read the one before.
    SayOneByOne(usize),
    /// Closes its own side and looks until the sender's kernel has heard of it.
    HalfClose,
    /// Ends the connection with a reset, whatever was read.
    Reset,
    /// Keeps the connection as it is until the test is through.
    Hold,
}

/// What came on one connection.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Heard {
    /// All that was read.
    pub(crate) bytes: Vec<u8>,
    /// Whether the sender's end was seen.
    pub(crate) ended: bool,
}

/// A receiver at work.
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    /// A number for each connection whose script is through.
    through: Channel<usize>,
    /// Dropped to end what holds.
    holds: Vec<Sender<()>>,
    connections: Channel<JoinHandle<Heard>>,
    expected: usize,
}

impl Receiver {
    /// Serves as many connections as there are scripts; one more is a fault of the sender, and is refused.
    pub(crate) fn start<const N: usize>(scripts: [&[Step]; N]) -> Self {
        Self::listen(TcpListener::bind("127.0.0.1:0").unwrap(), scripts)
    }

    pub(crate) fn listen<const N: usize>(listener: TcpListener, scripts: [&[Step]; N]) -> Self {
        let address = listener.local_addr().unwrap();
        let (tell, through) = channel();
        let (holds, held): (Vec<_>, Vec<_>) = (0..N).map(|_| channel()).unzip();
        let scripts: Vec<_> = scripts.map(<[Step]>::to_vec).into_iter().zip(held).collect();
        let (served, connections) = channel();
        thread::spawn(move || {
            for (number, (steps, held)) in scripts.into_iter().enumerate() {
                let (stream, _) = listener.accept().unwrap();
                let tell = tell.clone();
                let connection = thread::spawn(move || {
                    let heard = play(stream, &steps, &held);
                    let _ = tell.send(number);
                    heard
                });
                let _ = served.send(connection);
            }
        });
        Self { address, through, holds, connections, expected: N }
    }

    /// Waits until the script of this connection is through and the connection closed.
    pub(crate) fn await_through(&self, number: usize) {
        assert_eq!(self.through.recv_timeout(DEADLINE), Ok(number));
    }

    /// What came on each connection. The sender must have ended those that are read to their end.
    pub(crate) fn finish(self) -> Vec<Heard> {
        drop(self.holds);
        let next = |_| self.connections.recv_timeout(DEADLINE).unwrap().join().unwrap();
        (0..self.expected).map(next).collect()
    }
}

fn play(mut stream: TcpStream, steps: &[Step], held: &Channel<()>) -> Heard {
    let mut heard = Heard::default();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    for step in steps {
        match *step {
            Step::Read(bytes) => read(&mut stream, bytes, &mut heard),
            Step::ReadToEnd => read(&mut stream, usize::MAX, &mut heard),
            Step::AwaitUnread(bytes) => {
                let mut unread = vec![0; bytes];
                // A sender that gives up sends no more, which the step after this one will show.
                look_until(|| !stream.peek(&mut unread).is_ok_and(|count| count < bytes));
            }
            Step::AwaitWritten(bytes) => look_until(|| {
                let [ours, theirs] = both_ends(&stream);
                ours.unread + theirs.unacknowledged >= bytes
            }),
            Step::AwaitHalfClose => look_until(|| both_ends(&stream)[1].state == FIN_WAIT1),
            // The sender may have given up; then there is nobody to talk to.
            Step::Say(bytes) => drop(stream.write_all(&vec![b'?'; bytes])),
            Step::SayOneByOne(bytes) => {
                stream.set_nodelay(true).unwrap();
                for _ in 0..bytes {
                    stream.write_all(b"?").unwrap();
                    look_until(|| {
                        let [ours, theirs] = both_ends(&stream);
                        ours.unacknowledged + theirs.unread == 0
                    });
                }
            }
            Step::HalfClose => {
                stream.shutdown(Shutdown::Write).unwrap();
                look_until(|| unacknowledged(&stream) == 0);
            }
            Step::Reset => reset_on_close(&stream),
            Step::Hold => drop(held.recv()),
        }
    }
    heard
}

fn read(stream: &mut TcpStream, bytes: usize, heard: &mut Heard) {
    let mut left = bytes;
    let mut buffer = vec![0; 64 * 1024];
    while left > 0 {
        let room = buffer.len().min(left);
        match stream.read(&mut buffer[..room]) {
            Ok(0) => {
                heard.ended = true;
                return;
            }
            Ok(count) => {
                heard.bytes.extend_from_slice(&buffer[..count]);
                left -= count;
            }
            // A sender that gives up with bytes unread of what we said ends with a reset.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return,
            Err(error) => panic!("{error}"),
        }
    }
}

fn look_until(mut condition: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < DEADLINE);
        thread::yield_now();
    }
}

/// What the kernel tells of one end of a connection.
struct End {
    state: u8,
    unacknowledged: u64,
    unread: u64,
}

/// The state of who has closed its side and has not heard that it was heard.
const FIN_WAIT1: u8 = 4;

/// Our end and the sender's, which is on this machine.
fn both_ends(stream: &TcpStream) -> [End; 2] {
    let ours = stream.local_addr().unwrap().port();
    let theirs = stream.peer_addr().unwrap().port();
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    [(ours, theirs), (theirs, ours)].map(|(local, remote)| {
        let number = |hex: &str| u64::from_str_radix(hex, 16).unwrap();
        let port = |address: &str| number(address.split_once(':').unwrap().1);
        let mut lines = table.lines().skip(1).map(|line| line.split_whitespace().collect());
        let fields: Vec<&str> = lines
            .find(|fields: &Vec<&str>| {
                port(fields[1]) == u64::from(local) && port(fields[2]) == u64::from(remote)
            })
            .unwrap();
        let (unacknowledged, unread) = fields[4].split_once(':').unwrap();
        End {
            state: u8::from_str_radix(fields[3], 16).unwrap(),
            unacknowledged: number(unacknowledged),
            unread: number(unread),
        }
    })
}

/// The end of our side counts as a byte: none left means that the sender's kernel knows of it.
#[expect(unsafe_code, reason = "an ioctl")]
fn unacknowledged(stream: &TcpStream) -> c_int {
    let mut count: c_int = 0;
    // SAFETY: the request writes one int through the pointer, which is valid for it; the descriptor is open.
    let result = unsafe { libc::ioctl(stream.as_raw_fd(), libc::TIOCOUTQ, &raw mut count) };
    assert_eq!(result, 0);
    count
}

#[expect(unsafe_code, reason = "the standard library's set_linger is not stable")]
fn reset_on_close(stream: &TcpStream) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    let size = libc::socklen_t::try_from(size_of::<libc::linger>()).unwrap();
    // SAFETY: the pointer leads to a linger of the size that is told; the descriptor is open.
    let result = unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const linger).cast(),
            size,
        )
    };
    assert_eq!(result, 0);
}
