//! Names become path segments: the characters that HAProxy allows in a name stay, except the dot,
//! which becomes `_` as every other character does.
//!
//! Graphite separates segments by dots, fields by blanks and lines by newlines. So no name, forged
//! or real, can break a line or add a segment. `a.b` and `a_b` become the same segment, as in the
//! Python program. Names of exclude files are compared in this form.

/// Whether a character of a name stays as it is in a path segment.
const fn stays(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '-')
}

/// [`stays`] by byte; false for the bytes of a character beyond ASCII.
const STAYS: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        table[byte] = stays(byte as u8 as char);
        byte += 1;
    }
    table
};

/// Whether a name is a path segment already.
///
/// ```
/// assert!(haproxystats_model::clean::is_segment("web-1"));
/// assert!(!haproxystats_model::clean::is_segment("www.example.com"));
/// ```
#[must_use]
#[inline]
pub fn is_segment(name: &str) -> bool {
    // No early exit: names are short, and most are segments.
    name.bytes().fold(true, |stays, byte| stays & STAYS[usize::from(byte)])
}

/// Appends a name as a path segment.
///
/// ```
/// let mut path = "backend.".to_owned();
/// haproxystats_model::clean::push_segment("www.example.com", &mut path);
/// assert_eq!(path, "backend.www_example_com");
/// ```
pub fn push_segment(name: &str, out: &mut String) {
    let mut begin = 0;
    for (at, byte) in name.bytes().enumerate() {
        if STAYS[usize::from(byte)] {
            continue;
        }
        out.push_str(name.get(begin..at).unwrap_or_default());
        // Only the first byte of a character beyond ASCII gives a `_`.
        if !is_continuation(byte) {
            out.push('_');
        }
        begin = at + 1;
    }
    out.push_str(name.get(begin..).unwrap_or_default());
}

/// Whether a byte of UTF-8 belongs to a character that began before it.
const fn is_continuation(byte: u8) -> bool {
    byte & 0b1100_0000 == 0b1000_0000
}

/// A name as a path segment.
///
/// ```
/// assert_eq!(haproxystats_model::clean::segment("a b"), "a_b");
/// ```
#[must_use]
pub fn segment(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    push_segment(name, &mut out);
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{ProptestConfig, any, proptest};

    use super::{is_segment, segment};

    #[test]
    fn legal_names_stay_but_for_their_dots() {
        assert_eq!(segment("www.example_com:80-a"), "www_example_com:80-a");
        assert_eq!(segment("NA"), "NA");
    }

    #[test]
    fn one_underscore_stands_for_one_character() {
        assert_eq!(segment("a b;c\td\ne\u{e9}f"), "a_b_c_d_e_f");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        /// A segment has no blank, no dot, no line end and no character beyond ASCII, and as many
        /// characters as its name.
        #[test]
        fn a_segment_never_breaks_a_line(name in any::<String>()) {
            let segment = segment(&name);
            assert!(segment.bytes().all(|b| b.is_ascii_alphanumeric() || b"_:-".contains(&b)));
            assert_eq!(segment.len(), name.chars().count());
            assert_eq!(is_segment(&name), segment == name);
        }
    }
}
