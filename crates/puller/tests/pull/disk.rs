//! A full disk: the log says so, nothing half-written is left, and cycles go on when there is room
//! again.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use config::Pull;

use crate::fake::{Fake, INFO, Script};
use crate::on_one_thread;
use crate::workbench::{SECOND, Workbench, names, snapshots_in};

/// A file system of a few pages in memory, unmounted with the test.
pub(crate) struct SmallDisk {
    at: PathBuf,
}

impl SmallDisk {
    /// `None`, with a note on stderr, where we may not mount.
    pub(crate) fn mount(at: PathBuf, options: &str) -> Option<Self> {
        fs::create_dir(&at).unwrap();
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(&at).output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self { at }),
            refused => {
                eprintln!("SKIPPED: a file system cannot be mounted here: {refused:?}");
                None
            }
        }
    }

    fn dst(&self) -> PathBuf {
        self.at.join("incoming")
    }

    fn tmp(&self) -> PathBuf {
        self.at.join("incoming.tmp")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazy, because a file of it may still be open.
        let _ = Command::new("umount").arg("--lazy").arg(&self.at).status();
    }
}

/// Writes until nothing more fits.
pub(crate) fn fill(file: &Path) {
    let page = [0_u8; 4096];
    let mut filler = fs::File::create(file).unwrap();
    while std::io::Write::write_all(&mut filler, &page).is_ok() {}
}

async fn survives(options: &str, take_room: impl FnOnce(&Path), give_room: impl FnOnce(&Path)) {
    let bench = Workbench::new();
    let Some(disk) = SmallDisk::mount(bench.sockets().with_file_name("disk"), options) else {
        return;
    };
    for dir in [disk.dst(), disk.tmp()] {
        fs::create_dir(dir).unwrap();
    }
    take_room(&disk.at);
    let stat = format!("# pxname,svname,\n{}\n", "web,FRONTEND,\n".repeat(2_000));
    let sent = [INFO, &stat].concat().into_bytes();
    let fake = Fake::unix(&bench.socket("a"), Script::Send(sent));
    let config = Pull { dst_dir: disk.dst(), tmp_dst_dir: disk.tmp(), ..bench.config() };
    let program = bench.start(Pull { sync: true, queue_size: 1, ..config });
    bench.until_logged("No space left on device").await;
    bench.until_logged("no snapshot").await;
    let asked = fake.asked();
    bench.until_cycles(3).await;
    assert!(fake.asked() >= asked);
    let lines = bench.lines();
    let full: Vec<_> = lines.iter().filter(|line| line.contains("No space left")).collect();
    assert!(full.len() <= 2, "once for the endpoint, once for the snapshot: {full:?}");
    assert!(full.iter().all(|line| line.contains("; make room on")), "{full:?}");
    assert_eq!(snapshots_in(&disk.dst()), [""; 0], "{}", bench.log());

    give_room(&disk.at);
    bench.until(|| snapshots_in(&disk.dst()).len() == 1, "a snapshot").await;
    bench.stop(program).await;
    assert_eq!(names(&disk.tmp()), [""; 0]);
    let snapshot = disk.dst().join(SECOND.to_string());
    assert_eq!(fs::read_to_string(snapshot.join("a_info")).unwrap(), INFO);
    assert!(fs::read_to_string(snapshot.join("a_stat")).unwrap() == stat);
    let cycle = spool::manifest::read(&snapshot).unwrap().unwrap().cycle;
    assert!(cycle.failures >= 3, "{cycle:?}");
}

#[test]
fn a_disk_without_room_for_an_answer_costs_the_cycle() {
    on_one_thread(async {
        let filler = |disk: &Path| disk.join("filler");
        let take = |disk: &Path| {
            fill(&filler(disk));
            // Room for the first answer and not for the second.
            let left = fs::OpenOptions::new().write(true).open(filler(disk)).unwrap();
            left.set_len(left.metadata().unwrap().len() - 2 * 4096).unwrap();
        };
        survives("size=256k", take, |disk| fs::remove_file(filler(disk)).unwrap()).await;
    });
}

#[test]
fn a_disk_without_room_for_a_directory_costs_the_cycle() {
    on_one_thread(async {
        let fillers = |disk: &Path| disk.join("fillers");
        let take = |disk: &Path| {
            fs::create_dir(fillers(disk)).unwrap();
            let mut number = 0;
            while fs::File::create(fillers(disk).join(number.to_string())).is_ok() {
                number += 1;
            }
        };
        survives("size=1m,nr_inodes=32", take, |disk| fs::remove_dir_all(fillers(disk)).unwrap())
            .await;
    });
}

#[test]
fn a_leftover_that_cannot_be_removed_is_logged_once_and_tried_again_until_it_is_gone() {
    on_one_thread(async {
        let bench = Workbench::new();
        let leftover = bench.tmp().join("1600000000");
        fs::create_dir_all(&leftover).unwrap();
        fs::write(leftover.join(spool::manifest::FILE_NAME), "").unwrap();
        // Not even root can remove the directory of a mount.
        let Some(_disk) = SmallDisk::mount(leftover.join("busy"), "size=64k") else { return };
        let _fake = Fake::unix(&bench.socket("a"), Script::Good);
        let program = bench.start(bench.config());
        bench.until_logged("leftovers of an earlier run stay").await;
        bench.until_cycles(65).await;
        let removed = bench.tmp().join(".haproxystats-removed-1600000000");
        assert!(removed.exists());
        assert_eq!(bench.count("leftovers of an earlier run stay"), 1, "{}", bench.log());
        // The mount has moved with its directory.
        let busy = removed.join("busy");
        assert!(Command::new("umount").arg("--lazy").arg(busy).status().unwrap().success());
        bench.until_logged("nothing unfinished is left in tmp-dst-dir any more").await;
        bench.stop(program).await;
    });
}

#[test]
fn an_unfinished_snapshot_that_cannot_be_removed_is_logged_once_and_goes_later() {
    on_one_thread(async {
        let bench = Workbench::new();
        let fake = Fake::unix(&bench.socket("a"), Script::Stall(INFO.into()));
        // Long enough to mount, and to fail afterwards.
        let limit = Some(Duration::from_secs(2));
        let program = bench.start(Pull { pull_timeout: limit, ..bench.config() });
        bench.until(|| fake.asked() == 1, "a cycle").await;
        let name = SECOND.to_string();
        let staged = bench.tmp().join(&name);
        let Some(_disk) = SmallDisk::mount(staged.join("busy"), "size=64k") else { return };
        // This cycle fails, and so do the cycles after it.
        fake.set(Script::Close);
        bench.until_logged("an unfinished snapshot stays in tmp-dst-dir").await;
        bench.until_cycles(35).await;
        let removed = bench.tmp().join(format!(".haproxystats-removed-{name}"));
        assert!(removed.exists());
        let lines = bench.count("stays in tmp-dst-dir") + bench.count("leftovers of");
        assert_eq!(lines, 1, "{}", bench.log());
        let busy = removed.join("busy");
        assert!(Command::new("umount").arg("--lazy").arg(busy).status().unwrap().success());
        bench.until_logged("nothing unfinished is left in tmp-dst-dir any more").await;
        bench.stop(program).await;
    });
}
