//! `--check`: a verdict on each endpoint within the limit, and nothing is written.

use std::os::unix::net::{UnixDatagram, UnixListener};
use std::time::Duration;

use config::{Address, Pull};
use haproxystats_puller::{CheckVerdict, EndpointCheck, Error};

use crate::fake::{Fake, INFO, STAT, Script, good};
use crate::on_one_thread;
use crate::workbench::{Workbench, machine, names};

const LIMIT: Duration = Duration::from_millis(100);

async fn check(config: Pull) -> Result<Vec<EndpointCheck>, Error> {
    haproxystats_puller::check(config, machine().clock).await
}

/// The reason why an endpoint fails.
fn failure(check: &EndpointCheck) -> &str {
    match &check.verdict {
        CheckVerdict::Fails(reason) => reason,
        other => panic!("{}: {other:?}", check.address),
    }
}

#[test]
fn each_endpoint_has_a_verdict_and_nothing_is_written() {
    on_one_thread(async {
        let bench = Workbench::new();
        let root = bench.sockets().parent().unwrap().to_owned();
        let before = names(&root);
        let half = good()[..INFO.len() + 30].to_vec();
        let fakes = [
            ("good", Script::Good),
            ("half", Script::Send(half.clone())),
            ("hung", Script::Stall(vec![])),
            (
                "master",
                Script::Stall(
                    b"Unknown command, but maybe one of the following ones is a \
                better match:\n  show proc : show processes status\n\n"
                        .to_vec(),
                ),
            ),
            ("silent", Script::Close),
            ("single", Script::OneCommand("Unknown command\n")),
            ("stalled", Script::Stall(half)),
        ];
        let fakes = fakes.map(|(name, script)| Fake::unix(&bench.socket(name), script));
        drop(UnixListener::bind(bench.socket("dead")).unwrap());
        let _datagrams = UnixDatagram::bind(bench.socket("zlog")).unwrap();
        let missing = vec![Address::Unix(bench.socket("gone"))];
        let config = Pull { servers: missing, pull_timeout: Some(LIMIT), ..bench.config() };
        let checks = check(config).await.unwrap();

        let expected = [
            ("gone", "cannot connect: No such file"),
            ("dead", "; start its HAProxy, or remove the socket"),
            ("good", ""),
            ("half", "without its closing empty line; look whether that HAProxy was restarted"),
            ("hung", "not done within pull-timeout (0.1 s): 0 bytes of the answers came; look"),
            ("master", "it is the master CLI of HAProxy; keep it out of socket-dir"),
            ("silent", "log of that HAProxy, or keep it out of socket-dir if it is no stats"),
            ("single", ""),
            ("stalled", "not done within pull-timeout (0.1 s): 99 bytes of the answers came"),
            ("zlog", "it takes datagrams; keep it out of socket-dir"),
        ];
        assert_eq!(checks.len(), expected.len());
        for (check, (name, reason)) in checks.iter().zip(expected) {
            let socket = bench.socket(name);
            assert_eq!(check.address, format!("unix://{}", socket.display()));
            assert_eq!(check.kind, "haproxy");
            match &check.verdict {
                CheckVerdict::Answers => assert_eq!(reason, "", "{name}"),
                CheckVerdict::LeftOut(text) => {
                    assert!(["master", "zlog"].contains(&name) && text.contains(reason), "{text}");
                }
                CheckVerdict::Fails(_) if reason.is_empty() => panic!("{name}: {check:?}"),
                CheckVerdict::Fails(text) => {
                    let reason = reason.replace("99", &(INFO.len() + 30).to_string());
                    assert!(text.contains(&reason), "{name}: {text}");
                }
            }
            let (version, bytes) = match check.verdict {
                CheckVerdict::Answers => (Some("2.6.12"), INFO.len() + STAT.len()),
                _ => (None, 0),
            };
            assert_eq!(check.version.as_deref(), version, "{name}");
            assert_eq!(check.bytes, bytes as u64, "{name}");
        }
        assert_eq!(names(&root), before);
        assert_eq!(fakes.map(|fake| fake.asked()), [1, 1, 1, 2, 0, 3, 1]);
    });
}

#[test]
fn an_endpoint_of_servers_is_never_left_out() {
    on_one_thread(async {
        let bench = Workbench::new();
        let _other = Fake::unix(&bench.socket("a"), Script::Send(b"HTTP/1.1 400 Bad\r\n".into()));
        let checks = check(bench.config()).await.unwrap();
        assert!(matches!(checks[0].verdict, CheckVerdict::LeftOut(_)), "{checks:?}");
        let config = bench.config_for(Address::Unix(bench.socket("a")));
        let checks = check(config).await.unwrap();
        assert!(failure(&checks[0]).contains("check that it is a stats socket"), "{checks:?}");
    });
}

#[test]
fn nothing_to_ask_is_a_clear_sentence() {
    on_one_thread(async {
        let bench = Workbench::new();
        let empty = check(bench.config()).await.unwrap_err().to_string();
        assert!(empty.contains("no stats socket there; give HAProxy one in it"), "{empty}");
        assert!(empty.contains(bench.sockets().to_str().unwrap()), "{empty}");
        let error = check(Pull { socket_dir: None, ..bench.config() }).await.unwrap_err();
        assert!(error.is_configuration(), "{error}");
    });
}

/// An answer beyond `answer-limit` is refused although no file bounds it.
#[test]
fn an_answer_without_end_is_refused_at_its_limit() {
    on_one_thread(async {
        let bench = Workbench::new();
        let endless = Script::Endless("Name: HAProxy\n\n# pxname,svname,\n", "web,FRONTEND,\n");
        let _fake = Fake::unix(&bench.socket("a"), endless);
        let checks = check(bench.config()).await.unwrap();
        assert!(failure(&checks[0]).ends_with("; raise answer-limit"), "{checks:?}");
    });
}
