//! The three sections of groups, which all receivers share.

use fancy_regex::Regex;

use crate::document::Section;
use crate::fault::{Fault, Problem};
use crate::interpolate::{Resolution, Resolver};
use crate::options::GROUP_SECTIONS;
use crate::reader::Rejection;
use crate::typed::{GroupRule, GroupRules};
use crate::values;

/// The sections of groups, read.
pub(crate) struct GroupSections<'d> {
    /// The first section that the file has.
    pub(crate) first: Option<&'d Section>,
    pub(crate) rules: Result<GroupRules, Rejection>,
}

/// Reads the sections.
pub(crate) fn read<'d>(resolver: &mut Resolver<'d>) -> GroupSections<'d> {
    let document = resolver.document();
    let first = GROUP_SECTIONS.iter().find_map(|name| document.section(name));
    // All three are read, so that one run reports the faults of all.
    let rules = match GROUP_SECTIONS.map(|name| rules(resolver, name)) {
        [Ok(frontend), Ok(backend), Ok(server)] => Ok(GroupRules { frontend, backend, server }),
        _ => Err(Rejection),
    };
    GroupSections { first, rules }
}

/// The rules of the section itself; an inherited option of `[DEFAULT]` is no group.
fn rules(resolver: &mut Resolver<'_>, section: &str) -> Result<Vec<GroupRule>, Rejection> {
    let Some(written) = resolver.document().section(section) else { return Ok(Vec::new()) };
    let mut rules = Ok(Vec::new());
    for entry in written.entries() {
        let Resolution::Value { text, .. } = resolver.value(section, &entry.option) else {
            rules = Err(Rejection);
            continue;
        };
        let mut problems = Vec::new();
        problems.extend(values::group_name(&entry.option).err().unwrap_or_default());
        // The patterns are Python's. They need fancy-regex, because regex has no look-around.
        problems.extend(Regex::new(&text).err().map(|error| Problem::Pattern(Box::new(error))));
        if let Ok(rules) = &mut rules {
            rules.push(GroupRule { name: entry.option.clone(), pattern: text.to_string() });
        }
        for problem in problems {
            resolver.record(Fault {
                place: entry.place.clone(),
                section: Some(section.to_owned()),
                option: Some(entry.option.clone()),
                problem,
            });
            rules = Err(Rejection);
        }
    }
    rules
}
