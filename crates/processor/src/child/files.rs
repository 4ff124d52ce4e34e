//! The files of a snapshot, by source.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use daemon::file::{self, Limit, Links, ReadError};
use fold::Input;
use sources::{Answer, Reading, Remark, Source};

use super::fold::FoldFailure;

/// The state of a file that could not be used.
const OF_FILE: &str = "the file";

/// The files of answers in a snapshot.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Files {
    /// Those of HAProxy's endpoints.
    pub(crate) haproxy: Vec<Input>,
    /// Those of other sources.
    others: BTreeMap<&'static str, (Source, Vec<PathBuf>)>,
}

impl Files {
    /// Lists a snapshot. A snapshot that cannot be read may be readable later; only its content can
    /// make it unusable.
    pub(crate) fn of(snapshot: &Path) -> Result<Self, FoldFailure> {
        let entries = match spool::reader::entries(snapshot) {
            Err(_) if matches!(snapshot.try_exists(), Ok(false)) => {
                return Err(FoldFailure::missing());
            }
            Err(error @ spool::reader::Error::TooMany { .. }) => {
                return Err(FoldFailure::unusable(error.to_string()));
            }
            entries => entries.map_err(|error| FoldFailure::unreadable(error.to_string()))?,
        };
        let mut others: BTreeMap<&'static str, (Source, Vec<PathBuf>)> = BTreeMap::new();
        for path in &entries {
            if let Some((source, _)) = Source::of_file(&file_name(path))
                && source != Source::HAProxy
            {
                let of_source = others.entry(source.name()).or_insert((source, Vec::new()));
                of_source.1.push(path.clone());
            }
        }
        let haproxy = Input::of_files(&entries);
        if haproxy.is_empty() && others.is_empty() {
            let reason = "it holds no answer, such as a file named *_info or *_stat";
            return Err(FoldFailure::unusable(reason.to_owned()));
        }
        Ok(Self { haproxy, others })
    }

    /// Reads the answers of the other sources. A file of more than `limit` bytes is damaged.
    pub(crate) fn read_others(&self, limit: u64) -> Result<Reading, FoldFailure> {
        let mut all = Reading::default();
        for (source, paths) in self.others.values() {
            let mut answers = Vec::new();
            for path in paths {
                let file = file_name(path);
                let Some((_, endpoint)) = Source::of_file(&file) else { continue };
                match bytes_of(path, limit) {
                    Ok(bytes) => {
                        let endpoint = endpoint.to_owned();
                        answers.push(Answer { endpoint, file, bytes });
                    }
                    Err(ReadError::Damage(reason)) => {
                        let text = format!("left out: it {reason}");
                        all.damages.push(Remark { subject: file, state: OF_FILE, text });
                    }
                    Err(error @ ReadError::Transient(_)) => {
                        return Err(FoldFailure::unreadable(format!("{path:?} {error}")));
                    }
                }
            }
            let Some(reading) = source.read(&answers) else { continue };
            all.tables.extend(reading.tables);
            all.usable += reading.usable;
            all.damages.extend(reading.damages);
            all.oddities.extend(reading.oddities);
        }
        Ok(all)
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn bytes_of(path: &Path, limit: u64) -> Result<Vec<u8>, ReadError> {
    let limit = Limit { bytes: limit, name: "file-limit" };
    let mut bytes = Vec::new();
    file::open(path, limit, Links::Follow)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::Cause;

    #[test]
    fn a_snapshot_is_missing_only_if_the_system_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let missing = Files::of(&folder.path().join("1700000000"));
        assert_eq!(missing, Err(FoldFailure::missing()));
        // The system cannot say whether there is such a name.
        let unknown = Files::of(&folder.path().join("1".repeat(300))).unwrap_err();
        assert_eq!(unknown.cause, Cause::Unreadable, "{unknown:?}");
        let empty = Files::of(folder.path()).unwrap_err();
        assert_eq!(empty.cause, Cause::Unusable, "{empty:?}");
    }
}
