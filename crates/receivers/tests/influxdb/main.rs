//! The transport to InfluxDB, against a server that answers as a real one will not on command.

#![allow(clippy::unwrap_used, reason = "test code outside of test functions")]

mod answers;
mod connection;
mod secrets;
mod tls;

use std::io::Read;
use std::time::{Duration, Instant, SystemTime};

use config::{Gzip, InfluxTarget, Url};
use daemon::Clock;
use flate2::read::GzDecoder;
use haproxystats_receivers::{Error, InfluxDb, Outcome};
use testbed::http::{Request, Server};

/// Only a hang takes so long.
const LONG: Duration = Duration::from_secs(60);

fn clock() -> Clock {
    Clock { wall: SystemTime::now, monotonic: Instant::now }
}

fn v1() -> InfluxTarget {
    InfluxTarget::V1 {
        database: "my db".into(),
        retention_policy: None,
        username: None,
        password_file: None,
        create_database: true,
    }
}

fn config_of(port: u16, target: InfluxTarget) -> config::InfluxDb {
    let url = Url { is_tls: false, host: "127.0.0.1".into(), port, path: String::new() };
    config::InfluxDb {
        url,
        target,
        tls: None,
        tags: Vec::new(),
        keep_field_names: false,
        groups: None,
        gzip: Gzip::Auto,
        batch_points: 2,
        connect_timeout: LONG,
        write_timeout: LONG,
        timeout: LONG,
    }
}

fn config(server: &Server, target: InfluxTarget) -> config::InfluxDb {
    config_of(server.address().port(), target)
}

fn deliver(influxdb: &mut InfluxDb, lines: &str) -> Result<Outcome, Error> {
    influxdb.deliver(&lines.as_bytes().to_vec())
}

/// Delivers with a new transport.
fn deliver_once(server: &Server, lines: &str) -> Result<Outcome, Error> {
    deliver(&mut InfluxDb::new(config(server, v1()), clock()), lines)
}

/// The text of a request's body.
fn text(request: &Request) -> String {
    let mut text = String::new();
    match request.header("content-encoding") {
        Some("gzip") => GzDecoder::new(&*request.body).read_to_string(&mut text).unwrap(),
        None => (&*request.body).read_to_string(&mut text).unwrap(),
        Some(other) => panic!("encoding {other}"),
    };
    text
}

fn bodies(server: &Server) -> Vec<String> {
    server.requests().iter().map(text).collect()
}
