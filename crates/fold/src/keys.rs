//! The keys of `show info` that are read: the default list, or those of `daemon-metrics`, and what
//! figures of ours are calculated from.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use config::Selection;
use model::catalog::{
    self, DAEMON_MEANS, DAEMON_PERCENTAGES, DAEMON_SUMS, Fold, known_daemon_nature,
};

use crate::columns::{self, NEW_COLUMNS_MAX, Planned, Source};
use crate::findings::Oddity;
use crate::process::Process;

/// The keys that are read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Keys {
    pub(crate) planned: Vec<Planned>,
    /// How many of them are sent; the others come after these.
    pub(crate) sent: usize,
    /// The names that `all` leaves out; `None` without `all`.
    pub(crate) all_except: Option<Vec<String>>,
}

impl Keys {
    pub(crate) fn new(selection: &Selection, percentages: bool) -> Self {
        let mut keys = Self::default();
        let means = || DAEMON_MEANS.iter().map(|key| (*key, Fold::Mean));
        let by_nature = |key: &str| known_daemon_nature(key).and_then(|nature| nature.fold());
        match selection {
            Selection::Default => {
                let sums = DAEMON_SUMS.iter().map(|key| (*key, Fold::Sum));
                sums.chain(means()).for_each(|(key, fold)| keys.add(key, Some(fold)));
            }
            Selection::All { except } => {
                keys.all_except = Some(except.clone());
                let is_kept = |key: &&str| !except.iter().any(|left_out| left_out == key);
                for key in catalog::daemon_names().filter(is_kept) {
                    let mean = means().find(|(mean, _)| *mean == key).map(|(_, fold)| fold);
                    keys.add(key, mean.or_else(|| by_nature(key)));
                }
            }
            Selection::Named(names) => {
                for name in names {
                    if DAEMON_SUMS.contains(&name.as_str()) {
                        keys.add(name, Some(Fold::Sum));
                    } else if known_daemon_nature(name).is_some() {
                        keys.add(name, by_nature(name));
                    } else if !keys.has(name) {
                        keys.planned.extend(Planned::new_column(name.as_str().into(), &none()));
                    }
                }
                means().for_each(|(key, fold)| keys.add(key, Some(fold)));
            }
        }
        keys.sent = keys.planned.len();
        if percentages {
            for (_, used, limit) in DAEMON_PERCENTAGES {
                keys.add(used, Some(Fold::Sum));
                keys.add(limit, Some(Fold::Sum));
            }
        }
        keys
    }

    fn has(&self, key: &str) -> bool {
        self.planned.iter().any(|planned| &*planned.name == key)
    }

    /// Adds a key that the catalogue has, once. A mean of `named` is a mean in any list.
    fn add(&mut self, key: &str, fold: Option<Fold>) {
        let Some(fold) = fold.filter(|_| !self.has(key)) else { return };
        let fold = if DAEMON_MEANS.contains(&key) { Fold::Mean } else { fold };
        self.planned.push(Planned::known(key, fold));
    }

    /// The keys with those that the catalogue lacks, which join where `all` is configured. Moves
    /// their values to the others of each process.
    pub(crate) fn join(&self, processes: &mut [Process], oddities: &mut Vec<Oddity>) -> Self {
        let mut keys = self.clone();
        let new: BTreeSet<Arc<str>> =
            processes.iter().flat_map(|process| process.others.keys().cloned()).collect();
        let surplus = new.len().saturating_sub(NEW_COLUMNS_MAX);
        let mut joining = Vec::new();
        for name in new.into_iter().take(NEW_COLUMNS_MAX) {
            joining.extend(Planned::new_column(name, &none()));
        }
        for process in processes {
            let values = joining.iter().map(|planned| process.others.get(&planned.name).copied());
            // Before those that are not sent.
            process.values.splice(self.sent..self.sent, values.map(|value| value.map(Some)));
        }
        keys.planned.splice(self.sent..self.sent, joining.iter().cloned());
        keys.sent += joining.len();
        let asked = self.planned.iter().filter(|planned| planned.is_new);
        let folds: BTreeMap<Arc<str>, Fold> = asked
            .chain(&joining)
            .map(|planned| (Arc::clone(&planned.name), planned.fold))
            .collect();
        columns::oddities(Source::ShowInfo, &folds, surplus, &none(), oddities);
        keys
    }
}

/// HAProxy's own natures of keys are not asked for.
fn none() -> HashMap<String, catalog::Nature> {
    HashMap::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(selection: &Selection, percentages: bool) -> Vec<(String, Fold)> {
        let keys = Keys::new(selection, percentages);
        let sent = keys.planned[..keys.sent].iter();
        sent.map(|planned| (planned.name.to_string(), planned.fold)).collect()
    }

    #[test]
    fn a_list_replaces_the_sums_and_the_means_stay() {
        let names = ["CumReq", "MaxConnRate", "PoolFailed", "New_max", "CumReq", "Version"];
        let selection = Selection::Named(names.map(String::from).to_vec());
        let expected = [
            ("CumReq", Fold::Sum),
            ("MaxConnRate", Fold::Sum),
            ("PoolFailed", Fold::Sum),
            ("New_max", Fold::Largest),
            ("Idle_pct", Fold::Mean),
            ("Uptime_sec", Fold::Mean),
        ];
        assert_eq!(sent(&selection, false), expected.map(|(name, fold)| (name.to_owned(), fold)));
        assert_eq!(sent(&selection, true), sent(&selection, false));
        let keys = Keys::new(&selection, true);
        assert!(keys.planned[keys.sent..].iter().any(|planned| &*planned.name == "Maxconn"));
    }

    #[test]
    fn all_has_every_key_that_can_be_folded() {
        let except = vec!["Tasks".to_owned(), "Uptime_sec".to_owned()];
        let all = sent(&Selection::All { except }, false);
        let fold = |name: &str| all.iter().find(|(known, _)| known == name).map(|(_, fold)| *fold);
        assert_eq!(fold("MaxConnRate"), Some(Fold::Largest));
        assert_eq!(fold("Start_time_sec"), Some(Fold::Largest));
        assert_eq!(fold("Idle_pct"), Some(Fold::Mean));
        assert_eq!(fold("TotalBytesOut"), Some(Fold::Sum));
        for left_out in ["Tasks", "Uptime_sec", "Version", "Pid"] {
            assert_eq!(fold(left_out), None, "{left_out}");
        }
    }
}
