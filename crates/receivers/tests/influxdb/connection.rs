//! Connections: what ends them, what they wait for, and what they carry.

use std::net::TcpListener;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use config::{Gzip, InfluxTarget};
use haproxystats_receivers::InfluxDb;
use testbed::http::{Answer, Server};

use crate::{bodies, clock, config, config_of, deliver, deliver_once, text, v1};

const LINES: &str = "a x=1i 1\nb x=2i 1\nc x=3i 1\n";

/// A server that moved is found, though the connection to its old address still works.
#[test]
fn a_session_ends_after_a_minute() {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    static SECONDS: AtomicU64 = AtomicU64::new(0);
    let monotonic = || *START + Duration::from_secs(SECONDS.load(Ordering::Relaxed));
    let server = Server::start(Answer::status(204)).unwrap();
    let clock = daemon::Clock { monotonic, ..clock() };
    let mut influxdb = InfluxDb::new(config(&server, v1()), clock);
    let mut connections = Vec::new();
    for seconds in [0, 59, 61, 100, 130] {
        SECONDS.store(seconds, Ordering::Relaxed);
        deliver(&mut influxdb, "a x=1i 1\n").unwrap();
        connections.push(server.requests().last().unwrap().connection);
    }
    assert_eq!(connections, [0, 0, 1, 1, 2]);
}

#[test]
fn nobody_listens() {
    let [port] = testbed::free_ports().unwrap();
    let error = deliver(&mut InfluxDb::new(config_of(port, v1()), clock()), LINES).unwrap_err();
    let expected = format!("influxdb http://127.0.0.1:{port} takes no connection: ");
    assert!(error.to_string().starts_with(&expected), "{error}");
}

#[test]
fn a_name_without_an_address_is_told() {
    let mut config = config_of(1, v1());
    config.url.host = "no such name".to_owned();
    let error = deliver(&mut InfluxDb::new(config, clock()), LINES).unwrap_err();
    let error = error.to_string();
    assert!(error.contains(" does not resolve: ") && error.ends_with("; check url"), "{error}");
}

#[test]
fn a_lasting_connection_that_has_ended_is_no_failure() {
    let server = Server::start(Answer::status(204)).unwrap();
    let mut influxdb = InfluxDb::new(config(&server, v1()), clock());
    deliver(&mut influxdb, LINES).unwrap();
    server.close_connections();
    deliver(&mut influxdb, LINES).unwrap();
    // A server that ends each connection without a word after the first answer.
    let last = Answer::Last(b"HTTP/1.1 204 Fine\r\n\r\n".to_vec());
    server.behave(last);
    for _ in 0..3 {
        deliver(&mut influxdb, LINES).unwrap();
    }
}

/// A proxy in between can end a connection anywhere.
#[test]
fn a_request_that_is_cut_after_any_byte_is_sent_again_whole() {
    let server = Server::start(Answer::status(204)).unwrap();
    let mut config = config(&server, v1());
    config.batch_points = 9;
    for bytes in 0..LINES.len() {
        server.script([Answer::Cut(bytes)]);
        let mut influxdb = InfluxDb::new(config.clone(), clock());
        let error = deliver(&mut influxdb, LINES).unwrap_err().to_string();
        assert!(error.contains("broke the connection: "), "{bytes}: {error}");
        deliver(&mut influxdb, LINES).unwrap();
        assert_eq!(bodies(&server).last().unwrap(), LINES);
    }
    assert_eq!(server.requests().len(), 2 * LINES.len());
}

#[test]
fn a_server_that_never_answers_costs_the_timeout() {
    let server = Server::start(Answer::Never).unwrap();
    let mut config = config(&server, v1());
    config.timeout = Duration::from_millis(50);
    let error = deliver(&mut InfluxDb::new(config, clock()), LINES).unwrap_err().to_string();
    assert!(error.contains("gave no answer within 0.05s (timeout)"), "{error}");
}

#[test]
fn a_server_that_accepts_nothing_costs_the_write_timeout() {
    // Accepted by the kernel alone: nobody reads.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = config_of(listener.local_addr().unwrap().port(), v1());
    config.write_timeout = Duration::from_millis(50);
    // A single line, because lines go in requests that the kernel takes whole.
    let lines = format!("a x=\"{}\" 1\n", "x".repeat(30 << 20));
    let error = deliver(&mut InfluxDb::new(config, clock()), &lines).unwrap_err().to_string();
    assert!(error.contains("accepted no byte for 0.05s (write-timeout)"), "{error}");
}

/// A server that refuses a large request may close before its answer is read. The next try is
/// smaller, so that no batch waits without end.
#[test]
fn a_large_request_that_breaks_the_connection_is_smaller_the_next_time() {
    let server = Server::start(Answer::Cut(0)).unwrap();
    let mut config = config(&server, v1());
    config.batch_points = 1_000_000;
    let lines = format!("a x=\"{}\" 1\n", "x".repeat(1000)).repeat(1000);
    let mut influxdb = InfluxDb::new(config, clock());
    deliver(&mut influxdb, &lines).unwrap_err();
    deliver(&mut influxdb, &lines).unwrap_err();
    server.behave(Answer::status(204));
    deliver(&mut influxdb, &lines).unwrap();
    let requests = server.requests();
    let lengths: Vec<usize> =
        requests.iter().map(|one| one.header("content-length").unwrap().parse().unwrap()).collect();
    assert!(lengths[1] <= lengths[0] / 2 && lengths[2] <= lengths[1] / 2, "{lengths:?}");
    assert_eq!(requests[2..].iter().map(text).collect::<String>(), lines);
}

#[test]
fn a_server_that_speaks_no_http_is_told() {
    let server = Server::start(Answer::Last(b"220 mail ready\r\n".to_vec())).unwrap();
    let error = deliver_once(&server, LINES).unwrap_err().to_string();
    assert!(error.contains("; check url"), "{error}");
}

#[test]
fn the_path_of_the_url_precedes_that_of_v2() {
    let server = Server::start(Answer::status(204)).unwrap();
    let (org, bucket) = (Some("my org".to_owned()), "a&b".to_owned());
    let mut config = config(&server, InfluxTarget::V2 { org, bucket, token_file: None });
    config.url.path = "/influx".to_owned();
    config.gzip = Gzip::Always;
    deliver(&mut InfluxDb::new(config, clock()), LINES).unwrap();
    assert_eq!(bodies(&server).concat(), LINES);
    let requests = server.requests();
    let expected = "/influx/api/v2/write?org=my%20org&bucket=a%26b&precision=s";
    assert_eq!(requests[0].path, expected);
    assert_eq!(requests[0].header("content-encoding"), Some("gzip"));
    let host = server.address().to_string();
    assert_eq!(requests[0].header("host"), Some(host.as_str()));
}

#[test]
fn a_retention_policy_and_ipv6_go_into_the_request() {
    let Ok(listener) = TcpListener::bind("[::1]:0") else { return };
    let port = listener.local_addr().unwrap().port();
    let target = InfluxTarget::V1 {
        database: "d".into(),
        retention_policy: Some("a week".into()),
        username: None,
        password_file: None,
        create_database: false,
    };
    let mut config = config_of(port, target);
    config.url.host = "::1".to_owned();
    let sender = std::thread::spawn(move || deliver(&mut InfluxDb::new(config, clock()), LINES));
    let (mut stream, _) = listener.accept().unwrap();
    let mut head = [0; 48];
    std::io::Read::read_exact(&mut stream, &mut head).unwrap();
    let head = String::from_utf8_lossy(&head).into_owned();
    assert!(head.starts_with("POST /write?db=d&rp=a%20week&precision=s "), "{head}");
    drop(stream);
    drop(listener);
    sender.join().unwrap().unwrap_err();
}
