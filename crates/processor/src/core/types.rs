//! The words that the core and the world around it exchange: children, orders, replies, events and
//! actions.
//!
//! Orders and replies also travel as JSON between the processes, so they carry no descriptor: the
//! descriptor of a batch goes beside its message, and the core knows it by a [`Descriptor`].

use std::time::Instant;

use model::{SnapshotId, Timestamp};
use serde::{Deserialize, Serialize};

use super::notice::Notice;
use crate::entry::EntryName;

/// The time of a step.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// For limits and pauses.
    pub monotonic: Instant,
    /// For timestamps and ages.
    pub epoch_seconds: u64,
}

/// What a child does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Role {
    /// Reads snapshots and folds them.
    Fold(usize),
    /// Sends to the receiver of this index.
    Send(usize),
    /// Holds batches on the disk of `outbox-dir`.
    Outbox,
    /// Watches `src-dir`, releases snapshots and moves them to `failed-dir`.
    Spool,
}

/// A child process, for good: its replacement has another number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChildId(pub u64);

/// An order: its reply bears the same number, and a late reply is known by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OrderId(pub u64);

/// A sealed memfd with a batch, which the shell keeps open until [`Action::Close`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Descriptor(pub u64);

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Death {
    /// By itself, with a bad status or a fault.
    Crashed,
    /// By somebody's SIGKILL.
    Killed,
    /// In order, because somebody's SIGTERM asked it to.
    Asked,
    /// It overran a limit and was killed by us.
    Overdue,
}

/// What a child is to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// Fold a snapshot.
    Fold {
        /// Its directory.
        snapshot: Timestamp,
    },
    /// Deliver the batch of the descriptor.
    Send,
    /// Deliver figures about the program itself.
    SendOwn {
        /// Epoch seconds.
        timestamp: Timestamp,
        /// Name and value.
        figures: Vec<(String, u64)>,
    },
    /// Write the batch of the descriptor and link it into the folders of the receivers.
    Hold {
        /// The file's name in each folder.
        entry: EntryName,
        /// Receivers that are owed the batch.
        folders: Vec<String>,
        /// Whether it must outlive a power cut.
        sync: bool,
    },
    /// Read a held batch into a memfd.
    Load {
        /// The receiver's folder.
        folder: String,
        /// The file.
        entry: EntryName,
    },
    /// Remove held batches.
    Drop {
        /// The receiver's folder.
        folder: String,
        /// The files.
        entries: Vec<EntryName>,
    },
    /// Set a held batch aside, for somebody to look at.
    Quarantine {
        /// The receiver's folder.
        folder: String,
        /// The file.
        entry: EntryName,
    },
    /// Take a settled snapshot out of the spool, unless a new one has its name: a release whose
    /// child died is ordered again.
    Release {
        /// Its directory.
        snapshot: Timestamp,
        /// What the directory must be.
        identity: u64,
    },
    /// Move a snapshot that cannot be processed to `failed-dir`.
    GiveUp {
        /// Its directory.
        snapshot: Timestamp,
        /// Why.
        reason: String,
    },
    /// Look how the spool stands, and delete what is hidden.
    Inspect,
    /// The names of the last [`Reply::Found`] are taken; more may come.
    Continue,
}

/// What a child answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Reply {
    /// It has its configuration and takes orders.
    Ready,
    /// It can never start: the program must end.
    Unfit {
        /// Why.
        reason: String,
        /// Whether the configuration must change first.
        is_configuration: bool,
    },
    /// A snapshot is folded; its batch is in the descriptor.
    Folded {
        /// What identifies it.
        id: SnapshotId,
        /// Of its directory, as the fold child saw it.
        identity: u64,
        /// Values in the batch.
        points: u64,
        /// Bytes of the batch.
        bytes: u64,
        /// What the files hold that an operator should know.
        findings: Findings,
    },
    /// A snapshot was not folded.
    Unfolded {
        /// Why.
        cause: Cause,
        /// In words.
        reason: String,
    },
    /// The receiver has the batch.
    Delivered,
    /// The receiver does not take batches now.
    Refused {
        /// Why.
        reason: String,
    },
    /// The receiver takes batches, but not this one.
    Rejected {
        /// Why.
        reason: String,
    },
    /// The batch is not what was written.
    Damaged {
        /// What is wrong with it.
        reason: String,
    },
    /// What stands in the outbox; several come before [`Reply::Ready`].
    Listed {
        /// The receiver's folder.
        folder: String,
        /// Its files.
        entries: Vec<Listed>,
    },
    /// The batch is on the disk, in all folders.
    Held {
        /// Bytes that it takes there, in blocks.
        size_bytes: u64,
    },
    /// Nothing of the batch is on the disk.
    Unheld {
        /// Why.
        reason: String,
    },
    /// The held batch is in the descriptor.
    Loaded,
    /// The held batch could not be read.
    Unloaded {
        /// Why.
        cause: Cause,
        /// In words.
        reason: String,
    },
    /// The files are gone.
    Dropped {
        /// Why some could not be removed.
        failure: Option<String>,
    },
    /// The snapshot has left the spool.
    Released {
        /// Why it could not be deleted, if it is only hidden.
        undeleted: Option<String>,
    },
    /// The snapshot could not be renamed, and stays.
    Unreleased {
        /// Why.
        reason: String,
    },
    /// The snapshot is in `failed-dir`.
    GivenUp {
        /// Older ones that went because of `failed-limit`.
        removed: u64,
    },
    /// Snapshots stand in the spool. No more follow until [`Order::Continue`].
    Found {
        /// Their directories.
        snapshots: Vec<Timestamp>,
    },
    /// How the spool stands.
    Inspected {
        /// Snapshots in it.
        waiting: u64,
        /// The oldest of them.
        oldest: Option<Timestamp>,
        /// Hidden directories that cannot be deleted.
        undeleted: u64,
        /// Why the first of them cannot.
        reason: Option<String>,
    },
}

/// Why something could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// Somebody took it away.
    Missing,
    /// Not now; a later try may succeed.
    Unreadable,
    /// It is what it is, now and later.
    Unusable,
}

/// A file of the outbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// Its name.
    pub entry: EntryName,
    /// Bytes that it takes, in blocks.
    pub size_bytes: u64,
}

/// What a child found in a batch or a snapshot. Only the core, which hears of all, knows what is
/// new.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Findings {
    /// At most [`FINDINGS_MAX`].
    pub list: Vec<Finding>,
    /// How many more there are.
    pub more: usize,
}

/// Findings that one reply lists.
pub const FINDINGS_MAX: usize = 100;

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What it means for later snapshots.
    pub kind: FindingKind,
    /// The file, endpoint or name that it is about.
    pub subject: String,
    /// The same text as long as it is the same finding.
    pub state: String,
    /// What to log.
    pub text: String,
}

/// What a finding means for later snapshots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FindingKind {
    /// A file is damaged, until a snapshot comes without the damage.
    Damage,
    /// Something is odd and costs nothing, until a snapshot comes without it.
    Oddity,
    /// A name is odd, which is logged once.
    Name,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Time has passed.
    Tick,
    /// A child runs.
    Started {
        /// Which.
        child: ChildId,
        /// Its process number.
        pid: u32,
    },
    /// A child could not be started.
    Unstarted {
        /// Which.
        child: ChildId,
        /// Why.
        reason: String,
    },
    /// A child answered.
    Reply {
        /// Which.
        child: ChildId,
        /// The order that it answers; `None` where it speaks by itself.
        order: Option<OrderId>,
        /// The answer.
        reply: Reply,
        /// The batch that came with it.
        descriptor: Option<Descriptor>,
    },
    /// A child is gone for good: the system has reaped it.
    Ended {
        /// Which.
        child: ChildId,
        /// How.
        death: Death,
    },
    /// The program is to end.
    Shutdown {
        /// Whose wish it is.
        signal: &'static str,
    },
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Start a child.
    Start {
        /// Its number.
        child: ChildId,
        /// What it is to do.
        role: Role,
    },
    /// Give a child an order.
    Order {
        /// Which child.
        child: ChildId,
        /// The number of the order.
        id: OrderId,
        /// The order.
        order: Order,
        /// The batch that goes with it.
        descriptor: Option<Descriptor>,
    },
    /// Tell a child to end when it has nothing to do.
    Hangup(ChildId),
    /// Kill a child.
    Kill(ChildId),
    /// Forget a descriptor.
    Close(Descriptor),
    /// Write to the log.
    Log(Notice),
    /// Tell the service manager that the program is ready.
    Ready,
    /// Tell the service manager how things stand.
    Status(String),
    /// Tell the service manager that the program ends.
    Stopping,
    /// End the program.
    End(Result<(), Failure>),
}

/// Why the program ends by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// For the log.
    pub reason: String,
    /// Whether the configuration must change first.
    pub is_configuration: bool,
}
