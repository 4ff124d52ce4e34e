//! Faults and warnings: each names its file, line, section and option, and says what to write.
//!
//! The reader goes on after a fault, so that an operator can mend all faults at once.

use std::collections::HashSet;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use thiserror::Error;

use crate::directories::Overlap;

/// Characters of the file that a message quotes.
const MAX_QUOTED_CHARS: usize = 80;

/// A file, and the line in it if that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file (or folder) as the command line names it.
    pub file: Arc<Path>,
    /// Counted from 1; `None` for the file as a whole.
    pub line: Option<usize>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        match self.line {
            Some(line) => write!(f, ":{line}"),
            None => Ok(()),
        }
    }
}

/// The kind of a fault, with its remedy.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Problem {
    /// The file is not there.
    #[error("no such file; write it, or name another one with -f")]
    Absent,
    /// The file is there, but the system refuses it.
    #[error("cannot be read: {0}; check that it is a file and that our user may read it")]
    Unreadable(#[source] io::Error),
    /// The folder of further files is not there, or the system refuses it.
    #[error("the folder cannot be listed: {0}; check that it exists and that our user may read it")]
    Folder(#[source] io::Error),
    /// The file is longer than any configuration.
    #[error("longer than {limit} bytes; is this a configuration file?")]
    TooLong {
        /// Bytes that a file may have.
        limit: u64,
    },
    /// Bytes that are not UTF-8.
    #[error("this line is not UTF-8; save the file as UTF-8")]
    NotUtf8,
    /// A byte order mark, which some editors write.
    #[error("the file begins with a byte order mark; save it as UTF-8 without one")]
    ByteOrderMark,
    /// Text above the first header.
    #[error("{text:?} stands before any section; write a header such as [DEFAULT] above it")]
    BeforeSection {
        /// The line.
        text: String,
    },
    /// A header without its bracket, without a name, or with text after it.
    #[error("{text:?} is no section header; write the name in brackets and nothing after them")]
    Header {
        /// The line.
        text: String,
    },
    /// A line that is neither header nor option.
    #[error(
        "{text:?} has neither = nor :; write \"name = value\", or indent it if it continues a value"
    )]
    NoDelimiter {
        /// The line.
        text: String,
    },
    /// `= value`.
    #[error("{text:?} has no name before its delimiter; write \"name = value\"")]
    NoName {
        /// The line.
        text: String,
    },
    /// A section twice in one file.
    #[error("this section begins in line {first} already; put its options there")]
    SectionTwice {
        /// Line of the first header.
        first: usize,
    },
    /// An option twice in one section of one file.
    #[error("given in line {first} already; keep one of the two")]
    OptionTwice {
        /// Line of the first one.
        first: usize,
    },
    /// rust-ini refuses a section that our scanner accepts.
    #[error("cannot be read as INI: {0}")]
    Ini(#[source] ini::ParseError),
    /// rust-ini reads other options than our scanner.
    #[error("cannot be read as INI: no such option is found in the section")]
    Misread,
    /// A `$` that neither doubles nor opens a reference.
    #[error("a lone $ in {value:?}; write $$ for a dollar, ${{option}} for a value")]
    LoneDollar {
        /// From the dollar on.
        value: String,
    },
    /// `${` without a name or without `}`.
    #[error("{value:?} is no reference; write ${{option}} or ${{section:option}}")]
    Reference {
        /// From the dollar on.
        value: String,
    },
    /// A reference to an option that is not set.
    #[error("{reference} names nothing that is set{hint}")]
    UnknownReference {
        /// As it is written.
        reference: String,
        /// A guess of the intended name, or empty.
        hint: String,
    },
    /// A reference to a value of `[DEFAULT]` that refers to options of other sections.
    #[error(
        "{reference} holds a reference that no option of [DEFAULT] answers; set that option there"
    )]
    Incomplete {
        /// As it is written.
        reference: String,
    },
    /// A value that refers to itself.
    #[error("refers to itself: {path}")]
    Cycle {
        /// The options of the cycle.
        path: String,
    },
    /// A chain of references that is too long.
    #[error("references are nested deeper than {limit}; write the value itself")]
    TooDeep {
        /// References that a chain may have.
        limit: usize,
    },
    /// A value that its references make too large.
    #[error("grows over {limit} bytes by its references; write fewer of them")]
    TooLarge {
        /// Bytes that a value may reach.
        limit: usize,
    },
    /// A value that its option does not accept.
    #[error("{value:?} is {what}; write {right}")]
    Value {
        /// As it is written.
        value: String,
        /// What is wrong with the value.
        what: &'static str,
        /// What to write.
        right: String,
    },
    /// A metric that HAProxy does not know.
    #[error("{name:?} is no metric of HAProxy{hint}")]
    Metric {
        /// As it is written.
        name: String,
        /// A guess of the intended name, or empty.
        hint: String,
    },
    /// An endpoint twice.
    #[error("{value:?} is listed twice; keep one")]
    ServerTwice {
        /// As it is written.
        value: String,
    },
    /// A pattern of a group that does not compile.
    #[error("the pattern does not compile: {0}; write a Python regular expression")]
    Pattern(#[source] Box<fancy_regex::Error>),
    /// A section `[kind:name]` whose name cannot be used.
    #[error("{0}")]
    Receiver(model::receiver_name::InvalidReceiverName),
    /// A receiver's section with the option of version 0.1.0.
    #[error(
        "this option is [process] outbox-dir now, and each receiver has a folder in that \
         directory; set it there and leave it out here"
    )]
    OutboxDirMoved,
    /// An option that another one needs.
    #[error("is not set, is needed here and has no default; set it")]
    Unset,
    /// A directory that overlaps with that of another option.
    #[error("{0}")]
    Overlap(Overlap),
    /// Options that do not go together.
    #[error("{why}")]
    Conflict {
        /// The contradiction, and the remedy.
        why: String,
    },
}

/// One fault, with its place.
#[derive(Debug)]
pub struct Fault {
    /// File and line.
    pub place: Place,
    /// The section that has the faulty text.
    pub section: Option<String>,
    /// The option.
    pub option: Option<String>,
    /// The kind of fault, with its remedy.
    pub problem: Problem,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_where(f, &self.place, self.section.as_deref(), self.option.as_deref())?;
        write!(f, "{}", self.problem)
    }
}

impl std::error::Error for Fault {
    // Our text includes that of the problem, so the chain goes on with the problem's cause.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.problem)
    }
}

/// All faults of a configuration, in the order of files and lines; displayed one on each line.
#[derive(Debug)]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// Sorts by `files` and lines, and removes equal faults, because two sections may read the same
    /// value of `[DEFAULT]`.
    pub(crate) fn sorted(mut faults: Vec<Fault>, files: &[Arc<Path>]) -> Self {
        let rank = |fault: &Fault| files.iter().position(|file| *file == fault.place.file);
        faults.sort_by_key(|fault| (rank(fault).unwrap_or(files.len()), fault.place.line));
        let mut seen = HashSet::new();
        faults.retain(|fault| seen.insert(fault.to_string()));
        Self(faults)
    }

    /// The faults in order.
    pub fn iter(&self) -> impl Iterator<Item = &Fault> {
        self.0.iter()
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            let line_break = if index == 0 { "" } else { "\n" };
            write!(f, "{line_break}{fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

/// A probable mistake with which the programs start nevertheless.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// File and line.
    pub place: Place,
    /// The section.
    pub section: Option<String>,
    /// The option.
    pub option: Option<String>,
    /// The probable mistake, and what to write.
    pub message: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_where(f, &self.place, self.section.as_deref(), self.option.as_deref())?;
        write!(f, "{}", self.message)
    }
}

fn write_where(
    f: &mut fmt::Formatter<'_>,
    place: &Place,
    section: Option<&str>,
    option: Option<&str>,
) -> fmt::Result {
    write!(f, "{place}: ")?;
    match (section, option) {
        (Some(section), Some(option)) => write!(f, "[{section}] {option}: "),
        (Some(section), None) => write!(f, "[{section}]: "),
        (None, _) => Ok(()),
    }
}

/// The beginning of a text, short enough for a message.
pub(crate) fn clip(text: &str) -> String {
    match text.char_indices().nth(MAX_QUOTED_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
