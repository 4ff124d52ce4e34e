//! TLS: whom we trust, who we are, and which name a server must have.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::thread;

use config::Tls;
use haproxystats_receivers::InfluxDb;
use rustls::{ServerConnection, StreamOwned};
use testbed::tls::Authority;

use crate::{clock, config_of, deliver, v1};

const LINES: &str = "a x=1i 1\n";

/// The authority's certificate as the one that we trust.
fn trusted(authority: &Authority) -> Tls {
    Tls { ca_file: Some(authority.path("ca.pem")), ..Tls::default() }
}

/// Serves connections with a certificate for `name` until the test ends; with
/// `asks_for_certificate` only to those whom the authority knows. Returns its port.
fn serve(authority: &Authority, name: &str, asks_for_certificate: bool) -> u16 {
    let config = authority.server(name, asks_for_certificate, rustls::DEFAULT_VERSIONS).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = BufReader::new(StreamOwned::new(connection, stream));
            let mut length = 0;
            let mut line = String::new();
            while stream.read_line(&mut line).is_ok_and(|count| count > 2) {
                if let Some(text) = line.to_lowercase().strip_prefix("content-length:") {
                    length = text.trim().parse().unwrap();
                }
                line.clear();
            }
            let mut body = vec![0; length];
            if stream.read_exact(&mut body).is_ok() && length > 0 {
                let _ = stream.get_mut().write_all(b"HTTP/1.1 204 Fine\r\n\r\n");
                stream.get_mut().conn.send_close_notify();
                let _ = stream.get_mut().flush();
            }
        }
    });
    port
}

fn send(port: u16, tls: Tls) -> Result<(), String> {
    let mut config = config_of(port, v1());
    config.url.is_tls = true;
    config.tls = Some(tls);
    let delivered = deliver(&mut InfluxDb::new(config, clock()), LINES);
    delivered.map(|_| ()).map_err(|error| error.to_string())
}

#[test]
fn a_server_of_a_known_authority_is_trusted_and_no_other() {
    let (authority, other) = (Authority::new().unwrap(), Authority::new().unwrap());
    let port = serve(&authority, "127.0.0.1", false);
    send(port, trusted(&authority)).unwrap();
    let error = send(port, trusted(&other)).unwrap_err();
    assert!(error.contains("speaks no TLS that we accept: "), "{error}");
    assert!(error.ends_with("check url, ca-file, server-name and the certificates"), "{error}");
}

#[test]
fn a_server_can_have_the_name_that_we_expect() {
    let authority = Authority::new().unwrap();
    let port = serve(&authority, "influx.example.com", false);
    let tls = trusted(&authority);
    let error = send(port, tls.clone()).unwrap_err();
    assert!(error.contains("speaks no TLS that we accept: "), "{error}");
    send(port, Tls { server_name: Some("influx.example.com".into()), ..tls }).unwrap();
}

/// With TLS 1.3 the refusal of our certificate comes after our first bytes were sent.
#[test]
fn a_server_can_ask_who_we_are() {
    let authority = Authority::new().unwrap();
    let port = serve(&authority, "127.0.0.1", true);
    authority.issue("we").unwrap();
    let path = |name: &str| Some(authority.path(name));
    let tls = trusted(&authority);
    let error = send(port, tls.clone()).unwrap_err();
    assert!(error.starts_with("influxdb https://127.0.0.1:"), "{error}");
    assert!(error.to_lowercase().contains("certificate"), "{error}");
    send(port, Tls { certificate: path("we.pem"), key: path("we.key"), ..tls.clone() }).unwrap();

    let mixed = Tls { certificate: path("we.pem"), key: path("127.0.0.1.key"), ..tls };
    let error = send(port, mixed).unwrap_err();
    assert!(error.contains("cannot be asked: key ") && error.contains("is unusable"), "{error}");
}

#[test]
fn a_file_without_a_certificate_is_told() {
    let authority = Authority::new().unwrap();
    let empty = authority.path("empty.pem");
    fs::write(&empty, "nothing\n").unwrap();
    let error = send(1, Tls { ca_file: Some(empty), ..Tls::default() }).unwrap_err();
    assert!(
        error.contains("cannot be asked: ca-file ") && error.contains("no certificate"),
        "{error}"
    );
}

#[test]
fn a_server_without_tls_is_told() {
    let authority = Authority::new().unwrap();
    let answer = testbed::http::Answer::status(400);
    let server = testbed::http::Server::start(answer).unwrap();
    let tls = trusted(&authority);
    let error = send(server.address().port(), tls).unwrap_err();
    assert!(error.starts_with("influxdb https://127.0.0.1:"), "{error}");
}
