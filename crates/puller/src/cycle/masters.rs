//! The masters within a cycle: each is a task beside those of the endpoints.
//!
//! A socket of `socket-dir` shows by its refusal that it is a master, and is asked for its workers
//! in the same cycle.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use config::Address;
use sources::haproxy::master::Process;
use spool::writer::KeptAnswers;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Cycles;
use crate::client::{Answers, Client};
use crate::disk::DiskGuard;
use crate::endpoint::{ENDPOINTS_MAX, Endpoint};
use crate::failure::Failure;
use crate::history::Verdict;
use crate::masters::Rules;
use crate::masters::round::{Asker, Round};
use crate::responses::Responses;

/// A task of a cycle that has ended.
pub(super) enum Done {
    Endpoint(Endpoint, Result<Answers, Failure>),
    Master(Round),
}

/// The data that all masters of one cycle share.
pub(super) struct MasterCycle {
    client: Arc<Client>,
    kept: Arc<DiskGuard<KeptAnswers>>,
    rules: Rules,
    direct: Arc<HashSet<Process>>,
    /// The answers that have shown new masters in `socket-dir`.
    refusals: HashMap<Address, Failure>,
}

impl MasterCycle {
    /// Adds an answer that has shown a new master.
    pub(super) fn add_refusal(&mut self, endpoint: &Endpoint, refusal: Failure) {
        self.refusals.insert(endpoint.address.clone(), refusal);
    }
}

impl Cycles {
    /// Begins the masters of a cycle, for numbers of endpoints and of masters among them.
    pub(super) fn begin_masters(
        &mut self,
        client: &Arc<Client>,
        start: Instant,
        (endpoints, masters): (usize, usize),
    ) -> MasterCycle {
        MasterCycle {
            rules: self.rules(start, endpoints, masters),
            direct: self.masters.begin_cycle(),
            kept: Arc::clone(&self.kept),
            client: Arc::clone(client),
            refusals: HashMap::new(),
        }
    }

    /// What holds for the masters of a cycle. The snapshot must have room for the files of all
    /// workers.
    fn rules(&self, start: Instant, endpoints: usize, masters: usize) -> Rules {
        let now = (self.machine.clock.monotonic)().saturating_duration_since(self.begun);
        let rules = Rules::new(&self.config, start, self.facts.cycles, now);
        let room = ENDPOINTS_MAX.saturating_sub(endpoints) / (masters + self.masters.len() + 1);
        let servers = !self.facts.without_servers;
        Rules { servers, room: rules.room.min(room), ..rules }
    }

    pub(super) fn ask_master(
        &mut self,
        master: Endpoint,
        round: &MasterCycle,
        to: &mut JoinSet<Done>,
    ) {
        let asker = Asker {
            client: Arc::clone(&round.client),
            kept: Arc::clone(&round.kept),
            rules: round.rules.clone(),
            direct: Arc::clone(&round.direct),
        };
        let state = self.masters.take(&master);
        to.spawn(async move { Done::Master(asker.run(master, state).await) });
    }

    /// Adds the answers of a master's workers. A socket that refuses commands as a master does, and
    /// does not list its workers, is left out like a socket of another kind.
    pub(super) fn end_master(
        &mut self,
        done: Round,
        round: &mut MasterCycle,
        responses: &mut Responses,
    ) {
        let Round { endpoint, master, result, found } = done;
        let refusal = round.refusals.remove(&endpoint.address);
        let is_new = refusal.is_some();
        if let (Some(refusal), false) = (refusal, master.has_answered()) {
            let verdict = self.history.add_failure(&endpoint, &refusal, self.facts.cycles);
            responses.add_failure(&endpoint, &refusal, verdict);
            return;
        }
        let is_needed = master.is_needed() && !self.config.allow_partial;
        responses.set_needed(&endpoint, is_needed);
        self.masters.log_found(&endpoint, is_new);
        responses.add_workers(&endpoint, found, result.is_ok());
        self.history.add_of_master(&endpoint, result.as_ref().err());
        if let Err(failure) = result {
            responses.add_failure(&endpoint, &failure, Verdict::Missing);
        }
        self.masters.put_back(&endpoint, master);
    }
}
