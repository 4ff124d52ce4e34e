//! Leaves out the lines of a text that are longer than the receiver takes: lines that another
//! version has made. Those that the encoder makes are measured there.

use std::io::{self, BufRead, Read};

use super::lines::too_long;
use crate::{LineReader, Loss};

/// Bytes of short lines that are gathered for one read.
const GATHERED_BYTES: usize = 32 << 10;

/// Reads the lines of a text that have at most some bytes, line feed included.
#[derive(Debug)]
pub struct ShortLines<R> {
    source: R,
    max_bytes: usize,
    /// Whole short lines.
    gathered: Vec<u8>,
    /// How much of `gathered` has been read.
    position: usize,
    long_lines: Loss,
}

impl<R: BufRead> ShortLines<R> {
    /// Nothing is read yet. Of a long line only `max_bytes` are kept in memory.
    pub fn new(source: R, max_bytes: usize) -> Self {
        let long_lines = Loss::default();
        Self { source, max_bytes, gathered: Vec::new(), position: 0, long_lines }
    }

    /// Gathers the next line if it is short. False at the end of the text.
    fn gather_line(&mut self) -> io::Result<bool> {
        let begin = self.gathered.len();
        let mut limited = self.source.by_ref().take((self.max_bytes as u64).saturating_add(1));
        let bytes = limited.read_until(b'\n', &mut self.gathered)?;
        if bytes > self.max_bytes {
            let is_whole = self.gathered.ends_with(b"\n");
            let rest = if is_whole { 0 } else { self.source.skip_until(b'\n')? };
            let line = self.gathered.get(begin..).unwrap_or_default();
            self.long_lines.add(1, || too_long(bytes + rest, self.max_bytes, line));
            self.gathered.truncate(begin);
        }
        Ok(bytes > 0)
    }
}

impl<R: BufRead> BufRead for ShortLines<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.position == self.gathered.len() {
            self.gathered.clear();
            self.position = 0;
            while self.gathered.len() < GATHERED_BYTES && self.gather_line()? {}
        }
        Ok(self.gathered.get(self.position..).unwrap_or_default())
    }

    fn consume(&mut self, count: usize) {
        self.position = (self.position + count).min(self.gathered.len());
    }
}

impl<R: BufRead> Read for ShortLines<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(to)?;
        self.consume(count);
        Ok(count)
    }
}

impl<R: BufRead> LineReader for ShortLines<R> {
    fn long_lines(&self) -> Loss {
        self.long_lines.clone()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert_eq, proptest};

    use super::*;

    fn short(text: &str, max_bytes: usize) -> (String, Loss) {
        let mut lines = ShortLines::new(text.as_bytes(), max_bytes);
        let mut found = String::new();
        lines.read_to_string(&mut found).unwrap();
        (found, lines.long_lines())
    }

    #[test]
    fn a_long_line_is_left_out_alone_and_its_bytes_are_told() {
        let (found, loss) = short("abc 1\nabcd 1\nabcdefghi 1\nabc 2\n", 6);
        assert_eq!((found.as_str(), loss.count), ("abc 1\nabc 2\n", 2));
        let reason = loss.reason.unwrap();
        assert!(reason.starts_with("a line has 7 bytes, and max-line is 6; "), "{reason}");
        let (found, loss) = short(&"x".repeat(100_000), 6);
        assert_eq!((found.as_str(), loss.count), ("", 1));
        assert!(loss.reason.unwrap().contains("100000 bytes"));
    }

    proptest! {
        /// The short lines are all there, in their order.
        #[test]
        fn exactly_the_long_lines_are_left_out(
            text in "([a-c]{0,9}\n){0,20}[a-c]{0,9}",
            max_bytes in 1..12_usize,
        ) {
            let (short, long): (Vec<&str>, Vec<&str>) =
                text.split_inclusive('\n').partition(|line| line.len() <= max_bytes);
            let (found, loss) = self::short(&text, max_bytes);
            prop_assert_eq!(found, short.concat());
            prop_assert_eq!(loss.count as usize, long.len());
            prop_assert_eq!(loss.reason.is_none(), long.is_empty());
        }
    }
}
