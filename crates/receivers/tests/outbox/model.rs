//! Random lives of an outbox beside a map that does the same in memory.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;

use haproxystats_receivers::outbox::{Entry, Error, Limits, Outbox, append};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop_oneof, proptest};

use crate::{lines_of, names, noise};

/// What can happen to an outbox.
#[derive(Debug, Clone)]
enum Step {
    /// A worker stores a batch and tells the parent.
    Append { timestamp: u64, seed: u64, lines: u64, metrics: u64 },
    /// A worker stores a batch and is killed before it can tell.
    AppendUntold { timestamp: u64, seed: u64, lines: u64, metrics: u64 },
    /// A worker is killed while it writes.
    Half { timestamp: u64 },
    /// The parent hears of a worker's death.
    Recheck { timestamp: u64 },
    /// The receiver takes the oldest batch.
    Deliver,
    /// The receiver goes away in the midst of the oldest batch.
    Fail,
    /// A bit of the oldest batch's file flips.
    Flip { at: usize, bit: u8 },
    /// Its file is cut.
    Cut { at: usize },
    /// Somebody removes it.
    Vanish,
    /// The parent is killed and starts again.
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let batch = || (0..12_u64, any::<u64>(), 0..30_u64, 0..60_u64);
    let append =
        |(timestamp, seed, lines, metrics)| Step::Append { timestamp, seed, lines, metrics };
    let untold =
        |(timestamp, seed, lines, metrics)| Step::AppendUntold { timestamp, seed, lines, metrics };
    let step = prop_oneof![
        8 => batch().prop_map(append),
        2 => batch().prop_map(untold),
        1 => (0..12_u64).prop_map(|timestamp| Step::Half { timestamp }),
        2 => (0..12_u64).prop_map(|timestamp| Step::Recheck { timestamp }),
        4 => Just(Step::Deliver),
        1 => Just(Step::Fail),
        1 => (any::<usize>(), 0..8_u8).prop_map(|(at, bit)| Step::Flip { at, bit }),
        1 => any::<usize>().prop_map(|at| Step::Cut { at }),
        1 => Just(Step::Vanish),
        2 => Just(Step::Reopen),
    ];
    vec(step, 0..60)
}

#[derive(Debug, Clone)]
struct Stored {
    lines: Vec<u8>,
    metrics: u64,
    size_bytes: u64,
}

/// The same outbox in memory.
#[derive(Debug)]
struct Model {
    limits: Limits,
    waiting: BTreeMap<u64, Stored>,
    /// On the disk, but the parent does not know.
    untold: BTreeMap<u64, Stored>,
    damaged: usize,
}

impl Model {
    fn metrics(&self) -> u64 {
        self.waiting.values().map(|stored| stored.metrics).sum()
    }

    fn size_bytes(&self) -> u64 {
        self.waiting.values().map(|stored| stored.size_bytes).sum()
    }

    fn trim(&mut self) -> Vec<String> {
        let limits = &self.limits;
        let alone = |stored: &Stored| {
            stored.size_bytes > limits.size_bytes
                || limits.metrics.is_some_and(|limit| stored.metrics > limit)
        };
        let alone: Vec<u64> = self
            .waiting
            .iter()
            .filter(|(_, s)| alone(s))
            .map(|(timestamp, _)| *timestamp)
            .collect();
        let mut dropped: Vec<String> = alone.iter().map(u64::to_string).collect();
        self.waiting.retain(|timestamp, _| !alone.contains(timestamp));
        while self.size_bytes() > self.limits.size_bytes
            || self.limits.metrics.is_some_and(|limit| self.metrics() > limit)
        {
            dropped.push(self.waiting.pop_first().unwrap().0.to_string());
        }
        dropped
    }

    fn tell(&mut self, timestamp: u64) {
        if let Some(stored) = self.untold.remove(&timestamp) {
            self.waiting.insert(timestamp, stored);
        }
    }

    fn tell_all(&mut self) {
        self.waiting.append(&mut self.untold);
    }
}

/// Both, side by side.
struct Pair<'a> {
    dir: &'a Path,
    outbox: Outbox,
    model: Model,
}

impl Pair<'_> {
    fn append(&self, timestamp: u64, seed: u64, lines: u64, metrics: u64) -> (Entry, Stored) {
        let lines = noise(seed, lines);
        let entry = append(self.dir, &timestamp.to_string(), metrics, &lines, false).unwrap();
        let size_bytes = fs::metadata(self.dir.join(entry.file_name())).unwrap().len();
        assert_eq!((entry.size_bytes, entry.bytes), (size_bytes, lines.len() as u64));
        (entry, Stored { lines, metrics, size_bytes })
    }

    fn reopen(&mut self) {
        self.outbox = Outbox::open(self.dir, self.model.limits).unwrap();
        self.model.tell_all();
        assert_eq!(timestamps(&self.outbox.trim()), self.model.trim());
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Append { timestamp, seed, lines, metrics } => {
                let (entry, stored) = self.append(timestamp, seed, lines, metrics);
                self.model.untold.remove(&timestamp);
                self.model.waiting.insert(timestamp, stored);
                assert_eq!(timestamps(&self.outbox.added(entry)), self.model.trim());
            }
            Step::AppendUntold { timestamp, seed, lines, metrics } => {
                let (_, stored) = self.append(timestamp, seed, lines, metrics);
                self.model.untold.insert(timestamp, stored);
            }
            Step::Half { timestamp } => {
                fs::write(self.dir.join(format!(".{timestamp}-4194305.part")), "half").unwrap();
            }
            Step::Recheck { timestamp } => {
                self.recheck(timestamp);
                let of_it = format!(".{timestamp}-");
                let is_half = |name: &String| name.starts_with(&of_it) && name.ends_with(".part");
                assert!(!names(self.dir).iter().any(is_half));
            }
            Step::Reopen => self.reopen(),
            Step::Deliver | Step::Fail | Step::Flip { .. } | Step::Cut { .. } | Step::Vanish => {
                if let Some(entry) = self.outbox.oldest().cloned() {
                    self.step_on_oldest(&step, &entry);
                }
            }
        }
    }

    fn step_on_oldest(&mut self, step: &Step, entry: &Entry) {
        let path = self.dir.join(entry.file_name());
        let whole = fs::read(&path).unwrap();
        match step {
            Step::Deliver => {
                let (_, stored) = self.model.waiting.pop_first().unwrap();
                assert_eq!(lines_of(&self.outbox, entry).unwrap(), stored.lines);
                self.outbox.delivered(entry);
            }
            Step::Fail => {
                let mut some = [0; 100];
                let _ = self.outbox.read(entry).unwrap().read(&mut some).unwrap();
            }
            Step::Flip { at, bit } => {
                let mut flipped = whole.clone();
                flipped[at % whole.len()] ^= 1 << bit;
                fs::write(&path, flipped).unwrap();
                self.read_damaged(entry, &whole);
            }
            Step::Cut { at } => {
                fs::write(&path, &whole[..at % whole.len()]).unwrap();
                self.read_damaged(entry, &whole);
            }
            _ => {
                fs::remove_file(&path).unwrap();
                assert!(matches!(self.outbox.read(entry), Err(Error::Gone { .. })));
                self.recheck_gone(entry);
            }
        }
    }

    /// A bit of the header that means nothing may flip; else the damage is seen before any line is.
    fn read_damaged(&mut self, entry: &Entry, whole: &[u8]) {
        match lines_of(&self.outbox, entry) {
            Ok(lines) => {
                assert_eq!(lines, self.model.waiting.first_key_value().unwrap().1.lines);
                fs::write(self.dir.join(entry.file_name()), whole).unwrap();
            }
            Err(error) => {
                assert!(matches!(error, Error::Damaged { .. }), "{error}");
                self.outbox.damaged(entry);
                self.model.waiting.pop_first();
                self.model.damaged += 1;
            }
        }
    }

    fn recheck(&mut self, timestamp: u64) {
        self.model.tell(timestamp);
        let dropped = self.outbox.recheck(&timestamp.to_string()).unwrap();
        assert_eq!(timestamps(&dropped), self.model.trim());
    }

    fn recheck_gone(&mut self, entry: &Entry) {
        let (timestamp, _) = self.model.waiting.pop_first().unwrap();
        assert_eq!(timestamp.to_string(), entry.timestamp);
        self.recheck(timestamp);
    }

    fn compare(&self) {
        let Self { outbox, model, .. } = self;
        assert_eq!(
            (outbox.len(), outbox.is_empty()),
            (model.waiting.len(), model.waiting.is_empty())
        );
        assert_eq!((outbox.metrics(), outbox.size_bytes()), (model.metrics(), model.size_bytes()));
        let oldest = model.waiting.first_key_value();
        assert_eq!(outbox.oldest_timestamp(), oldest.map(|(timestamp, _)| *timestamp));
        if let Some((_, stored)) = oldest {
            assert_eq!(lines_of(outbox, outbox.oldest().unwrap()).unwrap(), stored.lines);
        }
    }
}

fn timestamps(entries: &[Entry]) -> Vec<String> {
    entries.iter().map(|entry| entry.timestamp.clone()).collect()
}

proptest! {
    // Shrunk cases become tests of their own in `faults`, not files of seeds.
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(300)
    })]

    /// Whatever happens, the outbox holds what the model holds, byte for byte, oldest first; what
    /// goes is delivered, damaged, removed by somebody, or said to be dropped; nothing else of the
    /// directory is touched and nothing of ours is left behind.
    #[test]
    fn the_outbox_does_what_a_map_would_do(
        steps in steps(),
        size_bytes in 0..4_000_u64,
        metrics in option::of(0..300_u64),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let dir = directory.path();
        fs::create_dir(dir.join("99-1-1-1.gz")).unwrap();
        fs::write(dir.join("17-1.gz"), "not ours").unwrap();
        let limits = Limits { size_bytes, metrics };
        let model =
            Model { limits, waiting: BTreeMap::new(), untold: BTreeMap::new(), damaged: 0 };
        let mut pair = Pair { dir, outbox: Outbox::open(dir, limits).unwrap(), model };
        for step in steps {
            pair.step(step);
            pair.compare();
        }
        pair.reopen();
        while let Some(entry) = pair.outbox.oldest().cloned() {
            pair.step_on_oldest(&Step::Deliver, &entry);
            pair.compare();
        }
        assert!(pair.model.waiting.is_empty());
        let (damaged, rest): (Vec<_>, Vec<_>) =
            names(dir).into_iter().partition(|name| name.ends_with(".damaged"));
        // A run that is damaged again bears the former one's name.
        assert!(damaged.len() <= pair.model.damaged.min(10), "{damaged:?}");
        assert_eq!(damaged.is_empty(), pair.model.damaged == 0);
        assert_eq!(rest, ["17-1.gz", "99-1-1-1.gz"]);
        assert_eq!(fs::read_to_string(dir.join("17-1.gz")).unwrap(), "not ours");
    }
}
