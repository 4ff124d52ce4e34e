//! One endpoint fails: the log says why, the others are asked all the same, nothing is published,
//! and pull goes on.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::time::Duration;

use config::{Address, Pull};

use crate::fake::{Fake, INFO, STAT, Script, good};
use crate::on_one_thread;
use crate::workbench::{SECOND, Workbench};

const LIMIT: Duration = Duration::from_millis(50);

/// One of two endpoints fails with this script: `reason` is logged, and snapshots come again when
/// the endpoint answers.
async fn fails(script: Script, reason: &str, change: impl FnOnce(&mut Pull)) {
    let bench = Workbench::new();
    let faulty = Fake::tcp("127.0.0.1:0", script.clone()).await.unwrap();
    let sound = Fake::unix(&bench.socket("sound"), Script::Good);
    let mut config = bench.config();
    config.servers = vec![Address::Tcp { host: "127.0.0.1".into(), port: faulty.port }];
    change(&mut config);
    let program = bench.start(config);
    bench.until_logged(&format!("no answer endpoint=tcp://127.0.0.1:{}", faulty.port)).await;
    bench.until_logged(reason).await;
    bench.until_logged("no snapshot: it would not hold every endpoint; do what").await;
    bench.until_logged("or set allow-partial to go on without them").await;
    bench.until_logged("endpoints=2 failed=1").await;
    let asked = sound.asked();
    assert!(asked >= 1, "{script:?}");
    bench.until(|| sound.asked() > asked, "the next cycle").await;
    assert_eq!(bench.snapshots(), [""; 0], "{script:?}");
    faulty.set(Script::Good);
    bench.until_snapshots(1).await;
    bench.stop(program).await;
}

#[test]
fn an_endpoint_that_keeps_us_waiting_is_left_at_pull_timeout() {
    on_one_thread(async {
        let limited = |config: &mut Pull| config.pull_timeout = Some(LIMIT);
        let late = "not done within pull-timeout (0.05 s): ";
        let remedy =
            "of the answers came; look whether its HAProxy is overloaded, or raise pull-timeout";
        fails(Script::Stall(vec![]), &format!("{late}0 bytes {remedy}"), limited).await;
        let half = good()[..INFO.len() + 30].to_vec();
        fails(Script::Stall(half), &format!("{late}{} bytes", INFO.len() + 30), limited).await;
        // Whole, but only the end of the connection would show that.
        fails(Script::Stall(good()), &format!("{late}{} bytes", good().len()), limited).await;
    });
}

#[test]
fn an_endpoint_that_closes_or_breaks_says_where() {
    on_one_thread(async {
        let any = |_: &mut Pull| {};
        fails(Script::Send(vec![]), "closed the connection without an answer to `show info`", any)
            .await;
        // The commands may or may not be taken before the end is seen.
        fails(Script::Close, "reason=", any).await;
        let half = good()[..INFO.len() + 30].to_vec();
        fails(Script::Reset(half), "Connection reset by peer", any).await;
        let cut = |bytes: usize| good()[..bytes].to_vec();
        fails(
            Script::Send(cut(good().len() - 1)),
            "the answer to `show stat` ended after 52 bytes without its closing empty line",
            any,
        )
        .await;
        fails(Script::Send(cut(20)), "the answer to `show info` ended after 20 bytes", any).await;
    });
}

#[test]
fn a_malformed_answer_is_quoted() {
    on_one_thread(async {
        let any = |_: &mut Pull| {};
        let http = b"HTTP/1.0 400 Bad request\r\n\r\n".to_vec();
        fails(Script::Send(http), r#"it begins with "HTTP/1.0 400 Bad request\r""#, any).await;
        let binary = b"\xff\xfe\x00\x1b[31m\n\n".to_vec();
        fails(Script::Send(binary), r#"it begins with "\xff\xfe\x00\x1b[31m""#, any).await;
        let denied = b"Permission denied\n\n".to_vec();
        fails(Script::Send(denied), r#"refused `show info`: "Permission denied""#, any).await;
        let denied = [INFO, "Permission denied\n\n"].concat().into_bytes();
        fails(Script::Send(denied), r#"refused `show stat`: "Permission denied""#, any).await;
    });
}

#[test]
fn an_answer_without_end_is_cut_at_answer_limit() {
    on_one_thread(async {
        let any = |_: &mut Pull| {};
        let longer = "is longer than answer-limit allows (1048576 bytes)";
        let rows = "web,s1,0,0,0,0,\n";
        let endless = Script::Endless("Name: HAProxy\n\n# pxname,svname,\n", rows);
        fails(endless, &format!("the answer to `show stat` {longer}"), any).await;
        let endless = Script::Endless("Name: HAProxy", "x");
        fails(endless, &format!("the answer to `show info` {longer}"), any).await;
        let small = |config: &mut Pull| config.answer_limit = STAT.len().max(INFO.len()) as u64;
        let over = [INFO, &STAT.replace("web", "a-longer-name-than-web")].concat().into_bytes();
        fails(Script::Send(over), "the answer to `show stat` is longer than answer-limit", small)
            .await;
    });
}

#[test]
fn an_endpoint_that_refuses_or_is_not_there_does_not_stop_the_others() {
    on_one_thread(async {
        let bench = Workbench::new();
        let sound = Fake::unix(&bench.socket("sound"), Script::Good);
        // A socket without a listener: HAProxy was killed.
        drop(UnixListener::bind(bench.socket("dead")).unwrap());
        let gone = Address::Unix(bench.socket("gone"));
        let closed = Fake::tcp("127.0.0.1:0", Script::Good).await.unwrap().port;
        let closed = Address::Tcp { host: "127.0.0.1".into(), port: closed };
        let nobody = Address::Tcp { host: "nobody.invalid".into(), port: 1 };
        let program = bench.start(Pull {
            servers: vec![gone, closed, nobody],
            pull_timeout: Some(Duration::from_secs(2)),
            ..bench.config()
        });
        bench.until_logged("or set allow-partial to go on without them endpoints=5 failed=4").await;
        bench.stop(program).await;
        let log = bench.log();
        assert!(sound.asked() >= 1);
        assert_eq!(bench.snapshots(), [""; 0]);
        assert!(log.contains("/dead reason=cannot connect: Connection refused"), "{log}");
        assert!(log.contains("/gone reason=cannot connect: No such file"), "{log}");
        assert!(log.contains("reason=cannot connect: 127.0.0.1:"), "{log}");
        assert!(log.contains("endpoint=tcp://nobody.invalid:1 reason="), "{log}");
    });
}

#[test]
fn a_connection_that_is_refused_until_the_end_of_the_cycle_says_so() {
    on_one_thread(async {
        let bench = Workbench::new();
        let mut config = bench.config_for(Address::Unix(bench.socket("gone")));
        config.retries = config::Retries::Forever;
        config.pull_timeout = Some(LIMIT);
        let program = bench.start(config);
        bench
            .until_logged("still connecting, the last attempt: cannot connect: No such file")
            .await;
        bench.stop(program).await;
    });
}

#[test]
fn files_and_links_that_are_no_sockets_are_left_out() {
    on_one_thread(async {
        let bench = Workbench::new();
        symlink("nowhere", bench.socket("dangling")).unwrap();
        fs::write(bench.socket("file"), "").unwrap();
        let program = bench.start(bench.config());
        bench.until_logged("no snapshot: no stats socket there").await;
        let _fake = Fake::unix(&bench.socket("a"), Script::Good);
        bench.until_snapshots(1).await;
        bench.stop(program).await;
        assert_eq!(bench.answers(SECOND), ["a_info", "a_stat"]);
    });
}

#[test]
fn a_socket_dir_that_is_missing_is_logged_and_looked_for_again() {
    on_one_thread(async {
        let bench = Workbench::new();
        fs::remove_dir(bench.sockets()).unwrap();
        let program = bench.start(bench.config());
        bench.until_logged("no snapshot error=cannot read socket-dir").await;
        fs::create_dir(bench.sockets()).unwrap();
        let _fake = Fake::unix(&bench.socket("a"), Script::Good);
        bench.until_snapshots(1).await;
        bench.stop(program).await;
    });
}

#[test]
fn directories_that_are_removed_are_made_again() {
    on_one_thread(async {
        let bench = Workbench::new();
        let _fake = Fake::unix(&bench.socket("a"), Script::Good);
        let program = bench.start(bench.config());
        bench.until_snapshots(1).await;
        // Renamed, because a cycle may be using the staging directory.
        fs::rename(bench.dst(), bench.dst().with_file_name("aside")).unwrap();
        fs::rename(bench.tmp(), bench.tmp().with_file_name("aside.tmp")).unwrap();
        bench.until_snapshots(2).await;
        bench.stop(program).await;
    });
}

#[test]
fn a_file_that_cannot_be_made_fails_its_endpoint_alone() {
    on_one_thread(async {
        let bench = Workbench::new();
        let sound = Fake::unix(&bench.socket("sound"), Script::Good);
        // Each control character takes three bytes of a file's name, which makes it longer than
        // NAME_MAX.
        let room = 106 - bench.socket("").as_os_str().len();
        let socket = bench.socket(&"\x01".repeat(room));
        let _fake = Fake::unix(&socket, Script::Good);
        let program = bench.start(bench.config());
        bench.until_logged("File name too long").await;
        bench.until_logged("failed=1").await;
        assert!(sound.asked() >= 1);
        assert_eq!(bench.snapshots(), [""; 0]);
        fs::remove_file(socket).unwrap();
        bench.until_snapshots(1).await;
        bench.stop(program).await;
    });
}

/// connect(2) on a UNIX socket does not wait for room in the queue: it gives EAGAIN.
#[test]
fn a_haproxy_that_accepts_no_connection_any_more_is_reported_as_hanging() {
    on_one_thread(async {
        let bench = Workbench::new();
        let path = bench.socket("a");
        let hanging = UnixListener::bind(&path).unwrap();
        rustix::net::listen(&hanging, 1).unwrap();
        // Fills the queue of connections that wait to be accepted.
        let mut waiting = Vec::new();
        while let Ok(stream) = tokio::net::UnixStream::connect(&path).await {
            waiting.push(stream);
            assert!(waiting.len() < 100, "the queue has no end");
        }
        let program = bench.start(bench.config());
        bench.until_logged("no answer endpoint=unix://").await;
        bench.stop(program).await;
        let log = bench.log();
        let remedy = "its HAProxy does not accept connections: look whether it hangs";
        assert!(log.contains(remedy) && !log.contains("TasksMax"), "{log}");
    });
}
