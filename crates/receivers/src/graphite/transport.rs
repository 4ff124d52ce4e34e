//! The transport to the servers of a Graphite: one, or several of which one gets a batch whole.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use config::{Cluster, Confirm};
use daemon::{Clock, Conditions};
use tracing::{info, warn};

use super::choice::Choice;
use super::secured::TlsOptions;
use super::server::Server;
use crate::{Error, Lines, Outcome};

/// The transport to one Graphite.
#[derive(Debug)]
pub struct Graphite {
    servers: Vec<Server>,
    cluster: Cluster,
    clock: Clock,
    /// A batch that lost so much time with servers that failed tries no further one.
    budget: Duration,
    /// Shared by all transports to these servers.
    shared: Arc<Mutex<Shared>>,
}

/// The knowledge about the servers.
#[derive(Debug)]
struct Shared {
    choice: Choice,
    /// The servers that failed, by address.
    failures: Conditions,
}

impl Graphite {
    /// The transport connects at the first delivery.
    #[must_use]
    pub fn new(config: config::Graphite, clock: Clock) -> Self {
        let (budget, cluster, config) = (try_limit(&config), config.cluster, Arc::new(config));
        let tls = config.tls.clone().map(|tls| Arc::new(TlsOptions::new(tls, clock)));
        let server = |address| {
            Server::new(Arc::clone(&config), address, tls.as_ref().map(Arc::clone), clock)
        };
        let servers: Vec<Server> = config.servers.iter().map(server).collect();
        let failures = Conditions::new(servers.len());
        let shared = Shared { choice: Choice::new(cluster, servers.len()), failures };
        Self { servers, cluster, clock, budget, shared: Arc::new(Mutex::new(shared)) }
    }

    /// The addresses of its servers.
    #[must_use]
    pub fn address(&self) -> String {
        self.servers.iter().map(Server::address).collect::<Vec<_>>().join(", ")
    }

    /// Connects to each server and sends nothing. Returns what was found.
    ///
    /// # Errors
    ///
    /// A batch would not be delivered to one of the servers now, and why.
    pub fn check(&mut self) -> Result<String, Error> {
        let failures = self.servers.iter_mut().filter_map(|server| server.check().err());
        let failures: Vec<Error> = failures.collect();
        if failures.is_empty() {
            Ok("it takes connections".to_owned())
        } else {
            Err(all_of(failures))
        }
    }

    /// A further transport to the same servers, with connections of its own.
    #[must_use]
    pub fn another(&self) -> Self {
        Self {
            servers: self.servers.iter().map(Server::another).collect(),
            cluster: self.cluster,
            clock: self.clock,
            budget: self.budget,
            shared: Arc::clone(&self.shared),
        }
    }

    /// Delivers a batch whole to one server. Of several servers the next one is tried until the
    /// time limit of one try is used up.
    ///
    /// # Errors
    ///
    /// Why the batch does not count as delivered. A server may have some of its lines, and they are
    /// sent again.
    pub fn deliver(&mut self, lines: &dyn Lines) -> Result<Outcome, Error> {
        let begin = self.now();
        let mut errors = Vec::new();
        let order = self.shared().choice.order(begin);
        for index in order {
            let start = self.now();
            if !errors.is_empty() && start.saturating_duration_since(begin) >= self.budget {
                break;
            }
            let Some(server) = self.servers.get_mut(index) else { continue };
            match server.deliver(lines) {
                Ok(long_lines) => {
                    self.note_success(index);
                    return Ok(Outcome { long_lines, ..Outcome::default() });
                }
                // The batch is damaged, so no server can take it.
                Err(error @ Error::Unreadable { .. }) => return Err(error),
                Err(error) => {
                    self.note_failure(index, start, &error);
                    errors.push(error);
                }
            }
        }
        Err(all_of(errors))
    }

    fn note_success(&mut self, index: usize) {
        if self.servers.len() == 1 {
            return;
        }
        if self.cluster == Cluster::Failover {
            // The batches are back at an earlier server, or went on to a later one.
            let others = self.servers.iter_mut().enumerate().filter(|(other, _)| *other != index);
            others.for_each(|(_, server)| server.disconnect());
        }
        let now = self.now();
        let Some(address) = self.servers.get(index).map(Server::address) else { return };
        let mut shared = self.shared();
        shared.choice.works(index);
        let line = shared.failures.end(address, now);
        if line.is_due() {
            info!("graphite {address} takes batches again{}", line.note());
        }
    }

    /// The parent logs the failure of a single server.
    fn note_failure(&self, index: usize, start: Instant, error: &Error) {
        if self.servers.len() == 1 {
            return;
        }
        let now = self.now();
        let Some(address) = self.servers.get(index).map(Server::address) else { return };
        let mut shared = self.shared();
        shared.choice.failed(index, now, now.saturating_duration_since(start));
        let line = shared.failures.begin(address, "", now);
        if line.is_due() {
            warn!("{error}; the other servers of the list get its batches{}", line.note());
        }
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Instant {
        (self.clock.monotonic)()
    }
}

/// The limits of a delivery to one server, without the time in which it takes bytes.
#[must_use]
pub fn try_limit(config: &config::Graphite) -> Duration {
    let until_written = config.connect_timeout + config.write_timeout;
    match config.confirm {
        Confirm::Close | Confirm::Tcp => until_written + config.confirm_timeout,
        Confirm::None => until_written,
    }
}

/// One error for the failures of all servers that were tried.
fn all_of(mut errors: Vec<Error>) -> Error {
    match (errors.len(), errors.pop()) {
        (1, Some(error)) => error,
        (_, last) => {
            errors.extend(last);
            Error::Servers { errors }
        }
    }
}
