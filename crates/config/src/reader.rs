//! One section's options, read by name into types; what is wrong is recorded with its place and
//! reading goes on.

use std::path::Path;
use std::sync::Arc;

use crate::fault::{Fault, Place, Problem};
use crate::interpolate::{Outcome, Resolver, place_of};
use crate::values::Problems;

/// A value could not be had; its fault is recorded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Recorded;

/// Reads one section.
pub(crate) struct Reader<'r, 'd> {
    resolver: &'r mut Resolver<'d>,
    section: &'static str,
    /// The file that a fault names when nothing in it stands for the fault.
    file: &'r Arc<Path>,
}

impl<'r, 'd> Reader<'r, 'd> {
    pub(crate) fn new(
        resolver: &'r mut Resolver<'d>,
        section: &'static str,
        file: &'r Arc<Path>,
    ) -> Self {
        Self { resolver, section, file }
    }

    /// The value of an option, `None` where nothing sets it.
    pub(crate) fn optional<T, P: Into<Problems>>(
        &mut self,
        option: &str,
        parse: impl FnOnce(&str) -> Result<T, P>,
    ) -> Result<Option<T>, Recorded> {
        match self.resolver.value(self.section, option) {
            Outcome::Unset | Outcome::Incomplete => Ok(None),
            Outcome::Failed => Err(Recorded),
            Outcome::Value { text, .. } => match parse(&text) {
                Ok(value) => Ok(Some(value)),
                Err(problems) => {
                    for problem in problems.into().0 {
                        self.refuse(option, problem);
                    }
                    Err(Recorded)
                }
            },
        }
    }

    /// The value of an option that must have one.
    pub(crate) fn required<T, P: Into<Problems>>(
        &mut self,
        option: &str,
        parse: impl FnOnce(&str) -> Result<T, P>,
    ) -> Result<T, Recorded> {
        match self.optional(option, parse)? {
            Some(value) => Ok(value),
            None => Err(self.refuse(option, Problem::Unset)),
        }
    }

    /// Records what is wrong with an option, where its value stands.
    pub(crate) fn refuse(&mut self, option: &str, problem: Problem) -> Recorded {
        let document = self.resolver.document();
        let (section, place) = match place_of(document, self.section, option) {
            Some((section, place)) => (section, place.clone()),
            None => match document.section(self.section) {
                Some(section) => (self.section, section.place.clone()),
                None => (self.section, Place { file: Arc::clone(self.file), line: None }),
            },
        };
        self.resolver.record(Fault {
            place,
            section: Some(section.to_owned()),
            option: Some(option.to_owned()),
            problem,
        });
        Recorded
    }
}
