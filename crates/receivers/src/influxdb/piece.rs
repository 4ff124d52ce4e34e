//! The pieces of a batch that go into one request each: whole lines, bounded in number and bytes.

use std::io::{self, BufRead};

/// Reads pieces of lines.
#[derive(Debug, Default)]
pub(super) struct PieceReader {
    piece: Vec<u8>,
    /// The line that was too much for the last piece.
    next: Vec<u8>,
}

impl PieceReader {
    /// The next piece; empty at the end. It has at least one line, however long that is.
    ///
    /// # Errors
    ///
    /// The lines cannot be read.
    pub(super) fn read(
        &mut self,
        source: &mut impl BufRead,
        lines_max: usize,
        bytes_max: usize,
    ) -> io::Result<&[u8]> {
        self.piece.clear();
        self.piece.append(&mut self.next);
        let mut lines = usize::from(!self.piece.is_empty());
        while lines < lines_max {
            let before = self.piece.len();
            if source.read_until(b'\n', &mut self.piece)? == 0 {
                break;
            }
            if before > 0 && self.piece.len() > bytes_max {
                self.next.extend(self.piece.drain(before..));
                break;
            }
            lines += 1;
        }
        Ok(&self.piece)
    }
}

/// Two halves of some lines; `None` for a single line.
pub(super) fn halves(lines: &[u8]) -> Option<(&[u8], &[u8])> {
    let middle = lines.len() / 2;
    let end_of_line = |byte: &u8| *byte == b'\n';
    // The last byte ends the last line, so a cut behind it would leave an empty half.
    let last = lines.len().saturating_sub(1);
    let after = lines.get(middle..last)?.iter().position(end_of_line).map(|at| middle + at + 1);
    let before = || lines.get(..middle)?.iter().rposition(end_of_line).map(|at| at + 1);
    Some(lines.split_at(after.or_else(before)?))
}

/// The number of lines.
pub(super) fn count_lines(lines: &[u8]) -> u64 {
    lines.iter().filter(|byte| **byte == b'\n').count() as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{ProptestConfig, proptest};

    use super::*;

    fn pieces(text: &str, lines_max: usize, bytes_max: usize) -> Vec<String> {
        let (mut reader, mut source) = (PieceReader::default(), text.as_bytes());
        let mut pieces = Vec::new();
        loop {
            let piece = reader.read(&mut source, lines_max, bytes_max).unwrap();
            if piece.is_empty() {
                return pieces;
            }
            pieces.push(String::from_utf8(piece.to_vec()).unwrap());
        }
    }

    #[test]
    fn pieces_end_at_lines_and_keep_to_their_bounds() {
        assert_eq!(pieces("a\nb\nc\n", 2, 100), ["a\nb\n", "c\n"]);
        assert_eq!(pieces("a\nb\nccccc\nd\n", 9, 4), ["a\nb\n", "ccccc\n", "d\n"]);
        assert_eq!(pieces("", 9, 4), [""; 0]);
    }

    #[test]
    fn halves_are_whole_lines() {
        let halves = |text: &'static str| halves(text.as_bytes());
        assert_eq!(halves("a\nb\n"), Some((&b"a\n"[..], &b"b\n"[..])));
        assert_eq!(halves("aaaaaa\nb\n"), Some((&b"aaaaaa\n"[..], &b"b\n"[..])));
        assert_eq!(halves("a\nbbbbbbbb\n"), Some((&b"a\n"[..], &b"bbbbbbbb\n"[..])));
        assert_eq!(halves("aaaaaa\n"), None);
        assert_eq!(halves(""), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        /// No line is lost, cut or twice, and halving ends at single lines.
        #[test]
        fn pieces_and_halves_are_the_text(
            text in "([a-c]{0,9}\n){0,20}",
            lines_max in 1..9_usize,
            bytes_max in 1..30_usize,
        ) {
            let pieces = pieces(&text, lines_max, bytes_max);
            assert_eq!(pieces.concat(), text);
            for piece in &pieces {
                let lines = piece.lines().count();
                assert!(lines <= lines_max && (lines == 1 || piece.len() <= bytes_max));
            }
            let (mut rest, mut singles) = (vec![text.as_bytes()], Vec::new());
            while let Some(part) = rest.pop() {
                match halves(part) {
                    Some((first, second)) => rest.extend([second, first]),
                    None => singles.push(part),
                }
            }
            assert_eq!(singles.concat(), text.as_bytes());
            assert!(singles.iter().all(|line| count_lines(line) <= 1));
        }
    }
}
