//! Names that are left out: a file, one name a line, `#` before a comment, dots read as `_` like everywhere.
//!
//! It is read again for each snapshot, so that an edit counts from the next one; a file that cannot be read leaves nothing out and
//! says so, once until it can be read again.

use std::collections::HashSet;
use std::path::PathBuf;

use metric::clean;
use tracing::{info, warn};

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
        match std::fs::read_to_string(path) {
            Ok(text) => {
                if std::mem::take(&mut self.told) {
                    info!(path = %path.display(), "the exclude file can be read again");
                }
                let names = text.lines().map(str::trim);
                names.filter(|n| !n.is_empty() && !n.starts_with('#')).map(clean::segment).collect()
            }
            Err(error) => {
                if !std::mem::replace(&mut self.told, true) {
                    warn!(path = %path.display(), %error, "the exclude file cannot be read: nothing is left out");
                }
                HashSet::new()
            }
        }
    }
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
    }
}
