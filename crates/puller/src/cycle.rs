//! One timed round over all endpoints: all are asked at once, and one snapshot is published if
//! every one has answered; with `allow-partial`, if one has.
//!
//! An endpoint is in a snapshot with both its answers or not at all. Whatever ends a round early (a
//! failure, the end of the program) drops its `Staging`, and with it all that was staged. One line
//! is logged for a cycle, and one for each endpoint that failed; the counts of both are in the next
//! snapshot (`spool::cycle`).

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use config::{Address, Pull};
use daemon::Clock;
use spool::writer::{Spool, StagedFile, Staging};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{error, info, warn};

use crate::Error;
use crate::client::{Client, Limits, Way};
use crate::endpoint::{Endpoint, Finder};
use crate::source::haproxy::Part;
use crate::writers::{Gone, Writers};

/// What lasts from cycle to cycle.
#[derive(Debug)]
pub(crate) struct Cycles {
    config: Pull,
    clock: Clock,
    spool: Spool,
    finder: Finder,
    writers: Writers,
    being_published: Arc<Mutex<()>>,
    /// Those that took one command at a time the last time. Forgotten when they fail, for HAProxy
    /// may be a newer one then.
    apart: HashSet<Address>,
    /// What the next snapshot tells; its counters run on from cycle to cycle.
    told: spool::cycle::Cycle,
}

/// An endpoint that answered.
struct Answered {
    name: String,
    bytes: u64,
}

/// A snapshot that was filled could not be published.
#[derive(Debug, thiserror::Error)]
enum Unpublished {
    #[error(transparent)]
    Spool(#[from] spool::writer::Error),
    #[error(transparent)]
    Writers(#[from] Gone),
}

impl Cycles {
    pub(crate) fn new(config: Pull, clock: Clock) -> Result<Self, Error> {
        if config.socket_dir.is_none() && config.servers.is_empty() {
            return Err(Error::NothingToAsk);
        }
        let spool = Spool::open(&config.dst_dir, &config.tmp_dst_dir, config.sync)?;
        spool.clean()?;
        let writers = Writers::start(config.workers)
            .map_err(|source| Error::Threads { count: config.workers, source })?;
        Ok(Self {
            finder: Finder::new(config.socket_dir.clone(), config.servers.clone()),
            config,
            clock,
            spool,
            writers,
            being_published: Arc::default(),
            apart: HashSet::new(),
            told: spool::cycle::Cycle::default(),
        })
    }

    /// Whether the spool holds as many snapshots as it may. One that cannot be looked at does not:
    /// the cycle will tell.
    pub(crate) fn spool_is_full(&self) -> bool {
        self.spool.waiting().is_ok_and(|waiting| waiting >= self.config.queue_size)
    }

    /// Counts a cycle that is not run because the spool is full.
    pub(crate) fn skip(&mut self) {
        self.told.skipped += 1;
    }

    /// One cycle. Whatever fails is said here; returned is how it went, in a line for the service manager.
    pub(crate) async fn cycle(&mut self) -> &'static str {
        self.told.cycles += 1;
        let start = Instant::now();
        if self.round(start).await {
            return "the last cycle left a snapshot";
        }
        self.told.failures += 1;
        "the last cycle failed: the log says why"
    }

    /// Whether it left a snapshot.
    async fn round(&mut self, start: Instant) -> bool {
        let seconds = self.clock.epoch_seconds();
        let endpoints = match self.finder.find() {
            Err(error) => {
                error!(%error, "no snapshot");
                return false;
            }
            Ok(none) if none.is_empty() => {
                let socket_dir = self.config.socket_dir.as_deref();
                warn!(?socket_dir, "no snapshot: no stats socket there");
                return false;
            }
            Ok(endpoints) => endpoints,
        };
        match self.spool.stage(seconds) {
            Ok(staging) => self.fill(staging, endpoints, start).await,
            Err(error) => {
                error!(%error, "no snapshot");
                false
            }
        }
    }

    /// Whether the staged snapshot was filled and published.
    async fn fill(&mut self, staging: Staging, endpoints: Vec<Endpoint>, start: Instant) -> bool {
        let count = endpoints.len();
        let mut missing: HashSet<String> =
            endpoints.iter().map(|endpoint| endpoint.name.clone()).collect();
        let answered = self.ask_all(endpoints, &staging, start).await;
        for endpoint in &answered {
            missing.remove(&endpoint.name);
        }
        self.told.endpoints = count as u64;
        self.told.missing = missing.len() as u64;
        self.told.endpoint_failures += self.told.missing;
        if !missing.is_empty() && !self.config.allow_partial {
            warn!(
                endpoints = count,
                failed = missing.len(),
                "no snapshot: it would not hold every endpoint"
            );
            return false;
        }
        if answered.is_empty() {
            warn!(endpoints = count, "no snapshot: no endpoint has answered");
            return false;
        }
        let published = match self.complete(&staging, &missing, start) {
            Ok(told) => self.publish(staging, told).await,
            Err(error) => Err(error.into()),
        };
        match published {
            Ok(snapshot) => info!(
                snapshot = %snapshot.display(),
                endpoints = count,
                missing = missing.len(),
                bytes = answered.iter().map(|endpoint| endpoint.bytes).sum::<u64>(),
                milliseconds = start.elapsed().as_millis(),
                "published"
            ),
            Err(error) => {
                error!(%error, "no snapshot");
                return false;
            }
        }
        true
    }

    /// Publishes on a thread that may wait for the disk. Once begun it is done to its end, which `being_published` lets the
    /// end of the program wait for.
    async fn publish(
        &self,
        staging: Staging,
        (mut file, text): (StagedFile, String),
    ) -> Result<PathBuf, Unpublished> {
        // Dropped in this order where the work is never begun: nobody may think it done while there is something to remove.
        let held = (staging, Arc::clone(&self.being_published).lock_owned().await);
        let publishing = self.writers.run(move || {
            let (staging, being_published) = held;
            let told = file.write(text.as_bytes()).and_then(|()| file.close());
            let published = told.and_then(|()| staging.publish());
            drop(being_published);
            published
        });
        Ok(publishing.await??)
    }

    /// Held while a snapshot is being published.
    pub(crate) fn being_published(&self) -> Arc<Mutex<()>> {
        Arc::clone(&self.being_published)
    }

    /// Takes out what endpoints left that failed half-way, and makes the file that tells about this cycle; returns it with what
    /// it is to hold.
    fn complete(
        &mut self,
        staging: &Staging,
        missing: &HashSet<String>,
        start: Instant,
    ) -> Result<(StagedFile, String), spool::writer::Error> {
        let files = staging.files();
        for name in missing {
            for part in [Part::Info, Part::Stat] {
                files.remove(format!("{name}{}", part.suffix()).as_ref())?;
            }
        }
        let file = files.create(spool::cycle::FILE_NAME.as_ref())?;
        let elapsed = start.elapsed().as_millis();
        self.told.milliseconds = u64::try_from(elapsed).unwrap_or(u64::MAX);
        Ok((file, self.told.write()))
    }

    /// Asks all at once. Returns those that answered.
    async fn ask_all(
        &mut self,
        endpoints: Vec<Endpoint>,
        staging: &Staging,
        start: Instant,
    ) -> Vec<Answered> {
        let client = Arc::new(Client {
            limits: Limits::new(&self.config, start),
            files: staging.files(),
            writers: self.writers.clone(),
        });
        let mut asked = JoinSet::new();
        for endpoint in endpoints {
            let client = Arc::clone(&client);
            let apart = self.apart.contains(&endpoint.address);
            let way = if apart { Way::Apart } else { Way::Together };
            asked.spawn(async move { (client.pull(&endpoint, way).await, endpoint) });
        }
        let mut answered = Vec::new();
        while let Some(ended) = asked.join_next().await {
            match ended {
                Ok((Ok((bytes, way)), endpoint)) => {
                    answered.push(Answered { name: endpoint.name, bytes });
                    if way == Way::Apart {
                        self.apart.insert(endpoint.address);
                    }
                }
                Ok((Err(reason), endpoint)) => {
                    warn!(%endpoint, %reason, "no answer");
                    self.apart.remove(&endpoint.address);
                }
                Err(error) => error!(%error, "an endpoint's task broke down"),
            }
        }
        answered
    }
}
