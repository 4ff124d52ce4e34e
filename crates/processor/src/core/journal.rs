//! The log of conditions that last: a line when a condition begins, changes and ends, and no line
//! while it lasts.

use std::collections::BTreeSet;

use daemon::Conditions;
use daemon::conditions::Line;
use model::Timestamp;

use super::Core;
use super::notice::Notice;
use super::types::{Death, Finding, FindingKind, Findings, Role};

/// Conditions of children, receivers and snapshots at one time.
const STATES_MAX: usize = 2000;
/// Damages and oddities that are followed at one time, and names that are logged at all.
const FINDINGS_MAX: usize = 1000;

/// A condition of a child, a receiver, the spool or the outbox. Its debug form is its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Condition {
    StartFailure(Role),
    ChildDeath(Role),
    MissingSnapshot,
    UnreadableSnapshot,
    FailedSnapshot,
    ReleaseFailure,
    DeletionFailure,
    ParkedLimit,
    FindingsLimit,
    ReceiverDown(usize),
    Backlog(usize),
    OutboxLimit(usize),
    LostBatch(usize),
    RefusedPoints { receiver: usize, is_figures: bool },
    LongLines { receiver: usize, is_figures: bool },
    UnreadableBatch(usize),
    HoldFailure,
    DropFailure,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Journal {
    conditions: Conditions,
    /// Damages and oddities, until a snapshot comes without them.
    findings: Conditions,
    /// Odd names, each logged once.
    names: Conditions,
    /// The snapshots of [`Condition::UnreadableSnapshot`], which ends with the last of them. The
    /// bound of the spool is their bound too.
    pub(super) unreadable: BTreeSet<Timestamp>,
    /// The same for [`Condition::ReleaseFailure`].
    pub(super) unreleased: BTreeSet<Timestamp>,
}

impl Journal {
    pub(super) const fn new() -> Self {
        Self {
            conditions: Conditions::new(STATES_MAX),
            findings: Conditions::new(FINDINGS_MAX),
            names: Conditions::new(FINDINGS_MAX),
            unreadable: BTreeSet::new(),
            unreleased: BTreeSet::new(),
        }
    }
}

impl Core {
    /// Logs that a condition begins or changes.
    pub(super) fn log_begin(&mut self, condition: Condition, state: &str, notice: Notice) {
        let line = self.begin(condition, state);
        self.log_line(line, notice);
    }

    /// Logs that a condition ends, if it was there.
    pub(super) fn log_end(&mut self, condition: Condition, notice: Notice) {
        let line = self.end(condition);
        self.log_line(line, notice);
    }

    /// Begins a condition that another line has logged already.
    pub(super) fn begin(&mut self, condition: Condition, state: &str) -> Line {
        self.journal.conditions.begin(&format!("{condition:?}"), state, self.now.monotonic)
    }

    /// Ends a condition whose end needs no line.
    pub(super) fn end(&mut self, condition: Condition) -> Line {
        self.journal.conditions.end(&format!("{condition:?}"), self.now.monotonic)
    }

    fn log_line(&mut self, line: Line, notice: Notice) {
        if line.is_due() {
            self.log(notice.note(line.note()));
        }
    }

    /// A child ended and is replaced. The snapshot is the one that a fold child worked on.
    pub(super) fn log_death(&mut self, role: Role, pid: u32, death: Death, snapshot: Option<&str>) {
        let is_worker = matches!(role, Role::Fold(_));
        let text = match death {
            Death::Terminated if is_worker => "a worker ended on SIGTERM, replacing it",
            Death::Terminated => "a child ended on SIGTERM, replacing it",
            Death::Overdue if is_worker => {
                "a worker made no progress (job-timeout), killed, replacing it"
            }
            Death::Overdue => "a child overran its limit, killed, replacing it",
            Death::Crashed | Death::Killed if is_worker => "a worker died, replacing it",
            Death::Crashed | Death::Killed => "a child died, replacing it",
        };
        let notice = match death {
            Death::Terminated => Notice::info(text),
            Death::Overdue => Notice::error(text),
            Death::Crashed | Death::Killed => Notice::warn(text),
        };
        let mut notice = notice.text("child", self.name_of(role)).field("pid", pid);
        if death == Death::Crashed || death == Death::Killed {
            notice = notice.field("death", format!("{death:?}"));
        }
        if let Some(snapshot) = snapshot {
            notice = notice.text("snapshot", snapshot);
        }
        self.log_begin(Condition::ChildDeath(role), &format!("{death:?}"), notice);
    }

    /// A snapshot was read, or is no longer there to be read.
    pub(super) fn log_readable(&mut self, snapshot: &Timestamp) {
        self.journal.unreadable.remove(snapshot);
        if self.journal.unreadable.is_empty() {
            let notice = Notice::info("snapshots can be read again");
            self.log_end(Condition::UnreadableSnapshot, notice);
        }
    }

    pub(super) fn log_undeleted(&mut self, reason: &str) {
        let text = "a snapshot that is done cannot be deleted: it takes up room under a hidden \
                    name, counted in UndeletedSnapshots, and is tried again";
        let notice = Notice::warn(text).text("reason", reason);
        self.log_begin(Condition::DeletionFailure, "", notice);
    }

    /// Logs the findings of a snapshot that are new, and those that are gone.
    pub(super) fn log_findings(&mut self, snapshot: &str, findings: &Findings) {
        let now = self.now.monotonic;
        let mut keys = BTreeSet::new();
        for finding in &findings.list {
            let key = key(finding);
            let conditions = match finding.kind {
                FindingKind::Name => &mut self.journal.names,
                FindingKind::Damage | FindingKind::Oddity => &mut self.journal.findings,
            };
            let line = conditions.begin(&key, &finding.state, now);
            if line.is_due() {
                self.log(finding_notice(snapshot, finding).note(line.note()));
            }
            keys.insert(key);
        }
        if findings.more > 0 {
            // A finding that the list lacks may be among these, so no finding ends now.
            let notice = Notice::warn("more findings in one snapshot than are logged")
                .text("snapshot", snapshot)
                .field("more", findings.more);
            return self.log_begin(Condition::FindingsLimit, "", notice);
        }
        self.end(Condition::FindingsLimit);
        for (key, line) in self.journal.findings.end_others(|key| keys.contains(key), now) {
            let notice = Notice::info("found no more").text("snapshot", snapshot);
            self.log_line(line, notice.text("what", key));
        }
    }
}

/// A file has one kind of damage at a time, an endpoint can be odd in several ways.
fn key(finding: &Finding) -> String {
    match finding.kind {
        FindingKind::Damage => format!("damage of {}", finding.subject),
        FindingKind::Oddity | FindingKind::Name => {
            format!("{} of {}", finding.state, finding.subject)
        }
    }
}

fn finding_notice(snapshot: &str, finding: &Finding) -> Notice {
    let Finding { subject, text, .. } = finding;
    let (notice, subject_name, text_name) = match finding.kind {
        FindingKind::Damage => (Notice::warn("damaged file"), "file", "reason"),
        FindingKind::Oddity | FindingKind::Name => {
            (Notice::warn("a snapshot shows something odd"), "of", "what")
        }
    };
    notice.text("snapshot", snapshot).text(subject_name, subject).text(text_name, text)
}
