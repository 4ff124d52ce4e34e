//! Disks that hang: a thread that writes to a frozen file system waits in the kernel, and no signal
//! ends it. It must delay neither the other work nor the end of the program.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;

use crate::bench::{Bench, FIRST};
use crate::scene::assert_exact;
use crate::sink::{Manner, Sink};
use crate::support::{skip_for_the_machine, wait_until};

/// A small ext4, frozen on command; thawed and unmounted on drop.
struct Disk {
    at: PathBuf,
}

impl Disk {
    fn mount(folder: &Path, name: &str) -> Option<Self> {
        let (image, at) = (folder.join(format!("{name}.ext4")), folder.join(name));
        fs::create_dir_all(&at).unwrap();
        fs::File::create(&image).unwrap().set_len(20 << 20).unwrap();
        let does = |program: &str, arguments: &[&str], paths: &[&Path]| {
            let ran = Command::new(program).args(arguments).args(paths).output();
            ran.is_ok_and(|output| output.status.success())
        };
        let is_mounted =
            does("mkfs.ext4", &["-q"], &[&image]) && does("mount", &["-o", "loop"], &[&image, &at]);
        if !is_mounted {
            skip_for_the_machine("a disk that hangs: no loop device can be mounted here");
            return None;
        }
        Some(Self { at })
    }

    fn freeze(&self) {
        let frozen = Command::new("fsfreeze").arg("-f").arg(&self.at).status().unwrap();
        assert!(frozen.success());
    }

    fn thaw(&self) {
        let _ = Command::new("fsfreeze").arg("-u").arg(&self.at).output();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.thaw();
        let _ = Command::new("umount").arg("-l").arg(&self.at).output();
    }
}

/// One Graphite is down, so that batches must be held, and the outbox hangs.
#[test]
fn an_outbox_that_hangs_delays_no_receiver_and_not_the_end() {
    let bench = Bench::new(Manner::Whole);
    let Some(disk) = Disk::mount(bench.scene.path(), "outbox") else { return };
    let mut second = Sink::start(Manner::Whole);
    second.kill();
    let other = format!(
        "[graphite:second]\nserver = 127.0.0.1\nport = {}\nnamespace = e2e\n\
         prefix-hostname = false\ninterval = 0.05\nbackoff = 1\ndelay = 0.2",
        second.port
    );
    let config = bench.config("workers = 2", "");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("{text}\n{other}\n")).unwrap();
    let mut process = bench.start(&config);
    wait_until("an outbox that is listed", || process.log().contains("child=\"outbox\""));
    disk.freeze();
    let all = bench.publish(12);
    wait_until("all at the healthy receiver", || bench.sink.by_timestamp().len() == all.len());
    process.end_with(Signal::TERM);

    disk.thaw();
    second.revive();
    let process = bench.start(&config);
    bench.wait_until_drained();
    process.finish();
    assert_exact(&bench.sink, &all);
    assert_exact(&second, &all);
}

#[test]
fn a_local_store_that_hangs_delays_no_receiver_and_not_the_end() {
    let bench = Bench::new(Manner::Whole);
    let Some(disk) = Disk::mount(bench.scene.path(), "store") else { return };
    let store = format!("[local-store]\ndir = {}/lines", disk.at.display());
    let config = bench.config("workers = 2", &store);
    let mut process = bench.start(&config);
    wait_until("a program that runs", || process.log().contains("watching src_dir"));
    disk.freeze();
    let all = bench.publish(12);
    wait_until("all at the healthy receiver", || bench.sink.by_timestamp().len() == all.len());
    process.end_with(Signal::TERM);

    disk.thaw();
    let process = bench.start(&config);
    bench.wait_until_drained();
    process.finish();
    assert_exact(&bench.sink, &all);
    let stored = disk.at.join("lines").join(FIRST.to_string()).join("stats");
    assert!(fs::read_to_string(stored).unwrap().lines().count() > 500);
}
