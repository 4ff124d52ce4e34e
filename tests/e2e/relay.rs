//! carbon-c-relay in front of a cluster, as docs/graphite.md shows it: over TCP, TLS and a UNIX
//! socket, and one of two relays that is killed.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpStream;
use std::path::Path;

use rcgen::{CertificateParams, KeyPair};
use rustix::process::Signal;

use crate::scene::{Scene, reference};
use crate::sink::{Manner, Sink};
use crate::support::{Program, free_ports, installed, wait_until};

/// A running relay, which spreads its lines over some sinks by consistent hashing.
struct Relay {
    plain: u16,
    tls: u16,
    program: Program,
}

impl Relay {
    fn start(carbon_c_relay: &str, folder: &Path, name: &str, sinks: &[&Sink]) -> Self {
        let [plain, tls] = free_ports();
        let ca = folder.join("relay.pem");
        if !ca.exists() {
            let key = KeyPair::generate().unwrap();
            let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
            let certificate = params.self_signed(&key).unwrap();
            fs::write(folder.join("pair.pem"), key.serialize_pem() + &certificate.pem()).unwrap();
            fs::write(&ca, certificate.pem()).unwrap();
        }
        let members: String = (0..)
            .zip(sinks)
            .map(|(number, sink)| format!("        127.0.0.1:{}={number}\n", sink.port))
            .collect();
        let config = format!(
            "cluster storage\n    carbon_ch replication 1\n{members}    ;\n\
             match ^e2e send to storage stop;\n\
             listen\n    type linemode\n        127.0.0.1:{plain} proto tcp\n        \
             {folder}/{name}.sock proto unix\n    ;\n\
             listen\n    type linemode transport plain ssl {folder}/pair.pem\n        \
             127.0.0.1:{tls} proto tcp\n    ;\n",
            folder = folder.display(),
        );
        let path = folder.join(format!("{name}.conf"));
        fs::write(&path, config).unwrap();
        let arguments = ["-f".as_ref(), path.as_os_str()];
        let mut program = Program::start(carbon_c_relay, &arguments, &[], folder, name);
        wait_until("the relay", || {
            assert!(program.runs(), "the relay has ended: {}{}", program.output(), program.log());
            TcpStream::connect(("127.0.0.1", tls)).is_ok()
        });
        Self { plain, tls, program }
    }
}

/// The lines of sinks about HAProxy for a timestamp, without it.
fn arrived(sinks: &[&Sink], timestamp: u64) -> BTreeSet<String> {
    let of = |sink: &&Sink| sink.by_timestamp().remove(&timestamp).unwrap_or_default().into_keys();
    sinks.iter().flat_map(of).collect()
}

#[test]
fn a_relay_takes_batches_over_tls_and_a_unix_socket_and_hashes_their_lines() {
    let Some([carbon_c_relay]) = installed("relay", ["carbon-c-relay"]) else { return };
    let scene = Scene::new();
    let (one, two) = (Sink::start(Manner::Whole), Sink::start(Manner::Whole));
    let relay = Relay::start(&carbon_c_relay, scene.path(), "relay", &[&one, &two]);
    let options = format!(
        "tls = true\nca-file = {folder}/relay.pem\n\
         [graphite:unix]\nserver = unix://{folder}/relay.sock\nnamespace = e2e.unix\n\
         prefix-hostname = false\n",
        folder = scene.path().display(),
    );
    let process = scene.process(&scene.config(relay.tls, 1, &options));
    scene.publish(1_700_000_000);
    scene.wait_until_delivered();
    let mut expected = reference().clone();
    expected.extend(reference().iter().map(|line| line.replacen("e2e.", "e2e.unix.", 1)));
    // The relay passes lines on after it has taken them.
    wait_until("all lines behind the relay", || arrived(&[&one, &two], 1_700_000_000) == expected);
    let (of_one, of_two) = (arrived(&[&one], 1_700_000_000), arrived(&[&two], 1_700_000_000));
    assert!(!of_one.is_empty() && !of_two.is_empty() && of_one.is_disjoint(&of_two));
    let log = process.log();
    assert_eq!(log.matches("closes TLS without close_notify").count(), 1, "{log}");
    process.finish();
}

#[test]
fn of_two_relays_the_one_that_works_gets_the_batches() {
    let Some([carbon_c_relay]) = installed("relay: failover", ["carbon-c-relay"]) else { return };
    let scene = Scene::new();
    let sink = Sink::start(Manner::Whole);
    let mut first = Relay::start(&carbon_c_relay, scene.path(), "first", &[&sink]);
    let second = Relay::start(&carbon_c_relay, scene.path(), "second", &[&sink]);
    let list = format!("server = 127.0.0.1, 127.0.0.1:{}\n", second.plain);
    let config = scene.config(first.plain, 1, "");
    let text = fs::read_to_string(&config).unwrap().replace("server = 127.0.0.1\n", &list);
    fs::write(&config, text).unwrap();
    let process = scene.process(&config);
    scene.publish(1_700_000_000);
    scene.wait_until_delivered();
    wait_until("the lines behind the first relay", || {
        arrived(&[&sink], 1_700_000_000) == *reference()
    });
    first.program.signal(Signal::KILL);
    first.program.wait();
    for second in 1..4 {
        scene.publish(1_700_000_000 + second);
        scene.wait_until_delivered();
    }
    wait_until("the lines behind the second relay", || {
        (1..4).all(|second| arrived(&[&sink], 1_700_000_000 + second) == *reference())
    });
    let log = process.log();
    let failed = format!("graphite 127.0.0.1:{} takes no connection", first.plain);
    assert_eq!(log.matches(&failed).count(), 1, "{log}");
    process.finish();
}
