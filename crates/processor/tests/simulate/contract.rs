//! The contract of a disk of the outbox. One suite checks the simulated disk, and the real disk
//! under SIGKILL, so that the simulated disk promises no more than the real one keeps.
//!
//! - A batch whose hold was answered is listed in each of its folders, whole, until it is dropped.
//! - A batch whose hold was not answered is in some of its folders or in none, and always whole.
//! - A batch whose drop was answered is not listed; a batch that was not dropped stays.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Stdio};

use haproxystats_processor::core::Folder;
use haproxystats_processor::entry::EntryName;
use haproxystats_processor::outbox::Outbox;
use model::{Batch, SnapshotId, Timestamp, form};

use crate::disk::Disk;

/// An order to a disk, and whether it was answered.
#[derive(Debug, Clone)]
enum DiskOrder {
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

/// Whether the list after a crash is one that the orders before the crash allow.
fn check(orders: &[DiskOrder], listed: &BTreeMap<String, BTreeSet<u32>>) -> Result<(), String> {
    let has = |folder: &str, number| listed.get(folder).is_some_and(|all| all.contains(&number));
    let mut allowed: BTreeSet<(String, u32)> = BTreeSet::new();
    let mut required: BTreeSet<(String, u32)> = BTreeSet::new();
    for order in orders {
        match order {
            DiskOrder::Hold { number, folders, is_answered } => {
                for folder in folders {
                    allowed.insert((folder.clone(), *number));
                    if *is_answered {
                        required.insert((folder.clone(), *number));
                    }
                }
            }
            DiskOrder::Drop { number, folder, is_answered } => {
                required.remove(&(folder.clone(), *number));
                if *is_answered {
                    allowed.remove(&(folder.clone(), *number));
                }
            }
        }
    }
    if let Some((folder, number)) = required.iter().find(|(folder, number)| !has(folder, *number)) {
        return Err(format!("{number} was held in {folder} and is missing"));
    }
    let all = listed.iter().flat_map(|(folder, all)| all.iter().map(move |n| (folder.clone(), *n)));
    match all.into_iter().find(|held| !allowed.contains(held)) {
        Some((folder, number)) => Err(format!("{number} is in {folder}, which no order allows")),
        None => Ok(()),
    }
}

const FOLDERS: [&str; 3] = ["graphite", "graphite:second", "local-store"];

/// The orders of a run, drawn from a seed: holds into some folders, and drops of held batches.
fn orders(seed: u64) -> impl Iterator<Item = DiskOrder> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut held: Vec<(u32, String)> = Vec::new();
    let mut number = 0;
    std::iter::from_fn(move || {
        if !held.is_empty() && rng.u8(0..3) == 0 {
            let (number, folder) = held.swap_remove(rng.usize(0..held.len()));
            return Some(DiskOrder::Drop { number, folder, is_answered: true });
        }
        number += 1;
        let count = rng.usize(1..=FOLDERS.len());
        let folders: Vec<String> = FOLDERS.iter().take(count).map(|&f| f.to_owned()).collect();
        held.extend(folders.iter().map(|folder| (number, folder.clone())));
        Some(DiskOrder::Hold { number, folders, is_answered: true })
    })
}

#[test]
fn the_simulated_disk_keeps_the_contract() {
    for seed in 0..200 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let (mut disk, mut given) = (Disk::default(), Vec::new());
        let last = rng.usize(0..40);
        for (index, mut order) in orders(seed).take(last + 1).enumerate() {
            let is_last = index == last;
            match &mut order {
                DiskOrder::Hold { number, folders, is_answered } => {
                    let some = if is_last { rng.usize(0..=folders.len()) } else { folders.len() };
                    disk.hold((*number).into(), &entry(*number), folders, true, some).unwrap();
                    *is_answered = !is_last;
                }
                DiskOrder::Drop { number, folder, is_answered } => {
                    if !is_last || rng.bool() {
                        disk.drop(folder, &[entry(*number)]);
                    }
                    *is_answered = !is_last;
                }
            }
            given.push(order);
        }
        disk.cut_power(|| rng.bool());
        let mut listed: BTreeMap<String, BTreeSet<u32>> = BTreeMap::new();
        for Folder { name, files } in disk.list() {
            for item in files {
                let number = item.entry.number;
                assert_eq!(disk.load(&name, &item.entry), Some(number.into()));
                listed.entry(name.clone()).or_default().insert(number);
            }
        }
        assert_eq!(check(&given, &listed), Ok(()), "seed {seed}");
    }
}

/// The environment variable that makes the next test the process that is killed.
const VICTIM: &str = "OUTBOX_CONTRACT_DIRECTORY";

/// Carries out orders until it is killed, and writes a line when an order begins and when it ends.
#[test]
fn victim_of_the_contract() {
    let Ok(directory) = std::env::var(VICTIM) else { return };
    let (directory, seed) = directory.split_once('#').unwrap();
    let outbox = Outbox::open(Path::new(directory)).unwrap();
    let mut log = File::create(Path::new(directory).join("../log")).unwrap();
    for (index, order) in orders(seed.parse().unwrap()).enumerate() {
        writeln!(log, "begin {index}").unwrap();
        match order {
            DiskOrder::Hold { number, folders, .. } => {
                let mut batch = tempfile::tempfile().unwrap();
                form::write(&Batch { id: id(number), tables: Vec::new() }, &mut batch).unwrap();
                outbox.hold(batch.as_fd(), &entry(number), &folders, true).unwrap();
            }
            DiskOrder::Drop { number, folder, .. } => {
                outbox.drop(&folder, &[entry(number)]).unwrap()
            }
        }
        writeln!(log, "end {index}").unwrap();
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
        let read_log = || fs::read_to_string(base.path().join("log")).unwrap_or_default();
        // Each seed has another number of orders. The kill comes at any moment of the last one.
        let enough = || read_log().matches("end").count() as u64 >= 3 * seed;
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while !enough() {
            assert!(std::time::Instant::now() < deadline, "{}", read_log());
            std::thread::yield_now();
        }
        victim.kill().unwrap();
        victim.wait().unwrap();

        let log = read_log();
        let (begun, ended) = (log.matches("begin").count(), log.matches("end").count());
        let mut given: Vec<DiskOrder> = orders(seed).take(begun).collect();
        for order in given.iter_mut().skip(ended) {
            match order {
                DiskOrder::Hold { is_answered, .. } | DiskOrder::Drop { is_answered, .. } => {
                    *is_answered = false;
                }
            }
        }
        let outbox = Outbox::open(&directory).unwrap();
        let mut listed: BTreeMap<String, BTreeSet<u32>> = BTreeMap::new();
        for folder in outbox.list().unwrap() {
            for item in folder.files {
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
        assert_eq!(check(&given, &listed), Ok(()), "seed {seed}");
        let parts = fs::read_dir(&directory).unwrap();
        let hidden = parts
            .filter(|item| item.as_ref().unwrap().file_name().to_string_lossy().starts_with('.'));
        assert_eq!(hidden.count(), 0, "an unfinished file is left");
    }
}

fn fd_number(descriptor: &std::os::fd::OwnedFd) -> i32 {
    std::os::fd::AsRawFd::as_raw_fd(descriptor)
}
