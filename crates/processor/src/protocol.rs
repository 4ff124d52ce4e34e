//! What a keeper and its worker say to each other: one JSON object a line, over the child's stdin and stdout.
//!
//! The worker's first line in is its configuration, so that it reads no file of its own; the end of its stdin ends it. Nothing else
//! may write to its stdout: logs go to stderr.

use std::io::{self, BufRead, Write};

use receivers::outbox::Entry;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::gate::Mode;

/// What a worker is told.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    /// First of all: what it runs on.
    Begin {
        /// The configuration, as the parent read it.
        config: Box<config::Process>,
        /// This machine's name.
        host: String,
    },
    /// A snapshot to fold and deliver.
    Job {
        /// Its name in the spool.
        snapshot: String,
        /// On which road.
        mode: Mode,
    },
}

/// What a worker says.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    /// The configuration is taken; jobs may come.
    Ready,
    /// The batch is folded; from here on its lines go to receivers.
    Folded,
    /// A dispatcher that nothing waits for has done its part, or could not.
    Beside {
        /// Its name.
        dispatcher: String,
        /// What is wrong with it.
        fault: Option<String>,
    },
    /// The job is done with.
    Finished {
        /// How it ended.
        outcome: Outcome,
        /// What its files hold that an operator should know.
        findings: Findings,
    },
}

/// What a worker found in a snapshot. Only the parent, which hears of all, knows what is new.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Findings {
    /// At most [`FINDINGS_MAX`]; `None` where the snapshot was not folded.
    pub(crate) list: Option<Vec<Finding>>,
    /// How many more there are.
    pub(crate) more: usize,
}

/// One thing that a worker found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Finding {
    pub(crate) kind: FindingKind,
    /// The file, endpoint or name that it is about.
    pub(crate) subject: String,
    /// The same text as long as it is the same finding.
    pub(crate) state: String,
    /// What to log.
    pub(crate) text: String,
}

/// What a finding means for those to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum FindingKind {
    /// A file of which something could not be used, until a snapshot comes without it.
    Damage,
    /// Something odd that costs nothing, until a snapshot comes without it.
    Oddity,
    /// Something odd about a name, which is told once.
    Name,
}

/// Findings of one snapshot that are told to the parent.
pub(crate) const FINDINGS_MAX: usize = 100;

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Outcome {
    /// Every dispatcher that must have the batch has it.
    Delivered,
    /// The outbox has it.
    Stored {
        /// As what.
        entry: Entry,
        /// Why the receiver did not take it, where it was asked.
        refused: Option<String>,
    },
    /// Nobody has it.
    Undelivered {
        /// Why the receiver did not take it, where it was asked.
        refused: Option<String>,
        /// Why the outbox did not.
        unstored: String,
    },
    /// Somebody took the snapshot away.
    Gone,
    /// It cannot be read just now: a later try may.
    Unreadable {
        /// Why not.
        reason: String,
    },
    /// It cannot be folded, now or later.
    Unusable {
        /// Why not.
        reason: String,
    },
}

/// Writes one message and its line end.
pub(crate) fn send(to: &mut impl Write, message: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    to.write_all(&line)?;
    to.flush()
}

/// Reads one message; `None` at the end.
pub(crate) fn receive<T: DeserializeOwned>(from: &mut impl BufRead) -> io::Result<Option<T>> {
    let mut line = Vec::new();
    if from.read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    Ok(Some(serde_json::from_slice(&line)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_pass_one_a_line() {
        let mut pipe = Vec::new();
        let undelivered =
            Outcome::Undelivered { refused: Some("down\nand out".into()), unstored: "full".into() };
        send(&mut pipe, &Reply::Folded).unwrap();
        let findings = Findings::default();
        let finished = Reply::Finished { outcome: undelivered.clone(), findings };
        send(&mut pipe, &finished).unwrap();
        assert_eq!(pipe.iter().filter(|byte| **byte == b'\n').count(), 2);
        let mut from = pipe.as_slice();
        assert!(matches!(receive(&mut from).unwrap(), Some(Reply::Folded)));
        let Some(Reply::Finished { outcome, .. }) = receive(&mut from).unwrap() else { panic!() };
        assert_eq!(outcome, undelivered);
        assert!(receive::<Reply>(&mut from).unwrap().is_none());
    }

    #[test]
    fn what_is_no_message_is_an_error() {
        assert!(receive::<Reply>(&mut &b"a log line\n"[..]).is_err());
    }
}
