//! References: `${option}`, `${section:option}` and `$$`, as Python's ExtendedInterpolation reads
//! them, except that a section's name may hold colons: the last colon ends it, since no option's
//! name has one. So `${graphite:second:server}` is `server` of `[graphite:second]`.
//!
//! A value of `[DEFAULT]` is completed by the section that asks for it. Every value is resolved
//! once, so a cycle, a long chain and a value that multiplies itself all end, each with its fault.
//! A value that refers to a faulty one has no fault of its own: the operator sees one line for one
//! mistake.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use crate::document::{DEFAULT, Document, Entry};
use crate::fault::{Fault, Place, Problem, clip};
use crate::nearest::nearest;
use crate::options;

/// References that may lead to each other. ConfigParser allows 10.
const MAX_DEPTH: usize = 64;
/// Bytes that a value may reach by its references.
const MAX_VALUE_BYTES: usize = 65_536;

/// A section and an option in it.
type Key = (String, String);

/// Where the value of an option is defined.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Definition<'d> {
    /// In the file, in that section.
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
    written(section)
        .or_else(|| built_in(section))
        .or_else(|| written(DEFAULT).filter(|_| options::inherits(section, option)))
        .or_else(|| built_in(DEFAULT))
}

/// Whether a reference may name the section.
fn is_section(document: &Document, name: &str) -> bool {
    document.section(name).is_some() || options::known_sections().contains(&name)
}

/// What a value is once its references are replaced.
#[derive(Debug, Clone)]
pub(crate) enum Resolution {
    /// Nothing sets it.
    Unset,
    /// The value, or one that it refers to, has a fault that is recorded.
    Failed,
    /// The value stands in `[DEFAULT]` and refers to options that only other sections have.
    Incomplete,
    /// Every reference is replaced; the longest chain of them has `depth` links.
    Value { text: Rc<str>, depth: usize },
}

/// Why a value cannot be resolved.
enum Obstacle {
    Problem(Problem),
    Failed,
    Incomplete,
    TooDeep,
}

/// The value at the start of the chain is nested too deep; the others of the chain may be right.
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
    /// Options that a reference reads. Such an option is the user's own and no misspelling.
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

    /// Resolves every value that the files hold, so that a value which nothing reads is checked
    /// too.
    pub(crate) fn resolve_all(&mut self) {
        for section in self.document.sections() {
            for entry in section.entries() {
                self.resolve(&section.name, &entry.option);
            }
        }
    }

    /// The value that a section has for an option, with blanks and comments removed as in a file.
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

    /// Resolves one link of a chain. A link that makes the chain too deep is not remembered,
    /// because by itself it may be right.
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

    /// Records what is wrong with a value. A default refers to `base-dir` only, so a fault of a
    /// default is a fault of `base-dir` in the file.
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

    /// Replaces the references of a value that `section` asks for.
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
            let Some((reference, after)) = inner.split_once('}').filter(|(r, _)| !r.is_empty())
            else {
                return Err(Obstacle::Problem(Problem::Reference { value: clip(rest) }));
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

    /// The value behind what stands between `${` and `}`.
    fn follow(&mut self, asking: &str, reference: &str) -> Result<(Rc<str>, usize), Obstacle> {
        let problem = |problem| Err(Obstacle::Problem(problem));
        let unqualified = !reference.contains(':');
        let (section, option) = reference.rsplit_once(':').unwrap_or((asking, reference));
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
            Resolution::Incomplete if asking == DEFAULT => Err(Obstacle::Incomplete),
            Resolution::Incomplete => {
                problem(Problem::Incomplete { reference: format!("${{{reference}}}") })
            }
            Resolution::Unset if asking == DEFAULT && unqualified && self.elsewhere(&option) => {
                Err(Obstacle::Incomplete)
            }
            Resolution::Unset => problem(self.unknown(section, &option, reference)),
        }
    }

    /// Whether some section has the option that `[DEFAULT]` lacks.
    fn elsewhere(&self, option: &str) -> bool {
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

/// A resolved value in the shape that a value of a file has: no blanks around its lines, no empty
/// lines around the whole, no line that would be a comment. So a printed value reads back the same.
fn tidy(text: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for line in text.lines().map(str::trim).skip_while(|line| line.is_empty()) {
        if kept.is_empty() || !line.starts_with(['#', ';']) {
            kept.push(line);
        }
    }
    kept.join("\n").trim_end().to_owned()
}

/// The section and the place in which a value is written; `None` for one of the table.
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
