//! Compares the spool with a map: whatever the two programs do, and wherever one of them dies, the
//! spool holds the snapshots that were published and not removed, whole and in order.

#![allow(clippy::unwrap_used, reason = "test code outside of test functions")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use haproxystats_spool::writer::Spool;
use haproxystats_spool::{failed, manifest, reader};
use proptest::collection::vec;
use proptest::prelude::{Just, ProptestConfig, Strategy, prop_oneof, proptest};

/// A step in the life of a spool.
#[derive(Debug, Clone)]
enum Step {
    /// pull publishes a snapshot for that second, with that many files.
    Publish(u64, usize),
    /// pull abandons a snapshot half-way.
    Abandon(u64),
    /// pull dies half-way, and the staged directory stays.
    DieStaging(u64),
    /// pull starts anew.
    RestartPull,
    /// process removes the n-th snapshot.
    Remove(usize),
    /// process dies between the two steps of a removal.
    DieRemoving(usize),
    /// process moves the n-th snapshot aside.
    GiveUp(usize),
    /// process starts anew.
    RestartProcess,
}

fn step() -> impl Strategy<Value = Step> {
    // Few seconds, so that names collide; some differ in their number of digits.
    let second = || prop_oneof![Just(9_u64), Just(10), Just(11), Just(100)];
    prop_oneof![
        4 => (second(), 1..4_usize).prop_map(|(second, files)| Step::Publish(second, files)),
        1 => second().prop_map(Step::Abandon),
        1 => second().prop_map(Step::DieStaging),
        1 => Just(Step::RestartPull),
        2 => (0..4_usize).prop_map(Step::Remove),
        1 => (0..4_usize).prop_map(Step::DieRemoving),
        1 => (0..4_usize).prop_map(Step::GiveUp),
        1 => Just(Step::RestartProcess),
    ]
}

struct World {
    folder: tempfile::TempDir,
    spool: Option<Spool>,
    /// Text by file by snapshot.
    published: BTreeMap<u64, BTreeMap<String, String>>,
    given_up: usize,
    made: usize,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut world =
            Self { folder, spool: None, published: BTreeMap::new(), given_up: 0, made: 0 };
        world.start_pull();
        world
    }

    fn incoming(&self) -> PathBuf {
        self.folder.path().join("incoming")
    }

    fn staging(&self) -> PathBuf {
        self.folder.path().join("incoming.tmp")
    }

    fn start_pull(&mut self) {
        // The earlier program has died, and its lock with it.
        self.spool = None;
        let spool = Spool::open(&self.incoming(), &self.staging(), false).unwrap();
        spool.clean().unwrap();
        assert_eq!(fs::read_dir(self.staging()).unwrap().count(), 0, "leftovers are cleaned");
        self.spool = Some(spool);
    }

    fn nth(&self, number: usize) -> Option<u64> {
        let count = self.published.len();
        (count > 0).then(|| *self.published.keys().nth(number % count).unwrap())
    }

    fn run(&mut self, step: Step) {
        match step {
            Step::Publish(second, files) => self.publish(second, files),
            Step::Abandon(second) => {
                let staging = self.spool.as_mut().unwrap().stage(second).unwrap();
                let mut file = staging.files().create("half_stat".as_ref()).unwrap();
                file.write(b"# pxn").unwrap();
            }
            Step::DieStaging(second) => {
                let staging = self.spool.as_mut().unwrap().stage(second).unwrap();
                fs::write(staging.dir().join("half_stat"), "# pxn").unwrap();
                std::mem::forget(staging);
            }
            Step::RestartPull => self.start_pull(),
            Step::Remove(number) => {
                if let Some(second) = self.nth(number) {
                    reader::remove(&self.incoming(), &second.to_string()).unwrap();
                    self.published.remove(&second);
                }
            }
            Step::DieRemoving(number) => {
                if let Some(second) = self.nth(number) {
                    let hidden = self.incoming().join(format!(".{second}.removed"));
                    let _ = fs::remove_dir_all(&hidden);
                    fs::rename(self.incoming().join(second.to_string()), hidden).unwrap();
                    self.published.remove(&second);
                }
            }
            Step::GiveUp(number) => {
                if let Some(second) = self.nth(number) {
                    let failed = self.folder.path().join("failed");
                    let name = second.to_string();
                    failed::move_aside(&self.incoming(), &name, &failed, "why", 1000).unwrap();
                    self.published.remove(&second);
                    self.given_up += 1;
                }
            }
            Step::RestartProcess => {
                reader::clean(&self.incoming()).unwrap();
                let hidden = fs::read_dir(self.incoming()).unwrap().flatten();
                let hidden =
                    hidden.filter(|e| e.file_name().to_string_lossy().ends_with(".removed"));
                assert_eq!(hidden.count(), 0, "leftovers of a removal are deleted");
            }
        }
    }

    fn publish(&mut self, second: u64, files: usize) {
        let staging = self.spool.as_mut().unwrap().stage(second).unwrap();
        let mut contents = BTreeMap::new();
        for number in 0..files {
            self.made += 1;
            let (name, text) = (format!("{number}_stat"), format!("text {}", self.made));
            let mut file = staging.files().create(name.as_ref()).unwrap();
            file.write(text.as_bytes()).unwrap();
            file.close().unwrap();
            contents.insert(name, text);
        }
        let taken = staging.publish().unwrap().seconds;
        assert!(taken >= second, "only a later second stands in for one that is taken");
        let before = self.published.insert(taken, contents);
        assert!(before.is_none(), "{taken} was overwritten");
    }

    fn check(&self) {
        let names: Vec<String> = self.published.keys().map(u64::to_string).collect();
        let listed = reader::list(&self.incoming()).unwrap();
        let listed_names: Vec<_> = listed.snapshots.into_iter().map(|listed| listed.name).collect();
        assert_eq!((listed_names, listed.strangers), (names, vec![]));
        for (second, files) in &self.published {
            assert_eq!(&read(&self.incoming().join(second.to_string())), files, "{second}");
        }
        assert_eq!(failed::list(&self.folder.path().join("failed")).len(), self.given_up);
    }
}

fn read(directory: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(directory).unwrap().map(Result::unwrap);
    entries
        .filter(|entry| entry.file_name() != manifest::FILE_NAME)
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read_to_string(entry.path()).unwrap())
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// After any sequence of steps the spool holds the same as the map.
    #[test]
    fn the_spool_does_what_a_map_would_do(steps in vec(step(), 1..40)) {
        let mut world = World::new();
        for step in steps {
            world.run(step);
            world.check();
        }
    }
}
