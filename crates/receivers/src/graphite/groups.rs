//! Groups: the first pattern that is found in a name decides, in the order of the file.
//!
//! The patterns are Python's (`re.search`), where look-around is in use; hence fancy-regex and not
//! regex.

use thiserror::Error;

/// A pattern that does not compile.
#[derive(Debug, Error)]
#[error("group {name:?}: {source}")]
pub struct InvalidPattern {
    name: String,
    source: Box<fancy_regex::Error>,
}

/// Rules in the order of the file, compiled.
#[derive(Debug, Default)]
pub(super) struct Groups {
    rules: Vec<(String, fancy_regex::Regex)>,
}

impl Groups {
    /// Compiles `(group, pattern)` pairs; the group's name is put in lower case.
    ///
    /// # Errors
    ///
    /// The first pattern that does not compile.
    pub(super) fn compile<'a>(
        rules: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, InvalidPattern> {
        let rules = rules
            .into_iter()
            .map(|(name, pattern)| match fancy_regex::Regex::new(pattern) {
                Ok(regex) => Ok((name.to_lowercase(), regex)),
                Err(source) => {
                    Err(InvalidPattern { name: name.to_owned(), source: Box::new(source) })
                }
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { rules })
    }

    /// The group of a clean name. A pattern that gives up on a name (it backtracked too far) does
    /// not match it.
    #[must_use]
    pub(super) fn of(&self, name: &str) -> Option<&str> {
        self.rules
            .iter()
            .find(|(_, regex)| regex.is_match(name).unwrap_or(false))
            .map(|(group, _)| group.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_pattern_in_file_order_wins_wherever_it_is_found() {
        let groups =
            Groups::compile([("First", "b"), ("second", "^ab$"), ("x", r"foo(?!bar)")]).unwrap();
        assert_eq!(groups.of("ab"), Some("first"));
        assert_eq!(groups.of("foobaz"), Some("first"));
        assert_eq!(groups.of("foodaz"), Some("x"));
        assert_eq!(groups.of("foo_c"), Some("x"));
        assert_eq!(groups.of("zzz"), None);
    }

    #[test]
    fn a_pattern_that_does_not_compile_names_its_group() {
        let error = Groups::compile([("g", "(")]).unwrap_err().to_string();
        assert!(error.contains("\"g\""), "{error}");
    }
}
