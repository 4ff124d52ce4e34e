//! The name of a snapshot's directory: a [`Timestamp`], the second at which its cycle began.
//!
//! A directory with another name is no snapshot and is left alone. A name that begins with a dot is
//! hidden: the directory is being written or removed, and no list counts it.

use std::cmp::Ordering;
use std::ffi::OsStr;
use std::fs::{self, DirEntry};
use std::io;
use std::path::Path;

use model::Timestamp;

/// Whether this names a snapshot.
///
/// ```
/// use haproxystats_spool::name;
///
/// assert!(name::is_snapshot("1700000000"));
/// assert!(!name::is_snapshot("lost+found"));
/// ```
#[must_use]
pub fn is_snapshot(name: &str) -> bool {
    name.parse::<Timestamp>().is_ok()
}

/// Whether the name begins with a dot.
pub(crate) fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}

/// Whether the entry is a directory and no link. Some file systems look at the entry itself, which
/// may have vanished since it was listed.
pub(crate) fn is_directory(entry: &DirEntry) -> bool {
    entry.file_type().is_ok_and(|kind| kind.is_dir())
}

/// The order of names, oldest first: timestamps, then all other names by their bytes.
///
/// ```
/// use haproxystats_spool::name;
///
/// let mut names = ["b", "1700000000", "999"];
/// names.sort_by(|left, right| name::compare(left, right));
/// assert_eq!(names, ["999", "1700000000", "b"]);
/// ```
#[must_use]
pub fn compare(left: &str, right: &str) -> Ordering {
    match (left.parse::<Timestamp>(), right.parse::<Timestamp>()) {
        (Ok(a), Ok(b)) => a.cmp(&b),
        (Ok(_), Err(_)) => Ordering::Less,
        (Err(_), Ok(_)) => Ordering::Greater,
        (Err(_), Err(_)) => left.cmp(right),
    }
}

/// The number of snapshots in `dir`; 0 if `dir` is missing. Other directories, such as `lost+found`
/// at the top of a file system, do not count, because no reader takes them away.
///
/// # Errors
///
/// `dir` cannot be read.
pub fn waiting(dir: &Path) -> io::Result<usize> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        entries => entries?,
    };
    let mut count = 0;
    for entry in entries {
        let entry = entry?;
        if is_directory(&entry) && entry.file_name().to_str().is_some_and(is_snapshot) {
            count += 1;
        }
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::*;

    #[test]
    fn numbers_come_by_value_and_before_all_others() {
        let mut names = ["b", "1700000000", "999", "a", "0999", "99999999999999999999"];
        names.sort_by(|left, right| compare(left, right));
        assert_eq!(names, ["0999", "999", "1700000000", "99999999999999999999", "a", "b"]);
    }

    proptest! {
        /// A later snapshot never sorts before an earlier one.
        #[test]
        fn the_order_of_names_is_the_order_of_seconds(left in any::<u64>(), right in any::<u64>()) {
            prop_assert_eq!(compare(&left.to_string(), &right.to_string()), left.cmp(&right));
        }
    }

    #[test]
    fn only_directories_that_are_named_as_snapshots_wait() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(waiting(&dir.path().join("missing")).unwrap(), 0);
        fs::create_dir(dir.path().join("1700000000")).unwrap();
        for other in ["lost+found", "other", ".1600000000", "1600000000.old"] {
            fs::create_dir(dir.path().join(other)).unwrap();
        }
        fs::write(dir.path().join("1700000001"), "a file").unwrap();
        assert_eq!(waiting(dir.path()).unwrap(), 1);
    }
}
