//! What was published, what each receiver got, what was counted: the ledger by which a run is
//! judged.

use std::collections::{BTreeMap, BTreeSet};

/// A published snapshot, by a number that only the world knows.
pub(crate) type Uid = u64;

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Every published snapshot with its second.
    pub(crate) published: BTreeMap<Uid, u64>,
    /// In failed-dir, or taken away by hand.
    pub(crate) gone: BTreeSet<Uid>,
    /// What each receiver got, in order, each time.
    pub(crate) delivered: Vec<Vec<Uid>>,
    /// Points that the core counted as dropped, over all its lives. A snapshot is one point.
    pub(crate) counted: Vec<u64>,
    /// Fold children that really crashed, were killed and could not read, by snapshot.
    pub(crate) crashes: BTreeMap<Uid, u32>,
    pub(crate) kills: BTreeMap<Uid, u32>,
    pub(crate) unreadable: BTreeMap<Uid, u32>,
    /// Every snapshot that was begun to be folded, in order, each time.
    pub(crate) folded: Vec<Uid>,
    /// Batches that crash each send child, and send children that crashed over a single batch.
    pub(crate) poison: BTreeSet<Uid>,
    /// Batches that each receiver rejects, and how often they were.
    pub(crate) rejected: BTreeMap<Uid, u32>,
    /// How many origins the snapshots have in turn.
    pub(crate) origins: u64,
    pub(crate) sender_crashes: BTreeMap<Uid, u32>,
    /// Seconds whose order could not be kept.
    pub(crate) excused: BTreeSet<u64>,
    /// A rule that was broken on the way.
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
                .filter(|uid| !got.contains(uid) && !self.gone.contains(uid))
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

    /// Of one second, what was published first is delivered first.
    fn order(&self, receiver: usize, delivered: &[Uid]) -> Result<(), String> {
        let mut last: BTreeMap<(u64, u64), Uid> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for uid in delivered {
            let Some(second) = self.published.get(uid) else {
                return Err(format!("receiver {receiver} got {uid}, which nobody published"));
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
