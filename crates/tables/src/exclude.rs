//! Names that are left out: a file, one name a line, `#` before a comment, dots read as `_` like everywhere.
//!
//! It is read again for each snapshot, so that an edit counts from the next one; a file that cannot be read leaves nothing out and
//! says so, once until it can be read again.

use std::collections::HashSet;
use std::io::Read;
use std::path::{Path, PathBuf};

use metric::clean;
use tracing::{info, warn};

use crate::file::{self, Fault, Limit};

/// A file that is read for each snapshot: more names than this would hold nobody's.
const LIMIT: Limit = Limit { bytes: 16 << 20, name: "the bound for exclude files" };

/// One exclude file.
#[derive(Debug, Default)]
pub(crate) struct Exclude {
    path: Option<PathBuf>,
    told: bool,
}

impl Exclude {
    pub(crate) const fn new(path: Option<PathBuf>) -> Self {
        Self { path, told: false }
    }

    /// The names as they are now, as path segments.
    pub(crate) fn names(&mut self) -> HashSet<String> {
        let Some(path) = &self.path else { return HashSet::new() };
        match read(path) {
            Ok(text) => {
                if std::mem::take(&mut self.told) {
                    info!(path = %path.display(), "the exclude file can be read again");
                }
                let names = text.lines().map(str::trim);
                names.filter(|n| !n.is_empty() && !n.starts_with('#')).map(clean::segment).collect()
            }
            Err(reason) => {
                if !std::mem::replace(&mut self.told, true) {
                    warn!(
                        path = %path.display(),
                        reason = format!("it {reason}"),
                        "the exclude file cannot be used: nothing is left out"
                    );
                }
                HashSet::new()
            }
        }
    }
}

fn read(path: &Path) -> Result<String, Fault> {
    let mut text = String::new();
    file::open(path, LIMIT)?.read_to_string(&mut text).map_err(file::unreadable)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::Exclude;

    #[test]
    fn names_are_cleaned_and_comments_left_out() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, "# all of these\n  www.example.com \n\nb\n").unwrap();
        let mut exclude = Exclude::new(Some(file.path().to_owned()));
        let mut names: Vec<_> = exclude.names().into_iter().collect();
        names.sort();
        assert_eq!(names, ["b", "www_example_com"]);
    }

    #[test]
    fn a_change_counts_at_the_next_look_and_a_bad_file_leaves_nothing_out() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("names");
        let mut exclude = Exclude::new(Some(path.clone()));
        assert!(exclude.names().is_empty());
        std::fs::write(&path, "a").unwrap();
        assert!(exclude.names().contains("a"));
        std::fs::write(&path, b"\xff\xfe").unwrap();
        assert!(exclude.names().is_empty());
        std::fs::remove_file(&path).unwrap();
        // Opening it would block for ever.
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR).unwrap();
        assert!(exclude.names().is_empty());
    }
}
