//! What is read from the answers of a source.

use model::Table;

/// An answer in a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The endpoint's name: that of the file without its suffix.
    pub endpoint: String,
    /// The name of the file.
    pub file: String,
    /// The bytes of the file.
    pub bytes: Vec<u8>,
}

/// The tables of the answers of one source, and what there is to say of the answers.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reading {
    /// The tables.
    pub tables: Vec<Table>,
    /// How many answers could be used, at least in part.
    pub usable: usize,
    /// Answers that could not be used, or only in part. The subject is the name of the file.
    pub damages: Vec<Remark>,
    /// Harmless oddities. The subject is an endpoint or a name.
    pub oddities: Vec<Remark>,
}

/// A finding about an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// What it is about.
    pub subject: String,
    /// The kind of finding, without figures: equal for equal kinds.
    pub state: &'static str,
    /// The finding, its effect and its remedy.
    pub text: String,
}
