//! The bench's Graphite: reads everything, keeps nothing, and closes when the sender has ended, as
//! `confirm = close` requires.
//!
//! Each connection becomes one arrival when it is read to its end. Metrics of a program about
//! itself have the time of day; snapshots of the bench have earlier timestamps.

use std::io;
use std::sync::mpsc::{self, Sender};
use std::time::Instant;

use testbed::graphite::{self, Archive, Cause, Manner};

use super::floor::newlines;
use crate::Failure;

/// A connection that has ended.
#[derive(Debug, Clone)]
pub(crate) struct Arrival {
    /// The timestamp of its last line.
    pub(crate) stamp: Option<u64>,
    pub(crate) bytes: u64,
    pub(crate) lines: u64,
    pub(crate) accepted: Instant,
    pub(crate) last_byte: Instant,
}

/// A receiver on 127.0.0.1.
pub(crate) struct Receiver {
    pub(crate) port: u16,
    pub(crate) arrivals: mpsc::Receiver<Arrival>,
    server: graphite::Receiver<Counter>,
}

/// The last word of a line is shorter.
const TAIL: usize = 32;

impl Receiver {
    pub(crate) fn start() -> Result<Self, Failure> {
        let (sender, arrivals) = mpsc::channel();
        let server = graphite::Receiver::start(Counter(sender), Manner::Whole)
            .map_err(|error| format!("the receiver cannot listen: {error}"))?;
        Ok(Self { port: server.port(), arrivals, server })
    }

    /// The arrivals that were not received from `arrivals` yet, once all senders have ended.
    pub(crate) fn finish(self) -> Result<Vec<Arrival>, Failure> {
        self.server.finish().map_err(|error| format!("the receiver: {error}"))?;
        Ok(self.arrivals.try_iter().collect())
    }
}

/// Counts what is read and hands on each connection that has ended.
struct Counter(Sender<Arrival>);

impl Archive for Counter {
    /// The arrival so far, and the last bytes that were read.
    type Page = (Arrival, Vec<u8>);

    fn open(&self) -> Self::Page {
        let accepted = Instant::now();
        let last_byte = accepted;
        (Arrival { stamp: None, bytes: 0, lines: 0, accepted, last_byte }, Vec::new())
    }

    fn keep(&self, (arrival, tail): &mut Self::Page, bytes: &[u8]) -> io::Result<()> {
        arrival.last_byte = Instant::now();
        arrival.bytes += bytes.len() as u64;
        arrival.lines += newlines(bytes);
        tail.extend_from_slice(&bytes[bytes.len().saturating_sub(TAIL)..]);
        tail.drain(..tail.len().saturating_sub(TAIL));
        Ok(())
    }

    fn close(&self, (mut arrival, tail): Self::Page, _cause: Cause) {
        arrival.stamp = stamp(&tail);
        // The bench may have ended.
        let _ = self.0.send(arrival);
    }
}

/// The last word of the last line.
fn stamp(tail: &[u8]) -> Option<u64> {
    let line = std::str::from_utf8(tail.strip_suffix(b"\n")?).ok()?;
    line.rsplit(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpStream};

    use super::*;

    #[test]
    fn an_arrival_tells_lines_bytes_and_stamp_and_the_sender_sees_the_close() {
        let receiver = Receiver::start().unwrap();
        let mut stream = TcpStream::connect(("127.0.0.1", receiver.port)).unwrap();
        stream.write_all(b"a.b 1 1600000000\na.c 2 1600000001\n").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0);
        let arrivals = receiver.finish().unwrap();
        assert_eq!(arrivals.len(), 1);
        let Arrival { stamp, bytes, lines, accepted, last_byte } = arrivals[0];
        assert_eq!((stamp, bytes, lines), (Some(1_600_000_001), 34, 2));
        assert!(last_byte >= accepted);
    }

    #[test]
    fn text_that_is_no_line_has_no_timestamp() {
        assert_eq!(stamp(b"a.b 1 1600000000"), None);
        assert_eq!(stamp(b"xxxx\n"), None);
        assert_eq!(stamp(b""), None);
    }
}
