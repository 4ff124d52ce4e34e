//! What a snapshot is called: the decimal seconds since the epoch at which its cycle began.
//!
//! The name is the timestamp of all its lines as it stands, so a directory with another kind of
//! name is nobody's snapshot and is left alone. A name that begins with a dot is hidden: it is on
//! its way in or out, and counts nowhere.

use std::cmp::Ordering;
use std::fs;
use std::io;
use std::path::Path;

/// Whether this names a snapshot: a decimal number of 64 bits.
#[must_use]
pub fn is_snapshot(name: &str) -> bool {
    seconds(name).is_some()
}

/// The seconds that the name of a snapshot says; `None` for any other name.
#[must_use]
pub fn seconds(name: &str) -> Option<u64> {
    // `parse` alone would accept a sign too. `u64::MAX` has 20 digits; without this bound, leading
    // zeros could make a name longer than NAME_MAX.
    let digits = (1..=20).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_digit());
    if digits { name.parse().ok() } else { None }
}

/// Whether the name begins with a dot.
#[must_use]
pub fn is_hidden(name: &str) -> bool {
    name.starts_with('.')
}

/// The order in which snapshots are taken, oldest first: numbers by value, then all other names by
/// their bytes.
#[must_use]
pub fn compare(left: &str, right: &str) -> Ordering {
    match (seconds(left), seconds(right)) {
        // `7` and `007` are two directories: the bytes decide, so that the order is total.
        (Some(a), Some(b)) => a.cmp(&b).then_with(|| left.cmp(right)),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => left.cmp(right),
    }
}

/// A name in the order of [`compare`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ByAge(pub(crate) String);

impl Ord for ByAge {
    fn cmp(&self, other: &Self) -> Ordering {
        compare(&self.0, &other.0)
    }
}

impl PartialOrd for ByAge {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// How many snapshots stand in `dir`; a `dir` that is not there holds none. Other directories, such
/// as `lost+found` at the top of a file system, do not count: nobody would ever take them away.
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
        // A file system that keeps no types asks the entry itself, which may be gone by then.
        let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_directory && entry.file_name().to_str().is_some_and(is_snapshot) {
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
    fn only_decimal_digits_of_64_bits_name_a_snapshot() {
        assert_eq!(seconds("1700000000"), Some(1_700_000_000));
        assert_eq!(seconds("0"), Some(0));
        assert_eq!(seconds("18446744073709551615"), Some(u64::MAX));
        for other in [
            "",
            "+1",
            "-1",
            "1.5",
            " 1",
            "1 ",
            "0x10",
            "failed",
            ".17",
            "١",
            "18446744073709551616",
        ] {
            assert!(!is_snapshot(other), "{other}");
        }
    }

    #[test]
    fn numbers_come_by_value_and_before_all_others() {
        let mut names = ["b", "1700000000", "999", "a", "0999", "99999999999999999999"];
        names.sort_by(|left, right| compare(left, right));
        assert_eq!(names, ["0999", "999", "1700000000", "99999999999999999999", "a", "b"]);
    }

    proptest! {
        /// What was written later is never taken before what was written earlier.
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
