//! The dialogue with the monitor of an instance: `perf_metrics DATABASE SECONDS`, one line of JSON,
//! the end of the connection.
//!
//! The line goes to the file as it comes. A copy is kept to see at the end whether it is whole. The
//! monitor loses its reply when the client half-closes at once, so an endpoint of this kind must
//! have no `identity` in pull.

use super::document::{self, Problem};
use super::{Request, SUFFIX};

/// Bytes of an answer; a real one has about 400.
const ANSWER_MAX_BYTES: u64 = 64 * 1024;

/// The beginning of the answer to a command that the monitor does not have.
const INVALID_COMMAND: &str = "Invalid command";

/// Why an answer cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The connection ended before the first byte.
    #[error("closed the connection without an answer; look at the log of that instance")]
    Empty,
    /// The connection ended within the line.
    #[error(
        "the answer ended after {bytes} bytes, before its last bracket; look whether that instance \
         was restarted"
    )]
    Truncated {
        /// The number of bytes that came.
        bytes: u64,
    },
    /// More than `answer-limit`, or than any answer has.
    #[error(
        "the answer is longer than {limit} bytes; check that it is the monitor of a Zope instance, \
         and answer-limit"
    )]
    TooLong {
        /// The largest size.
        limit: u64,
    },
    /// `{"error": …}`.
    #[error(
        "the instance has no metrics: \"{text}\"; look whether its storage runs, and check \
         database in [zope]"
    )]
    Error {
        /// The instance's words, escaped.
        text: String,
    },
    /// The monitor has no such command.
    #[error(
        "its monitor does not know perf_metrics; install ftw.monitor 1.1 or newer in that instance"
    )]
    UnknownCommand,
    /// A line that is no JSON, such as that of an instance that is booting.
    #[error(
        "the answer is \"{quote}\" in place of metrics; wait if that instance is booting, else \
         check that the port is that of ftw.monitor"
    )]
    NoJson {
        /// The beginning of the answer, escaped.
        quote: String,
    },
    /// JSON without a number in a category.
    #[error("the answer is JSON without metrics; check that the port is that of ftw.monitor")]
    NoMetrics,
}

impl Fault {
    /// Whether a part of an answer came.
    pub(crate) const fn shows_this_kind(&self) -> bool {
        matches!(self, Self::Truncated { .. } | Self::TooLong { .. } | Self::Error { .. })
    }

    /// The fault without the numbers that differ each time.
    pub(crate) fn state(&self) -> String {
        let state = match self {
            Self::Empty => "empty",
            Self::Truncated { .. } => "truncated",
            Self::TooLong { .. } => "too long",
            Self::Error { text } => return format!("error {text}"),
            Self::UnknownCommand => "unknown command",
            Self::NoJson { .. } => "no JSON",
            Self::NoMetrics => "no metrics",
        };
        state.to_owned()
    }
}

/// The request to an instance, and its answer as it comes.
#[derive(Debug)]
pub struct Dialogue {
    request: Request,
    answer_limit: u64,
    /// The line that was sent; empty before.
    line: Vec<u8>,
    answer: Vec<u8>,
}

impl Dialogue {
    pub(crate) const fn new(request: Request, answer_limit: u64) -> Self {
        let is_lower = answer_limit < ANSWER_MAX_BYTES;
        let answer_limit = if is_lower { answer_limit } else { ANSWER_MAX_BYTES };
        Self { request, answer_limit, line: Vec::new(), answer: Vec::new() }
    }

    pub(crate) fn request(&mut self) -> Option<&[u8]> {
        if !self.line.is_empty() {
            return None;
        }
        let Request { database, sampling_seconds } = self.request;
        self.line = format!("perf_metrics {database} {sampling_seconds}\n").into_bytes();
        Some(&self.line)
    }

    pub(crate) fn receive<E: From<crate::Fault>>(
        &mut self,
        bytes: &[u8],
        mut write: impl FnMut(&str, &[u8], bool) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.file_bytes() + bytes.len() as u64 > self.answer_limit {
            return Err(crate::Fault::from(Fault::TooLong { limit: self.answer_limit }).into());
        }
        if bytes.is_empty() {
            return Ok(());
        }
        self.answer.extend_from_slice(bytes);
        write(SUFFIX, bytes, false)
    }

    pub(crate) fn end_of_connection(&mut self) -> Result<(), Fault> {
        if self.answer.is_empty() {
            return Err(Fault::Empty);
        }
        match document::metrics(&self.answer) {
            Ok(_) => Ok(()),
            Err(Problem::Error(text)) => Err(Fault::Error { text }),
            Err(Problem::Cut) => Err(Fault::Truncated { bytes: self.file_bytes() }),
            Err(Problem::NoJson(quote)) if quote.starts_with(INVALID_COMMAND) => {
                Err(Fault::UnknownCommand)
            }
            Err(Problem::NoJson(quote)) => Err(Fault::NoJson { quote }),
            Err(Problem::NoMetrics) => Err(Fault::NoMetrics),
        }
    }

    pub(crate) const fn file_bytes(&self) -> u64 {
        self.answer.len() as u64
    }
}

#[cfg(test)]
mod tests;
