//! The answers to `show stat`: the wanted cells of all files, in columns, by kind of proxy.
//!
//! Columns are found by their names in the header, never by position or version: HAProxy puts new
//! ones in the middle. What a row is says its `type`, because a listener can be called FRONTEND. A
//! damaged row costs itself, a damaged header its file. A column that a file lacks is null for its
//! rows; one that no file has is no column. A file that would make too many rows or names is left
//! out whole, as if it had never been read, so that the others still have room.

use std::io::Read;
use std::path::Path;

use daemon::file::{self, Limit, Links, ReadError};
use model::catalog::{self, Fold, Nature};

use crate::cells::{self, Cells};
use crate::codes::{self, Codes, Key, NAME_MAX_BYTES, NAMES_MAX, NAMES_MAX_BYTES, Refused};
use crate::findings::{self, Damage, Oddity};
use crate::rows::{Buffer, ROW_MAX_BYTES, Row, RowFault, Wanted};

/// Rows that a snapshot can have: 20 processes with 100,000 servers each.
const ROWS_MAX: usize = 2_000_000;

/// The magnitudes of cells are noted after so many rows: their columns still fit the second-level
/// cache of common processors.
const LOOK_ROWS: usize = 256;

/// The wanted columns of one kind of proxy and the rows that were found.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rows {
    pub(crate) plan: Vec<(&'static str, Fold)>,
    pub(crate) columns: Vec<Cells>,
    /// Whether any file had the column.
    pub(crate) seen: Vec<bool>,
    /// What the columns are.
    pub(crate) natures: Vec<Nature>,
    /// Each row's code.
    pub(crate) codes: Vec<u32>,
    /// Rows that were given no traffic, ascending: no value for the means that leave them out.
    pub(crate) idle: Vec<u32>,
    /// Of the current file: cell and column.
    targets: Vec<(usize, usize)>,
    /// Of the current file: the cell of `lbtot`.
    traffic: Option<usize>,
}

/// What reading a file came to, other than rows.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Rows that could not be used, and why the first of them could not.
    pub(crate) rows: Option<(usize, String)>,
    /// Cells that hold no number, and the first of them.
    pub(crate) cells: Option<(usize, String)>,
    /// Gauges that went below zero, and the first of them.
    pub(crate) below_zero: Option<(usize, String)>,
    /// Whether there is a row besides the header.
    pub(crate) has_rows: bool,
    /// Whether one of them could be used.
    is_used: bool,
    /// How many more rows the snapshot can have.
    room: usize,
}

impl Rows {
    /// Without rows, but with room for so many.
    pub(crate) fn new(plan: Vec<(&'static str, Fold)>, room: usize) -> Self {
        let nature = |name| catalog::nature(name).unwrap_or_else(|| catalog::daemon_nature(name));
        Self {
            columns: plan.iter().map(|_| Cells::with_capacity(room)).collect(),
            seen: vec![false; plan.len()],
            natures: plan.iter().map(|(name, _)| nature(name)).collect(),
            plan,
            codes: Vec::with_capacity(room),
            idle: Vec::new(),
            targets: Vec::new(),
            traffic: None,
        }
    }

    /// Returns the last cell that is looked at.
    fn begin_file(&mut self, header: &[&str]) -> usize {
        let cell = |name: &str| header.iter().position(|field| *field == name);
        self.targets.clear();
        self.traffic = cell("lbtot");
        for (column, (name, _)) in self.plan.iter().enumerate() {
            if let Some(cell) = cell(name) {
                self.targets.push((cell, column));
                self.seen[column] = true;
                // Earlier files can have lacked the column: their rows have no value in it.
                self.columns[column].pad(self.codes.len());
            }
        }
        let cells = self.targets.iter().map(|(cell, _)| *cell).chain(self.traffic);
        cells.max().unwrap_or_default()
    }

    /// Forgets the rows from `rows` on, and the columns that they were the first to have.
    fn roll_back(&mut self, rows: usize, seen: Vec<bool>) {
        for column in &mut self.columns {
            column.truncate(rows);
        }
        self.seen = seen;
        self.codes.truncate(rows);
        self.idle.truncate(self.idle.partition_point(|row| (*row as usize) < rows));
    }

    #[inline]
    fn push(&mut self, row: Row<'_>, code: u32, outcome: &mut Outcome) {
        let at = self.codes.len() as u32;
        self.codes.push(code);
        for &(cell, column) in &self.targets {
            let (begin, end) = bounds(row, cell);
            let cells = &mut self.columns[column];
            match cells::digits(row.text, begin, end) {
                Some(value) => cells.push_digits(value),
                None => {
                    let field = (self.plan[column].0, self.natures[column]);
                    push_other(cells, field, &row.text[begin..end], outcome);
                }
            }
        }
        let traffic = self.traffic.is_some_and(|cell| {
            let (begin, end) = bounds(row, cell);
            const MOST: i128 = u64::MAX as i128;
            match cells::digits(row.text, begin, end) {
                Some(value) => value > 0,
                None => matches!(cells::other(&row.text[begin..end]), Some(1..=MOST)),
            }
        });
        if !traffic {
            self.idle.push(at);
        }
        if self.codes.len().is_multiple_of(LOOK_ROWS) {
            self.columns.iter_mut().for_each(Cells::look);
        }
    }
}

/// A cell that is not up to 16 plain digits: a number all the same, or none. A gauge goes below
/// zero only by a fault of HAProxy's.
#[cold]
fn push_other(
    cells: &mut Cells,
    (field, nature): (&str, Nature),
    cell: &[u8],
    outcome: &mut Outcome,
) {
    const BELOW_ZERO: std::ops::RangeInclusive<i128> = 1 << 63..=u64::MAX as i128;
    let taken = match cells::other(cell) {
        Some(value) if nature.is_gauge() && BELOW_ZERO.contains(&value) => {
            cells.push_null();
            outcome.gauge_below_zero(field, cell);
            true
        }
        Some(value) => cells.push_wide(value),
        None => {
            cells.push_null();
            false
        }
    };
    if !taken {
        outcome.bad_cell(field, cell);
    }
}

impl Outcome {
    #[cold]
    fn bad_row(&mut self, why: impl FnOnce() -> String) {
        self.rows.get_or_insert_with(|| (0, why())).0 += 1;
    }

    #[cold]
    fn bad_cell(&mut self, field: &str, cell: &[u8]) {
        let first =
            || format!("{field} is {:?}", String::from_utf8_lossy(&cell[..cell.len().min(40)]));
        self.cells.get_or_insert_with(|| (0, first())).0 += 1;
    }

    /// Whether a row could be used, or the file is a header without rows, which is sound too.
    pub(crate) const fn is_usable(&self) -> bool {
        self.is_used || !self.has_rows
    }

    /// What of the file could not be used.
    pub(crate) fn damage(&self, path: &Path) -> Option<Damage> {
        let rows = self
            .rows
            .as_ref()
            .map(|(count, why)| format!("{count} rows left out, the first since {why}"));
        let cells = self
            .cells
            .as_ref()
            .map(|(count, first)| format!("{count} cells are no numbers, the first: {first}"));
        let (state, reason) = match (rows, cells) {
            (None, None) => return None,
            (Some(rows), None) => (findings::OF_ROWS, rows),
            (None, Some(cells)) => (findings::OF_CELLS, cells),
            (Some(rows), Some(cells)) => (findings::OF_ROWS_AND_CELLS, format!("{rows}; {cells}")),
        };
        Some(Damage { path: path.to_owned(), state, reason })
    }

    /// What is odd about an endpoint's file.
    pub(crate) fn oddities(&self, endpoint: &str) -> impl Iterator<Item = Oddity> {
        let empty = (!self.has_rows).then(|| {
            let text = "its answer to show stat has a header and no rows: nothing of it counts";
            Oddity::new(endpoint, "no rows", text)
        });
        let below_zero = self.below_zero.as_ref().map(|(count, first)| {
            let text =
                format!("{count} gauges are below zero and count as no value, the first: {first}");
            Oddity::new(endpoint, "gauge below zero", text)
        });
        empty.into_iter().chain(below_zero)
    }

    fn gauge_below_zero(&mut self, field: &str, cell: &[u8]) {
        let first = || format!("{field} is {}", String::from_utf8_lossy(cell));
        self.below_zero.get_or_insert_with(|| (0, first())).0 += 1;
    }
}

/// The codes of all three kinds.
#[derive(Debug, Default)]
pub(crate) struct AllCodes {
    pub(crate) frontends: Codes,
    pub(crate) backends: Codes,
    pub(crate) servers: Codes,
}

/// The rows of all three kinds.
#[derive(Debug, Clone)]
pub(crate) struct AllRows {
    pub(crate) frontends: Rows,
    pub(crate) backends: Rows,
    pub(crate) servers: Rows,
}

impl AllRows {
    fn room(&self) -> usize {
        let kinds = [&self.frontends, &self.backends, &self.servers];
        ROWS_MAX.saturating_sub(kinds.map(|rows| rows.codes.len()).iter().sum())
    }
}

impl AllCodes {
    pub(crate) fn begin_snapshot(&mut self) {
        for codes in [&mut self.frontends, &mut self.backends, &mut self.servers] {
            codes.begin_snapshot();
        }
    }

    const fn begin_file(&mut self) {
        self.frontends.begin_file();
        self.backends.begin_file();
        self.servers.begin_file();
    }
}

/// What there was before a file.
#[derive(Debug)]
struct Before([(codes::Mark, usize, Vec<bool>); 3]);

impl Before {
    fn new(codes: &AllCodes, rows: &AllRows) -> Self {
        let of = |codes: &Codes, rows: &Rows| (codes.mark(), rows.codes.len(), rows.seen.clone());
        Self([
            of(&codes.frontends, &rows.frontends),
            of(&codes.backends, &rows.backends),
            of(&codes.servers, &rows.servers),
        ])
    }

    fn restore(self, codes: &mut AllCodes, rows: &mut AllRows) {
        let codes = [&mut codes.frontends, &mut codes.backends, &mut codes.servers];
        let rows = [&mut rows.frontends, &mut rows.backends, &mut rows.servers];
        for (((mark, length, seen), codes), rows) in self.0.into_iter().zip(codes).zip(rows) {
            codes.roll_back(mark);
            rows.roll_back(length, seen);
        }
    }
}

/// Adds one file's rows. A fault means that nothing of it is used.
pub(crate) fn read(
    path: &Path,
    limit: u64,
    buffer: &mut Buffer,
    codes: &mut AllCodes,
    rows: &mut AllRows,
) -> Result<Outcome, ReadError> {
    let limit = Limit { bytes: limit, name: "file-limit" };
    let mut file = file::open(path, limit, Links::Refuse)?;
    read_from(&mut file, buffer, codes, rows)
}

/// Likewise, of a file that is open.
pub(crate) fn read_from(
    file: &mut impl Read,
    buffer: &mut Buffer,
    codes: &mut AllCodes,
    rows: &mut AllRows,
) -> Result<Outcome, ReadError> {
    let mut outcome = Outcome { room: rows.room(), ..Outcome::default() };
    let mut header: Option<Header> = None;
    let mut refused = None;
    let before = Before::new(codes, rows);
    codes.begin_file();
    let end = buffer.rows(file, |row| {
        match &header {
            Some(header) => refused = header.take(row, codes, rows, &mut outcome).err(),
            // Some versions and proxies put an empty line before the header.
            None if line(row).trim_ascii().is_empty() && row.fault.is_none() => {
                return Some(Wanted { looked_at: usize::MAX, cells: 0 });
            }
            None => match Header::read(row) {
                Ok((mut found, names)) => {
                    for kind in [&mut rows.frontends, &mut rows.backends, &mut rows.servers] {
                        found.last = found.last.max(kind.begin_file(&names));
                    }
                    header = Some(found);
                }
                Err(why) => refused = Some(why),
            },
        }
        let header = header.as_ref().filter(|_| refused.is_none())?;
        Some(Wanted { looked_at: header.last + 1, cells: header.cells })
    });
    let error = match (refused, end) {
        (Some(why), _) => ReadError::Damage(why),
        (None, Err(error)) => ReadError::from(error),
        (None, Ok(())) if header.is_none() => ReadError::Damage("is empty".to_owned()),
        (None, Ok(())) => return Ok(outcome),
    };
    before.restore(codes, rows);
    Err(error)
}

/// What a row speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Frontend,
    Backend,
    Server,
    /// A listener, or something of a HAProxy to come.
    NoProxy,
}

/// A `type` that is empty or no number: HAProxy 2.3 mixed up the rows of two clients.
#[derive(Debug)]
struct NoType;

impl Kind {
    /// By its `type`; where the header has none (1.3), by its svname.
    #[inline]
    fn of(kind: Option<&[u8]>, svname: &[u8]) -> Result<Self, NoType> {
        Ok(match (kind, svname) {
            (Some(b"2"), _) => Self::Server,
            (Some(b"0"), _) | (None, b"FRONTEND") => Self::Frontend,
            (Some(b"1"), _) | (None, b"BACKEND") => Self::Backend,
            (None, _) => Self::Server,
            (Some(digits), _) if is_number(digits) => Self::NoProxy,
            (Some(_), _) => return Err(NoType),
        })
    }
}

fn is_number(cell: &[u8]) -> bool {
    !cell.is_empty() && cell.iter().all(u8::is_ascii_digit)
}

/// What a file's first row says about the others.
#[derive(Debug)]
struct Header {
    cells: usize,
    kind: Option<usize>,
    /// The last cell of a row that is looked at.
    last: usize,
}

impl Header {
    fn read(row: Row<'_>) -> Result<(Self, Vec<&str>), String> {
        let line = line(row);
        if row.fault == Some(RowFault::TooLong) {
            return Err(format!("begins with a row longer than {ROW_MAX_BYTES} bytes"));
        }
        let text =
            std::str::from_utf8(line).ok().filter(|text| text.starts_with("# pxname,svname,"));
        let Some(text) = text else {
            let begin = String::from_utf8_lossy(&line[..line.len().min(60)]);
            return Err(format!("does not begin with HAProxy's header but with {begin:?}"));
        };
        if row.fault.is_some() {
            return Err("is cut in its header".to_owned());
        }
        let names: Vec<_> =
            text.trim_start_matches("# ").trim_end_matches(',').split(',').collect();
        let kind = names.iter().position(|name| *name == "type");
        // The proxy and the server are the first two.
        let last = kind.unwrap_or_default().max(1);
        Ok((Self { cells: names.len(), kind, last }, names))
    }

    /// Puts a row where it belongs. An error costs the file.
    #[inline]
    fn take(
        &self,
        row: Row<'_>,
        codes: &mut AllCodes,
        rows: &mut AllRows,
        outcome: &mut Outcome,
    ) -> Result<(), String> {
        if row.end == row.begin {
            return Ok(());
        }
        outcome.has_rows = true;
        // Each row of HAProxy's ends with a comma, so that what comes after it is no cell.
        let cells = row.cells - usize::from(row.text[row.end - 1] == b',');
        if row.fault.is_some() || cells != self.cells {
            outcome.bad_row(|| self.why(row, cells));
            return Ok(());
        }
        let (svname_begin, svname_end) = bounds(row, 1);
        let svname = &row.text[svname_begin..svname_end];
        let kind =
            self.kind.map(|cell| bounds(row, cell)).map(|(begin, end)| &row.text[begin..end]);
        let key = &row.text[row.begin..svname_end];
        let (codes, rows, made_of) = match Kind::of(kind, svname) {
            Ok(Kind::Server) => (&mut codes.servers, &mut rows.servers, Key::ProxyAndServer),
            Ok(Kind::Frontend) => (&mut codes.frontends, &mut rows.frontends, Key::Proxy),
            Ok(Kind::Backend) => (&mut codes.backends, &mut rows.backends, Key::Proxy),
            Ok(Kind::NoProxy) => {
                outcome.is_used = true;
                return Ok(());
            }
            Err(NoType) => {
                outcome.bad_row(|| "its type is no number".to_owned());
                return Ok(());
            }
        };
        match codes.code(key, made_of) {
            Ok(_) if outcome.room == 0 => {
                return Err(format!(
                    "brings the snapshot to more than {ROWS_MAX} rows, which no HAProxy has"
                ));
            }
            Ok(code) => {
                outcome.room -= 1;
                outcome.is_used = true;
                rows.push(row, code, outcome);
            }
            Err(Refused::Name) => outcome.bad_row(|| {
                format!("a name is empty, no text or longer than {NAME_MAX_BYTES} bytes")
            }),
            Err(Refused::TooMany) => {
                return Err(format!(
                    "brings the snapshot to more than {NAMES_MAX} names of one kind, or more than \
                     {NAMES_MAX_BYTES} bytes of them"
                ));
            }
        }
        Ok(())
    }

    #[cold]
    fn why(&self, row: Row<'_>, cells: usize) -> String {
        match row.fault {
            Some(RowFault::Cut) => "the file is cut in it".to_owned(),
            Some(RowFault::OpenQuote) => "a quote is not closed".to_owned(),
            Some(RowFault::TooLong) => format!("it is longer than {ROW_MAX_BYTES} bytes"),
            Some(RowFault::TooManyCells) => format!("it has more than {} cells", self.cells),
            None => format!("it has {cells} cells and the header {}", self.cells),
        }
    }
}

fn line(row: Row<'_>) -> &[u8] {
    &row.text[row.begin..row.end]
}

#[inline]
fn bounds(row: Row<'_>, cell: usize) -> (usize, usize) {
    let begin = if cell == 0 { row.begin } else { row.ends[cell - 1] as usize + 1 };
    (begin, row.ends[cell] as usize)
}
