//! Rows of any text, compared with a slow twin that reads byte by byte.

use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};

use super::{Buffer, CELLS_MAX, JOINED_LINES_MAX, ROW_MAX_BYTES, Request, RowFault};

type Seen = Vec<(Vec<Vec<u8>>, Option<RowFault>)>;

fn fast(text: &[u8]) -> Seen {
    fast_of(text, &[CELLS_MAX])
}

/// Requests the positions of so many cells for each row, in turn, and all for the first row, which
/// determines how many cells a row of several lines must have.
fn fast_of(mut text: &[u8], positions: &[usize]) -> Seen {
    let mut seen: Seen = Vec::new();
    let positions_of =
        |row: usize| if row == 0 { CELLS_MAX } else { positions[row % positions.len()] };
    let mut width = 0;
    let read = Buffer::new().rows(&mut text, |row| {
        let expected = match row.fault {
            Some(RowFault::TooLong) => CELLS_MAX,
            _ => positions_of(seen.len()),
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
        // Not all cells of a row that is too long are known.
        let unknown = matches!(row.fault, Some(RowFault::TooManyCells | RowFault::TooLong));
        let cells: Vec<_> = if unknown { vec![] } else { cells.collect() };
        if seen.is_empty() {
            width = width_of(&cells);
        }
        seen.push((cells, row.fault));
        Some(Request { positions: positions_of(seen.len()), cells: width })
    });
    read.unwrap();
    seen
}

/// How many cells there are, without the empty cell after a last comma.
fn width_of(cells: &[Vec<u8>]) -> usize {
    cells.len() - usize::from(cells.len() > 1 && cells.last().unwrap().is_empty())
}

/// The cells of a row, and whether a quote is open at its end.
fn cells_of(row: &[u8]) -> (Vec<Vec<u8>>, bool) {
    let (mut cells, mut quoted) = (vec![vec![]], false);
    for byte in row {
        quoted ^= *byte == b'"';
        match (byte, quoted) {
            (b',', false) => cells.push(vec![]),
            _ => cells.last_mut().unwrap().push(*byte),
        }
    }
    (cells, quoted)
}

/// Whether a cell has no quotes, or quotes around it and only doubled quotes in it.
fn is_well_quoted(cell: &[u8]) -> bool {
    let text = String::from_utf8_lossy(cell);
    let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    !inner.unwrap_or(&text).replace("\"\"", "").contains('"')
        && (inner.is_some() || !text.contains('"'))
}

/// How many of these lines make one row of `width` cells.
fn joined(lines: &[&[u8]], width: usize) -> Option<usize> {
    let most = lines.len().min(JOINED_LINES_MAX);
    let closed = (2..=most).find(|count| !cells_of(&lines[..*count].join(&b'\n')).1)?;
    let (cells, _) = cells_of(&lines[..closed].join(&b'\n'));
    let fits = width > 0 && width_of(&cells) == width;
    (fits && cells.iter().all(|cell| is_well_quoted(cell))).then_some(closed)
}

/// The slow twin: it reads byte by byte, in the simplest way.
fn slow(text: &[u8]) -> Seen {
    let mut seen: Seen = Vec::new();
    let mut lines: Vec<_> = text.split(|byte| *byte == b'\n').collect();
    let is_cut = lines.pop_if(|last| last.is_empty()).is_none();
    let mut rest = &lines[..];
    while !rest.is_empty() {
        let width = seen.first().map_or(0, |(cells, _)| width_of(cells));
        let is_open = cells_of(rest[0]).1;
        let count = if is_open { joined(rest, width) } else { None };
        let row = rest[..count.unwrap_or(1)].join(&b'\n');
        rest = &rest[count.unwrap_or(1)..];
        let (mut cells, quoted) = cells_of(&row);
        let fault = match (quoted, cells.len() > CELLS_MAX, is_cut && rest.is_empty()) {
            _ if row.len() >= ROW_MAX_BYTES => Some(RowFault::TooLong),
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

/// Mostly rows of four cells, which can be quoted and have line ends.
fn rows_of_lines() -> impl Strategy<Value = Vec<u8>> {
    let cell = prop_oneof![
        4 => "[0-9]{0,3}", 3 => "\"[a,\n]{0,30}\"", 1 => "\"[a\n]{0,9}(\"\")?[\n,]{0,9}\"",
        1 => "\"[\n]{0,20}", 1 => "[0-9\n,]{0,5}"
    ];
    let row = proptest::collection::vec(cell, 3..=3).prop_map(|cells| cells.join(",") + ",9,");
    let rows = proptest::collection::vec(row, 0..40);
    (rows, "\n?").prop_map(|(rows, end)| format!("a,b,c,d,\n{}{end}", rows.join("\n")).into())
}

/// Rows of several blocks each.
fn long_rows() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        400 => Just(b','), 4 => Just(b'\n'), 1 => Just(b'"'), 400 => b'0'..=b'9', 4 => any::<u8>()
    ];
    proptest::collection::vec(byte, 0..2000)
}

proptest! {
    /// Any bytes give the same rows, cells and faults as the slow twin.
    #[test]
    fn any_text_reads_as_the_slow_twin_reads_it(text in text()) {
        assert_eq!(fast(&text), slow(&text));
    }

    /// A quoted cell of several lines is in one row, wherever the reads and the buffer end.
    #[test]
    fn rows_of_several_lines_read_as_the_slow_twin_reads_them(text in rows_of_lines()) {
        assert_eq!(fast(&text), slow(&text));
    }

    /// A caller that requests few positions gets the same ones as a caller that requests all.
    #[test]
    fn what_is_not_looked_at_changes_nothing(
        text in long_rows(),
        positions in proptest::collection::vec(0..90_usize, 1..5),
    ) {
        let mut expected = slow(&text);
        for (row, (cells, _)) in expected.iter_mut().enumerate().skip(1) {
            cells.truncate(positions[row % positions.len()]);
        }
        assert_eq!(fast_of(&text, &positions), expected);
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
fn a_quote_that_is_never_closed_costs_its_row_and_no_other() {
    let good = "1,\"L7OK\",3,\n";
    let faults = |middle: &str| {
        let text = format!("a,b,c,\n{good}{middle}{}", good.repeat(JOINED_LINES_MAX + 2));
        let seen = fast(text.as_bytes());
        assert_eq!(seen, slow(text.as_bytes()));
        seen.iter().filter(|(_, fault)| fault.is_some()).count()
    };
    assert_eq!(faults("1,\"one\r\n\r\ntwo \"\"quoted\"\"\",3,\n"), 0, "a row of three lines");
    assert_eq!(faults("1,\"one,3,\n"), 1);
    // The second quote closes the first, and the cells are too many.
    assert_eq!(faults("1,\"one,3,\n1,2\",3,4,\n"), 2);
    let fill = |count| format!("1,\"{}\",3,\n", "x\n".repeat(count));
    assert_eq!(faults(&fill(JOINED_LINES_MAX - 1)), 0);
    assert!(faults(&fill(JOINED_LINES_MAX)) > 0);
}

#[test]
fn lines_are_joined_over_the_end_of_the_buffer_and_only_as_far_as_it_has_room() {
    let row = "1,\"x\ny\",3,\n";
    let text = format!("a,b,c,\n{}", row.repeat(3 * ROW_MAX_BYTES / row.len()));
    assert_eq!(fast(text.as_bytes()), slow(text.as_bytes()));
    let long = "x".repeat(ROW_MAX_BYTES - 10);
    let text = format!("a,b,c,\n1,\"{long}\n{long}\",3,\n1,2,3,\n");
    let seen = fast(text.as_bytes());
    assert_eq!(seen.first().map(|(_, fault)| *fault), Some(None));
    assert_eq!(seen.last().map(|(cells, fault)| (cells.len(), *fault)), Some((4, None)));
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
        Some(Request { positions: 0, cells: 0 })
    };
    Buffer::new().rows(&mut Drip(text), each).unwrap();
    assert_eq!(seen, slow(text).iter().map(|(c, f)| (c.len(), *f)).collect::<Vec<_>>());
}
