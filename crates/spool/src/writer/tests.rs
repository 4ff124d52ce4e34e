//! The writer's contract, with every fault that a file system of this machine can have.

use std::ffi::OsStr;
use std::os::unix::fs::symlink;
use std::process::Command;

use testbed::log::logged;

use super::*;
use crate::cycle::Cycle;
use crate::manifest::{AnswerFile, Generation, Manifest};

struct Dirs {
    root: tempfile::TempDir,
}

impl Dirs {
    fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap() }
    }

    fn dst(&self) -> PathBuf {
        self.root.path().join("incoming")
    }

    fn tmp(&self) -> PathBuf {
        self.root.path().join("incoming.tmp")
    }

    fn open(&self) -> Spool {
        Spool::open(&self.dst(), &self.tmp(), true).unwrap()
    }
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The names of a snapshot's files, without the marker.
fn answers(snapshot: &Path) -> Vec<String> {
    let mut names = names(snapshot);
    names.retain(|name| name != manifest::FILE_NAME);
    names
}

/// How many leftovers cleaning removes.
fn removed(spool: &Spool) -> usize {
    let cleaned = spool.clean().unwrap();
    assert!(cleaned.stay.is_none(), "{cleaned:?}");
    cleaned.removed.map_or(0, |(_, count)| count)
}

fn fill(staging: &Staging, text: &str) {
    let mut file = staging.files().create(OsStr::new("a_info")).unwrap();
    file.write(text.as_bytes()).unwrap();
    file.close().unwrap();
}

#[test]
fn a_published_snapshot_is_whole_and_nothing_is_left_behind() {
    let dirs = Dirs::new();
    let staging = dirs.open().stage(1_700_000_000).unwrap();
    fill(&staging, "Name: HAProxy\n\n");
    assert_eq!(names(&dirs.dst()), [""; 0]);
    let published = staging.publish().unwrap();
    assert_eq!((published.seconds, published.wanted), (1_700_000_000, 1_700_000_000));
    assert!(published.unsynced.is_none());
    let published = published.path;
    assert_eq!(published, dirs.dst().join("1700000000"));
    assert_eq!(fs::read(published.join("a_info")).unwrap(), b"Name: HAProxy\n\n");
    assert_eq!(names(&dirs.tmp()), [""; 0]);
}

#[test]
fn a_dropped_staging_leaves_nothing() {
    let dirs = Dirs::new();
    let staging = dirs.open().stage(1_700_000_000).unwrap();
    fill(&staging, "half");
    drop(staging);
    assert_eq!(names(&dirs.tmp()), [""; 0]);
    assert_eq!(names(&dirs.dst()), [""; 0]);
}

#[test]
fn a_file_that_is_open_forbids_publishing() {
    let dirs = Dirs::new();
    let staging = dirs.open().stage(1_700_000_000).unwrap();
    let file = staging.files().create(OsStr::new("b_stat")).unwrap();
    let error = staging.publish().unwrap_err();
    assert!(error.to_string().contains("\"b_stat\" was not closed"), "{error}");
    drop(file);
    assert_eq!(names(&dirs.tmp()), [""; 0]);
    assert_eq!(names(&dirs.dst()), [""; 0]);
}

#[test]
fn a_file_that_is_begun_anew_has_only_the_new_bytes() {
    let dirs = Dirs::new();
    let staging = dirs.open().stage(1_700_000_000).unwrap();
    let mut first = staging.files().create(OsStr::new("a_info")).unwrap();
    first.write(b"of the first attempt").unwrap();
    drop(first);
    fill(&staging, "second");
    let published = staging.publish().unwrap().path;
    assert_eq!(fs::read(published.join("a_info")).unwrap(), b"second");
}

#[test]
fn a_link_in_the_place_of_a_file_is_not_followed() {
    let dirs = Dirs::new();
    let staging = dirs.open().stage(1_700_000_000).unwrap();
    let victim = dirs.root.path().join("victim");
    fs::write(&victim, "of others").unwrap();
    symlink(&victim, staging.dir().join("a_info")).unwrap();
    let error = staging.files().create(OsStr::new("a_info")).unwrap_err();
    assert!(error.to_string().ends_with("it is no regular file"), "{error}");
    assert_eq!(fs::read(&victim).unwrap(), b"of others");
}

/// A manifest of these files.
fn manifest(names: &[&str]) -> Manifest {
    let file = |name: &&str| AnswerFile {
        name: (*name).to_owned(),
        source: "haproxy".to_owned(),
        endpoint: "unix:///run/a".to_owned(),
        worker: None,
        generation: Generation::Current,
    };
    Manifest {
        origin: "lb1".to_owned(),
        serial: 1,
        cycle: Cycle::default(),
        files: names.iter().map(file).collect(),
        unanswered: Vec::new(),
        natures: std::collections::BTreeMap::new(),
    }
}

#[test]
fn a_file_that_the_manifest_does_not_list_is_in_no_snapshot() {
    let dirs = Dirs::new();
    let staging = dirs.open().stage(1_700_000_000).unwrap();
    let files = staging.files();
    fill(&staging, "whole");
    for name in ["b_info", "b_stat"] {
        files.create(OsStr::new(name)).unwrap().close().unwrap();
    }
    let mut open = files.create(OsStr::new("b_stat")).unwrap();
    files.complete(&manifest(&["a_info", "never_begun"])).unwrap();
    // Its writer may still write.
    open.write(b"late").unwrap();
    open.close().unwrap();
    assert_eq!(answers(&staging.publish().unwrap().path), ["a_info"]);

    let staging = dirs.open().stage(1_700_000_010).unwrap();
    let file = staging.files().create(OsStr::new("d_info")).unwrap();
    file.close().unwrap();
    fs::remove_file(staging.dir().join("d_info")).unwrap();
    fs::create_dir(staging.dir().join("d_info")).unwrap();
    let error = staging.files().complete(&manifest(&[])).unwrap_err();
    assert!(error.to_string().starts_with("cannot remove "), "{error}");
}

#[test]
fn no_file_of_a_complete_published_or_abandoned_snapshot_is_created() {
    let dirs = Dirs::new();
    let late = |files: &StagedFiles, name: &str| {
        matches!(files.create(OsStr::new(name)), Err(Error::TooLate { .. }))
    };
    let staging = dirs.open().stage(1_700_000_000).unwrap();
    let files = staging.files();
    fill(&staging, "whole");
    files.complete(&manifest(&["a_info"])).unwrap();
    assert!(late(&files, "b_info"), "the snapshot is complete");
    let published = staging.publish().unwrap().path;
    assert!(late(&files, "b_stat"), "it is published");
    assert_eq!(answers(&published), ["a_info"]);

    let staging = dirs.open().stage(1_700_000_010).unwrap();
    let files = staging.files();
    drop(staging);
    assert!(late(&files, "a_info"), "it is abandoned");
}

#[test]
fn one_program_writes_to_a_pair_of_directories() {
    let dirs = Dirs::new();
    let mut first = dirs.open();
    let staging = first.stage(1_700_000_000).unwrap();
    let second = Spool::open(&dirs.dst(), &dirs.tmp(), true).unwrap_err().to_string();
    let name = format!("another haproxystats-pull (pid {})", std::process::id());
    assert!(second.contains(&name), "{second}");
    assert!(second.contains(dirs.tmp().to_str().unwrap()), "{second}");
    fill(&staging, "of the first");
    staging.publish().unwrap();
    drop(first);
    dirs.open();
}

#[test]
fn a_staging_directory_that_was_replaced_is_locked_anew() {
    let dirs = Dirs::new();
    let mut first = dirs.open();
    fs::rename(dirs.tmp(), dirs.root.path().join("aside")).unwrap();
    drop(first.stage(1_700_000_000).unwrap());
    Spool::open(&dirs.dst(), &dirs.tmp(), true).unwrap_err();

    // Replaced, and another program took the lock first.
    fs::remove_dir(dirs.tmp()).unwrap();
    let second = dirs.open();
    let error = first.stage(1_700_000_000).unwrap_err();
    assert!(matches!(error, Error::Locked { .. }), "{error}");
    assert_eq!(names(&dirs.tmp()), [""; 0]);
    drop(second);
    first.stage(1_700_000_000).unwrap();
}

#[test]
fn a_snapshot_of_the_same_second_is_not_replaced() {
    let dirs = Dirs::new();
    let mut spool = dirs.open();
    for text in ["first", "second"] {
        let staging = spool.stage(1_700_000_000).unwrap();
        fill(&staging, text);
        staging.publish().unwrap();
    }
    // A plain rename would replace an empty directory.
    fs::create_dir(dirs.dst().join("1700000002")).unwrap();
    let staging = spool.stage(1_700_000_000).unwrap();
    fill(&staging, "third");
    let published = staging.publish().unwrap();
    assert_eq!(published.path, dirs.dst().join("1700000003"));
    assert_eq!((published.seconds, published.wanted), (1_700_000_003, 1_700_000_000));
    let text = |name: &str| fs::read_to_string(dirs.dst().join(name).join("a_info")).unwrap();
    assert_eq!(text("1700000000"), "first");
    assert_eq!(text("1700000001"), "second");
    assert_eq!(names(&dirs.dst().join("1700000002")), [""; 0]);
}

#[test]
fn our_leftovers_are_removed_and_nothing_else() {
    let dirs = Dirs::new();
    let mut spool = dirs.open();
    let leftover = spool.stage(1_600_000_000).unwrap();
    fs::create_dir(leftover.dir().join("deep")).unwrap();
    std::mem::forget(leftover);
    fs::create_dir(dirs.tmp().join("of-somebody-else")).unwrap();
    fs::write(dirs.tmp().join("1600000001"), "a file").unwrap();
    assert_eq!(removed(&spool), 1);
    assert_eq!(names(&dirs.tmp()), ["1600000001", "of-somebody-else"]);
    // A directory that stays is no obstacle: another name is staged.
    let staging = spool.stage(1_600_000_001).unwrap();
    assert_eq!(staging.dir(), dirs.tmp().join("1600000002"));
    assert_eq!(staging.publish().unwrap().path, dirs.dst().join("1600000001"));
}

/// `tmp-dst-dir = /srv/backups`, where others keep directories with names like ours.
#[test]
fn directories_without_the_marker_are_never_removed() {
    let dirs = Dirs::new();
    let backup = dirs.tmp().join("1600000000");
    fs::create_dir_all(&backup).unwrap();
    fs::write(backup.join("important"), "of others").unwrap();
    fs::create_dir(dirs.tmp().join("1600000001")).unwrap();
    let mut spool = dirs.open();
    let cleaned = spool.clean().unwrap();
    assert!(cleaned.removed.is_none() && cleaned.stay.is_none(), "{cleaned:?}");
    assert_eq!(cleaned.unmarked.unwrap().1, 2);
    drop(spool.stage(1_600_000_000).unwrap());
    spool.stage(1_600_000_000).unwrap().publish().unwrap();
    assert_eq!(names(&dirs.tmp()), ["1600000000", "1600000001"]);
    assert_eq!(fs::read(backup.join("important")).unwrap(), b"of others");
}

#[test]
fn a_staged_directory_has_the_marker_from_the_moment_it_has_its_name() {
    let dirs = Dirs::new();
    let mut spool = dirs.open();
    // A kill before the name was given, and one while a removal was going on.
    for hidden in [UNNAMED, ".haproxystats-removed-1600000000"] {
        fs::create_dir_all(dirs.tmp().join(hidden).join("deep")).unwrap();
        fs::write(dirs.tmp().join(hidden).join(manifest::FILE_NAME), "").unwrap();
    }
    let staging = spool.stage(1_700_000_000).unwrap();
    assert_eq!(names(staging.dir()), [manifest::FILE_NAME]);
    fill(&staging, "whole");
    std::mem::forget(staging);
    assert_eq!(removed(&spool), 2);
    assert_eq!(names(&dirs.tmp()), [""; 0]);
}

/// An upgrade finds what version 0.1.0 was about to publish.
#[test]
fn a_directory_with_the_marker_of_version_0_1_0_is_removed() {
    let dirs = Dirs::new();
    let spool = dirs.open();
    for name in ["1600000000", ".haproxystats-removed-1600000001"] {
        let left = dirs.tmp().join(name);
        fs::create_dir(&left).unwrap();
        fs::write(left.join(cycle::FILE_NAME), "").unwrap();
        fs::write(left.join("a_info"), "Name: HAPr").unwrap();
    }
    assert_eq!(removed(&spool), 2);
    assert_eq!(names(&dirs.tmp()), [""; 0]);
}

/// A kill can come before the marker is made, and after it is removed.
#[test]
fn an_empty_directory_with_a_hidden_name_of_ours_is_removed() {
    let dirs = Dirs::new();
    let mut spool = dirs.open();
    for hidden in [UNNAMED, ".haproxystats-removed-1600000000"] {
        fs::create_dir(dirs.tmp().join(hidden)).unwrap();
    }
    assert_eq!(removed(&spool), 2);
    fs::create_dir(dirs.tmp().join(UNNAMED)).unwrap();
    drop(spool.stage(1_700_000_000).unwrap());
    assert_eq!(names(&dirs.tmp()), [""; 0]);
}

#[test]
fn hidden_directories_of_others_are_never_removed() {
    let dirs = Dirs::new();
    let mut spool = dirs.open();
    // The first three have the marker too: their names are not ours.
    let others =
        [".haproxystats-backup", ".haproxystats-removed-", ".haproxystats-removed-1.old", UNNAMED];
    for (number, other) in others.iter().enumerate() {
        fs::create_dir(dirs.tmp().join(other)).unwrap();
        fs::write(dirs.tmp().join(other).join("file"), "of others").unwrap();
        if number < 3 {
            fs::write(dirs.tmp().join(other).join(manifest::FILE_NAME), "").unwrap();
        }
    }
    fs::create_dir(dirs.tmp().join(".haproxystats-removed-7")).unwrap();
    fs::write(dirs.tmp().join(".haproxystats-removed-7/file"), "of others").unwrap();
    let cleaned = spool.clean().unwrap();
    assert!(cleaned.removed.is_none() && cleaned.stay.is_none(), "{cleaned:?}");
    assert_eq!(cleaned.unmarked.unwrap().1, 2);
    let error = spool.stage(1_700_000_000).unwrap_err().to_string();
    assert!(error.ends_with("; something is in it that is not ours"), "{error}");
    for other in others.iter().chain(&[".haproxystats-removed-7"]) {
        assert_eq!(fs::read(dirs.tmp().join(other).join("file")).unwrap(), b"of others");
    }
}

/// `remove_dir_all` removes files in the order of the directory, so the marker could be the first.
#[test]
fn a_removal_that_is_cut_short_leaves_the_marker() {
    let dir = tempfile::tempdir().unwrap();
    let staged = dir.path().join("1600000000");
    for below in ["a", "b", "z"] {
        fs::create_dir_all(staged.join(below)).unwrap();
    }
    fs::write(staged.join(manifest::FILE_NAME), "").unwrap();
    let Some(_disk) = Mount::on(&staged.join("b")) else { return };
    remove_marked(&staged).unwrap_err();
    assert!(has_marker(&staged));
}

/// A warning here would come in every cycle.
#[test]
fn a_dropped_staging_that_cannot_be_removed_is_found_by_cleaning_and_gives_no_warning() {
    let dirs = Dirs::new();
    let mut spool = dirs.open();
    let staging = spool.stage(1_700_000_000).unwrap();
    let busy = staging.dir().join("busy");
    fs::create_dir(&busy).unwrap();
    let Some(mut disk) = Mount::on(&busy) else { return };
    assert_eq!(logged(|| drop(staging)), [""; 0]);
    let removed_name = ".haproxystats-removed-1700000000";
    disk.0 = dirs.tmp().join(removed_name).join("busy");
    assert_eq!(names(&dirs.tmp()), [removed_name]);
    assert_eq!(spool.clean().unwrap().stay.unwrap().1, 1);
    drop(disk);
    assert_eq!(removed(&spool), 1);
}

/// A mount, whose directory not even root can remove until this is dropped.
struct Mount(PathBuf);

impl Mount {
    /// `None`, with a note on stderr, where we may not mount.
    fn on(at: &Path) -> Option<Self> {
        let mount = Command::new("mount").args(["-t", "tmpfs", "tmpfs"]).arg(at).output();
        if mount.as_ref().is_ok_and(|output| output.status.success()) {
            return Some(Self(at.to_owned()));
        }
        eprintln!("SKIPPED: a file system cannot be mounted here: {mount:?}");
        None
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn an_error_of_the_system_ends_with_the_remedy() {
    let error = io_error("publish", Path::new("/x"), Errno::NOSPC.into()).to_string();
    let begin = "cannot publish \"/x\": No space left on device (os error 28); make room on";
    assert!(error.starts_with(begin), "{error}");
}

#[test]
fn a_name_of_others_cannot_forge_a_line_of_the_log() {
    let path = || PathBuf::from("/tmp/x\nERROR forged");
    let (tmp, dst, dir, file) = (path(), path(), path(), path());
    for error in [
        io_error("remove the leftover", &path(), Errno::BUSY.into()),
        Error::OtherFileSystem { tmp: tmp.clone(), dst: dst.clone() },
        Error::Nested { tmp: tmp.clone(), dst },
        Error::Locked { tmp, by: None },
        Error::NoFreeName { dir: dir.clone(), first: 1 },
        Error::TooLate { path: path() },
        Error::Unfinished { dir, file },
    ] {
        let text = error.to_string();
        assert!(!text.contains('\n') && text.contains("x\\nERROR"), "{text}");
    }
}

#[test]
fn directories_that_vanish_are_made_again() {
    let dirs = Dirs::new();
    let mut spool = dirs.open();
    fs::remove_dir(dirs.dst()).unwrap();
    fs::remove_dir(dirs.tmp()).unwrap();
    assert_eq!(spool.waiting().unwrap(), 0);
    let staging = spool.stage(1_700_000_000).unwrap();
    fs::remove_dir(dirs.dst()).unwrap();
    staging.publish().unwrap();
    assert_eq!(spool.waiting().unwrap(), 1);
    // A staged directory that is removed costs that snapshot alone.
    let staging = spool.stage(1_700_000_010).unwrap();
    fs::remove_dir_all(dirs.tmp()).unwrap();
    let error = staging.publish().unwrap_err();
    assert!(error.to_string().contains("1700000010"), "{error}");
    spool.stage(1_700_000_020).unwrap().publish().unwrap();
    assert_eq!(names(&dirs.dst()), ["1700000000", "1700000020"]);
}

#[test]
fn the_staging_directory_must_be_out_of_sight() {
    let dirs = Dirs::new();
    let refused =
        |dst: &Path, tmp: &Path| matches!(Spool::open(dst, tmp, true), Err(Error::Nested { .. }));
    assert!(refused(&dirs.dst(), &dirs.dst()));
    assert!(refused(&dirs.dst(), &dirs.dst().join("tmp")));
    assert!(refused(&dirs.tmp().join("in"), &dirs.tmp()));
    assert!(refused(&dirs.dst(), &dirs.dst().join("../incoming")));
    assert!(!refused(&dirs.dst(), &dirs.dst().join(".tmp")));
    assert!(!refused(&dirs.dst(), &dirs.tmp()));
}

#[test]
fn another_file_system_is_refused_with_the_remedy() {
    let dirs = Dirs::new();
    let Ok(memory) = tempfile::tempdir_in("/dev/shm") else {
        eprintln!("SKIPPED: /dev/shm cannot be written");
        return;
    };
    let device = |dir: &Path| fs::metadata(dir).unwrap().dev();
    if device(memory.path()) == device(dirs.root.path()) {
        eprintln!("SKIPPED: /dev/shm and the temporary directory are one file system");
        return;
    }
    let error = Spool::open(&dirs.dst(), &memory.path().join("tmp"), true).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("different file systems"), "{text}");
    assert!(text.contains("beside dst-dir"), "{text}");
}

#[test]
fn the_probe_leaves_nothing() {
    let dirs = Dirs::new();
    dirs.open();
    assert_eq!(names(&dirs.tmp()), [""; 0]);
    assert_eq!(names(&dirs.dst()), [""; 0]);
}
