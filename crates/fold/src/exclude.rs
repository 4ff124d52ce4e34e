//! Exclude files: the names of proxies to leave out, one on each line, with `#` before a comment. A
//! dot is equal to `_`, as in paths.
//!
//! A file is read again for each snapshot, so that an edit counts from the next snapshot on. A file
//! that cannot be read leaves nothing out, and is an oddity.

use std::collections::HashSet;
use std::io::Read;
use std::path::{Path, PathBuf};

use daemon::file::{self, Limit, Links, ReadError};
use model::clean;

use crate::findings::Oddity;

/// Bytes of a file, which is read for each snapshot; no HAProxy has so many names.
const EXCLUDE_MAX_BYTES: u64 = 16 << 20;
const LIMIT: Limit = Limit { bytes: EXCLUDE_MAX_BYTES, name: "the bound for exclude files" };
/// Some editors write this mark at the start of a file.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// The present names of a file, as path segments.
pub(crate) fn names(path: Option<&PathBuf>, oddities: &mut Vec<Oddity>) -> HashSet<String> {
    let Some(path) = path else { return HashSet::new() };
    match read(path) {
        Ok(text) => {
            let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&text);
            let names = text.lines().map(str::trim);
            let is_name = |line: &&str| !line.is_empty() && !line.starts_with('#');
            names.filter(is_name).map(clean::segment).collect()
        }
        Err(error) => {
            let subject = path.display().to_string();
            let text = format!("the exclude file cannot be used: it {error}; nothing is left out");
            oddities.push(Oddity::new(&subject, "exclude file", text));
            HashSet::new()
        }
    }
}

fn read(path: &Path) -> Result<String, ReadError> {
    let mut text = String::new();
    // The path may be a link, because the operator chose it.
    let mut file = file::open(path, LIMIT, Links::Follow)?;
    file.read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(path: &Path) -> (Vec<String>, Vec<Oddity>) {
        let mut oddities = Vec::new();
        let names = names(Some(&path.to_owned()), &mut oddities);
        let mut names: Vec<_> = names.into_iter().collect();
        names.sort();
        (names, oddities)
    }

    #[test]
    fn names_are_cleaned_and_comments_left_out() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, "# all of these\n  www.example.com \n\nb\n").unwrap();
        assert_eq!(of(file.path()).0, ["b", "www_example_com"]);
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_first_name() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, "\u{feff}a\r\nb\r\n").unwrap();
        assert_eq!(of(file.path()), (vec!["a".to_owned(), "b".to_owned()], vec![]));
        std::fs::write(&file, "\u{feff}# a comment\nb\n").unwrap();
        assert_eq!(of(file.path()).0, ["b"]);
    }

    #[test]
    fn a_change_counts_at_the_next_look_and_a_bad_file_leaves_nothing_out() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("names");
        let refused = |why: &str| {
            let (names, oddities) = of(&path);
            assert!(names.is_empty() && oddities.len() == 1, "{why}: {names:?}");
            assert!(oddities[0].text.contains(why), "{oddities:?}");
        };
        refused("cannot be read: No such file");
        std::fs::write(&path, "a").unwrap();
        assert_eq!(of(&path), (vec!["a".to_owned()], vec![]));
        std::fs::write(&path, b"\xff\xfe").unwrap();
        refused("valid UTF-8");
        std::fs::remove_file(&path).unwrap();
        // To open a FIFO blocks until a writer comes.
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR).unwrap();
        refused("is no regular file");
        std::fs::remove_file(&path).unwrap();
        std::fs::write(directory.path().join("other"), "b").unwrap();
        std::os::unix::fs::symlink("other", &path).unwrap();
        assert_eq!(of(&path).0, ["b"], "a link that the operator made");
    }
}
