//! Reads one section's options into types. A fault is recorded with its place and reading goes on,
//! so that one run reports every fault.

use std::path::Path;
use std::sync::Arc;

use crate::fault::{Fault, Place, Problem};
use crate::interpolate::{Resolution, Resolver, place_of};
use crate::options::{self, Opt};

/// A value that cannot be had; the resolver has recorded the fault.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rejection;

/// Reads one section.
pub(crate) struct Reader<'r, 'd> {
    resolver: &'r mut Resolver<'d>,
    section: &'r str,
    /// Named by a fault whose value stands in no file.
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

    /// The value of an option that must have one. Where it has a fault, the built-in default takes
    /// its place: the fault refuses the whole configuration anyway, and reading can go on.
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

    /// The value of an option; `None` where nothing sets it and where it has a fault.
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

    /// Whether the option has a value, with a fault or without.
    pub(crate) fn is_set<T>(&mut self, option: &Opt<T>) -> bool {
        let value = self.resolver.value(self.section, option.row.name);
        matches!(value, Resolution::Value { .. } | Resolution::Failed)
    }

    /// Records a fault of another place than an option's.
    pub(crate) fn record(&mut self, fault: Fault) {
        self.resolver.record(fault);
    }

    /// Records what is wrong with an option, where its value stands.
    pub(crate) fn refuse<T>(&mut self, option: &Opt<T>, problem: Problem) -> Rejection {
        refuse(self.resolver, self.section, option.row.name, self.file, problem)
    }
}

/// Records what is wrong with an option, where its value stands; else at its section's header; else
/// with the file.
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
