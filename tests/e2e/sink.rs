//! A fake carbon, and its lines by snapshot.

use std::collections::BTreeMap;
use std::net::TcpListener;

use rustix::net::sockopt::set_socket_recv_buffer_size;
pub(crate) use testbed::graphite::{Ending, Manner};
use testbed::graphite::{Receiver, Transcripts};

/// A receiver on an address of this machine.
pub(crate) struct Sink {
    pub(crate) port: u16,
    receiver: Receiver<Transcripts>,
}

impl Sink {
    pub(crate) fn start(manner: Manner) -> Self {
        Self::start_on(0, manner)
    }

    /// Starts on a port of the test's choice.
    pub(crate) fn start_on(port: u16, manner: Manner) -> Self {
        Self::start_at("127.0.0.1", port, manner)
    }

    /// Starts on another address of this machine.
    pub(crate) fn start_at(address: &str, port: u16, manner: Manner) -> Self {
        Self::listen(TcpListener::bind((address, port)).unwrap(), manner)
    }

    /// Starts with a window so small that a sender's kernel keeps most of a batch until it is read.
    pub(crate) fn start_narrow(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        set_socket_recv_buffer_size(&listener, 1).unwrap();
        Self::listen(listener, manner)
    }

    fn listen(listener: TcpListener, manner: Manner) -> Self {
        let receiver = Receiver::listen(listener, Transcripts::default(), manner).unwrap();
        Self { port: receiver.port(), receiver }
    }

    /// Acts like a SIGKILL: resets connections and refuses new ones. The archive stays.
    pub(crate) fn kill(&mut self) {
        self.receiver.go_down();
    }

    /// Listens again after [`Sink::kill`].
    pub(crate) fn revive(&mut self) {
        self.receiver.come_up().unwrap();
    }

    /// Changes the manner of connections from now on.
    pub(crate) fn behave(&self, manner: Manner) {
        self.receiver.behave(manner);
    }

    /// The number of accepted connections.
    pub(crate) fn connections(&self) -> usize {
        self.receiver.connections()
    }

    /// The number of bytes of each connection.
    pub(crate) fn bytes(&self) -> Vec<usize> {
        self.receiver.archive().sizes()
    }

    /// The whole lines, connection by connection.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.receiver.archive().lines()
    }

    /// The number of times that each line about HAProxy came, by timestamp, without the program's
    /// own metrics.
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
