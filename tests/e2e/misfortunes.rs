//! Faults on the machine of haproxystats-process: pipes in the place of files, files that the disk
//! cannot read, directories that cannot be deleted, too few descriptors, names that move.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{CWD, Mode, mkfifoat};
use rustix::process::Signal;

use crate::bench::{Bench, FIRST};
use crate::scene::{assert_exact, copy_files};
use crate::sink::{Manner, Sink};
use crate::support::{
    PROCESS, Program, data, installed, lives, run, send, skip_for_the_machine, wait_until,
};

fn count(log: &str, words: &str) -> usize {
    log.lines().filter(|line| line.contains(words)).count()
}

/// A snapshot beside the spool, to be changed before it is published.
fn staged(bench: &Bench) -> PathBuf {
    let staged = bench.scene.path().join("staged");
    copy_files(&data("parity/01-default/1700000000"), &staged);
    staged
}

fn publish(bench: &Bench, staged: &Path, timestamp: u64) {
    fs::rename(staged, bench.scene.incoming().join(timestamp.to_string())).unwrap();
}

fn reason_of(bench: &Bench, timestamp: u64) -> String {
    let reason = bench.scene.path().join(format!("failed/{timestamp}.reason"));
    wait_until("a reason in failed-dir", || reason.is_file());
    // The reason is written before the snapshot is moved.
    wait_until("the snapshot in failed-dir", || reason.with_extension("").is_dir());
    fs::read_to_string(reason).unwrap()
}

/// Opening or reading one of them would block a worker until job-timeout.
#[test]
fn pipes_devices_and_links_in_a_snapshot_hold_nothing_up() {
    let bench = Bench::new(Manner::Whole);
    let staged = staged(&bench);
    mkfifoat(CWD, staged.join("haproxystats.manifest"), Mode::RUSR | Mode::WUSR).unwrap();
    mkfifoat(CWD, staged.join("fifo_info"), Mode::RUSR | Mode::WUSR).unwrap();
    symlink("/dev/zero", staged.join("device_stat")).unwrap();
    symlink("/etc/passwd", staged.join("outside_info")).unwrap();
    publish(&bench, &staged, FIRST);
    let process = bench.start(&bench.config("workers = 1", ""));
    bench.wait_until_drained();
    let log = process.log();
    assert_eq!(count(&log, "is no regular file"), 4, "{log}");
    process.finish();
    assert_exact(&bench.sink, &[FIRST]);
}

/// A regular file that cannot be read, like the first page of a process's memory.
struct Unreadable(PathBuf);

impl Unreadable {
    fn mount(at: PathBuf) -> Option<Self> {
        let mut mount = Command::new("mount");
        let memory = format!("/proc/{}/mem", std::process::id());
        mount.args(["--bind", &memory]).arg(&at);
        let mounted = mount.output().is_ok_and(|output| output.status.success());
        let fails = mounted && fs::read(&at).is_err();
        let there = mounted.then(|| Self(at));
        if !fails {
            skip_for_the_machine("unreadable files: a file cannot be mounted on a file here");
            return None;
        }
        there
    }
}

impl Drop for Unreadable {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn a_snapshot_of_which_nothing_can_be_read_is_no_success() {
    let bench = Bench::new(Manner::Whole);
    let snapshot = bench.scene.incoming().join(FIRST.to_string());
    fs::create_dir(&snapshot).unwrap();
    let mut mounts = Vec::new();
    for name in ["a_info", "a_stat"] {
        fs::write(snapshot.join(name), "").unwrap();
        let Some(mount) = Unreadable::mount(snapshot.join(name)) else { return };
        mounts.push(mount);
    }
    bench.scene.publish(FIRST + 1);
    let process = bench.start(&bench.config("workers = 1", ""));
    let reason = reason_of(&bench, FIRST);
    // The mounts have moved with their directory.
    let failed = bench.scene.path().join("failed").join(FIRST.to_string());
    for (mount, name) in mounts.iter_mut().zip(["a_info", "a_stat"]) {
        mount.0 = failed.join(name);
    }
    assert!(reason.contains("nothing of it can be used"), "{reason}");
    assert!(reason.contains("Input/output error"), "{reason}");
    wait_until("an empty spool", || bench.scene.waiting().is_empty());
    process.finish();
    assert_exact(&bench.sink, &[FIRST + 1]);
}

#[test]
fn a_snapshot_of_which_all_files_are_damaged_goes_to_failed_dir() {
    let bench = Bench::new(Manner::Whole);
    let staged = bench.scene.path().join("staged");
    fs::create_dir(&staged).unwrap();
    fs::write(staged.join("a_stat"), "Permission denied\n\n").unwrap();
    fs::write(staged.join("a_info"), "Permission denied\n\n").unwrap();
    publish(&bench, &staged, FIRST);
    let process = bench.start(&bench.config("workers = 1", ""));
    let reason = reason_of(&bench, FIRST);
    assert!(reason.contains("Permission denied"), "{reason}");
    process.finish();
    assert!(bench.sink.by_timestamp().is_empty());
}

#[test]
fn partial_input_says_what_becomes_of_a_snapshot_with_a_damaged_file() {
    for (choice, is_folded) in [("accept", true), ("refuse", false)] {
        let bench = Bench::new(Manner::Whole);
        let staged = staged(&bench);
        fs::write(staged.join("broken_stat"), "Permission denied\n\n").unwrap();
        publish(&bench, &staged, FIRST);
        let options = format!("workers = 1\npartial-input = {choice}");
        let process = bench.start(&bench.config(&options, ""));
        if is_folded {
            bench.wait_until_drained();
            process.finish();
            assert_exact(&bench.sink, &[FIRST]);
        } else {
            let reason = reason_of(&bench, FIRST);
            assert!(reason.contains("broken_stat") && reason.contains("refuse"), "{reason}");
            process.finish();
            assert!(bench.sink.by_timestamp().is_empty());
        }
    }
}

/// Makes a file that not even root can delete.
struct Immutable(PathBuf);

impl Immutable {
    fn make(file: PathBuf) -> Option<Self> {
        let made = Command::new("chattr").arg("+i").arg(&file).output();
        if !made.is_ok_and(|output| output.status.success()) {
            skip_for_the_machine("undeletable files: chattr is refused here");
            return None;
        }
        Some(Self(file))
    }

    fn release(&self) {
        let _ = Command::new("chattr").arg("-i").arg(&self.0).output();
    }
}

impl Drop for Immutable {
    fn drop(&mut self) {
        self.release();
    }
}

/// The directory can be renamed but not emptied, like a directory of another owner.
#[test]
fn a_snapshot_that_cannot_be_deleted_is_told_once_counted_and_tried_again() {
    let bench = Bench::new(Manner::Whole);
    let staged = staged(&bench);
    let Some(mut file) = Immutable::make(staged.join("admin1.sock_stat")) else { return };
    publish(&bench, &staged, FIRST);
    let hidden = bench.scene.incoming().join(format!(".{FIRST}.removed"));
    let published = bench.scene.incoming().join(FIRST.to_string());
    file.0 = published.join("admin1.sock_stat");
    let process = bench.start(&bench.config("workers = 1\nliveness-check-interval = 1", ""));
    wait_until("the hidden directory", || hidden.is_dir() && !published.exists());
    file.0 = hidden.join("admin1.sock_stat");
    bench.wait_for_own("UndeletedSnapshots", 1);
    let all: Vec<u64> = (FIRST + 1..FIRST + 4).collect();
    all.iter().for_each(|&timestamp| bench.scene.publish(timestamp));
    bench.wait_for_own("SpoolSize", 0);
    file.release();
    bench.wait_for_own("UndeletedSnapshots", 0);
    assert!(!hidden.exists());
    let log = process.log();
    assert_eq!(count(&log, "cannot be deleted"), 1, "{log}");
    assert_eq!(count(&log, "all snapshots that are done are deleted"), 1, "{log}");
    process.finish();
    assert_exact(&bench.sink, &(FIRST..FIRST + 4).collect::<Vec<_>>());
}

#[test]
fn failed_dir_on_another_file_system_is_refused_at_the_start() {
    let bench = Bench::new(Manner::Whole);
    let elsewhere = tempfile::tempdir_in("/dev/shm").unwrap();
    let failed = elsewhere.path().join("failed");
    let options = format!("failed-dir = {}", failed.display());
    let config = bench.config(&options, "");
    let outcome = run(PROCESS, &["-f", config.to_str().unwrap()]);
    assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
    let both = [failed.display().to_string(), bench.scene.incoming().display().to_string()];
    assert!(both.iter().all(|dir| outcome.stderr.contains(dir)), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("are on different file systems"), "{}", outcome.stderr);
}

/// The parent has too few descriptors for a start: each message names the step and the remedy.
#[test]
fn a_start_with_too_few_open_files_says_what_was_tried_and_what_to_do() {
    let bench = Bench::new(Manner::Whole);
    let config = bench.config("workers = 1", "");
    for limit in 4..16 {
        let command = format!("ulimit -n {limit}; exec {PROCESS} -f {}", config.display());
        let arguments: [&OsStr; 2] = ["-c".as_ref(), command.as_ref()];
        let name = format!("limit{limit}");
        let mut process = Program::start("sh", &arguments, &[], bench.scene.path(), &name);
        wait_until("an end, or a line about the limit", || {
            !process.runs() || process.log().contains("LimitNOFILE")
        });
        if !process.runs() {
            let log = process.log();
            assert_ne!(process.wait().code(), Some(0), "{limit}: {log}");
            let line = log.lines().find(|line| line.contains("Too many open files"));
            let line = line.unwrap_or_else(|| panic!("{limit}: {log}"));
            assert!(line.contains("LimitNOFILE") && line.contains("cannot"), "{limit}: {line}");
        }
    }
}

/// The signal comes from a `kill`, not from a stop of the service.
#[test]
fn sigterm_to_a_child_ends_it_after_its_orders_and_costs_nothing() {
    let bench = Bench::new(Manner::NeverRead);
    let mut process = bench.start(&bench.config("workers = 1", "confirm-timeout = 1"));
    wait_until("an idle worker", || process.log().contains("worker started"));
    let idle = process.workers()[0];
    send(idle, Signal::TERM);
    wait_until("the end of the idle worker", || !lives(idle));
    wait_until("its replacement", || process.log().matches("worker started").count() == 2);

    // The send child is busy: it waits until confirm-timeout for a receiver that never reads.
    let all = bench.publish(3);
    wait_until("a busy send child", || bench.sink.connections() > 0);
    let is_sender = |pid: &i32| {
        let command_line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        command_line.starts_with(b"haproxystats-send-graphite")
    };
    let busy = process.children().into_iter().find(is_sender).unwrap();
    send(busy, Signal::TERM);
    wait_until("the end of the busy send child", || !lives(busy));
    bench.sink.behave(Manner::Whole);
    bench.wait_until_drained();
    let log = process.log();
    assert_eq!(count(&log, "ended on SIGTERM, replacing it"), 2, "{log}");
    assert_eq!(count(&log, "moved to failed-dir"), 0, "{log}");
    assert!(process.runs());
    process.finish();
    assert_exact(&bench.sink, &all);
}

/// A directory that is made in the spool has more entries than any snapshot; the others go on.
#[test]
fn very_many_entries_in_a_directory_of_the_spool_hold_nothing_up() {
    let bench = Bench::new(Manner::Whole);
    let process = bench.start(&bench.config("workers = 1", ""));
    // A directory that is there at the start would be processed at once.
    wait_until("a watch", || process.log().contains("watching src_dir"));
    let huge = bench.scene.incoming().join(FIRST.to_string());
    fs::create_dir(&huge).unwrap();
    fs::write(huge.join("0"), "").unwrap();
    for number in 1..60_000 {
        fs::hard_link(huge.join("0"), huge.join(number.to_string())).unwrap();
    }
    for timestamp in FIRST + 1..FIRST + 6 {
        bench.scene.publish(timestamp);
    }
    let reason = reason_of(&bench, FIRST);
    assert!(reason.contains("more than 20000 entries"), "{reason}");
    wait_until("an empty spool", || bench.scene.waiting().is_empty());
    process.finish();
    assert_exact(&bench.sink, &(FIRST + 1..FIRST + 6).collect::<Vec<_>>());
}

/// Two receivers on one port of two addresses, and a name that moves from one to the other while
/// the connection to the first still works.
#[test]
fn a_receiver_whose_name_moves_is_found_with_every_confirm() {
    if installed("a name that moves", ["unshare"]).is_none() {
        return;
    }
    for confirm in ["close", "tcp", "none"] {
        let bench = Bench::new(Manner::Whole);
        let options = format!("server = graphite.e2e\nconfirm = {confirm}");
        let config = bench.config("workers = 1\nliveness-check-interval = 3600", &options);
        let hosts = bench.scene.write("hosts", "127.0.0.1 graphite.e2e\n");
        let mut process = bench.scene.process_with_hosts(&config, &hosts);
        bench.scene.publish(FIRST);
        wait_until("the first receiver, or a refusal to mount", || {
            !process.runs() || bench.sink.by_timestamp().contains_key(&FIRST)
        });
        if !process.runs() {
            return skip_for_the_machine("a name that moves: no file system of one's own view");
        }
        let moved = Sink::start_at("127.0.0.2", bench.sink.port, Manner::Whole);
        fs::write(&hosts, "127.0.0.2 graphite.e2e\n").unwrap();
        let mut timestamp = FIRST;
        wait_until("a batch at the new address", || {
            if bench.scene.waiting().is_empty() {
                timestamp += 1;
                bench.scene.publish(timestamp);
            }
            !moved.by_timestamp().is_empty()
        });
        bench.wait_until_drained();
        process.finish();
    }
}

/// A pipe has taken the place of src-dir: opening it would block until a process writes.
#[test]
fn a_pipe_in_the_place_of_src_dir_holds_neither_the_watch_nor_the_end_up() {
    let bench = Bench::new(Manner::Whole);
    let mut process = bench.start(&bench.config("workers = 1", ""));
    wait_until("a watch", || process.log().contains("watching src_dir"));
    let (incoming, away) = (bench.scene.incoming(), bench.scene.path().join("away"));
    fs::rename(&incoming, &away).unwrap();
    mkfifoat(CWD, &incoming, Mode::RUSR | Mode::WUSR).unwrap();
    wait_until("the spool to be away", || process.log().contains("the spool is away"));
    fs::remove_file(&incoming).unwrap();
    fs::rename(&away, &incoming).unwrap();
    let all = bench.publish(1);
    bench.wait_until_drained();
    assert_exact(&bench.sink, &all);

    fs::rename(&incoming, &away).unwrap();
    mkfifoat(CWD, &incoming, Mode::RUSR | Mode::WUSR).unwrap();
    wait_until("the spool to be away again", || {
        process.log().matches("the spool is away").count() == 2
    });
    process.end_with(Signal::TERM);
}

/// A file system without room, not even for a directory.
struct FullDisk(PathBuf);

impl FullDisk {
    fn mount(at: PathBuf) -> Option<Self> {
        fs::create_dir(&at).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=2M,nr_inodes=40", "tmpfs"]).arg(&at);
        if !mount.output().is_ok_and(|output| output.status.success()) {
            skip_for_the_machine("a full disk: a file system cannot be mounted here");
            return None;
        }
        Some(Self(at))
    }

    fn fill(&self) {
        let filled =
            (0..).find(|number| fs::create_dir(self.0.join(format!("d{number}"))).is_err());
        assert!(filled.is_some());
    }
}

impl Drop for FullDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

/// Otherwise the spool would never be emptied, and the disk would stay full.
#[test]
fn a_full_disk_for_the_spool_keeps_no_program_from_emptying_it() {
    let bench = Bench::new(Manner::Whole);
    let Some(disk) = FullDisk::mount(bench.scene.path().join("disk")) else { return };
    let incoming = disk.0.join("incoming");
    fs::create_dir(&incoming).unwrap();
    copy_files(&data("parity/01-default/1700000000"), &incoming.join(FIRST.to_string()));
    disk.fill();
    let base = disk.0.display();
    let text = fs::read_to_string(bench.config("workers = 1", "")).unwrap();
    let ours = bench.scene.path().display();
    let text = text
        .replace(&format!("src-dir = {ours}/incoming"), &format!("src-dir = {base}/incoming"))
        .replace("[process]", &format!("[process]\nfailed-dir = {base}/failed"));
    let process = bench.start(&bench.scene.write("haproxystats.conf", &text));
    wait_until("an empty spool", || fs::read_dir(&incoming).unwrap().next().is_none());
    assert_eq!(count(&process.log(), "cannot use failed-dir"), 1, "{}", process.log());
    process.finish();
    assert_exact(&bench.sink, &[FIRST]);
}

#[test]
fn a_snapshot_that_could_not_be_moved_aside_keeps_its_reason() {
    let bench = Bench::new(Manner::Whole);
    let process = bench.start(&bench.config("workers = 1\nliveness-check-interval = 1", ""));
    wait_until("a watch", || process.log().contains("watching src_dir"));
    let failed = bench.scene.path().join("failed");
    fs::remove_dir(&failed).unwrap();
    fs::write(&failed, "in the way").unwrap();
    let staged = bench.scene.path().join("staged");
    fs::create_dir(&staged).unwrap();
    fs::write(staged.join("a_stat"), "Permission denied\n\n").unwrap();
    publish(&bench, &staged, FIRST);
    wait_until("a snapshot that is left", || process.log().contains("left in the spool"));
    fs::remove_file(&failed).unwrap();
    let reason = reason_of(&bench, FIRST);
    assert!(reason.contains("Permission denied"), "{reason}");
    wait_until("an empty spool", || bench.scene.waiting().is_empty());
    assert_eq!(count(&process.log(), "left in the spool"), 1, "{}", process.log());
    process.finish();
}

/// HOSTALIASES names the file of host aliases for the system's resolver. A pipe without a writer in
/// its place makes a look-up hang.
#[test]
fn a_resolver_that_hangs_costs_the_receiver_alone() {
    let bench = Bench::new(Manner::Whole);
    let config = bench.config("workers = 2", "server = stalled");
    let aliases = bench.scene.path().join("aliases");
    mkfifoat(CWD, &aliases, Mode::RUSR | Mode::WUSR).unwrap();
    // Open for reading and writing, so that a reader waits for the test.
    let _writer = fs::OpenOptions::new().read(true).write(true).open(&aliases).unwrap();
    let arguments = [OsStr::new("-f"), config.as_os_str()];
    let environment = [("HOSTALIASES", aliases.as_os_str())];
    let folder = bench.scene.path();
    let process = Program::start(PROCESS, &arguments, &environment, folder, "process");
    bench.publish(5);
    bench.wait_until_stored(5);
    let says = |words: &str| process.log().contains(words);
    wait_until("the end of a look-up", || {
        says("no answer from the resolver") || says("Name or service not known")
    });
    if says("Name or service not known") {
        return skip_for_the_machine("a look-up that hangs: the resolver here reads no aliases");
    }
    let lookups = |pid: i32| {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten();
        let names =
            tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
        names.filter(|name| name == "lookup\n").count()
    };
    let all: usize = process.children().into_iter().map(lookups).sum();
    assert!(all <= 1, "{}", process.log());
    process.finish();
}

#[test]
fn where_inotify_allows_no_watch_the_message_names_the_setting() {
    let bench = Bench::new(Manner::Whole);
    let config = bench.config("workers = 1", "");
    let command = format!(
        "echo 0 > /proc/sys/user/max_inotify_instances || exit 99; exec {PROCESS} -f {}",
        config.display()
    );
    let outcome = run("unshare", &["--user", "--map-root-user", "sh", "-c", &command]);
    if ![Some(1), Some(2)].contains(&outcome.code) {
        return skip_for_the_machine("the limit of inotify: no user namespace can be had here");
    }
    assert_eq!(outcome.code, Some(2), "{}", outcome.stderr);
    let says = |words: &str| outcome.stderr.contains(words);
    assert!(says("cannot watch") && says("max_user_instances"), "{}", outcome.stderr);
}
