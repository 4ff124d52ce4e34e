//! The responses of the endpoints of one cycle, for the log and for the manifest.

use std::collections::HashMap;

use sources::Source;
use spool::manifest::{AnswerFile, Unanswered};

use crate::client::Answers;
use crate::endpoint::Endpoint;
use crate::failure::Failure;
use crate::history::Verdict;

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
    bytes: u64,
    files: Vec<AnswerFile>,
    unanswered: Vec<Unanswered>,
}

impl Responses {
    pub(crate) fn new(endpoints: &[Endpoint]) -> Self {
        let addresses = endpoints.iter().map(|it| (key(it), it.to_string()));
        Self {
            endpoints: endpoints.len(),
            left_out: 0,
            unsure: 0,
            absent: endpoints.iter().map(|it| (key(it), it.is_needed)).collect(),
            awaited: addresses.collect(),
            bytes: 0,
            files: Vec::new(),
            unanswered: Vec::new(),
        }
    }

    /// Adds a socket of another kind, which is not asked.
    pub(crate) fn leave_out(&mut self, endpoint: &Endpoint) {
        self.awaited.remove(&key(endpoint));
        self.absent.remove(&key(endpoint));
        self.left_out += 1;
        self.endpoints -= 1;
    }

    /// Adds all answers of an endpoint.
    pub(crate) fn add_answers(&mut self, endpoint: &Endpoint, answers: Answers) {
        self.awaited.remove(&key(endpoint));
        self.absent.remove(&key(endpoint));
        self.bytes += answers.bytes;
        let file = |name| AnswerFile {
            name,
            source: endpoint.source.name().to_owned(),
            endpoint: endpoint.to_string(),
        };
        self.files.extend(answers.files.into_iter().map(file));
    }

    /// Adds an endpoint that gave no answer.
    pub(crate) fn add_failure(&mut self, endpoint: &Endpoint, failure: &Failure, verdict: Verdict) {
        self.awaited.remove(&key(endpoint));
        if let Verdict::OtherKind { is_sure } = verdict {
            self.absent.remove(&key(endpoint));
            self.left_out += 1;
            self.endpoints -= 1;
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
