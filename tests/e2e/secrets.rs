//! The password and the token of an InfluxDB are in no output of haproxystats-process and in no
//! command line or environment of its processes. `kafka::secure` asserts it for a Kafka.

use std::fs;

use testbed::http::{Answer, Server};

use crate::scene::Scene;
use crate::support::{PROCESS, run, wait_until};

const USER: &str = "me";
const PASSWORD: &str = "correct horse";
const TOKEN: &str = "battery-staple";
/// The user with the password, and the password alone, in base64.
const ENCODED: [&str; 2] = ["bWU6Y29ycmVjdCBob3JzZQ==", "Y29ycmVjdCBob3JzZQ=="];

#[test]
fn the_secrets_of_an_influxdb_are_in_no_output() {
    let scene = Scene::new();
    let server = Server::start(Answer::text(401, "no")).unwrap();
    let folder = scene.path().display();
    scene.write("password", &format!("{PASSWORD}\n"));
    scene.write("token", &format!("{TOKEN}\n"));
    let quick = "interval = 0.05\nbackoff = 1\ndelay = 0.2\n";
    let url = server.url();
    let text = format!(
        "[DEFAULT]\nloglevel = debug\n[paths]\nbase-dir = {folder}\n\
         [process]\nsrc-dir = {folder}/incoming\nworkers = 1\n[graphite]\nenabled = false\n\
         [influxdb]\n{quick}url = {url}\ndatabase = d\nusername = {USER}\n\
         password-file = {folder}/password\n\
         [influxdb:second]\n{quick}url = {url}\nbucket = b\ntoken-file = {folder}/token\n"
    );
    let config = scene.write("haproxystats.conf", &text);
    let file = config.to_str().unwrap();
    let asked: Vec<_> =
        ["-P", "--check"].map(|command| run(PROCESS, &["-f", file, command])).into();

    // Refused, then taken.
    let process = scene.process(&config);
    scene.publish(1_700_000_000);
    wait_until("two refusals", || process.log().matches("the receiver is down").count() == 2);
    let mut printed: Vec<String> = Vec::new();
    for pid in process.children().into_iter().chain([process.pid()]) {
        for name in ["cmdline", "environ"] {
            let bytes = fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
            printed.push(String::from_utf8_lossy(&bytes).into_owned());
        }
    }
    server.behave(Answer::status(204));
    scene.wait_until_delivered();
    let checked = run(PROCESS, &["-f", file, "--check"]);
    assert_eq!(checked.code, Some(0), "{}", checked.stdout);
    printed.push(process.log());
    process.finish();

    // Both secrets were in use.
    for header in [format!("Basic {}", ENCODED[0]), format!("Token {TOKEN}")] {
        let has_it =
            |name| server.requests().iter().any(|r| r.header("authorization") == Some(name));
        assert!(has_it(header.as_str()), "{header}");
    }
    for outcome in asked.into_iter().chain([checked]) {
        printed.extend([outcome.stdout, outcome.stderr]);
    }
    for secret in [PASSWORD, TOKEN].into_iter().chain(ENCODED) {
        for text in &printed {
            assert!(!text.contains(secret), "{secret:?} is in {text}");
        }
    }
}
