//! The history of each endpoint over the cycles: whether it has answered as its kind does, and
//! whether it takes several requests on one connection.

use std::collections::{HashMap, HashSet};

use config::Address;
use sources::{Memory, Pipelining};
use tracing::{info, warn};

use crate::endpoint::{Endpoint, Identity};
use crate::failure::{Failure, OtherKind};
use crate::journal::Journal;

/// Endpoints that have answered and are remembered; beyond that only those that are present.
const ANSWERED_MAX: usize = 4096;

/// Cycles after which a socket of another kind is asked again. Each request is a bad request to its
/// program, which counts and logs it.
const OTHER_KIND_CYCLES: u64 = 30;

/// Cycles in a row in which a socket that never answered and closes without a byte counts as
/// missing.
const SILENT_CYCLES_MAX: u32 = 3;

/// The history of all endpoints.
#[derive(Debug)]
pub(crate) struct History {
    journal: Journal,
    /// Endpoints that took one request at a time in the last cycle. A failure removes them, because
    /// another version may run when they are back.
    single: HashSet<Address>,
    answered: HashSet<Address>,
    /// The number of cycles in a row in which a socket that never answered closed without a byte.
    silent_cycles: HashMap<Address, u32>,
    /// Sockets whose answers showed another kind, and the number of the cycle that asks again.
    other_kinds: HashMap<Address, (Identity, u64)>,
    /// What the next dialogue needs of the last one.
    memories: HashMap<Address, Memory>,
}

/// How an endpoint without an answer counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// As an endpoint that the snapshot lacks; without `allow-partial` no snapshot is published.
    Missing,
    /// As a socket of another kind. `is_sure` is false in its first cycles without an answer.
    OtherKind { is_sure: bool },
}

impl History {
    pub(crate) fn new(journal: Journal) -> Self {
        Self {
            journal,
            single: HashSet::new(),
            answered: HashSet::new(),
            silent_cycles: HashMap::new(),
            other_kinds: HashMap::new(),
            memories: HashMap::new(),
        }
    }

    /// Forgets endpoints that are not present. Endpoints that have answered are kept up to a bound,
    /// because they may come back.
    pub(crate) fn forget_absent_endpoints(&mut self, present: &HashSet<&Address>) {
        self.single.retain(|address| present.contains(address));
        self.other_kinds.retain(|address, _| present.contains(address));
        self.memories.retain(|address, _| present.contains(address));
        self.silent_cycles.retain(|address, _| present.contains(address));
        if self.answered.len() > ANSWERED_MAX {
            self.answered.retain(|address| present.contains(address));
        }
    }

    /// How to ask this endpoint.
    pub(crate) fn pipelining(&self, endpoint: &Endpoint) -> Pipelining {
        if self.single.contains(&endpoint.address) { Pipelining::Off } else { Pipelining::On }
    }

    /// The memory of the last dialogue with this endpoint.
    pub(crate) fn memory(&self, endpoint: &Endpoint) -> Memory {
        self.memories.get(&endpoint.address).cloned().unwrap_or_default()
    }

    /// Keeps the memory of a dialogue with this endpoint.
    pub(crate) fn set_memory(&mut self, endpoint: &Endpoint, memory: Memory) {
        if memory != Memory::None {
            self.memories.insert(endpoint.address.clone(), memory);
        }
    }

    /// Whether an answer of the same socket has shown another kind, and it is not asked again yet.
    pub(crate) fn is_of_another_kind(&self, endpoint: &Endpoint, cycle: u64) -> bool {
        match self.other_kinds.get(&endpoint.address) {
            Some((identity, ask_again)) => {
                endpoint.identity == Some(*identity) && cycle < *ask_again
            }
            None => false,
        }
    }

    /// Adds whole answers of an endpoint.
    pub(crate) fn add_answer(&mut self, endpoint: Endpoint, pipelining: Pipelining) {
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
        self.silent_cycles.remove(&endpoint.address);
        self.answered.insert(endpoint.address);
    }

    /// Adds and logs the result of a master CLI.
    pub(crate) fn add_of_master(&mut self, endpoint: &Endpoint, failure: Option<&Failure>) {
        match failure {
            Some(failure) => {
                let line = self.journal.endpoint_begins(&endpoint.to_string(), &failure.state());
                if line.is_due() {
                    warn!(%endpoint, reason = %failure, "no answer{}", line.note());
                }
            }
            None => {
                let line = self.journal.endpoint_ends(&endpoint.to_string());
                if line.is_due() {
                    info!(%endpoint, "answers again{}", line.note());
                }
            }
        }
    }

    /// Adds and logs a failure of an endpoint, and decides how the endpoint counts.
    pub(crate) fn add_failure(
        &mut self,
        endpoint: &Endpoint,
        failure: &Failure,
        cycle: u64,
    ) -> Verdict {
        self.single.remove(&endpoint.address);
        let has_answered = self.answered.contains(&endpoint.address);
        let other = failure.other_kind(has_answered);
        if let (Some(OtherKind { why, is_certain }), Some(identity)) = (other, endpoint.identity) {
            let is_sure = if is_certain {
                let ask_again = cycle + OTHER_KIND_CYCLES;
                self.other_kinds.insert(endpoint.address.clone(), (identity, ask_again));
                true
            } else {
                let cycles = self.silent_cycles.entry(endpoint.address.clone()).or_default();
                *cycles = cycles.saturating_add(1);
                *cycles > SILENT_CYCLES_MAX
            };
            let line = self.journal.endpoint_begins(&endpoint.to_string(), why);
            if line.is_due() {
                warn!(socket = %endpoint, why, "{}{}", endpoint.source.left_out(), line.note());
            }
            return Verdict::OtherKind { is_sure };
        }
        let line = self.journal.endpoint_begins(&endpoint.to_string(), &failure.state());
        if line.is_due() {
            warn!(%endpoint, reason = %failure, "no answer{}", line.note());
        }
        if failure.shows_this_kind() {
            self.answered.insert(endpoint.address.clone());
        }
        Verdict::Missing
    }
}
