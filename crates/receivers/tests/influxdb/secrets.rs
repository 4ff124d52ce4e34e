//! Secrets: read from their files when a session begins, and never logged.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use config::InfluxTarget;
use daemon::Clock;
use haproxystats_receivers::InfluxDb;
use testbed::http::{Answer, Server};

use crate::{clock, config, deliver};

const LINES: &str = "a x=1i 1\n";

fn v1(password_file: &Path) -> InfluxTarget {
    InfluxTarget::V1 {
        database: "d".into(),
        retention_policy: None,
        username: Some("me".into()),
        password_file: Some(password_file.to_owned()),
        create_database: false,
    }
}

fn v2(token_file: &Path) -> InfluxTarget {
    InfluxTarget::V2 { org: None, bucket: "b".into(), token_file: Some(token_file.to_owned()) }
}

/// A file that its owner alone can read.
fn private(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn a_password_and_a_token_go_into_the_header_and_nowhere_else() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    private(&file, "geheim 1\n");
    let server = Server::start(Answer::status(204)).unwrap();
    let lines = testbed::log::logged(|| {
        for target in [v1(&file), v2(&file)] {
            let mut influxdb = InfluxDb::new(config(&server, target), clock());
            deliver(&mut influxdb, LINES).unwrap();
            assert!(!format!("{influxdb:?}").contains("geheim"), "{influxdb:?}");
            assert!(!format!("{influxdb:?}").contains("bWU6"), "{influxdb:?}");
        }
    });
    assert_eq!(lines, [""; 0]);
    let headers: Vec<_> = server
        .requests()
        .iter()
        .map(|request| request.header("authorization").unwrap().to_owned())
        .collect();
    assert_eq!(headers, ["Basic bWU6Z2VoZWltIDE=", "Token geheim 1"]);
}

#[test]
fn a_secret_that_was_replaced_is_found_after_the_refusal() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    private(&file, "old");
    let server = Server::start(Answer::status(204)).unwrap();
    let mut influxdb = InfluxDb::new(config(&server, v2(&file)), clock());
    deliver(&mut influxdb, LINES).unwrap();
    private(&file, "new");
    server.script([Answer::text(401, "{\"code\":\"unauthorized\",\"message\":\"no\"}")]);
    let error = deliver(&mut influxdb, LINES).unwrap_err().to_string();
    assert!(error.contains("answered 401: no; check the user or the token"), "{error}");
    deliver(&mut influxdb, LINES).unwrap();
    let last = server.requests().pop().unwrap();
    assert_eq!(last.header("authorization"), Some("Token new"));
}

/// A clock that the test moves.
static MOVED_SECONDS: AtomicU64 = AtomicU64::new(0);

fn moved() -> Instant {
    Instant::now() + Duration::from_secs(MOVED_SECONDS.load(Ordering::SeqCst))
}

#[test]
fn a_secret_that_was_replaced_is_found_within_a_minute() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    private(&file, "old");
    let server = Server::start(Answer::status(204)).unwrap();
    let clock = Clock { monotonic: moved, ..clock() };
    let mut influxdb = InfluxDb::new(config(&server, v2(&file)), clock);
    deliver(&mut influxdb, LINES).unwrap();
    private(&file, "new");
    deliver(&mut influxdb, LINES).unwrap();
    MOVED_SECONDS.store(60, Ordering::SeqCst);
    deliver(&mut influxdb, LINES).unwrap();
    let requests = server.requests();
    let tokens: Vec<_> =
        requests.iter().map(|request| request.header("authorization").unwrap()).collect();
    assert_eq!(tokens, ["Token old", "Token old", "Token new"]);
    // The new session has a connection of its own, to the address that the name has now.
    let connections: Vec<_> = requests.iter().map(|request| request.connection).collect();
    assert_eq!(connections, [0, 0, 1]);
}

#[test]
fn a_file_that_cannot_be_used_is_told_and_the_batch_waits() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(Answer::status(204)).unwrap();
    let file = folder.path().join("token");
    let mut influxdb = InfluxDb::new(config(&server, v2(&file)), clock());
    let error = deliver(&mut influxdb, LINES).unwrap_err().to_string();
    assert!(
        error.contains("cannot be asked: token-file ") && error.contains("No such file"),
        "{error}"
    );
    private(&file, &"x".repeat(20 << 10));
    let error = deliver(&mut influxdb, LINES).unwrap_err().to_string();
    assert!(error.contains("16 KiB"), "{error}");
    private(&file, "two\nlines");
    let error = deliver(&mut influxdb, LINES).unwrap_err().to_string();
    assert!(error.contains("characters that no header may have"), "{error}");
    private(&file, "fine");
    deliver(&mut influxdb, LINES).unwrap();
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_secret_that_everybody_can_read_is_one_warning() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    private(&file, "t");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let server = Server::start(Answer::status(204)).unwrap();
    let lines = testbed::log::logged(|| {
        let mut influxdb = InfluxDb::new(config(&server, v2(&file)), clock());
        deliver(&mut influxdb, LINES).unwrap();
        server.script([Answer::status(503)]);
        deliver(&mut influxdb, LINES).unwrap_err();
        deliver(&mut influxdb, LINES).unwrap();
    });
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(
        lines[0].contains("can be read by every user of this machine; chmod o-r "),
        "{lines:?}"
    );
}
