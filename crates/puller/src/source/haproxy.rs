//! HAProxy's stats socket: it takes a line of commands, answers each, an empty line after each
//! answer, and closes.
//!
//! Only that closing empty line tells a whole answer from one that was cut at the end of a row. It
//! is looked for as the bytes come, for the end of the first answer can fall anywhere in a read.
//! The answers are kept as they were sent, each with its empty line, as the Python program keeps
//! them.

use std::mem;

/// So much of an answer's beginning is kept, to know it by and to quote it.
const HEAD_BYTES: usize = 160;

/// So much of it is quoted.
const QUOTED_BYTES: usize = 80;

/// One answer: the command that it belongs to and the file that it goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// `show info`
    Info,
    /// `show stat`
    Stat,
}

/// What is asked on one connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question {
    /// The bytes to send.
    pub(crate) line: &'static [u8],
    /// The answers to it, in order.
    pub(crate) parts: &'static [Part],
}

/// Both on one connection: one accept, and both from the same instant.
pub(crate) const TOGETHER: &[Question] =
    &[Question { line: b"show info;show stat\n", parts: &[Part::Info, Part::Stat] }];

/// A connection for each, for a socket that takes one command only.
pub(crate) const APART: &[Question] = &[
    Question { line: b"show info\n", parts: &[Part::Info] },
    Question { line: b"show stat\n", parts: &[Part::Stat] },
];

/// Why an answer is none.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    /// Nothing came before the end.
    #[error("closed the connection without an answer to `{}`", .0.command())]
    Nothing(Part),
    /// HAProxy does not do what it was asked.
    #[error("refused `{}`: \"{quote}\"", part.command())]
    Refused { part: Part, quote: String },
    /// It does not look like what was asked for.
    #[error("the answer to `{}` is not one, it begins with \"{quote}\"", part.command())]
    Unlike { part: Part, quote: String },
    /// The connection ended before the closing empty line.
    #[error(
        "the answer to `{}` ended after {bytes} bytes without its closing empty line",
        part.command()
    )]
    Cut { part: Part, bytes: u64 },
    /// More than `answer-limit`.
    #[error(
        "the answer to `{}` is longer than answer-limit allows ({limit} bytes)",
        part.command()
    )]
    TooLong { part: Part, limit: u64 },
}

/// Takes a connection's bytes as they come and tells to which answer they belong.
#[derive(Debug)]
pub(crate) struct Answers {
    /// The answer at hand, then those to come.
    parts: &'static [Part],
    limit: u64,
    /// What is known of the answer at hand.
    seen: Seen,
}

#[derive(Debug)]
struct Seen {
    bytes: u64,
    head: Vec<u8>,
    /// Whether the head was found to be of the right kind.
    known: bool,
    /// Whether the last byte ended a line, or none came.
    line_start: bool,
    /// Whether the last byte ended an empty line.
    empty_line: bool,
}

impl Part {
    pub(crate) fn command(self) -> &'static str {
        match self {
            Self::Info => "show info",
            Self::Stat => "show stat",
        }
    }

    /// What the file's name ends in.
    pub(crate) fn suffix(self) -> &'static str {
        match self {
            Self::Info => "_info",
            Self::Stat => "_stat",
        }
    }

    /// Whether an answer that begins so is of this kind.
    fn looks_right(self, head: &[u8]) -> bool {
        let line = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
        match self {
            Self::Info => {
                let key = line.windows(2).position(|pair| pair == b": ").map(|at| &line[..at]);
                key.is_some_and(|key| {
                    key.first().is_some_and(u8::is_ascii_alphabetic)
                        && key.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ')
                })
            }
            // What haproxystats-process asks for, too: nothing is published that it would not read.
            Self::Stat => line.starts_with(b"# pxname,svname,"),
        }
    }
}

impl Fault {
    /// Whether asking one command at a time may help: the line was refused, or only its first
    /// command was answered.
    pub(crate) fn asks_for_one_at_a_time(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::Nothing(Part::Stat))
    }
}

impl Answers {
    /// Awaits `parts`, of which there is one at least, none longer than `limit` bytes.
    pub(crate) fn new(parts: &'static [Part], limit: u64) -> Self {
        Self { parts, limit, seen: Seen::new() }
    }

    /// Bytes that came of the answer at hand.
    pub(crate) const fn bytes(&self) -> u64 {
        self.seen.bytes
    }

    /// The answer that the next byte belongs to; `None` after the last.
    pub(crate) fn part(&self) -> Option<Part> {
        self.parts.first().copied()
    }

    /// Takes bytes off the front of `bytes` for the answer at hand: how many, and whether it is
    /// whole with them. The last answer is never whole by its bytes, only by the end of the
    /// connection.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Result<(usize, bool), Fault> {
        let Some(part) = self.part() else { return Ok((bytes.len(), false)) };
        let is_last = self.parts.len() == 1;
        let end = if is_last { None } else { self.seen.end_of_empty_line(bytes) };
        let count = end.unwrap_or(bytes.len());
        self.seen.add(&bytes[..count]);
        if self.seen.bytes > self.limit {
            return Err(Fault::TooLong { part, limit: self.limit });
        }
        if !self.seen.known && (end.is_some() || self.seen.head_is_enough()) {
            self.seen.check(part)?;
        }
        if end.is_some() {
            self.seen = Seen::new();
            self.parts = &self.parts[1..];
        }
        Ok((count, end.is_some()))
    }

    /// The connection has ended: whether everything came.
    pub(crate) fn end(&mut self) -> Result<(), Fault> {
        let Some(part) = self.part() else { return Ok(()) };
        if self.seen.bytes == 0 {
            return Err(Fault::Nothing(part));
        }
        if !self.seen.known {
            self.seen.check(part)?;
        }
        if self.parts.len() > 1 || !self.seen.empty_line {
            return Err(Fault::Cut { part, bytes: self.seen.bytes });
        }
        Ok(())
    }
}

impl Seen {
    fn new() -> Self {
        Self { bytes: 0, head: Vec::new(), known: false, line_start: true, empty_line: false }
    }

    /// Where in `bytes` the first empty line ends.
    fn end_of_empty_line(&self, bytes: &[u8]) -> Option<usize> {
        let mut line_start = self.line_start;
        bytes
            .iter()
            .position(|byte| mem::replace(&mut line_start, *byte == b'\n') && *byte == b'\n')
            .map(|at| at + 1)
    }

    fn add(&mut self, bytes: &[u8]) {
        let Some(last) = bytes.last() else { return };
        self.bytes += bytes.len() as u64;
        let room = HEAD_BYTES - self.head.len();
        self.head.extend_from_slice(&bytes[..bytes.len().min(room)]);
        let before_last = match bytes {
            [.., before, _] => *before == b'\n',
            _ => self.line_start,
        };
        self.line_start = *last == b'\n';
        self.empty_line = self.line_start && before_last;
    }

    fn head_is_enough(&self) -> bool {
        self.head.len() == HEAD_BYTES || self.head.contains(&b'\n')
    }

    /// Whether the head is of the kind of `part`. A refusal reads `Unknown command: …`, which
    /// would pass as info.
    fn check(&mut self, part: Part) -> Result<(), Fault> {
        let refused = [&b"Unknown command"[..], b"Permission denied"]
            .iter()
            .any(|refusal| self.head.starts_with(refusal));
        if refused {
            return Err(Fault::Refused { part, quote: quote(&self.head) });
        }
        if !part.looks_right(&self.head) {
            return Err(Fault::Unlike { part, quote: quote(&self.head) });
        }
        self.known = true;
        Ok(())
    }
}

/// The first line of what somebody sent, safe to log.
fn quote(bytes: &[u8]) -> String {
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let shown = &line[..line.len().min(QUOTED_BYTES)];
    let more = if shown.len() < line.len() { "…" } else { "" };
    format!("{}{more}", shown.escape_ascii())
}

#[cfg(test)]
mod tests;
