//! The responses of the endpoints of one cycle, for the log and for the manifest.

use std::collections::{BTreeMap, HashMap, HashSet};

use sources::Source;
use spool::manifest::{AnswerFile, Generation, Unanswered};

use crate::client::Answers;
use crate::endpoint::Endpoint;
use crate::failure::Failure;
use crate::history::Verdict;
use crate::masters::round::Found;

/// Characters of a reason in the manifest.
const REASON_MAX_CHARS: usize = 500;

/// The reason of an endpoint whose task panicked, as the log says it.
pub(crate) const BROKEN_TASK: &str = "its task broke down: a mistake of haproxystats-pull";

/// Names are unique among the endpoints of a source.
type Key = (Source, String);

fn key(endpoint: &Endpoint) -> Key {
    (endpoint.source, endpoint.name.clone())
}

/// The responses so far.
#[derive(Debug)]
pub(crate) struct Responses {
    /// Endpoints, without the sockets in `left_out`.
    endpoints: usize,
    /// Sockets of another kind.
    left_out: usize,
    /// Sockets in `left_out` that gave no answer, in their first cycles. They may be endpoints in
    /// trouble, so the snapshot is published without them but counts them as missing.
    unsure: usize,
    /// Certain endpoints that are not in the snapshot, each with whether the snapshot needs it.
    absent: HashMap<Key, bool>,
    /// Addresses of the endpoints that have not responded yet.
    awaited: HashMap<Key, String>,
    /// The number of endpoints of each source, without the sockets in `left_out`.
    of_sources: BTreeMap<&'static str, u64>,
    bytes: u64,
    files: Vec<AnswerFile>,
    unanswered: Vec<Unanswered>,
    workers: Found,
}

impl Responses {
    pub(crate) fn new(endpoints: &[Endpoint]) -> Self {
        let addresses = endpoints.iter().map(|it| (key(it), it.to_string()));
        let mut of_sources = BTreeMap::new();
        for endpoint in endpoints {
            *of_sources.entry(endpoint.source.name()).or_default() += 1;
        }
        Self {
            of_sources,
            endpoints: endpoints.len(),
            left_out: 0,
            unsure: 0,
            absent: endpoints.iter().map(|it| (key(it), it.is_needed)).collect(),
            awaited: addresses.collect(),
            bytes: 0,
            files: Vec::new(),
            unanswered: Vec::new(),
            workers: Found::default(),
        }
    }

    /// Adds a socket of another kind, which is not asked.
    pub(crate) fn leave_out(&mut self, endpoint: &Endpoint) {
        self.awaited.remove(&key(endpoint));
        self.absent.remove(&key(endpoint));
        self.count_out(endpoint);
    }

    fn count_out(&mut self, endpoint: &Endpoint) {
        self.left_out += 1;
        self.endpoints -= 1;
        if let Some(count) = self.of_sources.get_mut(endpoint.source.name()) {
            *count -= 1;
        }
    }

    /// Adds all answers of an endpoint.
    pub(crate) fn add_answers(&mut self, endpoint: &Endpoint, answers: Answers) {
        self.awaited.remove(&key(endpoint));
        self.absent.remove(&key(endpoint));
        self.bytes += answers.bytes;
        let file =
            |name| AnswerFile::new(name, endpoint.source.name().to_owned(), endpoint.to_string());
        self.files.extend(answers.files.into_iter().map(file));
    }

    /// Adds the answers of the workers of a master, which count as one endpoint. The master may
    /// have failed nevertheless.
    pub(crate) fn add_workers(&mut self, endpoint: &Endpoint, found: Found, is_whole: bool) {
        if is_whole {
            self.awaited.remove(&key(endpoint));
            self.absent.remove(&key(endpoint));
        }
        self.bytes += found.bytes;
        self.files.extend(found.files);
        self.workers.workers += found.workers;
        self.workers.old += found.old;
        self.workers.kept += found.kept;
    }

    /// Sets the endpoints whose processes are old workers by now, as their master says.
    pub(crate) fn set_old(&mut self, endpoints: &HashSet<String>) {
        for file in &mut self.files {
            if file.worker.is_none() && endpoints.contains(&file.endpoint) {
                file.generation = Generation::Old;
            }
        }
    }

    /// Sets whether the snapshot needs a master that may fail.
    pub(crate) fn set_needed(&mut self, endpoint: &Endpoint, is_needed: bool) {
        if let Some(needed) = self.absent.get_mut(&key(endpoint)) {
            *needed = is_needed;
        }
    }

    /// The numbers of workers, without their files.
    pub(crate) const fn workers(&self) -> &Found {
        &self.workers
    }

    /// Adds an endpoint that gave no answer.
    pub(crate) fn add_failure(&mut self, endpoint: &Endpoint, failure: &Failure, verdict: Verdict) {
        self.awaited.remove(&key(endpoint));
        if let Verdict::OtherKind { is_sure } = verdict {
            self.absent.remove(&key(endpoint));
            self.count_out(endpoint);
            if is_sure {
                return;
            }
            self.unsure += 1;
        }
        let reason = failure.to_string().chars().take(REASON_MAX_CHARS).collect();
        self.unanswered.push(Unanswered { endpoint: endpoint.to_string(), reason });
    }

    /// Endpoints, including sockets that may be of another kind.
    pub(crate) const fn endpoints(&self) -> usize {
        self.endpoints + self.unsure
    }

    /// Endpoints, without sockets that may be of another kind.
    pub(crate) const fn certain_endpoints(&self) -> usize {
        self.endpoints
    }

    /// Sockets that are or may be of another kind.
    pub(crate) const fn left_out(&self) -> usize {
        self.left_out
    }

    /// Certain endpoints that gave no answer.
    pub(crate) fn failed(&self) -> usize {
        self.absent.len()
    }

    /// Certain endpoints that gave no answer and that the snapshot needs.
    pub(crate) fn needed_failed(&self) -> usize {
        self.absent.values().filter(|is_needed| **is_needed).count()
    }

    /// Endpoints that gave no answer, including sockets that may be of another kind.
    pub(crate) fn missing(&self) -> usize {
        self.failed() + self.unsure
    }

    /// The endpoints of a source, and how many of them gave no answer.
    pub(crate) fn of_source(&self, name: &str) -> (u64, u64) {
        let absent = self.absent.keys().filter(|(source, _)| source.name() == name);
        (self.of_sources.get(name).copied().unwrap_or_default(), absent.count() as u64)
    }

    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The two lists for the manifest.
    pub(crate) fn into_parts(mut self) -> (Vec<AnswerFile>, Vec<Unanswered>) {
        for endpoint in self.awaited.into_values() {
            self.unanswered.push(Unanswered { endpoint, reason: BROKEN_TASK.to_owned() });
        }
        // Answers arrive in any order; a sorted manifest is easier to read and to compare.
        self.files.sort_by(|left, right| left.name.cmp(&right.name));
        self.unanswered.sort_by(|left, right| left.endpoint.cmp(&right.endpoint));
        (self.files, self.unanswered)
    }
}
