//! Groups of rows: the first rule of the file whose pattern is found in a clean name decides.
//!
//! The patterns are Python's (`re.search`). They need fancy-regex, because regex has no
//! look-around.

use model::TableKind;
use thiserror::Error;

/// A pattern that does not compile.
#[derive(Debug, Error)]
#[error("group {name:?}: {source}")]
pub struct InvalidPattern {
    name: String,
    source: Box<fancy_regex::Error>,
}

/// The three sections of groups, compiled.
#[derive(Debug)]
pub(crate) struct GroupSections {
    frontend: GroupRules,
    backend: GroupRules,
    server: GroupRules,
}

impl GroupSections {
    /// Compiles the rules.
    ///
    /// # Errors
    ///
    /// The first pattern that does not compile.
    pub(crate) fn compile(rules: &config::GroupRules) -> Result<Self, InvalidPattern> {
        Ok(Self {
            frontend: GroupRules::compile(&rules.frontend)?,
            backend: GroupRules::compile(&rules.backend)?,
            server: GroupRules::compile(&rules.server)?,
        })
    }

    /// The rules for the first label of a kind's rows. A server has the group of its backend.
    pub(crate) const fn of_kind(&self, kind: &TableKind) -> Option<&GroupRules> {
        match kind {
            TableKind::Frontend => Some(&self.frontend),
            TableKind::Backend | TableKind::ServerCount | TableKind::BackendServer => {
                Some(&self.backend)
            }
            TableKind::Server => Some(&self.server),
            TableKind::Daemon | TableKind::Process | TableKind::Own | TableKind::Other(_) => None,
        }
    }
}

/// Rules in the order of the file, compiled.
#[derive(Debug, Default)]
pub(crate) struct GroupRules {
    rules: Vec<(String, fancy_regex::Regex)>,
}

impl GroupRules {
    /// Compiles the rules; a group's name is put in lower case.
    fn compile(rules: &[config::GroupRule]) -> Result<Self, InvalidPattern> {
        let compile = |rule: &config::GroupRule| match fancy_regex::Regex::new(&rule.pattern) {
            Ok(regex) => Ok((rule.name.to_lowercase(), regex)),
            Err(source) => {
                Err(InvalidPattern { name: rule.name.clone(), source: Box::new(source) })
            }
        };
        Ok(Self { rules: rules.iter().map(compile).collect::<Result<_, _>>()? })
    }

    /// The group of a clean name. A pattern does not match a name on which it backtracks too far.
    pub(crate) fn of(&self, name: &str) -> Option<&str> {
        self.rules
            .iter()
            .find(|(_, regex)| regex.is_match(name).unwrap_or(false))
            .map(|(group, _)| group.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compile(rules: &[(&str, &str)]) -> Result<GroupRules, InvalidPattern> {
        let rule = |(name, pattern): &(&str, &str)| config::GroupRule {
            name: (*name).to_owned(),
            pattern: (*pattern).to_owned(),
        };
        GroupRules::compile(&rules.iter().map(rule).collect::<Vec<_>>())
    }

    #[test]
    fn first_pattern_in_file_order_wins_wherever_it_is_found() {
        let groups = compile(&[("First", "b"), ("second", "^ab$"), ("x", r"foo(?!bar)")]).unwrap();
        assert_eq!(groups.of("ab"), Some("first"));
        assert_eq!(groups.of("foobaz"), Some("first"));
        assert_eq!(groups.of("foodaz"), Some("x"));
        assert_eq!(groups.of("foo_c"), Some("x"));
        assert_eq!(groups.of("zzz"), None);
    }

    #[test]
    fn a_pattern_that_does_not_compile_names_its_group() {
        let error = compile(&[("g", "(")]).unwrap_err().to_string();
        assert!(error.contains("\"g\""), "{error}");
    }
}
