//! Looks up the addresses of a name on a separate thread, because a resolver can hang and
//! getaddrinfo(3) has no time limit.
//!
//! A thread that hangs cannot be ended. So a program has at most [`THREADS_MAX`] look-up threads,
//! and a [`Lookup`] has at most one, for whose answer all further calls wait.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

/// Look-ups of this program that can be pending together.
pub const THREADS_MAX: usize = 64;

static THREADS: AtomicUsize = AtomicUsize::new(0);

/// Looks up `host` on a thread and calls `done` there with the answer.
///
/// # Errors
///
/// [`THREADS_MAX`] look-ups hang, or the system gives no thread; `done` is not called then.
pub fn start(
    host: &str,
    port: u16,
    done: impl FnOnce(io::Result<Vec<SocketAddr>>) + Send + 'static,
) -> io::Result<()> {
    struct Slot;
    impl Drop for Slot {
        fn drop(&mut self) {
            THREADS.fetch_sub(1, Ordering::AcqRel);
        }
    }
    let slot = Slot;
    if THREADS.fetch_add(1, Ordering::AcqRel) >= THREADS_MAX {
        let text = format!("{THREADS_MAX} look-ups of names hang; look at the resolver");
        return Err(io::Error::other(text));
    }
    let host = host.to_owned();
    let look_up = move || {
        let addresses = (host.as_str(), port).to_socket_addrs().map(Iterator::collect);
        drop(slot);
        done(addresses);
    };
    thread::Builder::new().name("lookup".into()).spawn(look_up).map(|_| ())
}

/// One name, looked up by one thread at a time.
#[derive(Debug)]
pub struct Lookup {
    host: String,
    port: u16,
    /// The answer to come, and when the look-up began.
    pending: Option<(Receiver<io::Result<Vec<SocketAddr>>>, Instant)>,
}

/// The age at which a look-up is given up, because its answer may be out of date and its thread may
/// hang without end.
pub const AGE_MAX: Duration = Duration::from_secs(60);

impl Lookup {
    /// The look-up starts at the first call of [`Self::addresses`].
    #[must_use]
    pub fn new(host: &str, port: u16) -> Self {
        Self { host: host.to_owned(), port, pending: None }
    }

    /// Waits at most `limit` for the addresses. A later answer serves the next call, unless the
    /// look-up began more than [`AGE_MAX`] ago.
    ///
    /// # Errors
    ///
    /// The name has no address, or there is no answer yet ([`io::ErrorKind::TimedOut`]).
    pub fn addresses(&mut self, limit: Duration, now: Instant) -> io::Result<Vec<SocketAddr>> {
        if let Ok(address) = self.host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, self.port)]);
        }
        let (receiver, begun) = match self.pending.take() {
            Some((receiver, begun)) if now.saturating_duration_since(begun) <= AGE_MAX => {
                (receiver, begun)
            }
            _ => {
                let (sender, receiver) = channel();
                start(&self.host, self.port, move |addresses| {
                    // The look-up may have been given up as too old.
                    let _ = sender.send(addresses);
                })?;
                (receiver, now)
            }
        };
        match receiver.recv_timeout(limit) {
            Ok(addresses) => addresses,
            Err(RecvTimeoutError::Timeout) => {
                self.pending = Some((receiver, begun));
                let text = format!("no answer from the resolver within {} s", limit.as_secs_f64());
                Err(io::Error::new(io::ErrorKind::TimedOut, text))
            }
            Err(RecvTimeoutError::Disconnected) => {
                Err(io::Error::other("the thread of the look-up ended"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn an_address_needs_no_look_up_and_an_unknown_name_is_an_error() {
        let now = Instant::now();
        let found = Lookup::new("127.0.0.1", 7).addresses(LONG, now).unwrap();
        assert_eq!(found, ["127.0.0.1:7".parse().unwrap()]);
        Lookup::new("no such name", 7).addresses(LONG, now).unwrap_err();
    }

    #[test]
    fn an_answer_that_comes_late_serves_the_next_call_and_one_thread_looks() {
        let mut lookup = Lookup::new("localhost", 7);
        let (sender, receiver) = channel();
        // Stands for a thread that hangs.
        let now = Instant::now();
        lookup.pending = Some((receiver, now));
        for _ in 0..3 {
            let error = lookup.addresses(Duration::from_millis(1), now).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        }
        sender.send(Ok(vec!["127.0.0.9:7".parse().unwrap()])).unwrap();
        assert_eq!(lookup.addresses(LONG, now).unwrap(), ["127.0.0.9:7".parse().unwrap()]);
        let anew = lookup.addresses(LONG, now).unwrap();
        assert!(anew.iter().all(|address| address.ip().is_loopback()), "{anew:?}");
        assert!(!anew.contains(&"127.0.0.9:7".parse().unwrap()), "{anew:?}");
    }

    #[test]
    fn an_old_answer_and_a_thread_that_hangs_for_long_are_given_up() {
        let mut lookup = Lookup::new("localhost", 7);
        let (sender, receiver) = channel();
        let begun = Instant::now();
        lookup.pending = Some((receiver, begun));
        sender.send(Ok(vec!["127.0.0.9:7".parse().unwrap()])).unwrap();
        let later = begun + AGE_MAX + Duration::from_secs(1);
        let anew = lookup.addresses(LONG, later).unwrap();
        assert!(!anew.contains(&"127.0.0.9:7".parse().unwrap()), "{anew:?}");
    }
}
