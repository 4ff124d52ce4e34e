//! Damage at every byte, disks without room, workers killed while they write, several at once.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use haproxystats_receivers::Lines;
use haproxystats_receivers::outbox::{Entry, Error, Limits, Outbox, append};

use crate::{UNBOUNDED, lines_of, names, noise};

/// Tells a test that it is the child of itself, and where its outbox is.
const CHILD: &str = "HAPROXYSTATS_TEST_OUTBOX";

fn open(dir: &Path) -> Outbox {
    Outbox::open(dir, UNBOUNDED).unwrap()
}

#[test]
fn a_batch_is_kept_over_a_restart_in_a_directory_that_is_made() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path().join("base/outbox");
    let mut outbox = open(&dir);
    let entry = append(&dir, "1700000000", 1, &&b"a 1 1700000000\n"[..], true).unwrap();
    assert_eq!(entry.file_name(), "1700000000-1-1-15.gz");
    assert!(outbox.added(entry.clone()).is_empty());
    let mut outbox = open(&dir);
    assert_eq!(outbox.oldest(), Some(&entry));
    assert_eq!(lines_of(&outbox, &entry).unwrap(), b"a 1 1700000000\n");
    outbox.delivered(&entry);
    assert!(outbox.is_empty());
    assert!(names(&dir).is_empty());
}

#[test]
fn a_rerun_counts_in_place_of_the_former_run_whatever_their_sizes() {
    for (first, second) in [(9, 2), (2, 9)] {
        let directory = tempfile::tempdir().unwrap();
        let dir = directory.path();
        let mut outbox = open(dir);
        outbox.added(append(dir, "17", first, &noise(1, first), false).unwrap());
        let rerun = append(dir, "17", second, &noise(2, second), false).unwrap();
        // The parent may be in the midst of the former run: it stays until the parent hears.
        assert_eq!(names(dir).len(), 2);
        let restarted = open(dir);
        assert_eq!((restarted.len(), restarted.oldest()), (1, Some(&rerun)));
        outbox.added(rerun.clone());
        assert_eq!((outbox.len(), outbox.metrics(), outbox.oldest()), (1, second, Some(&rerun)));
        assert_eq!(names(dir), [rerun.file_name()]);
    }
}

/// A worker that outlives its parent and the worker of the next parent may give one run's number
/// to two files.
#[test]
fn of_two_files_of_one_run_the_larger_counts() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path();
    let large = append(dir, "17", 9, &noise(1, 9), false).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let small = append(elsewhere.path(), "17", 8, &noise(1, 8), false).unwrap();
    fs::copy(elsewhere.path().join(small.file_name()), dir.join(small.file_name())).unwrap();
    assert_eq!(names(dir).len(), 2);
    assert_eq!(open(dir).oldest(), Some(&large));
    assert_eq!(names(dir), [large.file_name()]);
}

#[test]
fn what_was_delivered_of_a_former_run_does_not_take_the_rerun_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path();
    let mut outbox = open(dir);
    let first = append(dir, "17", 1, &&b"a 1 17\n"[..], false).unwrap();
    outbox.added(first.clone());
    let mut reading = outbox.read(&first).unwrap();
    let rerun = append(dir, "17", 2, &&b"a 1 17\nb 2 17\n"[..], false).unwrap();
    outbox.added(rerun.clone());
    let mut lines = Vec::new();
    reading.read_to_end(&mut lines).unwrap();
    assert_eq!(lines, b"a 1 17\n");
    outbox.delivered(&first);
    assert_eq!(outbox.oldest(), Some(&rerun));
    assert_eq!(lines_of(&outbox, &rerun).unwrap(), b"a 1 17\nb 2 17\n");
}

#[test]
fn at_the_bound_all_stay_and_over_it_the_oldest_go() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path();
    let append = |timestamp| append(dir, timestamp, 5, &&b"a 1 1\n"[..], false).unwrap();
    let entries = ["9", "10", "11"].map(append);
    let size_bytes = entries.iter().map(|entry| entry.size_bytes).sum();
    for (limits, dropped) in [
        (Limits { size_bytes, metrics: Some(15) }, 0),
        (Limits { size_bytes, metrics: Some(14) }, 1),
        (Limits { size_bytes: size_bytes - 1, metrics: None }, 1),
    ] {
        entries.iter().for_each(|entry| assert_eq!(append(&entry.timestamp).metrics, 5));
        let mut outbox = Outbox::open(dir, limits).unwrap();
        let gone = outbox.trim();
        let timestamps: Vec<_> = gone.iter().map(|entry| entry.timestamp.as_str()).collect();
        assert_eq!(timestamps, &["9", "10", "11"][..dropped], "{limits:?}");
        assert_eq!(names(dir).len(), 3 - dropped);
    }
}

#[test]
fn a_batch_over_the_bound_by_itself_goes_at_once_and_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path();
    let limits = Limits { size_bytes: u64::MAX, metrics: Some(10) };
    let mut outbox = Outbox::open(dir, limits).unwrap();
    let entry = append(dir, "17", 11, &noise(1, 11), false).unwrap();
    assert_eq!(outbox.added(entry.clone()), [entry]);
    assert!(names(dir).is_empty());
}

#[test]
fn damage_at_any_bit_and_a_cut_at_any_byte_are_seen_before_a_line_is() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path();
    let lines = noise(7, 12);
    let entry = append(dir, "17", 12, &lines, false).unwrap();
    let mut outbox = open(dir);
    let path = dir.join(entry.file_name());
    let whole = fs::read(&path).unwrap();
    // Whether it is read as it was; what else is read is a fault.
    let is_read = |bytes: &[u8], what: String| {
        fs::write(&path, bytes).unwrap();
        match outbox.read(&entry) {
            Err(Error::Damaged { .. }) => false,
            Err(error) => panic!("{what}: {error}"),
            Ok(_) => {
                assert_eq!(lines_of(&outbox, &entry).unwrap(), lines, "{what}");
                true
            }
        }
    };
    let mut harmless = 0;
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << bit;
            harmless += u32::from(is_read(&flipped, format!("bit {bit} of byte {at}")));
        }
    }
    // Time, level and system in gzip's header (6 bytes, and a flag that calls the rest text), and
    // at most 7 bits that fill up the last byte before the trailer.
    assert!(harmless <= 6 * 8 + 8 + 7, "{harmless}");
    for end in 0..whole.len() {
        assert!(!is_read(&whole[..end], format!("cut after {end} bytes")), "{end}");
    }
    assert!(!is_read(&[&whole[..], &b"\n"[..]].concat(), "a byte too many".into()));
    assert!(!is_read(&[&whole[..], &whole[..]].concat(), "twice".into()));
    outbox.damaged(&entry);
    assert_eq!(names(dir), [format!(".{}.damaged", entry.file_name())]);
    assert!(open(dir).is_empty());
}

/// Whoever sends a batch sees no error but those of reading: their kinds must keep apart what is
/// lost and what somebody took away.
#[test]
fn a_sender_can_tell_damage_from_what_is_gone() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path();
    let outbox = open(dir);
    let entry = append(dir, "17", 1, &&b"a 1 17\n"[..], false).unwrap();
    let path = dir.join(entry.file_name());
    let stored = outbox.stored(&entry);
    let mut lines = Vec::new();
    stored.open().unwrap().read_to_end(&mut lines).unwrap();
    assert_eq!((stored.bytes(), lines.as_slice()), (Some(7), &b"a 1 17\n"[..]));
    let kind = || stored.open().map(drop).unwrap_err().kind();
    fs::write(&path, "damaged").unwrap();
    assert_eq!(kind(), ErrorKind::InvalidData);
    fs::remove_file(&path).unwrap();
    assert_eq!(kind(), ErrorKind::NotFound);
    std::os::unix::fs::symlink(&path, &path).unwrap();
    assert_eq!(kind(), ErrorKind::InvalidData, "a link is no batch of ours");
}

#[test]
fn the_last_damaged_batches_are_kept() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path();
    let mut outbox = open(dir);
    for timestamp in 95..107 {
        outbox.added(append(dir, &timestamp.to_string(), 1, &&b"a 1 1\n"[..], false).unwrap());
    }
    while let Some(entry) = outbox.oldest().cloned() {
        outbox.damaged(&entry);
    }
    let kept: Vec<_> =
        (97..107).map(|timestamp| format!(".{timestamp}-1-1-6.gz.damaged")).collect();
    let mut found = names(dir);
    found.sort_by_key(|name| name.len());
    assert_eq!(found, kept);
}

#[test]
fn what_is_no_timestamp_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    for timestamp in ["", "-1", "1.5", "../17", "18446744073709551616"] {
        let error = append(directory.path(), timestamp, 1, &&b""[..], false).unwrap_err();
        assert!(matches!(error, Error::Timestamp { .. }), "{error}");
    }
    assert!(names(directory.path()).is_empty());
}

#[test]
fn what_cannot_be_written_names_its_path_and_leaves_nothing() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let told = append(file.path(), "17", 1, &&b"a 1 17\n"[..], true).unwrap_err().to_string();
    assert!(told.contains(&file.path().display().to_string()), "{told}");
    let opened = Outbox::open(file.path(), UNBOUNDED).unwrap_err().to_string();
    assert!(opened.contains(&file.path().display().to_string()), "{opened}");

    let directory = tempfile::tempdir().unwrap();
    let in_the_way = directory.path().join("17-1-1-7.gz");
    fs::create_dir(&in_the_way).unwrap();
    let told = append(directory.path(), "17", 1, &&b"a 1 17\n"[..], true).unwrap_err().to_string();
    assert!(told.contains(&in_the_way.display().to_string()), "{told}");
    assert_eq!(names(directory.path()), ["17-1-1-7.gz"]);
}

/// A limit on the size of files strikes in the midst of a write, as the end of a disk does.
#[test]
fn a_full_disk_is_told_and_leaves_nothing() {
    if let Some(dir) = env::var_os(CHILD) {
        let error = append(dir.as_ref(), "17", 9, &noise(3, 9_000), true).unwrap_err();
        assert!(matches!(error, Error::Io { doing: "write", .. }), "{error}");
        assert!(names(dir.as_ref()).is_empty());
        append(dir.as_ref(), "18", 1, &&b"a 1 18\n"[..], true).unwrap();
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let status = Command::new("sh")
        .args(["-c", r#"trap "" XFSZ; ulimit -f 8; exec "$0" "$@""#])
        .arg(env::current_exe().unwrap())
        .args(["--exact", "faults::a_full_disk_is_told_and_leaves_nothing"])
        .env(CHILD, directory.path())
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    // What the child did after the fault shows that it has run.
    assert_eq!(names(directory.path()), ["18-1-1-7.gz"]);
}

/// Every batch that a worker has reported as stored is there whole, wherever it was killed in the
/// next one.
#[test]
fn a_killed_worker_loses_nothing_that_it_had_stored() {
    const TEST: &str = "faults::a_killed_worker_loses_nothing_that_it_had_stored";
    if let Some(dir) = env::var_os(CHILD) {
        for timestamp in 0.. {
            let lines = noise(timestamp, 300);
            append(dir.as_ref(), &timestamp.to_string(), 300, &lines, false).unwrap();
            writeln!(std::io::stdout(), "stored").unwrap();
        }
    }
    let directory = tempfile::tempdir().unwrap();
    for round in 1..=20_usize {
        let dir = directory.path().join(round.to_string());
        fs::create_dir(&dir).unwrap();
        let mut worker = Command::new(env::current_exe().unwrap())
            .args(["--exact", TEST, "--nocapture"])
            .env(CHILD, &dir)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // Held until the worker is dead: it must die of the signal, not of a closed pipe.
        let mut told = BufReader::new(worker.stdout.take().unwrap()).lines();
        let is_stored = |line: &Result<String, _>| line.as_ref().is_ok_and(|line| line == "stored");
        let stored = told.by_ref().filter(is_stored).take(round * 3).count();
        worker.kill().unwrap();
        worker.wait().unwrap();
        assert_eq!(stored, round * 3);
        let mut outbox = open(&dir);
        assert!(outbox.len() >= stored, "{} of {stored}", outbox.len());
        assert!(names(&dir).iter().all(|name| name.ends_with(".gz")));
        for timestamp in 0..outbox.len() as u64 {
            let entry = outbox.oldest().unwrap().clone();
            assert_eq!(entry.timestamp, timestamp.to_string());
            assert_eq!(lines_of(&outbox, &entry).unwrap(), noise(timestamp, 300));
            outbox.delivered(&entry);
        }
    }
}

#[test]
fn workers_append_side_by_side() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path().join("outbox");
    let stored: Vec<Entry> = thread::scope(|scope| {
        let append_some = |worker: u64| {
            let dir = &dir;
            let timestamps = (0..50).map(move |number| number * 4 + worker);
            let appended = move |timestamp: u64| {
                append(dir, &timestamp.to_string(), 9, &noise(timestamp, 9), false).unwrap()
            };
            scope.spawn(move || timestamps.map(appended).collect::<Vec<_>>())
        };
        let workers: Vec<_> = (0..4).map(append_some).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    let mut outbox = open(&dir);
    let before = (outbox.len(), outbox.metrics(), outbox.size_bytes());
    // Heard of a second time they are the same batches.
    for entry in stored {
        assert!(outbox.added(entry).is_empty());
    }
    assert_eq!((outbox.len(), outbox.metrics(), outbox.size_bytes()), before);
    assert_eq!((outbox.len(), outbox.metrics()), (200, 1_800));
    for timestamp in 0..200 {
        let entry = outbox.oldest().unwrap().clone();
        assert_eq!(lines_of(&outbox, &entry).unwrap(), noise(timestamp, 9));
        outbox.delivered(&entry);
    }
}
