//! Asks every receiver once whether it would take a batch now. Sends no line.

use std::thread;
use std::time::Duration;

use daemon::Clock;

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
    /// What was found; or why a batch would not be delivered, with a remedy.
    pub result: Result<String, String>,
}

/// Asks all receivers of the configuration at the same time, and returns the results in the order
/// of the file. Each receiver has the limits of its deliveries.
#[must_use]
pub fn check(config: &config::Process, clock: Clock) -> Vec<ReceiverCheck> {
    thread::scope(|scope| {
        let ask = |receiver| scope.spawn(move || check_one(receiver, clock));
        let asked: Vec<_> = config.receivers.iter().map(ask).collect();
        let results = asked.into_iter().zip(&config.receivers);
        results
            .map(|(thread, receiver)| thread.join().unwrap_or_else(|_| broken(receiver)))
            .collect()
    })
}

fn check_one(receiver: &config::Receiver, clock: Clock) -> ReceiverCheck {
    let start = (clock.monotonic)();
    let (address, result) = match transport::open(receiver, false, clock) {
        Ok((_, mut transport)) => {
            (transport.address(), transport.check().map_err(|error| error.to_string()))
        }
        Err(error) => (String::new(), Err(error)),
    };
    let elapsed = (clock.monotonic)().saturating_duration_since(start);
    ReceiverCheck { receiver: receiver.name.to_string(), address, elapsed, result }
}

/// The result of a check that panicked.
fn broken(receiver: &config::Receiver) -> ReceiverCheck {
    ReceiverCheck {
        receiver: receiver.name.to_string(),
        address: String::new(),
        elapsed: Duration::ZERO,
        result: Err("the check crashed; please report this".to_owned()),
    }
}
