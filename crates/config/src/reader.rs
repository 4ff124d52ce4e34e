//! Reads the options of one section into types. A fault is recorded with its place, and the reader
//! goes on, so that one run reports all faults.

use std::path::Path;
use std::sync::Arc;

use crate::fault::{Fault, Place, Problem};
use crate::interpolate::{Resolution, Resolver, place_of};
use crate::options::{self, Opt};

/// A value is missing or faulty; the resolver has the fault.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rejection;

/// Reads one section.
pub(crate) struct Reader<'r, 'd> {
    resolver: &'r mut Resolver<'d>,
    section: &'r str,
    /// The place of a fault whose value is in no file.
    file: &'r Arc<Path>,
}

impl<'r, 'd> Reader<'r, 'd> {
    pub(crate) fn new(
        resolver: &'r mut Resolver<'d>,
        section: &'r str,
        file: &'r Arc<Path>,
    ) -> Self {
        Self { resolver, section, file }
    }

    pub(crate) fn section(&self) -> &'r str {
        self.section
    }

    /// The value of an option that must have one. The built-in default replaces a faulty value, so
    /// that the reader can go on; the fault rejects the whole configuration in any case.
    pub(crate) fn value<T>(&mut self, option: &Opt<T>) -> Result<T, Rejection> {
        if !self.is_set(option) {
            return Err(self.refuse(option, Problem::Unset));
        }
        if let Some(value) = self.optional(option) {
            return Ok(value);
        }
        let default = options::default_of(self.section, option.row.name).ok_or(Rejection)?;
        (option.parse)(default).map_err(|_| Rejection)
    }

    /// The value of an option; `None` if it is not set or has a fault.
    pub(crate) fn optional<T>(&mut self, option: &Opt<T>) -> Option<T> {
        let name = option.row.name;
        assert!(options::find(self.section, name).is_some(), "no table has the option {name}");
        let Resolution::Value { text, .. } = self.resolver.value(self.section, name) else {
            return None;
        };
        match (option.parse)(&text) {
            Ok(value) => Some(value),
            Err(problems) => {
                for problem in problems {
                    self.refuse(option, problem);
                }
                None
            }
        }
    }

    /// The options of the section whose names begin with `prefix`, in the order of the file, with
    /// their values. An option with a fault is left out.
    pub(crate) fn written(&mut self, prefix: &str) -> Vec<(String, String)> {
        let section = self.resolver.document().section(self.section);
        let entries = section.into_iter().flat_map(|section| section.entries());
        let names: Vec<_> = entries
            .map(|entry| entry.option.clone())
            .filter(|name| name.starts_with(prefix))
            .collect();
        let mut options = Vec::new();
        for name in names {
            if let Resolution::Value { text, .. } = self.resolver.value(self.section, &name) {
                options.push((name, text.to_string()));
            }
        }
        options
    }

    /// Records a fault of an option that no table has.
    pub(crate) fn refuse_written(&mut self, option: &str, problem: Problem) -> Rejection {
        refuse(self.resolver, self.section, option, self.file, problem)
    }

    /// Whether the option has a value, faulty or not.
    pub(crate) fn is_set<T>(&mut self, option: &Opt<T>) -> bool {
        let value = self.resolver.value(self.section, option.row.name);
        matches!(value, Resolution::Value { .. } | Resolution::Failed)
    }

    /// Records a fault with a place other than an option.
    pub(crate) fn record(&mut self, fault: Fault) {
        self.resolver.record(fault);
    }

    /// Records a fault of an option at the place of its value.
    pub(crate) fn refuse<T>(&mut self, option: &Opt<T>, problem: Problem) -> Rejection {
        refuse(self.resolver, self.section, option.row.name, self.file, problem)
    }
}

/// Records a fault of an option at the place of its value, else at its section's header, else for
/// the file.
pub(crate) fn refuse(
    resolver: &mut Resolver<'_>,
    section: &str,
    option: &str,
    file: &Arc<Path>,
    problem: Problem,
) -> Rejection {
    let document = resolver.document();
    let (section, place) = match place_of(document, section, option) {
        Some((section, place)) => (section, place.clone()),
        None => match document.section(section) {
            Some(header) => (section, header.place.clone()),
            None => (section, Place { file: Arc::clone(file), line: None }),
        },
    };
    resolver.record(Fault {
        place,
        section: Some(section.to_owned()),
        option: Some(option.to_owned()),
        problem,
    });
    Rejection
}
