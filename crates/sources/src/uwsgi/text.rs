//! Makes strict JSON of uWSGI's: bytes that stand raw in its strings are escaped.

/// The document with control characters and unknown escapes in strings written as JSON has them,
/// and with U+FFFD in place of bad UTF-8.
pub(super) fn strict(document: &[u8]) -> String {
    let document = String::from_utf8_lossy(document);
    let mut strict = String::with_capacity(document.len());
    let mut in_string = false;
    let mut letters = document.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => {
                in_string = !in_string;
                strict.push(letter);
            }
            '\\' if in_string => {
                strict.push('\\');
                match letters.peek() {
                    Some('"' | '\\' | '/' | 'b' | 'f' | 'n' | 'r' | 't') => {
                        strict.extend(letters.next());
                    }
                    // Such as a folder's backslash, which uWSGI does not escape.
                    _ => strict.push('\\'),
                }
            }
            _ if in_string && letter.is_control() => {
                strict.push_str(&format!("\\u{:04x}", u32::from(letter)));
            }
            _ => strict.push(letter),
        }
    }
    strict
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_no_json_has_are_escaped_in_strings_alone() {
        let text = strict(b"{\n\t\"a\":\"x\x01\xff\\\"\\d\"\n}");
        assert_eq!(text, "{\n\t\"a\":\"x\\u0001\u{fffd}\\\"\\\\d\"\n}");
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["a"], "x\u{1}\u{fffd}\"\\d");
    }
}
