//! The master CLIs of HAProxy, and which of their workers to ask when.
//!
//! A master has ten places for clients and keeps the place of a client that gave up on a worker
//! that hangs. So there is one connection to a master at a time, a worker that gave no answer is
//! asked again after a pause only, and after three lost requests not until its entry in the list
//! changes. Current workers come first; old ones have their turns within a share of the cycle, and
//! in between the snapshots have their last answers. This module decides; `round` asks.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use config::{Address, Pull};
use sources::haproxy::master::{Process, Worker, Workers};
use tokio::time::Instant;
use tracing::info;

use crate::endpoint::{Endpoint, Identity};

pub(crate) mod round;

/// Old workers that are asked in one cycle at most.
pub(crate) const OLD_WORKERS_PER_CYCLE: usize = 50;

/// Workers of a master that are known at most; HAProxy's list has room for some hundreds.
const WORKERS_MAX: usize = 1_000;

/// Masters that are known, above which those that are not present are forgotten.
const ABSENT_MAX: usize = 64;

/// Lost requests after which a worker is not asked again until its entry changes.
const LOSSES_MAX: u32 = 3;

/// Lost requests of all workers of a master after which only workers without one are asked. Each
/// can hold one of the master's ten places.
const LOSSES_OF_MASTER_MAX: u32 = 6;

/// The pause after the first lost request; each further one makes it four times as long.
const PAUSE: Duration = Duration::from_secs(30);

/// Seconds by which the start of a worker, calculated from its uptime, can differ.
const START_DIFFERENCE_MAX: u64 = 5;

/// All masters, and the processes that answer on their own sockets.
#[derive(Debug, Default)]
pub(crate) struct Masters {
    by_address: HashMap<Address, Master>,
    /// Processes that answered on a stats socket in the last cycle.
    direct: Arc<HashSet<Process>>,
    /// Those of this cycle so far, each with its endpoint.
    direct_now: HashMap<Process, String>,
}

/// One master.
#[derive(Debug, Default)]
pub(crate) struct Master {
    /// The socket, if it was found in `socket-dir`.
    identity: Option<Identity>,
    /// Whether it has listed its workers before.
    has_answered: bool,
    /// Whether the configuration names it.
    is_named: bool,
    /// Whether it had a current worker in the last cycle that no stats socket reaches.
    is_only_way: bool,
    workers: BTreeMap<u32, Known>,
    /// Workers of an earlier master on this socket whose answers are kept.
    left: Vec<u32>,
}

/// A worker of a master.
#[derive(Debug, Default)]
struct Known {
    reloads: Option<u64>,
    /// The second of its start by the clock of the cycles, from its uptime.
    started: Option<u64>,
    is_old: bool,
    /// Whether it is in the current list, which can be cut.
    is_listed: bool,
    losses: u32,
    /// The time of the next request after a lost one.
    ask_at: Duration,
    /// The cycle of the last request.
    asked_in: u64,
    process: Option<Process>,
    kept: bool,
}

/// The rules for one cycle.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    pub(crate) old_workers: bool,
    pub(crate) servers: bool,
    pub(crate) cycle: u64,
    /// The time since any fixed moment.
    pub(crate) now: Duration,
    /// Workers that the snapshot has room for.
    pub(crate) room: usize,
    pub(crate) start: Instant,
    /// The limit of the cycle, or the time until the next one.
    pub(crate) span: Duration,
}

/// The requests of a cycle, in order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) current: Vec<u32>,
    pub(crate) old: Vec<u32>,
    /// Current workers that answer on their own sockets, and are not asked here.
    pub(crate) direct: usize,
    /// Current workers that are not asked because they have lost requests.
    pub(crate) given_up: Vec<u32>,
}

impl Rules {
    pub(crate) fn new(config: &Pull, start: Instant, cycle: u64, now: Duration) -> Self {
        Self {
            old_workers: config.old_workers,
            servers: true,
            cycle,
            now,
            room: WORKERS_MAX,
            start,
            span: config.pull_timeout.unwrap_or(config.pull_interval),
        }
    }
}

impl Masters {
    /// Whether this socket of `socket-dir` is a master that is asked for its workers.
    pub(crate) fn knows(&self, endpoint: &Endpoint) -> bool {
        let master = self.by_address.get(&endpoint.address);
        master
            .is_some_and(|master| master.identity.is_some() && master.identity == endpoint.identity)
    }

    /// Forgets masters that are not present. Those with kept answers stay, up to a bound, because
    /// the next master of that name removes them.
    pub(crate) fn forget_absent(&mut self, present: &HashSet<&Address>) {
        let is_small = self.by_address.len() <= ABSENT_MAX;
        self.by_address.retain(|address, master| {
            present.contains(address) || is_small && master.workers.values().any(|it| it.kept)
        });
    }

    /// Takes the state of a master for one cycle.
    pub(crate) fn take(&mut self, endpoint: &Endpoint) -> Master {
        let master = self.by_address.remove(&endpoint.address).unwrap_or_default();
        let master = if master.identity == endpoint.identity {
            master
        } else {
            let left = master.workers.iter().filter(|(_, known)| known.kept);
            let left = left.map(|(pid, _)| *pid).collect();
            Master { left, ..Master::default() }
        };
        let is_named = endpoint.identity.is_none();
        Master { identity: endpoint.identity, is_named, ..master }
    }

    pub(crate) fn put_back(&mut self, endpoint: &Endpoint, master: Master) {
        self.by_address.insert(endpoint.address.clone(), master);
    }

    pub(crate) fn len(&self) -> usize {
        self.by_address.len()
    }

    /// Logs that a socket of `socket-dir` is a master, once for each HAProxy.
    pub(crate) fn log_found(&mut self, endpoint: &Endpoint, is_new: bool) {
        if is_new && endpoint.identity.is_some() {
            info!(socket = %endpoint, "the master CLI of HAProxy: its workers are asked");
        }
    }

    /// Adds a process that has answered on its own socket.
    pub(crate) fn add_direct(&mut self, endpoint: String, info: &[u8]) {
        if let Some(process) = Process::of(info) {
            self.direct_now.insert(process, endpoint);
        }
    }

    /// The endpoints of this cycle whose processes are old workers: they have answered just before
    /// a reload.
    pub(crate) fn old_direct(&self) -> HashSet<String> {
        let workers = self.by_address.values().flat_map(|master| master.workers.values());
        let old = workers.filter(|known| known.is_old).filter_map(|known| known.process.as_ref());
        old.filter_map(|process| self.direct_now.get(process)).cloned().collect()
    }

    /// Begins a cycle, and returns the processes that answered on their own sockets in the last
    /// one.
    pub(crate) fn begin_cycle(&mut self) -> Arc<HashSet<Process>> {
        self.direct = Arc::new(std::mem::take(&mut self.direct_now).into_keys().collect());
        Arc::clone(&self.direct)
    }
}

impl Master {
    pub(crate) const fn has_answered(&self) -> bool {
        self.has_answered
    }

    /// Whether a snapshot without its current workers would lack processes. A master in
    /// `socket-dir` whose workers have stats sockets must not cost the snapshots of these.
    pub(crate) const fn is_needed(&self) -> bool {
        self.is_named || self.is_only_way
    }

    /// Takes a list, and returns the workers that have ended.
    pub(crate) fn update(&mut self, list: &Workers, now: Duration) -> Vec<u32> {
        self.has_answered = true;
        for known in self.workers.values_mut() {
            known.is_listed = false;
        }
        for (workers, is_old) in [(&list.current, false), (&list.old, true)] {
            for worker in workers {
                if self.workers.len() < WORKERS_MAX || self.workers.contains_key(&worker.pid) {
                    self.add(*worker, is_old, now);
                }
            }
        }
        let mut ended = std::mem::take(&mut self.left);
        ended.retain(|pid| !self.workers.contains_key(pid));
        if list.is_cut {
            return ended;
        }
        let unlisted = self.workers.iter().filter(|(_, known)| !known.is_listed);
        ended.extend(unlisted.map(|(pid, _)| *pid));
        self.workers.retain(|_, known| known.is_listed);
        ended
    }

    fn add(&mut self, worker: Worker, is_old: bool, now: Duration) {
        let started = worker.uptime.map(|uptime| now.as_secs().saturating_sub(uptime));
        let known = self.workers.entry(worker.pid).or_default();
        let is_same_start = match (known.started, started) {
            (Some(before), Some(now)) => before.abs_diff(now) <= START_DIFFERENCE_MAX,
            (before, now) => before.is_none() && now.is_none(),
        };
        if !is_same_start {
            // Another process has this number now, or this is a new one.
            *known = Known { started, ..Known::default() };
        }
        if known.reloads != worker.reloads || known.is_old != is_old {
            known.losses = 0;
            known.ask_at = Duration::ZERO;
        }
        known.reloads = worker.reloads;
        known.is_old = is_old;
        known.is_listed = true;
    }

    /// The workers to ask in this cycle.
    pub(crate) fn plan(&self, rules: &Rules, direct: &HashSet<Process>) -> Plan {
        let lost: u32 = self.workers.values().map(|known| known.losses).sum();
        let may_ask = |known: &Known| {
            known.losses == 0
                || known.losses < LOSSES_MAX
                    && lost < LOSSES_OF_MASTER_MAX
                    && known.ask_at <= rules.now
        };
        let mut plan = Plan::default();
        let mut old = Vec::new();
        for (pid, known) in &self.workers {
            if known.is_old {
                if rules.old_workers && may_ask(known) {
                    old.push((known.asked_in, *pid));
                }
            } else if known.process.as_ref().is_some_and(|process| direct.contains(process)) {
                plan.direct += 1;
            } else if may_ask(known) {
                plan.current.push(*pid);
            } else {
                plan.given_up.push(*pid);
            }
        }
        plan.current.truncate(rules.room);
        old.sort_unstable();
        old.truncate(OLD_WORKERS_PER_CYCLE.min(rules.room - plan.current.len()));
        plan.old = old.into_iter().map(|(_, pid)| pid).collect();
        plan
    }

    /// Whether all old workers can be asked in one cycle.
    pub(crate) fn has_turns(&self) -> bool {
        self.old().len() > OLD_WORKERS_PER_CYCLE
    }

    /// The old workers.
    pub(crate) fn old(&self) -> BTreeSet<u32> {
        self.workers.iter().filter(|(_, known)| known.is_old).map(|(pid, _)| *pid).collect()
    }

    /// The old workers whose last answers are kept.
    pub(crate) fn kept(&self) -> BTreeSet<u32> {
        let kept = self.workers.iter().filter(|(_, known)| known.is_old && known.kept);
        kept.map(|(pid, _)| *pid).collect()
    }

    pub(crate) fn is_listed(&self, pid: u32) -> bool {
        self.workers.get(&pid).is_some_and(|known| known.is_listed)
    }

    pub(crate) fn answered(&mut self, pid: u32, cycle: u64, info: &[u8]) {
        if let Some(known) = self.workers.get_mut(&pid) {
            known.losses = 0;
            known.ask_at = Duration::ZERO;
            known.asked_in = cycle;
            known.process = Process::of(info);
        }
    }

    /// Adds a lost request.
    pub(crate) fn lost(&mut self, pid: u32, cycle: u64, now: Duration) {
        if let Some(known) = self.workers.get_mut(&pid) {
            let pause = PAUSE * 4_u32.saturating_pow(known.losses);
            known.losses += 1;
            known.asked_in = cycle;
            known.ask_at = now + pause;
        }
    }

    /// A worker that has ended.
    pub(crate) fn ended(&mut self, pid: u32) {
        self.workers.remove(&pid);
    }

    pub(crate) fn set_kept(&mut self, pid: u32, kept: bool) {
        if let Some(known) = self.workers.get_mut(&pid) {
            known.kept = kept;
        }
    }

    /// Ends a cycle with this plan.
    pub(crate) fn end(&mut self, plan: &Plan) {
        self.is_only_way = !plan.current.is_empty() || !plan.given_up.is_empty();
    }
}

#[cfg(test)]
mod tests;
