//! The bench's Graphite: reads everything, keeps nothing, and closes when the sender has ended, as
//! `confirm = close` wants it.
//!
//! Each connection becomes one arrival when it is read to its end. What a program says about itself
//! bears the time of day; snapshots of the bench bear earlier stamps, so the two can be told apart.

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::floor::newlines;
use crate::Failure;

/// A connection that is over.
#[derive(Debug, Clone)]
pub(crate) struct Arrival {
    /// The timestamp of its last line.
    pub(crate) stamp: Option<u64>,
    pub(crate) bytes: u64,
    pub(crate) lines: u64,
    pub(crate) accepted: Instant,
    pub(crate) last_byte: Instant,
}

/// A receiver on 127.0.0.1; dropping it ends it once its connections are over.
pub(crate) struct Receiver {
    pub(crate) port: u16,
    pub(crate) arrivals: mpsc::Receiver<Arrival>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// A connection on which nothing comes for so long is over.
const SILENCE: Duration = Duration::from_secs(120);
/// As much as the programs write at once.
const BUFFER: usize = 1 << 18;
/// No line's last word is longer.
const TAIL: usize = 32;

impl Receiver {
    pub(crate) fn start() -> Result<Self, Failure> {
        let failed = |error| format!("the receiver cannot listen: {error}");
        let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(failed)?;
        let port = listener.local_addr().map_err(failed)?.port();
        let (sender, arrivals) = mpsc::channel();
        let over = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&over);
        let thread = thread::spawn(move || accept(&listener, &sender, &told));
        Ok(Self { port, arrivals, over, thread: Some(thread) })
    }

    /// What has not been taken from `arrivals` yet, once all senders have ended.
    pub(crate) fn finish(mut self) -> Vec<Arrival> {
        self.stop();
        self.arrivals.try_iter().collect()
    }

    fn stop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // To wake it up. If that fails it has ended by itself.
            let _ = TcpStream::connect(("127.0.0.1", self.port));
            let _ = thread.join();
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.stop();
    }
}

fn accept(listener: &TcpListener, arrivals: &Sender<Arrival>, over: &AtomicBool) {
    let mut threads = Vec::new();
    for stream in listener.incoming() {
        if over.load(Ordering::Relaxed) {
            break;
        }
        let (Ok(stream), arrivals) = (stream, arrivals.clone()) else { continue };
        threads.retain(|thread: &JoinHandle<()>| !thread.is_finished());
        threads.push(thread::spawn(move || serve(stream, &arrivals)));
    }
    for thread in threads {
        let _ = thread.join();
    }
}

fn serve(mut stream: TcpStream, arrivals: &Sender<Arrival>) {
    let accepted = Instant::now();
    // Whoever keeps a connection is not waited for without end.
    let _ = stream.set_read_timeout(Some(SILENCE));
    let mut arrival = Arrival { stamp: None, bytes: 0, lines: 0, accepted, last_byte: accepted };
    let mut buffer = vec![0; BUFFER];
    let mut tail = Vec::new();
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        arrival.last_byte = Instant::now();
        let read = &buffer[..count];
        arrival.bytes += count as u64;
        arrival.lines += newlines(read);
        tail.extend_from_slice(&read[count.saturating_sub(TAIL)..]);
        tail.drain(..tail.len().saturating_sub(TAIL));
    }
    arrival.stamp = stamp(&tail);
    // The close tells the sender that all was read: whoever waits for the arrival comes after it.
    drop(stream);
    // Nobody is interested any more once the bench has what it wants.
    let _ = arrivals.send(arrival);
}

/// The last word of the last line.
fn stamp(tail: &[u8]) -> Option<u64> {
    let line = std::str::from_utf8(tail.strip_suffix(b"\n")?).ok()?;
    line.rsplit(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::Shutdown;

    use super::*;

    #[test]
    fn an_arrival_tells_lines_bytes_and_stamp_and_the_sender_sees_the_close() {
        let receiver = Receiver::start().unwrap();
        let mut stream = TcpStream::connect(("127.0.0.1", receiver.port)).unwrap();
        stream.write_all(b"a.b 1 1600000000\na.c 2 1600000001\n").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0);
        let arrivals = receiver.finish();
        assert_eq!(arrivals.len(), 1);
        let Arrival { stamp, bytes, lines, accepted, last_byte } = arrivals[0];
        assert_eq!((stamp, bytes, lines), (Some(1_600_000_001), 34, 2));
        assert!(last_byte >= accepted);
    }

    #[test]
    fn what_is_no_line_has_no_stamp() {
        assert_eq!(stamp(b"a.b 1 1600000000"), None);
        assert_eq!(stamp(b"xxxx\n"), None);
        assert_eq!(stamp(b""), None);
    }
}
