//! The name of a receiver: its kind, and a second part if several of one kind are configured.
//!
//! The text is the same in the configuration (`[graphite:second]`), in logs and metrics, and as the
//! folder of the receiver's batches in the outbox. So a name has no character that is special in a
//! path or a log line.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Bytes that a kind or a name may have.
const NAME_MAX_BYTES: usize = 32;

/// A text that is not the name of a receiver.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "{0:?} names no receiver; write its kind, then a colon and a name of 1 to {NAME_MAX_BYTES} \
     characters of a-z, 0-9, _ and -, such as graphite:second"
)]
pub struct InvalidReceiverName(String);

/// The name of a receiver, which identifies it on its machine.
///
/// ```
/// use haproxystats_model::ReceiverName;
///
/// let name: ReceiverName = "graphite:second".parse()?;
/// assert_eq!((name.kind(), name.name()), ("graphite", Some("second")));
/// assert_eq!(name.to_string(), "graphite:second");
///
/// let unnamed: ReceiverName = "graphite".parse()?;
/// assert_eq!(unnamed.name(), None);
/// assert!("graphite:No Name".parse::<ReceiverName>().is_err());
/// # Ok::<(), haproxystats_model::receiver_name::InvalidReceiverName>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ReceiverName {
    kind: String,
    name: Option<String>,
}

impl ReceiverName {
    /// The kind, such as `graphite`.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The part after the kind, such as `second`; `None` for the unnamed receiver of its kind.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }
}

impl FromStr for ReceiverName {
    type Err = InvalidReceiverName;

    fn from_str(text: &str) -> Result<Self, InvalidReceiverName> {
        let (kind, name) = match text.split_once(':') {
            Some((kind, name)) => (kind, Some(name)),
            None => (text, None),
        };
        if is_word(kind) && name.is_none_or(is_word) {
            return Ok(Self { kind: kind.to_owned(), name: name.map(str::to_owned) });
        }
        Err(InvalidReceiverName(text.chars().take(80).collect()))
    }
}

fn is_word(text: &str) -> bool {
    let is_legal = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
    (1..=NAME_MAX_BYTES).contains(&text.len()) && text.bytes().all(is_legal)
}

impl TryFrom<String> for ReceiverName {
    type Error = InvalidReceiverName;

    fn try_from(text: String) -> Result<Self, InvalidReceiverName> {
        text.parse()
    }
}

impl From<ReceiverName> for String {
    fn from(name: ReceiverName) -> Self {
        name.to_string()
    }
}

impl fmt::Display for ReceiverName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.kind)?;
        match &self.name {
            Some(name) => write!(f, ":{name}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_what_a_folder_may_be_called() {
        let longest = format!("local-store:{}", "x".repeat(32));
        for text in ["graphite", "graphite:2", "graphite:_a-b", &longest] {
            assert_eq!(text.parse::<ReceiverName>().unwrap().to_string(), text);
        }
        let longer = format!("{longest}x");
        for text in ["", ":a", "graphite:", "graphite:A", "graphite:a:b", "../x", "a:é", &longer] {
            assert!(text.parse::<ReceiverName>().is_err(), "{text}");
        }
    }
}
