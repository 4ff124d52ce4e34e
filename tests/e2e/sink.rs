//! A stand-in for carbon that keeps every byte and misbehaves on demand.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::{IpAddr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::net::sockopt::{set_socket_linger, set_socket_recv_buffer_size};

use crate::support::wait_until;

/// What the sink does with a connection that comes from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Reads to the end, then closes: a good carbon.
    Whole,
    /// Closes before anything is read.
    CloseAtOnce,
    /// Reads a little, then resets while more is under way.
    Reset,
    /// Reads nothing and keeps the connection.
    NeverRead,
    /// Reads all and keeps the connection.
    NeverClose,
    /// Reads so many bytes, or to the end where that comes first.
    Cut(usize, Ending),
    /// Likewise, one byte more on each connection, beginning with none.
    Climb(Ending),
    /// Reads a byte now and then.
    Trickle,
}

/// What follows the bytes that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// As a program that ends: FIN, or RST by the kernel where something is left unread.
    Close,
    /// RST at once.
    Reset,
    /// FIN, and the rest is read all the same.
    HalfClose,
    /// FIN, and nothing more is read.
    Fin,
    /// Nothing at all.
    Stall,
}

/// Everything that the connections share.
struct State {
    manner: Mutex<Manner>,
    /// Bytes by connection, in the order of their acceptance.
    connections: Mutex<Vec<Vec<u8>>>,
    /// Those that are open, to break them.
    streams: Mutex<BTreeMap<usize, TcpStream>>,
    /// Where the next connection is cut that climbs.
    climbed: Mutex<usize>,
    /// How often it was killed: what began before goes then.
    deaths: Mutex<usize>,
    dying: Condvar,
}

/// A receiver on an address of this machine.
pub(crate) struct Sink {
    address: IpAddr,
    pub(crate) port: u16,
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

impl Sink {
    pub(crate) fn start(manner: Manner) -> Self {
        Self::start_on(0, manner)
    }

    /// On a port of the test's choice.
    pub(crate) fn start_on(port: u16, manner: Manner) -> Self {
        Self::start_at("127.0.0.1", port, manner)
    }

    /// On another address of this machine.
    pub(crate) fn start_at(address: &str, port: u16, manner: Manner) -> Self {
        Self::listen(&TcpListener::bind((address, port)).unwrap(), manner)
    }

    /// With so small a window that a sender's kernel keeps most of a batch until it is read.
    pub(crate) fn start_narrow(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        set_socket_recv_buffer_size(&listener, 1).unwrap();
        Self::listen(&listener, manner)
    }

    fn listen(listener: &TcpListener, manner: Manner) -> Self {
        let state = Arc::new(State {
            manner: Mutex::new(manner),
            connections: Mutex::new(Vec::new()),
            streams: Mutex::new(BTreeMap::new()),
            climbed: Mutex::new(0),
            deaths: Mutex::new(0),
            dying: Condvar::new(),
        });
        let address = listener.local_addr().unwrap();
        let thread = Some(state.accept(listener.try_clone().unwrap()));
        Self { address: address.ip(), port: address.port(), state, thread }
    }

    /// As a SIGKILL would: connections are reset, new ones refused. What came is not forgotten.
    pub(crate) fn kill(&mut self) {
        *self.state.deaths.lock().unwrap() += 1;
        self.state.dying.notify_all();
        // Wakes the accepting thread, which then lets its port go.
        let _ = TcpStream::connect((self.address, self.port));
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
        for stream in std::mem::take(&mut *self.state.streams.lock().unwrap()).values() {
            reset(stream);
            // Wakes its reader without a word to the peer, which a kernel that ends a process has not either: the close that
            // follows says RST.
            let _ = stream.shutdown(Shutdown::Read);
        }
    }

    /// Listens again after [`Sink::kill`].
    pub(crate) fn revive(&mut self) {
        let mut listener = None;
        wait_until("the receiver's port", || {
            listener = TcpListener::bind((self.address, self.port)).ok();
            listener.is_some()
        });
        self.thread = Some(self.state.accept(listener.unwrap()));
    }

    /// Changes what happens to connections from now on.
    pub(crate) fn behave(&self, manner: Manner) {
        *self.state.manner.lock().unwrap() = manner;
    }

    /// How many connections were accepted.
    pub(crate) fn connections(&self) -> usize {
        self.state.connections.lock().unwrap().len()
    }

    /// How many bytes each connection brought.
    pub(crate) fn bytes(&self) -> Vec<usize> {
        self.state.connections.lock().unwrap().iter().map(Vec::len).collect()
    }

    /// The lines that came whole, connection by connection.
    pub(crate) fn lines(&self) -> Vec<String> {
        let connections = self.state.connections.lock().unwrap();
        connections.iter().flat_map(|bytes| whole_lines(bytes)).collect()
    }

    /// How often each line about HAProxy came, by timestamp; what the program says of itself is
    /// left out.
    pub(crate) fn by_timestamp(&self) -> BTreeMap<u64, BTreeMap<String, usize>> {
        let mut table: BTreeMap<u64, BTreeMap<String, usize>> = BTreeMap::new();
        for line in self.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let [path, value, timestamp] = words[..] else { panic!("malformed line: {line}") };
            assert!(value.parse::<f64>().is_ok_and(f64::is_finite), "no number: {line}");
            if !path.contains(".haproxystats.") {
                let timestamp = timestamp.parse().unwrap();
                let count = table.entry(timestamp).or_default();
                *count.entry(format!("{path} {value}")).or_default() += 1;
            }
        }
        table
    }

    /// Timestamps of snapshots in the order in which their first line came.
    pub(crate) fn order(&self) -> Vec<u64> {
        let mut order = Vec::new();
        for line in self.lines() {
            let timestamp = line.rsplit(' ').next().unwrap().parse().unwrap();
            if !line.contains(".haproxystats.") && !order.contains(&timestamp) {
                order.push(timestamp);
            }
        }
        order
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.kill();
        }
    }
}

impl State {
    fn accept(self: &Arc<Self>, listener: TcpListener) -> JoinHandle<()> {
        let shared = Arc::clone(self);
        let life = *self.deaths.lock().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if *shared.deaths.lock().unwrap() > life {
                    break;
                }
                // Before it is counted: who waits for it may change the manner at once.
                let manner = *shared.manner.lock().unwrap();
                let number = {
                    let mut connections = shared.connections.lock().unwrap();
                    connections.push(Vec::new());
                    connections.len() - 1
                };
                shared.streams.lock().unwrap().insert(number, stream.try_clone().unwrap());
                let state = Arc::clone(&shared);
                thread::spawn(move || {
                    state.serve(stream, number, life, manner);
                    // Only now it is closed: this was its last handle.
                    state.streams.lock().unwrap().remove(&number);
                });
            }
        })
    }

    fn serve(&self, mut stream: TcpStream, number: usize, life: usize, manner: Manner) {
        match manner {
            Manner::CloseAtOnce => {}
            Manner::NeverRead => self.keep(life),
            Manner::Whole => {
                self.read(&mut stream, number, usize::MAX);
            }
            Manner::NeverClose => {
                self.read(&mut stream, number, usize::MAX);
                self.keep(life);
            }
            Manner::Reset => {
                // Closing with unread bytes makes the kernel send a reset. One byte is read, the
                // rest waits.
                let mut first = [0];
                if stream.read_exact(&mut first).is_ok() {
                    let _ = stream.peek(&mut first);
                }
            }
            Manner::Cut(after, ending) => self.cut(&mut stream, number, life, after, ending),
            Manner::Climb(ending) => {
                let after = {
                    let mut climbed = self.climbed.lock().unwrap();
                    *climbed += 1;
                    *climbed - 1
                };
                self.cut(&mut stream, number, life, after, ending);
            }
            Manner::Trickle => {
                while *self.deaths.lock().unwrap() == life && self.read(&mut stream, number, 1) {
                    thread::sleep(Duration::from_millis(20));
                }
            }
        }
    }

    fn cut(
        &self,
        stream: &mut TcpStream,
        number: usize,
        life: usize,
        after: usize,
        ending: Ending,
    ) {
        if !self.read(stream, number, after) {
            return;
        }
        match ending {
            Ending::Close => {}
            Ending::Reset => reset(stream),
            Ending::HalfClose => {
                let _ = stream.shutdown(Shutdown::Write);
                self.read(stream, number, usize::MAX);
            }
            Ending::Fin => {
                let _ = stream.shutdown(Shutdown::Write);
                self.keep(life);
            }
            Ending::Stall => self.keep(life),
        }
    }

    /// Reads up to so many bytes; false if the connection ended before.
    fn read(&self, stream: &mut TcpStream, number: usize, most: usize) -> bool {
        let mut buffer = vec![0; most.min(1 << 16)];
        let mut left = most;
        while left > 0 {
            let room = left.min(buffer.len());
            let Ok(count @ 1..) = stream.read(&mut buffer[..room]) else { return false };
            self.connections.lock().unwrap()[number].extend_from_slice(&buffer[..count]);
            left -= count;
        }
        true
    }

    fn keep(&self, life: usize) {
        let deaths = self.deaths.lock().unwrap();
        drop(self.dying.wait_while(deaths, |deaths| *deaths == life).unwrap());
    }
}

/// The close to come says RST.
fn reset(stream: &TcpStream) {
    let _ = set_socket_linger(stream, Some(Duration::ZERO));
}

/// Without a piece at the end that no newline closed: it is not counted, since a receiver must not
/// take it.
fn whole_lines(bytes: &[u8]) -> Vec<String> {
    let end = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |last| last + 1);
    let text = std::str::from_utf8(&bytes[..end]).expect("lines are UTF-8");
    text.lines().map(str::to_owned).collect()
}
