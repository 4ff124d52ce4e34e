//! The name of an instance's endpoint: `deployment/instance`, with each byte that a file's name
//! cannot have written as `%` and two hexadecimal digits. So the slash is `%2f`.

const SLASH: &str = "%2f";

/// The name of an instance's endpoint. Different instances have different names.
///
/// ```
/// use haproxystats_sources::zope::endpoint_name;
///
/// assert_eq!(endpoint_name(b"my shop", "instance1"), "my%20shop%2finstance1");
/// ```
#[must_use]
pub fn endpoint_name(deployment: &[u8], instance: &str) -> String {
    let mut name = String::new();
    let mut push = |byte: u8| {
        // The name of a hidden file begins with a dot.
        let is_first_dot = name.is_empty() && byte == b'.';
        if byte.is_ascii_graphic() && !matches!(byte, b'/' | b'%') && !is_first_dot {
            name.push(char::from(byte));
        } else {
            name.push_str(&format!("%{byte:02x}"));
        }
    };
    deployment.iter().copied().for_each(&mut push);
    push(b'/');
    instance.bytes().for_each(&mut push);
    name
}

/// The deployment and the instance of an endpoint's name; `None` if the name has not both.
pub(super) fn labels(name: &str) -> Option<[String; 2]> {
    let (deployment, instance) = name.rsplit_once(SLASH)?;
    if deployment.is_empty() || instance.is_empty() {
        return None;
    }
    Some([unescaped(deployment), unescaped(instance)])
}

fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|digits| str::from_utf8(digits).ok());
        match digits.map(|digits| u8::from_str_radix(digits, 16)) {
            Some(Ok(byte)) if *first == b'%' => {
                bytes.push(byte);
                rest = &after[2..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::*;

    #[test]
    fn a_name_without_both_parts_has_no_labels() {
        for name in ["", "instance1", "%2finstance1", "shop%2f", "shop/instance1"] {
            assert_eq!(labels(name), None, "{name}");
        }
        assert_eq!(labels("a%2%zz%2fb"), Some(["a%2%zz".to_owned(), "b".to_owned()]));
    }

    proptest! {
        /// Both names come back, and the name of the file has neither a slash nor a dot in front.
        #[test]
        fn any_names_come_back(deployment in "\\PC{1,30}", instance in "[a-z0-9.]{1,12}") {
            let name = endpoint_name(deployment.as_bytes(), &instance);
            assert!(name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/'), "{name}");
            assert!(!name.starts_with('.'), "{name}");
            assert_eq!(labels(&name), Some([deployment, instance]));
        }

        #[test]
        fn any_file_name_can_be_read(name in any::<String>()) {
            labels(&name);
        }
    }
}
