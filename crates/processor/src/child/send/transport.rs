//! The encoding and the transport of each kind of receiver: a new kind is a variant here, and one
//! of [`Encoding`] if its lines are of a new format.

use config::ReceiverKind;
use daemon::Clock;
use model::SnapshotId;
use receivers::graphite::Paths;
use receivers::influxdb::{Precision, Schema};
use receivers::{Graphite, InfluxDb, InvalidPattern, Lines, LocalStore};

use super::lines::Encoding;
use crate::core::Reply;

/// The transport to one receiver.
#[derive(Debug)]
pub(super) enum Transport {
    Graphite(Graphite),
    /// Boxed, because it is much larger than the others.
    InfluxDb(Box<InfluxDb>),
    LocalStore(LocalStore),
}

/// The encoding and the first transport of a receiver. `is_only` tells that no receiver is of
/// another kind than local-store.
///
/// # Errors
///
/// The configuration cannot be used.
pub(super) fn open(
    receiver: &config::Receiver,
    is_only: bool,
    clock: Clock,
) -> Result<(Encoding, Transport), String> {
    let invalid = |error: InvalidPattern| error.to_string();
    let paths = |naming| Paths::new(naming).map_err(invalid);
    match &receiver.kind {
        ReceiverKind::Graphite(graphite) => Ok((
            Encoding::Graphite(paths(&graphite.naming)?),
            Transport::Graphite(Graphite::new(graphite.clone(), clock)),
        )),
        ReceiverKind::InfluxDb(influxdb) => Ok((
            Encoding::Influx(Schema::new(influxdb, Precision::Seconds).map_err(invalid)?),
            Transport::InfluxDb(Box::new(InfluxDb::new(influxdb.clone(), clock))),
        )),
        ReceiverKind::LocalStore(store) => Ok((
            Encoding::Graphite(paths(&store.naming)?),
            Transport::LocalStore(LocalStore::new(store.clone(), clock, is_only)),
        )),
    }
}

impl Transport {
    /// A further transport to the same receiver; `None` if it takes one batch at a time.
    pub(super) fn another(&self) -> Option<Self> {
        match self {
            Self::Graphite(graphite) => Some(Self::Graphite(graphite.another())),
            Self::InfluxDb(_) | Self::LocalStore(_) => None,
        }
    }

    /// Whether the receiver takes the lines that version 0.1.0 stored, which are Graphite's.
    pub(super) const fn takes_old_lines(&self) -> bool {
        match self {
            Self::Graphite(_) | Self::LocalStore(_) => true,
            Self::InfluxDb(_) => false,
        }
    }

    pub(super) fn deliver(&mut self, id: &SnapshotId, lines: &dyn Lines) -> Reply {
        let delivered = match self {
            Self::Graphite(graphite) => graphite.deliver(lines),
            Self::InfluxDb(influxdb) => influxdb.deliver(lines),
            Self::LocalStore(store) => store.deliver(id, lines),
        };
        match delivered {
            Ok(outcome) => Reply::Delivered(outcome),
            Err(receivers::Error::Unreadable { source, .. }) => {
                Reply::Damaged { reason: source.to_string() }
            }
            Err(receivers::Error::Doubtful { reason }) => Reply::Doubtful { reason },
            Err(receivers::Error::Rejected { reason }) => Reply::Rejected { reason },
            Err(error) => Reply::Refused { reason: error.to_string(), wait: error.wait() },
        }
    }
}
