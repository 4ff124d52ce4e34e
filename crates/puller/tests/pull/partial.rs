//! `allow-partial`: an endpoint that answered is published with both files; an endpoint that failed
//! is left out with both files, and counted.

use std::os::unix::net::UnixListener;
use std::time::Duration;

use config::{Address, Pull};

use crate::fake::{Fake, INFO, STAT, Script, good};
use crate::on_one_thread;
use crate::workbench::{SECOND, Workbench};

const LIMIT: Duration = Duration::from_millis(100);

fn partial(bench: &Workbench) -> Pull {
    Pull { allow_partial: true, ..bench.config() }
}

/// One of two endpoints fails with this script; the first snapshot holds the other endpoint.
async fn leaves_out(script: Script, change: impl FnOnce(&mut Pull)) {
    let bench = Workbench::new();
    let faulty = Fake::unix(&bench.socket("faulty"), script.clone());
    let _sound = Fake::unix(&bench.socket("sound"), Script::Good);
    let mut config = partial(&bench);
    // A socket that is only in socket-dir could be left out as a socket of another kind.
    config.servers = vec![Address::Unix(bench.socket("faulty"))];
    change(&mut config);
    let program = bench.start(config);
    bench.until_snapshots(1).await;
    faulty.set(Script::Good);
    bench.until_logged("missing=0").await;
    bench.stop(program).await;

    assert_eq!(bench.answers(SECOND), ["sound_info", "sound_stat"], "{script:?}");
    assert_eq!(bench.file(SECOND, "sound_info"), INFO);
    assert_eq!(bench.file(SECOND, "sound_stat"), STAT);
    let cycle = bench.cycle(SECOND);
    assert_eq!((cycle.endpoints, cycle.missing, cycle.cycles), (2, 1, 1), "{script:?}");
    assert_eq!((cycle.endpoint_failures, cycle.failures), (1, 0), "{script:?}");
    assert!(bench.log().contains("/faulty reason="), "{}", bench.log());
    assert!(bench.log().contains("endpoints=2 missing=1"), "{}", bench.log());
}

#[test]
fn an_endpoint_that_fails_is_left_out_with_both_its_files() {
    on_one_thread(async {
        let any = |_: &mut Pull| {};
        let half = good()[..INFO.len() + 30].to_vec();
        let cut = good()[..good().len() - 1].to_vec();
        for script in [
            Script::Close,
            Script::Send(vec![]),
            Script::Send(half.clone()),
            // Both files are there, and the second is not closed well.
            Script::Send(cut),
            Script::Send(b"\xff\xfe\x00\n\n".to_vec()),
            // The first file is whole and closed when the second is refused.
            Script::Send([INFO, "Permission denied\n\n"].concat().into_bytes()),
            Script::Endless("Name: HAProxy\n\n# pxname,svname,\n", "web,s1,0,0,0,0,\n"),
        ] {
            leaves_out(script, any).await;
        }
    });
}

/// pull-timeout ends the cycle; answers that are complete by then are published.
#[test]
fn complete_answers_are_published_at_pull_timeout() {
    on_one_thread(async {
        let limited = |config: &mut Pull| config.pull_timeout = Some(LIMIT);
        leaves_out(Script::Stall(vec![]), limited).await;
        leaves_out(Script::Stall(good()[..INFO.len() + 30].to_vec()), limited).await;
        // Whole, but only the end of the connection would show that.
        leaves_out(Script::Stall(good()), limited).await;
    });
}

#[test]
fn no_answer_at_all_is_no_snapshot_and_the_next_one_counts_the_cycles() {
    on_one_thread(async {
        let bench = Workbench::new();
        let fakes = ["a", "b"].map(|name| Fake::unix(&bench.socket(name), Script::Close));
        let servers = ["a", "b"].map(|name| Address::Unix(bench.socket(name))).into();
        let program = bench.start(Pull { servers, ..partial(&bench) });
        bench.until_logged("no snapshot: no endpoint has answered; do what").await;
        bench.until_logged("look whether the programs behind them run endpoints=2").await;
        assert_eq!(bench.snapshots(), [""; 0]);
        fakes[0].set(Script::Good);
        bench.until_snapshots(1).await;
        bench.stop(program).await;
        let cycle = bench.cycle(SECOND);
        assert_eq!((cycle.endpoints, cycle.missing), (2, 1));
        assert!(cycle.failures >= 1, "{cycle:?}");
        assert_eq!(
            (cycle.cycles, cycle.endpoint_failures),
            (cycle.failures + 1, 2 * cycle.failures + 1)
        );
    });
}

#[test]
fn an_endpoint_without_a_listener_or_a_name_is_missing() {
    on_one_thread(async {
        let bench = Workbench::new();
        let _sound = Fake::unix(&bench.socket("sound"), Script::Good);
        drop(UnixListener::bind(bench.socket("dead")).unwrap());
        let servers = vec![
            Address::Unix(bench.socket("gone")),
            Address::Tcp { host: "nobody.invalid".into(), port: 1 },
        ];
        let program = bench.start(Pull { servers, ..partial(&bench) });
        bench.until_snapshots(1).await;
        bench.stop(program).await;
        assert_eq!(bench.answers(SECOND), ["sound_info", "sound_stat"]);
        let manifest = bench.manifest(SECOND);
        assert_eq!((manifest.cycle.endpoints, manifest.cycle.missing), (4, 3));
        let unanswered = manifest.unanswered.iter().map(|it| (&*it.endpoint, &*it.reason));
        let address = |name: &str| format!("unix://{}", bench.socket(name).display());
        let expected = [
            ("tcp://nobody.invalid:1".to_owned(), "cannot find an address: "),
            (address("dead"), "cannot connect: "),
            (address("gone"), "cannot connect: "),
        ];
        for ((endpoint, reason), (address, begins)) in unanswered.zip(&expected) {
            assert!(endpoint == address && reason.starts_with(begins), "{endpoint} {reason}");
        }
        assert_eq!(manifest.unanswered.len(), expected.len());
        let names: Vec<_> = manifest.files.iter().map(|file| &*file.name).collect();
        assert_eq!(names, ["sound_info", "sound_stat"]);
    });
}

#[test]
fn cycles_without_a_snapshot_are_counted_in_the_next_one() {
    on_one_thread(async {
        let bench = Workbench::new();
        let faulty = Fake::unix(&bench.socket("faulty"), Script::Close);
        let _sound = Fake::unix(&bench.socket("sound"), Script::Good);
        let servers = vec![Address::Unix(bench.socket("faulty"))];
        let program = bench.start(Pull { servers, ..bench.config() });
        bench.until_logged("no snapshot: it would not hold every endpoint").await;
        faulty.set(Script::Good);
        bench.until_snapshots(1).await;
        bench.stop(program).await;
        let cycle = bench.cycle(SECOND);
        assert!(cycle.failures >= 1, "{cycle:?}");
        assert_eq!((cycle.endpoints, cycle.missing, cycle.skipped), (2, 0, 0));
        assert_eq!((cycle.cycles, cycle.endpoint_failures), (cycle.failures + 1, cycle.failures));
    });
}
