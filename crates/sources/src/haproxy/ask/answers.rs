//! Finds the begin and the end of each answer on one connection.
//!
//! Only the closing empty line tells a whole answer from an answer that was cut at the end of a
//! row. An empty line within an answer means nothing: `description "one\n\ntwo"` puts one into
//! `show info`. So the first of two answers ends with the last empty line before the header of the
//! second. The header is matched byte by byte, because a read can end anywhere.

use std::mem;

use super::list::CommandList;
use super::{Command, Fault};

/// Bytes at the beginning of an answer that are kept to recognise and to quote it.
pub(super) const HEAD_BYTES: usize = 160;

/// Bytes of an answer in a quote.
const QUOTED_BYTES: usize = 80;

/// The beginning of every answer to `show stat`. haproxystats-process expects it too, so an answer
/// without it must not be published.
pub(super) const HEADER: &[u8] = b"# pxname,svname,";

/// The refusals of HAProxy. `severity-output number` puts a severity before them.
const REFUSALS: [&str; 2] = [UNKNOWN, "Permission denied"];

/// The refusal of both commands by the master CLI of HAProxy 2.4 and later. A stats socket has both
/// commands, so it never sends this.
pub(super) const MASTER: &str =
    "Unknown command, but maybe one of the following ones is a better match:";

/// The beginning of the refusal of an unknown command by any HAProxy. The master CLI of 1.9 to 2.3
/// sends this and a list of its commands.
const UNKNOWN: &str = "Unknown command";

/// The answers of one connection, as the bytes come.
#[derive(Debug)]
pub(super) struct Answers {
    /// The command of the current answer, then the commands of later answers.
    commands: &'static [Command],
    limit: u64,
    current: AnswerState,
    /// The number of bytes of [`HEADER`] that have come and may begin the next answer. They were
    /// given to no file yet, and need no buffer because they are known.
    header_bytes: usize,
}

/// The state of the current answer.
#[derive(Debug)]
struct AnswerState {
    bytes: u64,
    /// The beginning of the answer, without empty lines before it.
    head: Vec<u8>,
    /// The beginning of the text after the last empty line within the answer; may be empty.
    last_paragraph: Vec<u8>,
    /// Whether the head was checked and is of the right kind.
    is_checked: bool,
    /// The list of commands, if the head refuses an unknown command.
    list: Option<CommandList>,
    /// Whether the next byte begins a line.
    line_start: bool,
    /// Whether the last byte ended an empty line.
    empty_line: bool,
}

impl Answers {
    /// Awaits the answers to `commands`, none longer than `limit` bytes.
    pub(super) const fn new(commands: &'static [Command], limit: u64) -> Self {
        Self { commands, limit, current: AnswerState::new(), header_bytes: 0 }
    }

    /// Bytes that were given to the file of the current answer.
    pub(super) const fn bytes(&self) -> u64 {
        self.current.bytes
    }

    /// Divides bytes, and bytes that were kept back before, among the answers. `write` gets the
    /// command, bytes of its answer, possibly none, and whether the answer is whole with them. The
    /// last answer is never whole by its bytes, only by the end of the connection.
    pub(super) fn receive<E: From<crate::Fault>>(
        &mut self,
        mut bytes: &[u8],
        mut write: impl FnMut(Command, &[u8], bool) -> Result<(), E>,
    ) -> Result<(), E> {
        while !bytes.is_empty() {
            let Some(&command) = self.commands.first() else { return Ok(()) };
            if self.commands.len() == 1 {
                self.add(command, bytes).map_err(crate::Fault::from)?;
                return write(command, bytes, false);
            }
            if self.current.empty_line {
                let same = common(&HEADER[self.header_bytes..], bytes);
                self.header_bytes += same;
                bytes = &bytes[same..];
                if self.header_bytes == HEADER.len() {
                    self.begin_next(command).map_err(crate::Fault::from)?;
                    write(command, &[], true)?;
                    self.add(Command::Stat, HEADER).map_err(crate::Fault::from)?;
                    write(Command::Stat, HEADER, false)?;
                    continue;
                }
                if bytes.is_empty() {
                    return Ok(());
                }
                if self.header_bytes > 0 {
                    // These bytes are no header, so they belong to the current answer.
                    let kept = &HEADER[..mem::take(&mut self.header_bytes)];
                    self.add(command, kept).map_err(crate::Fault::from)?;
                    write(command, kept, false)?;
                }
            }
            let count = self.current.end_of_empty_line(bytes).unwrap_or(bytes.len());
            self.add(command, &bytes[..count]).map_err(crate::Fault::from)?;
            write(command, &bytes[..count], false)?;
            bytes = &bytes[count..];
        }
        Ok(())
    }

    /// Checks at the end of the connection that every answer is whole.
    pub(super) fn end(&mut self) -> Result<(), Fault> {
        let Some(&command) = self.commands.first() else { return Ok(()) };
        if self.current.bytes == 0 && self.header_bytes == 0 {
            return Err(Fault::Empty(command));
        }
        if self.current.list.is_some() {
            return Err(self.current.refused(command, false));
        }
        if !self.current.is_checked {
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

    /// The fault if the second answer has not begun before the end of the connection.
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
        // The rest is a part of the first answer or the whole second answer.
        Fault::Malformed { command: Command::Stat, quote: quote(rest) }
    }

    fn add(&mut self, command: Command, bytes: &[u8]) -> Result<(), Fault> {
        let head_bytes = self.current.head.len();
        self.current.add(bytes);
        if self.current.bytes > self.limit {
            return Err(Fault::TooLong { command, limit: self.limit });
        }
        if self.current.is_checked {
            return Ok(());
        }
        if let Some(list) = &mut self.current.list {
            let by_master = list.by_master(bytes);
            return self.current.check_list(command, by_master);
        }
        if !self.current.head_is_enough() {
            return Ok(());
        }
        match self.current.check(command) {
            Err(Fault::Refused { command: Command::Info, by_master: false, .. })
                if self.current.is_unknown() =>
            {
                // All bytes before these are in the head, which was too short for the check.
                let mut list = CommandList::new();
                let (before, _) = self.current.head.split_at(head_bytes);
                let bytes = if before.is_empty() { without_empty_lines(bytes) } else { bytes };
                let by_master = list.by_master(before).or_else(|| list.by_master(bytes));
                self.current.list = Some(list);
                self.current.check_list(command, by_master)
            }
            result => result,
        }
    }

    fn begin_next(&mut self, command: Command) -> Result<(), Fault> {
        if !self.current.is_checked {
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
            is_checked: false,
            list: None,
            line_start: true,
            empty_line: false,
        }
    }

    /// The end of the first empty line in `bytes`.
    fn end_of_empty_line(&self, bytes: &[u8]) -> Option<usize> {
        let mut line_start = self.line_start;
        for (index, byte) in bytes.iter().enumerate() {
            let is_end = *byte == b'\n';
            if line_start && is_end {
                return Some(index + 1);
            }
            line_start = is_end;
        }
        None
    }

    /// Adds bytes of the answer. If an answer follows, they must not go beyond the end of an empty
    /// line.
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

    /// Whether the head refuses the command as unknown.
    fn is_unknown(&self) -> bool {
        without_severity(&String::from_utf8_lossy(&self.head)).starts_with(UNKNOWN)
    }

    fn refused(&self, command: Command, by_master: bool) -> Fault {
        Fault::Refused { command, quote: quote(&self.head), by_master }
    }

    /// Fails with the refusal once its list shows whether a master sent it.
    fn check_list(&self, command: Command, by_master: Option<bool>) -> Result<(), Fault> {
        match by_master {
            Some(by_master) => Err(self.refused(command, by_master)),
            None => Ok(()),
        }
    }

    /// Checks that the head is of the kind of `command`. The test for a refusal comes first,
    /// because `Unknown command: …` would pass as info.
    fn check(&mut self, command: Command) -> Result<(), Fault> {
        if is_refusal(&self.head) {
            return Err(self.refused(command, is_of_master(&self.head)));
        }
        if !is_answer_to(command, &self.head) {
            return Err(Fault::Malformed { command, quote: quote(&self.head) });
        }
        self.is_checked = true;
        Ok(())
    }
}

/// The number of bytes that two texts have in common at their beginning.
fn common(left: &[u8], right: &[u8]) -> usize {
    left.iter().zip(right).take_while(|(left, right)| left == right).count()
}

/// Whether an answer to this command can begin so.
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

/// Adds bytes up to [`HEAD_BYTES`].
fn append(head: &mut Vec<u8>, bytes: &[u8]) {
    let free = HEAD_BYTES - head.len();
    head.extend_from_slice(&bytes[..bytes.len().min(free)]);
}

fn is_refusal(head: &[u8]) -> bool {
    let head = String::from_utf8_lossy(head);
    REFUSALS.iter().any(|refusal| without_severity(&head).starts_with(refusal))
}

/// Whether the refusal is that of the master CLI of HAProxy 2.4 and later.
fn is_of_master(head: &[u8]) -> bool {
    without_severity(&String::from_utf8_lossy(head)).starts_with(MASTER)
}

fn without_empty_lines(bytes: &[u8]) -> &[u8] {
    let empty_lines = bytes.iter().take_while(|byte| **byte == b'\n').count();
    &bytes[empty_lines..]
}

/// The text without the `[6]: ` that `severity-output number` puts before a message, or the word
/// that `severity-output string` puts there.
fn without_severity(text: &str) -> &str {
    let severity = text.strip_prefix('[').and_then(|rest| rest.split_once("]: "));
    match severity {
        Some((level, message)) if level.bytes().all(|byte| byte.is_ascii_alphanumeric()) => message,
        _ => text,
    }
}

/// The first line, cut and escaped for the log.
fn quote(bytes: &[u8]) -> String {
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let shown = &line[..line.len().min(QUOTED_BYTES)];
    let more = if shown.len() < line.len() { "…" } else { "" };
    format!("{}{more}", shown.escape_ascii())
}
