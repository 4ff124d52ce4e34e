//! What follows each answer: the points are sent again, or are counted, or are done.

use std::time::Duration;

use haproxystats_receivers::Error;
use testbed::http::{Answer, Server};

use crate::{bodies, deliver, deliver_once, v1};

const LINES: &str = "a x=1i 1\nb x=2i 1\nc x=3i 1\n";

fn reason(error: &Error) -> String {
    error.to_string()
}

#[test]
fn a_batch_goes_in_requests_of_some_lines() {
    let server = Server::start(Answer::status(204)).unwrap();
    let outcome = deliver_once(&server, LINES).unwrap();
    assert_eq!(outcome, Default::default());
    assert_eq!(bodies(&server), ["a x=1i 1\nb x=2i 1\n", "c x=3i 1\n"]);
    let [first, second] = server.requests().try_into().unwrap();
    assert_eq!(first.path, "/write?db=my%20db&precision=s");
    assert_eq!((first.method.as_str(), first.header("content-encoding")), ("POST", None));
    assert_eq!((first.connection, second.connection), (0, 0));
    assert_eq!(first.header("authorization"), None);
}

#[test]
fn refused_points_are_counted_with_the_first_reason_and_not_sent_again() {
    let server = Server::start(Answer::status(204)).unwrap();
    let partial = |status, dropped: u32| {
        let text = format!("{{\"error\":\"partial write: reason {dropped} dropped={dropped}\"}}");
        Answer::text(status, &text)
    };
    server.script([partial(400, 1), partial(500, 7)]);
    let outcome = deliver_once(&server, LINES).unwrap();
    // The server cannot drop more points than a request has.
    assert_eq!(outcome.refused_points.count, 2);
    let reason = outcome.refused_points.reason.unwrap();
    assert_eq!(reason, "answered 400: partial write: reason 1 dropped=1");
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn a_request_that_is_too_large_is_halved_down_to_a_line() {
    let server = Server::start(Answer::status(204)).unwrap();
    server.script([Answer::status(413), Answer::status(413), Answer::status(204)]);
    let mut influxdb =
        haproxystats_receivers::InfluxDb::new(crate::config(&server, v1()), crate::clock());
    let outcome = deliver(&mut influxdb, LINES).unwrap();
    assert_eq!(outcome.refused_points.count, 1);
    let reason = outcome.refused_points.reason.unwrap();
    assert_eq!(reason, "answered 413, to a line of 9 bytes");
    let expected = ["a x=1i 1\nb x=2i 1\n", "a x=1i 1\n", "b x=2i 1\n", "c x=3i 1\n"];
    assert_eq!(bodies(&server), expected);
    // The next batch begins with requests of the size that the server takes.
    deliver(&mut influxdb, LINES).unwrap();
    assert_eq!(bodies(&server)[4..], ["a x=1i 1\n", "b x=2i 1\n", "c x=3i 1\n"]);
}

/// InfluxDB 2 and VictoriaMetrics refuse a request whole because of one line.
#[test]
fn a_malformed_line_is_found_and_all_others_are_stored() {
    let server = Server::start(Answer::status(204)).unwrap();
    let refusal = r#"{"code":"invalid","message":"unable to parse a line"}"#;
    for line in ["c x=3i 1\n", "f x=6i 1\n"] {
        server.answer_to(line, Answer::text(400, refusal));
    }
    let lines = "abcdefgh".chars().map(|name| format!("{name} x={}i 1\n", name as u32 - 96));
    let lines: String = lines.collect();
    let mut config = crate::config(&server, v1());
    config.batch_points = 5000;
    let mut influxdb = haproxystats_receivers::InfluxDb::new(config, crate::clock());
    let outcome = deliver(&mut influxdb, &lines).unwrap();
    assert_eq!(outcome.refused_points.count, 2);
    let reason = outcome.refused_points.reason.unwrap();
    let expected = "answered 400: unable to parse a line, to the line \"c x=3i 1\"; please report \
                    this";
    assert_eq!(reason, expected);
    let taken = bodies(&server).into_iter().filter(|body| !body.contains(['c', 'f']));
    let expected = lines.replace("c x=3i 1\n", "").replace("f x=6i 1\n", "");
    assert_eq!(taken.collect::<String>(), expected);
    // Later requests are as large as before.
    let before = server.requests().len();
    deliver(&mut influxdb, "a x=1i 2\nb x=2i 2\nd x=3i 2\ne x=4i 2\n").unwrap();
    assert_eq!(server.requests().len(), before + 1);
}

/// The reason may be something else than the lines, so a batch of which nothing was taken is not
/// counted as delivered.
#[test]
fn a_batch_without_a_line_that_is_understood_is_rejected_whole() {
    let server = Server::start(Answer::text(400, "unable to parse 'a': x")).unwrap();
    let error = deliver_once(&server, LINES).unwrap_err();
    assert!(matches!(error, Error::Rejected { .. }), "{error:?}");
    assert!(reason(&error).ends_with(", to the line \"a x=1i 1\"; please report this"), "{error}");
    assert_eq!(server.requests().len(), 4);
}

#[test]
fn the_search_for_malformed_lines_has_a_bound() {
    let server = Server::start(Answer::status(204)).unwrap();
    server.answer_to("bad x=1i", Answer::text(400, "cannot parse fields"));
    let lines = "good x=1i 1\nbad x=1i 1\n".repeat(500);
    let mut config = crate::config(&server, v1());
    config.batch_points = 5000;
    let mut influxdb = haproxystats_receivers::InfluxDb::new(config, crate::clock());
    let error = deliver(&mut influxdb, &lines).unwrap_err();
    assert!(matches!(error, Error::Rejected { .. }), "{error:?}");
    // Those that were still to be sent are left out.
    let requests = server.requests().len();
    assert!((80..=101).contains(&requests), "{requests}");
}

#[test]
fn a_server_that_is_overloaded_asks_for_a_pause() {
    let server = Server::start(Answer::with(429, "Retry-After: 7\r\n", "slow down")).unwrap();
    let error = deliver_once(&server, LINES).unwrap_err();
    assert_eq!(error.wait(), Some(Duration::from_secs(7)));
    let expected =
        format!("influxdb {} answered 429: slow down; the server is overloaded", server.url());
    assert!(reason(&error).starts_with(&expected), "{error}");
}

#[test]
fn a_missing_database_is_made_once() {
    let server = Server::start(Answer::status(204)).unwrap();
    let missing = Answer::text(404, "{\"error\":\"database not found: \\\"my db\\\"\"}");
    server.script([missing.clone(), Answer::text(200, "{\"results\":[{\"statement_id\":0}]}")]);
    deliver_once(&server, LINES).unwrap();
    let paths: Vec<_> = server.requests().iter().map(|request| request.path.clone()).collect();
    assert_eq!(paths.len(), 4);
    assert_eq!(paths[1], "/query?q=CREATE%20DATABASE%20%22my%20db%22");
    assert_eq!(paths[0], paths[2]);

    // If it is missing all the same, or the server refuses, the batch waits.
    let made = Answer::text(200, "{\"results\":[{}]}");
    server.script([missing.clone(), made, missing.clone()]);
    let error = deliver_once(&server, LINES).unwrap_err();
    assert!(
        reason(&error).ends_with("database not found: \"my db\"; create the database"),
        "{error}"
    );
}

#[test]
fn a_refusal_to_make_the_database_is_one_warning() {
    let server = Server::start(Answer::text(404, "{\"error\":\"database not found\"}")).unwrap();
    let denied = || Answer::text(403, "{\"error\":\"error authorizing query\"}");
    let missing = || Answer::text(404, "{\"error\":\"database not found\"}");
    server.script([missing(), denied(), missing(), denied()]);
    let lines = testbed::log::logged(|| {
        let mut influxdb =
            haproxystats_receivers::InfluxDb::new(crate::config(&server, v1()), crate::clock());
        deliver(&mut influxdb, LINES).unwrap_err();
        deliver(&mut influxdb, LINES).unwrap_err();
    });
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(
        lines[0].contains("does not make the database \"my db\", it answered 403: "),
        "{lines:?}"
    );
    assert!(lines[0].ends_with("make it, or set create-database = false"), "{lines:?}");
}

#[test]
fn what_may_be_the_state_of_a_server_is_doubtful() {
    let server = Server::start(Answer::text(500, "engine: out of order")).unwrap();
    let error = deliver_once(&server, LINES).unwrap_err();
    assert!(matches!(error, Error::Doubtful { .. }), "{error:?}");
    assert!(reason(&error).starts_with(&format!("influxdb {} answered 500: ", server.url())));
}

#[test]
fn a_redirect_is_not_followed() {
    let server =
        Server::start(Answer::with(307, "Location: http://127.0.0.1:1/x\r\n", "")).unwrap();
    let error = deliver_once(&server, LINES).unwrap_err();
    assert!(
        reason(&error).contains("a redirect to \"http://127.0.0.1:1/x\" is not followed"),
        "{error}"
    );
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn an_answer_without_end_is_read_to_a_bound() {
    let head = "HTTP/1.1 503 Busy\r\nContent-Length: 99999999999\r\n\r\n";
    let body = "x".repeat(1 << 20);
    let server = Server::start(Answer::Bytes(format!("{head}{body}").into_bytes())).unwrap();
    let error = deliver_once(&server, LINES).unwrap_err();
    assert!(reason(&error).len() < 1000, "{}", reason(&error).len());
    let endless = format!("HTTP/1.1 204 Fine\r\n{}", "a: b\r\n".repeat(1 << 16));
    server.behave(Answer::Bytes(endless.into_bytes()));
    deliver_once(&server, LINES).unwrap_err();
}

/// Nothing that is cut counts as delivered, but for a whole head of an answer without a body.
#[test]
fn an_answer_that_is_cut_at_any_byte_is_no_delivery() {
    let server = Server::start(Answer::status(204)).unwrap();
    let whole = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
    for length in 0..whole.len() {
        server.behave(Answer::Last(whole.as_bytes()[..length].to_vec()));
        let error = deliver_once(&server, LINES).unwrap_err();
        assert!(reason(&error).starts_with("influxdb http://"), "{length}: {error}");
    }
    let whole = "HTTP/1.1 204 No Content\r\nX: y\r\n\r\n";
    for length in 0..whole.len() {
        server.behave(Answer::Last(whole.as_bytes()[..length].to_vec()));
        deliver_once(&server, LINES).unwrap_err();
    }
    server.behave(Answer::Last(whole.as_bytes().to_vec()));
    deliver_once(&server, LINES).unwrap();
}
