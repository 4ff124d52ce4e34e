//! What cycles publish, when they run, and when they do not.

use std::fs;
use std::time::Duration;

use config::{Address, Pull, Retries};

use crate::fake::{Fake, INFO, STAT, Script, good};
use crate::on_one_thread;
use crate::workbench::{SECOND, Workbench, names, set_clock};

#[test]
fn a_snapshot_holds_both_answers_of_every_endpoint_as_they_were_sent() {
    on_one_thread(async {
        let bench = Workbench::new();
        let _fakes = ["a.sock", "b.sock"].map(|name| Fake::unix(&bench.socket(name), Script::Good));
        let tcp = Fake::tcp("127.0.0.1:0", Script::Good).await.unwrap();
        let server = Address::Tcp { host: "127.0.0.1".into(), port: tcp.port };
        let program = bench.start(Pull { servers: vec![server], sync: true, ..bench.config() });
        bench.until_logged("published snapshot=").await;
        bench.stop(program).await;
        assert_eq!(bench.snapshots()[0], SECOND.to_string());
        for name in ["a.sock", "b.sock", &format!("127.0.0.1:{}", tcp.port)] {
            assert_eq!(bench.file(SECOND, &format!("{name}_info")), INFO);
            assert_eq!(bench.file(SECOND, &format!("{name}_stat")), STAT);
        }
        assert_eq!(bench.answers(SECOND).len(), 6);
        let manifest = bench.manifest(SECOND);
        assert_eq!((&*manifest.origin, manifest.serial), ("lb1", 1));
        assert_eq!(manifest.unanswered, []);
        let files = manifest.files.iter();
        let files: Vec<_> = files.map(|it| (&*it.name, &*it.source, &*it.endpoint)).collect();
        let mut expected = Vec::new();
        let tcp_name = format!("127.0.0.1:{}", tcp.port);
        let unix = |name: &str| format!("unix://{}", bench.socket(name).display());
        let tcp_address = format!("tcp://{tcp_name}");
        for (name, address) in
            [(&*tcp_name, tcp_address), ("a.sock", unix("a.sock")), ("b.sock", unix("b.sock"))]
        {
            expected.push((format!("{name}_info"), address.clone()));
            expected.push((format!("{name}_stat"), address));
        }
        let expected = expected.iter().map(|(name, address)| (&**name, "haproxy", &**address));
        assert_eq!(files, expected.collect::<Vec<_>>());
        let cycle = manifest.cycle;
        assert_eq!((cycle.endpoints, cycle.missing, cycle.cycles, cycle.failures), (3, 0, 1, 0));
        assert!(bench.log().contains("endpoints=3"), "{}", bench.log());
    });
}

#[test]
fn a_name_and_an_ipv6_address_are_endpoints_too() {
    on_one_thread(async {
        let bench = Workbench::new();
        let v4 = Fake::tcp("127.0.0.1:0", Script::Good).await.unwrap();
        // `localhost` may lead to ::1 first, where no program listens.
        let mut servers = vec![Address::Tcp { host: "localhost".into(), port: v4.port }];
        let v6 = Fake::tcp("[::1]:0", Script::Good).await;
        match &v6 {
            Ok(fake) => servers.push(Address::Tcp { host: "::1".into(), port: fake.port }),
            Err(error) => eprintln!("SKIPPED: no IPv6 here: {error}"),
        }
        let expected = servers.len();
        let program = bench.start(Pull { servers, ..bench.config() });
        bench.until_snapshots(1).await;
        bench.stop(program).await;
        let files = bench.answers(SECOND);
        assert_eq!(files.len(), 2 * expected);
        assert!(files.contains(&format!("localhost:{}_stat", v4.port)), "{files:?}");
        if let Ok(fake) = &v6 {
            assert!(files.contains(&format!("::1:{}_info", fake.port)), "{files:?}");
        }
    });
}

#[test]
fn sockets_with_one_base_name_are_kept_apart_and_logged_once() {
    on_one_thread(async {
        let bench = Workbench::new();
        let other = bench.sockets().with_file_name("admin.sock");
        let _fakes =
            [bench.socket("admin.sock"), other.clone()].map(|at| Fake::unix(&at, Script::Good));
        let program = bench.start(Pull { servers: vec![Address::Unix(other)], ..bench.config() });
        bench.until_snapshots(3).await;
        bench.stop(program).await;
        let files = bench.answers(SECOND);
        assert_eq!(files.len(), 4, "{files:?}");
        assert!(files.iter().any(|name| name.ends_with("%2fsockets%2fadmin.sock_info")));
        assert_eq!(bench.log().matches("have this base name").count(), 1);
    });
}

#[test]
fn a_clock_that_stands_still_overwrites_nothing() {
    on_one_thread(async {
        let bench = Workbench::new();
        let fake = Fake::unix(&bench.socket("a"), Script::Good);
        let program = bench.start(bench.config());
        bench.until_snapshots(1).await;
        fake.set(Script::Send(good().replace(b"web", b"api")));
        bench.until_snapshots(4).await;
        bench.stop(program).await;
        let seconds: Vec<_> = (SECOND..SECOND + 4).map(|second| second.to_string()).collect();
        assert_eq!(bench.snapshots()[..4], seconds);
        assert_eq!(bench.file(SECOND, "a_stat"), STAT);
        assert!(bench.file(SECOND + 3, "a_stat").contains("api,FRONTEND"));
        assert!(bench.log().contains("was the clock set back?"));
    });
}

/// The reader has removed the first snapshot, so both have the name of the same second.
#[test]
fn two_snapshots_of_one_second_have_serials_of_their_own() {
    on_one_thread(async {
        let bench = Workbench::new();
        let _fake = Fake::unix(&bench.socket("a"), Script::Good);
        let program = bench.start(Pull { queue_size: 1, ..bench.config() });
        bench.until_logged("paused").await;
        let first = bench.manifest(SECOND);
        // One rename, as a reader does it.
        fs::rename(bench.dst().join(SECOND.to_string()), bench.dst().join(".taken")).unwrap();
        bench.until_snapshot(SECOND).await;
        let second = bench.manifest(SECOND);
        bench.stop(program).await;
        assert_eq!(first.origin, second.origin);
        assert_ne!(first.serial, second.serial);
    });
}

/// Cycles follow the monotonic clock, so a step of the wall clock stops none.
#[test]
fn a_clock_that_is_set_costs_no_cycle_and_no_snapshot() {
    on_one_thread(async {
        let bench = Workbench::new();
        let fake = Fake::unix(&bench.socket("a"), Script::Good);
        let program = bench.start(bench.config());
        bench.until_snapshots(2).await;
        let old = [SECOND, SECOND + 1].map(|second| (second, bench.cycle(second)));

        // A year forward, then two hours back, then to a second that waits to be processed.
        for (clock, text) in
            [(SECOND + 31_536_000, "fwd"), (SECOND - 7_200, "bck"), (SECOND + 1, "now")]
        {
            fake.set(Script::Send(good().replace(b"web", text.as_bytes().try_into().unwrap())));
            set_clock(clock);
            let seconds = bench.snapshots().into_iter().map(|name| name.parse().unwrap());
            let near = seconds.filter(|second| (SECOND..SECOND + 1_000).contains(second)).count();
            let expected = if clock == SECOND + 1 { SECOND + near as u64 } else { clock };
            let published = bench.dst().join(expected.to_string());
            bench.until(|| published.exists(), text).await;
            assert!(bench.file(expected, "a_stat").contains(text), "{text}");
        }
        bench.stop(program).await;
        for (second, cycle) in old {
            assert_eq!(bench.file(second, "a_stat"), STAT);
            assert_eq!(bench.cycle(second), cycle);
        }
        // Every cycle has left its own snapshot.
        let snapshots = bench.snapshots();
        let cycles = snapshots.iter().map(|name| bench.cycle(name.parse().unwrap()));
        let last = cycles.max_by_key(|cycle| cycle.cycles).unwrap();
        assert_eq!((last.cycles, last.failures), (snapshots.len() as u64, 0));
    });
}

/// `[u8]` has no `replace`.
trait Replace {
    fn replace(&self, from: &[u8; 3], to: &[u8; 3]) -> Vec<u8>;
}

impl Replace for Vec<u8> {
    fn replace(&self, from: &[u8; 3], to: &[u8; 3]) -> Vec<u8> {
        let text = str::from_utf8(self).unwrap();
        text.replace(str::from_utf8(from).unwrap(), str::from_utf8(to).unwrap()).into()
    }
}

#[test]
fn pulling_pauses_at_queue_size_and_goes_on_by_itself() {
    on_one_thread(async {
        let bench = Workbench::new();
        let fake = Fake::unix(&bench.socket("a"), Script::Good);
        let program = bench.start(Pull { queue_size: 2, ..bench.config() });
        bench
            .until_logged("paused: dst-dir holds as many snapshots as queue-size allows; look why")
            .await;
        assert_eq!((bench.snapshots().len(), fake.asked()), (2, 2));
        fs::remove_dir_all(bench.dst().join(SECOND.to_string())).unwrap();
        bench.until_logged("going on: dst-dir has room again skipped=").await;
        bench.until(|| bench.log().matches("paused").count() == 2, "the second pause").await;
        assert_eq!(bench.snapshots().len(), 2);
        assert_eq!(fake.asked(), 3);
        bench.stop(program).await;
        // The first snapshot after a pause counts the skipped cycles.
        let cycle = bench.cycle(SECOND);
        assert_eq!((cycle.cycles, cycle.failures), (3, 0));
        let logged = format!("dst-dir has room again skipped={}", cycle.skipped);
        assert!(cycle.skipped > 0 && bench.log().contains(&logged), "{}", bench.log());
    });
}

#[test]
fn a_cycle_that_lasts_longer_than_the_interval_skips_what_it_missed() {
    on_one_thread(async {
        let bench = Workbench::new();
        let fake = Fake::unix(&bench.socket("a"), Script::Stall(INFO.into()));
        let program =
            bench.start(Pull { pull_timeout: Some(Duration::from_millis(100)), ..bench.config() });
        bench.until_logged("a cycle took longer than pull-interval; raise pull-interval").await;
        fake.set(Script::Good);
        bench.until_snapshots(1).await;
        bench.stop(program).await;
    });
}

#[test]
fn an_endpoint_that_takes_one_command_a_line_is_asked_one_at_a_time() {
    on_one_thread(async {
        for other in ["Unknown command: 'show info;show stat'\n\n", "Permission denied\n\n", INFO] {
            let bench = Workbench::new();
            let fake = Fake::unix(&bench.socket("a"), Script::OneCommand(other));
            let program = bench.start(Pull { queue_size: 2, ..bench.config() });
            bench.until_snapshots(2).await;
            bench.until_logged("paused").await;
            bench.stop(program).await;
            assert_eq!(bench.file(SECOND + 1, "a_info"), INFO);
            assert_eq!(bench.file(SECOND + 1, "a_stat"), STAT);
            // The first cycle tries both together, then each alone; the second remembers it.
            assert_eq!(fake.asked(), 3 + 2, "{other}");
            assert_eq!(bench.log().matches("asking one command at a time").count(), 1);
        }
    });
}

#[test]
fn answers_come_in_pieces_of_any_size() {
    on_one_thread(async {
        for piece in [1, 7, 1_000] {
            let bench = Workbench::new();
            let _fake = Fake::unix(&bench.socket("a"), Script::Pieces(piece));
            let program = bench.start(bench.config());
            bench.until_snapshots(1).await;
            bench.stop(program).await;
            assert_eq!(bench.file(SECOND, "a_info"), INFO);
            assert_eq!(bench.file(SECOND, "a_stat"), STAT);
        }
    });
}

#[test]
fn more_endpoints_than_buffers_are_no_trouble() {
    on_one_thread(async {
        let bench = Workbench::new();
        let stat = format!("# pxname,svname,\n{}\n", "web,FRONTEND,\n".repeat(20_000));
        let sent = [INFO, &stat].concat().into_bytes();
        let _fakes: Vec<_> = (0..80)
            .map(|number| {
                Fake::unix(&bench.socket(&number.to_string()), Script::Send(sent.clone()))
            })
            .collect();
        let program = bench.start(bench.config());
        bench.until_snapshots(1).await;
        bench.stop(program).await;
        for number in 0..80 {
            assert_eq!(bench.file(SECOND, &format!("{number}_info")), INFO);
            assert!(bench.file(SECOND, &format!("{number}_stat")) == stat, "{number}");
        }
    });
}

/// There are more of these endpoints than buffers. Each sends enough to be waited for, without end.
#[test]
fn endpoints_that_talk_without_end_keep_no_buffer_from_the_others() {
    on_one_thread(async {
        let bench = Workbench::new();
        let _talkers: Vec<_> = (0..40)
            .map(|number| Fake::unix(&bench.socket(&number.to_string()), Script::Drip(INFO)))
            .collect();
        let _sound = Fake::unix(&bench.socket("sound"), Script::Good);
        let mut config = bench.config();
        config.allow_partial = true;
        config.pull_timeout = Some(Duration::from_secs(2));
        let program = bench.start(config);
        bench.until_snapshots(1).await;
        bench.stop(program).await;
        assert_eq!(bench.file(SECOND, "sound_stat"), STAT);
    });
}

#[test]
fn a_socket_that_appears_late_is_connected_to_by_a_retry_of_the_same_cycle() {
    on_one_thread(async {
        let bench = Workbench::new();
        let late = bench.socket("late");
        let mut config = bench.config_for(Address::Unix(late.clone()));
        config.retries = Retries::Forever;
        config.pull_interval = Duration::from_secs(3600);
        let program = bench.start(config);
        bench.until(|| names(&bench.tmp()).len() == 1, "the first cycle").await;
        let _fake = Fake::unix(&late, Script::Good);
        bench.until_snapshots(1).await;
        bench.stop(program).await;
    });
}
