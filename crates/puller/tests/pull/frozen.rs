//! A disk that hangs: a frozen file system, so that a thread that writes there sleeps in the kernel
//! until it thaws. Pull logs it once, the thread of the sockets goes on, and the end does not wait.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use config::Pull;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::LocalSet;

use crate::fake::{Fake, INFO, Script};
use crate::workbench::{Workbench, machine, names, snapshots_in};

/// A file system on a file, which can be frozen.
struct Disk {
    at: PathBuf,
}

impl Disk {
    /// `None`, with a note on stderr, where we may not mount.
    fn mount(root: &Path) -> Option<Self> {
        let (image, at) = (root.join("image"), root.join("disk"));
        fs::create_dir(&at).unwrap();
        fs::File::create(&image).unwrap().set_len(20 << 20).unwrap();
        let mkfs = run("mkfs.ext4", &["-q".as_ref(), "-F".as_ref(), &image]);
        let mount =
            mkfs.and_then(|()| run("mount", &["-o".as_ref(), "loop".as_ref(), &image, &at]));
        if let Err(error) = mount {
            eprintln!("SKIPPED: a file system cannot be mounted here: {error}");
            return None;
        }
        let disk = Self { at };
        let freeze = run("fsfreeze", &["-f".as_ref(), &disk.at]);
        let thaw = run("fsfreeze", &["-u".as_ref(), &disk.at]);
        if let Err(error) = freeze.and(thaw) {
            eprintln!("SKIPPED: a file system cannot be frozen here: {error}");
            return None;
        }
        Some(disk)
    }

    fn freeze(&self) {
        run("fsfreeze", &["-f".as_ref(), &self.at]).unwrap();
    }

    fn thaw(&self) {
        run("fsfreeze", &["-u".as_ref(), &self.at]).unwrap();
    }

    fn dst(&self) -> PathBuf {
        self.at.join("incoming")
    }

    fn tmp(&self) -> PathBuf {
        self.at.join("incoming.tmp")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Thaw first: a file system that is unmounted while it is frozen can never be thawed.
        let _ = run("fsfreeze", &["-u".as_ref(), &self.at]);
        let _ = Command::new("umount").arg("--lazy").arg(&self.at).status();
    }
}

fn run(program: &str, arguments: &[&Path]) -> Result<(), String> {
    match Command::new(program).args(arguments).output() {
        Ok(output) if output.status.success() => Ok(()),
        other => Err(format!("{program}: {other:?}")),
    }
}

/// Runs a test as the program runs: the runtime's end waits for no thread.
fn on_one_thread(test: impl AsyncFnOnce(&Workbench, &Disk)) {
    let bench = Workbench::new();
    let Some(disk) = Disk::mount(&bench.sockets().with_file_name("")) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(8)
        .build()
        .unwrap();
    let runtime = BackgroundRuntime(Some(runtime));
    runtime.0.as_ref().unwrap().block_on(LocalSet::new().run_until(test(&bench, &disk)));
}

/// A runtime whose end waits for no thread, also when the test fails: the disk thaws after it.
struct BackgroundRuntime(Option<Runtime>);

impl Drop for BackgroundRuntime {
    fn drop(&mut self) {
        self.0.take().unwrap().shutdown_background();
    }
}

fn config(bench: &Workbench, disk: &Disk) -> Pull {
    Pull {
        dst_dir: disk.dst(),
        tmp_dst_dir: disk.tmp(),
        pull_timeout: Some(Duration::from_millis(200)),
        ..bench.config()
    }
}

#[test]
fn a_disk_that_hangs_is_logged_once_and_all_goes_on_when_it_answers_again() {
    on_one_thread(async |bench, disk| {
        let _fake = Fake::unix(&bench.socket("a"), Script::Good);
        let program = bench.start(config(bench, disk));
        bench.until(|| !snapshots_in(&disk.dst()).is_empty(), "a snapshot").await;
        disk.freeze();
        bench.until_logged("the disk has not answered for 3 s: still trying to").await;
        assert!(bench.log().contains("look at the disk or file server"), "{}", bench.log());
        assert!(bench.log().contains(disk.at.to_str().unwrap()), "{}", bench.log());
        let published = snapshots_in(&disk.dst()).len();
        disk.thaw();
        bench.until_logged("the disk answers again").await;
        bench.until(|| snapshots_in(&disk.dst()).len() > published + 2, "snapshots").await;
        bench.stop(program).await;
        assert_eq!(names(&disk.tmp()), [""; 0], "{}", bench.log());
        assert_eq!(bench.count("the disk has not answered"), 1, "{}", bench.log());
        assert_eq!(bench.count("the disk answers again"), 1, "{}", bench.log());
    });
}

/// Frozen at any moment of a cycle: while a directory is made, an answer written, a snapshot
/// published or removed.
#[test]
fn the_end_does_not_wait_for_a_disk_that_hangs() {
    for half in [&b""[..], &INFO.as_bytes()[..20]] {
        on_one_thread(async |bench, disk| {
            let fake = Fake::unix(&bench.socket("a"), Script::Good);
            let program = bench.start(config(bench, disk));
            bench.until(|| !snapshots_in(&disk.dst()).is_empty(), "a snapshot").await;
            if !half.is_empty() {
                // A staged directory that the end cannot remove.
                fake.set(Script::Stall(half.to_vec()));
                bench.until_logged("no answer").await;
            }
            disk.freeze();
            bench.until_logged("the disk has not answered").await;
            // The test runs on the thread of pull, so it hangs if that thread hangs.
            bench.end(program).await;
            assert!(
                bench.log().contains("the disk has not answered at the end"),
                "{}",
                bench.log()
            );
            assert!(bench.log().contains("ended reason"), "{}", bench.log());
        });
    }
}

#[test]
fn a_start_on_a_disk_that_hangs_can_be_ended() {
    on_one_thread(async |bench, disk| {
        disk.freeze();
        let program = bench.start(config(bench, disk));
        bench.until_logged("the disk has not answered for 3 s: still trying to prepare").await;
        bench.end(program).await;
    });
}

#[test]
fn a_single_snapshot_on_a_disk_that_hangs_can_be_ended() {
    on_one_thread(async |bench, disk| {
        let _fake = Fake::unix(&bench.socket("a"), Script::Good);
        let (config, dir) = (bench.config(), disk.at.join("once"));
        disk.freeze();
        let (end, ended) = oneshot::channel();
        let once = tokio::task::spawn_local(async move {
            let signal = async { ended.await.unwrap() };
            haproxystats_puller::once(config, &dir, machine(), signal).await
        });
        bench.until_logged("the disk has not answered for 3 s: still trying to prepare").await;
        end.send("SIGTERM").unwrap();
        let error = once.await.unwrap().unwrap_err().to_string();
        assert!(error.starts_with("ended by SIGTERM while the disk of"), "{error}");
    });
}
