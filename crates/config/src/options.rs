//! The table of all options: section, name, kind of values, default and meaning.
//!
//! Each section's file declares its options as constants of type [`Opt`], lists them and reads them
//! into the typed configuration. The parser, `-p`, `-P`, the warnings about unknown names, the
//! documentation, the manual page and the example with every option are all derived from those
//! constants or compared with them by a test. A default of the table precedes a value of the file's
//! `[DEFAULT]`, so `[DEFAULT] retries = 9` changes nothing in `[pull]`.

use std::sync::LazyLock;

use crate::document::DEFAULT;
use crate::kind::{Form, Kind};
use crate::values::Problems;
use crate::{process, pull, receivers, shared, uwsgi, zope};

/// An option of a section.
#[derive(Debug, Clone, Copy)]
pub struct KnownOption {
    /// Its section; for a receiver, its kind.
    pub section: &'static str,
    /// Its name, in lower case.
    pub name: &'static str,
    /// The values that it accepts.
    pub kind: Kind,
    /// The value if the file sets none; can refer to `${paths:base-dir}`. `None` for unset.
    pub default: Option<&'static str>,
    /// Its meaning, in one line. Begins with [`NO_EFFECT`] if no program obeys the option.
    pub meaning: &'static str,
}

impl KnownOption {
    /// Whether a program obeys it. An option without effect is read and checked, because files for
    /// the Python programs have it.
    #[must_use]
    pub fn has_effect(&self) -> bool {
        !self.meaning.starts_with(NO_EFFECT)
    }
}

/// The beginning of the meaning of an option without effect.
pub const NO_EFFECT: &str = "no effect: ";

/// Sections in which every option is a group: `NAME = REGEX`.
pub const GROUP_SECTIONS: [&str; 3] = ["frontend-groups", "backend-groups", "server-groups"];

/// The only option that a default may refer to.
pub(crate) const BASE_DIR: (&str, &str) = (shared::PATHS, shared::BASE_DIR.row.name);

/// An option with the type of its value.
pub(crate) struct Opt<T: 'static> {
    /// Without its section, because the kinds of receivers have options in common.
    pub(crate) row: KnownOption,
    pub(crate) parse: fn(&str) -> Result<T, Problems>,
}

impl<T> Opt<T> {
    /// An option with a default.
    pub(crate) const fn new(
        name: &'static str,
        form: Form<T>,
        default: &'static str,
        meaning: &'static str,
    ) -> Self {
        let unset = Self::unset(name, form, meaning);
        Self { row: KnownOption { default: Some(default), ..unset.row }, parse: unset.parse }
    }

    /// An option that is unset by default.
    pub(crate) const fn unset(name: &'static str, form: Form<T>, meaning: &'static str) -> Self {
        let row = KnownOption { section: "", name, kind: form.kind, default: None, meaning };
        Self { row, parse: form.parse }
    }
}

static TABLE: LazyLock<Vec<KnownOption>> = LazyLock::new(|| {
    let fixed = [
        (DEFAULT, shared::DEFAULT_OPTIONS),
        (shared::PATHS, shared::PATHS_OPTIONS),
        (pull::SECTION, pull::OPTIONS),
        (uwsgi::SECTION, uwsgi::OPTIONS),
        (zope::SECTION, zope::OPTIONS),
        (process::SECTION, process::OPTIONS),
    ];
    let receivers = receivers::KINDS
        .iter()
        .flat_map(|kind| [(kind.section, receivers::COMMON_OPTIONS), (kind.section, kind.options)]);
    let mut table = Vec::new();
    for (section, rows) in fixed.into_iter().chain(receivers) {
        table.extend(rows.iter().map(|row| KnownOption { section, ..*row }));
    }
    table
});

/// All known options, section by section.
#[must_use]
pub fn known_options() -> &'static [KnownOption] {
    &TABLE
}

/// The known sections, each once, in the order in which they are printed.
pub(crate) fn known_sections() -> Vec<&'static str> {
    let mut sections: Vec<_> = TABLE.iter().map(|known| known.section).collect();
    sections.dedup();
    sections.extend(GROUP_SECTIONS);
    sections
}

/// The section of the table that belongs to a section of a file: the same one, or the kind's for
/// `[kind:name]`.
pub(crate) fn table_section(section: &str) -> Option<&'static str> {
    let known = |name: &str| TABLE.iter().map(|row| row.section).find(|known| *known == name);
    known(section).or_else(|| receivers::kind_of(section).map(|kind| kind.section))
}

/// The row of an option in its own section.
pub(crate) fn find(section: &str, option: &str) -> Option<&'static KnownOption> {
    let section = table_section(section)?;
    TABLE.iter().find(|known| known.section == section && known.name == option)
}

/// The built-in default of an option in a section, `[DEFAULT]`'s included.
pub(crate) fn default_of(section: &str, option: &str) -> Option<&'static str> {
    let of = |section| find(section, option).and_then(|known| known.default);
    of(section).or_else(|| of(DEFAULT))
}

/// Whether a section that does not set the option inherits it from `[DEFAULT]`. A receiver does not
/// inherit `queue-size`, because that drops metrics, and the value may be meant for `[pull]`.
pub(crate) fn inherits(section: &str, option: &str) -> bool {
    option != receivers::QUEUE_SIZE.row.name || receivers::kind_of(section).is_none()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_option_has_one_row_and_a_meaning_of_one_line() {
        let mut seen = HashSet::new();
        for known in known_options() {
            assert!(seen.insert((known.section, known.name)), "{known:?} twice");
            assert_eq!(known.name, known.name.to_lowercase());
            assert!(!known.meaning.is_empty() && !known.meaning.contains('\n'), "{known:?}");
        }
    }

    #[test]
    fn a_default_refers_to_nothing_but_base_dir() {
        let (section, option) = BASE_DIR;
        let reference = format!("${{{section}:{option}}}");
        for known in known_options() {
            let default = known.default.unwrap_or_default();
            assert!(!default.replace(&reference, "").contains('$'), "{known:?}");
        }
        let base_dir = find(section, option).unwrap().default.unwrap();
        assert!(!base_dir.contains('$'));
    }
}
