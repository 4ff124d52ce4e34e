//! Where the answers of one connection begin and end.
//!
//! Only the closing empty line tells a whole answer from one that was cut at the end of a row. An
//! empty line within an answer means nothing: `description "one\n\ntwo"` puts one into `show
//! info`. So the first of two answers ends with the last empty line before the header of the
//! second, which is looked for as the bytes come, because a read can end anywhere.

use std::mem;

use super::list::CommandList;
use super::{Command, Fault};

/// Bytes of an answer's beginning that are kept, to recognise it and to quote it.
pub(super) const HEAD_BYTES: usize = 160;

/// Bytes of it that are quoted.
const QUOTED_BYTES: usize = 80;

/// How every answer to `show stat` begins. haproxystats-process asks for it too, so that nothing is
/// published that it would not read.
pub(super) const HEADER: &[u8] = b"# pxname,svname,";

/// How HAProxy refuses a command, behind the severity that `severity-output number` puts first.
const REFUSALS: [&str; 2] = [UNKNOWN, "Permission denied"];

/// How the master CLI of HAProxy 2.4 and later refuses both commands. A stats socket has both, and
/// so never says this.
pub(super) const MASTER: &str =
    "Unknown command, but maybe one of the following ones is a better match:";

/// How any HAProxy begins to refuse a command that it does not have. The master CLI of 1.9 to 2.3
/// has nothing better to say, and lists its commands then.
const UNKNOWN: &str = "Unknown command";

/// The answers of one connection, as the bytes come.
#[derive(Debug)]
pub(super) struct Answers {
    /// The command whose answer is at hand, then those to come.
    commands: &'static [Command],
    limit: u64,
    current: AnswerState,
    /// How many bytes of [`HEADER`] have come that may begin the next answer. They were given to no
    /// file yet, and need no buffer because they are known.
    header_bytes: usize,
}

/// What is known of the answer at hand.
#[derive(Debug)]
struct AnswerState {
    bytes: u64,
    /// How the answer begins, without empty lines before it.
    head: Vec<u8>,
    /// How the text after the last empty line within it begins; empty if there is none.
    last_paragraph: Vec<u8>,
    /// Whether the head was found to be of the right kind.
    known: bool,
    /// The list of commands, where the head was found to refuse an unknown one.
    list: Option<CommandList>,
    /// Whether the last byte ended a line, or none came.
    line_start: bool,
    /// Whether the last byte ended an empty line.
    empty_line: bool,
}

impl Answers {
    /// Awaits the answers to `commands`, none longer than `limit` bytes.
    pub(super) const fn new(commands: &'static [Command], limit: u64) -> Self {
        Self { commands, limit, current: AnswerState::new(), header_bytes: 0 }
    }

    /// Bytes that were given to the file of the answer at hand.
    pub(super) const fn bytes(&self) -> u64 {
        self.current.bytes
    }

    /// Gives bytes, and those that were kept back before, to the answers that they belong to: `to`
    /// gets the command, bytes of its answer, possibly none, and whether the answer is whole with
    /// them. The last answer is never whole by its bytes, only by the end of the connection.
    pub(super) fn take<E: From<crate::Fault>>(
        &mut self,
        mut bytes: &[u8],
        mut to: impl FnMut(Command, &[u8], bool) -> Result<(), E>,
    ) -> Result<(), E> {
        while !bytes.is_empty() {
            let Some(&command) = self.commands.first() else { return Ok(()) };
            if self.commands.len() == 1 {
                self.add(command, bytes).map_err(crate::Fault::from)?;
                return to(command, bytes, false);
            }
            if self.current.empty_line {
                let same = common(&HEADER[self.header_bytes..], bytes);
                self.header_bytes += same;
                bytes = &bytes[same..];
                if self.header_bytes == HEADER.len() {
                    self.begin_next(command).map_err(crate::Fault::from)?;
                    to(command, &[], true)?;
                    self.add(Command::Stat, HEADER).map_err(crate::Fault::from)?;
                    to(Command::Stat, HEADER, false)?;
                    continue;
                }
                if bytes.is_empty() {
                    return Ok(());
                }
                if self.header_bytes > 0 {
                    // The header did not go on, so these bytes belong to the answer at hand.
                    let held = &HEADER[..mem::take(&mut self.header_bytes)];
                    self.add(command, held).map_err(crate::Fault::from)?;
                    to(command, held, false)?;
                }
            }
            let count = self.current.end_of_empty_line(bytes).unwrap_or(bytes.len());
            self.add(command, &bytes[..count]).map_err(crate::Fault::from)?;
            to(command, &bytes[..count], false)?;
            bytes = &bytes[count..];
        }
        Ok(())
    }

    /// The connection has ended: whether everything came.
    pub(super) fn end(&mut self) -> Result<(), Fault> {
        let Some(&command) = self.commands.first() else { return Ok(()) };
        if self.current.bytes == 0 && self.header_bytes == 0 {
            return Err(Fault::Empty(command));
        }
        if self.current.list.is_some() {
            return Err(self.current.refused(command, false));
        }
        if !self.current.known {
            self.current.check(command)?;
        }
        if self.commands.len() > 1 {
            return Err(self.without_header(command));
        }
        if !self.current.empty_line {
            return Err(Fault::Truncated { command, bytes: self.current.bytes });
        }
        Ok(())
    }

    /// What is wrong where the second answer did not begin before the end.
    fn without_header(&self, command: Command) -> Fault {
        if self.header_bytes > 0 {
            return Fault::Truncated { command: Command::Stat, bytes: self.header_bytes as u64 };
        }
        let rest = &self.current.last_paragraph;
        if !rest.is_empty() && is_refusal(rest) {
            return Fault::Refused { command: Command::Stat, quote: quote(rest), by_master: false };
        }
        if !self.current.empty_line {
            return Fault::Truncated { command, bytes: self.current.bytes };
        }
        if rest.is_empty() {
            return Fault::Empty(Command::Stat);
        }
        // A part of the first answer or the whole of the second.
        Fault::Malformed { command: Command::Stat, quote: quote(rest) }
    }

    fn add(&mut self, command: Command, bytes: &[u8]) -> Result<(), Fault> {
        let head_bytes = self.current.head.len();
        self.current.add(bytes);
        if self.current.bytes > self.limit {
            return Err(Fault::TooLong { command, limit: self.limit });
        }
        if self.current.known {
            return Ok(());
        }
        if let Some(list) = &mut self.current.list {
            let found = list.take(bytes);
            return self.current.look_at_list(command, found);
        }
        if !self.current.head_is_enough() {
            return Ok(());
        }
        match self.current.check(command) {
            Err(Fault::Refused { command: Command::Info, by_master: false, .. })
                if self.current.is_unknown() =>
            {
                // The bytes before these are all in the head, which was too short to tell.
                let mut list = CommandList::new();
                let (before, _) = self.current.head.split_at(head_bytes);
                let bytes = if before.is_empty() { without_empty_lines(bytes) } else { bytes };
                let found = list.take(before).or_else(|| list.take(bytes));
                self.current.list = Some(list);
                self.current.look_at_list(command, found)
            }
            checked => checked,
        }
    }

    fn begin_next(&mut self, command: Command) -> Result<(), Fault> {
        if !self.current.known {
            self.current.check(command)?;
        }
        (self.current, self.header_bytes) = (AnswerState::new(), 0);
        self.commands = &self.commands[1..];
        Ok(())
    }
}

impl AnswerState {
    const fn new() -> Self {
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

    fn refused(&self, command: Command, by_master: bool) -> Fault {
        Fault::Refused { command, quote: quote(&self.head), by_master }
    }

    /// The end of a refusal, where what its list shows is certain.
    fn look_at_list(&self, command: Command, found: Option<bool>) -> Result<(), Fault> {
        found.map_or(Ok(()), |by_master| Err(self.refused(command, by_master)))
    }

    /// Whether the head is of the kind of `command`. A refusal reads `Unknown command: …`, which
    /// would pass as info.
    fn check(&mut self, command: Command) -> Result<(), Fault> {
        if is_refusal(&self.head) {
            return Err(self.refused(command, is_of_master(&self.head)));
        }
        if !is_answer_to(command, &self.head) {
            return Err(Fault::Malformed { command, quote: quote(&self.head) });
        }
        self.known = true;
        Ok(())
    }
}

/// How many bytes two texts have in common at their beginning.
fn common(left: &[u8], right: &[u8]) -> usize {
    left.iter().zip(right).take_while(|(left, right)| left == right).count()
}

/// Whether an answer that begins so is one to this command.
fn is_answer_to(command: Command, head: &[u8]) -> bool {
    let line = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
    match command {
        Command::Info => {
            let Some(at) = line.windows(2).position(|pair| pair == b": ") else { return false };
            let key = &line[..at];
            key.first().is_some_and(u8::is_ascii_alphabetic)
                && key.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ')
        }
        Command::Stat => line.starts_with(HEADER),
    }
}

/// Adds to a beginning that is kept, up to its size.
fn append(head: &mut Vec<u8>, bytes: &[u8]) {
    let free = HEAD_BYTES - head.len();
    head.extend_from_slice(&bytes[..bytes.len().min(free)]);
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
