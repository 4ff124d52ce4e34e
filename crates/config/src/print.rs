//! `-p` and `-P`: the defaults, and the values in force, as a configuration file.
//!
//! What is printed reads back as the same values: references are replaced, a `$` is doubled, lines
//! that go on are indented. An option that is unset is not printed. Options are sorted, but for
//! groups: their order decides, so it is the file's; and what a section of groups inherits is no
//! group and not printed. Above an option without effect stands a comment that says so.

use std::fmt::Write;

use crate::document::{DEFAULT, Document};
use crate::interpolate::{Outcome, Resolver};
use crate::load::Program;
use crate::table::{self, GROUP_SECTIONS};

/// Options of one section with their values.
type Options = Vec<(String, String)>;

/// The built-in defaults that concern a program (`-p`).
#[must_use]
pub fn print_defaults(program: Program) -> String {
    let mut out = String::new();
    for section in table::known_sections().into_iter().filter(|name| concerns(program, name)) {
        let mut options: Options = table::known_options()
            .iter()
            .filter(|known| known.section == section)
            // Not escaped: a dollar in a default is a reference, and reads back as one.
            .filter_map(|known| Some((known.name.to_owned(), known.default?.to_owned())))
            .collect();
        options.sort();
        if !options.is_empty() {
            print_section(&mut out, section, &options);
        }
    }
    out
}

/// The values in force that concern a program (`-P`). A section that a file must name to turn it on
/// is printed where it does.
#[must_use]
pub fn print_in_force(document: &Document, program: Program) -> String {
    let mut resolver = Resolver::new(document);
    let known = table::known_sections();
    let own = document.sections().map(|section| section.name.as_str());
    let own: Vec<_> = own.filter(|name| !known.contains(name)).collect();
    let mut out = String::new();
    for section in known.into_iter().chain(own).filter(|name| concerns(program, name)) {
        let must_be_named = section == "local-store" || GROUP_SECTIONS.contains(&section);
        if !must_be_named || document.section(section).is_some() {
            print_section(&mut out, section, &options_in_force(&mut resolver, section));
        }
    }
    out
}

/// pull prints DEFAULT and its own section, process all but `[pull]`, as the Python programs do.
fn concerns(program: Program, section: &str) -> bool {
    match program {
        Program::Pull => matches!(section, DEFAULT | "pull"),
        Program::Process => section != "pull",
    }
}

fn options_in_force(resolver: &mut Resolver<'_>, section: &str) -> Options {
    let document = resolver.document();
    let written = document.section(section).into_iter().flat_map(|section| section.entries());
    let known = table::known_options().iter().filter(|known| known.section == section);
    let known = known.filter(|known| document.entry(section, known.name).is_none());
    let names = written.map(|entry| entry.option.as_str()).chain(known.map(|known| known.name));
    let mut options = Vec::new();
    for name in names {
        // A value of [DEFAULT] that refers to options of other sections has no value here. It is
        // printed in the sections that read it.
        if let Outcome::Value { text, .. } = resolver.value(section, name) {
            options.push((name.to_owned(), escape(&text)));
        }
    }
    if !GROUP_SECTIONS.contains(&section) {
        options.sort();
    }
    options
}

fn print_section(out: &mut String, section: &str, options: &[(String, String)]) {
    // Writing to a string cannot fail, so there is no error to pass on.
    let _ = writeln!(out, "[{section}]");
    for (name, value) in options {
        if let Some(known) = table::find(section, name).filter(|known| !known.has_effect) {
            let _ = writeln!(out, "# {}", known.meaning);
        }
        let _ = writeln!(out, "{name} = {}", value.replace('\n', "\n\t"));
    }
    out.push('\n');
}

fn escape(value: &str) -> String {
    value.replace('$', "$$")
}
