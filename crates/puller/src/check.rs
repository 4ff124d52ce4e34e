//! Asks every endpoint once and tells how each one answers (`--check`). Writes nothing.
//!
//! The limits are those of a cycle, so that an endpoint that passes here gives an answer to the
//! service too. Without `pull-timeout` a cycle may wait for ever, and a check would then never
//! tell its result; so it has a limit of its own.

use std::sync::Arc;
use std::time::Duration;

use config::{Address, Pull};
use daemon::{Clock, Service};
use sources::{Memory, Pipelining, Scope};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::Error;
use crate::client::{Answers, Client, Limits};
use crate::disk::Disk;
use crate::endpoint::{Discovery, Endpoint, Finder};
use crate::failure::{Failure, OtherKind};
use crate::journal::{DiskTask, Journal};
use crate::lookups::Lookups;
use crate::masters::round;
use crate::no_snapshot::NoSnapshot;
use crate::responses::BROKEN_TASK;
use crate::transfer::Destination;
use crate::writers::Writers;

/// The limit of a check without `pull-timeout`.
const LIMIT: Duration = Duration::from_secs(30);

/// The result of one endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointCheck {
    /// The address, such as `unix:///run/haproxy/a.sock`. Safe for a log.
    pub address: String,
    /// The kind that the endpoint was asked as.
    pub kind: &'static str,
    /// The version of the program that has answered, if it tells one.
    pub version: Option<String>,
    /// The process number of the program that has answered, if it tells one.
    pub process: Option<String>,
    /// The time until the whole answer, or until the failure.
    pub elapsed: Duration,
    /// Bytes of the whole answer.
    pub bytes: u64,
    /// How the endpoint would count in a cycle.
    pub verdict: CheckVerdict,
}

/// How an endpoint would count in a cycle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckVerdict {
    /// It gives a whole answer.
    Answers,
    /// It is a socket of another kind, which costs no snapshot; with the reason and the remedy.
    LeftOut(String),
    /// It gives no whole answer; with the reason and the remedy.
    Fails(String),
}

/// Asks every endpoint of the configuration, and returns the results in the order of the endpoints:
/// those of `servers` first, those of `socket-dir` by name.
///
/// Needs a runtime as [`crate::run()`] does.
///
/// # Errors
///
/// There is no endpoint, or the work cannot begin.
pub async fn check(config: Pull, clock: Clock) -> Result<Vec<EndpointCheck>, Error> {
    let finder = Finder::new(&config)?;
    let journal = Journal::new(clock, Service::none());
    let (disk, _) = Disk::new(journal.clone());
    let writers = Writers::of(&config)?;
    let endpoints = find(&config, finder, &disk).await?;
    let config = Pull { pull_timeout: config.pull_timeout.or(Some(LIMIT)), ..config };
    let client = Client {
        limits: Limits::new(&config, Instant::now()),
        destination: Destination::Head,
        tmp_dst_dir: config.tmp_dst_dir.clone(),
        disk,
        writers,
        lookups: Lookups::default(),
        journal,
        servers: true,
        keeps_heads: true,
    };
    Ok(ask_all(&endpoints, &config.masters, client).await)
}

async fn find(config: &Pull, finder: Finder, disk: &Disk) -> Result<Vec<Endpoint>, NoSnapshot> {
    // Without socket-dir nothing is read from a disk.
    let directory = config.socket_dir.as_deref().unwrap_or(&config.tmp_dst_dir);
    let doing = DiskTask { what: "list the sockets in", directory };
    let Discovery { mut endpoints, masters, .. } = disk.run(doing, move || finder.find()).await??;
    endpoints.splice(0..0, masters);
    if endpoints.is_empty() {
        return Err(NoSnapshot::without_endpoint(config));
    }
    Ok(endpoints)
}

/// Asks all endpoints at the same time, as a cycle does.
async fn ask_all(
    endpoints: &[Endpoint],
    masters: &[Address],
    client: Client,
) -> Vec<EndpointCheck> {
    let client = Arc::new(client);
    // An endpoint whose task panics keeps this result.
    let unknown = |endpoint| EndpointCheck::new(endpoint, CheckVerdict::Fails(BROKEN_TASK.into()));
    let mut results: Vec<EndpointCheck> = endpoints.iter().map(unknown).collect();
    let mut tasks = JoinSet::new();
    for (index, endpoint) in endpoints.iter().enumerate() {
        let (client, endpoint) = (Arc::clone(&client), endpoint.clone());
        let named = endpoint.identity.is_none() && masters.contains(&endpoint.address);
        tasks.spawn(async move {
            let start = Instant::now();
            let mut answers = if named {
                current_worker(&client, &endpoint).await
            } else {
                client.pull(&endpoint, Pipelining::On, Memory::None).await
            };
            // A master in socket-dir.
            if answers.as_ref().is_err_and(Failure::is_by_master)
                && endpoint.identity.is_some()
                && let Ok(found) = current_worker(&client, &endpoint).await
            {
                answers = Ok(found);
            }
            (index, EndpointCheck::of(&endpoint, answers, start.elapsed()))
        });
    }
    while let Some(result) = tasks.join_next().await {
        if let Ok((index, result)) = result {
            results[index] = result;
        }
    }
    results
}

/// The answers of a current worker of a master, the newest in its list.
async fn current_worker(client: &Client, master: &Endpoint) -> Result<Answers, Failure> {
    let list = round::list(client, master).await?;
    let Some(worker) = list.current.last() else {
        return Err(Failure::NoWorker);
    };
    let scope = Scope { worker: Some(worker.pid), servers: true };
    let worker = round::of_worker(master, worker.pid);
    client.ask(&worker, Pipelining::Off, Memory::None, scope).await
}

impl EndpointCheck {
    fn new(endpoint: &Endpoint, verdict: CheckVerdict) -> Self {
        Self {
            address: endpoint.to_string(),
            kind: endpoint.source.name(),
            version: None,
            process: None,
            elapsed: Duration::ZERO,
            bytes: 0,
            verdict,
        }
    }

    fn of(endpoint: &Endpoint, answers: Result<Answers, Failure>, elapsed: Duration) -> Self {
        match answers {
            Ok(answers) => {
                let program = endpoint.source.identify(&answers.head);
                Self {
                    version: program.version,
                    process: program.process,
                    elapsed,
                    bytes: answers.bytes,
                    ..Self::new(endpoint, CheckVerdict::Answers)
                }
            }
            Err(failure) => Self { elapsed, ..Self::new(endpoint, judge(endpoint, &failure)) },
        }
    }
}

/// The verdict on an endpoint without an answer. A socket that only closes is left out by the
/// service from the fourth cycle on; here it fails, because it may be an endpoint in trouble.
fn judge(endpoint: &Endpoint, failure: &Failure) -> CheckVerdict {
    match failure.other_kind(false) {
        Some(OtherKind { why, is_certain: true }) if endpoint.identity.is_some() => {
            CheckVerdict::LeftOut(format!("{why}; keep it out of socket-dir"))
        }
        Some(OtherKind { is_certain: false, .. }) if endpoint.identity.is_some() => {
            CheckVerdict::Fails(format!(
                "{failure}, or keep it out of socket-dir if it is no stats socket"
            ))
        }
        _ => CheckVerdict::Fails(failure.to_string()),
    }
}
