//! One timed round over all endpoints: all are asked at once, and one snapshot is published if
//! every one has answered.
//!
//! Whatever ends a round early (a failure, the end of the program) drops its `Staging`, and with it
//! all that was staged. One line is logged for a cycle, and one for each endpoint that failed.

use std::collections::HashSet;
use std::sync::Arc;

use config::{Address, Pull};
use daemon::Clock;
use spool::writer::{Spool, Staging};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{error, info, warn};

use crate::Error;
use crate::client::{self, Client, Limits, Way};
use crate::endpoint::{Endpoint, Finder};
use crate::writers::Writers;

/// What lasts from cycle to cycle.
#[derive(Debug)]
pub(crate) struct Cycles {
    config: Pull,
    clock: Clock,
    spool: Spool,
    finder: Finder,
    writers: Writers,
    buffers: Arc<Semaphore>,
    /// Those that took one command at a time the last time. Forgotten when they fail, for HAProxy
    /// may be a newer one then.
    apart: HashSet<Address>,
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
            buffers: client::buffers(),
            apart: HashSet::new(),
        })
    }

    /// Whether the spool holds as many snapshots as it may. One that cannot be looked at does not:
    /// the cycle will tell.
    pub(crate) fn spool_is_full(&self) -> bool {
        self.spool.waiting().is_ok_and(|waiting| waiting >= self.config.queue_size)
    }

    /// One cycle. Whatever fails is said here.
    pub(crate) async fn cycle(&mut self) {
        let start = Instant::now();
        let seconds = self.clock.epoch_seconds();
        let endpoints = match self.finder.find() {
            Err(error) => return error!(%error, "no snapshot"),
            Ok(none) if none.is_empty() => {
                let socket_dir = self.config.socket_dir.as_deref();
                return warn!(?socket_dir, "no snapshot: no stats socket there");
            }
            Ok(endpoints) => endpoints,
        };
        let staging = match self.spool.stage(seconds) {
            Err(error) => return error!(%error, "no snapshot"),
            Ok(staging) => staging,
        };
        let count = endpoints.len();
        let answered = self.ask_all(endpoints, &staging, start).await;
        let failed = count - answered.len();
        if failed > 0 {
            return warn!(
                endpoints = count,
                failed, "no snapshot: it would not hold every endpoint"
            );
        }
        match staging.publish() {
            Ok(snapshot) => info!(
                snapshot = %snapshot.display(),
                endpoints = count,
                bytes = answered.iter().sum::<u64>(),
                milliseconds = start.elapsed().as_millis(),
                "published"
            ),
            Err(error) => error!(%error, "no snapshot"),
        }
    }

    /// Asks all at once. Returns the bytes of each that answered.
    async fn ask_all(
        &mut self,
        endpoints: Vec<Endpoint>,
        staging: &Staging,
        start: Instant,
    ) -> Vec<u64> {
        let client = Arc::new(Client {
            limits: Limits::new(&self.config, start),
            files: staging.files(),
            writers: self.writers.clone(),
            buffers: Arc::clone(&self.buffers),
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
                    answered.push(bytes);
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
