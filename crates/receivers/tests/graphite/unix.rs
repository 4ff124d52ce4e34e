//! A UNIX socket as the server.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use config::{Address, Confirm};
use haproxystats_receivers::{Error, Graphite};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, bind, listen, socket};

use crate::{CLOCK, LARGE_BYTES, MIDDLING_BYTES, SMALL_BYTES, batch, deliver, settings};

fn graphite(path: &Path, confirm: Confirm, limit: Duration) -> Graphite {
    let settings = settings(SocketAddr::from(([127, 0, 0, 1], 1)), confirm);
    let servers = vec![Address::Unix(path.to_owned())];
    let (connect_timeout, confirm_timeout) = (limit, limit);
    let settings = config::Graphite { servers, connect_timeout, confirm_timeout, ..settings };
    Graphite::new(settings, CLOCK)
}

const LONG: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(100);

/// Serves one connection; the thread ends with its result.
fn serve<T: Send + 'static>(
    path: PathBuf,
    serve: impl FnOnce(UnixStream) -> T + Send + 'static,
) -> JoinHandle<T> {
    let listener = UnixListener::bind(path).unwrap();
    std::thread::spawn(move || serve(listener.accept().unwrap().0))
}

fn read_to_end(mut stream: UnixStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    bytes
}

#[test]
fn a_batch_counts_once_it_was_read_to_its_end() {
    for bytes in [1, SMALL_BYTES, LARGE_BYTES] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("relay.sock");
        let server = serve(path.clone(), read_to_end);
        deliver(&mut graphite(&path, Confirm::Close, LONG), &batch(bytes)).unwrap();
        assert!(server.join().unwrap() == batch(bytes));
    }
}

#[test]
fn batches_without_a_confirmation_share_a_connection() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("relay.sock");
    let server = serve(path.clone(), read_to_end);
    let mut graphite = graphite(&path, Confirm::None, LONG);
    for _ in 0..2 {
        deliver(&mut graphite, &batch(SMALL_BYTES)).unwrap();
    }
    drop(graphite);
    assert_eq!(server.join().unwrap(), [batch(SMALL_BYTES), batch(SMALL_BYTES)].concat());
}

#[test]
fn a_server_that_closes_with_bytes_unread_has_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("relay.sock");
    let server = serve(path.clone(), |mut stream| {
        let mut first = [0];
        stream.read_exact(&mut first).unwrap();
    });
    let error =
        deliver(&mut graphite(&path, Confirm::Close, LONG), &batch(LARGE_BYTES)).unwrap_err();
    assert!(matches!(error, Error::Broken { .. }), "{error}");
    assert!(error.to_string().contains("relay.sock"), "{error}");
    server.join().unwrap();
}

/// The bytes are in the kernel, and the server ends its side after our end without reading them.
#[test]
fn a_server_that_ends_its_side_without_reading_has_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("relay.sock");
    let (done, wait): (Sender<()>, _) = channel();
    let server = serve(path.clone(), move |stream| {
        // The end of our side comes before the bytes are read.
        let mut polled = [rustix::event::PollFd::new(&stream, rustix::event::PollFlags::RDHUP)];
        rustix::event::poll(&mut polled, None).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        // Until the test is over.
        let _ = wait.recv();
    });
    let mut graphite = graphite(&path, Confirm::Close, LONG);
    let error = deliver(&mut graphite, &batch(MIDDLING_BYTES / 16)).unwrap_err();
    assert!(matches!(error, Error::Unacknowledged { .. }), "{error}");
    drop(done);
    server.join().unwrap();
}

#[test]
fn a_server_that_never_closes_is_an_error_with_a_remedy_that_helps() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("relay.sock");
    let (done, wait): (Sender<()>, _) = channel();
    let server = serve(path.clone(), move |mut stream| {
        stream.write_all(b"hello").unwrap();
        let _ = wait.recv();
    });
    let mut graphite = graphite(&path, Confirm::Close, SHORT);
    let error = deliver(&mut graphite, &batch(SMALL_BYTES)).unwrap_err();
    assert!(error.to_string().contains("[graphite] confirm = none"), "{error}");
    drop(done);
    server.join().unwrap();
}

#[test]
fn a_missing_socket_and_one_with_a_full_backlog_are_errors_that_name_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("relay.sock");
    let missing = deliver(&mut graphite(&path, Confirm::Close, LONG), &batch(1)).unwrap_err();
    assert!(matches!(missing, Error::Connect { .. }), "{missing}");
    assert!(missing.to_string().contains("relay.sock takes no connection"), "{missing}");

    let listener = socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
    bind(&listener, &SocketAddrUnix::new(&path).unwrap()).unwrap();
    listen(&listener, 0).unwrap();
    let _fills_the_backlog = UnixStream::connect(&path).unwrap();
    let full = deliver(&mut graphite(&path, Confirm::Close, SHORT), &batch(1)).unwrap_err();
    assert!(matches!(full, Error::Connect { .. }), "{full}");
}
