//! What the log hears: a state is a line when it begins, changes and ends, and not while it lasts.

use std::collections::BTreeSet;
use std::time::Instant;

use daemon::Conditions;
use model::Timestamp;

use super::notice::Notice;
use super::types::{Action, Death, Finding, FindingKind, Findings};
use crate::entry::EntryName;

/// States of children, receivers and snapshots at one time.
const STATES_MAX: usize = 2000;
/// Damages and oddities that are followed at one time, and names that are logged at all.
const FINDINGS_MAX: usize = 1000;

const OUTBOX: &str = "the outbox takes nothing";

/// See the module.
#[derive(Debug)]
pub(super) struct Journal {
    states: Conditions,
    /// Until a snapshot comes without them.
    findings: Conditions,
    names: Conditions,
    /// Snapshots that could not be read, and those that could not be released: the state ends
    /// with the last of them. They stand in the spool, whose size is bounded.
    unreadable: BTreeSet<Timestamp>,
    unreleased: BTreeSet<Timestamp>,
}

impl Journal {
    pub(super) const fn new() -> Self {
        Self {
            states: Conditions::new(STATES_MAX),
            findings: Conditions::new(FINDINGS_MAX),
            names: Conditions::new(FINDINGS_MAX),
            unreadable: BTreeSet::new(),
            unreleased: BTreeSet::new(),
        }
    }

    fn begin(&mut self, key: &str, state: &str, notice: Notice, now: Instant) -> Option<Notice> {
        let line = self.states.begin(key, state, now);
        line.is_due().then(|| notice.note(line.note()))
    }

    fn end(&mut self, key: &str, notice: Notice, now: Instant) -> Option<Notice> {
        let line = self.states.end(key, now);
        line.is_due().then(|| notice.note(line.note()))
    }

    pub(super) fn unstarted(&mut self, child: &str, reason: &str, now: Instant) -> Option<Notice> {
        let notice = Notice::error("cannot start a child, trying again");
        let notice = notice.text("child", child).text("reason", reason);
        self.begin(&format!("unstarted {child}"), "", notice, now)
    }

    pub(super) fn is_running(&mut self, child: &str, now: Instant) -> Option<Notice> {
        self.states.end(&format!("lost {child}"), now);
        let notice = Notice::info("a child has started after all").text("child", child);
        self.end(&format!("unstarted {child}"), notice, now)
    }

    /// A child is gone, perhaps over a snapshot; it is replaced.
    pub(super) fn died(
        &mut self,
        child: &str,
        pid: u32,
        death: Death,
        snapshot: Option<&str>,
        now: Instant,
    ) -> Option<Notice> {
        let is_worker = child.starts_with("fold ");
        let text = match death {
            Death::Asked if is_worker => "a worker ended on SIGTERM, replacing it",
            Death::Asked => "a child ended on SIGTERM, replacing it",
            Death::Overdue if is_worker => {
                "a worker made no progress (job-timeout), killed, replacing it"
            }
            Death::Overdue => "a child overran its limit, killed, replacing it",
            Death::Crashed | Death::Killed if is_worker => "a worker died, replacing it",
            Death::Crashed | Death::Killed => "a child died, replacing it",
        };
        let notice = match death {
            Death::Asked => Notice::info(text),
            Death::Overdue => Notice::error(text),
            Death::Crashed | Death::Killed => Notice::warn(text),
        };
        let mut notice = notice.text("child", child).field("pid", pid);
        if death == Death::Crashed || death == Death::Killed {
            notice = notice.field("death", format!("{death:?}"));
        }
        if let Some(snapshot) = snapshot {
            notice = notice.text("snapshot", snapshot);
        }
        self.begin(&format!("lost {child}"), &format!("{death:?}"), notice, now)
    }

    /// A snapshot was folded: others can be, too.
    pub(super) fn folded(&mut self, snapshot: &Timestamp, now: Instant, actions: &mut Vec<Action>) {
        self.states.end("missing", now);
        self.is_read(snapshot, now, actions);
        let notice = Notice::info("snapshots can be processed again");
        actions.extend(self.end("given up", notice, now).map(Action::Log));
    }

    pub(super) fn missing(&mut self, snapshot: &str, now: Instant) -> Option<Notice> {
        let notice = Notice::warn("somebody took the snapshot away, going on");
        self.begin("missing", "", notice.text("snapshot", snapshot), now)
    }

    pub(super) fn unreadable(
        &mut self,
        snapshot: &Timestamp,
        reason: &str,
        now: Instant,
    ) -> Option<Notice> {
        self.unreadable.insert(snapshot.clone());
        let notice = Notice::warn("the snapshot cannot be read just now, trying again");
        let notice = notice.text("snapshot", snapshot.as_str()).text("reason", reason);
        self.begin("unreadable", "", notice, now)
    }

    /// A snapshot came to an end other than that it cannot be read.
    pub(super) fn is_read(
        &mut self,
        snapshot: &Timestamp,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        self.unreadable.remove(snapshot);
        if self.unreadable.is_empty() {
            let notice = Notice::info("snapshots can be read again");
            actions.extend(self.end("unreadable", notice, now).map(Action::Log));
        }
    }

    pub(super) fn given_up(
        &mut self,
        snapshot: &str,
        reason: &str,
        failed_dir: &str,
        removed: u64,
        now: Instant,
    ) -> Option<Notice> {
        let notice = Notice::error("moved to failed-dir; mend it and move it back")
            .text("snapshot", snapshot)
            .text("reason", reason)
            .text("failed_dir", failed_dir)
            .field("gone", removed);
        self.begin("given up", "moved", notice, now)
    }

    pub(super) fn not_given_up(
        &mut self,
        snapshot: &str,
        reason: &str,
        error: &str,
        now: Instant,
    ) -> Option<Notice> {
        let text = "left in the spool; it is moved to failed-dir once that works";
        let notice = Notice::error(text).text("snapshot", snapshot);
        let notice = notice.text("reason", reason).text("error", error);
        self.begin("given up", "left", notice, now)
    }

    pub(super) fn unreleased(
        &mut self,
        snapshot: &Timestamp,
        reason: &str,
        now: Instant,
    ) -> Option<Notice> {
        self.unreleased.insert(snapshot.clone());
        let notice = Notice::error("a snapshot that is done stays, trying again to remove it");
        let notice = notice.text("snapshot", snapshot.as_str()).text("reason", reason);
        self.begin("removal", "", notice, now)
    }

    pub(super) fn released(&mut self, snapshot: &Timestamp, now: Instant) -> Option<Notice> {
        self.unreleased.remove(snapshot);
        if !self.unreleased.is_empty() {
            return None;
        }
        self.end("removal", Notice::info("snapshots that are done can be removed again"), now)
    }

    pub(super) fn undeleted(&mut self, reason: &str, now: Instant) -> Option<Notice> {
        let text = "a snapshot that is done cannot be deleted: it takes up room under a hidden \
                    name, counted in UndeletedSnapshots, and is tried again";
        self.begin("deletion", "", Notice::warn(text).text("reason", reason), now)
    }

    pub(super) fn deleted(&mut self, now: Instant) -> Option<Notice> {
        self.end("deletion", Notice::info("all snapshots that are done are deleted"), now)
    }

    pub(super) fn went_down(
        &mut self,
        receiver: &str,
        reason: &str,
        now: Instant,
    ) -> Option<Notice> {
        let text = "not delivered, the receiver is down; batches go into the outbox until it is \
                    back";
        let notice = Notice::warn(text).text("receiver", receiver).text("reason", reason);
        self.begin(&format!("down {receiver}"), "", notice, now)
    }

    pub(super) fn came_up(
        &mut self,
        receiver: &str,
        seconds: u64,
        batches: usize,
        metrics: u64,
        now: Instant,
    ) -> Option<Notice> {
        let notice = Notice::info("the receiver is back; the outbox follows, oldest first")
            .text("receiver", receiver)
            .field("seconds", seconds)
            .field("batches", batches)
            .field("metrics", metrics);
        self.end(&format!("down {receiver}"), notice, now)
    }

    pub(super) fn has_backlog(
        &mut self,
        receiver: &str,
        batches: usize,
        metrics: u64,
        now: Instant,
    ) -> Option<Notice> {
        let notice = Notice::info("the outbox holds what the receiver has not taken yet")
            .text("receiver", receiver)
            .field("batches", batches)
            .field("metrics", metrics);
        self.begin(&format!("backlog {receiver}"), "", notice, now)
    }

    pub(super) fn backlog_is_empty(&mut self, receiver: &str, now: Instant) -> Option<Notice> {
        self.states.end(&format!("bound {receiver}"), now);
        self.states.end(&format!("aside {receiver}"), now);
        let notice = Notice::info("the outbox is empty").text("receiver", receiver);
        self.end(&format!("backlog {receiver}"), notice, now)
    }

    pub(super) fn over_bound(
        &mut self,
        receiver: &str,
        batches: usize,
        metrics: u64,
        now: Instant,
    ) -> Option<Notice> {
        let text = "the outbox is over its bound (outbox-size, queue-size): the oldest batches \
                    go, counted in DroppedMetrics";
        let notice = Notice::warn(text)
            .text("receiver", receiver)
            .field("batches", batches)
            .field("metrics", metrics);
        self.begin(&format!("bound {receiver}"), "", notice, now)
    }

    pub(super) fn set_aside(
        &mut self,
        receiver: &str,
        entry: &EntryName,
        reason: &str,
        now: Instant,
    ) -> Option<Notice> {
        let notice = Notice::error("a batch of the outbox is lost; DroppedMetrics counts")
            .text("receiver", receiver)
            .text("snapshot", entry.timestamp.as_str())
            .field("metrics", entry.points)
            .text("reason", reason);
        self.begin(&format!("aside {receiver}"), "", notice, now)
    }

    pub(super) fn is_unreadable(
        &mut self,
        receiver: &str,
        entry: &EntryName,
        reason: &str,
        now: Instant,
    ) -> Option<Notice> {
        let notice = Notice::warn("a batch of the outbox cannot be read now, trying again")
            .text("receiver", receiver)
            .text("snapshot", entry.timestamp.as_str())
            .text("reason", reason);
        self.begin(&format!("unreadable {receiver}"), "", notice, now)
    }

    pub(super) fn is_readable(&mut self, receiver: &str, now: Instant) -> Option<Notice> {
        let notice = Notice::info("batches of the outbox can be read again");
        self.end(&format!("unreadable {receiver}"), notice.text("receiver", receiver), now)
    }

    pub(super) fn outbox_fails(&mut self, reason: &str, now: Instant) -> Option<Notice> {
        let text = "the outbox takes nothing; snapshots wait in the spool until it does";
        self.begin(OUTBOX, "", Notice::warn(text).text("reason", reason), now)
    }

    pub(super) fn outbox_works(&mut self, now: Instant) -> Option<Notice> {
        self.end(OUTBOX, Notice::info("the outbox takes batches again"), now)
    }

    pub(super) fn cannot_drop(&mut self, reason: &str, now: Instant) -> Option<Notice> {
        let text = "delivered batches cannot be removed from the outbox; after a restart they are \
                    sent again";
        self.begin("drops", "", Notice::warn(text).text("reason", reason), now)
    }

    pub(super) fn can_drop(&mut self, now: Instant) -> Option<Notice> {
        let notice = Notice::info("delivered batches can be removed from the outbox again");
        self.end("drops", notice, now)
    }

    pub(super) fn gave_up_parked(&mut self, snapshot: &str, now: Instant) -> Option<Notice> {
        let text = "too many snapshots can be neither delivered nor held: the oldest go, counted \
                    in DroppedMetrics";
        self.begin("parked", "", Notice::warn(text).text("snapshot", snapshot), now)
    }

    /// What was found in one snapshot.
    pub(super) fn findings(
        &mut self,
        snapshot: &str,
        findings: &Findings,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        let mut found = BTreeSet::new();
        for finding in &findings.list {
            let key = key(finding);
            let conditions = match finding.kind {
                FindingKind::Name => &mut self.names,
                FindingKind::Damage | FindingKind::Oddity => &mut self.findings,
            };
            let line = conditions.begin(&key, &finding.state, now);
            if line.is_due() {
                actions.push(Action::Log(of_finding(snapshot, finding).note(line.note())));
            }
            found.insert(key);
        }
        if findings.more > 0 {
            // What is not in the list may be among those.
            let notice = Notice::warn("more findings in one snapshot than are logged")
                .text("snapshot", snapshot)
                .field("more", findings.more);
            actions.extend(self.begin("findings", "", notice, now).map(Action::Log));
            return;
        }
        self.states.end("findings", now);
        for (key, line) in self.findings.end_others(|key| found.contains(key), now) {
            let notice = Notice::info("found no more").text("snapshot", snapshot);
            actions.push(Action::Log(notice.text("what", key).note(line.note())));
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

fn of_finding(snapshot: &str, finding: &Finding) -> Notice {
    let Finding { subject, text, .. } = finding;
    let (notice, subject_name, text_name) = match finding.kind {
        FindingKind::Damage => (Notice::warn("damaged file"), "file", "reason"),
        FindingKind::Oddity | FindingKind::Name => {
            (Notice::warn("a snapshot shows something odd"), "of", "what")
        }
    };
    notice.text("snapshot", snapshot).text(subject_name, subject).text(text_name, text)
}
