//! Asks every receiver once whether it would take a batch now. Sends no line.

use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use daemon::{Clock, remedy};

use crate::child::send::transport;

/// The result of one receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiverCheck {
    /// The section of its configuration.
    pub receiver: String,
    /// Its address: a host and port, a URL or a directory.
    pub address: String,
    /// The time that the answer or the failure took.
    pub elapsed: Duration,
    /// What was found, or why a batch would not be delivered.
    pub result: Result<String, CheckFailure>,
}

/// Why a receiver would not take a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckFailure {
    /// What happened.
    pub reason: String,
    /// What to do about it.
    pub remedy: String,
}

impl CheckFailure {
    /// Takes messages apart, of which each ends with its remedy.
    fn of(messages: &[String]) -> Self {
        let (mut reasons, mut remedies) = (Vec::new(), Vec::new());
        for message in messages {
            let (reason, remedy) = remedy::split(message);
            reasons.push(reason);
            if !remedy.is_empty() && !remedies.contains(&remedy) {
                remedies.push(remedy);
            }
        }
        Self { reason: reasons.join("; "), remedy: remedies.join("; ") }
    }

    fn of_error(error: &receivers::Error) -> Self {
        match error {
            receivers::Error::Servers { errors } => {
                let messages: Vec<String> = errors.iter().map(ToString::to_string).collect();
                Self::of(&messages)
            }
            error => Self::of(&[error.to_string()]),
        }
    }
}

/// How long all checks may take. A disk or a resolver that hangs keeps a thread for ever.
const LIMIT: Duration = Duration::from_secs(90);

/// Asks all receivers of the configuration at the same time, and returns the results in the order
/// of the file. Each receiver has the limits of its deliveries.
#[must_use]
pub fn check(config: &config::Process, clock: Clock) -> Vec<ReceiverCheck> {
    let deadline = (clock.monotonic)() + LIMIT;
    let asked = config.receivers.iter().map(|receiver| {
        let (sender, answer) = bounded(1);
        let asked = receiver.clone();
        // Not joined, because a thread that hangs must not keep the others' results.
        thread::spawn(move || sender.send(check_one(&asked, clock)));
        (receiver, answer)
    });
    let asked: Vec<_> = asked.collect();
    let result = |(receiver, answer): (&config::Receiver, Receiver<ReceiverCheck>)| {
        answer.recv_deadline(deadline).unwrap_or_else(|error| unanswered(receiver, error))
    };
    asked.into_iter().map(result).collect()
}

fn check_one(receiver: &config::Receiver, clock: Clock) -> ReceiverCheck {
    let start = (clock.monotonic)();
    let (address, result) = match transport::open(receiver, false, clock) {
        Ok((_, mut transport)) => {
            (transport.address(), transport.check().map_err(|error| CheckFailure::of_error(&error)))
        }
        Err(error) => (String::new(), Err(CheckFailure::of(&[error]))),
    };
    let elapsed = (clock.monotonic)().saturating_duration_since(start);
    ReceiverCheck { receiver: receiver.name.to_string(), address, elapsed, result }
}

/// The result of a check that hangs or panicked.
fn unanswered(receiver: &config::Receiver, error: RecvTimeoutError) -> ReceiverCheck {
    let (elapsed, reason) = match error {
        RecvTimeoutError::Timeout => {
            (LIMIT, "no answer within 90s; look at the disk of its files, and at the resolver")
        }
        RecvTimeoutError::Disconnected => (Duration::ZERO, "the check crashed; please report this"),
    };
    ReceiverCheck {
        receiver: receiver.name.to_string(),
        address: String::new(),
        elapsed,
        result: Err(CheckFailure::of(&[reason.to_owned()])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_servers_have_a_reason_each_and_each_remedy_once() {
        let messages = ["a is away; start it", "b said \"x; y\"; start it", "c; look", "d"];
        let failure = CheckFailure::of(&messages.map(str::to_owned));
        assert_eq!(failure.reason, "a is away; b said \"x; y\"; c; d");
        assert_eq!(failure.remedy, "start it; look");
    }
}
