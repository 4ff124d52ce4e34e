//! `NAME=VALUE, …`: tags that are added to every line.

use model::catalog;

use crate::values::{Problems, wrong};

/// Tags of a list; more are a mistake, because each is repeated in every line.
const TAGS_MAX: usize = 16;
/// Bytes of a name and of a value.
const TAG_MAX_BYTES: usize = 256;
/// The tags that the program writes itself, and names that InfluxDB keeps for itself.
const RESERVED: [&str; 11] = [
    "group", "host", "process", "proxy", "pxname", "server", "sv", "svname", "type", "time", "kind",
];

pub(crate) fn tags(text: &str) -> Result<Vec<(String, String)>, Problems> {
    let mut tags: Vec<(String, String)> = Vec::new();
    let mut problems = Problems::new();
    for written in text.split(',').map(str::trim) {
        let Some((name, value)) = written.split_once('=') else {
            problems.extend(wrong(written, "no tag", "NAME=VALUE, such as dc=ams1"));
            continue;
        };
        let (name, value) = (name.trim(), value.trim());
        if !is_word(name) || !is_word(value) || value.contains('=') {
            let right = "NAME=VALUE, each of 1 to 256 bytes without comma, equals sign, backslash \
                         and control characters, such as dc=ams1";
            problems.extend(wrong(written, "no tag", right));
        } else if RESERVED.contains(&name) || name.starts_with('_') || catalog::is_field(name) {
            let right = "another name, such as dc";
            problems.extend(wrong(name, "a name that is taken by a tag or a field", right));
        } else if tags.iter().any(|(known, _)| known == name) {
            problems.extend(wrong(name, "a tag that is there twice", "each name once"));
        } else {
            tags.push((name.to_owned(), value.to_owned()));
        }
    }
    if tags.len() > TAGS_MAX {
        problems.extend(wrong(text, "a list that is too long", format!("{TAGS_MAX} at most")));
    }
    if problems.is_empty() { Ok(tags) } else { Err(problems) }
}

fn is_word(text: &str) -> bool {
    let is_plain = |c: char| !c.is_control() && c != '\\';
    (1..=TAG_MAX_BYTES).contains(&text.len()) && text.chars().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_pairs_in_the_order_of_the_list() {
        let pairs = tags("zone = b, dc=ams 1").unwrap();
        let expected = [("zone", "b"), ("dc", "ams 1")];
        assert_eq!(pairs, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn each_faulty_tag_is_told() {
        for (text, count) in [
            ("", 1),
            ("dc", 1),
            ("dc=", 1),
            ("=x", 1),
            ("a=b=c", 1),
            ("a=b\\", 1),
            ("host=a, time=b, _x=c, scur=d", 4),
            ("dc=a, dc=b", 1),
        ] {
            assert_eq!(tags(text).unwrap_err().len(), count, "{text}");
        }
        let many: Vec<String> = (0..17).map(|number| format!("t{number}=x")).collect();
        assert_eq!(tags(&many.join(",")).unwrap_err().len(), 1);
    }
}
