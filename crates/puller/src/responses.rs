//! How the endpoints of one cycle have responded, for the log and for the manifest.

use std::collections::{HashMap, HashSet};

use spool::manifest::{AnswerFile, Unanswered};

use crate::client::Answers;
use crate::endpoint::Endpoint;
use crate::failure::Failure;
use crate::history::Verdict;

/// Characters of a reason in the manifest.
const REASON_MAX_CHARS: usize = 500;

/// The reason of an endpoint whose task panicked, as the log says it.
const BROKEN_TASK: &str = "its task broke down: a mistake of haproxystats-pull";

/// The responses so far.
#[derive(Debug)]
pub(crate) struct Responses {
    /// Without those that turned out to be other sockets.
    endpoints: usize,
    /// Sockets that are of another kind.
    left_out: usize,
    /// Those of them that only closed, in their first cycles: they may be endpoints in trouble, so
    /// the snapshot comes without them and counts them as missing.
    unsure: usize,
    /// The names of those that are not in the snapshot, of both kinds.
    absent: HashSet<String>,
    /// Address by name of those that have not responded yet.
    awaited: HashMap<String, String>,
    bytes: u64,
    files: Vec<AnswerFile>,
    unanswered: Vec<Unanswered>,
}

impl Responses {
    /// None yet of these.
    pub(crate) fn new(endpoints: &[Endpoint]) -> Self {
        let addresses = endpoints.iter().map(|it| (it.name.clone(), it.to_string()));
        Self {
            endpoints: endpoints.len(),
            left_out: 0,
            unsure: 0,
            absent: endpoints.iter().map(|endpoint| endpoint.name.clone()).collect(),
            awaited: addresses.collect(),
            bytes: 0,
            files: Vec::new(),
            unanswered: Vec::new(),
        }
    }

    /// A socket of another kind is not asked.
    pub(crate) fn leave_out(&mut self, endpoint: &Endpoint) {
        self.awaited.remove(&endpoint.name);
        self.left_out += 1;
        self.endpoints -= 1;
    }

    /// All answers of an endpoint are whole.
    pub(crate) fn add_answers(&mut self, endpoint: &Endpoint, answers: Answers) {
        self.awaited.remove(&endpoint.name);
        self.absent.remove(&endpoint.name);
        self.bytes += answers.bytes;
        let file = |name| AnswerFile {
            name,
            source: endpoint.source.name().to_owned(),
            endpoint: endpoint.to_string(),
        };
        self.files.extend(answers.files.into_iter().map(file));
    }

    /// An endpoint gave no answer.
    pub(crate) fn add_failure(&mut self, endpoint: &Endpoint, failure: &Failure, verdict: Verdict) {
        self.awaited.remove(&endpoint.name);
        if let Verdict::LeftOut { is_sure } = verdict {
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

    /// Endpoints that were asked, with those that may be of another kind.
    pub(crate) const fn endpoints(&self) -> usize {
        self.endpoints + self.unsure
    }

    /// Endpoints that are known to be of their kind, or are asked for by name.
    pub(crate) const fn certain_endpoints(&self) -> usize {
        self.endpoints
    }

    /// Sockets that are or may be of another kind.
    pub(crate) const fn left_out(&self) -> usize {
        self.left_out
    }

    /// Certain endpoints that gave no answer.
    pub(crate) fn failed(&self) -> usize {
        self.absent.len() - self.left_out
    }

    /// Endpoints that gave no answer, with those that may be of another kind.
    pub(crate) fn missing(&self) -> usize {
        self.failed() + self.unsure
    }

    /// Bytes of all answers.
    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The names of the endpoints that are not in the snapshot, and two lists for the manifest.
    pub(crate) fn into_parts(mut self) -> (HashSet<String>, Vec<AnswerFile>, Vec<Unanswered>) {
        let broken = self.awaited.into_values();
        let reason = || BROKEN_TASK.to_owned();
        self.unanswered.extend(broken.map(|endpoint| Unanswered { endpoint, reason: reason() }));
        // Answers arrive in any order; a manifest is easier to read, and to compare, in one.
        self.files.sort_by(|left, right| left.name.cmp(&right.name));
        self.unanswered.sort_by(|left, right| left.endpoint.cmp(&right.endpoint));
        (self.absent, self.files, self.unanswered)
    }
}
