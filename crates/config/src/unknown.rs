//! Options and sections that nothing reads. They are no faults, because a file may define options
//! of its own for `${}`, but most are mistakes. An option that we know and that has no effect is
//! one of them, unless a reference reads it.

use crate::document::{DEFAULT, Document, Entry, Section};
use crate::fault::Warning;
use crate::interpolate::Resolver;
use crate::nearest::nearest;
use crate::table::{self, GROUP_SECTIONS};

/// Names that examples of the Python program carry, though it never read them, and what was meant.
const MISTAKEN: [(&str, &str, &str); 2] = [
    ("graphite", "prefix_hostname", "prefix-hostname"),
    ("graphite", "timeout", "connect-timeout"),
];

/// Warns of every section and option that we don't know and no reference reads; asked after all
/// values are worked out.
pub(crate) fn warnings(document: &Document, resolver: &Resolver<'_>) -> Vec<Warning> {
    let known = table::known_sections();
    let mut warnings = Vec::new();
    for section in document.sections() {
        if GROUP_SECTIONS.contains(&section.name.as_str()) {
            continue;
        }
        if !known.contains(&section.name.as_str()) {
            if !resolver.is_referenced(&section.name, None) {
                warnings.push(unknown_section(section, &known));
            }
            continue;
        }
        for entry in section.entries() {
            if !resolver.is_referenced(&section.name, Some(&entry.option))
                && let Some(message) = unread(&section.name, &entry.option)
            {
                warnings.push(option_warning(section, entry, message));
            }
        }
    }
    warnings
}

fn unknown_section(section: &Section, known: &[&'static str]) -> Warning {
    let message = match nearest(section.name.trim(), known.iter().copied()) {
        Some(near) => format!("unknown section, not read; did you mean [{near}]?"),
        None => "unknown section, not read".to_owned(),
    };
    Warning {
        place: section.place.clone(),
        section: Some(section.name.clone()),
        option: None,
        message,
    }
}

fn option_warning(section: &Section, entry: &Entry, message: String) -> Warning {
    Warning {
        place: entry.place.clone(),
        section: Some(section.name.clone()),
        option: Some(entry.option.clone()),
        message,
    }
}

/// Why nothing reads an option that stands in a known section; `None` where it is read.
fn unread(section: &str, option: &str) -> Option<String> {
    let without_effect = |known: &table::KnownOption| format!("{}; leave it out", known.meaning);
    if let Some(known) = table::find(section, option) {
        return (!known.has_effect).then(|| without_effect(known));
    }
    let rows = || table::known_options().iter();
    let homes: Vec<_> = rows().filter(|known| known.name == option).collect();
    if section == DEFAULT
        && let [known] = homes.as_slice()
        && !known.has_effect
    {
        return Some(without_effect(known));
    }
    let inherited = |known: &&table::KnownOption| {
        known.default.is_none() && table::inherits(known.section, option)
    };
    if section == DEFAULT && homes.iter().any(inherited) {
        return None;
    }
    let mistaken = MISTAKEN.iter().find(|(home, wrong, _)| (*home, *wrong) == (section, option));
    if let Some((_, _, right)) = mistaken {
        return Some(format!("unknown option, not read; write {right}"));
    }
    let names = rows()
        .filter(|known| known.section == section || section == DEFAULT)
        .map(|known| known.name);
    let homes: Vec<_> = homes.iter().map(|known| format!("[{}]", known.section)).collect();
    Some(match nearest(option, names) {
        _ if !homes.is_empty() && section == DEFAULT => {
            format!(
                "not read here, where its section does not inherit it; set it in {}",
                homes.join(" or ")
            )
        }
        Some(near) => format!("unknown option, not read; did you mean {near}?"),
        None if !homes.is_empty() => {
            format!("unknown option here, not read; it belongs in {}", homes.join(" or "))
        }
        None => "unknown option, not read".to_owned(),
    })
}
