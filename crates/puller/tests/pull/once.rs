//! `--once`: one snapshot in a directory of the user's choice, or nothing at all, whatever an
//! endpoint, the disk, a signal or the service does.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use config::{Address, Pull};
use daemon::lock::Lock;
use haproxystats_puller::Error;
use spool::manifest::{self, Manifest};
use tokio::task::LocalSet;

use crate::disk::{SmallDisk, fill};
use crate::fake::{Fake, INFO, STAT, Script, good};
use crate::workbench::{SECOND, Workbench, machine, names};

const STAGING: &str = ".haproxystats-once";
const LIMIT: Duration = Duration::from_millis(100);

fn on_one_thread(test: impl AsyncFnOnce(Workbench)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(LocalSet::new().run_until(test(Workbench::new())));
}

fn target(bench: &Workbench) -> PathBuf {
    bench.sockets().with_file_name("once")
}

async fn once(config: Pull, dir: &Path) -> Result<PathBuf, Error> {
    haproxystats_puller::once(config, dir, machine(), std::future::pending()).await
}

fn manifest(snapshot: &Path) -> Manifest {
    manifest::read(snapshot).unwrap().unwrap()
}

/// The error of a snapshot that is not published, of which nothing stays.
async fn fails(bench: &Workbench, config: Pull) -> String {
    let dir = target(bench);
    let error = once(config.clone(), &dir).await.unwrap_err();
    assert!(!error.is_configuration(), "{error}");
    assert!(!dir.exists(), "{error}: {:?}", names(&dir));
    // A directory that was there stays, as it was.
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("mine"), "").unwrap();
    once(config, &dir).await.unwrap_err();
    assert_eq!(names(&dir), ["mine"]);
    error.to_string()
}

#[test]
fn a_snapshot_is_published_and_the_spool_is_not_touched() {
    on_one_thread(async |bench| {
        let fakes = ["a", "b"].map(|name| Fake::unix(&bench.socket(name), Script::Good));
        // A full spool stops only the service.
        let config = Pull { sync: true, queue_size: 0, ..bench.config() };
        let snapshot = once(config, &target(&bench)).await.unwrap();
        assert_eq!(snapshot, target(&bench).join(SECOND.to_string()));
        let files = ["a_info", "a_stat", "b_info", "b_stat", manifest::FILE_NAME];
        assert_eq!(names(&snapshot), files);
        assert_eq!(fs::read_to_string(snapshot.join("b_info")).unwrap(), INFO);
        assert_eq!(fs::read_to_string(snapshot.join("a_stat")).unwrap(), STAT);
        let Manifest { origin, cycle, files, .. } = manifest(&snapshot);
        assert_eq!((origin.as_str(), cycle.cycles, cycle.endpoints), ("lb1", 1, 2));
        assert_eq!(files.len(), 4);
        assert!(fakes.iter().all(|fake| fake.asked() == 1));
        assert_eq!(names(&target(&bench)), [SECOND.to_string()]);
        assert!(!bench.dst().exists() && !bench.tmp().exists());
    });
}

#[test]
fn a_running_service_is_not_disturbed() {
    on_one_thread(async |bench| {
        let fake = Fake::unix(&bench.socket("a"), Script::Stall(INFO.into()));
        let service = bench.start(bench.config());
        bench.until(|| fake.asked() == 1, "a cycle of the service").await;
        let before = (names(&bench.tmp()), names(&bench.dst()));
        fake.set(Script::Good);
        let snapshot = once(bench.config(), &target(&bench)).await.unwrap();
        assert_eq!(manifest(&snapshot).cycle.missing, 0);
        assert_eq!((names(&bench.tmp()), names(&bench.dst())), before);
        bench.stop(service).await;
    });
}

#[test]
fn an_endpoint_without_a_whole_answer_leaves_nothing_unless_a_part_is_allowed() {
    on_one_thread(async |_| {
        for script in [
            Script::Stall(vec![]),
            Script::Stall(good()[..INFO.len() + 30].to_vec()),
            Script::Send(good()[..INFO.len() + 30].to_vec()),
            Script::Send(b"Permission denied\n".to_vec()),
        ] {
            let bench = Workbench::new();
            let _faulty = Fake::unix(&bench.socket("faulty"), script.clone());
            let _sound = Fake::unix(&bench.socket("sound"), Script::Good);
            let config = Pull { pull_timeout: Some(LIMIT), ..bench.config() };
            let error = fails(&bench, config.clone()).await;
            assert!(error.contains("it would not hold every endpoint"), "{script:?}: {error}");
            let config = Pull { allow_partial: true, ..config };
            let snapshot = once(config, &target(&bench)).await.unwrap();
            assert_eq!(names(&snapshot), [manifest::FILE_NAME, "sound_info", "sound_stat"]);
            let Manifest { cycle, unanswered, .. } = manifest(&snapshot);
            assert_eq!((cycle.endpoints, cycle.missing, unanswered.len()), (2, 1, 1));
        }
    });
}

#[test]
fn no_answer_at_all_is_no_snapshot_even_if_a_part_is_allowed() {
    on_one_thread(async |bench| {
        drop(UnixListener::bind(bench.socket("dead")).unwrap());
        let servers = vec![Address::Unix(bench.socket("missing"))];
        let config = Pull { servers, allow_partial: true, ..bench.config() };
        let error = fails(&bench, config).await;
        assert!(error.contains("no endpoint has answered; do what the log says"), "{error}");
        assert_eq!(bench.count("no answer endpoint="), 4, "two endpoints, twice: {}", bench.log());
    });
}

#[test]
fn nothing_to_ask_is_a_clear_sentence() {
    on_one_thread(async |bench| {
        let empty = fails(&bench, bench.config()).await;
        assert!(empty.starts_with("no snapshot: no stats socket there; give HAProxy"), "{empty}");
        assert!(empty.contains(bench.sockets().to_str().unwrap()), "{empty}");
        fs::remove_dir_all(target(&bench)).unwrap();
        let socket_dir = Some(bench.sockets().with_file_name("nowhere"));
        let missing = fails(&bench, Pull { socket_dir, ..bench.config() }).await;
        assert!(missing.contains("cannot read socket-dir") && missing.contains("nowhere"));
        let nothing = Pull { socket_dir: None, ..bench.config() };
        let error = once(nothing, &target(&bench)).await.unwrap_err();
        assert!(error.is_configuration() && error.to_string().contains("socket-dir"), "{error}");
    });
}

#[test]
fn a_name_that_is_taken_stays_and_the_next_second_is_used() {
    on_one_thread(async |bench| {
        let _fake = Fake::unix(&bench.socket("a"), Script::Good);
        let (dir, second) = (target(&bench), |more: u64| (SECOND + more).to_string());
        fs::create_dir_all(dir.join(second(0))).unwrap();
        fs::write(dir.join(second(0)).join("a_info"), "older").unwrap();
        fs::write(dir.join(second(1)), "a file").unwrap();
        let snapshot = once(bench.config(), &dir).await.unwrap();
        assert_eq!(snapshot, dir.join(second(2)));
        assert_eq!(fs::read_to_string(dir.join(second(0)).join("a_info")).unwrap(), "older");
        assert_eq!(fs::read_to_string(dir.join(second(1))).unwrap(), "a file");
        assert_eq!(names(&dir), [second(0), second(1), second(2)]);
    });
}

#[test]
fn a_directory_of_the_service_is_refused_by_any_of_its_names() {
    on_one_thread(async |bench| {
        let _fake = Fake::unix(&bench.socket("a"), Script::Good);
        let link = bench.sockets().with_file_name("link");
        symlink(bench.dst(), &link).unwrap();
        for (is_there, dir, option) in [
            (false, bench.dst(), "dst-dir"),
            (false, bench.tmp(), "tmp-dst-dir"),
            (true, bench.dst().join("deep"), "dst-dir"),
            (true, bench.tmp().join("deep"), "tmp-dst-dir"),
            (true, link.clone(), "dst-dir"),
            (true, link.join("deep"), "dst-dir"),
        ] {
            if is_there {
                fs::create_dir_all(bench.dst()).unwrap();
                fs::create_dir_all(bench.tmp()).unwrap();
            }
            let error = once(bench.config(), &dir).await.unwrap_err();
            assert!(error.is_configuration(), "{dir:?}: {error}");
            assert!(error.to_string().contains(&format!("lies in {option} (")), "{error}");
            assert_eq!((bench.dst().exists(), bench.tmp().exists()), (is_there, is_there));
        }
        assert!(names(&bench.dst()).is_empty() && names(&bench.tmp()).is_empty());
        // The directory above both is not the service's.
        let above = bench.dst().parent().unwrap().to_owned();
        assert_eq!(once(bench.config(), &above).await.unwrap(), above.join(SECOND.to_string()));
    });
}

#[test]
fn a_full_disk_leaves_nothing_and_another_file_system_than_the_spools_will_do() {
    on_one_thread(async |bench| {
        let at = bench.sockets().with_file_name("disk");
        let Some(disk) = SmallDisk::mount(at.clone(), "size=256k") else { return };
        let stat = format!("# pxname,svname,\n{}\n", "web,FRONTEND,\n".repeat(2_000));
        let sent = [INFO, &stat].concat().into_bytes();
        let _fake = Fake::unix(&bench.socket("a"), Script::Send(sent));
        let (filler, dir) = (at.join("filler"), at.join("once"));
        fill(&filler);
        // No room at all, room for a directory, room for the first answer.
        for pages in 0..3 {
            let left = fs::OpenOptions::new().write(true).open(&filler).unwrap();
            let length = left.metadata().unwrap().len();
            left.set_len(length - if pages == 0 { 0 } else { 4096 }).unwrap();
            once(bench.config(), &dir).await.unwrap_err();
            assert_eq!(names(&at), ["filler"], "{}", bench.log());
        }
        assert!(bench.log().contains("No space left on device"), "{}", bench.log());
        assert!(bench.log().contains("; make room on"), "{}", bench.log());
        fs::remove_file(&filler).unwrap();
        let snapshot = once(bench.config(), &dir).await.unwrap();
        assert!(fs::read_to_string(snapshot.join("a_stat")).unwrap() == stat);
        assert_eq!(names(&dir), [SECOND.to_string()]);
        drop(disk);
    });
}

#[test]
fn a_signal_while_endpoints_are_asked_leaves_nothing() {
    on_one_thread(async |bench| {
        let dir = target(&bench);
        for sent in [vec![], good()[..INFO.len() + 30].to_vec()] {
            let is_silent = sent.is_empty();
            let socket = bench.socket("a");
            let fake = Fake::unix(&socket, Script::Stall(sent));
            let staged = dir.join(STAGING).join(SECOND.to_string());
            let is_asked = || fake.asked() == 1 && (is_silent || names(&staged).len() == 3);
            let signal = async {
                bench.until(is_asked, "the stalled answer").await;
                "SIGTERM"
            };
            let result = haproxystats_puller::once(bench.config(), &dir, machine(), signal).await;
            let error = result.unwrap_err();
            assert!(matches!(error, Error::Interrupted { .. }), "{error}");
            assert!(error.to_string().contains("ended by SIGTERM before one was published"));
            assert!(!dir.exists(), "{:?}", names(&dir));
            drop(fake);
            fs::remove_file(socket).unwrap();
        }
    });
}

/// The manifest is written when all answers are there, so that the signal comes while the snapshot
/// is published.
#[test]
fn a_signal_while_the_snapshot_is_published_does_not_lose_it() {
    on_one_thread(async |bench| {
        let _fake = Fake::unix(&bench.socket("a"), Script::Good);
        let dir = target(&bench);
        let published = dir.join(SECOND.to_string());
        let staged = dir.join(STAGING).join(SECOND.to_string()).join(manifest::FILE_NAME);
        let begins = || published.exists() || fs::metadata(&staged).is_ok_and(|it| it.len() > 0);
        let signal = std::future::poll_fn(|context| {
            if begins() {
                return std::task::Poll::Ready("SIGINT");
            }
            context.waker().wake_by_ref();
            std::task::Poll::Pending
        });
        let snapshot = haproxystats_puller::once(bench.config(), &dir, machine(), signal).await;
        assert_eq!(snapshot.unwrap(), published);
        assert_eq!(names(&dir), [SECOND.to_string()]);
    });
}

#[test]
fn leftovers_of_a_kill_are_removed_and_what_others_put_there_stays() {
    on_one_thread(async |bench| {
        let _fake = Fake::unix(&bench.socket("a"), Script::Good);
        let staging = target(&bench).join(STAGING);
        let leftover = staging.join("1600000000");
        fs::create_dir_all(&leftover).unwrap();
        fs::write(leftover.join(manifest::FILE_NAME), "").unwrap();
        fs::write(leftover.join("a_info"), "Name: HAPr").unwrap();
        once(bench.config(), &target(&bench)).await.unwrap();
        assert_eq!(names(&target(&bench)), [SECOND.to_string()]);
        // Without the marker it belongs to others.
        fs::create_dir_all(leftover.join("theirs")).unwrap();
        once(bench.config(), &target(&bench)).await.unwrap();
        assert_eq!(names(&leftover), ["theirs"]);
        assert_eq!(bench.count("the staging directory stays"), 1, "{}", bench.log());
    });
}

#[test]
fn a_second_one_in_the_same_directory_is_refused_and_the_first_is_not_disturbed() {
    on_one_thread(async |bench| {
        let fake = Fake::unix(&bench.socket("a"), Script::Good);
        let staging = target(&bench).join(STAGING);
        fs::create_dir_all(&staging).unwrap();
        let lock = Lock::take(&staging).unwrap();
        let error = once(bench.config(), &target(&bench)).await.unwrap_err();
        let first = format!("another haproxystats-pull --once (pid {})", std::process::id());
        assert!(error.to_string().starts_with(&first), "{error}");
        assert!(lock.is_on(&staging).unwrap());
        assert_eq!((fake.asked(), error.is_configuration()), (0, false));
        drop(lock);
        once(bench.config(), &target(&bench)).await.unwrap();
        assert_eq!(names(&target(&bench)), [SECOND.to_string()]);
    });
}
