//! Values of Graphite's tags (carbon 1.1): a name as HAProxy spells it, as far as carbon takes it.
//!
//! carbon cuts a line at white space, as Python's `str.split` does, and a series at semicolons. It
//! refuses an empty value and one that begins with a tilde. These characters become `_`, and so do
//! control characters; all others stay, among them the dot.

/// Whether a value of a tag has the name as HAProxy spells it.
pub(super) fn is_value(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && byte != b';';
    if name.bytes().all(is_plain) {
        return !name.is_empty() && !name.starts_with('~');
    }
    !name.starts_with('~') && name.chars().all(stays)
}

/// Appends a name as the value of a tag.
pub(super) fn push_value(name: &str, out: &mut String) {
    if is_value(name) {
        return out.push_str(name);
    }
    if name.is_empty() {
        return out.push('_');
    }
    for (at, c) in name.char_indices() {
        let stays = stays(c) && !(at == 0 && c == '~');
        out.push(if stays { c } else { '_' });
    }
}

/// Whether a character stays as it is anywhere but at the beginning.
fn stays(c: char) -> bool {
    !c.is_whitespace() && !c.is_control() && c != ';'
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    use super::*;

    fn value(name: &str) -> String {
        let mut out = "before".to_owned();
        push_value(name, &mut out);
        out.strip_prefix("before").unwrap().to_owned()
    }

    #[test]
    fn only_what_carbon_refuses_is_replaced() {
        for name in ["www.example.com", "a=b!^", "x~", "é", "[::1]:80", "{a}"] {
            assert_eq!(value(name), name);
            assert!(is_value(name));
        }
        let replaced = [
            ("a b;c", "a_b_c"),
            ("~x~", "_x~"),
            ("", "_"),
            ("a\u{a0}b\u{2028}c\r\n", "a_b_c__"),
            ("a\u{1c}b\u{85}c", "a_b_c"),
            (" ", "_"),
        ];
        for (name, expected) in replaced {
            assert_eq!(value(name), expected, "{name:?}");
            assert!(!is_value(name), "{name:?}");
        }
    }

    proptest! {
        /// carbon takes every value, and a value stays as it is.
        #[test]
        fn carbon_takes_any_name(name in any::<String>()) {
            let once = value(&name);
            prop_assert!(is_value(&once) && !once.is_empty() && !once.starts_with('~'));
            let is_refused = |c: char| c == ';' || c.is_whitespace() || c.is_control();
            prop_assert!(!once.contains(is_refused));
            prop_assert_eq!(value(&once), once.clone());
            prop_assert_eq!(is_value(&name), once == name);
        }
    }
}
