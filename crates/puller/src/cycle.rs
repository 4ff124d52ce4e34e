//! Runs a cycle: asks all endpoints at the same time, and publishes one snapshot if every endpoint
//! has answered; with `allow-partial`, if at least one endpoint has answered.
//!
//! An endpoint is in a snapshot with all its answers or not at all. A socket of `socket-dir` that
//! turns out to be of another kind does not count as an endpoint of this cycle. A failure or the
//! end of the program drops the `DiskGuard<Staging>` of the cycle, and with it the staged files.
//! One line is logged for a snapshot; a failure is logged when it begins and when it is over, and
//! the counts are in the next snapshot's manifest.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use config::{Address, Pull};
use sources::Source;
use sources::haproxy::natures::Natures;
use spool::cycle::Cycle;
use spool::manifest::Manifest;
use spool::writer::{KeptAnswers, PublishedSnapshot, Spool, Staging};
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tracing::{debug, error, info, warn};

use crate::client::{Client, Limits};
use crate::disk::{Disk, DiskGuard};
use crate::endpoint::{Discovery, Endpoint, Finder};
use crate::history::History;
use crate::journal::{DiskTask, Journal};
use crate::leftovers::Leftovers;
use crate::lookups::Lookups;
use crate::masters::Masters;
use crate::monitor::Monitor;
use crate::no_snapshot::NoSnapshot;
use crate::responses::Responses;
use crate::run::PAUSED;
use crate::transfer::Destination;
use crate::writers::{WorkError, Writers};
use crate::{Error, Machine};

mod masters;
mod natures;

use masters::Done;

/// The state that lasts from cycle to cycle.
#[derive(Debug)]
pub(crate) struct Cycles {
    config: Pull,
    machine: Machine,
    journal: Journal,
    disk: Disk,
    /// Locked only by threads that may block.
    spool: Arc<Mutex<Spool>>,
    leftovers: Leftovers,
    finder: Finder,
    writers: Writers,
    lookups: Lookups,
    history: History,
    masters: Masters,
    /// Answers of old workers for later snapshots.
    kept: Arc<DiskGuard<KeptAnswers>>,
    /// The first moment of the masters' clock.
    begun: std::time::Instant,
    /// The cycles until the next one with servers (`servers-interval`).
    until_servers: u64,
    /// Base names that several sockets had in the last cycle.
    shared: BTreeSet<String>,
    /// What could not be searched for endpoints in the last cycle.
    unreadable: BTreeSet<PathBuf>,
    /// The numbers for the next manifest.
    facts: Cycle,
    /// The natures of new columns for the next manifest.
    natures: Natures,
    monitor: Monitor,
}

/// The answers of a cycle, in a snapshot that is not published.
#[derive(Debug)]
pub(crate) struct Answered {
    staged: DiskGuard<Staging>,
    responses: Responses,
    start: Instant,
}

impl Cycles {
    pub(crate) async fn new(
        config: Pull,
        machine: Machine,
        journal: Journal,
        disk: Disk,
    ) -> Result<Self, Error> {
        let finder = Finder::new(&config)?;
        let (dst, tmp, sync) = (config.dst_dir.clone(), config.tmp_dst_dir.clone(), config.sync);
        let doing = DiskTask { what: "prepare", directory: &config.tmp_dst_dir };
        let opened = disk.run(doing, move || {
            let spool = Spool::open(&dst, &tmp, sync)?;
            let cleanup = spool.clean()?;
            Ok::<_, spool::writer::Error>((spool, cleanup))
        });
        let (spool, cleanup) =
            opened.await.map_err(|error| Error::Opening(error.to_string()))??;
        let mut cycles = Self::with_spool(config, finder, machine, journal, disk, spool)?;
        cycles.leftovers.log_cleanup(Ok(cleanup), 0);
        Ok(cycles)
    }

    /// Cycles that publish into this spool.
    pub(crate) fn with_spool(
        config: Pull,
        finder: Finder,
        machine: Machine,
        journal: Journal,
        disk: Disk,
        mut spool: Spool,
    ) -> Result<Self, Error> {
        Ok(Self {
            masters: Masters::default(),
            kept: Arc::new(disk.guard(spool.keep())),
            begun: (machine.clock.monotonic)(),
            until_servers: 0,
            leftovers: Leftovers::new(journal.clone()),
            finder,
            writers: Writers::of(&config)?,
            monitor: Monitor::new(&config, machine.clock),
            config,
            machine,
            history: History::new(journal.clone()),
            journal,
            disk,
            spool: Arc::new(Mutex::new(spool)),
            lookups: Lookups::default(),
            shared: BTreeSet::new(),
            unreadable: BTreeSet::new(),
            facts: Cycle::default(),
            natures: Natures::new(),
        })
    }

    /// What the monitor server tells.
    pub(crate) fn set_monitor(&mut self, monitor: Monitor) {
        self.monitor = monitor;
    }

    /// Whether the spool holds as many snapshots as it may. A spool that cannot be read is not
    /// full, because the cycle reports the reason.
    pub(crate) async fn spool_is_full(&self) -> bool {
        let spool = Arc::clone(&self.spool);
        let doing = DiskTask { what: "count the snapshots in", directory: &self.config.dst_dir };
        let waiting = self.disk.run(doing, move || locked(&spool).waiting()).await;
        matches!(waiting, Ok(Ok(waiting)) if waiting >= self.config.queue_size)
    }

    /// Counts a cycle that is not run because the spool is full.
    pub(crate) fn skip(&mut self) {
        self.facts.skipped += 1;
        self.monitor.ended(Some(PAUSED.to_owned()), &self.facts);
    }

    /// Runs one cycle and logs its failure. Returns its result as a line for the service manager.
    pub(crate) async fn cycle(&mut self) -> &'static str {
        let result = self.pull().await;
        debug!(number = self.facts.cycles, published = result.is_ok(), "a cycle has ended");
        match result {
            Ok(()) => {
                self.monitor.ended(None, &self.facts);
                let line = self.journal.ends("snapshot");
                if line.is_due() {
                    info!("snapshots are published again{}", line.note());
                }
                "the last cycle left a snapshot"
            }
            Err(reason) => {
                self.facts.failures += 1;
                self.monitor.ended(Some(reason.to_string()), &self.facts);
                let line = self.journal.begins("snapshot", &reason.state());
                if line.is_due() {
                    reason.log(line.note());
                }
                "the last cycle failed: the log says why"
            }
        }
    }

    async fn pull(&mut self) -> Result<(), NoSnapshot> {
        let answered = self.ask(Instant::now()).await?;
        if let Some(reason) = self.reason_against(&answered) {
            self.abandon(answered.staged).await;
            return Err(reason);
        }
        self.publish(answered).await?;
        Ok(())
    }

    /// Asks every endpoint. Dropping the result abandons the snapshot.
    pub(crate) async fn ask(&mut self, start: Instant) -> Result<Answered, NoSnapshot> {
        self.facts.cycles += 1;
        let seconds = self.machine.clock.epoch_seconds();
        let (endpoints, masters) = self.find().await?;
        if endpoints.is_empty() && masters.is_empty() {
            return Err(NoSnapshot::without_endpoint(&self.config));
        }
        self.facts.without_servers = self.until_servers > 0;
        self.until_servers = self.until_servers.saturating_sub(1);
        let staged = self.stage(seconds).await?;
        let Some(staging) = staged.get() else { return Err(WorkError::NoThread.into()) };
        let responses = self.ask_all(endpoints, masters, staging, start).await;
        let found = responses.workers();
        self.facts.workers = found.workers;
        self.facts.old_workers = Some(found.old);
        self.facts.kept_workers = Some(found.kept);
        self.facts.endpoints = responses.endpoints() as u64;
        self.facts.missing = responses.missing() as u64;
        self.facts.endpoint_failures += self.facts.missing;
        self.monitor.asked(&responses);
        Ok(Answered { staged, responses, start })
    }

    /// Why these answers may not be published.
    pub(crate) fn reason_against(&self, answered: &Answered) -> Option<NoSnapshot> {
        NoSnapshot::judge(&answered.responses)
    }

    /// The endpoints, and the masters that the configuration names.
    async fn find(&mut self) -> Result<(Vec<Endpoint>, Vec<Endpoint>), NoSnapshot> {
        let finder = self.finder.clone();
        let directory = self.config.socket_dir.as_deref().unwrap_or(&self.config.tmp_dst_dir);
        let doing = DiskTask { what: "list the sockets in", directory };
        let discovery = self.disk.run(doing, move || finder.find()).await??;
        let Discovery { endpoints, masters, shared, unreadable } = discovery;
        self.log_unreadable(unreadable);
        for name in &shared {
            let line = self.journal.begins(&format!("shared {name}"), "shared");
            if line.is_due() {
                warn!(
                    name,
                    "several sockets or deployments have this base name, so their files are \
                     named by their whole paths{}",
                    line.note()
                );
            }
        }
        for name in self.shared.difference(&shared) {
            let line = self.journal.ends(&format!("shared {name}"));
            if line.is_due() {
                info!(name, "one alone has this base name again{}", line.note());
            }
        }
        self.shared = shared;
        let all = || endpoints.iter().chain(&masters);
        let keys: HashSet<String> = all().map(Endpoint::to_string).collect();
        for (endpoint, line) in self.journal.end_absent_endpoints(|key| keys.contains(key)) {
            info!(%endpoint, "no longer there{}", line.note());
        }
        let present: HashSet<&Address> = all().map(|it| &it.address).collect();
        self.history.forget_absent_endpoints(&present);
        self.masters.forget_absent(&present);
        Ok((endpoints, masters))
    }

    /// Logs when folders begin and end to be closed to the search for endpoints.
    fn log_unreadable(&mut self, unreadable: BTreeMap<PathBuf, String>) {
        for (path, reason) in &unreadable {
            let line = self.journal.begins(&format!("search {path:?}"), reason);
            if line.is_due() {
                warn!(?path, reason, "not searched for endpoints{}", line.note());
            }
        }
        for path in self.unreadable.iter().filter(|path| !unreadable.contains_key(*path)) {
            let line = self.journal.ends(&format!("search {path:?}"));
            if line.is_due() {
                info!(?path, "searched for endpoints again{}", line.note());
            }
        }
        self.unreadable = unreadable.into_keys().collect();
    }

    /// Begins a snapshot. Tries before that to remove leftovers again, if that is due.
    async fn stage(&mut self, seconds: u64) -> Result<DiskGuard<Staging>, NoSnapshot> {
        let (spool, disk) = (Arc::clone(&self.spool), self.disk.clone());
        let doing = DiskTask { what: "make a directory in", directory: &self.config.tmp_dst_dir };
        let cleans = self.leftovers.are_due(self.facts.cycles);
        let work = move || {
            let mut spool = locked(&spool);
            // Clean first, because cleaning would remove a snapshot that has begun.
            let cleanup = cleans.then(|| spool.clean());
            // Guarded at once, because the caller may have stopped waiting.
            (cleanup, spool.stage(seconds).map(|staging| disk.guard(staging)))
        };
        let (cleanup, staged) = self.disk.run(doing, work).await?;
        if let Some(cleanup) = cleanup {
            self.leftovers.log_cleanup(cleanup, self.facts.cycles);
        }
        Ok(staged?)
    }

    /// Removes an unfinished snapshot.
    async fn abandon(&mut self, staged: DiskGuard<Staging>) {
        let Some(staging) = staged.take() else { return };
        let doing = DiskTask { what: "remove a directory in", directory: &self.config.tmp_dst_dir };
        match self.disk.run(doing, move || staging.abandon()).await {
            Ok(Ok(())) => {
                let line = self.journal.ends("abandon");
                if line.is_due() {
                    info!("unfinished snapshots can be removed again{}", line.note());
                }
            }
            Ok(Err(error)) => self.leftovers.log_failed_removal(&error, self.facts.cycles),
            Err(error) => {
                self.leftovers.try_later(self.facts.cycles);
                let line = self.journal.begins("abandon", "broken");
                if line.is_due() {
                    warn!(%error, "an unfinished snapshot stays in tmp-dst-dir{}", line.note());
                }
            }
        }
    }

    /// Removes files of endpoints that failed half-way, adds the manifest, and publishes. The end
    /// of the program waits for a publication that has begun.
    pub(crate) async fn publish(
        &mut self,
        Answered { staged, responses, start }: Answered,
    ) -> Result<PublishedSnapshot, NoSnapshot> {
        let Some(staging) = staged.take() else { return Err(WorkError::NoThread.into()) };
        let elapsed = start.elapsed().as_millis();
        self.facts.milliseconds = u64::try_from(elapsed).unwrap_or(u64::MAX);
        let (missing, bytes) = (responses.failed(), responses.bytes());
        let (files, unanswered) = responses.into_parts();
        let manifest = Manifest {
            origin: self.machine.name.clone(),
            serial: (self.machine.random)(),
            cycle: self.facts,
            files,
            unanswered,
            natures: natures::names(&self.natures),
        };
        let work = move || {
            staging.files().complete(&manifest)?;
            staging.publish()
        };
        let doing = DiskTask { what: "publish a snapshot to", directory: &self.config.dst_dir };
        let published = match self.disk.run(doing, work).await {
            Ok(Ok(published)) => published,
            failed => {
                // The snapshot was abandoned, but its directory may not have been removed.
                self.leftovers.try_later(self.facts.cycles);
                failed??
            }
        };
        info!(
            snapshot = %published.path.display(),
            endpoints = self.facts.endpoints,
            missing,
            bytes,
            milliseconds = start.elapsed().as_millis(),
            "published"
        );
        self.log_name_and_sync(&published);
        if !self.facts.without_servers {
            self.until_servers = self.config.servers_interval - 1;
        }
        Ok(published)
    }

    /// Logs when snapshots begin and end to have another second's name, or to be unsynced.
    fn log_name_and_sync(&self, published: &PublishedSnapshot) {
        let PublishedSnapshot { path, seconds, wanted, unsynced } = published;
        if seconds == wanted {
            let line = self.journal.ends("name");
            if line.is_due() {
                info!("snapshots bear the seconds of their cycles again{}", line.note());
            }
        } else {
            let line = self.journal.begins("name", "taken");
            if line.is_due() {
                warn!(
                    wanted,
                    taken = seconds,
                    "a snapshot of this second waits already (was the clock set back?), so the \
                     next free one names this{}",
                    line.note()
                );
            }
        }
        if let Some(error) = unsynced {
            let line = self.journal.begins("sync", "refused");
            if line.is_due() {
                let snapshot = path.display();
                warn!(%error, %snapshot, "published, yet a power cut could undo it{}", line.note());
            }
        } else if self.journal.ends("sync").is_due() {
            info!("snapshots are synced again");
        }
    }

    /// Asks all endpoints at the same time, and each master for its workers.
    async fn ask_all(
        &mut self,
        endpoints: Vec<Endpoint>,
        masters: Vec<Endpoint>,
        staging: &Staging,
        start: Instant,
    ) -> Responses {
        let client = Arc::new(Client {
            limits: Limits::new(&self.config, start),
            destination: Destination::Files(staging.files()),
            tmp_dst_dir: self.config.tmp_dst_dir.clone(),
            disk: self.disk.clone(),
            writers: self.writers.clone(),
            lookups: self.lookups.clone(),
            journal: self.journal.clone(),
            servers: !self.facts.without_servers,
            // A master can be found in socket-dir at any time.
            keeps_heads: self.config.socket_dir.is_some() || !masters.is_empty(),
        });
        let all: Vec<Endpoint> = endpoints.iter().chain(&masters).cloned().collect();
        let mut responses = Responses::new(&all);
        let mut round = self.begin_masters(&client, start, (all.len(), masters.len()));
        let mut tasks = JoinSet::new();
        for master in masters {
            self.ask_master(master, &round, &mut tasks);
        }
        for endpoint in endpoints {
            if self.masters.knows(&endpoint) {
                self.ask_master(endpoint, &round, &mut tasks);
                continue;
            }
            if self.history.is_of_another_kind(&endpoint, self.facts.cycles) {
                responses.leave_out(&endpoint);
                continue;
            }
            let client = Arc::clone(&client);
            let pipelining = self.history.pipelining(&endpoint);
            let memory = self.history.memory(&endpoint);
            tasks.spawn(async move {
                let answers = client.pull(&endpoint, pipelining, memory).await;
                Done::Endpoint(endpoint, answers)
            });
        }
        let (mut of_endpoints, mut panic) = (BTreeMap::new(), None);
        while let Some(result) = tasks.join_next().await {
            match result {
                Ok(Done::Endpoint(endpoint, Ok(mut answers))) => {
                    let memory = std::mem::take(&mut answers.memory);
                    if let Some(known) = memory.natures() {
                        of_endpoints.insert(endpoint.name.clone(), known.clone());
                    }
                    self.history.set_memory(&endpoint, memory);
                    if client.keeps_heads && endpoint.source == Source::HAProxy {
                        self.masters.add_direct(endpoint.to_string(), &answers.head);
                    }
                    let pipelining = answers.pipelining;
                    responses.add_answers(&endpoint, answers);
                    self.history.add_answer(endpoint, pipelining);
                }
                Ok(Done::Endpoint(endpoint, Err(failure)))
                    if failure.is_by_master() && endpoint.identity.is_some() =>
                {
                    round.add_refusal(&endpoint, failure);
                    self.ask_master(endpoint, &round, &mut tasks);
                }
                Ok(Done::Endpoint(endpoint, Err(failure))) => {
                    let verdict = self.history.add_failure(&endpoint, &failure, self.facts.cycles);
                    responses.add_failure(&endpoint, &failure, verdict);
                }
                Ok(Done::Master(done)) => self.end_master(done, &mut round, &mut responses),
                Err(error) => panic = Some(error),
            }
        }
        self.natures = natures::merged(of_endpoints);
        self.log_panic(panic);
        responses.set_old(&self.masters.old_direct());
        responses
    }

    /// Logs when tasks of endpoints begin to panic, and when they no longer do.
    fn log_panic(&self, panic: Option<JoinError>) {
        let Some(error) = panic else {
            let line = self.journal.ends("task");
            if line.is_due() {
                info!("no endpoint's task breaks down any more{}", line.note());
            }
            return;
        };
        let line = self.journal.begins("task", "broken");
        if line.is_due() {
            error!(
                %error,
                "an endpoint's task broke down: a mistake of haproxystats-pull, please report it{}",
                line.note()
            );
        }
    }
}

/// A spool stays usable after a panic, because it checks its directories anew each time.
fn locked(spool: &Mutex<Spool>) -> MutexGuard<'_, Spool> {
    spool.lock().unwrap_or_else(PoisonError::into_inner)
}
