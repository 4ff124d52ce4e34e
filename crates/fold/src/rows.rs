//! Splits a file into rows, through one reused buffer, so that memory does not grow with the file.
//!
//! A comma between quotes does not end a cell, and a line end between quotes does not end a row,
//! because HAProxy before 3.0 writes the line ends of a check's expected string into `last_chk`.
//! But a quote that is never closed must damage only its own row. So lines are joined only if the
//! joined text closes the quote, has exactly the header's number of cells, and is at most
//! [`JOINED_LINES_MAX`] lines. The rest of a row that is too long for the buffer is skipped.
//!
//! All cells of a row are counted, but only the positions that the caller requests are written:
//! half of the columns of HAProxy 2.6 come after the last column of a plan, and to write a position
//! costs more than to find it.

use std::io::{self, Read};

use crate::separators::{self, BLOCK, Masks};

/// Bytes that a row can have at most.
pub(crate) const ROW_MAX_BYTES: usize = 256 * 1024;
/// Cells that a row can have at most; HAProxy 3.4 has 213.
pub(crate) const CELLS_MAX: usize = 1024;
/// Positions that are written together.
const SPARE: usize = 4;
/// Room for the positions of a block, and for the surplus positions that are written after them.
const ROOM: usize = BLOCK + SPARE;
/// Lines that one row can have. HAProxy cuts `last_chk` after some hundred bytes.
pub(crate) const JOINED_LINES_MAX: usize = 16;
/// Bytes before the text, so that the eight bytes before the end of any cell can be loaded.
const FRONT: usize = 16;

/// A row, as positions in the buffer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row<'a> {
    /// The whole buffer.
    pub(crate) text: &'a [u8],
    /// The position at which the row begins.
    pub(crate) begin: usize,
    /// The position at which the row ends.
    pub(crate) end: usize,
    /// How many cells it has; the last ends with the row.
    pub(crate) cells: usize,
    /// The positions at which the first cells end, as many as were requested.
    pub(crate) ends: &'a [u32],
    /// Why the row cannot be used.
    pub(crate) fault: Option<RowFault>,
}

/// The caller's request for the rows that follow.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request {
    /// How many cells need their positions, from the first cell on.
    pub(crate) positions: usize,
    /// How many cells a row has, without the empty cell after a last comma. Several lines are
    /// joined only to a row of so many cells; 0 joins no lines.
    pub(crate) cells: usize,
}

/// Why a row cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RowFault {
    /// The file ends in it.
    Cut,
    /// A quote is never closed.
    OpenQuote,
    /// The row has more than [`CELLS_MAX`] cells.
    TooManyCells,
    /// The row has more than [`ROW_MAX_BYTES`] bytes, and its cells are unknown.
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

    /// Calls `each` with every row, until the file ends or `each` returns `None`. The first row has
    /// the positions of all cells.
    pub(crate) fn rows(
        &mut self,
        file: &mut impl Read,
        mut each: impl FnMut(Row<'_>) -> Option<Request>,
    ) -> io::Result<()> {
        let mut each = |row: Row<'_>| {
            let Request { positions, cells } = each(row)?;
            Some(Request { positions: positions.min(CELLS_MAX), cells })
        };
        let limit = FRONT + ROW_MAX_BYTES;
        let mut request = Request { positions: CELLS_MAX, cells: 0 };
        let mut filled = FRONT;
        let mut skipping = false;
        loop {
            let room = self.bytes.get_mut(filled..limit).unwrap_or_default();
            if room.is_empty() {
                // The buffer has a line end only if its lines may be joined with further lines.
                if self.bytes[FRONT..limit].contains(&b'\n') {
                    let rest = self.scan(filled, Following::NoLines, &mut request, &mut each);
                    let Some(rest) = rest else { return Ok(()) };
                    filled = self.move_to_front(rest, filled);
                    continue;
                }
                let (text, ends) = (&self.bytes[..], &[limit as u32][..]);
                let fault = Some(RowFault::TooLong);
                let row = Row { text, begin: FRONT, end: limit, cells: 1, ends, fault };
                let Some(next) = each(row) else { return Ok(()) };
                (skipping, filled, request) = (true, FRONT, next);
                continue;
            }
            let count = match file.read(room) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            };
            if count == 0 {
                self.scan_end(filled, &mut request, &mut each);
                return Ok(());
            }
            filled += count;
            if skipping {
                let Some(end) = self.bytes[FRONT..filled].iter().position(|b| *b == b'\n') else {
                    filled = FRONT;
                    continue;
                };
                (skipping, filled) = (false, self.move_to_front(FRONT + end + 1, filled));
            }
            let Some(rest) = self.scan(filled, Following::Lines, &mut request, &mut each) else {
                return Ok(());
            };
            filled = self.move_to_front(rest, filled);
        }
    }

    /// Moves the bytes from `rest` on to the front and returns their new end.
    fn move_to_front(&mut self, rest: usize, filled: usize) -> usize {
        self.bytes.copy_within(rest..filled, FRONT);
        FRONT + (filled - rest)
    }

    /// Calls `each` with the last rows of the file, of which the last may be cut.
    fn scan_end(
        &mut self,
        filled: usize,
        request: &mut Request,
        mut each: impl FnMut(Row<'_>) -> Option<Request>,
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
        self.scan(end, Following::NoLines, request, each);
    }

    /// Calls `each` with every complete row before `filled` and returns the position of the
    /// incomplete row; `None` if `each` returns `None`.
    fn scan(
        &mut self,
        filled: usize,
        following: Following,
        request: &mut Request,
        mut each: impl FnMut(Row<'_>) -> Option<Request>,
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
                // All bits below the line end; all bits if there is no line end.
                let before = line_end.wrapping_sub(1);
                let found = commas & before;
                if cells < request.positions {
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
                    match join(&bytes[..filled], begin, *request, ends) {
                        Join::Row { end, cells: count } => {
                            let ends = &ends[..count.min(request.positions)];
                            let row =
                                Row { text: bytes, begin, end, cells: count, ends, fault: None };
                            *request = each(row)?;
                            (begin, at) = (end + 1, end + 1);
                            (cells, quoted) = (0, false);
                            continue 'blocks;
                        }
                        Join::Undecided if following == Following::Lines => return Some(begin),
                        Join::Undecided | Join::Impossible => {}
                    }
                }
                if cells < request.positions {
                    ends[cells] = end as u32;
                }
                cells += 1;
                let fault = match (is_open, cells > CELLS_MAX) {
                    (true, _) => Some(RowFault::OpenQuote),
                    (_, true) => Some(RowFault::TooManyCells),
                    _ => None,
                };
                let ends = &ends[..cells.min(request.positions)];
                *request = each(Row { text: bytes, begin, end, cells, ends, fault })?;
                begin = end + 1;
                cells = 0;
            }
            at += BLOCK;
        }
        Some(begin)
    }
}

/// Whether further lines can follow those in the buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Following {
    Lines,
    /// The file ends, or the buffer has no room.
    NoLines,
}

/// The result of joining a line whose quote is open with the lines after it.
#[derive(Debug, PartialEq, Eq)]
enum Join {
    /// One row, with the position of its end.
    Row { end: usize, cells: usize },
    /// More lines are needed.
    Undecided,
    /// The quote is not closed in time, or the number of cells is wrong.
    Impossible,
}

/// Searches the end of a row of several lines byte by byte, because such rows are rare. A quote
/// must open at a cell's beginning and close at its end, so that two damaged lines do not make one
/// row. Writes the positions of the row's cells; if there is no such row, the next row overwrites
/// them.
#[cold]
fn join(text: &[u8], begin: usize, request: Request, ends: &mut [u32]) -> Join {
    if request.cells == 0 {
        return Join::Impossible;
    }
    let (mut quoted, mut cells, mut lines) = (false, 0, 0);
    let mut cell_begin = begin;
    let mut at = begin;
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' if !quoted && at == cell_begin => quoted = true,
            b'"' if !quoted => return Join::Impossible,
            b'"' => match text.get(at + 1) {
                // A doubled quote is a quote in the text.
                Some(b'"') => at += 1,
                Some(b',' | b'\n') => quoted = false,
                Some(_) => return Join::Impossible,
                None => return Join::Undecided,
            },
            b',' | b'\n' if !quoted => {
                if cells < request.positions
                    && let Some(end) = ends.get_mut(cells)
                {
                    *end = at as u32;
                }
                cells += 1;
                if *byte == b'\n' {
                    let empty_last = usize::from(at == cell_begin);
                    let fits = cells - empty_last == request.cells;
                    return if fits { Join::Row { end: at, cells } } else { Join::Impossible };
                }
                // One cell more can be the empty cell after the last comma.
                if cells > request.cells {
                    return Join::Impossible;
                }
                cell_begin = at + 1;
            }
            b'\n' => {
                lines += 1;
                if lines == JOINED_LINES_MAX {
                    return Join::Impossible;
                }
            }
            _ => {}
        }
        at += 1;
    }
    Join::Undecided
}

/// Writes the positions of the bits, counted from `at`, four together. Surplus positions may be
/// written, because a test after each one would cost more.
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

/// The commas outside quotes, the line ends within quotes, and whether a quote is open at the end
/// of the block.
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
