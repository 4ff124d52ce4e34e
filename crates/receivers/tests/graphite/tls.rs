//! TLS: our close_notify, then the server's close; and what a server that refuses us has said is
//! read before a batch counts as delivered.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use config::{Confirm, Tls};
use haproxystats_receivers::{Error, Graphite};
use rustls::{ServerConfig, ServerConnection, StreamOwned, SupportedProtocolVersion};
use testbed::tls::Authority;

use crate::{CLOCK, LARGE_BYTES, SMALL_BYTES, batch, deliver, settings};

type Stream = StreamOwned<ServerConnection, TcpStream>;

/// The authority's certificate as the one that we trust.
fn trusted(authority: &Authority) -> Tls {
    Tls { ca_file: Some(authority.path("ca.pem")), ..Tls::default() }
}

/// Serves one connection; the thread ends with its result.
fn serve<T: Send + 'static>(
    config: Arc<ServerConfig>,
    serve: impl FnOnce(Stream) -> T + Send + 'static,
) -> (SocketAddr, JoinHandle<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thread = thread::spawn(move || {
        let connection = ServerConnection::new(config).unwrap();
        serve(StreamOwned::new(connection, listener.accept().unwrap().0))
    });
    (address, thread)
}

fn graphite(address: SocketAddr, tls: Tls, limit: Duration) -> Graphite {
    let settings = settings(address, Confirm::Close);
    let (connect_timeout, confirm_timeout) = (limit, limit);
    let tls = Some(tls);
    Graphite::new(config::Graphite { tls, connect_timeout, confirm_timeout, ..settings }, CLOCK)
}

const LONG: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(200);
const VERSIONS: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS12, &rustls::version::TLS13];

/// Reads to our close_notify; an end without it is an error.
fn read_to_end(stream: &mut Stream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    bytes
}

fn close(mut stream: Stream) {
    stream.conn.send_close_notify();
    stream.flush().unwrap();
}

#[test]
fn a_batch_counts_once_it_was_read_to_our_close_notify() {
    let authority = Authority::new().unwrap();
    for version in VERSIONS {
        for bytes in [1, SMALL_BYTES, LARGE_BYTES] {
            let config = authority.server("127.0.0.1", false, &[version]).unwrap();
            let (address, server) = serve(config, |mut stream| {
                let bytes = read_to_end(&mut stream);
                close(stream);
                bytes
            });
            let mut graphite = graphite(address, trusted(&authority), LONG);
            deliver(&mut graphite, &batch(bytes)).unwrap();
            assert!(server.join().unwrap() == batch(bytes));
        }
    }
}

#[test]
fn a_server_of_another_authority_or_name_is_not_trusted() {
    let (authority, other) = (Authority::new().unwrap(), Authority::new().unwrap());
    let fails = |name: &str, tls: Tls| {
        let config = authority.server(name, false, &[&rustls::version::TLS13]).unwrap();
        let (address, server) = serve(config, |mut stream| stream.read(&mut [0]).is_err());
        let error = deliver(&mut graphite(address, tls, LONG), &batch(SMALL_BYTES)).unwrap_err();
        assert!(server.join().unwrap(), "the server gets no byte of the batch");
        assert!(
            error.to_string().contains(&format!("graphite {address} speaks no TLS")),
            "{error}"
        );
        assert!(error.to_string().contains("ca-file, server-name"), "{error}");
    };
    fails("127.0.0.1", trusted(&other));
    fails("graphite.example.com", trusted(&authority));

    let config =
        authority.server("graphite.example.com", false, &[&rustls::version::TLS13]).unwrap();
    let (address, server) = serve(config, |mut stream| {
        let bytes = read_to_end(&mut stream);
        close(stream);
        bytes
    });
    let named = Tls { server_name: Some("graphite.example.com".into()), ..trusted(&authority) };
    deliver(&mut graphite(address, named, LONG), &batch(SMALL_BYTES)).unwrap();
    assert_eq!(server.join().unwrap(), batch(SMALL_BYTES));
}

/// With TLS 1.3 the refusal comes after our first writes.
#[test]
fn a_server_that_refuses_our_certificate_has_nothing() {
    let authority = Authority::new().unwrap();
    for version in VERSIONS {
        let config = authority.server("127.0.0.1", true, &[version]).unwrap();
        let (address, server) = serve(Arc::clone(&config), |mut stream| {
            let refused = stream.read(&mut [0]).is_err();
            // A close with bytes unread would be a reset, which can overtake the alert.
            stream.sock.shutdown(Shutdown::Write).unwrap();
            let _ = stream.sock.read_to_end(&mut Vec::new());
            refused
        });
        let mut stranger = graphite(address, trusted(&authority), LONG);
        let error = deliver(&mut stranger, &batch(SMALL_BYTES)).unwrap_err();
        assert!(error.to_string().to_lowercase().contains("certificate"), "{error}");
        assert!(matches!(error, Error::Tls { .. }), "{error}");
        assert!(server.join().unwrap());

        let (address, server) = serve(config, |mut stream| {
            let bytes = read_to_end(&mut stream);
            close(stream);
            bytes
        });
        authority.issue("we").unwrap();
        let (certificate, key) = (Some(authority.path("we.pem")), Some(authority.path("we.key")));
        let known = Tls { certificate, key, ..trusted(&authority) };
        deliver(&mut graphite(address, known, LONG), &batch(SMALL_BYTES)).unwrap();
        assert_eq!(server.join().unwrap(), batch(SMALL_BYTES));
    }
}

#[test]
fn a_close_without_close_notify_counts_after_our_end_alone() {
    let authority = Authority::new().unwrap();
    for version in VERSIONS {
        let config = authority.server("127.0.0.1", false, &[version]).unwrap();
        let (address, server) = serve(Arc::clone(&config), |mut stream| read_to_end(&mut stream));
        let mut trusting = graphite(address, trusted(&authority), LONG);
        deliver(&mut trusting, &batch(SMALL_BYTES)).unwrap();
        assert_eq!(server.join().unwrap(), batch(SMALL_BYTES));

        let (address, server) = serve(config, |mut stream| {
            stream.read_exact(&mut [0; 7]).unwrap();
        });
        let mut trusting = graphite(address, trusted(&authority), LONG);
        let error = deliver(&mut trusting, &batch(LARGE_BYTES)).unwrap_err();
        assert!(matches!(error, Error::Broken { .. }), "{error}");
        server.join().unwrap();
    }
}

#[test]
fn a_close_notify_before_ours_is_no_delivery() {
    let authority = Authority::new().unwrap();
    let config = authority.server("127.0.0.1", false, &[&rustls::version::TLS13]).unwrap();
    let (address, server) = serve(config, |mut stream| {
        stream.read_exact(&mut [0]).unwrap();
        stream.conn.send_close_notify();
        stream.flush().unwrap();
        // We end without a close_notify, because the batch has failed.
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let mut graphite = graphite(address, trusted(&authority), LONG);
    let error = deliver(&mut graphite, &batch(LARGE_BYTES)).unwrap_err();
    assert!(matches!(error, Error::ClosedEarly { .. }), "{error}");
    assert!(!error.to_string().contains("confirm = tcp"), "{error}");
    server.join().unwrap();
}

#[test]
fn a_server_that_never_closes_costs_the_confirm_timeout() {
    let authority = Authority::new().unwrap();
    let config = authority.server("127.0.0.1", false, &[&rustls::version::TLS13]).unwrap();
    let (done, wait) = std::sync::mpsc::channel::<()>();
    let (address, server) = serve(config, move |mut stream| {
        read_to_end(&mut stream);
        let _ = wait.recv();
    });
    let settings = settings(address, Confirm::Close);
    let (tls, confirm_timeout) = (Some(trusted(&authority)), SHORT);
    let settings = config::Graphite { tls, confirm_timeout, ..settings };
    let error = deliver(&mut Graphite::new(settings, CLOCK), &batch(SMALL_BYTES)).unwrap_err();
    assert!(matches!(error, Error::Unconfirmed { remedy: None, .. }), "{error}");
    drop(done);
    server.join().unwrap();
}

#[test]
fn a_server_without_tls_and_one_that_says_nothing_are_told() {
    let authority = Authority::new().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        listener.accept().unwrap().0.write_all(b"what do you want?\n").unwrap();
        // Not answered.
        listener.accept().unwrap().0
    });
    let mut trusting = graphite(address, trusted(&authority), LONG);
    let error = deliver(&mut trusting, &batch(1)).unwrap_err();
    assert!(error.to_string().starts_with(&format!("graphite {address} ")), "{error}");
    let error = deliver(&mut graphite(address, trusted(&authority), SHORT), &batch(1)).unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error}");
    assert!(error.to_string().contains("handshake"), "{error}");
    server.join().unwrap();
}

#[test]
fn files_that_cannot_be_used_are_told() {
    let authority = Authority::new().unwrap();
    authority.issue("we").unwrap();
    authority.issue("they").unwrap();
    let path = |name| Some(authority.path(name));
    let trusted = trusted(&authority);
    for (tls, text) in [
        (Tls { ca_file: path("none.pem"), ..Tls::default() }, "ca-file"),
        (Tls { ca_file: path("we.key"), ..Tls::default() }, "it has no certificate"),
        (
            Tls { certificate: path("we.pem"), key: path("they.key"), ..trusted.clone() },
            "is unusable",
        ),
        (Tls { server_name: Some("a b".to_owned()), ..trusted }, "set server-name"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let error = deliver(&mut graphite(address, tls, LONG), &batch(1)).unwrap_err();
        assert!(error.to_string().contains(text), "{error}");
        assert!(matches!(error, Error::Tls { .. }), "{error}");
    }
}
