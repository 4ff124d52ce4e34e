//! A Graphite receiver for tests and tasks: it listens, does with each connection what it is told,
//! and keeps what it read.
//!
//! Each receiver has its own port, script and archive, so that several of them can misbehave in one
//! test, each in its own way. Nothing in it sleeps for a time that was guessed: a step waits for
//! the other side, or looks at the kernel within a limit.
//!
//! ```
//! use std::io::Write;
//! use std::net::TcpStream;
//!
//! use haproxystats_testbed::graphite::{Manner, Receiver, Transcripts};
//!
//! let receiver = Receiver::start(Transcripts::default(), Manner::Whole)?;
//! TcpStream::connect(receiver.address())?.write_all(b"a.b 1 1700000000\n")?;
//! assert_eq!(receiver.finish()?.lines(), ["a.b 1 1700000000"]);
//! # Ok::<(), std::io::Error>(())
//! ```

mod archive;
mod connection;
mod kernel;
mod script;
mod switch;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use archive::lock;
pub use archive::{Archive, Cause, LineFile, Transcript, Transcripts};
use connection::Connection;
pub use script::{Ending, Manner, Step};
use switch::Switch;

use crate::wait_until;

/// For what takes milliseconds unless something is wrong.
const LIMIT: Duration = Duration::from_secs(30);
/// After a connection that could not be accepted, for want of a file descriptor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// A receiver at work. Dropping it resets what is open.
pub struct Receiver<A: Archive> {
    address: SocketAddr,
    shared: Arc<Shared<A>>,
    /// Accepts; none while the receiver is down.
    thread: Option<JoinHandle<()>>,
}

struct Shared<A> {
    archive: Arc<A>,
    conduct: Mutex<Conduct>,
    switch: Switch,
    /// What is open, by number, to reset it.
    streams: Mutex<BTreeMap<usize, TcpStream>>,
}

/// What the connections to come are given.
struct Conduct {
    /// One script each for the next connections.
    scripts: VecDeque<Vec<Step>>,
    /// For those after them; `None`: they are refused.
    manner: Option<Manner>,
    climbed: usize,
}

impl<A: Archive> Receiver<A> {
    /// On a free port of 127.0.0.1.
    pub fn start(archive: A, manner: Manner) -> io::Result<Self> {
        Self::listen(TcpListener::bind("127.0.0.1:0")?, archive, manner)
    }

    /// On a listener of the caller's choice.
    pub fn listen(listener: TcpListener, archive: A, manner: Manner) -> io::Result<Self> {
        let scripts = VecDeque::new();
        Self::with(listener, archive, Conduct { scripts, manner: Some(manner), climbed: 0 })
    }

    /// Serves as many connections as there are scripts, in their order; one more is a fault of the
    /// sender, and is refused.
    pub fn play<const N: usize>(
        listener: TcpListener,
        archive: A,
        scripts: [&[Step]; N],
    ) -> io::Result<Self> {
        let scripts = scripts.map(<[Step]>::to_vec).into();
        Self::with(listener, archive, Conduct { scripts, manner: None, climbed: 0 })
    }

    fn with(listener: TcpListener, archive: A, conduct: Conduct) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            archive: Arc::new(archive),
            conduct: Mutex::new(conduct),
            switch: Switch::default(),
            streams: Mutex::new(BTreeMap::new()),
        });
        let thread = Some(shared.accept(listener));
        Ok(Self { address, shared, thread })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The port of that.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.address.port()
    }

    /// What is kept of what it reads.
    #[must_use]
    pub fn archive(&self) -> &A {
        &self.shared.archive
    }

    /// How many connections were accepted.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.switch.lock().accepted
    }

    /// Changes what happens to connections from now on.
    pub fn behave(&self, manner: Manner) {
        lock(&self.shared.conduct).manner = Some(manner);
    }

    /// Spoils one connection to come, before those that come after it; false if `most` of them are
    /// spoiled already.
    pub fn spoil(&self, manner: Manner, most: usize) -> bool {
        let mut conduct = lock(&self.shared.conduct);
        let has_space = conduct.scripts.len() < most;
        if has_space {
            let script = manner.script(&mut conduct.climbed);
            conduct.scripts.push_back(script);
        }
        has_space
    }

    /// Spoils no connection any more.
    pub fn spoil_none(&self) {
        lock(&self.shared.conduct).scripts.clear();
    }

    /// As a SIGKILL would: connections are reset, new ones refused. What came is not forgotten.
    pub fn go_down(&mut self) {
        self.shared.switch.change(|state| state.downs += 1);
        if let Some(thread) = self.thread.take() {
            // Wakes the accepting thread, which then lets its port go. It may have ended by itself.
            let _ = TcpStream::connect_timeout(&self.address, LIMIT);
            let _ = thread.join();
        }
        for stream in std::mem::take(&mut *lock(&self.shared.streams)).values() {
            // One that is gone already needs none of this.
            let _ = kernel::reset_on_close(stream);
            // Wakes its reader without a word to the peer, which a kernel that ends a process says
            // neither: the close that follows is a reset.
            let _ = stream.shutdown(Shutdown::Read);
        }
    }

    /// Listens again after [`Receiver::go_down`], on the same port.
    pub fn come_up(&mut self) -> io::Result<()> {
        if self.thread.is_some() {
            return Ok(());
        }
        // Somebody may have the port for a moment, as their end of a connection.
        let mut listener = TcpListener::bind(self.address);
        wait_until(LIMIT, || {
            if listener.is_err() {
                listener = TcpListener::bind(self.address);
            }
            listener.is_ok()
        });
        self.thread = Some(self.shared.accept(listener?));
        Ok(())
    }

    /// Waits until the connection of this number, counted from 0, is closed.
    pub fn await_close(&self, number: usize) -> io::Result<()> {
        let is_closed =
            |state: &switch::State| state.accepted > number && !state.open.contains(&number);
        if self.shared.switch.wait(LIMIT, is_closed) {
            Ok(())
        } else {
            Err(late(&format!("the close of connection {number}")))
        }
    }

    /// Ends what is held, serves what has connected, and waits until all senders have ended. With
    /// scripts it waits until each of them has had its connection.
    pub fn finish(mut self) -> io::Result<Arc<A>> {
        let scripts = {
            let conduct = lock(&self.shared.conduct);
            if conduct.manner.is_none() { conduct.scripts.len() } else { 0 }
        };
        let expected = self.shared.switch.change(|state| {
            state.finishes = true;
            state.accepted + scripts
        });
        if !self.shared.switch.wait(LIMIT, |state| state.accepted >= expected) {
            return Err(late("a connection for each script"));
        }
        if let Some(thread) = self.thread.take() {
            // Under the lock, so that the accepting thread cannot ask for the waker before it is
            // known.
            self.shared.switch.change(|state| {
                let waker = TcpStream::connect_timeout(&self.address, LIMIT);
                state.waker = waker.and_then(|waker| waker.local_addr()).ok();
            });
            let _ = thread.join();
        }
        if !self.shared.switch.wait(LIMIT, |state| state.open.is_empty()) {
            return Err(late("the end of all senders"));
        }
        Ok(Arc::clone(&self.shared.archive))
    }
}

impl<A: Archive> Drop for Receiver<A> {
    fn drop(&mut self) {
        self.go_down();
    }
}

impl<A: Archive> Shared<A> {
    fn accept(self: &Arc<Self>, listener: TcpListener) -> JoinHandle<()> {
        let shared = Arc::clone(self);
        let downs = self.switch.lock().downs;
        thread::spawn(move || {
            while shared.expects_more() {
                let accepted = listener.accept();
                if shared.switch.went_down_since(downs) {
                    break;
                }
                let Ok((stream, peer)) = accepted else {
                    thread::sleep(ACCEPT_PAUSE);
                    continue;
                };
                let state = shared.switch.lock();
                if state.finishes && state.waker == Some(peer) {
                    break;
                }
                drop(state);
                shared.serve(stream, downs);
            }
        })
    }

    fn expects_more(&self) -> bool {
        let conduct = lock(&self.conduct);
        conduct.manner.is_some() || !conduct.scripts.is_empty()
    }

    /// The script of the next connection.
    fn next_script(&self) -> Vec<Step> {
        let mut conduct = lock(&self.conduct);
        let Conduct { scripts, manner, climbed } = &mut *conduct;
        let script = scripts.pop_front();
        script.or_else(|| manner.map(|manner| manner.script(climbed))).unwrap_or_default()
    }

    fn serve(self: &Arc<Self>, stream: TcpStream, downs: usize) {
        // Before the connection is counted: who waits for it may change the manner at once.
        let script = self.next_script();
        let mut page = self.archive.open();
        let handle = stream.try_clone();
        let number = self.switch.change(|state| {
            state.open.push(state.accepted);
            state.accepted += 1;
            state.accepted - 1
        });
        match handle {
            Ok(handle) => drop(lock(&self.streams).insert(number, handle)),
            Err(error) => return self.close(number, page, Cause::Error(error)),
        }
        let shared = Arc::clone(self);
        thread::spawn(move || {
            let (archive, switch) = (&*shared.archive, &shared.switch);
            let cause = Connection::new(&stream, archive, &mut page, switch, downs).play(&script);
            drop(stream);
            // Only now it is closed: this was its last handle.
            lock(&shared.streams).remove(&number);
            shared.close(number, page, cause);
        });
    }

    /// The close tells the sender that all was read: whoever waits for the archive comes after it.
    fn close(&self, number: usize, page: A::Page, cause: Cause) {
        self.archive.close(page, cause);
        self.switch.change(|state| state.open.retain(|open| *open != number));
    }
}

fn late(what: &str) -> io::Error {
    let text = format!("waited {} s in vain for {what}", LIMIT.as_secs());
    io::Error::new(io::ErrorKind::TimedOut, text)
}
