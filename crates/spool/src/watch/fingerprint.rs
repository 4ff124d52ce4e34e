//! Detects a change in a directory: hashes of its entries with size and time, added to one number,
//! so that a directory of any size needs no memory.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

use crate::reader::ENTRIES_MAX;

/// Two fingerprints of a directory are equal as long as nothing in it has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fingerprint {
    entries: usize,
    /// A sum, because the order of a list has no meaning.
    hashes: u64,
}

impl Fingerprint {
    /// The fingerprint of a directory as it is now. It reads no more entries than a snapshot may
    /// have, because a larger directory is refused anyway.
    pub(super) fn of(directory: &Path) -> Self {
        let mut fingerprint = Self { entries: 0, hashes: 0 };
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        for entry in entries.take(ENTRIES_MAX + 1) {
            let mut hasher = DefaultHasher::new();
            entry.file_name().hash(&mut hasher);
            if let Ok(metadata) = entry.metadata() {
                (metadata.len(), metadata.modified().ok()).hash(&mut hasher);
            }
            fingerprint.entries += 1;
            fingerprint.hashes = fingerprint.hashes.wrapping_add(hasher.finish());
        }
        fingerprint
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_file_another_size_and_another_name_change_the_fingerprint() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let mut seen = vec![Fingerprint::of(directory.path())];
        let mut changed = || {
            let now = Fingerprint::of(directory.path());
            assert_eq!(now, Fingerprint::of(directory.path()));
            assert!(!seen.contains(&now), "{now:?} of {seen:?}");
            seen.push(now);
        };
        fs::write(at("a"), "1").unwrap();
        changed();
        fs::write(at("a"), "12").unwrap();
        changed();
        fs::rename(at("a"), at("b")).unwrap();
        changed();
        fs::write(at("c"), "").unwrap();
        changed();
    }
}
