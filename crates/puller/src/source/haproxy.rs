//! HAProxy's stats socket: it takes a line of commands, answers each, an empty line after each
//! answer, and closes.
//!
//! Only that closing empty line tells a whole answer from one that was cut at the end of a row. An
//! empty line within an answer means nothing: `description "one\n\ntwo"` puts one into `show
//! info`. So the first of two answers ends with the last empty line before the header of the
//! second, which is looked for as the bytes come, because a read can end anywhere. The answers are
//! kept as they were sent, each with its empty line, as the Python program keeps them.

use std::mem;

use list::List;

mod list;

/// Bytes of an answer's beginning that are kept, to recognise it and to quote it.
const HEAD_BYTES: usize = 160;

/// Bytes of it that are quoted.
const QUOTED_BYTES: usize = 80;

/// How every answer to `show stat` begins. haproxystats-process asks for it too, so that nothing is
/// published that it would not read.
const HEADER: &[u8] = b"# pxname,svname,";

/// How HAProxy refuses a command, behind the severity that `severity-output number` puts first.
const REFUSALS: [&str; 2] = [UNKNOWN, "Permission denied"];

/// How the master CLI of HAProxy 2.4 and later refuses both commands. A stats socket has both, and
/// so never says this.
const MASTER: &str = "Unknown command, but maybe one of the following ones is a better match:";

/// How any HAProxy begins to refuse a command that it does not have. The master CLI of 1.9 to 2.3
/// has nothing better to say, and lists its commands then.
const UNKNOWN: &str = "Unknown command";

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

/// Why an answer cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    /// Nothing came before the end.
    #[error(
        "closed the connection without an answer to `{}`; look at the log of that HAProxy",
        .0.command()
    )]
    Nothing(Part),
    /// HAProxy does not do what it was asked.
    #[error(
        "refused `{}`: \"{quote}\"; check that it is a stats socket, and its level",
        part.command()
    )]
    Refused {
        part: Part,
        quote: String,
        /// Whether it is how the master CLI refuses.
        by_master: bool,
    },
    /// It does not look like what was asked for.
    #[error(
        "the answer to `{}` is not one, it begins with \"{quote}\"; check that it is a stats \
         socket",
        part.command()
    )]
    Unlike { part: Part, quote: String },
    /// The connection ended before the closing empty line.
    #[error(
        "the answer to `{}` ended after {bytes} bytes without its closing empty line; look whether \
         that HAProxy was restarted, and at its `stats timeout`",
        part.command()
    )]
    Cut { part: Part, bytes: u64 },
    /// More than `answer-limit`.
    #[error(
        "the answer to `{}` is longer than answer-limit allows ({limit} bytes); raise answer-limit",
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
    /// How many bytes of [`HEADER`] have come that may begin the next answer. They were given to no
    /// file yet, and need no buffer, because they are known.
    held: usize,
}

#[derive(Debug)]
struct Seen {
    bytes: u64,
    /// How the answer begins, without empty lines before it.
    head: Vec<u8>,
    /// How the text after the last empty line within it begins; empty if there is none.
    last_paragraph: Vec<u8>,
    /// Whether the head was found to be of the right kind.
    known: bool,
    /// The list of commands, where the head was found to refuse an unknown one.
    list: Option<List>,
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
            Self::Stat => line.starts_with(HEADER),
        }
    }
}

impl Fault {
    /// Whether asking one command at a time may help: the line was refused, or only its first
    /// command was answered, or where the second answer begins cannot be told.
    pub(crate) fn asks_for_one_at_a_time(&self) -> bool {
        matches!(
            self,
            Self::Refused { .. }
                | Self::Nothing(Part::Stat)
                | Self::Unlike { part: Part::Stat, .. }
        )
    }

    /// The answer at fault.
    pub(crate) const fn part(&self) -> Part {
        match self {
            Self::Nothing(part)
            | Self::Refused { part, .. }
            | Self::Unlike { part, .. }
            | Self::Cut { part, .. }
            | Self::TooLong { part, .. } => *part,
        }
    }

    /// What is at the other end, where its answer to the first command shows that it is no stats
    /// socket.
    pub(crate) fn other_kind(&self) -> Option<&'static str> {
        match self {
            Self::Refused { part: Part::Info, by_master: true, .. } => {
                Some("it is the master CLI of HAProxy")
            }
            Self::Unlike { part: Part::Info, quote } if quote.starts_with("HTTP/") => {
                Some("it answers in HTTP, as a socket for traffic does")
            }
            // How HAProxy refuses a peer that does not begin as a peer does.
            Self::Unlike { part: Part::Info, quote }
                if quote.len() == 3 && quote.bytes().all(|byte| byte.is_ascii_digit()) =>
            {
                Some("it answers in the protocol of peers")
            }
            _ => None,
        }
    }
}

impl Answers {
    /// Awaits `parts`, of which there is one at least, none longer than `limit` bytes.
    pub(crate) fn new(parts: &'static [Part], limit: u64) -> Self {
        Self { parts, limit, seen: Seen::new(), held: 0 }
    }

    /// Bytes that were given to the file of the answer at hand.
    pub(crate) const fn bytes(&self) -> u64 {
        self.seen.bytes
    }

    /// Gives bytes, and those that were held back before, to the answers that they belong to:
    /// `to` gets the part, bytes of it, which can be none, and whether the part is whole with them.
    /// The last part is never whole by its bytes, only by the end of the connection.
    pub(crate) fn take<E: From<Fault>>(
        &mut self,
        mut bytes: &[u8],
        mut to: impl FnMut(Part, &[u8], bool) -> Result<(), E>,
    ) -> Result<(), E> {
        while !bytes.is_empty() {
            let Some(&part) = self.parts.first() else { return Ok(()) };
            if self.parts.len() == 1 {
                self.add(part, bytes)?;
                return to(part, bytes, false);
            }
            if self.seen.empty_line {
                let same = common(&HEADER[self.held..], bytes);
                self.held += same;
                bytes = &bytes[same..];
                if self.held == HEADER.len() {
                    self.begin_next(part)?;
                    to(part, &[], true)?;
                    self.add(Part::Stat, HEADER)?;
                    to(Part::Stat, HEADER, false)?;
                    continue;
                }
                if bytes.is_empty() {
                    return Ok(());
                }
                if self.held > 0 {
                    // The header did not go on: the held bytes belong to the answer at hand.
                    let held = &HEADER[..mem::take(&mut self.held)];
                    self.add(part, held)?;
                    to(part, held, false)?;
                }
            }
            let count = self.seen.end_of_empty_line(bytes).unwrap_or(bytes.len());
            self.add(part, &bytes[..count])?;
            to(part, &bytes[..count], false)?;
            bytes = &bytes[count..];
        }
        Ok(())
    }

    /// The connection has ended: whether everything came.
    pub(crate) fn end(&mut self) -> Result<(), Fault> {
        let Some(&part) = self.parts.first() else { return Ok(()) };
        if self.seen.bytes == 0 && self.held == 0 {
            return Err(Fault::Nothing(part));
        }
        if self.seen.list.is_some() {
            return Err(self.seen.refused(part, false));
        }
        if !self.seen.known {
            self.seen.check(part)?;
        }
        if self.parts.len() > 1 {
            return Err(self.without_header(part));
        }
        if !self.seen.empty_line {
            return Err(Fault::Cut { part, bytes: self.seen.bytes });
        }
        Ok(())
    }

    /// What is wrong where the second answer did not begin before the end.
    fn without_header(&self, part: Part) -> Fault {
        if self.held > 0 {
            return Fault::Cut { part: Part::Stat, bytes: self.held as u64 };
        }
        let rest = &self.seen.last_paragraph;
        if !rest.is_empty() && is_refusal(rest) {
            return Fault::Refused { part: Part::Stat, quote: quote(rest), by_master: false };
        }
        if !self.seen.empty_line {
            return Fault::Cut { part, bytes: self.seen.bytes };
        }
        if rest.is_empty() {
            return Fault::Nothing(Part::Stat);
        }
        // A part of the first answer or the whole of the second.
        Fault::Unlike { part: Part::Stat, quote: quote(rest) }
    }

    fn add(&mut self, part: Part, bytes: &[u8]) -> Result<(), Fault> {
        let head_bytes = self.seen.head.len();
        self.seen.add(bytes);
        if self.seen.bytes > self.limit {
            return Err(Fault::TooLong { part, limit: self.limit });
        }
        if self.seen.known {
            return Ok(());
        }
        if let Some(list) = &mut self.seen.list {
            let found = list.take(bytes);
            return self.seen.look_at_list(part, found);
        }
        if !self.seen.head_is_enough() {
            return Ok(());
        }
        match self.seen.check(part) {
            Err(Fault::Refused { part: Part::Info, by_master: false, .. })
                if self.seen.is_unknown() =>
            {
                // The bytes before these are all in the head, which was too short to tell.
                let mut list = List::new();
                let (before, _) = self.seen.head.split_at(head_bytes);
                let bytes = if before.is_empty() { without_empty_lines(bytes) } else { bytes };
                let found = list.take(before).or_else(|| list.take(bytes));
                self.seen.list = Some(list);
                self.seen.look_at_list(part, found)
            }
            checked => checked,
        }
    }

    fn begin_next(&mut self, part: Part) -> Result<(), Fault> {
        if !self.seen.known {
            self.seen.check(part)?;
        }
        (self.seen, self.held) = (Seen::new(), 0);
        self.parts = &self.parts[1..];
        Ok(())
    }
}

impl Seen {
    fn new() -> Self {
        Self {
            bytes: 0,
            head: Vec::new(),
            last_paragraph: Vec::new(),
            known: false,
            list: None,
            line_start: true,
            empty_line: false,
        }
    }

    /// Where in `bytes` the first empty line ends.
    fn end_of_empty_line(&self, bytes: &[u8]) -> Option<usize> {
        let mut line_start = self.line_start;
        bytes
            .iter()
            .position(|byte| mem::replace(&mut line_start, *byte == b'\n') && *byte == b'\n')
            .map(|at| at + 1)
    }

    /// Of an answer that others follow, no more than up to the end of an empty line at once.
    fn add(&mut self, bytes: &[u8]) {
        let Some(last) = bytes.last() else { return };
        self.bytes += bytes.len() as u64;
        if self.head.is_empty() {
            append(&mut self.head, without_empty_lines(bytes));
        } else {
            append(&mut self.head, bytes);
            let begins = self.empty_line && bytes != b"\n";
            if begins {
                self.last_paragraph.clear();
            }
            if begins || !self.last_paragraph.is_empty() {
                append(&mut self.last_paragraph, bytes);
            }
        }
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

    /// Whether the head refuses a command as one that is not there.
    fn is_unknown(&self) -> bool {
        without_severity(&String::from_utf8_lossy(&self.head)).starts_with(UNKNOWN)
    }

    fn refused(&self, part: Part, by_master: bool) -> Fault {
        Fault::Refused { part, quote: quote(&self.head), by_master }
    }

    /// The end of a refusal, where what its list shows is certain.
    fn look_at_list(&self, part: Part, found: Option<bool>) -> Result<(), Fault> {
        found.map_or(Ok(()), |by_master| Err(self.refused(part, by_master)))
    }

    /// Whether the head is of the kind of `part`. A refusal reads `Unknown command: …`, which
    /// would pass as info.
    fn check(&mut self, part: Part) -> Result<(), Fault> {
        if is_refusal(&self.head) {
            return Err(self.refused(part, is_of_master(&self.head)));
        }
        if !part.looks_right(&self.head) {
            return Err(Fault::Unlike { part, quote: quote(&self.head) });
        }
        self.known = true;
        Ok(())
    }
}

/// How many bytes two texts have in common at their beginning.
fn common(left: &[u8], right: &[u8]) -> usize {
    left.iter().zip(right).take_while(|(left, right)| left == right).count()
}

/// Adds to a beginning that is kept, up to its size.
fn append(head: &mut Vec<u8>, bytes: &[u8]) {
    let room = HEAD_BYTES - head.len();
    head.extend_from_slice(&bytes[..bytes.len().min(room)]);
}

fn is_refusal(head: &[u8]) -> bool {
    let head = String::from_utf8_lossy(head);
    REFUSALS.iter().any(|refusal| without_severity(&head).starts_with(refusal))
}

/// Whether the master CLI of HAProxy 2.4 and later refuses so.
fn is_of_master(head: &[u8]) -> bool {
    without_severity(&String::from_utf8_lossy(head)).starts_with(MASTER)
}

fn without_empty_lines(bytes: &[u8]) -> &[u8] {
    let empty_lines = bytes.iter().take_while(|byte| **byte == b'\n').count();
    &bytes[empty_lines..]
}

/// Without the `[6]: ` that `severity-output number` puts before a message, or the word that
/// `severity-output string` puts there.
fn without_severity(text: &str) -> &str {
    let severity = text.strip_prefix('[').and_then(|rest| rest.split_once("]: "));
    match severity {
        Some((level, message)) if level.bytes().all(|byte| byte.is_ascii_alphanumeric()) => message,
        _ => text,
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
