//! The ledger that judges a run: snapshots that were published, delivered and counted.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// The number of a published snapshot, which only the world knows.
pub(crate) type Uid = u64;

/// How often receivers refused a batch.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Rejections {
    /// All refusals, doubtful ones among them.
    pub(crate) all: u32,
    /// Refusals that say that the batch is the cause.
    pub(crate) clear: u32,
    /// When the first was.
    pub(crate) since: Option<Instant>,
}

/// How long refusals that are all doubtful must last until they cost a batch.
const DOUBT_MIN_AGE: Duration = Duration::from_secs(3600);

impl Rejections {
    /// Whether the batch may be set aside.
    pub(crate) fn suffice(&self, least: u32, now: Instant) -> bool {
        let is_old = self.since.is_some_and(|since| now - since >= DOUBT_MIN_AGE);
        self.all >= least && (self.clear > 0 || is_old)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Every published snapshot with its second.
    pub(crate) published: BTreeMap<Uid, u64>,
    /// Snapshots that were moved to failed-dir or removed from outside.
    pub(crate) removed: BTreeSet<Uid>,
    /// Every delivery to each receiver, in order.
    pub(crate) delivered: Vec<Vec<Uid>>,
    /// Points that the core counted as dropped, in all lives of the parent. A snapshot has one.
    pub(crate) counted: Vec<u64>,
    /// By snapshot: fold children that crashed, that were killed, and that could not read it.
    pub(crate) crashes: BTreeMap<Uid, u32>,
    pub(crate) kills: BTreeMap<Uid, u32>,
    pub(crate) unreadable: BTreeMap<Uid, u32>,
    /// Every fold that began, in order.
    pub(crate) folded: Vec<Uid>,
    /// Batches that crash each send child, and for each the crashes while it was alone in flight.
    pub(crate) poison: BTreeSet<Uid>,
    /// Batches that each receiver rejects.
    pub(crate) rejected: BTreeMap<Uid, Rejections>,
    /// Batches whose files in the outbox are damaged.
    pub(crate) damaged: BTreeSet<Uid>,
    /// The number of origins, which the snapshots have in turn.
    pub(crate) origins: u64,
    pub(crate) sender_crashes: BTreeMap<Uid, u32>,
    /// Seconds whose order need not be kept.
    pub(crate) excused: BTreeSet<u64>,
    /// The first rule that was broken during the run.
    pub(crate) broken: Option<String>,
}

impl Ledger {
    pub(crate) fn new(receivers: usize, origins: u64) -> Self {
        Self {
            origins,
            delivered: vec![Vec::new(); receivers],
            counted: vec![0; receivers],
            ..Self::default()
        }
    }

    pub(crate) fn break_rule(&mut self, rule: impl FnOnce() -> String) {
        if self.broken.is_none() {
            self.broken = Some(rule());
        }
    }

    /// Whether nothing was lost uncounted and no second was sent out of order.
    pub(crate) fn verdict(&self) -> Result<(), String> {
        if let Some(rule) = &self.broken {
            return Err(rule.clone());
        }
        for (receiver, delivered) in self.delivered.iter().enumerate() {
            let got: BTreeSet<Uid> = delivered.iter().copied().collect();
            let missing: Vec<Uid> = self
                .published
                .keys()
                .filter(|uid| !got.contains(uid) && !self.removed.contains(uid))
                .copied()
                .collect();
            let counted = self.counted.get(receiver).copied().unwrap_or_default();
            if missing.len() as u64 > counted {
                return Err(format!(
                    "receiver {receiver} lacks {missing:?}, and only {counted} were counted"
                ));
            }
            self.order(receiver, delivered)?;
        }
        Ok(())
    }

    /// Whether the snapshots of one second were first delivered in the order of publication.
    fn order(&self, receiver: usize, delivered: &[Uid]) -> Result<(), String> {
        let mut last: BTreeMap<(u64, u64), Uid> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for uid in delivered {
            let Some(second) = self.published.get(uid) else {
                return Err(format!("receiver {receiver} got {uid}, which was not published"));
            };
            if !seen.insert(*uid) {
                continue;
            }
            let before = last.insert((*second, uid % self.origins), *uid);
            if let Some(before) = before
                && before > *uid
                && !self.excused.contains(second)
            {
                return Err(format!("receiver {receiver} got {before} before {uid}: one second"));
            }
        }
        Ok(())
    }
}
