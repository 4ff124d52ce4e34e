//! `[influxdb]`: its values in types, and what does not go together.

use std::path::PathBuf;
use std::time::Duration;

use haproxystats_config::{
    Gzip, InfluxDb, InfluxTarget, Program, ReceiverKind, Tls, Url, print_in_force,
};

use crate::{faults_of, load_text};

const ALONE: &str = "[graphite]\nenabled = false\n[influxdb]\n";

fn influxdb(options: &str) -> InfluxDb {
    let receivers = load_text(&format!("{ALONE}{options}")).process.receivers;
    match receivers.into_iter().next().unwrap().kind {
        ReceiverKind::InfluxDb(influxdb) => influxdb,
        other => panic!("{other:?}"),
    }
}

fn faults(options: &str) -> Vec<String> {
    faults_of(&format!("{ALONE}{options}"))
}

#[test]
fn url_and_database_are_enough() {
    let url = Url { is_tls: false, host: "::1".into(), port: 8086, path: "/influx".into() };
    assert_eq!(
        influxdb("url = http://[::1]:8086/influx/\ndatabase = stats\n"),
        InfluxDb {
            url,
            target: InfluxTarget::V1 {
                database: "stats".into(),
                retention_policy: None,
                username: None,
                password_file: None,
                create_database: true,
            },
            tls: None,
            tags: Vec::new(),
            keep_field_names: false,
            groups: None,
            gzip: Gzip::Auto,
            batch_points: 5000,
            connect_timeout: Duration::from_secs(1),
            write_timeout: Duration::from_secs(1),
            timeout: Duration::from_secs(5),
        }
    );
}

#[test]
fn a_bucket_asks_for_v2() {
    let written = influxdb(
        "url = https://influx\nbucket = b\norg = o\ntoken-file = /t\ntags = dc = a, env=b\n\
         ca-file = /ca\ncertificate = /c\nkey = /k\nserver-name = db\ngzip = true\n\
         [backend-groups]\nx = y\n",
    );
    let (org, bucket) = (Some("o".into()), "b".into());
    let token_file = Some(PathBuf::from("/t"));
    assert_eq!(written.target, InfluxTarget::V2 { org, bucket, token_file });
    let path = |path: &str| Some(PathBuf::from(path));
    let server_name = Some("db".into());
    let tls = Tls { ca_file: path("/ca"), certificate: path("/c"), key: path("/k"), server_name };
    assert_eq!(written.tls, Some(tls));
    assert_eq!(written.tags, [("dc".into(), "a".into()), ("env".into(), "b".into())]);
    assert_eq!(written.gzip, Gzip::Always);
    assert_eq!(written.groups.unwrap().backend.len(), 1);
}

#[test]
fn the_api_can_be_chosen() {
    let written = influxdb("url = http://a\nbucket = b\napi = V2\n");
    assert!(matches!(written.target, InfluxTarget::V2 { .. }));
    let written = influxdb("url = http://a\ndatabase = d\napi = v1\nusername = u\n");
    assert!(matches!(written.target, InfluxTarget::V1 { .. }));
    assert_eq!(written.groups, None);
}

#[test]
fn what_is_missing_or_does_not_go_together_is_told() {
    let place = "c.conf:3: [influxdb]";
    let unset = "is not set, is needed here and has no default; set it";
    assert_eq!(faults(""), [format!("{place} url: {unset}"), format!("{place} database: {unset}")]);
    for (options, expected) in [
        ("bucket = b\ndatabase = d\n", "bucket: goes with v2 and database with v1; "),
        ("database = d\ntoken-file = /t\n", "token-file: is an option of v2, and this receiver "),
        ("bucket = b\nusername = u\n", "username: is an option of v1, and this receiver speaks v2"),
        ("bucket = b\npassword-file = /p\n", "password-file: is an option of v1, "),
        ("database = d\napi = v2\n", "database: is an option of v1, "),
        ("bucket = b\napi = v1\n", "bucket: is an option of v2, "),
        ("database = d\npassword-file = /p\n", "password-file: needs username; "),
        ("database = d\nca-file = /ca\n", "ca-file: is for TLS, which is off here; "),
        ("database = d\nserver-name = x\n", "server-name: is for TLS, which is off here; "),
        ("database = d\ntags = host=a\n", "tags: \"host\" is a name that is taken by a tag or "),
        ("database = d\nbatch-points = 0\n", "batch-points: \"0\" is out of range; "),
    ] {
        let faults = faults(&format!("url = http://a\n{options}"));
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(faults[0].contains(&format!("[influxdb] {expected}")), "{faults:?}");
    }
    let fault = faults("url = https://a\ndatabase = d\ncertificate = /c\n");
    assert!(fault[0].contains("certificate: needs key; set that too"), "{fault:?}");
    let fault = faults("url = http://me:secret@a\ndatabase = d\n");
    assert!(fault[0].contains("a URL with a user") && !fault[0].contains("secret"), "{fault:?}");
}

/// A secret is never in the file, so it cannot be printed: its file is.
#[test]
fn the_printed_configuration_has_the_names_of_files() {
    let text = format!("{ALONE}url = http://a\nbucket = b\ntoken-file = /t\n");
    let printed = print_in_force(&load_text(&text).document, Program::Process);
    assert!(printed.contains("token-file = /t\n"), "{printed}");
}
