//! One cycle of a master: its list, then its workers one after the other.
//!
//! A request that a worker does not answer in its share of the cycle is given up. A worker that a
//! second list lacks has ended, which is no failure.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use sources::haproxy::ask::SUFFIXES;
use sources::haproxy::master::{self, LIST, LIST_MAX_BYTES, Process, Workers};
use sources::{Fault, Memory, Pipelining, Scope};
use spool::manifest::{AnswerFile, Generation};
use spool::writer::{KeptAnswers, StagedFiles};
use tokio::time::{Instant, timeout};
use tracing::{info, warn};

use super::{Master, Rules};
use crate::client::{Answers, Client};
use crate::disk::DiskGuard;
use crate::endpoint::Endpoint;
use crate::failure::Failure;
use crate::journal::DiskTask;
use crate::transfer::Destination;

/// The limit of a list. No worker can delay it: the master answers by itself.
const LIST_LIMIT: Duration = Duration::from_secs(2);

/// After which part of the cycle a request to a worker is given up, and in which part old workers
/// are asked: one of so many.
const CURRENT_PARTS: u32 = 2;
const OLD_PARTS: u32 = 4;
const ALL_OLD_PARTS: u32 = 2;

/// Asks one master in one cycle.
#[derive(Debug)]
pub(crate) struct Asker {
    pub(crate) client: Arc<Client>,
    pub(crate) kept: Arc<DiskGuard<KeptAnswers>>,
    pub(crate) rules: Rules,
    pub(crate) direct: Arc<HashSet<Process>>,
}

/// The result of a cycle of one master.
#[derive(Debug)]
pub(crate) struct Round {
    pub(crate) endpoint: Endpoint,
    pub(crate) master: Master,
    /// The failure of the master, or of a current worker.
    pub(crate) result: Result<(), Failure>,
    pub(crate) found: Found,
}

/// The answers of workers.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) files: Vec<AnswerFile>,
    pub(crate) bytes: u64,
    pub(crate) workers: u64,
    pub(crate) old: u64,
    /// Old workers with the answers of an earlier cycle.
    pub(crate) kept: u64,
}

impl Asker {
    pub(crate) async fn run(self, endpoint: Endpoint, mut master: Master) -> Round {
        let mut found = Found::default();
        let result = self.ask(&endpoint, &mut master, &mut found).await;
        Round { endpoint, master, result, found }
    }

    async fn ask(
        &self,
        endpoint: &Endpoint,
        master: &mut Master,
        found: &mut Found,
    ) -> Result<(), Failure> {
        let list = list(&self.client, endpoint).await?;
        let ended = master.update(&list, self.rules.now);
        self.forget(endpoint, &ended).await;
        let plan = master.plan(&self.rules, &self.direct);
        let mut failures = BTreeMap::new();
        for pid in &plan.current {
            let limit = self.rules.span / CURRENT_PARTS;
            match self.worker(endpoint, *pid, self.rules.servers, limit).await {
                Ok(answers) => {
                    master.answered(*pid, self.rules.cycle, &answers.head);
                    found.add(endpoint, *pid, Generation::Current, answers);
                }
                Err(failure) => _ = failures.insert(*pid, failure),
            }
        }
        // Where old workers take turns, their last answers must serve cycles with servers too.
        let servers = self.rules.servers || master.has_turns();
        let end = self.rules.start + self.rules.span / ALL_OLD_PARTS;
        let mut fresh = BTreeSet::new();
        for (turn, pid) in plan.old.iter().enumerate() {
            // One is asked at least, or current workers that are slow would stop the turns.
            if turn > 0 && Instant::now() >= end || self.client.limits.are_over() {
                break;
            }
            match self.worker(endpoint, *pid, servers, self.rules.span / OLD_PARTS).await {
                Ok(answers) => {
                    fresh.insert(*pid);
                    master.answered(*pid, self.rules.cycle, &answers.head);
                    self.keep(endpoint, *pid, master).await;
                    found.add(endpoint, *pid, Generation::Old, answers);
                }
                Err(failure) => _ = failures.insert(*pid, failure),
            }
        }
        let failure = self.judge(endpoint, master, failures).await;
        if self.rules.old_workers {
            self.restore(endpoint, master, &fresh, found).await;
        }
        master.end(&plan);
        match (failure, plan.given_up.first()) {
            (Some(failure), _) => Err(failure),
            (None, Some(pid)) => {
                Err(Failure::WorkerGivenUp { worker: of_worker(endpoint, *pid).to_string() })
            }
            (None, None) => Ok(()),
        }
    }

    /// Asks one worker within a limit.
    async fn worker(
        &self,
        endpoint: &Endpoint,
        pid: u32,
        servers: bool,
        limit: Duration,
    ) -> Result<Answers, Failure> {
        if self.client.limits.are_over() {
            return Err(Failure::NoTurn);
        }
        let worker = of_worker(endpoint, pid);
        let scope = Scope { worker: Some(pid), servers };
        let asked = self.client.ask(&worker, Pipelining::Off, Memory::None, scope);
        let answers = timeout(limit, asked).await;
        let answers = answers.map_err(|_| Failure::WorkerTimeout { limit })??;
        let line = self.client.journal.ends(&key(&worker));
        if line.is_due() {
            info!(%worker, "the worker answers again{}", line.note());
        }
        Ok(answers)
    }

    /// Tells workers that have ended from those that gave no answer. Returns the failure of a
    /// current worker.
    async fn judge(
        &self,
        endpoint: &Endpoint,
        master: &mut Master,
        mut failures: BTreeMap<u32, Failure>,
    ) -> Option<Failure> {
        let old = master.old();
        let mut ended = Vec::new();
        for (pid, failure) in &failures {
            let says_so = matches!(failure, Failure::Answer(fault) if fault.says_worker_ended());
            // A worker that a cut list lacks, and that closes, has ended.
            if says_so || !failure.is_timeout() && !master.is_listed(*pid) {
                master.ended(*pid);
                ended.push(*pid);
            }
        }
        let is_open = |(pid, it): (&u32, &Failure)| !ended.contains(pid) && !it.is_timeout();
        if failures.iter().any(is_open)
            && let Ok(list) = list(&self.client, endpoint).await
        {
            ended.extend(master.update(&list, self.rules.now));
        }
        self.forget(endpoint, &ended).await;
        failures.retain(|pid, _| !ended.contains(pid));
        let mut first = None;
        for (pid, failure) in failures {
            if failure.is_of_worker() {
                master.lost(pid, self.rules.cycle, self.rules.now);
            }
            let worker = of_worker(endpoint, pid);
            let line = self.client.journal.begins(&key(&worker), &failure.state());
            if line.is_due() {
                let note = line.note();
                warn!(%worker, reason = %failure, "no answer of a worker, asked again later{note}");
            }
            if !old.contains(&pid) {
                first.get_or_insert(failure);
            }
        }
        first
    }

    /// Keeps the answers of an old worker for later snapshots.
    async fn keep(&self, endpoint: &Endpoint, pid: u32, master: &mut Master) {
        let names = names(endpoint, pid);
        let done = self.on_disk(&names, |kept, files, name| kept.store(files, name)).await;
        master.set_kept(pid, done);
    }

    /// Puts the last answers of old workers that gave none now into the snapshot.
    async fn restore(
        &self,
        endpoint: &Endpoint,
        master: &mut Master,
        fresh: &BTreeSet<u32>,
        found: &mut Found,
    ) {
        let workers = usize::try_from(found.workers).unwrap_or(usize::MAX);
        let room = self.rules.room.saturating_sub(workers);
        for pid in master.kept().difference(fresh).take(room) {
            let names = names(endpoint, *pid);
            if self.on_disk(&names, |kept, files, name| kept.restore(files, name)).await {
                found.add_files(endpoint, *pid, Generation::Old, names.into());
                found.kept += 1;
            } else {
                master.set_kept(*pid, false);
            }
        }
    }

    /// Removes what is kept of workers that have ended, and ends their states in the log.
    async fn forget(&self, endpoint: &Endpoint, ended: &[u32]) {
        for pid in ended {
            self.on_disk(&names(endpoint, *pid), |kept, _, name| kept.forget(name)).await;
            let worker = of_worker(endpoint, *pid);
            let line = self.client.journal.ends(&key(&worker));
            if line.is_due() {
                info!(%worker, "the worker has ended{}", line.note());
            }
        }
    }

    /// Does work on both files of a worker; returns whether all of it was done.
    async fn on_disk(
        &self,
        names: &[String; 2],
        work: fn(&KeptAnswers, &StagedFiles, &str) -> Result<(), spool::writer::Error>,
    ) -> bool {
        let Destination::Files(files) = &self.client.destination else { return false };
        let (kept, files, names) = (Arc::clone(&self.kept), files.clone(), names.clone());
        let directory = &self.client.tmp_dst_dir;
        let doing = DiskTask { what: "keep the answers of workers below", directory };
        let done = self.client.disk.run(doing, move || match kept.get() {
            Some(kept) => names.iter().try_for_each(|name| work(kept, &files, name)),
            None => Ok(()),
        });
        let failed = match done.await {
            Ok(Ok(())) => {
                let line = self.client.journal.ends("kept answers");
                if line.is_due() {
                    info!("the answers of old workers can be kept again{}", line.note());
                }
                return true;
            }
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        let line = self.client.journal.begins("kept answers", "failed");
        if line.is_due() {
            warn!(
                reason = failed,
                "the answers of old workers cannot be kept, so a snapshot lacks those that are not \
                 asked in its cycle{}",
                line.note()
            );
        }
        false
    }
}

impl Found {
    fn add(&mut self, endpoint: &Endpoint, pid: u32, generation: Generation, answers: Answers) {
        self.bytes += answers.bytes;
        self.add_files(endpoint, pid, generation, answers.files);
    }

    fn add_files(
        &mut self,
        endpoint: &Endpoint,
        pid: u32,
        generation: Generation,
        names: Vec<String>,
    ) {
        self.workers += 1;
        self.old += u64::from(generation == Generation::Old);
        for name in names {
            let (source, address) = (endpoint.source.name().to_owned(), endpoint.to_string());
            let file = AnswerFile::new(name, source, address);
            self.files.push(AnswerFile { worker: Some(pid), generation, ..file });
        }
    }
}

/// The list of a master.
pub(crate) async fn list(client: &Client, endpoint: &Endpoint) -> Result<Workers, Failure> {
    let answer = timeout(LIST_LIMIT, client.text(endpoint, LIST, LIST_MAX_BYTES)).await;
    let answer = answer.map_err(|_| Failure::ListTimeout { limit: LIST_LIMIT })??;
    Ok(master::read(&answer).map_err(Fault::from)?)
}

/// A worker as an endpoint: its files, and its name in the log.
pub(crate) fn of_worker(master: &Endpoint, pid: u32) -> Endpoint {
    let name = format!("{}@{pid}", master.name);
    Endpoint { name, worker: Some(pid), identity: None, ..master.clone() }
}

/// The names of a worker's files.
fn names(master: &Endpoint, pid: u32) -> [String; 2] {
    SUFFIXES.map(|suffix| format!("{}@{pid}{suffix}", master.name))
}

fn key(worker: &Endpoint) -> String {
    format!("worker {worker}")
}
