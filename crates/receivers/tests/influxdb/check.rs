//! A check connects, and tells whether a batch would be delivered now.

use config::InfluxTarget;
use haproxystats_receivers::{Error, InfluxDb};
use testbed::http::{Answer, Server};

use crate::{clock, config, config_of, text, v1};

fn check(server: &Server, target: InfluxTarget) -> Result<String, Error> {
    InfluxDb::new(config(server, target), clock()).check()
}

fn v2() -> InfluxTarget {
    InfluxTarget::V2 { org: None, bucket: "b".into(), token_file: None }
}

#[test]
fn a_ping_and_a_request_without_lines_are_enough() {
    let server = Server::start(Answer::status(204)).unwrap();
    server.script([Answer::with(204, "X-Influxdb-Version: 1.6.7\r\n", "")]);
    assert_eq!(check(&server, v1()).unwrap(), "it says that it is InfluxDB 1.6.7");
    let [ping, write] = server.requests().try_into().unwrap();
    assert_eq!((&*ping.method, &*ping.path), ("GET", "/ping"));
    assert_eq!((&*write.method, &*write.path), ("POST", "/write?db=my%20db&precision=s"));
    assert_eq!(text(&write), "");
}

#[test]
fn each_answer_to_the_request_has_its_meaning() {
    let missing = Answer::text(404, "{\"error\":\"database not found: \\\"my db\\\"\"}");
    let no_points = Answer::text(400, "{\"code\":\"invalid\",\"message\":\"no points\"}");
    let unauthorized = Answer::text(401, "{\"error\":\"authorization failed\"}");
    let no_bucket = Answer::text(404, "{\"code\":\"not found\",\"message\":\"no bucket\"}");
    let unmade = InfluxTarget::V1 {
        database: "my db".into(),
        retention_policy: None,
        username: None,
        password_file: None,
        create_database: false,
    };
    for (target, answer, expected) in [
        (v1(), missing.clone(), Ok("it answers; the first batch makes the database")),
        (unmade, missing, Err("database not found: \"my db\"; create the database")),
        (v1(), unauthorized.clone(), Err("check the user or the token")),
        (v2(), Answer::status(204), Ok("it answers")),
        (v2(), no_points, Ok("it answers")),
        (v2(), Answer::text(400, "empty"), Ok("it answers")),
        (v2(), unauthorized, Err("check the user or the token")),
        (v2(), no_bucket, Err("the bucket")),
    ] {
        let server = Server::start(answer).unwrap();
        server.script([Answer::status(204)]);
        match (check(&server, target), expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected),
            (Err(error), Err(expected)) => {
                assert!(error.to_string().contains(expected), "{error}");
            }
            (found, expected) => panic!("{found:?}, not {expected:?}"),
        }
    }
}

#[test]
fn a_server_that_is_no_influxdb_or_not_there_fails() {
    let server = Server::start(Answer::text(404, "<html>not found</html>")).unwrap();
    let error = check(&server, v1()).unwrap_err().to_string();
    assert!(error.contains("answered 404") && error.contains("check url"), "{error}");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let error = InfluxDb::new(config_of(port, v1()), clock()).check().unwrap_err().to_string();
    assert!(error.contains("check that it runs and listens there"), "{error}");
}
