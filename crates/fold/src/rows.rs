//! A file as rows: read through one reused buffer, so that memory does not grow with the file.
//!
//! A comma between quotes parts no cells, and a line end between quotes ends no row: HAProxy before
//! 3.0 writes the line ends of a check's expected string into `last_chk`. But a quote that is never
//! closed must cost its own row and no other. So lines are joined only while the joined text closes
//! the quote, has exactly the header's number of cells, and is at most [`JOINED_LINES_MAX`] lines.
//! The rest of a row that is too long for the buffer is passed over.
//!
//! All cells of a row are counted, but positions are written down only for the cells that somebody
//! looks at: half of the columns of HAProxy 2.6 come after the last that is wanted, and to write a
//! position costs more than to find it.

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
/// Lines that one row can have. HAProxy cuts `last_chk` after some hundred bytes.
pub(crate) const JOINED_LINES_MAX: usize = 16;
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

/// What the caller wants of the rows to come.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    /// How many cells it looks at, the first ones of each row.
    pub(crate) looked_at: usize,
    /// How many cells a row has, the empty one behind a last comma left out. Only so many make
    /// several lines one row; 0 joins none.
    pub(crate) cells: usize,
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

    /// Calls `each` with every row, until the file ends or `each` returns `None`; else `each`
    /// returns what it wants of the rows to come. It can look at every cell of the first row.
    pub(crate) fn rows(
        &mut self,
        file: &mut impl Read,
        mut each: impl FnMut(Row<'_>) -> Option<Wanted>,
    ) -> io::Result<()> {
        let mut each = |row: Row<'_>| {
            each(row).map(|it| Wanted { looked_at: it.looked_at.min(CELLS_MAX), ..it })
        };
        let limit = FRONT + ROW_MAX_BYTES;
        let mut wanted = Wanted { looked_at: CELLS_MAX, cells: 0 };
        let mut filled = FRONT;
        let mut passing_over = false;
        loop {
            let room = self.bytes.get_mut(filled..limit).unwrap_or_default();
            if room.is_empty() {
                // A line end is here only if lines wait to be joined with those to come.
                if self.bytes[FRONT..limit].contains(&b'\n') {
                    let rest = self.scan(filled, Lines::AllThereAre, &mut wanted, &mut each);
                    let Some(rest) = rest else { return Ok(()) };
                    filled = self.keep(rest, filled);
                    continue;
                }
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
                self.scan_end(filled, &mut wanted, &mut each);
                return Ok(());
            }
            filled += count;
            if passing_over {
                let Some(end) = self.bytes[FRONT..filled].iter().position(|b| *b == b'\n') else {
                    filled = FRONT;
                    continue;
                };
                (passing_over, filled) = (false, self.keep(FRONT + end + 1, filled));
            }
            let Some(rest) = self.scan(filled, Lines::MoreFollow, &mut wanted, &mut each) else {
                return Ok(());
            };
            filled = self.keep(rest, filled);
        }
    }

    /// Moves what begins at `rest` to the front and returns where it ends then.
    fn keep(&mut self, rest: usize, filled: usize) -> usize {
        self.bytes.copy_within(rest..filled, FRONT);
        FRONT + (filled - rest)
    }

    /// Gives the rows of the file's end, whose last line may be cut.
    fn scan_end(
        &mut self,
        filled: usize,
        wanted: &mut Wanted,
        mut each: impl FnMut(Row<'_>) -> Option<Wanted>,
    ) {
        if filled == FRONT {
            return;
        }
        let is_cut = self.bytes[filled - 1] != b'\n';
        let end = filled + usize::from(is_cut);
        self.bytes[end - 1] = b'\n';
        let each = |row: Row<'_>| {
            let ends_here = is_cut && row.end + 1 == end;
            each(Row { fault: row.fault.or(ends_here.then_some(RowFault::Cut)), ..row })
        };
        self.scan(end, Lines::AllThereAre, wanted, each);
    }

    /// Gives every complete row before `filled` and returns where the incomplete one begins; `None`
    /// if told to stop.
    fn scan(
        &mut self,
        filled: usize,
        lines: Lines,
        wanted: &mut Wanted,
        mut each: impl FnMut(Row<'_>) -> Option<Wanted>,
    ) -> Option<usize> {
        let Self { bytes, ends } = self;
        let mut begin = FRONT;
        let mut cells = 0;
        let mut quoted = false;
        let mut at = FRONT;
        'blocks: while at < filled {
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
                if cells < wanted.looked_at {
                    write_positions(found, at, ends[cells..].first_chunk_mut()?);
                }
                cells += found.count_ones() as usize;
                if line_end == 0 {
                    break;
                }
                commas &= !before;
                line_ends ^= line_end;
                let end = at + line_end.trailing_zeros() as usize;
                let is_open = open & line_end != 0;
                if is_open {
                    match join(&bytes[..filled], begin, *wanted, ends) {
                        Joined::Row { end, cells: count } => {
                            let ends = &ends[..count.min(wanted.looked_at)];
                            let row =
                                Row { text: bytes, begin, end, cells: count, ends, fault: None };
                            *wanted = each(row)?;
                            (begin, at) = (end + 1, end + 1);
                            (cells, quoted) = (0, false);
                            continue 'blocks;
                        }
                        Joined::NotYet if lines == Lines::MoreFollow => return Some(begin),
                        Joined::NotYet | Joined::Never => {}
                    }
                }
                if cells < wanted.looked_at {
                    ends[cells] = end as u32;
                }
                cells += 1;
                let fault = match (is_open, cells > CELLS_MAX) {
                    (true, _) => Some(RowFault::OpenQuote),
                    (_, true) => Some(RowFault::TooManyCells),
                    _ => None,
                };
                let ends = &ends[..cells.min(wanted.looked_at)];
                *wanted = each(Row { text: bytes, begin, end, cells, ends, fault })?;
                begin = end + 1;
                cells = 0;
            }
            at += BLOCK;
        }
        Some(begin)
    }
}

/// Whether lines can come behind those in the buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lines {
    MoreFollow,
    /// None come, or none that the buffer has room for.
    AllThereAre,
}

/// What a line whose quote is open becomes together with the lines behind it.
#[derive(Debug, PartialEq, Eq)]
enum Joined {
    /// One row, which ends here.
    Row { end: usize, cells: usize },
    /// More lines are needed to tell.
    NotYet,
    /// No row: the quote is not closed in time, or the number of cells is another one.
    Never,
}

/// Looks for the end of a row of several lines byte by byte: such rows are rare. A quote opens at a
/// cell's beginning and closes at its end, or two damaged lines could make one row. Writes the
/// positions of the row's cells, which a row of one line overwrites.
#[cold]
fn join(text: &[u8], begin: usize, wanted: Wanted, ends: &mut [u32]) -> Joined {
    if wanted.cells == 0 {
        return Joined::Never;
    }
    let (mut quoted, mut cells, mut lines) = (false, 0, 0);
    let mut cell_begin = begin;
    let mut at = begin;
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' if !quoted && at == cell_begin => quoted = true,
            b'"' if !quoted => return Joined::Never,
            b'"' => match text.get(at + 1) {
                // A doubled quote is one of the text.
                Some(b'"') => at += 1,
                Some(b',' | b'\n') => quoted = false,
                Some(_) => return Joined::Never,
                None => return Joined::NotYet,
            },
            b',' | b'\n' if !quoted => {
                if let Some(end) = ends.get_mut(cells).filter(|_| cells < wanted.looked_at) {
                    *end = at as u32;
                }
                cells += 1;
                if *byte == b'\n' {
                    let empty_last = usize::from(at == cell_begin);
                    let fits = cells - empty_last == wanted.cells;
                    return if fits { Joined::Row { end: at, cells } } else { Joined::Never };
                }
                // One more is the empty cell behind the last comma.
                if cells > wanted.cells {
                    return Joined::Never;
                }
                cell_begin = at + 1;
            }
            b'\n' => {
                lines += 1;
                if lines == JOINED_LINES_MAX {
                    return Joined::Never;
                }
            }
            _ => {}
        }
        at += 1;
    }
    Joined::NotYet
}

/// Writes where the bits are, counted from `at`. Four go at a time, the last of them perhaps for
/// nothing: a test after each would cost more.
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

/// The commas that part cells, the line ends that cut a quote short, and whether a quote is open at
/// the end of the block.
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
mod tests;
