//! The end of the program: batches are delivered or held, within a limit, and snapshots whose fold
//! has not begun stay in the spool.

use std::time::{Duration, Instant};

use super::children::Work;
use super::notice::Notice;
use super::types::{Action, Role, StartFailure};
use super::{ChildId, Core, PendingBatch};

/// How long current folds may go on.
pub(crate) const FOLD_GRACE: Duration = Duration::from_secs(5);
/// How long idle children have to end.
const CHILD_GRACE: Duration = Duration::from_secs(1);

/// The part of the program's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Running,
    /// Batches in memory are delivered or held.
    Draining {
        folds_until: Instant,
        until: Instant,
    },
    /// The children are told to end.
    Closing {
        until: Instant,
    },
    Over,
}

impl Phase {
    pub(super) const fn is_running(self) -> bool {
        matches!(self, Self::Running)
    }

    pub(super) const fn is_over(self) -> bool {
        matches!(self, Self::Over)
    }

    pub(super) const fn expects_ends(self) -> bool {
        matches!(self, Self::Closing { .. } | Self::Over)
    }

    pub(super) const fn deadline(self) -> Option<Instant> {
        match self {
            Self::Running | Self::Over => None,
            Self::Draining { folds_until, .. } => Some(folds_until),
            Self::Closing { until } => Some(until),
        }
    }
}

impl Core {
    pub(super) fn shutdown(&mut self, signal: &'static str) {
        if !self.phase.is_running() {
            return;
        }
        let waiting = self.queue.len();
        let notice = Notice::info("ending: finishing what the workers hold");
        self.log(notice.text("signal", signal).field("waiting", waiting));
        self.act(Action::Stopping);
        let is_folding = self.queue.folding() > 0;
        let fold_grace = FOLD_GRACE.min(self.settings.fold_limit);
        let folds_until = self.now() + if is_folding { fold_grace } else { Duration::ZERO };
        let graces = self.receivers.iter().map(|receiver| receiver.settings.end_grace);
        let until = folds_until + graces.max().unwrap_or_default();
        self.phase = Phase::Draining { folds_until, until };
    }

    /// Ends the program because a child can never start.
    pub(super) fn fail(&mut self, failure: StartFailure) {
        for child in self.children.ids() {
            self.act(Action::Kill(child));
        }
        self.act(Action::End(Err(failure)));
        self.phase = Phase::Over;
    }

    pub(super) fn look_at_end(&mut self) {
        let now = self.now();
        match self.phase {
            Phase::Running | Phase::Over => {}
            Phase::Draining { folds_until, until } => {
                let is_folding = self.queue.folding() > 0 && now < folds_until;
                let is_owing = self.batches.values().any(|batch| self.may_be_settled(batch));
                let is_busy = is_folding || is_owing || self.is_disk_busy();
                if is_busy && now < until {
                    if now >= folds_until {
                        self.phase = Phase::Draining { folds_until: until, until };
                    }
                    return;
                }
                for child in self.children.ids() {
                    self.hang_up(child);
                }
                self.phase = Phase::Closing { until: now + CHILD_GRACE };
            }
            Phase::Closing { until } => {
                let is_done = self.children.iter().next().is_none();
                if !is_done && now < until {
                    return;
                }
                for child in self.children.ids() {
                    self.act(Action::Kill(child));
                }
                let waiting = self.queue.len();
                self.log(Notice::info("ended").field("waiting", waiting));
                self.act(Action::End(Ok(())));
                self.phase = Phase::Over;
            }
        }
    }

    /// Whether a batch is owed to a receiver, and a child lives that could deliver or hold it.
    fn may_be_settled(&self, batch: &PendingBatch) -> bool {
        let has_sender = |index: &usize| self.children.running(Role::Send(*index)).is_some();
        let may_hold = self.children.running(Role::Outbox).is_some();
        !batch.owed.is_empty() && (may_hold || batch.owed.iter().any(has_sender))
    }

    /// Tells an idle child to end and kills a busy one, whose batch is held on the disk by now or
    /// folded again after the next start.
    fn hang_up(&mut self, child: ChildId) {
        let is_idle = self.children.get(child).is_some_and(|child| child.jobs.is_empty());
        self.act(if is_idle { Action::Hangup(child) } else { Action::Kill(child) });
    }

    /// Whether a batch is still to be held or dropped, or a snapshot to be released.
    fn is_disk_busy(&self) -> bool {
        let mut jobs = self.children.iter().flat_map(|child| &child.jobs);
        let is_at_work = jobs.any(|job| {
            matches!(job.work, Work::Release { .. } | Work::Drop { .. } | Work::Hold { .. })
        });
        let has_spool = self.children.running(Role::Spool).is_some();
        is_at_work
            || (has_spool && self.spool.releases() > 0 && !self.spool.is_stuck())
            || self.outbox.has_drops() && self.children.running(Role::Outbox).is_some()
    }
}
