//! A file as rows: read through one reused buffer, so that memory does not grow with the file.
//!
//! A line end ends a row whatever quotes are open: HAProxy never writes one into a cell, and a quote that is never closed must
//! cost its own row and no other. A comma between quotes parts no cells. Of a row that is too long for the buffer the rest is
//! passed over.
//!
//! All cells of a row are counted, and where they end is written down of those alone that somebody looks at: half of the columns
//! of HAProxy 2.6 come after the last that is wanted, and to write a position costs more than to find it.

use std::io::{self, Read};

use crate::separators::{self, BLOCK, Masks};

/// Bytes that a row can have at most.
pub(crate) const ROW_MAX_BYTES: usize = 256 * 1024;
/// Cells that a row can have at most; HAProxy 3.4 has 213.
pub(crate) const CELLS_MAX: usize = 1024;
/// Positions that are written at once.
const SPARE: usize = 4;
/// Room for the positions of a block, and for what is written behind them for nothing.
const ROOM: usize = BLOCK + SPARE;
/// Room before the text, so that the eight bytes before the end of any cell can be loaded.
const FRONT: usize = 16;

/// A row, as positions in the buffer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row<'a> {
    /// The whole buffer.
    pub(crate) text: &'a [u8],
    /// Where the row begins.
    pub(crate) begin: usize,
    /// Where it ends.
    pub(crate) end: usize,
    /// How many cells it has; the last ends with the row.
    pub(crate) cells: usize,
    /// Where the first of them end, as many as were asked for.
    pub(crate) ends: &'a [u32],
    /// What is wrong with it.
    pub(crate) fault: Option<RowFault>,
}

/// Why a row cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RowFault {
    /// The file ends in it.
    Cut,
    /// A quote is never closed.
    OpenQuote,
    /// Beyond [`CELLS_MAX`].
    TooManyCells,
    /// Beyond [`ROW_MAX_BYTES`]: its cells are not known.
    TooLong,
}

/// The reused buffer.
#[derive(Debug)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    ends: Vec<u32>,
}

impl Buffer {
    pub(crate) fn new() -> Self {
        Self { bytes: vec![0; FRONT + ROW_MAX_BYTES + BLOCK], ends: vec![0; CELLS_MAX + ROOM] }
    }

    /// Calls `each` with every row, until the file ends or it returns `None`; else it returns how many cells of the rows to come
    /// it looks at. Of the first row it can look at all.
    pub(crate) fn rows(
        &mut self,
        file: &mut impl Read,
        mut each: impl FnMut(Row<'_>) -> Option<usize>,
    ) -> io::Result<()> {
        let mut each = |row: Row<'_>| each(row).map(|wanted| wanted.min(CELLS_MAX));
        let limit = FRONT + ROW_MAX_BYTES;
        let mut wanted = CELLS_MAX;
        let mut filled = FRONT;
        let mut passing_over = false;
        loop {
            let room = self.bytes.get_mut(filled..limit).unwrap_or_default();
            if room.is_empty() {
                let (text, ends) = (&self.bytes[..], &[limit as u32][..]);
                let fault = Some(RowFault::TooLong);
                let row = Row { text, begin: FRONT, end: limit, cells: 1, ends, fault };
                let Some(next) = each(row) else { return Ok(()) };
                (passing_over, filled, wanted) = (true, FRONT, next);
                continue;
            }
            let count = match file.read(room) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            };
            if count == 0 {
                if filled > FRONT {
                    self.bytes[filled] = b'\n';
                    self.scan(filled + 1, &mut wanted, |row| {
                        each(Row { fault: row.fault.or(Some(RowFault::Cut)), ..row })
                    });
                }
                return Ok(());
            }
            filled += count;
            if passing_over {
                let Some(end) = self.bytes[FRONT..filled].iter().position(|b| *b == b'\n') else {
                    filled = FRONT;
                    continue;
                };
                self.bytes.copy_within(FRONT + end + 1..filled, FRONT);
                (passing_over, filled) = (false, filled - end - 1);
            }
            let Some(rest) = self.scan(filled, &mut wanted, &mut each) else { return Ok(()) };
            self.bytes.copy_within(rest..filled, FRONT);
            filled = FRONT + (filled - rest);
        }
    }

    /// Gives every complete row before `filled` and returns where the incomplete one begins; `None` if told to stop.
    fn scan(
        &mut self,
        filled: usize,
        wanted: &mut usize,
        mut each: impl FnMut(Row<'_>) -> Option<usize>,
    ) -> Option<usize> {
        let Self { bytes, ends } = self;
        let mut begin = FRONT;
        let mut cells = 0;
        let mut quoted = false;
        let mut at = FRONT;
        while at < filled {
            let block = bytes[at..].first_chunk::<BLOCK>()?;
            let mut masks = separators::masks(block);
            if filled - at < BLOCK {
                let inside = (1 << (filled - at)) - 1;
                masks.commas &= inside;
                masks.line_ends &= inside;
                masks.quotes &= inside;
            }
            let mut open = 0;
            if masks.quotes != 0 || quoted {
                (masks.commas, open, quoted) = outside_quotes(masks, quoted);
            }
            let Masks { mut commas, mut line_ends, .. } = masks;
            loop {
                let line_end = line_ends & line_ends.wrapping_neg();
                // All bits below it; where there is none, all.
                let before = line_end.wrapping_sub(1);
                let found = commas & before;
                if cells < *wanted {
                    write_positions(found, at, ends[cells..].first_chunk_mut()?);
                }
                cells += found.count_ones() as usize;
                if line_end == 0 {
                    break;
                }
                commas &= !before;
                line_ends ^= line_end;
                let end = at + line_end.trailing_zeros() as usize;
                if cells < *wanted {
                    ends[cells] = end as u32;
                }
                cells += 1;
                let fault = match (open & line_end != 0, cells > CELLS_MAX) {
                    (true, _) => Some(RowFault::OpenQuote),
                    (_, true) => Some(RowFault::TooManyCells),
                    _ => None,
                };
                let ends = &ends[..cells.min(*wanted)];
                *wanted = each(Row { text: bytes, begin, end, cells, ends, fault })?;
                begin = end + 1;
                cells = 0;
            }
            at += BLOCK;
        }
        Some(begin)
    }
}

/// Writes where the bits are, counted from `at`. Four go at a time, the last of them perhaps for nothing: a test after each would
/// cost more.
#[inline(always)]
fn write_positions(mut bits: u64, at: usize, ends: &mut [u32; ROOM]) {
    let found = bits.count_ones() as usize;
    let (fours, _) = ends[..found.next_multiple_of(SPARE)].as_chunks_mut::<SPARE>();
    for four in fours {
        for end in four {
            *end = at as u32 + bits.trailing_zeros();
            bits &= bits.wrapping_sub(1);
        }
    }
}

/// The commas that part cells, the line ends that cut a quote short, and whether a quote is open at the end of the block.
fn outside_quotes(masks: Masks, mut quoted: bool) -> (u64, u64, bool) {
    let (mut commas, mut open) = (0, 0);
    let mut bits = masks.commas | masks.line_ends | masks.quotes;
    while bits != 0 {
        let bit = bits & bits.wrapping_neg();
        bits ^= bit;
        if masks.quotes & bit != 0 {
            quoted = !quoted;
        } else if masks.line_ends & bit != 0 {
            if quoted {
                open |= bit;
            }
            quoted = false;
        } else if !quoted {
            commas |= bit;
        }
    }
    (commas, open, quoted)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};

    use super::{Buffer, CELLS_MAX, ROW_MAX_BYTES, RowFault};

    type Seen = Vec<(Vec<Vec<u8>>, Option<RowFault>)>;

    fn fast(text: &[u8]) -> Seen {
        fast_of(text, &[CELLS_MAX])
    }

    /// Looks at so many cells of each row, in turn; of the first at all.
    fn fast_of(mut text: &[u8], wanted: &[usize]) -> Seen {
        let mut seen: Seen = Vec::new();
        let wanted_of = |row: usize| if row == 0 { CELLS_MAX } else { wanted[row % wanted.len()] };
        let read = Buffer::new().rows(&mut text, |row| {
            let expected = match row.fault {
                Some(RowFault::TooLong) => CELLS_MAX,
                _ => wanted_of(seen.len()),
            };
            assert_eq!(row.ends.len(), row.cells.min(expected));
            let last = row.ends.get(row.cells - 1);
            assert!(last.is_none_or(|last| *last as usize == row.end));
            let mut begin = row.begin;
            let cells = row.ends.iter().map(|&end| {
                let cell = row.text[begin..end as usize].to_vec();
                begin = end as usize + 1;
                cell
            });
            // Of a row that has too much not all is known.
            let unknown = matches!(row.fault, Some(RowFault::TooManyCells | RowFault::TooLong));
            seen.push((if unknown { vec![] } else { cells.collect() }, row.fault));
            Some(wanted_of(seen.len()))
        });
        read.unwrap();
        seen
    }

    /// The slow twin: byte by byte, from the rules alone.
    fn slow(text: &[u8]) -> Seen {
        let mut seen = Vec::new();
        let mut lines: Vec<_> = text.split(|byte| *byte == b'\n').collect();
        let last = lines.pop().filter(|last| !last.is_empty());
        for (line, cut) in
            lines.into_iter().map(|line| (line, false)).chain(last.map(|l| (l, true)))
        {
            let (mut cells, mut quoted) = (vec![vec![]], false);
            for byte in line {
                quoted ^= *byte == b'"';
                match (byte, quoted) {
                    (b',', false) => cells.push(vec![]),
                    _ => cells.last_mut().unwrap().push(*byte),
                }
            }
            let fault = match (quoted, cells.len() > CELLS_MAX, cut) {
                _ if line.len() >= ROW_MAX_BYTES => Some(RowFault::TooLong),
                (true, ..) => Some(RowFault::OpenQuote),
                (_, true, _) => Some(RowFault::TooManyCells),
                (.., true) => Some(RowFault::Cut),
                _ => None,
            };
            if matches!(fault, Some(RowFault::TooManyCells | RowFault::TooLong)) {
                cells.clear();
            }
            seen.push((cells, fault));
        }
        seen
    }

    fn text() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![
            4 => Just(b','), 1 => Just(b'\n'), 1 => Just(b'"'), 4 => b'0'..=b'9', 1 => any::<u8>()
        ];
        proptest::collection::vec(byte, 0..700)
    }

    /// Rows of several blocks each.
    fn long_rows() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![
            400 => Just(b','), 4 => Just(b'\n'), 1 => Just(b'"'), 400 => b'0'..=b'9', 4 => any::<u8>()
        ];
        proptest::collection::vec(byte, 0..2000)
    }

    proptest! {
        /// Any bytes at all give the same rows, cells and faults as the slow twin sees.
        #[test]
        fn any_text_reads_as_the_slow_twin_reads_it(text in text()) {
            assert_eq!(fast(&text), slow(&text));
        }

        /// Of rows of which little is wanted that little is the same.
        #[test]
        fn what_is_not_looked_at_changes_nothing(
            text in long_rows(),
            wanted in proptest::collection::vec(0..90_usize, 1..5),
        ) {
            let mut expected = slow(&text);
            for (row, (cells, _)) in expected.iter_mut().enumerate().skip(1) {
                cells.truncate(wanted[row % wanted.len()]);
            }
            assert_eq!(fast_of(&text, &wanted), expected);
        }
    }

    #[test]
    fn rows_go_on_over_the_end_of_the_buffer() {
        let row = format!("{},\"a,b\",\n", "x".repeat(1000));
        let text = row.repeat(3 * ROW_MAX_BYTES / row.len());
        assert_eq!(fast(text.as_bytes()), slow(text.as_bytes()));
    }

    #[test]
    fn more_cells_than_there_can_be_cost_their_row_alone() {
        let text = format!("a,b\n{}\nc,d\n", ",".repeat(3 * CELLS_MAX));
        assert_eq!(fast(text.as_bytes()), slow(text.as_bytes()));
    }

    #[test]
    fn a_row_that_is_too_long_costs_itself() {
        for length in [ROW_MAX_BYTES - 1, ROW_MAX_BYTES, ROW_MAX_BYTES + 1, 3 * ROW_MAX_BYTES] {
            for (before, after) in [("", ""), ("a,b\n", "\nc,d\n"), ("a,b\n", "\nc"), ("", "\n")] {
                let text = format!("{before}{}{after}", "x".repeat(length));
                assert_eq!(fast(text.as_bytes()), slow(text.as_bytes()), "{length} {after:?}");
            }
        }
    }

    #[test]
    fn a_reader_that_gives_little_at_a_time_gives_the_same() {
        struct Drip<'a>(&'a [u8]);
        impl std::io::Read for Drip<'_> {
            fn read(&mut self, room: &mut [u8]) -> std::io::Result<usize> {
                let most = room.len().min(7);
                self.0.read(&mut room[..most])
            }
        }
        let text = b"a,b\n\"c,d\",e\n\n,,,,\nx";
        let mut seen = Vec::new();
        let each = |row: super::Row<'_>| {
            seen.push((row.cells, row.fault));
            Some(0)
        };
        Buffer::new().rows(&mut Drip(text), each).unwrap();
        assert_eq!(seen, slow(text).iter().map(|(c, f)| (c.len(), *f)).collect::<Vec<_>>());
    }
}
