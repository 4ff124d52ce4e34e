//! What a snapshot holds that an operator should know: damage, and oddities of real HAProxies that
//! cost nothing.
//!
//! Nothing is logged here. A worker sees one snapshot of many, so only its parent can tell what is
//! new. A finding therefore has a state without figures, by which the parent knows it again.

use std::path::PathBuf;

/// A file of which something could not be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub path: PathBuf,
    /// Which kind of damage: the same text as long as the kind is the same.
    pub state: &'static str,
    /// What could not be used and why.
    pub reason: String,
}

/// Something odd that costs nothing. Each snapshot finds it again until it is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Oddity {
    /// The endpoint, file or name that it is about.
    pub subject: String,
    /// Which kind of oddity: the same text as long as the kind is the same.
    pub state: &'static str,
    /// What is odd, and what follows from it.
    pub text: String,
}

/// The kinds of damage.
pub(crate) const OF_FILE: &str = "the file";
pub(crate) const OF_LINES: &str = "lines";
pub(crate) const OF_ROWS: &str = "rows";
pub(crate) const OF_CELLS: &str = "cells";
pub(crate) const OF_ROWS_AND_CELLS: &str = "rows and cells";

impl Oddity {
    pub(crate) fn new(subject: &str, state: &'static str, text: impl Into<String>) -> Self {
        Self { subject: subject.to_owned(), state, text: text.into() }
    }
}
