//! Shortens the parts of a path that are too long for a file's name, and as long values of tags,
//! always in the same way.
//!
//! carbon makes a directory or a file of each part, and a file system takes 255 bytes: with a
//! longer name each write of the metric fails. So a longer part keeps its beginning, and a hash of
//! the whole (XXH3, 64 bits) tells it from others with the same beginning. The same name has the
//! same path after a restart, on every machine. A value of a tag has the same bound, because
//! graphite-web's database takes 255 characters.

use std::borrow::Cow;

use xxhash_rust::xxh3::xxh3_64;

/// Bytes of a part; carbon appends `.wsp` to the last one.
pub const PART_MAX_BYTES: usize = 250;
/// A hyphen and the hash in hexadecimal digits.
const HASH_BYTES: usize = 17;

/// The part in the form that a path has, or the value in that of a tag.
pub(super) fn shortened(part: &str) -> Cow<'_, str> {
    if part.len() <= PART_MAX_BYTES {
        return Cow::Borrowed(part);
    }
    let end = part.floor_char_boundary(PART_MAX_BYTES - HASH_BYTES);
    let begin = part.get(..end).unwrap_or_default();
    Cow::Owned(format!("{begin}-{:016x}", xxh3_64(part.as_bytes())))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

    use super::*;

    #[test]
    fn a_part_of_250_bytes_stays_and_a_longer_one_has_a_form_that_never_changes() {
        let long = "n".repeat(PART_MAX_BYTES);
        assert_eq!(shortened(&long), long);
        let longer = format!("{long}n");
        let expected = format!("{}-2aa8fd9badaefe0f", "n".repeat(233));
        assert_eq!(shortened(&longer), expected);
    }

    proptest! {
        /// Names with the same beginning stay different, and leave room for `.wsp`.
        #[test]
        fn long_names_stay_apart(a in "[a-c]{0,300}", b in "[a-c]{0,300}") {
            let prefix = "p".repeat(240);
            let [a, b] = [a, b].map(|name| format!("{prefix}{name}"));
            let (short_a, short_b) = (shortened(&a), shortened(&b));
            prop_assert!(short_a.len() <= PART_MAX_BYTES && short_b.len() <= PART_MAX_BYTES);
            prop_assert_eq!(a == b, short_a == short_b);
        }
    }
}
