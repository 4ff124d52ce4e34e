//! The types of the core's interface: children, orders, replies, events and actions.
//!
//! Orders and replies also travel as JSON between the processes, so they carry no descriptor. The
//! descriptor of a batch goes beside its message, and the core knows it as a [`Descriptor`].

use std::time::{Duration, Instant};

use model::{SnapshotId, Timestamp};
use receivers::Outcome;
use serde::{Deserialize, Serialize};
use thiserror::Error;

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

/// The role of a child.
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

/// The number of a child process, never used again: a replacement has another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChildId(pub u64);

/// The number of an order. Its reply bears the same number, which tells a late reply apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OrderId(pub u64);

/// The number of a sealed memfd with a batch. The shell keeps it open until [`Action::Close`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Descriptor(pub u64);

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Death {
    /// With a bad status or by a fault.
    Crashed,
    /// By SIGKILL from outside.
    Killed,
    /// In order, after SIGTERM from outside.
    Terminated,
    /// By SIGKILL from the parent, because it overran a limit.
    Overdue,
}

/// An order to a child.
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
    SendFigures {
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
    /// Set a held batch aside, so that it can be looked at.
    Quarantine {
        /// The receiver's folder.
        folder: String,
        /// The file.
        entry: EntryName,
    },
    /// Take a settled snapshot out of the spool, unless a new one has its name. A release whose
    /// child died is ordered again, so the snapshot may have left the spool before.
    Release {
        /// Its directory.
        snapshot: Timestamp,
        /// The identity that the directory must have.
        identity: u64,
    },
    /// Move a snapshot that cannot be processed to `failed-dir`.
    GiveUp {
        /// Its directory.
        snapshot: Timestamp,
        /// Why.
        reason: String,
    },
    /// Report the state of the spool, and delete the hidden snapshots.
    Inspect,
    /// The core has the names of the last [`Reply::Names`]; further names may follow.
    Continue,
}

/// A message of a child.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Reply {
    /// The child has its configuration and takes orders.
    Ready,
    /// The child can never start.
    StartFailure(StartFailure),
    /// A snapshot is folded; its batch is in the descriptor.
    Folded {
        /// The snapshot's id.
        id: SnapshotId,
        /// Identity of its directory, as the fold child saw it.
        identity: u64,
        /// Values in the batch.
        points: u64,
        /// Bytes of the batch.
        bytes: u64,
        /// Damage and oddities in the files.
        findings: Findings,
    },
    /// A snapshot was not folded.
    FoldFailed {
        /// Why.
        cause: Cause,
        /// In words.
        reason: String,
    },
    /// The receiver has the batch, but for what it left out.
    Delivered(Outcome),
    /// The receiver does not take batches now.
    Refused {
        /// Why.
        reason: String,
        /// How long it asks us to wait before the next try.
        wait: Option<Duration>,
    },
    /// The receiver refuses the batch, which may be because of the batch or because of its own
    /// state. Whether it takes other batches shows which.
    Doubtful {
        /// Why.
        reason: String,
    },
    /// The receiver takes batches, but not this one.
    Rejected {
        /// Why.
        reason: String,
    },
    /// The batch differs from what was written.
    Damaged {
        /// How.
        reason: String,
    },
    /// Files of the outbox. Such messages come before [`Reply::Ready`], until all files are listed.
    Folder(Folder),
    /// The batch is on the disk, in all folders.
    Held {
        /// Bytes that the file takes, in blocks.
        size_bytes: u64,
    },
    /// The hold failed, and nothing of the batch is on the disk.
    HoldFailed {
        /// Why.
        reason: String,
    },
    /// The held batch is in the descriptor.
    Loaded,
    /// The held batch could not be read.
    LoadFailed {
        /// Why.
        cause: Cause,
        /// In words.
        reason: String,
    },
    /// The files are removed.
    Dropped {
        /// Why some could not be removed.
        failure: Option<String>,
    },
    /// The snapshot has left the spool.
    Released {
        /// Why its files could not be deleted, if it is only hidden.
        undeleted: Option<String>,
    },
    /// The snapshot could not be released or moved, and stays in the spool.
    ReleaseFailed {
        /// Why.
        reason: String,
    },
    /// The snapshot is in `failed-dir`.
    GivenUp {
        /// Older snapshots that were removed from there because of `failed-limit`.
        removed: u64,
    },
    /// Names of snapshots in the spool. No more follow until [`Order::Continue`].
    Names {
        /// Their directories.
        snapshots: Vec<Timestamp>,
    },
    /// The state of the spool.
    Inspected {
        /// Snapshots in the spool.
        waiting: u64,
        /// The oldest of them.
        oldest: Option<Timestamp>,
        /// Hidden directories that cannot be deleted.
        undeleted: u64,
        /// Why one of them cannot be deleted.
        reason: Option<String>,
    },
}

/// Why something could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// It was removed from outside.
    Missing,
    /// It cannot be read now; a later try may succeed.
    Unreadable,
    /// Its content cannot be used, now or later.
    Unusable,
}

/// Files of a receiver's folder in the outbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Folder {
    /// The receiver's name.
    pub name: String,
    /// Its held batches, or some of them.
    pub files: Vec<OutboxFile>,
}

/// A held batch in the outbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutboxFile {
    /// Its name.
    pub entry: EntryName,
    /// Bytes that the file takes, in blocks.
    pub size_bytes: u64,
}

/// Findings in a snapshot. The core decides which of them are new, because it gets the findings of
/// all snapshots.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Findings {
    /// At most [`FINDINGS_MAX`].
    pub list: Vec<Finding>,
    /// The number of further findings.
    pub more: usize,
}

/// Findings that one reply lists.
pub const FINDINGS_MAX: usize = 100;

/// Damage or an oddity in a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Its kind.
    pub kind: FindingKind,
    /// The file, endpoint or name.
    pub subject: String,
    /// A text that stays the same while the finding lasts.
    pub state: String,
    /// The text for the log.
    pub text: String,
}

/// The kind of a finding: how long it lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FindingKind {
    /// A file is damaged, until a snapshot comes without the damage.
    Damage,
    /// An oddity that costs no metric, until a snapshot comes without it.
    Oddity,
    /// An odd name, which is logged once.
    Name,
}

/// An event for the core.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Time has passed.
    Tick,
    /// The process of a child runs.
    Started {
        /// Which.
        child: ChildId,
        /// Its process number.
        pid: u32,
    },
    /// The process of a child could not be started.
    SpawnFailed {
        /// Which.
        child: ChildId,
        /// Why.
        reason: String,
    },
    /// A message of a child came.
    Reply {
        /// Which.
        child: ChildId,
        /// The order that it answers; `None` if it answers no order.
        order: Option<OrderId>,
        /// The message.
        reply: Reply,
        /// The batch that came with it.
        descriptor: Option<Descriptor>,
    },
    /// The system has reaped a child.
    Ended {
        /// Which.
        child: ChildId,
        /// How.
        death: Death,
    },
    /// The program is to end.
    Shutdown {
        /// The signal that asks for it.
        signal: &'static str,
    },
}

/// An action that the core asks of the shell.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Start a child.
    Start {
        /// Its number.
        child: ChildId,
        /// Its role.
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
    /// Tell a child to end, by closing its channel.
    Hangup(ChildId),
    /// Kill a child.
    Kill(ChildId),
    /// Close a descriptor.
    Close(Descriptor),
    /// Write to the log.
    Log(Notice),
    /// Tell the service manager that the program is ready.
    Ready,
    /// Tell the service manager the state of the program.
    Status(String),
    /// Tell the service manager that the program ends.
    Stopping,
    /// End the program.
    End(Result<(), StartFailure>),
}

/// The reason why a child can never start, which ends the program.
#[derive(Debug, Clone, PartialEq, Eq, Error, Serialize, Deserialize)]
#[error("{reason}")]
pub struct StartFailure {
    /// The text for the log.
    pub reason: String,
    /// Whether the configuration must change before another try can succeed.
    pub is_configuration: bool,
}
