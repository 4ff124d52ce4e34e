//! haproxystats-process with a spool, an outbox, a receiver that misbehaves, and short limits, so
//! that faults are seen soon.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::scene::{Scene, visible};
use crate::sink::{Manner, Sink};
use crate::support::{Program, wait_until};

/// The first snapshot's name.
pub(crate) const FIRST: u64 = 1_700_000_000;

/// Limits of `[graphite]`, each of which a test can replace.
const GRAPHITE: [(&str, &str); 10] = [
    ("server", "127.0.0.1"),
    ("namespace", "e2e"),
    ("prefix-hostname", "false"),
    ("retries", "3"),
    ("interval", "0.01"),
    ("backoff", "1"),
    ("delay", "0.02"),
    ("connect-timeout", "5"),
    ("write-timeout", "5"),
    ("confirm-timeout", "20"),
];
/// Options of `[process]`, each of which a test can replace. The interval is so long that the
/// parent's own metrics come only in a test that asks for them.
const PROCESS: [(&str, &str); 2] = [("workers", "2"), ("liveness-check-interval", "3600")];

pub(crate) struct Bench {
    pub(crate) scene: Scene,
    pub(crate) sink: Sink,
}

impl Bench {
    pub(crate) fn new(manner: Manner) -> Self {
        Self { scene: Scene::new(), sink: Sink::start(manner) }
    }

    /// Writes a configuration for the bench's receiver; the options replace those of the bench.
    pub(crate) fn config(&self, process: &str, graphite: &str) -> PathBuf {
        let port = format!("port = {}\n{graphite}", self.sink.port);
        let text = format!(
            "[DEFAULT]\nloglevel = debug\n[paths]\nbase-dir = {}\n\
             [process]\nsrc-dir = {}\n{}{process}\n[graphite]\n{}{port}\n",
            self.scene.path().display(),
            self.scene.incoming().display(),
            defaults(&PROCESS, process),
            defaults(&GRAPHITE, &port),
        );
        self.scene.write("haproxystats.conf", &text)
    }

    pub(crate) fn start(&self, config: &Path) -> Program {
        self.scene.process(config)
    }

    /// Publishes snapshots of consecutive seconds, and returns their seconds.
    pub(crate) fn publish(&self, count: u64) -> Vec<u64> {
        let all: Vec<u64> = (FIRST..FIRST + count).collect();
        all.iter().for_each(|&timestamp| self.scene.publish(timestamp));
        all
    }

    /// The batches in the outbox, with their folder, without the batches that are set aside.
    pub(crate) fn stored(&self) -> BTreeSet<String> {
        self.scene.held()
    }

    /// The entries of failed-dir, hidden ones excluded.
    pub(crate) fn failed(&self) -> BTreeSet<String> {
        visible(&self.scene.path().join("failed"))
    }

    /// Whether a snapshot is in the spool.
    pub(crate) fn waits(&self) -> bool {
        !self.scene.waiting().is_empty()
    }

    pub(crate) fn wait_until_stored(&self, count: usize) {
        wait_until(&format!("{count} stored batches and an empty spool"), || {
            self.stored().len() == count && self.scene.waiting().is_empty()
        });
    }

    pub(crate) fn wait_until_drained(&self) {
        wait_until("an empty spool and an empty outbox", || {
            self.scene.waiting().is_empty() && self.stored().is_empty()
        });
    }

    /// The newest value of a metric about the program itself.
    pub(crate) fn own(&self, metric: &str) -> Option<u64> {
        let path = format!("e2e.haproxy.haproxystats.{metric} ");
        let lines = self.sink.lines();
        let line = lines.iter().rev().find(|line| line.starts_with(&path))?;
        line.split(' ').nth(1)?.parse().ok()
    }

    /// Waits until a metric about the program itself has this value. Needs a short
    /// liveness-check-interval.
    pub(crate) fn wait_for_own(&self, metric: &str, value: u64) {
        wait_until(&format!("{metric} {value}"), || self.own(metric) == Some(value));
    }
}

fn defaults(options: &[(&str, &str)], replaced: &str) -> String {
    let set = |name: &str| replaced.lines().any(|line| line.starts_with(&format!("{name} =")));
    let kept = options.iter().filter(|(name, _)| !set(name));
    kept.map(|(name, value)| format!("{name} = {value}\n")).collect()
}
