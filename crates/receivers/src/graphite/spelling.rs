//! The form of HAProxy's names in lines: parts of a path, or values of tags.

use model::clean;

use super::tag;

/// The form of names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spelling {
    /// Parts of a path: without dots, and with few other characters.
    Part,
    /// Values of tags.
    Value,
}

impl Spelling {
    /// Appends a name in this form.
    pub(super) fn push(self, name: &str, out: &mut String) {
        match self {
            Self::Part => clean::push_segment(name, out),
            Self::Value => tag::push_value(name, out),
        }
    }

    /// Whether a name has this form already.
    pub(super) fn is_plain(self, name: &str) -> bool {
        match self {
            Self::Part => clean::is_segment(name),
            Self::Value => tag::is_value(name),
        }
    }
}
