//! Lines of the log: the core makes them, the shell writes them.

use std::fmt::{self, Display};

/// The level of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Of use to find a fault.
    Debug,
    /// News, such as one line for each snapshot.
    Info,
    /// An operator should look.
    Warning,
    /// Something failed.
    Error,
}

/// A line of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The line's level.
    pub level: Level,
    text: String,
    fields: String,
}

impl Notice {
    pub(crate) fn debug(text: impl Into<String>) -> Self {
        Self::new(Level::Debug, text)
    }

    pub(crate) fn info(text: impl Into<String>) -> Self {
        Self::new(Level::Info, text)
    }

    pub(crate) fn warn(text: impl Into<String>) -> Self {
        Self::new(Level::Warning, text)
    }

    pub(crate) fn error(text: impl Into<String>) -> Self {
        Self::new(Level::Error, text)
    }

    fn new(level: Level, text: impl Into<String>) -> Self {
        Self { level, text: text.into(), fields: String::new() }
    }

    /// Adds a number or another value that holds no text from outside.
    #[must_use]
    pub(crate) fn field(mut self, name: &'static str, value: impl Display) -> Self {
        self.fields.push_str(&format!(" {name}={value}"));
        self
    }

    /// Adds a text, quoted and escaped because it may come from outside.
    #[must_use]
    pub(crate) fn text(mut self, name: &'static str, value: impl AsRef<str>) -> Self {
        self.fields.push_str(&format!(" {name}={:?}", value.as_ref()));
        self
    }

    /// Appends a remark to the text.
    #[must_use]
    pub(crate) fn note(mut self, note: &str) -> Self {
        self.text.push_str(note);
        self
    }
}

impl Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        f.write_str(&self.fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_from_outside_cannot_forge_a_line() {
        let notice = Notice::warn("damaged file").text("file", "a\nERROR b").field("count", 3);
        assert_eq!(notice.to_string(), "damaged file file=\"a\\nERROR b\" count=3");
    }
}
