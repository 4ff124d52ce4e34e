//! The files of HAProxy's endpoints among those of a snapshot.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::{Generation, Input};

const INFO_SUFFIX: &str = "_info";
const STAT_SUFFIX: &str = "_stat";

impl Input {
    /// Pairs the answers of each endpoint, sorted by endpoint. Other files are ignored.
    ///
    /// ```
    /// use haproxystats_fold::Input;
    ///
    /// let files = ["7/a.sock_info", "7/a.sock_stat", "7/haproxystats.manifest"].map(Into::into);
    /// let inputs = Input::of_files(&files);
    /// assert_eq!(inputs.len(), 1);
    /// assert_eq!(inputs[0].endpoint, "a.sock");
    /// ```
    #[must_use]
    pub fn of_files(files: &[PathBuf]) -> Vec<Self> {
        let mut found: BTreeMap<String, Self> = BTreeMap::new();
        for path in files {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let info = name.strip_suffix(INFO_SUFFIX);
            let Some(endpoint) = info.or_else(|| name.strip_suffix(STAT_SUFFIX)) else { continue };
            let input = found.entry(endpoint.to_owned()).or_insert_with(|| Self {
                endpoint: endpoint.to_owned(),
                info: None,
                stat: None,
                generation: Generation::Current,
                by_master: false,
            });
            if info.is_some() {
                input.info = Some(path.clone());
            } else {
                input.stat = Some(path.clone());
            }
        }
        found.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_paired_by_endpoint() {
        let files = ["b_stat", "a_info_stat", "a_info_info", "127.0.0.1:80_info", "cycle"];
        let inputs = Input::of_files(&files.map(PathBuf::from));
        let seen: Vec<_> = inputs
            .iter()
            .map(|it| (it.endpoint.as_str(), it.info.is_some(), it.stat.is_some()))
            .collect();
        assert_eq!(
            seen,
            [("127.0.0.1:80", true, false), ("a_info", true, true), ("b", false, true)]
        );
    }
}
