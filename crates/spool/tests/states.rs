//! What the watch logs: each state once, within a bound, and no name from outside can forge a line.
//!
//! The watch runs on the test's own thread, and so does its log.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::cell::Cell;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use haproxystats_spool::watch::Watch;
use testbed::log::logged;

static BEGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

thread_local! {
    static PASSED: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// A clock that is a second later at each reading.
fn hurried() -> Instant {
    PASSED.set(PASSED.get() + Duration::from_secs(1));
    *BEGIN + PASSED.get()
}

fn move_in(aside: &Path, name: PathBuf) {
    fs::create_dir(aside).unwrap();
    fs::rename(aside, name).unwrap();
}

fn await_announced(watch: &mut Watch, name: &str) {
    while watch.next().unwrap() != name {}
}

#[test]
fn strangers_that_come_and_go_cannot_flood_the_log() {
    let home = tempfile::tempdir().unwrap();
    let spool = home.path().join("incoming");
    fs::create_dir(&spool).unwrap();
    let mut watch = Watch::start(&spool, hurried).unwrap();
    let lines = logged(|| {
        for round in 0..30 {
            for number in 0..100 {
                fs::write(spool.join(format!("file-{round}-{number}")), "").unwrap();
            }
            let name = (1_700_000_000 + round).to_string();
            move_in(&home.path().join("aside"), spool.join(&name));
            await_announced(&mut watch, &name);
            for number in 0..100 {
                fs::remove_file(spool.join(format!("file-{round}-{number}"))).unwrap();
            }
        }
    });
    let logged = lines.iter().filter(|line| line.contains("left alone")).count();
    assert!((1..=101).contains(&logged), "{logged} lines");
    assert!(lines.iter().any(|line| line.contains("more of this kind are not logged")));
}

#[test]
fn a_name_with_a_line_feed_forges_no_line() {
    let home = tempfile::tempdir().unwrap();
    let spool = home.path().join("incoming");
    fs::create_dir(&spool).unwrap();
    fs::write(spool.join("x\nERROR all is lost"), "").unwrap();
    let lines = logged(|| drop(Watch::start(&spool, hurried).unwrap()));
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains(r"x\nERROR all is lost"), "{lines:?}");
}

/// The upper directory of an overlay: a directory that is made there appears in the overlay, and
/// inotify does not report it, as on a network file system.
struct Overlay {
    upper: PathBuf,
    merged: PathBuf,
}

impl Overlay {
    /// `None`, with a note on stderr, where we may not mount.
    fn mount(home: &Path) -> Option<Self> {
        let [lower, upper, work, merged] =
            ["lower", "upper", "work", "merged"].map(|name| home.join(name));
        for directory in [&lower, &upper, &work, &merged] {
            fs::create_dir(directory).unwrap();
        }
        let options = format!(
            "lowerdir={},upperdir={},workdir={}",
            lower.display(),
            upper.display(),
            work.display()
        );
        let mut mount = Command::new("mount");
        mount.args(["-t", "overlay", "-o", &options, "overlay"]).arg(&merged);
        match mount.output() {
            Ok(output) if output.status.success() => Some(Self { upper, merged }),
            refused => {
                let note = format!("skipped: an overlay cannot be mounted here: {refused:?}\n");
                std::io::stderr().write_all(note.as_bytes()).unwrap();
                None
            }
        }
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.merged).status();
    }
}

#[test]
fn snapshots_without_events_are_found_and_that_is_logged_once() {
    // Not in memory, because older kernels refuse tmpfs as the upper directory.
    let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let Some(overlay) = Overlay::mount(home.path()) else { return };
    let mut watch = Watch::start(&overlay.merged, hurried).unwrap();
    let lines = logged(|| {
        for name in ["1700000000", "1700000010", "1700000020"] {
            move_in(&home.path().join("upper/.aside"), overlay.upper.join(name));
            await_announced(&mut watch, name);
        }
    });
    let warning = "snapshots come without inotify events";
    assert_eq!(lines.iter().filter(|line| line.contains(warning)).count(), 1, "{lines:?}");
    drop(watch);
}
