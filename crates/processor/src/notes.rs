//! What workers find in snapshots, logged when it begins, changes and ends: a file that is damaged
//! in each snapshot is one line and not one every ten seconds.

use std::collections::BTreeSet;
use std::time::Instant;

use daemon::Conditions;
use tracing::{info, warn};

use crate::protocol::{Finding, FindingKind, Findings};

/// Damages and oddities that are told at one time, and names that are told at all.
const CONDITIONS_MAX: usize = 1000;

/// See the module.
#[derive(Debug)]
pub(crate) struct Notes {
    /// Until a snapshot comes without them.
    lasting: Conditions,
    names: Conditions,
    /// There were more findings than a worker tells.
    overflow: Conditions,
}

impl Notes {
    pub(crate) const fn new() -> Self {
        Self {
            lasting: Conditions::new(CONDITIONS_MAX),
            names: Conditions::new(CONDITIONS_MAX),
            overflow: Conditions::new(1),
        }
    }

    /// Takes what was found in one snapshot.
    pub(crate) fn take(&mut self, snapshot: &str, findings: Findings, now: Instant) {
        let Some(list) = findings.list else { return };
        let mut found = BTreeSet::new();
        for finding in list {
            let key = key(&finding);
            let conditions = match finding.kind {
                FindingKind::Name => &mut self.names,
                FindingKind::Damage | FindingKind::Oddity => &mut self.lasting,
            };
            let line = conditions.begin(&key, &finding.state, now);
            if line.is_due() {
                log(snapshot, &finding, line.note());
            }
            found.insert(key);
        }
        if findings.more > 0 {
            // What is not in the list may be among those.
            if self.overflow.begin("more", "", now).is_due() {
                let more = findings.more;
                warn!(snapshot, more, "more findings in one snapshot than are told");
            }
            return;
        }
        self.overflow.end("more", now);
        for (key, line) in self.lasting.end_others(|key| found.contains(key), now) {
            let note = line.note();
            info!(snapshot, what = key, "found no more{note}");
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

fn log(snapshot: &str, finding: &Finding, note: &str) {
    let Finding { subject, text, .. } = finding;
    match finding.kind {
        FindingKind::Damage => {
            warn!(snapshot, file = subject, reason = text, "damaged file{note}");
        }
        FindingKind::Oddity | FindingKind::Name => {
            warn!(snapshot, of = subject, what = text, "a snapshot shows something odd{note}");
        }
    }
}

#[cfg(test)]
mod tests {
    use testbed::log::logged;

    use super::*;

    fn finding(kind: FindingKind, subject: &str, state: &str) -> Finding {
        let text = format!("text of {state}");
        Finding { kind, subject: subject.into(), state: state.into(), text }
    }

    fn findings(list: &[Finding]) -> Findings {
        Findings { list: Some(list.to_vec()), more: 0 }
    }

    #[test]
    fn what_lasts_is_told_when_it_begins_changes_and_ends() {
        let (mut notes, now) = (Notes::new(), Instant::now());
        let rows = finding(FindingKind::Damage, "a_stat", "rows");
        let cells = finding(FindingKind::Damage, "a_stat", "cells");
        let odd = finding(FindingKind::Oddity, "a", "no rows");
        let told = logged(|| {
            for list in [
                vec![rows.clone(), odd.clone()],
                vec![rows.clone(), odd],
                vec![cells.clone()],
                vec![cells],
                vec![],
                vec![],
            ] {
                notes.take("17", findings(&list), now);
            }
        });
        let words =
            ["damaged file", "something odd", "damaged file", "no rows of a", "damage of a_stat"];
        assert_eq!(told.len(), words.len(), "{told:?}");
        for (line, word) in told.iter().zip(words) {
            assert!(line.contains(word), "{line} has no {word}");
        }
    }

    #[test]
    fn a_name_is_told_once_and_a_snapshot_that_was_not_folded_ends_nothing() {
        let (mut notes, now) = (Notes::new(), Instant::now());
        let name = finding(FindingKind::Name, "a_b", "names");
        let damage = finding(FindingKind::Damage, "a_stat", "rows");
        let told = logged(|| {
            notes.take("17", findings(&[name.clone(), damage.clone()]), now);
            notes.take("18", Findings::default(), now);
            notes.take("19", findings(&[damage]), now);
            notes.take("20", findings(&[name]), now);
        });
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(told[2].contains("found no more"), "{told:?}");
    }

    #[test]
    fn what_was_cut_off_a_long_list_has_not_ended() {
        let (mut notes, now) = (Notes::new(), Instant::now());
        let damage = |name: &str| finding(FindingKind::Damage, name, "rows");
        let told = logged(|| {
            notes.take("17", findings(&[damage("a"), damage("b")]), now);
            notes.take("18", Findings { more: 1, ..findings(&[damage("a")]) }, now);
            notes.take("19", findings(&[damage("a"), damage("b")]), now);
        });
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(told[2].contains("more findings in one snapshot"), "{told:?}");
    }

    #[test]
    fn a_subject_from_outside_forges_no_line() {
        let told = logged(|| {
            let finding = finding(FindingKind::Damage, "a\nERROR forged", "rows");
            Notes::new().take("17", findings(&[finding]), Instant::now());
        });
        assert_eq!(told.len(), 1, "{told:?}");
    }
}
