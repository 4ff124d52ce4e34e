//! A stand-in for carbon that keeps every byte and misbehaves on demand.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

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
}

/// Everything that the connections share.
struct State {
    manner: Mutex<Manner>,
    /// Bytes by connection, in the order of their acceptance.
    connections: Mutex<Vec<Vec<u8>>>,
    /// Set at the end: connections that are kept go.
    over: Mutex<bool>,
    ending: Condvar,
}

/// A receiver on 127.0.0.1.
pub(crate) struct Sink {
    pub(crate) port: u16,
    state: Arc<State>,
}

impl Sink {
    pub(crate) fn start(manner: Manner) -> Self {
        Self::start_on(0, manner)
    }

    /// On a port of the test's choice.
    pub(crate) fn start_on(port: u16, manner: Manner) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State {
            manner: Mutex::new(manner),
            connections: Mutex::new(Vec::new()),
            over: Mutex::new(false),
            ending: Condvar::new(),
        });
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if *shared.over.lock().unwrap() {
                    break;
                }
                let number = {
                    let mut connections = shared.connections.lock().unwrap();
                    connections.push(Vec::new());
                    connections.len() - 1
                };
                let state = Arc::clone(&shared);
                thread::spawn(move || state.serve(stream, number));
            }
        });
        Self { port, state }
    }

    /// Changes what happens to connections from now on.
    pub(crate) fn behave(&self, manner: Manner) {
        *self.state.manner.lock().unwrap() = manner;
    }

    /// How many connections were accepted.
    pub(crate) fn connections(&self) -> usize {
        self.state.connections.lock().unwrap().len()
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
        *self.state.over.lock().unwrap() = true;
        self.state.ending.notify_all();
        // Wakes the accepting thread, which then lets its port go.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl State {
    fn serve(&self, mut stream: TcpStream, number: usize) {
        let manner = *self.manner.lock().unwrap();
        match manner {
            Manner::CloseAtOnce => {}
            Manner::NeverRead => self.keep(),
            Manner::Whole => self.read(&mut stream, number),
            Manner::NeverClose => {
                self.read(&mut stream, number);
                self.keep();
            }
            Manner::Reset => {
                // Closing with unread bytes makes the kernel send a reset. One byte is read, the
                // rest waits.
                let mut first = [0];
                if stream.read_exact(&mut first).is_ok() {
                    let _ = stream.peek(&mut first);
                }
            }
        }
    }

    fn read(&self, stream: &mut TcpStream, number: usize) {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            self.connections.lock().unwrap()[number].extend_from_slice(&buffer[..count]);
        }
    }

    fn keep(&self) {
        let over = self.over.lock().unwrap();
        drop(self.ending.wait_while(over, |over| !*over).unwrap());
    }
}

/// Without a piece at the end that no newline closed: it is not counted, since a receiver must not
/// take it.
fn whole_lines(bytes: &[u8]) -> Vec<String> {
    let end = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |last| last + 1);
    let text = std::str::from_utf8(&bytes[..end]).expect("lines are UTF-8");
    text.lines().map(str::to_owned).collect()
}
