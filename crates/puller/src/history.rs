//! What earlier cycles have shown of each endpoint: whether it answers as its kind does, and
//! whether it takes several requests on one connection.

use std::collections::{HashMap, HashSet};

use config::Address;
use sources::Pipelining;
use tracing::{info, warn};

use crate::endpoint::{Endpoint, Identity};
use crate::failure::{Failure, OtherKind};
use crate::journal::Journal;

/// Endpoints that are remembered although they are gone.
const KNOWN_MAX: usize = 4096;

/// Cycles after which a socket of another kind is asked again. Each time costs its program a bad
/// request, which it counts and logs.
const OTHERS_CYCLES: u64 = 30;

/// Cycles in a row in which a socket that never answered may close without a byte before it no
/// longer counts as missing.
const SILENT_CYCLES_MAX: u32 = 3;

/// What earlier cycles have shown.
#[derive(Debug)]
pub(crate) struct History {
    journal: Journal,
    /// Endpoints that took one request at a time in the last cycle. Forgotten when they fail,
    /// because another version may run when they are back.
    single: HashSet<Address>,
    /// Endpoints that have answered.
    known: HashSet<Address>,
    /// How many cycles in a row a socket that never answered has closed without a byte.
    silent: HashMap<Address, u32>,
    /// Sockets whose answers showed another kind, and the number of the cycle that asks again.
    others: HashMap<Address, (Identity, u64)>,
}

/// What an endpoint without an answer counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// An endpoint that is missing: the snapshot is without it, or is not published.
    Missing,
    /// A socket of another kind; for sure, or as far as its first cycles show.
    LeftOut { is_sure: bool },
}

impl History {
    pub(crate) fn new(journal: Journal) -> Self {
        Self {
            journal,
            single: HashSet::new(),
            known: HashSet::new(),
            silent: HashMap::new(),
            others: HashMap::new(),
        }
    }

    /// Forgets endpoints that are not there. Those that have answered may come back, so they are
    /// kept up to a bound.
    pub(crate) fn forget_others(&mut self, there: &HashSet<&Address>) {
        self.single.retain(|address| there.contains(address));
        self.others.retain(|address, _| there.contains(address));
        self.silent.retain(|address, _| there.contains(address));
        if self.known.len() > KNOWN_MAX {
            self.known.retain(|address| there.contains(address));
        }
    }

    /// How to ask this endpoint.
    pub(crate) fn pipelining(&self, endpoint: &Endpoint) -> Pipelining {
        if self.single.contains(&endpoint.address) { Pipelining::Off } else { Pipelining::On }
    }

    /// Whether the answer of the same socket showed so in one of the last cycles.
    pub(crate) fn is_of_another_kind(&self, endpoint: &Endpoint, cycle: u64) -> bool {
        self.others.get(&endpoint.address).is_some_and(|(identity, ask_again)| {
            endpoint.identity == Some(*identity) && cycle < *ask_again
        })
    }

    /// All its answers are whole.
    pub(crate) fn has_answered(&mut self, endpoint: Endpoint, pipelining: Pipelining) {
        let line = self.journal.endpoint_ends(&endpoint.to_string());
        if line.is_due() {
            info!(%endpoint, "answers again{}", line.note());
        }
        if pipelining == Pipelining::Off {
            self.single.insert(endpoint.address.clone());
        } else {
            let line = self.journal.ends(&format!("single {endpoint}"));
            if line.is_due() {
                info!(%endpoint, "takes both commands at a time again{}", line.note());
            }
        }
        self.silent.remove(&endpoint.address);
        self.known.insert(endpoint.address);
    }

    /// Says what an endpoint counts as that gave no answer.
    pub(crate) fn judge(&mut self, endpoint: &Endpoint, failure: &Failure, cycle: u64) -> Verdict {
        self.single.remove(&endpoint.address);
        let has_answered = self.known.contains(&endpoint.address);
        let other = failure.other_kind(has_answered);
        if let (Some(OtherKind { why, is_certain }), Some(identity)) = (other, endpoint.identity) {
            let is_sure = if is_certain {
                let ask_again = cycle + OTHERS_CYCLES;
                self.others.insert(endpoint.address.clone(), (identity, ask_again));
                true
            } else {
                let cycles = self.silent.entry(endpoint.address.clone()).or_default();
                *cycles = cycles.saturating_add(1);
                *cycles > SILENT_CYCLES_MAX
            };
            let line = self.journal.endpoint_begins(&endpoint.to_string(), why);
            if line.is_due() {
                warn!(socket = %endpoint, why, "{}{}", endpoint.source.left_out(), line.note());
            }
            return Verdict::LeftOut { is_sure };
        }
        let line = self.journal.endpoint_begins(&endpoint.to_string(), &failure.state());
        if line.is_due() {
            warn!(%endpoint, reason = %failure, "no answer{}", line.note());
        }
        if failure.shows_this_kind() {
            self.known.insert(endpoint.address.clone());
        }
        Verdict::Missing
    }
}
