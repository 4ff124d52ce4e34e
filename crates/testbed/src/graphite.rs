//! A Graphite receiver for tests and tasks: it listens, plays a script on each connection, and
//! archives the bytes that it reads.
//!
//! Each receiver has its own port, script and archive, so that several receivers can misbehave in
//! one test, each in its own way. No step sleeps for a guessed time: it waits for the other side,
//! or looks at the kernel within a limit.
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

/// The limit for waits that take milliseconds unless something is wrong.
const LIMIT: Duration = Duration::from_secs(30);
/// The pause after an accept that failed, for want of a file descriptor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// A running receiver. Dropping it resets the open connections.
pub struct Receiver<A: Archive> {
    address: SocketAddr,
    shared: Arc<Shared<A>>,
    /// The accepting thread; `None` while the receiver is down.
    thread: Option<JoinHandle<()>>,
}

struct Shared<A> {
    archive: Arc<A>,
    conduct: Mutex<Conduct>,
    switch: Switch,
    /// The open connections by number, to reset them.
    streams: Mutex<BTreeMap<usize, TcpStream>>,
}

/// The scripts of later connections.
struct Conduct {
    /// The scripts of the next connections, one each.
    scripts: VecDeque<Vec<Step>>,
    /// The manner of the connections after these; `None` refuses them.
    manner: Option<Manner>,
    climbed: usize,
}

impl<A: Archive> Receiver<A> {
    /// Starts on a free port of 127.0.0.1.
    pub fn start(archive: A, manner: Manner) -> io::Result<Self> {
        Self::listen(TcpListener::bind("127.0.0.1:0")?, archive, manner)
    }

    /// Starts on the caller's listener.
    pub fn listen(listener: TcpListener, archive: A, manner: Manner) -> io::Result<Self> {
        let scripts = VecDeque::new();
        Self::with(listener, archive, Conduct { scripts, manner: Some(manner), climbed: 0 })
    }

    /// Serves one connection for each script, in their order. A further connection is a fault of
    /// the sender and is refused.
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

    /// The address on which it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The port on which it listens.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.address.port()
    }

    /// The archive of the bytes that it reads.
    #[must_use]
    pub fn archive(&self) -> &A {
        &self.shared.archive
    }

    /// The number of accepted connections.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.switch.lock().accepted
    }

    /// Changes the manner of connections from now on.
    pub fn behave(&self, manner: Manner) {
        lock(&self.shared.conduct).manner = Some(manner);
    }

    /// Spoils one more of the next connections; false if `most` of them are spoiled already.
    pub fn spoil(&self, manner: Manner, most: usize) -> bool {
        let mut conduct = lock(&self.shared.conduct);
        let has_space = conduct.scripts.len() < most;
        if has_space {
            let script = manner.script(&mut conduct.climbed);
            conduct.scripts.push_back(script);
        }
        has_space
    }

    /// Stops spoiling connections.
    pub fn spoil_none(&self) {
        lock(&self.shared.conduct).scripts.clear();
    }

    /// Acts like a SIGKILL: resets connections and refuses new ones. The archive stays.
    pub fn go_down(&mut self) {
        self.shared.switch.change(|state| state.downs += 1);
        if let Some(thread) = self.thread.take() {
            // Wakes the accepting thread, which then frees its port. It may have ended by itself.
            let _ = TcpStream::connect_timeout(&self.address, LIMIT);
            let _ = thread.join();
        }
        for stream in std::mem::take(&mut *lock(&self.shared.streams)).values() {
            // A connection that has ended already needs no reset.
            let _ = kernel::reset_on_close(stream);
            // Wakes its reader without sending a FIN, as the kernel does when it ends a process:
            // the close that follows is a reset.
            let _ = stream.shutdown(Shutdown::Read);
        }
    }

    /// Listens again after [`Receiver::go_down`], on the same port.
    pub fn come_up(&mut self) -> io::Result<()> {
        if self.thread.is_some() {
            return Ok(());
        }
        // Another program may have the port for a moment, as its end of a connection.
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
            Err(timeout(&format!("the close of connection {number}")))
        }
    }

    /// Ends the steps that wait, serves the senders that have connected, and waits until all
    /// senders have ended. With scripts it waits until each script has had its connection.
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
            return Err(timeout("a connection for each script"));
        }
        if let Some(thread) = self.thread.take() {
            // Under the lock, so that the accepting thread cannot look for the waker before it is
            // set.
            self.shared.switch.change(|state| {
                let waker = TcpStream::connect_timeout(&self.address, LIMIT);
                state.waker = waker.and_then(|waker| waker.local_addr()).ok();
            });
            let _ = thread.join();
        }
        if !self.shared.switch.wait(LIMIT, |state| state.open.is_empty()) {
            return Err(timeout("the end of all senders"));
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
        // Before the connection is counted, because a test that waits for it may change the manner.
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
            // This was the last handle, so only now the connection is closed.
            lock(&shared.streams).remove(&number);
            shared.close(number, page, cause);
        });
    }

    /// Closes the archive's page first, because a test that waits for the close reads the archive.
    fn close(&self, number: usize, page: A::Page, cause: Cause) {
        self.archive.close(page, cause);
        self.switch.change(|state| state.open.retain(|open| *open != number));
    }
}

fn timeout(what: &str) -> io::Error {
    let text = format!("waited {} s in vain for {what}", LIMIT.as_secs());
    io::Error::new(io::ErrorKind::TimedOut, text)
}
