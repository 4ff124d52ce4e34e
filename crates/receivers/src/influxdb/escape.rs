//! The escapes of the line protocol.
//!
//! InfluxDB ends a line at every line break, even within a string, so no line break is written: CR
//! and LF become a blank, in tags and in strings. Values are bounded, because InfluxDB refuses a
//! series key above 64 KiB with its whole batch.

/// Bytes of a tag's value or of a string field.
const VALUE_MAX_BYTES: usize = 4096;

/// Appends a tag key, a tag value or a field key. Comma, equals sign and blank are escaped. A
/// backslash at the end would escape the separator behind it, so it is left out.
pub(super) fn push_key(text: &str, out: &mut Vec<u8>) {
    for byte in bounded(text).trim_end_matches('\\').bytes() {
        match byte {
            b',' | b'=' | b' ' => out.extend([b'\\', byte]),
            b'\r' | b'\n' => out.extend(b"\\ "),
            _ => out.push(byte),
        }
    }
}

/// Appends a string field with its quotes.
pub(super) fn push_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in bounded(text).bytes() {
        match byte {
            b'"' | b'\\' => out.extend([b'\\', byte]),
            b'\r' | b'\n' => out.push(b' '),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

/// Whether a text gives a tag value: an empty one is no line protocol.
pub(super) fn is_tag_value(text: &str) -> bool {
    !text.trim_end_matches('\\').is_empty()
}

/// The longest beginning within [`VALUE_MAX_BYTES`].
fn bounded(text: &str) -> &str {
    text.get(..text.floor_char_boundary(VALUE_MAX_BYTES)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::*;

    fn key(text: &str) -> String {
        let mut out = Vec::new();
        push_key(text, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn string(text: &str) -> String {
        let mut out = Vec::new();
        push_string(text, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_place_has_its_own_escapes() {
        assert_eq!(key("a b,c=d\\\"e"), "a\\ b\\,c\\=d\\\"e");
        assert_eq!(string("a b,c=d\\\"e"), r#""a b,c=d\\\"e""#);
    }

    #[test]
    fn line_breaks_and_a_last_backslash_never_leave() {
        assert_eq!([key("a\r\nb"), key("a\\\\"), key("\\")], ["a\\ \\ b", "a", ""]);
        assert_eq!(string("L7OK/200\r\n"), "\"L7OK/200  \"");
        assert!(is_tag_value("a\\") && !is_tag_value("\\\\") && !is_tag_value(""));
    }

    #[test]
    fn long_values_are_cut_at_a_character() {
        let long = "é".repeat(VALUE_MAX_BYTES);
        assert_eq!(key(&long).len(), VALUE_MAX_BYTES);
        assert_eq!(key(&format!("x{long}")).len(), VALUE_MAX_BYTES - 1);
    }

    proptest! {
        /// A reader that splits at separators without a backslash gets one key.
        #[test]
        fn a_key_never_ends_early(text in any::<String>()) {
            let escaped = key(&text);
            let mut is_escaped = false;
            for byte in escaped.bytes() {
                assert!(is_escaped || !matches!(byte, b',' | b'=' | b' '), "{escaped:?}");
                assert!(!matches!(byte, b'\r' | b'\n'));
                is_escaped = byte == b'\\';
            }
            assert!(!is_escaped, "{escaped:?}");
        }
    }
}
