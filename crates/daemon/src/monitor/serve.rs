//! Carries the bytes of the dialogues, on tokio. What a client does costs others nothing: a line,
//! the number of connections and each wait have a bound. Beyond the bound of connections the oldest
//! one is closed, so that a check is answered however many slow ones there are.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::{info, warn};

use super::listener::Listener;
use super::session::{Session, Step, Subject};
use crate::remedy;

/// Connections at one time.
const CONNECTIONS_MAX: usize = 64;
/// The time within which a request is whole, and within which an answer is taken.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);
/// The wait for the next line of an interactive dialogue.
const INTERACTIVE_LIMIT: Duration = Duration::from_secs(300);
/// The wait for the other end to close after the last answer. A close with unread bytes would be a
/// reset, which can take the answer away.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);
/// Bytes that are read and ignored in that time.
const IGNORED_MAX_BYTES: usize = 65536;
/// Bytes that are read at once.
const PIECE_BYTES: usize = 512;
/// The pause while the system gives no connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Answers all connections until it is dropped. Needs a runtime with I/O and timers.
///
/// # Errors
///
/// The runtime refuses the socket.
pub async fn serve(listener: Listener, subject: Arc<dyn Subject>) -> io::Result<Infallible> {
    match listener {
        Listener::Tcp(listener) => {
            let listener = TcpListener::from_std(listener)?;
            accept_all(subject, async || Ok(listener.accept().await?.0)).await
        }
        Listener::Unix(listener) => {
            let listener = UnixListener::from_std(listener)?;
            accept_all(subject, async || Ok(listener.accept().await?.0)).await
        }
    }
}

async fn accept_all<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    subject: Arc<dyn Subject>,
    accept: impl AsyncFn() -> io::Result<S>,
) -> ! {
    let mut tasks = JoinSet::new();
    let mut connections: VecDeque<AbortHandle> = VecDeque::new();
    let mut is_refused = false;
    loop {
        let accepted = tokio::select! {
            accepted = accept() => accepted,
            Some(_) = tasks.join_next() => continue,
        };
        match accepted {
            Ok(stream) => {
                if std::mem::take(&mut is_refused) {
                    info!("the monitor server accepts connections again");
                }
                connections.retain(|connection| !connection.is_finished());
                while connections.len() >= CONNECTIONS_MAX {
                    if let Some(oldest) = connections.pop_front() {
                        oldest.abort();
                    }
                }
                connections.push_back(tasks.spawn(answer(stream, Arc::clone(&subject))));
            }
            // The client has given up before we took the connection.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::ConnectionAborted
                        | ErrorKind::ConnectionReset
                        | ErrorKind::Interrupted
                ) => {}
            Err(error) => {
                if !std::mem::replace(&mut is_refused, true) {
                    let remedy = remedy::of(&error);
                    warn!("the monitor server cannot accept connections: {error}{remedy}");
                }
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// The dialogue of one connection. An error ends it, and concerns its client alone.
async fn answer<S: AsyncRead + AsyncWrite + Unpin>(stream: S, subject: Arc<dyn Subject>) {
    let _ = converse(stream, &*subject).await;
}

async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    subject: &dyn Subject,
) -> io::Result<()> {
    let mut session = Session::default();
    let mut piece = [0; PIECE_BYTES];
    let mut deadline = Instant::now() + REQUEST_LIMIT;
    loop {
        match session.step(subject) {
            Step::Read => {
                let length = timeout_at(deadline, stream.read(&mut piece)).await??;
                if length == 0 {
                    return Ok(());
                }
                session.push(&piece[..length]);
            }
            Step::Answer(bytes) => {
                timeout(REQUEST_LIMIT, stream.write_all(&bytes)).await??;
                deadline = Instant::now() + INTERACTIVE_LIMIT;
            }
            Step::Last(bytes) => {
                timeout(REQUEST_LIMIT, stream.write_all(&bytes)).await??;
                stream.shutdown().await?;
                return timeout(CLOSE_LIMIT, read_to_close(stream)).await?;
            }
        }
    }
}

async fn read_to_close<S: AsyncRead + Unpin>(mut stream: S) -> io::Result<()> {
    let mut piece = [0; PIECE_BYTES];
    let mut ignored = 0;
    while ignored < IGNORED_MAX_BYTES {
        match stream.read(&mut piece).await? {
            0 => return Ok(()),
            length => ignored += length,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Shutdown, SocketAddr, TcpStream};
    use std::os::unix::net::UnixStream;
    use std::thread;

    use super::*;
    use crate::monitor::Health;

    struct Healthy;

    impl Subject for Healthy {
        fn health(&self) -> Health {
            Health::Healthy
        }

        fn figures(&self, _source: Option<&str>, _seconds: u64) -> Option<String> {
            None
        }

        fn sources(&self) -> Vec<String> {
            Vec::new()
        }

        fn process(&self) -> String {
            String::new()
        }
    }

    /// Serves while `clients` runs on another thread.
    fn while_served(listener: Listener, clients: impl FnOnce() + Send + 'static) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let work = tokio::task::spawn_blocking(clients);
            tokio::select! {
                done = work => done.unwrap(),
                ended = serve(listener, Arc::new(Healthy)) => panic!("{ended:?}"),
            }
        });
    }

    fn tcp() -> (Listener, SocketAddr) {
        let listener = Listener::tcp("127.0.0.1:0".parse().unwrap()).unwrap();
        let Listener::Tcp(socket) = &listener else { panic!("{listener:?}") };
        let address = socket.local_addr().unwrap();
        (listener, address)
    }

    fn ask(mut stream: impl Read + Write, request: &[u8]) -> String {
        stream.write_all(request).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn an_answer_comes_whole_and_then_the_close_over_tcp_and_unix() {
        let (listener, address) = tcp();
        while_served(listener, move || {
            let connect = || TcpStream::connect(address).unwrap();
            assert_eq!(ask(connect(), b"health_check\r\n"), "OK\n");
            assert_eq!(ask(connect(), b"health_check\nhelp\nmore of it"), "OK\n");
            // A client that ends its side at once gets its answer, too.
            let mut half = connect();
            half.write_all(b"quit\n").unwrap();
            half.shutdown(Shutdown::Write).unwrap();
            let mut answer = String::new();
            half.read_to_string(&mut answer).unwrap();
            assert_eq!(answer, "Goodbye.\n");
        });
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let listener = Listener::unix(&path).unwrap();
        while_served(listener, move || {
            assert_eq!(ask(UnixStream::connect(&path).unwrap(), b"health_check\n"), "OK\n");
        });
    }

    #[test]
    fn slow_clients_beyond_the_bound_are_closed_and_a_check_is_answered() {
        let (listener, address) = tcp();
        while_served(listener, move || {
            let mut slow: Vec<TcpStream> = (0..CONNECTIONS_MAX + 40)
                .map(|_| {
                    let mut stream = TcpStream::connect(address).unwrap();
                    stream.write_all(b"health_").unwrap();
                    stream
                })
                .collect();
            let stream = TcpStream::connect(address).unwrap();
            assert_eq!(ask(&stream, b"health_check\n"), "OK\n");
            // The first ones are closed, and the last one is still listened to.
            let mut end = [0];
            assert!(!matches!(slow[0].read(&mut end), Ok(1..)), "no answer");
            assert_eq!(ask(slow.last().unwrap(), b"check\n"), "OK\n");
        });
    }

    #[test]
    fn garbage_and_resets_end_their_own_connection() {
        let (listener, address) = tcp();
        while_served(listener, move || {
            let garbage = thread::spawn(move || {
                let mut stream = TcpStream::connect(address).unwrap();
                // The server closes long before the end.
                let _ = stream.write_all(&vec![b'x'; 10 << 20]);
            });
            for _ in 0..50 {
                drop(TcpStream::connect(address).unwrap());
            }
            assert_eq!(ask(TcpStream::connect(address).unwrap(), b"health_check\n"), "OK\n");
            garbage.join().unwrap();
        });
    }
}
