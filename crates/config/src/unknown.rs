//! Warnings about unread options and sections. They are no faults, because a file may define
//! options for `${}`, but most of them are mistakes. A known option without effect gets a warning
//! too, unless a reference reads it.

use crate::document::{DEFAULT, Document, Section};
use crate::fault::Warning;
use crate::interpolate::Resolver;
use crate::nearest::nearest;
use crate::options::{self, GROUP_SECTIONS, KnownOption};
use crate::{receivers, secret};

/// Mistakes in the examples of the Python program, which never read these options: section, wrong
/// name and right name.
const MISTAKES: [(&str, &str, &str); 2] = [
    ("graphite", "prefix_hostname", "prefix-hostname"),
    ("graphite", "timeout", "connect-timeout"),
];

/// Warns of every unknown section and option that no reference reads. All values must be resolved
/// before.
pub(crate) fn warnings(document: &Document, resolver: &Resolver<'_>) -> Vec<Warning> {
    let mut warnings = Vec::new();
    for section in document.sections() {
        if GROUP_SECTIONS.contains(&section.name.as_str()) {
            continue;
        }
        if options::table_section(&section.name).is_none() {
            if !resolver.is_referenced(&section.name, None) {
                warnings.push(unknown_section(section));
            }
            continue;
        }
        for entry in section.entries() {
            if !resolver.is_referenced(&section.name, Some(&entry.option))
                && let Some(message) = reason_unread(&section.name, &entry.option)
            {
                let (place, section) = (entry.place.clone(), Some(section.name.clone()));
                let option = Some(entry.option.clone());
                warnings.push(Warning { place, section, option, message });
            }
        }
    }
    warnings
}

fn unknown_section(section: &Section) -> Warning {
    let near = match section.name.split_once(':') {
        // Only a receiver's section has a name after its kind.
        Some((kind, name)) => nearest(kind.trim(), receivers::KINDS.map(|kind| kind.section))
            .map(|kind| format!("{kind}:{}", name.trim())),
        None => nearest(section.name.trim(), options::known_sections()).map(str::to_owned),
    };
    let message = match near {
        Some(near) => format!("unknown section, not read; did you mean [{near}]?"),
        None => "unknown section, not read".to_owned(),
    };
    let (place, section) = (section.place.clone(), Some(section.name.clone()));
    Warning { place, section, option: None, message }
}

/// Why no program reads an option of a known section; `None` if a program reads it.
fn reason_unread(section: &str, option: &str) -> Option<String> {
    let without_effect = |known: &KnownOption| format!("{}; leave it out", known.meaning);
    if let Some(known) = options::find(section, option) {
        return (!known.has_effect()).then(|| without_effect(known));
    }
    if receivers::is_library_option(section, option) {
        return None;
    }
    let rows = || options::known_options().iter();
    let homes: Vec<_> = rows().filter(|known| known.name == option).collect();
    if section == DEFAULT
        && let [known] = homes.as_slice()
        && !known.has_effect()
    {
        return Some(without_effect(known));
    }
    let inherited =
        |known: &&KnownOption| known.default.is_none() && options::inherits(known.section, option);
    if section == DEFAULT && homes.iter().any(inherited) {
        return None;
    }
    if secret::may_be(option) {
        let files = secret::files(section, option);
        return Some(match files.as_slice() {
            [] => "unknown option, not read; remove it, because no secret belongs here".to_owned(),
            files => format!(
                "unknown option, not read; a secret comes from a file: write {}",
                files.join(" or ")
            ),
        });
    }
    let table_section = options::table_section(section);
    for (home, wrong, right) in MISTAKES {
        if table_section == Some(home) && option == wrong {
            return Some(format!("unknown option, not read; write {right}"));
        }
    }
    let names = rows()
        .filter(|known| Some(known.section) == table_section || section == DEFAULT)
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
