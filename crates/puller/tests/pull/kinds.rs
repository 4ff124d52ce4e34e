//! Sockets in `socket-dir` that are no stats sockets are left out, with one line of the log, and a
//! snapshot is published without them. An endpoint of `servers`, and one that has answered before,
//! is never left out.

use std::fs;
use std::os::unix::net::UnixDatagram;

use config::{Address, Pull, Retries};

use crate::fake::{Fake, INFO, STAT, Script};
use crate::on_one_thread;
use crate::workbench::{SECOND, Workbench};

const MASTER: &str = "Unknown command, but maybe one of the following ones is a better match:\n  \
                      show proc : show processes status\n\n";
/// The answer of HAProxy 1.9 to 2.3.
const OLD_MASTER: &str = "Unknown command. Please enter one of the following commands only :\n  \
                          help           : this message\n  show proc      : show processes \
                          status\n\n";
const HTTP: &str = "HTTP/1.1 400 Bad request\r\nConnection: close\r\n\r\n";

/// Scripts of sockets that are no stats sockets, and the reason in the log.
fn others() -> [(Script, &'static str); 7] {
    [
        // The master's connection stays open.
        (Script::Stall(MASTER.into()), "it is the master CLI of HAProxy"),
        (Script::Send(format!("[6]: {MASTER}").into()), "it is the master CLI of HAProxy"),
        (Script::Stall(OLD_MASTER.into()), "it is the master CLI of HAProxy"),
        (Script::Send(HTTP.into()), "it answers in HTTP"),
        (Script::Send("501\n".into()), "it answers in the protocol of peers"),
        (Script::Send(vec![]), "it closes the connection without an answer"),
        (Script::Close, "without an answer, as a socket for traffic does"),
    ]
}

fn is_empty(script: &Script) -> bool {
    matches!(script, Script::Send(bytes) if bytes.is_empty())
}

#[test]
fn a_socket_that_is_no_stats_socket_is_left_out_and_logged_once() {
    on_one_thread(async {
        for (script, why) in others() {
            let bench = Workbench::new();
            let other = Fake::unix(&bench.socket("other"), script.clone());
            let _sound = Fake::unix(&bench.socket("sound"), Script::Good);
            let program = bench.start(bench.config());
            bench.until_snapshots(4).await;
            other.set(Script::Good);
            bench.until_logged("answers again").await;
            bench.stop(program).await;
            assert_eq!(bench.answers(SECOND), ["sound_info", "sound_stat"], "{script:?}");
            let numbers = |at: u64| {
                let cycle = bench.cycle(SECOND + at);
                (cycle.endpoints, cycle.missing, cycle.failures)
            };
            // In its first three cycles a socket that only closes may be a stats socket in trouble.
            let closes = matches!(&script, Script::Close) || is_empty(&script);
            assert_eq!(numbers(2), if closes { (2, 1, 0) } else { (1, 0, 0) }, "{script:?}");
            assert_eq!(numbers(3), (1, 0, 0), "{script:?}");
            assert_eq!(bench.count("left out: it is no stats socket"), 1, "{}", bench.log());
            assert!(bench.log().contains(why), "{}", bench.log());
            assert_eq!(bench.count("asking one command"), 0, "{script:?}");
        }
    });
}

/// Each request costs that HAProxy a bad request, which it counts and logs.
#[test]
fn a_socket_of_another_kind_is_not_asked_in_every_cycle_and_a_new_one_is_at_once() {
    on_one_thread(async {
        let bench = Workbench::new();
        let other = Fake::unix(&bench.socket("other"), Script::Send(HTTP.into()));
        let _sound = Fake::unix(&bench.socket("sound"), Script::Good);
        let program = bench.start(bench.config());
        bench.until_cycles(20).await;
        assert_eq!(other.asked(), 1);
        bench.until(|| other.asked() == 2, "the next question").await;
        assert!(bench.cycle(SECOND + bench.snapshots().len() as u64 - 1).cycles >= 30);
        fs::remove_file(bench.socket("other")).unwrap();
        let _stats = Fake::unix(&bench.socket("other"), Script::Good);
        bench.until_cycles(2).await;
        bench.stop(program).await;
        let last = SECOND + bench.snapshots().len() as u64 - 1;
        assert_eq!(bench.answers(last).len(), 4, "{}", bench.log());
        assert_eq!(bench.cycle(last).endpoints, 2);
    });
}

#[test]
fn a_datagram_socket_is_left_out() {
    on_one_thread(async {
        let bench = Workbench::new();
        let _other = UnixDatagram::bind(bench.socket("other")).unwrap();
        let _sound = Fake::unix(&bench.socket("sound"), Script::Good);
        // No attempt is repeated, because a datagram socket stays one.
        let program = bench.start(Pull { retries: Retries::Forever, ..bench.config() });
        bench.until_snapshots(2).await;
        bench.stop(program).await;
        assert_eq!(bench.answers(SECOND), ["sound_info", "sound_stat"]);
        assert_eq!(bench.count("it takes datagrams"), 1, "{}", bench.log());
    });
}

#[test]
fn servers_are_never_left_out() {
    on_one_thread(async {
        for (script, _) in others() {
            let bench = Workbench::new();
            let _other = Fake::unix(&bench.socket("other"), script.clone());
            let _sound = Fake::unix(&bench.socket("sound"), Script::Good);
            let servers = vec![Address::Unix(bench.socket("other"))];
            let program = bench.start(Pull { servers, ..bench.config() });
            bench.until_logged("no snapshot: it would not hold every endpoint; do what").await;
            bench.until_cycles(2).await;
            bench.stop(program).await;
            assert_eq!(bench.snapshots(), [""; 0], "{script:?}");
            assert_eq!(bench.count("left out"), 0, "{}", bench.log());
        }
    });
}

/// Leaving it out would show a HAProxy in trouble as a silent drop of all sums.
#[test]
fn a_stats_socket_that_closes_without_an_answer_later_is_a_failed_endpoint() {
    on_one_thread(async {
        // A truncated answer shows a stats socket, too.
        let cut = Script::Send([INFO, &STAT[..20]].concat().into_bytes());
        for first in [Script::Good, cut] {
            for later in [Script::Close, Script::Send(vec![])] {
                let bench = Workbench::new();
                let fake = Fake::unix(&bench.socket("a"), first.clone());
                let _sound = Fake::unix(&bench.socket("sound"), Script::Good);
                let program = bench.start(bench.config());
                bench.until_cycles(2).await;
                fake.set(later.clone());
                bench.until_cycles(2).await;
                let published = bench.snapshots().len();
                bench.until_cycles(2).await;
                assert_eq!(bench.snapshots().len(), published, "{first:?}, {later:?}");
                bench.stop(program).await;
                assert_eq!(bench.count("left out"), 0, "{}", bench.log());
                assert!(bench.count("no answer") >= 1, "{}", bench.log());
            }
        }
    });
}

#[test]
fn a_stats_socket_that_is_a_socket_for_traffic_now_is_left_out() {
    on_one_thread(async {
        let bench = Workbench::new();
        let fake = Fake::unix(&bench.socket("a"), Script::Good);
        let _sound = Fake::unix(&bench.socket("sound"), Script::Good);
        let program = bench.start(bench.config());
        bench.until_snapshots(1).await;
        fake.set(Script::Send(HTTP.into()));
        bench.until_logged("left out").await;
        bench.until_cycles(1).await;
        bench.stop(program).await;
        let last = SECOND + bench.snapshots().len() as u64 - 1;
        assert_eq!(bench.answers(last), ["sound_info", "sound_stat"]);
    });
}

#[test]
fn a_cycle_that_leaves_out_all_is_no_snapshot_and_says_so_once() {
    on_one_thread(async {
        let bench = Workbench::new();
        let _other = Fake::unix(&bench.socket("other"), Script::Send(HTTP.into()));
        let program = bench.start(Pull { allow_partial: true, ..bench.config() });
        bench.until_cycles(4).await;
        assert_eq!(bench.snapshots(), [""; 0]);
        assert_eq!(bench.count("no snapshot: no socket in socket-dir is a stats socket"), 1);
        let _sound = Fake::unix(&bench.socket("sound"), Script::Good);
        bench.until_snapshots(1).await;
        bench.stop(program).await;
        assert_eq!(bench.cycle(SECOND).endpoints, 1);
    });
}

/// Garbage can come from a stats socket that is damaged, so it is not left out.
#[test]
fn garbage_is_a_failed_endpoint() {
    on_one_thread(async {
        let bench = Workbench::new();
        let _other = Fake::unix(&bench.socket("other"), Script::Send(b"220 hello\r\n".to_vec()));
        let _sound = Fake::unix(&bench.socket("sound"), Script::Good);
        let program = bench.start(bench.config());
        bench.until_logged("no snapshot: it would not hold every endpoint; do what").await;
        bench.stop(program).await;
        assert_eq!(bench.count("left out"), 0, "{}", bench.log());
    });
}
