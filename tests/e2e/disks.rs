//! What must be on a disk before a snapshot goes, and directories that are replaced under the
//! program.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use crate::bench::{Bench, FIRST};
use crate::scene::{Scene, assert_exact, visible};
use crate::sink::Manner;
use crate::support::{PROCESS, Program, installed, wait_until};

/// Runs the program over one snapshot and returns its system calls that sync and rename files.
fn calls(scene: &Scene, strace: &str, config: &Path) -> Vec<String> {
    scene.publish(FIRST);
    let trace = scene.path().join("trace.txt");
    let mut arguments: Vec<&OsStr> = Vec::new();
    // With -D the program is the child of this test, and strace follows from the side.
    arguments.extend(["-D", "-f", "-y", "-qq", "-s", "200"].map(OsStr::new));
    arguments.extend(["-e", "trace=fsync,fdatasync,rename,renameat,renameat2"].map(OsStr::new));
    arguments.extend([OsStr::new("-o"), trace.as_os_str()]);
    arguments.extend([OsStr::new(PROCESS), OsStr::new("-f"), config.as_os_str()]);
    let process = Program::start(strace, &arguments, &[], scene.path(), "traced");
    scene.wait_for_empty_spool();
    process.finish();
    let is_released = |text: &str| text.contains(&format!("incoming/{FIRST}"));
    let read = || fs::read_to_string(&trace).unwrap_or_default();
    wait_until("the trace", || is_released(&read()));
    read().lines().map(str::to_owned).collect()
}

fn position(calls: &[String], call: &str, file: &str) -> Option<usize> {
    calls.iter().position(|line| line.contains(call) && line.contains(file))
}

/// The only receiver has the only copy once the snapshot is gone, so the copy must outlive a power
/// cut.
#[test]
fn an_only_local_store_is_synced_before_its_snapshot_goes() {
    let Some([strace]) = installed("local-store synced", ["strace"]) else { return };
    let scene = Scene::new();
    let config =
        scene.config(1, 1, "enabled = false\n[local-store]\ndir = ${paths:base-dir}/store");
    let calls = calls(&scene, &strace, &config);
    let steps = [
        position(&calls, "sync(", &format!("store/{FIRST}/.stats.part>")),
        position(&calls, "rename", &format!("store/{FIRST}/.stats.part")),
        position(&calls, "sync(", &format!("store/{FIRST}>")),
        position(&calls, "sync(", "/store>"),
        position(&calls, "rename", &format!("incoming/{FIRST}\"")),
    ];
    assert!(steps.iter().all(Option::is_some) && steps.is_sorted(), "{steps:?}: {calls:#?}");
}

/// Beside another receiver it is for looking at, and a sync would cost for nothing.
#[test]
fn a_local_store_beside_another_receiver_is_not_synced() {
    let Some([strace]) = installed("local-store not synced", ["strace"]) else { return };
    let bench = Bench::new(Manner::Whole);
    let config = bench.config("", "[local-store]\ndir = ${paths:base-dir}/store");
    let calls = calls(&bench.scene, &strace, &config);
    assert!(position(&calls, "rename", "/.stats.part").is_some(), "{calls:#?}");
    assert_eq!(position(&calls, "sync(", "/store"), None, "{calls:#?}");
}

/// Somebody moves the outbox away: the program goes on with a new one and takes its lock.
#[test]
fn an_outbox_that_was_moved_away_is_made_and_locked_anew() {
    let mut bench = Bench::new(Manner::Whole);
    bench.sink.kill();
    let config = bench.config("liveness-check-interval = 1", "");
    let process = bench.start(&config);
    bench.scene.publish(FIRST);
    bench.wait_until_stored(1);
    let (outbox, moved) = (bench.scene.path().join("outbox"), bench.scene.path().join("moved"));
    fs::rename(&outbox, &moved).unwrap();
    bench.scene.publish(FIRST + 1);
    bench.wait_until_stored(1);
    let log = process.log();
    assert!(log.contains("was removed or replaced, looking at it anew"), "{log}");

    let arguments = [OsStr::new("-f"), config.as_os_str()];
    let mut other = Program::start(PROCESS, &arguments, &[], bench.scene.path(), "other");
    assert_eq!(other.wait().code(), Some(2));
    let refusal = "another haproxystats-process";
    let other_log = other.log();
    assert!(other_log.contains(refusal), "{other_log}");

    bench.sink.revive();
    wait_until("an empty outbox", || bench.stored().is_empty());
    wait_until("the loss", || bench.own("DroppedMetrics") > Some(0));
    process.finish();
    assert_exact(&bench.sink, &[FIRST + 1]);
    let left = visible(&moved.join("graphite"));
    assert_eq!(left.len(), 1, "{left:?}");
}
