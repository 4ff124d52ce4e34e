//! TLS and a login by SCRAM with a real broker: what is delivered, what the log and `--check` say
//! of a foreign certificate, of a wrong password and of a wrong protocol, and that no output has
//! the password.

use std::fs;
use std::path::Path;

use testbed::kafka::{Broker, PASSWORD, USER};
use testbed::tls::Authority;

use super::{FIRST, assert_exact, config, graphite_section};
use crate::scene::Scene;
use crate::support::{Outcome, PROCESS, installed, run, wait_until};

const TOPIC: &str = "secure";
const WRONG_PASSWORD: &str = "battery staple";

/// A section with TLS and a login. The library's own log has all that it can have.
fn section(scene: &Scene, broker: &Broker) -> String {
    let folder = scene.path().display();
    let section = graphite_section(broker, TOPIC).replace(&broker.address(), &broker.tls_address());
    format!(
        "{section}security-protocol = sasl_ssl\nsasl-mechanism = scram-sha-512\n\
         ca-file = {folder}/ca.pem\nsasl-username = {USER}\n\
         sasl-password-file = {folder}/password\nlibrdkafka.debug = all\n"
    )
}

/// Replaces a file at once, as tools that manage secrets do.
fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, path).unwrap();
}

fn check(config: &Path) -> Outcome {
    run(PROCESS, &["-f", config.to_str().unwrap(), "--check"])
}

/// `--check` fails and says each of the texts.
fn assert_check_fails(config: &Path, texts: &[&str]) -> Outcome {
    let outcome = check(config);
    assert_eq!(outcome.code, Some(1), "{}", outcome.stdout);
    for text in texts {
        assert!(outcome.stdout.contains(text), "not {text:?}: {}", outcome.stdout);
    }
    outcome
}

fn assert_check_passes(config: &Path, text: &str) -> Outcome {
    let outcome = check(config);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stdout);
    assert!(outcome.stdout.contains(text), "{}", outcome.stdout);
    outcome
}

#[test]
fn a_batch_waits_for_the_right_authority_and_the_right_password() {
    let scene = Scene::new();
    let test = "kafka: TLS and SCRAM";
    let Some([program, kcat, _]) = installed(test, ["kafka-broker", "kcat", "java"]) else {
        return;
    };
    let (authority, foreign) = (Authority::new().unwrap(), Authority::new().unwrap());
    let folder = scene.path().join("broker");
    fs::create_dir(&folder).unwrap();
    let broker = Broker::start_with_tls(&program, &folder, "", &authority).unwrap();
    let (ca, password) = (scene.path().join("ca.pem"), scene.path().join("password"));
    fs::copy(foreign.path("ca.pem"), &ca).unwrap();
    fs::write(&password, format!("{WRONG_PASSWORD}\n")).unwrap();
    let config = config(&scene, &section(&scene, &broker));
    let mut checks = vec![run(PROCESS, &["-f", config.to_str().unwrap(), "-P"])];

    // A certificate of a foreign authority.
    let foreign_texts =
        ["TLS failed", "certificate verify failed", "check security-protocol, ca-file"];
    checks.push(assert_check_fails(&config, &foreign_texts));
    let process = scene.process(&config);
    scene.publish(FIRST);
    wait_until("the error of TLS", || {
        foreign_texts.iter().all(|text| process.log().contains(text))
    });
    wait_until("a held batch", || scene.stored() == 1 && scene.waiting().is_empty());

    // The right one, but a wrong password.
    let pem = fs::read_to_string(authority.path("ca.pem")).unwrap();
    replace(&ca, &pem);
    wait_until("the refusal", || process.log().contains("SASL authentication error"));
    let login_texts = ["the login is refused", "SCRAM-SHA-512", "check sasl-username"];
    checks.push(assert_check_fails(&config, &login_texts));
    assert_eq!(scene.stored(), 1);

    // The right password. The topic does not exist yet, and no check makes it.
    replace(&password, &format!("{PASSWORD}\n"));
    scene.wait_until_delivered();
    scene.publish(FIRST + 1);
    scene.wait_until_delivered();
    checks.push(assert_check_passes(&config, "the topic is there: 1 partition(s), 1 broker(s)"));
    let log = process.log();
    process.finish();
    assert_exact(&broker, &kcat, TOPIC, &[FIRST, FIRST + 1]);

    // The library has logged its settings and each step, and nobody has the passwords.
    assert!(log.contains("sasl.password") && log.contains("SaslAuthenticate"), "{log}");
    let printed = checks.iter().flat_map(|outcome| [&*outcome.stdout, &*outcome.stderr]);
    for text in printed.chain([&*log]) {
        assert!(!text.contains(PASSWORD) && !text.contains(WRONG_PASSWORD), "{text}");
    }
}

#[test]
fn a_check_tells_of_a_wrong_protocol_and_of_a_topic_that_a_batch_makes() {
    let scene = Scene::new();
    let test = "kafka: protocols";
    let Some([program, _, _]) = installed(test, ["kafka-broker", "kcat", "java"]) else { return };
    let authority = Authority::new().unwrap();
    let folder = scene.path().join("broker");
    fs::create_dir(&folder).unwrap();
    let properties = "num.partitions=3";
    let broker = Broker::start_with_tls(&program, &folder, properties, &authority).unwrap();
    fs::copy(authority.path("ca.pem"), scene.path().join("ca.pem")).unwrap();
    fs::write(scene.path().join("password"), PASSWORD).unwrap();
    let secure = section(&scene, &broker);
    for _ in 0..2 {
        let text = "the topic does not exist; the first batch makes it with 3 partition(s)";
        assert_check_passes(&config(&scene, &secure), text);
    }
    // TLS with a listener that has none, and the other way round.
    let (plain, tls) = (broker.login_address(), broker.tls_address());
    let texts = ["TLS failed", "check security-protocol, ca-file"];
    assert_check_fails(&config(&scene, &secure.replace(&tls, &plain)), &texts);
    // The library sees no more than a connection that ends.
    let texts = ["no broker can be reached"];
    let without = secure.replace("sasl_ssl", "sasl_plaintext");
    let without: String = without
        .lines()
        .filter(|line| !line.starts_with("ca-file"))
        .map(|line| format!("{line}\n"))
        .collect();
    assert_check_fails(&config(&scene, &without), &texts);
    // A mechanism that the listener does not have.
    let texts =
        ["the login is refused", "check sasl-username, sasl-password-file and sasl-mechanism"];
    assert_check_fails(&config(&scene, &secure.replace("scram-sha-512", "plain")), &texts);
}
