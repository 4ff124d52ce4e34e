//! Cuts the lines of a batch into messages.
//!
//! A message of many lines has as many whole lines as fit, each with its line feed; a message of
//! one line has no line feed. A line that is too large for any message is left out and counted: it
//! would be refused again and again, and with it the whole batch.

use std::io::{self, BufRead, ErrorKind, Read};

use config::LinesPerMessage;

use crate::Outcome;

/// Bytes of the beginning of a line that is named because it is left out.
const NAMED_BYTES: usize = 120;

/// The messages of some lines.
pub struct Messages<'a> {
    source: Box<dyn BufRead + 'a>,
    lines: LinesPerMessage,
    /// Bytes that any message may have, as configured.
    message_max: usize,
    /// A line that was read and did not fit into the message before.
    line: Vec<u8>,
    outcome: Outcome,
}

impl std::fmt::Debug for Messages<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Messages").field("lines", &self.lines).finish_non_exhaustive()
    }
}

impl<'a> Messages<'a> {
    /// Messages of `message_max` bytes at most.
    pub fn new(source: Box<dyn BufRead + 'a>, lines: LinesPerMessage, message_max: usize) -> Self {
        Self { source, lines, message_max, line: Vec::new(), outcome: Outcome::default() }
    }

    /// The next message; false after the last one. A message of many lines has at most `limit`
    /// bytes, unless its only line has more.
    ///
    /// # Errors
    ///
    /// The lines cannot be read.
    pub fn next(&mut self, limit: usize, message: &mut Vec<u8>) -> io::Result<bool> {
        message.clear();
        match self.lines {
            LinesPerMessage::Many => while self.push_lines(limit, message)? {},
            LinesPerMessage::One => {
                while message.is_empty() && self.read_line()? {
                    message.append(&mut self.line);
                    message.pop_if(|last| *last == b'\n');
                }
            }
        }
        Ok(!message.is_empty())
    }

    /// The lines that were left out so far.
    pub fn into_outcome(self) -> Outcome {
        self.outcome
    }

    /// Appends lines that fit; false if the message is full or the lines are at their end.
    fn push_lines(&mut self, limit: usize, message: &mut Vec<u8>) -> io::Result<bool> {
        let room = limit.saturating_sub(message.len());
        if self.line.is_empty() {
            let buffer = fill(self.source.as_mut())?;
            let window = buffer.get(..room).unwrap_or(buffer);
            // Most lines are copied here, many at once.
            if let Some(end) = window.iter().rposition(|byte| *byte == b'\n') {
                message.extend_from_slice(&window[..=end]);
                self.source.consume(end + 1);
                return Ok(true);
            }
            if !self.read_line()? {
                return Ok(false);
            }
        }
        if self.line.len() > room && !message.is_empty() {
            return Ok(false);
        }
        message.append(&mut self.line);
        Ok(message.len() < limit)
    }

    /// Reads a line with its line feed into `line`, which is empty; false after the last one.
    fn read_line(&mut self) -> io::Result<bool> {
        // The line feed is no part of a message of one line.
        let feed = usize::from(self.lines == LinesPerMessage::One);
        let most = self.message_max + feed;
        loop {
            let mut bounded = self.source.as_mut().take(most as u64);
            bounded.read_until(b'\n', &mut self.line)?;
            if self.line.is_empty() {
                return Ok(false);
            }
            if self.line.last() == Some(&b'\n') {
                return Ok(true);
            }
            let is_last = fill(self.source.as_mut())?.is_empty();
            if is_last && self.line.len() < most {
                self.line.push(b'\n');
                return Ok(true);
            }
            let rest = self.source.skip_until(b'\n')?;
            let why = "more than message-size; raise it, and max.message.bytes of the topic";
            leave_out(&mut self.outcome, &self.line, self.line.len() + rest, why);
            self.line.clear();
        }
    }
}

/// Counts a line of `bytes` bytes that no message can have.
pub(super) fn leave_out(outcome: &mut Outcome, line: &[u8], bytes: usize, why: &str) {
    outcome.long_lines.add(1, || {
        let begin = line.get(..NAMED_BYTES).unwrap_or(line);
        let begin = String::from_utf8_lossy(begin);
        let dots = if line.len() > NAMED_BYTES { "…" } else { "" };
        format!("{:?}{dots} has {bytes} bytes, {why}", begin.trim_end())
    });
}

fn fill<'b>(source: &'b mut (dyn BufRead + '_)) -> io::Result<&'b [u8]> {
    loop {
        match source.fill_buf() {
            Ok(_) => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    // A second call returns the same bytes: the borrow checker does not let the first one leave the
    // loop.
    source.fill_buf()
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, proptest};
    use proptest::sample::select;

    use super::*;

    /// All messages and what was left out. `buffer` is the size of the reads.
    fn cut(
        text: &[u8],
        lines: LinesPerMessage,
        limit: usize,
        message_max: usize,
        buffer: usize,
    ) -> (Vec<Vec<u8>>, Outcome) {
        let source = Box::new(BufReader::with_capacity(buffer, text));
        let mut messages = Messages::new(source, lines, message_max);
        let (mut all, mut message) = (Vec::new(), Vec::new());
        while messages.next(limit, &mut message).unwrap() {
            all.push(message.clone());
        }
        (all, messages.into_outcome())
    }

    #[test]
    fn a_message_has_whole_lines_up_to_its_limit() {
        let text = b"one\ntwo\nthree\nfour\n";
        let (messages, outcome) = cut(text, LinesPerMessage::Many, 10, 10, 64);
        assert_eq!(messages, [&b"one\ntwo\n"[..], b"three\n", b"four\n"]);
        assert_eq!(outcome, Outcome::default());
        let (messages, _) = cut(text, LinesPerMessage::Many, 100, 100, 64);
        assert_eq!(messages, [text]);
    }

    #[test]
    fn a_message_of_one_line_has_no_line_feed() {
        let (messages, outcome) = cut(b"one\ntwo\nthree", LinesPerMessage::One, 5, 5, 64);
        assert_eq!(messages, [&b"one"[..], b"two", b"three"]);
        assert_eq!(outcome, Outcome::default());
    }

    #[test]
    fn a_line_that_no_message_can_have_is_left_out_and_named() {
        let text = b"a 1\nlonger 22\nb 3\n";
        let expected = "\"longer 2\" has 10 bytes, more than message-size; raise it, and \
                        max.message.bytes of the topic";
        let (messages, outcome) = cut(text, LinesPerMessage::Many, 8, 8, 64);
        assert_eq!(messages, [b"a 1\nb 3\n"]);
        assert_eq!(outcome.long_lines.count, 1);
        assert_eq!(outcome.long_lines.reason.as_deref(), Some(expected));
        // Its line feed does not count where a message has none.
        let (messages, outcome) = cut(text, LinesPerMessage::One, 9, 9, 64);
        assert_eq!(messages, [&b"a 1"[..], b"longer 22", b"b 3"]);
        assert_eq!(outcome, Outcome::default());
    }

    #[test]
    fn a_line_above_the_limit_goes_alone() {
        let text = b"a\nlonger 22\nb\n";
        let (messages, outcome) = cut(text, LinesPerMessage::Many, 4, 100, 64);
        assert_eq!(messages, [&b"a\n"[..], b"longer 22\n", b"b\n"]);
        assert_eq!(outcome, Outcome::default());
    }

    #[test]
    fn no_lines_are_no_messages() {
        for lines in [LinesPerMessage::Many, LinesPerMessage::One] {
            assert_eq!(cut(b"", lines, 4, 4, 64), (Vec::new(), Outcome::default()));
        }
    }

    fn texts() -> impl Strategy<Value = Vec<String>> {
        proptest::collection::vec("[a-c]{1,12}", 0..20)
    }

    proptest! {
        /// Every line arrives once, whole and in order, or is counted; whatever the reads are.
        #[test]
        fn every_line_is_in_a_message_or_counted(
            lines in texts(), limit in 1_usize..20, more in 0_usize..10, buffer in 1_usize..30,
            is_ended in any::<bool>(),
            per_message in select(vec![LinesPerMessage::Many, LinesPerMessage::One]),
        ) {
            let mut text: String = lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
            if !is_ended {
                text.pop();
            }
            let most = limit + more;
            let is_one = per_message == LinesPerMessage::One;
            let fits = |line: &&String| line.len() + usize::from(!is_one) <= most;
            let kept: Vec<_> = lines.iter().filter(fits).cloned().collect();
            let (messages, outcome) = cut(text.as_bytes(), per_message, limit, most, buffer);
            prop_assert_eq!(outcome.long_lines.count as usize, lines.len() - kept.len());
            let mut came = Vec::new();
            for message in &messages {
                let message = std::str::from_utf8(message).unwrap();
                prop_assert_eq!(message.ends_with('\n'), !is_one);
                let of_message: Vec<_> = message.lines().map(str::to_owned).collect();
                prop_assert!(message.len() <= limit || of_message.len() == 1);
                prop_assert!(message.len() <= most);
                came.extend(of_message);
            }
            prop_assert_eq!(came, kept);
        }

        /// A message is followed by a line that did not fit.
        #[test]
        fn messages_are_full(lines in texts(), limit in 13_usize..40, buffer in 1_usize..50) {
            let text: String = lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
            let (messages, _) = cut(text.as_bytes(), LinesPerMessage::Many, limit, limit, buffer);
            for pair in messages.windows(2) {
                let next = pair[1].iter().position(|byte| *byte == b'\n').unwrap() + 1;
                prop_assert!(pair[0].len() + next > limit);
            }
        }
    }
}
