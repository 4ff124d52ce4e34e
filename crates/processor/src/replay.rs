//! The parent's own sender: a thread that gives Graphite one batch at a time, from the outbox or of the parent's own, and tells how it
//! went. It decides nothing: what goes when is the main thread's affair, and a slow receiver keeps only this thread waiting.

use std::io::ErrorKind;

use crossbeam_channel::{Receiver, Sender};
use daemon::Clock;
use receivers::outbox::{Entry, Stored};
use receivers::{Delivery, Dispatcher, Error, Graphite};

use crate::keeper::Event;

/// What is to be sent.
#[derive(Debug)]
pub(crate) enum Order {
    /// A batch of the outbox.
    Stored {
        /// What it is.
        entry: Entry,
        /// Where its lines are.
        lines: Stored,
    },
    /// Lines about ourselves.
    Own {
        /// Epoch seconds.
        timestamp: String,
        /// The lines.
        lines: Vec<u8>,
    },
}

/// How it went.
#[derive(Debug)]
pub(crate) enum Sent {
    /// The receiver has it.
    Taken,
    /// It has not, and why.
    Refused(String),
    /// The batch is not what was written, and what is wrong with it.
    Damaged(String),
    /// Somebody took the batch away.
    Gone,
    /// The batch cannot be read just now, and why.
    Unreadable(String),
}

/// Sends until the orders end.
pub(crate) fn run(
    config: config::Graphite,
    clock: Clock,
    orders: &Receiver<Order>,
    events: &Sender<Event>,
) {
    // However this thread ends, the parent hears of it.
    let _last_word = LastWord(events);
    let mut graphite = Graphite::new(config, clock);
    for order in orders {
        let event = match order {
            Order::Stored { entry, lines } => {
                let delivery = Delivery { timestamp: &entry.timestamp, lines: &lines };
                let sent = sent(graphite.deliver(delivery));
                Event::Replayed { entry, sent }
            }
            Order::Own { timestamp, lines } => {
                let delivery = Delivery { timestamp: &timestamp, lines: &lines };
                Event::OwnSent { sent: sent(graphite.deliver(delivery)) }
            }
        };
        if events.send(event).is_err() {
            return;
        }
    }
}

struct LastWord<'a>(&'a Sender<Event>);

impl Drop for LastWord<'_> {
    fn drop(&mut self) {
        let _ = self.0.send(Event::SenderEnded);
    }
}

fn sent(result: Result<(), Error>) -> Sent {
    match result {
        Ok(()) => Sent::Taken,
        // Only what is found before the first line leaves tells about the batch itself.
        Err(Error::Unreadable { source, begun: false }) => match source.kind() {
            ErrorKind::InvalidData => Sent::Damaged(source.to_string()),
            ErrorKind::NotFound => Sent::Gone,
            _ => Sent::Unreadable(source.to_string()),
        },
        Err(error @ Error::Unreadable { .. }) => Sent::Unreadable(error.to_string()),
        Err(error) => Sent::Refused(error.to_string()),
    }
}
