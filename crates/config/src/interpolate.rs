//! References: `${option}`, `${section:option}` and `$$`, as Python's ExtendedInterpolation reads
//! them, except that a section's name may have colons. The last colon ends the section's name,
//! because no option's name has one: `${graphite:second:server}` is `server` of
//! `[graphite:second]`.
//!
//! References in a value of `[DEFAULT]` are resolved in the section that reads the value. Every
//! value is resolved once, so a cycle, a long chain and a value that multiplies itself all end with
//! a fault. Only the mistake itself is a fault, and not the values that refer to it.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use crate::document::{DEFAULT, Document, Entry};
use crate::fault::{Fault, Place, Problem, clip};
use crate::nearest::nearest;
use crate::options;

/// References in a chain. ConfigParser allows 10.
const MAX_DEPTH: usize = 64;
/// Bytes that a value may reach by its references.
const MAX_VALUE_BYTES: usize = 65_536;

/// A section and an option in it.
type Key = (String, String);

/// The definition of an option's value.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Definition<'d> {
    /// In a section of the file.
    Written { section: &'d str, entry: &'d Entry },
    /// In the table of defaults.
    BuiltIn(&'static str),
}

/// The definition that counts: the section in the file, else the section's built-in default, else
/// `[DEFAULT]` in the file, else the built-in default of `[DEFAULT]`.
pub(crate) fn find<'d>(
    document: &'d Document,
    section: &str,
    option: &str,
) -> Option<Definition<'d>> {
    let written = |name: &str| {
        let section = document.section(name)?;
        let entry = section.entry(option)?;
        Some(Definition::Written { section: &section.name, entry })
    };
    let built_in =
        |name| options::find(name, option).and_then(|known| known.default).map(Definition::BuiltIn);
    let own = written(section).or_else(|| built_in(section));
    let inherited = if options::inherits(section, option) { written(DEFAULT) } else { None };
    own.or(inherited).or_else(|| built_in(DEFAULT))
}

/// Whether a reference may name the section.
fn is_section(document: &Document, name: &str) -> bool {
    document.section(name).is_some() || options::known_sections().contains(&name)
}

/// The result of replacing a value's references.
#[derive(Debug, Clone)]
pub(crate) enum Resolution {
    /// The option is not set.
    Unset,
    /// The value, or another one that it refers to, has a recorded fault.
    Failed,
    /// The value is in `[DEFAULT]` and refers to options that only other sections have.
    Incomplete,
    /// All references are replaced; their longest chain has `depth` links.
    Value { text: Rc<str>, depth: usize },
}

/// Why a value cannot be resolved.
enum Obstacle {
    Problem(Problem),
    Failed,
    Incomplete,
    TooDeep,
}

/// The first value of the chain is nested too deep; the other values may be right.
struct TooDeep;

impl From<TooDeep> for Obstacle {
    fn from(TooDeep: TooDeep) -> Self {
        Self::TooDeep
    }
}

/// Resolves values and collects the faults.
pub(crate) struct Resolver<'d> {
    document: &'d Document,
    resolutions: HashMap<Key, Resolution>,
    /// The values that are being resolved, outermost first.
    chain: Vec<Key>,
    faults: Vec<Fault>,
    /// Options that a reference reads, which therefore are no misspellings.
    referenced: HashSet<Key>,
}

impl<'d> Resolver<'d> {
    pub(crate) fn new(document: &'d Document) -> Self {
        Self {
            document,
            resolutions: HashMap::new(),
            chain: Vec::new(),
            faults: Vec::new(),
            referenced: HashSet::new(),
        }
    }

    pub(crate) fn document(&self) -> &'d Document {
        self.document
    }

    /// Resolves every value of the files, so that unread values are checked too.
    pub(crate) fn resolve_all(&mut self) {
        for section in self.document.sections() {
            for entry in section.entries() {
                self.resolve(&section.name, &entry.option);
            }
        }
    }

    /// The value of an option in a section, with blanks and comments removed as in a file.
    pub(crate) fn value(&mut self, section: &str, option: &str) -> Resolution {
        match self.resolve(section, option) {
            Resolution::Value { text, depth } => {
                Resolution::Value { text: tidy(&text).into(), depth }
            }
            other => other,
        }
    }

    /// Whether a reference reads this option of the section, or any option of it.
    pub(crate) fn is_referenced(&self, section: &str, option: Option<&str>) -> bool {
        match option {
            Some(option) => self.referenced.contains(&(section.to_owned(), option.to_owned())),
            None => self.referenced.iter().any(|(name, _)| name == section),
        }
    }

    pub(crate) fn record(&mut self, fault: Fault) {
        self.faults.push(fault);
    }

    pub(crate) fn into_faults(self) -> Vec<Fault> {
        self.faults
    }

    fn resolve(&mut self, section: &str, option: &str) -> Resolution {
        self.resolve_link(section, option).unwrap_or_else(|TooDeep| {
            if let Some(found) = find(self.document, section, option) {
                self.fail(found, Problem::TooDeep { limit: MAX_DEPTH });
            }
            self.resolutions.insert((section.to_owned(), option.to_owned()), Resolution::Failed);
            Resolution::Failed
        })
    }

    /// Resolves one link of a chain. A link that makes the chain too deep is not stored, because
    /// the link itself may be right.
    fn resolve_link(&mut self, section: &str, option: &str) -> Result<Resolution, TooDeep> {
        let Some(found) = find(self.document, section, option) else {
            return Ok(Resolution::Unset);
        };
        let value = match found {
            Definition::BuiltIn(text) => text,
            Definition::Written { entry, .. } => entry.value.as_str(),
        };
        if !value.contains('$') {
            return Ok(Resolution::Value { text: value.into(), depth: 0 });
        }
        let key = (section.to_owned(), option.to_owned());
        if let Some(resolution) = self.resolutions.get(&key) {
            return Ok(resolution.clone());
        }
        if self.chain.len() > MAX_DEPTH {
            return Err(TooDeep);
        }
        self.chain.push(key.clone());
        let expanded = self.expand(section, value);
        self.chain.pop();
        let resolution = match expanded {
            Ok((text, depth)) => Resolution::Value { text: text.into(), depth },
            Err(Obstacle::Failed) => Resolution::Failed,
            Err(Obstacle::Incomplete) => Resolution::Incomplete,
            Err(Obstacle::TooDeep) => return Err(TooDeep),
            Err(Obstacle::Problem(problem)) => {
                self.fail(found, problem);
                Resolution::Failed
            }
        };
        self.resolutions.insert(key, resolution.clone());
        Ok(resolution)
    }

    /// Records a fault of a value. A default refers to `base-dir` only, so its fault is a fault of
    /// `base-dir` in the file.
    fn fail(&mut self, found: Definition<'d>, problem: Problem) {
        let (section, option) = options::BASE_DIR;
        let blamed = match found {
            Definition::Written { .. } => Some(found),
            Definition::BuiltIn(_) => find(self.document, section, option),
        };
        let Some(Definition::Written { section, entry }) = blamed else { return };
        self.faults.push(Fault {
            place: entry.place.clone(),
            section: Some(section.to_owned()),
            option: Some(entry.option.clone()),
            problem,
        });
    }

    /// Replaces the references of a value that `section` reads.
    fn expand(&mut self, section: &str, value: &str) -> Result<(String, usize), Obstacle> {
        let mut text = String::new();
        let mut depth = 0;
        let mut rest = value;
        while let Some(dollar) = rest.find('$') {
            text.push_str(&rest[..dollar]);
            rest = &rest[dollar..];
            if let Some(after) = rest.strip_prefix("$$") {
                text.push('$');
                rest = after;
                continue;
            }
            let Some(inner) = rest.strip_prefix("${") else {
                return Err(Obstacle::Problem(Problem::LoneDollar { value: clip(rest) }));
            };
            let (reference, after) = match inner.split_once('}') {
                Some((reference, after)) if !reference.is_empty() => (reference, after),
                _ => return Err(Obstacle::Problem(Problem::Reference { value: clip(rest) })),
            };
            let (part, part_depth) = self.follow(section, reference)?;
            text.push_str(&part);
            depth = depth.max(part_depth + 1);
            if self.chain.len() - 1 + depth > MAX_DEPTH {
                return Err(Obstacle::TooDeep);
            }
            if text.len() > MAX_VALUE_BYTES {
                return Err(Obstacle::Problem(Problem::TooLarge { limit: MAX_VALUE_BYTES }));
            }
            rest = after;
        }
        text.push_str(rest);
        Ok((text, depth))
    }

    /// The value of the reference between `${` and `}`, read by the section `reader`.
    fn follow(&mut self, reader: &str, reference: &str) -> Result<(Rc<str>, usize), Obstacle> {
        let problem = |problem| Err(Obstacle::Problem(problem));
        let unqualified = !reference.contains(':');
        let (section, option) = reference.rsplit_once(':').unwrap_or((reader, reference));
        let option = option.to_lowercase();
        if !is_section(self.document, section) {
            return problem(self.unknown(section, &option, reference));
        }
        let key = (section.to_owned(), option.clone());
        if let Some(start) = self.chain.iter().position(|link| *link == key) {
            let path = self.chain[start..].iter().chain([&key]);
            let path: Vec<_> =
                path.map(|(section, option)| format!("[{section}] {option}")).collect();
            return problem(Problem::Cycle { path: path.join(" -> ") });
        }
        if let Some(Definition::Written { section, entry }) = find(self.document, section, &option)
        {
            self.referenced.insert((section.to_owned(), entry.option.clone()));
            self.referenced.insert(key);
        }
        match self.resolve_link(section, &option)? {
            Resolution::Value { text, depth } => Ok((text, depth)),
            Resolution::Failed => Err(Obstacle::Failed),
            Resolution::Incomplete if reader == DEFAULT => Err(Obstacle::Incomplete),
            Resolution::Incomplete => {
                problem(Problem::Incomplete { reference: format!("${{{reference}}}") })
            }
            Resolution::Unset
                if reader == DEFAULT && unqualified && self.is_set_elsewhere(&option) =>
            {
                Err(Obstacle::Incomplete)
            }
            Resolution::Unset => problem(self.unknown(section, &option, reference)),
        }
    }

    /// Whether some section has the option that `[DEFAULT]` lacks.
    fn is_set_elsewhere(&self, option: &str) -> bool {
        let has_default = |known: &&options::KnownOption| known.default.is_some();
        self.document.sections().any(|section| section.entry(option).is_some())
            || options::known_options().iter().filter(has_default).any(|known| known.name == option)
    }

    fn unknown(&self, section: &str, option: &str, reference: &str) -> Problem {
        let mut names: Vec<&str> = Vec::new();
        let written = [section, DEFAULT].map(|name| self.document.section(name));
        for section in written.into_iter().flatten() {
            names.extend(section.entries().map(|entry| entry.option.as_str()));
        }
        let homes = [options::table_section(section), Some(DEFAULT)];
        for known in options::known_options() {
            if known.default.is_some() && homes.contains(&Some(known.section)) {
                names.push(known.name);
            }
        }
        let sections = self.document.sections().map(|section| section.name.as_str());
        let sections = sections.chain(options::known_sections());
        let hint = if is_section(self.document, section) {
            match nearest(option, names) {
                Some(name) => format!("; did you mean {name}?"),
                None => String::new(),
            }
        } else {
            match nearest(section, sections) {
                Some(name) => format!("; there is no such section, did you mean [{name}]?"),
                None => "; there is no such section".to_owned(),
            }
        };
        Problem::UnknownReference { reference: format!("${{{reference}}}"), hint }
    }
}

/// A resolved value in the form of a file's value: no blanks around its lines, no empty lines
/// before or after, no line that would be a comment. So a printed value reads back the same.
fn tidy(text: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for line in text.lines().map(str::trim).skip_while(|line| line.is_empty()) {
        if kept.is_empty() || !line.starts_with(['#', ';']) {
            kept.push(line);
        }
    }
    kept.join("\n").trim_end().to_owned()
}

/// The section and the place in which a value is written; `None` for a built-in value.
pub(crate) fn place_of<'d>(
    document: &'d Document,
    section: &str,
    option: &str,
) -> Option<(&'d str, &'d Place)> {
    match find(document, section, option)? {
        Definition::Written { section, entry } => Some((section, &entry.place)),
        Definition::BuiltIn(_) => None,
    }
}
