//! The soak's Graphite: writes down every line that came whole, and misbehaves as it is told.
//!
//! A line counts once its newline is read, whatever becomes of the connection afterwards; a piece
//! without one is dropped, as carbon does. Nothing is kept in memory: lines go to a file, which is
//! also the evidence when one is missing.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufWriter, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;

use crate::Failure;

/// What is done with one connection, once so many bytes of it are read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cut {
    pub(super) after: u64,
    pub(super) how: How,
}

/// Ways to end a connection.
#[derive(Debug, Clone, Copy)]
pub(super) enum How {
    /// As a program that ends: the system says FIN, or RST where something was left unread.
    Close,
    /// RST at once, whatever is under way.
    Reset,
    /// FIN of our side, while the rest is read all the same.
    HalfClose,
    /// Nothing is read any more for so long, then a reset.
    Stall(Duration),
}

/// Connections that can be spoiled beforehand.
const CUTS_MAX: usize = 4;
/// How often a look is taken at what has no event: a new connection, an end.
const LOOK: Duration = Duration::from_millis(5);
/// A connection on which nobody says anything for so long is looked at for the end of the soak.
const READ_TIMEOUT: Duration = Duration::from_millis(200);

struct State {
    lines: AtomicU64,
    file: Mutex<BufWriter<File>>,
    /// For the connections to come, in their order.
    cuts: Mutex<VecDeque<Cut>>,
    down: AtomicBool,
    over: AtomicBool,
}

/// A receiver on 127.0.0.1.
pub(super) struct Receiver {
    pub(super) port: u16,
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

impl Receiver {
    /// Begins to listen on a free port; lines go to the file.
    pub(super) fn start(path: &Path) -> Result<Self, Failure> {
        let file = File::create(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let listen = || listener(0);
        let listener = listen().map_err(|error| format!("the receiver cannot listen: {error}"))?;
        let address = listener.local_addr().map_err(|error| format!("own address: {error}"))?;
        let state = Arc::new(State {
            lines: AtomicU64::new(0),
            file: Mutex::new(BufWriter::new(file)),
            cuts: Mutex::new(VecDeque::new()),
            down: AtomicBool::new(false),
            over: AtomicBool::new(false),
        });
        let shared = Arc::clone(&state);
        let port = address.port();
        let thread = thread::spawn(move || shared.run(listener, port));
        Ok(Self { port, state, thread: Some(thread) })
    }

    /// Lines that came whole so far.
    pub(super) fn lines(&self) -> u64 {
        self.state.lines.load(Ordering::Relaxed)
    }

    /// Spoils a connection to come, unless enough of them are spoiled already: a receiver that
    /// never is good would only fill the outbox.
    pub(super) fn cut(&self, cut: Cut) {
        let mut cuts = lock(&self.state.cuts);
        if cuts.len() < CUTS_MAX {
            cuts.push_back(cut);
        }
    }

    /// Refuses connections and resets those there are.
    pub(super) fn go_down(&self) {
        self.state.down.store(true, Ordering::Relaxed);
    }

    pub(super) fn come_up(&self) {
        self.state.down.store(false, Ordering::Relaxed);
    }

    /// Behaves well from now on.
    pub(super) fn be_good(&self) {
        lock(&self.state.cuts).clear();
        self.come_up();
    }

    /// Ends, and sees that the file is complete.
    pub(super) fn finish(mut self) -> Result<(), Failure> {
        self.end();
        lock(&self.state.file).flush().map_err(|error| format!("what was received: {error}"))
    }

    fn end(&mut self) {
        self.state.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.end();
    }
}

impl State {
    fn run(self: Arc<Self>, listener: TcpListener, port: u16) {
        let mut listener = Some(listener);
        let mut connections: Vec<JoinHandle<()>> = Vec::new();
        while !self.over.load(Ordering::Relaxed) {
            if self.down.load(Ordering::Relaxed) {
                listener = None;
            } else if listener.is_none() {
                // Somebody may have the port for a moment: then we are down a little longer.
                listener = self::listener(port).ok();
            }
            match listener.as_ref().map(TcpListener::accept) {
                Some(Ok((stream, _))) => {
                    let cut = lock(&self.cuts).pop_front();
                    let state = Arc::clone(&self);
                    connections.retain(|thread| !thread.is_finished());
                    connections.push(thread::spawn(move || state.serve(stream, cut)));
                }
                _ => thread::sleep(LOOK),
            }
        }
        for thread in connections {
            let _ = thread.join();
        }
    }

    fn serve(&self, mut stream: TcpStream, cut: Option<Cut>) {
        let _ = stream.set_nonblocking(false);
        let _ = stream.set_read_timeout(Some(READ_TIMEOUT));
        let mut pending = Vec::new();
        let Some(Cut { after, how }) = cut else {
            self.read(&mut stream, &mut pending, u64::MAX);
            return;
        };
        if !self.read(&mut stream, &mut pending, after) {
            return;
        }
        match how {
            How::Close => {}
            How::Reset => reset(&stream),
            How::HalfClose => {
                let _ = stream.shutdown(Shutdown::Write);
                self.read(&mut stream, &mut pending, u64::MAX);
            }
            How::Stall(time) => {
                let looks = time.as_millis() / READ_TIMEOUT.as_millis();
                for _ in 0..looks {
                    if self.over.load(Ordering::Relaxed) {
                        break;
                    }
                    thread::sleep(READ_TIMEOUT);
                }
                reset(&stream);
            }
        }
    }

    /// Reads up to `limit` bytes and keeps the whole lines; false if the connection is over.
    fn read(&self, stream: &mut TcpStream, pending: &mut Vec<u8>, limit: u64) -> bool {
        let mut buffer = vec![0; 1 << 16];
        let mut left = limit;
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            match stream.read(&mut buffer[..most]) {
                Ok(0) => return false,
                Ok(count) => {
                    left -= count as u64;
                    pending.extend_from_slice(&buffer[..count]);
                    self.keep(pending);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => return false,
            }
            if self.down.load(Ordering::Relaxed) || self.over.load(Ordering::Relaxed) {
                reset(stream);
                return false;
            }
        }
        true
    }

    /// Writes down the whole lines and leaves the begin of the next one.
    fn keep(&self, pending: &mut Vec<u8>) {
        let Some(last) = pending.iter().rposition(|&byte| byte == b'\n') else { return };
        let rest = pending.split_off(last + 1);
        let whole = std::mem::replace(pending, rest);
        let count = whole.iter().filter(|&&byte| byte == b'\n').count();
        // A disk that is full shows at the end: `finish` flushes.
        let _ = lock(&self.file).write_all(&whole);
        self.lines.fetch_add(count as u64, Ordering::Relaxed);
    }
}

fn listener(port: u16) -> std::io::Result<TcpListener> {
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// The close to come says RST.
fn reset(stream: &TcpStream) {
    let _ = set_socket_linger(stream, Some(Duration::ZERO));
}

/// A thread that panicked has left nothing half-done in these.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
