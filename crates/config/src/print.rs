//! `-p` and `-P`: the defaults, and the values in force, as a configuration file.
//!
//! The output reads back as the same values: references are replaced, a `$` is doubled, and further
//! lines of a value are indented. Unset options are not printed. Options are sorted, but groups are
//! not, because their order decides; an option that a section of groups inherits is no group and
//! not printed. Receivers are in file order. A comment marks an option without effect. It
//! takes the place of an unknown option whose name speaks of a secret.

use std::fmt::Write;

use crate::document::{DEFAULT, Document};
use crate::interpolate::{Resolution, Resolver};
use crate::load::Program;
use crate::options::{self, GROUP_SECTIONS};
use crate::{pull, receivers, secret, uwsgi, zope};

/// The sections of other sources than HAProxy.
const OF_SOURCES: [&str; 2] = [uwsgi::SECTION, zope::SECTION];

/// Options of one section with their values.
type Options = Vec<(String, String)>;

/// The built-in defaults that concern a program (`-p`).
#[must_use]
pub fn print_defaults(program: Program) -> String {
    let mut out = String::new();
    for section in options::known_sections().into_iter().filter(|name| concerns(program, name)) {
        let mut options: Options = options::known_options()
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

/// The values in force that concern a program (`-P`). A section of a receiver, of groups or of a
/// source that the files lack is off and not printed.
#[must_use]
pub fn print_in_force(document: &Document, program: Program) -> String {
    let mut resolver = Resolver::new(document);
    let mut out = String::new();
    for section in sections_in_force(document).into_iter().filter(|name| concerns(program, name)) {
        print_section(&mut out, section, &options_in_force(&mut resolver, section));
    }
    out
}

/// The sections to print, in order: shared, of the programs, of receivers, of groups, of the user.
fn sections_in_force(document: &Document) -> Vec<&str> {
    let is_group = |name: &&str| GROUP_SECTIONS.contains(name);
    let known = options::known_sections();
    let mut sections: Vec<&str> = known.into_iter().filter(|name| !is_group(name)).collect();
    sections.retain(|name| receivers::kind_of(name).is_none());
    sections.retain(|name| !OF_SOURCES.contains(name) || document.section(name).is_some());
    sections.extend(receivers::sections(document));
    sections.extend(GROUP_SECTIONS.iter().filter(|name| document.section(name).is_some()));
    let written = document.sections().map(|section| section.name.as_str());
    let own: Vec<&str> = written.filter(|name| !sections.contains(name)).collect();
    sections.extend(own);
    sections
}

/// As the Python programs do, pull prints `[DEFAULT]` and `[pull]`, with its other sources, and
/// process all but those of pull alone.
fn concerns(program: Program, section: &str) -> bool {
    let is_of_pull = section == pull::SECTION || OF_SOURCES.contains(&section);
    match program {
        Program::Pull => section == DEFAULT || is_of_pull,
        Program::Process => !is_of_pull,
    }
}

fn options_in_force(resolver: &mut Resolver<'_>, section: &str) -> Options {
    let document = resolver.document();
    let written = document.section(section).into_iter().flat_map(|section| section.entries());
    let table_section = options::table_section(section);
    let known = options::known_options().iter();
    let known = known.filter(|known| Some(known.section) == table_section);
    let unwritten = known.filter(|known| document.entry(section, known.name).is_none());
    let names = written.map(|entry| entry.option.as_str());
    let names = names.chain(unwritten.map(|known| known.name));
    let mut options = Vec::new();
    for name in names {
        // A value of [DEFAULT] that refers to options of other sections is incomplete here. It is
        // printed in the sections that read it.
        if let Resolution::Value { text, .. } = resolver.value(section, name) {
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
        if let Some(known) = options::find(section, name)
            && !known.has_effect()
        {
            let _ = writeln!(out, "# {}", known.meaning);
        }
        if !GROUP_SECTIONS.contains(&section) && secret::may_be(name) {
            let _ =
                writeln!(out, "# {name} is not printed: it may be a secret, and none belongs here");
            continue;
        }
        let _ = writeln!(out, "{name} = {}", value.replace('\n', "\n\t"));
    }
    out.push('\n');
}

fn escape(value: &str) -> String {
    value.replace('$', "$$")
}
