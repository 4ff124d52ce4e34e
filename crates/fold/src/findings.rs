//! Findings about a snapshot for the operator: damage, and harmless oddities of real HAProxies.
//!
//! A fold child does not log them, because it reads one snapshot of many, and only the parent knows
//! which findings are new. So a finding has a state without figures, by which the parent recognizes
//! it.

use std::path::PathBuf;

/// A file that could not be used, or only in part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub path: PathBuf,
    /// The kind of damage, without figures: equal for equal kinds.
    pub state: &'static str,
    /// The unusable part, and why it is unusable.
    pub reason: String,
}

/// A harmless oddity. Each snapshot has the finding again until the oddity ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Oddity {
    /// The endpoint, file or name.
    pub subject: String,
    /// The kind of oddity, without figures: equal for equal kinds.
    pub state: &'static str,
    /// The oddity and its effect.
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
