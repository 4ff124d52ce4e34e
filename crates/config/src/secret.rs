//! Options that we do not know, but whose name speaks of a secret. Secrets come from files, so such
//! an option is a mistake, and its value must not be on a screen or in a log.

use crate::document::DEFAULT;
use crate::options;

/// Parts of names of secrets.
const PARTS: [&str; 5] = ["password", "passwd", "passphrase", "secret", "credential"];
/// Words at the end of names of secrets.
const ENDS: [&str; 6] = ["key", "keys", "pass", "pwd", "token", "tokens"];

/// Whether an option may hold a secret. An option that we know in any section holds none.
pub(crate) fn may_be(option: &str) -> bool {
    let is_known = options::known_options().iter().any(|known| known.name == option);
    let name = option.to_lowercase();
    let speaks_of_it =
        PARTS.iter().any(|part| name.contains(part)) || ENDS.iter().any(|end| name.ends_with(end));
    speaks_of_it && !is_known
}

/// The options of a section that name a file with a secret, the most similar to `option` first.
pub(crate) fn files(section: &str, option: &str) -> Vec<&'static str> {
    let table_section = options::table_section(section);
    let known = options::known_options().iter();
    let known = known.filter(|known| Some(known.section) == table_section || section == DEFAULT);
    let mut names: Vec<&str> = known.map(|known| known.name).collect();
    names.retain(|name| name.strip_suffix("-file").is_some_and(may_be));
    names.sort_unstable();
    names.dedup();
    names.sort_by_key(|name| strsim::damerau_levenshtein(name, option));
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets_are_recognized_and_known_options_are_none() {
        for name in ["password", "sasl-password", "Token", "api_key", "client.secret", "auth-pass"]
        {
            assert!(may_be(name), "{name}");
        }
        for name in ["key", "password-file", "token-file", "keep-field-names", "url", "timeout"] {
            assert!(!may_be(name), "{name}");
        }
    }

    #[test]
    fn the_files_of_a_section_are_those_of_its_kind() {
        assert_eq!(files("influxdb:a", "token"), ["token-file", "password-file"]);
        assert_eq!(files("influxdb", "password")[0], "password-file");
        assert_eq!(files("kafka", "password"), ["sasl-password-file"]);
        assert!(files("graphite", "password").is_empty());
    }
}
