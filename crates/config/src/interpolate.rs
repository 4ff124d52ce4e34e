//! References: `${option}`, `${section:option}` and `$$`, as Python's ExtendedInterpolation reads
//! them.
//!
//! A value of `[DEFAULT]` is completed by the section that asks for it. Every value is worked out
//! once, so a cycle, a long chain and a value that multiplies itself all end, each with its fault.
//! A value that needs a faulty one has no fault of its own: one mistake is one line for the
//! operator.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use crate::document::{DEFAULT, Document, Entry};
use crate::fault::{Fault, Place, Problem, clip};
use crate::nearest::nearest;
use crate::table;

/// References on the longest way from a value to what it needs. ConfigParser allows 10.
const MAX_DEPTH: usize = 64;
/// Bytes that a value may reach by its references.
const MAX_VALUE_BYTES: usize = 65_536;

/// A section and an option in it.
type Key = (String, String);

/// What a section says about an option, and where that stands.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Found<'d> {
    /// In the file, in that section.
    Written { section: &'d str, entry: &'d Entry },
    /// In the table of defaults.
    BuiltIn(&'static str),
}

/// Which value counts: what the file sets in the section; else the section's default from the
/// table; else what the file sets in `[DEFAULT]`; else the table's default there.
pub(crate) fn find<'d>(document: &'d Document, section: &str, option: &str) -> Option<Found<'d>> {
    let written = |name: &str| {
        let section = document.section(name)?;
        let entry = section.entry(option)?;
        Some(Found::Written { section: &section.name, entry })
    };
    let built_in =
        |name| table::find(name, option).and_then(|known| known.default).map(Found::BuiltIn);
    written(section)
        .or_else(|| built_in(section))
        .or_else(|| written(DEFAULT).filter(|_| table::inherits(section, option)))
        .or_else(|| built_in(DEFAULT))
}

/// Whether a reference may name the section.
fn is_section(document: &Document, name: &str) -> bool {
    document.section(name).is_some() || table::known_sections().contains(&name)
}

/// What became of a value.
#[derive(Debug, Clone)]
pub(crate) enum Outcome {
    /// Nothing sets it.
    Unset,
    /// It, or what it needs, has a fault that is recorded.
    Failed,
    /// It stands in `[DEFAULT]` and needs what only other sections have.
    Incomplete,
    /// Every reference replaced; `depth` references on the longest way.
    Value { text: Rc<str>, depth: usize },
}

/// Why a value cannot be worked out.
enum Stop {
    Problem(Problem),
    Failed,
    Incomplete,
    TooDeep,
}

/// The value at the start of the chain is nested too deep; those on the way may be well.
struct TooDeep;

impl From<TooDeep> for Stop {
    fn from(TooDeep: TooDeep) -> Self {
        Self::TooDeep
    }
}

/// Works out values and gathers what is wrong with them.
pub(crate) struct Resolver<'d> {
    document: &'d Document,
    outcomes: HashMap<Key, Outcome>,
    /// The values that are being worked out, the one that was asked for first.
    chain: Vec<Key>,
    faults: Vec<Fault>,
    /// Where referenced values stand. A referenced option is one of
    /// the user's own and not a misspelled one.
    referenced: HashSet<Key>,
}

impl<'d> Resolver<'d> {
    pub(crate) fn new(document: &'d Document) -> Self {
        Self {
            document,
            outcomes: HashMap::new(),
            chain: Vec::new(),
            faults: Vec::new(),
            referenced: HashSet::new(),
        }
    }

    pub(crate) fn document(&self) -> &'d Document {
        self.document
    }

    /// Works out every value that the files hold, so that no fault waits for somebody to ask.
    pub(crate) fn resolve_all(&mut self) {
        for section in self.document.sections() {
            for entry in section.entries() {
                self.resolve(&section.name, &entry.option);
            }
        }
    }

    /// The value that a section has for an option, tidied as a value is when it is read.
    pub(crate) fn value(&mut self, section: &str, option: &str) -> Outcome {
        match self.resolve(section, option) {
            Outcome::Value { text, depth } => Outcome::Value { text: tidy(&text).into(), depth },
            other => other,
        }
    }

    /// Whether some reference reads this option of this section's text, or anything of it.
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

    fn resolve(&mut self, section: &str, option: &str) -> Outcome {
        self.work_out(section, option).unwrap_or_else(|TooDeep| {
            if let Some(found) = find(self.document, section, option) {
                self.fail(found, Problem::TooDeep { limit: MAX_DEPTH });
            }
            self.outcomes.insert((section.to_owned(), option.to_owned()), Outcome::Failed);
            Outcome::Failed
        })
    }

    /// A link of a chain. One that makes the chain too deep is not remembered: asked for by itself,
    /// it may be well.
    fn work_out(&mut self, section: &str, option: &str) -> Result<Outcome, TooDeep> {
        let Some(found) = find(self.document, section, option) else {
            return Ok(Outcome::Unset);
        };
        let value = match found {
            Found::BuiltIn(text) => text,
            Found::Written { entry, .. } => entry.value.as_str(),
        };
        if !value.contains('$') {
            return Ok(Outcome::Value { text: value.into(), depth: 0 });
        }
        let key = (section.to_owned(), option.to_owned());
        if let Some(outcome) = self.outcomes.get(&key) {
            return Ok(outcome.clone());
        }
        if self.chain.len() > MAX_DEPTH {
            return Err(TooDeep);
        }
        self.chain.push(key.clone());
        let expanded = self.expand(section, value);
        self.chain.pop();
        let outcome = match expanded {
            Ok((text, depth)) => Outcome::Value { text: text.into(), depth },
            Err(Stop::Failed) => Outcome::Failed,
            Err(Stop::Incomplete) => Outcome::Incomplete,
            Err(Stop::TooDeep) => return Err(TooDeep),
            Err(Stop::Problem(problem)) => {
                self.fail(found, problem);
                Outcome::Failed
            }
        };
        self.outcomes.insert(key, outcome.clone());
        Ok(outcome)
    }

    /// Records what is wrong with a value. A default refers to nothing but `base-dir`, so what is
    /// wrong with one is wrong with what the file says there.
    fn fail(&mut self, found: Found<'d>, problem: Problem) {
        let (section, option) = table::BASE_DIR;
        let blamed = match found {
            Found::Written { .. } => Some(found),
            Found::BuiltIn(_) => find(self.document, section, option),
        };
        let Some(Found::Written { section, entry }) = blamed else { return };
        self.faults.push(Fault {
            place: entry.place.clone(),
            section: Some(section.to_owned()),
            option: Some(entry.option.clone()),
            problem,
        });
    }

    /// Replaces the references of a value that `section` asks for.
    fn expand(&mut self, section: &str, value: &str) -> Result<(String, usize), Stop> {
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
                return Err(Stop::Problem(Problem::LoneDollar { value: clip(rest) }));
            };
            let Some((reference, after)) = inner.split_once('}').filter(|(r, _)| !r.is_empty())
            else {
                return Err(Stop::Problem(Problem::Reference { value: clip(rest) }));
            };
            let (part, part_depth) = self.follow(section, reference)?;
            text.push_str(&part);
            depth = depth.max(part_depth + 1);
            if self.chain.len() - 1 + depth > MAX_DEPTH {
                return Err(Stop::TooDeep);
            }
            if text.len() > MAX_VALUE_BYTES {
                return Err(Stop::Problem(Problem::TooLarge { limit: MAX_VALUE_BYTES }));
            }
            rest = after;
        }
        text.push_str(rest);
        Ok((text, depth))
    }

    /// The value behind what stands between `${` and `}`.
    fn follow(&mut self, asking: &str, reference: &str) -> Result<(Rc<str>, usize), Stop> {
        let problem = |problem| Err(Stop::Problem(problem));
        let unqualified = !reference.contains(':');
        let (section, option) = match reference.split_once(':') {
            None => (asking, reference.to_lowercase()),
            Some((_, option)) if option.contains(':') => {
                return problem(Problem::Reference { value: format!("${{{reference}}}") });
            }
            Some((section, option)) => (section, option.to_lowercase()),
        };
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
        if let Some(Found::Written { section, entry }) = find(self.document, section, &option) {
            self.referenced.insert((section.to_owned(), entry.option.clone()));
            self.referenced.insert(key);
        }
        match self.work_out(section, &option)? {
            Outcome::Value { text, depth } => Ok((text, depth)),
            Outcome::Failed => Err(Stop::Failed),
            Outcome::Incomplete if asking == DEFAULT => Err(Stop::Incomplete),
            Outcome::Incomplete => {
                problem(Problem::Incomplete { reference: format!("${{{reference}}}") })
            }
            Outcome::Unset if asking == DEFAULT && unqualified && self.elsewhere(&option) => {
                Err(Stop::Incomplete)
            }
            Outcome::Unset => problem(self.unknown(section, &option, reference)),
        }
    }

    /// Whether some section has the option that `[DEFAULT]` lacks.
    fn elsewhere(&self, option: &str) -> bool {
        let has_default = |known: &&table::KnownOption| known.default.is_some();
        self.document.sections().any(|section| section.entry(option).is_some())
            || table::known_options().iter().filter(has_default).any(|known| known.name == option)
    }

    fn unknown(&self, section: &str, option: &str, reference: &str) -> Problem {
        let mut names: Vec<&str> = Vec::new();
        let written = [section, DEFAULT].map(|name| self.document.section(name));
        for section in written.into_iter().flatten() {
            names.extend(section.entries().map(|entry| entry.option.as_str()));
        }
        let known = table::known_options().iter();
        let known = known.filter(|known| known.default.is_some());
        let known = known.filter(|known| known.section == section || known.section == DEFAULT);
        names.extend(known.map(|known| known.name));
        let sections = self.document.sections().map(|section| section.name.as_str());
        let sections = sections.chain(table::known_sections());
        let hint = if is_section(self.document, section) {
            nearest(option, names).map(|name| format!("; did you mean {name}?"))
        } else {
            let near = nearest(section, sections);
            near.map_or(Some("; there is no such section".to_owned()), |name| {
                Some(format!("; there is no such section, did you mean [{name}]?"))
            })
        };
        Problem::UnknownReference {
            reference: format!("${{{reference}}}"),
            hint: hint.unwrap_or_default(),
        }
    }
}

/// A value that was put together, in the shape in which a value is read: no blanks around its
/// lines, no empty lines around the whole, no line that would be a comment. So what is printed
/// reads back the same.
fn tidy(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(str::trim).skip_while(|line| line.is_empty()).collect();
    let is_comment = |line: &str| line.starts_with(['#', ';']);
    let kept = lines.iter().enumerate().filter(|(index, line)| *index == 0 || !is_comment(line));
    let kept: Vec<_> = kept.map(|(_, line)| *line).collect();
    kept.join("\n").trim_end().to_owned()
}

/// The section and the place in which a value is written; `None` for one of the table.
pub(crate) fn place_of<'d>(
    document: &'d Document,
    section: &str,
    option: &str,
) -> Option<(&'d str, &'d Place)> {
    match find(document, section, option)? {
        Found::Written { section, entry } => Some((section, &entry.place)),
        Found::BuiltIn(_) => None,
    }
}
