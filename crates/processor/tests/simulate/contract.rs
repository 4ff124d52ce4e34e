//! What a disk of the outbox promises, held against the simulated disk and against the real one
//! under SIGKILL: one suite, so that the simulator promises no more than the disk keeps.
//!
//! - A hold that was answered is listed in each of its folders, whole, until it is dropped.
//! - A hold that was not answered is in some of its folders or in none, and whole where it is.
//! - What a drop was answered for is listed no more; what nobody dropped stays.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Stdio};

use haproxystats_processor::entry::EntryName;
use haproxystats_processor::outbox::Outbox;
use model::{Batch, SnapshotId, Timestamp, form};

use crate::disk::Disk;

/// One order and whether it was answered.
#[derive(Debug, Clone)]
enum Done {
    Hold { number: u32, folders: Vec<String>, is_answered: bool },
    Drop { number: u32, folder: String, is_answered: bool },
}

fn id(number: u32) -> SnapshotId {
    let timestamp = Timestamp::of_seconds(1_700_000_000 + u64::from(number));
    SnapshotId { origin: "host".to_owned(), timestamp, serial: u64::from(number) + 1 }
}

fn entry(number: u32) -> EntryName {
    EntryName::new(&id(number), number, 1)
}

/// Whether what is listed after a crash is what the orders before it allow.
fn check(done: &[Done], listed: &BTreeMap<String, BTreeSet<u32>>) -> Result<(), String> {
    let has = |folder: &str, number| listed.get(folder).is_some_and(|all| all.contains(&number));
    let mut allowed: BTreeSet<(String, u32)> = BTreeSet::new();
    let mut required: BTreeSet<(String, u32)> = BTreeSet::new();
    for order in done {
        match order {
            Done::Hold { number, folders, is_answered } => {
                for folder in folders {
                    allowed.insert((folder.clone(), *number));
                    if *is_answered {
                        required.insert((folder.clone(), *number));
                    }
                }
            }
            Done::Drop { number, folder, is_answered } => {
                required.remove(&(folder.clone(), *number));
                if *is_answered {
                    allowed.remove(&(folder.clone(), *number));
                }
            }
        }
    }
    if let Some((folder, number)) = required.iter().find(|(folder, number)| !has(folder, *number)) {
        return Err(format!("{number} was held in {folder} and is gone"));
    }
    let all = listed.iter().flat_map(|(folder, all)| all.iter().map(move |n| (folder.clone(), *n)));
    match all.into_iter().find(|held| !allowed.contains(held)) {
        Some((folder, number)) => Err(format!("{number} is in {folder} against all orders")),
        None => Ok(()),
    }
}

const FOLDERS: [&str; 3] = ["graphite", "graphite:second", "local-store"];

/// The orders of a run, drawn from a seed: holds into some folders, drops of what was held.
fn orders(seed: u64) -> impl Iterator<Item = Done> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut held: Vec<(u32, String)> = Vec::new();
    let mut number = 0;
    std::iter::from_fn(move || {
        if !held.is_empty() && rng.u8(0..3) == 0 {
            let (number, folder) = held.swap_remove(rng.usize(0..held.len()));
            return Some(Done::Drop { number, folder, is_answered: true });
        }
        number += 1;
        let count = rng.usize(1..=FOLDERS.len());
        let folders: Vec<String> = FOLDERS.iter().take(count).map(|&f| f.to_owned()).collect();
        held.extend(folders.iter().map(|folder| (number, folder.clone())));
        Some(Done::Hold { number, folders, is_answered: true })
    })
}

#[test]
fn the_simulated_disk_keeps_the_contract() {
    for seed in 0..200 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let (mut disk, mut done) = (Disk::default(), Vec::new());
        let last = rng.usize(0..40);
        for (index, mut order) in orders(seed).take(last + 1).enumerate() {
            let is_last = index == last;
            match &mut order {
                Done::Hold { number, folders, is_answered } => {
                    let some = if is_last { rng.usize(0..=folders.len()) } else { folders.len() };
                    disk.hold((*number).into(), &entry(*number), folders, true, some).unwrap();
                    *is_answered = !is_last;
                }
                Done::Drop { number, folder, is_answered } => {
                    if !is_last || rng.bool() {
                        disk.drop(folder, &[entry(*number)]);
                    }
                    *is_answered = !is_last;
                }
            }
            done.push(order);
        }
        disk.cut_power(|| rng.bool());
        let mut listed: BTreeMap<String, BTreeSet<u32>> = BTreeMap::new();
        for (folder, entries) in disk.list() {
            for item in entries {
                let number = item.entry.number;
                assert_eq!(disk.load(&folder, &item.entry), Some(number.into()));
                listed.entry(folder.clone()).or_default().insert(number);
            }
        }
        assert_eq!(check(&done, &listed), Ok(()), "seed {seed}");
    }
}

/// Makes the process of the next test the one that is killed.
const VICTIM: &str = "OUTBOX_CONTRACT_DIRECTORY";

/// Does orders until it is killed, and tells of each when it begins and when it is answered.
#[test]
fn victim_of_the_contract() {
    let Ok(directory) = std::env::var(VICTIM) else { return };
    let (directory, seed) = directory.split_once('#').unwrap();
    let outbox = Outbox::open(Path::new(directory)).unwrap();
    let mut to = File::create(Path::new(directory).join("../told")).unwrap();
    for (index, order) in orders(seed.parse().unwrap()).enumerate() {
        writeln!(to, "begin {index}").unwrap();
        match order {
            Done::Hold { number, folders, .. } => {
                let mut batch = tempfile::tempfile().unwrap();
                form::write(&Batch { id: id(number), tables: Vec::new() }, &mut batch).unwrap();
                outbox.hold(batch.as_fd(), &entry(number), &folders, true).unwrap();
            }
            Done::Drop { number, folder, .. } => outbox.drop(&folder, &[entry(number)]).unwrap(),
        }
        writeln!(to, "end {index}").unwrap();
    }
}

#[test]
fn the_real_disk_keeps_the_contract_under_sigkill() {
    for seed in 0..12_u64 {
        let base = tempfile::tempdir().unwrap();
        let directory = base.path().join("outbox");
        let mut victim = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "contract::victim_of_the_contract"])
            .env(VICTIM, format!("{}#{seed}", directory.display()))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let told = || fs::read_to_string(base.path().join("told")).unwrap_or_default();
        // Another number of orders with each seed, and any moment within the last of them.
        let enough = || told().matches("end").count() as u64 >= 3 * seed;
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while !enough() {
            assert!(std::time::Instant::now() < deadline, "{}", told());
            std::thread::yield_now();
        }
        victim.kill().unwrap();
        victim.wait().unwrap();

        let told = told();
        let (begun, ended) = (told.matches("begin").count(), told.matches("end").count());
        let mut done: Vec<Done> = orders(seed).take(begun).collect();
        for order in done.iter_mut().skip(ended) {
            match order {
                Done::Hold { is_answered, .. } | Done::Drop { is_answered, .. } => {
                    *is_answered = false;
                }
            }
        }
        let outbox = Outbox::open(&directory).unwrap();
        let mut listed: BTreeMap<String, BTreeSet<u32>> = BTreeMap::new();
        for folder in outbox.list().unwrap() {
            for item in folder.entries {
                let number = item.entry.number;
                let mut batch = Vec::new();
                let loaded = outbox.load(&folder.name, &item.entry).unwrap();
                let mut file = File::open(format!("/proc/self/fd/{}", fd_number(&loaded))).unwrap();
                file.read_to_end(&mut batch).unwrap();
                let reader = form::Reader::new(batch.as_slice()).unwrap();
                assert_eq!(reader.header().id, id(number), "seed {seed}");
                listed.entry(folder.name.clone()).or_default().insert(number);
            }
        }
        assert_eq!(check(&done, &listed), Ok(()), "seed {seed}");
        let parts = fs::read_dir(&directory).unwrap();
        let hidden = parts
            .filter(|item| item.as_ref().unwrap().file_name().to_string_lossy().starts_with('.'));
        assert_eq!(hidden.count(), 0, "something half-written is left");
    }
}

fn fd_number(descriptor: &std::os::fd::OwnedFd) -> i32 {
    std::os::fd::AsRawFd::as_raw_fd(descriptor)
}
