//! A state that lasts is logged when it begins and when it ends, and no name from outside forges a
//! line of the log.

use std::os::unix::net::UnixListener;
use std::time::Duration;

use config::{Address, Pull};

use crate::fake::{Fake, INFO, Script};
use crate::on_one_thread;
use crate::workbench::{SECOND, Workbench, set_clock};

#[test]
fn an_endpoint_that_is_down_for_many_cycles_is_logged_once_and_once_when_it_is_back() {
    on_one_thread(async {
        let bench = Workbench::new();
        drop(UnixListener::bind(bench.socket("dead")).unwrap());
        let _sound = Fake::unix(&bench.socket("sound"), Script::Good);
        let program = bench.start(bench.config());
        bench.until_cycles(1).await;
        // On a busy machine a cycle can take longer than the interval, which is logged too.
        let of_cycles = |line: &String| !line.contains("pull-interval");
        let lines = || bench.lines().into_iter().filter(of_cycles).count();
        let before = lines();
        bench.until_cycles(50).await;
        assert_eq!(lines(), before, "{}", bench.log());
        assert_eq!(bench.count("no answer"), 1);
        assert_eq!(bench.count("no snapshot"), 1);
        std::fs::remove_file(bench.socket("dead")).unwrap();
        let _back = Fake::unix(&bench.socket("dead"), Script::Good);
        bench.until_logged("snapshots are published again").await;
        bench.until_cycles(3).await;
        bench.stop(program).await;
        assert_eq!((bench.count("no answer"), bench.count("answers again")), (1, 1));
        assert_eq!(bench.count("snapshots are published again"), 1);
    });
}

#[test]
fn an_endpoint_that_fails_in_another_way_is_logged_again() {
    on_one_thread(async {
        let bench = Workbench::new();
        let fake = Fake::tcp("127.0.0.1:0", Script::Send(INFO[..20].into())).await.unwrap();
        let server = Address::Tcp { host: "127.0.0.1".into(), port: fake.port };
        let program = bench.start(bench.config_for(server));
        bench.until_logged("the answer to `show info` ended after 20 bytes").await;
        fake.set(Script::Send(INFO[..25].into()));
        bench.until_cycles(3).await;
        assert_eq!(bench.count("no answer"), 1, "another number is no change of state");
        fake.set(Script::Reset(vec![]));
        bench.until_logged("the connection broke after 0 bytes").await;
        bench.until_cycles(3).await;
        bench.stop(program).await;
        assert_eq!(bench.count("no answer"), 2, "{}", bench.log());
    });
}

#[test]
fn an_endpoint_that_disappears_is_logged_once() {
    on_one_thread(async {
        let bench = Workbench::new();
        drop(UnixListener::bind(bench.socket("dead")).unwrap());
        let _sound = Fake::unix(&bench.socket("sound"), Script::Good);
        let program = bench.start(bench.config());
        bench.until_logged("no answer").await;
        std::fs::remove_file(bench.socket("dead")).unwrap();
        bench.until_snapshots(3).await;
        bench.stop(program).await;
        assert_eq!(bench.count("no longer there"), 1, "{}", bench.log());
    });
}

#[test]
fn a_second_that_is_taken_in_every_cycle_is_logged_once() {
    on_one_thread(async {
        let bench = Workbench::new();
        let _fake = Fake::unix(&bench.socket("a"), Script::Good);
        let program = bench.start(bench.config());
        bench.until_snapshots(10).await;
        assert_eq!(bench.count("was the clock set back?"), 1, "{}", bench.log());
        set_clock(SECOND + 1_000_000);
        bench.until_logged("snapshots bear the seconds of their cycles again").await;
        bench.stop(program).await;
    });
}

#[test]
fn cycles_that_take_longer_than_the_interval_are_logged_once() {
    on_one_thread(async {
        let bench = Workbench::new();
        let fake = Fake::unix(&bench.socket("a"), Script::Stall(INFO.into()));
        let limit = Some(Duration::from_millis(50));
        let program = bench.start(Pull { pull_timeout: limit, ..bench.config() });
        bench.until_cycles(5).await;
        assert_eq!(bench.count("a cycle took longer than pull-interval"), 1, "{}", bench.log());
        fake.set(Script::Good);
        bench.until_logged("cycles take less than pull-interval again").await;
        bench.stop(program).await;
    });
}

#[test]
fn an_endpoint_that_takes_one_command_at_a_time_and_fails_is_logged_once() {
    on_one_thread(async {
        let bench = Workbench::new();
        let denied = Script::Send(b"Permission denied\n\n".to_vec());
        let fake = Fake::unix(&bench.socket("a"), denied);
        let program = bench.start(bench.config());
        bench.until_cycles(5).await;
        assert_eq!(bench.count("asking one command at a time"), 1, "{}", bench.log());
        fake.set(Script::Good);
        bench.until_logged("takes both commands at a time again").await;
        bench.stop(program).await;
    });
}

#[test]
fn a_socket_whose_name_holds_a_line_feed_forges_no_line() {
    on_one_thread(async {
        for script in [Script::Send(b"garbage\n".to_vec()), Script::Close] {
            let bench = Workbench::new();
            let name = "x\n2026-01-01T00:00:00Z ERROR forged";
            let _fake = Fake::unix(&bench.socket(name), script);
            let program = bench.start(bench.config());
            bench.until_cycles(2).await;
            bench.stop(program).await;
            let log = bench.log();
            assert!(log.contains(r"x\n2026-01-01T00:00:00Z ERROR forged"), "{log}");
            assert!(!log.lines().any(|line| line.starts_with("2026-01-01")), "{log}");
        }
    });
}
