//! The answers to `show stat`: the planned cells of all files, in columns, by kind of proxy.
//!
//! Columns are found by their names in the header, not by position or version, because HAProxy
//! inserts new columns in the middle. The kind of a row is its `type`, because a listener can be
//! named FRONTEND. A damaged row is left out, and a file with a damaged header too. If a file lacks
//! a column, its rows have null there; a column that no file has is left out. A file with too many
//! rows or names is left out whole, so that the other files have room.

mod new_columns;
mod old;
mod report;

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use daemon::file::{self, Limit, Links, ReadError};
use model::Nature;

pub(crate) use self::new_columns::Joining;
pub(crate) use self::report::FileReport;
use crate::Generation;
use crate::cells::{self, Cells};
use crate::codes::{self, Codes, NAME_MAX_BYTES, NAMES_MAX, NAMES_MAX_BYTES, NameCells, NameError};
use crate::columns::Planned;
use crate::rows::{Buffer, CELLS_MAX, ROW_MAX_BYTES, Request, Row, RowFault};
use crate::states::States;

/// Rows that a snapshot can have: 20 processes with 100,000 servers each.
const ROWS_MAX: usize = 2_000_000;

/// Rows that are appended to their columns together. Each row is written in one piece first: to
/// write each cell into a column of its own means a cache miss for almost every cell.
const BLOCK_ROWS: usize = 32;

/// The planned columns of one kind of proxy, with the rows that were read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rows {
    pub(crate) plan: Vec<Planned>,
    /// Which new columns join the plan where a file has them.
    pub(crate) joining: Joining,
    /// New columns that hold a text, each with the first row that has one.
    pub(crate) texts: Vec<(Arc<str>, u32)>,
    /// The states of the rows.
    pub(crate) states: States,
    /// Rows of old workers: from, and up to but not including.
    pub(crate) old: Vec<(u32, u32)>,
    pub(crate) columns: Vec<Cells>,
    /// Whether any file had the column.
    pub(crate) seen: Vec<bool>,
    /// The codes of the rows.
    pub(crate) codes: Vec<u32>,
    /// Rows without traffic, ascending, which [`Fold::MeanWithTraffic`] leaves out.
    pub(crate) idle: Vec<u32>,
    /// The cells of the current file that are read, each with its column.
    targets: Vec<(usize, usize)>,
    /// The same for new columns, which may hold texts.
    new_targets: Vec<(usize, usize)>,
    /// The cell of `lbtot` in the current file.
    traffic: Option<usize>,
    /// The targets of the last rows, row by row, before they are appended to their columns.
    block: Vec<i64>,
    /// How many rows the block has.
    block_rows: usize,
}

impl Rows {
    /// No rows, with capacity for `capacity` rows.
    pub(crate) fn new(plan: Vec<Planned>, capacity: usize) -> Self {
        Self {
            columns: plan.iter().map(|_| Cells::with_capacity(capacity)).collect(),
            seen: vec![false; plan.len()],
            plan,
            joining: Joining::default(),
            texts: Vec::new(),
            states: States::default(),
            old: Vec::new(),
            codes: Vec::with_capacity(capacity),
            idle: Vec::new(),
            targets: Vec::new(),
            new_targets: Vec::new(),
            traffic: None,
            block: Vec::new(),
            block_rows: 0,
        }
    }

    /// Finds the cells of the columns, and returns the last cell that is read.
    fn begin_file(&mut self, header: &[&str]) -> usize {
        let cell = |name: &str| header.iter().position(|field| *field == name);
        self.targets.clear();
        self.new_targets.clear();
        self.traffic = cell("lbtot");
        self.join_new(header);
        for (column, Planned { name, is_new, .. }) in self.plan.iter().enumerate() {
            if let Some(cell) = cell(name) {
                let targets = if *is_new { &mut self.new_targets } else { &mut self.targets };
                targets.push((cell, column));
                self.seen[column] = true;
                // Rows of earlier files have null if their file lacked the column.
                self.columns[column].pad(self.codes.len());
            }
        }
        self.block.resize(BLOCK_ROWS * self.targets.len(), 0);
        let last_state = self.states.begin_file(header);
        let targets = self.targets.iter().chain(&self.new_targets).map(|(cell, _)| *cell);
        targets.chain(self.traffic).chain(last_state).max().unwrap_or_default()
    }

    /// Ends a file whose rows begin at `begin`.
    fn end_file(&mut self, begin: usize, generation: Generation) {
        self.end_block();
        self.states.end_file(generation);
        let (begin, end) = (begin as u32, self.codes.len() as u32);
        if generation == Generation::Old && begin < end {
            self.old.push((begin, end));
        }
    }

    /// Appends the rows of the block to their columns.
    fn end_block(&mut self) {
        let rows = std::mem::take(&mut self.block_rows);
        for (index, &(_, column)) in self.targets.iter().enumerate() {
            let rows = self.block.chunks_exact(self.targets.len()).take(rows);
            self.columns[column].extend(rows.map(|row| row[index]));
        }
    }

    /// Drops the rows from `rows` on, and restores the columns that were seen before.
    fn roll_back(&mut self, rows: usize, seen: Vec<bool>) {
        self.block_rows = 0;
        self.states.roll_back();
        self.texts.retain(|(_, row)| (*row as usize) < rows);
        // Columns that joined with the file leave with it.
        self.plan.truncate(seen.len());
        self.columns.truncate(seen.len());
        for column in &mut self.columns {
            column.truncate(rows);
        }
        self.seen = seen;
        self.codes.truncate(rows);
        self.idle.truncate(self.idle.partition_point(|row| (*row as usize) < rows));
    }

    #[inline]
    fn push(&mut self, row: Row<'_>, code: u32, report: &mut FileReport) {
        let at = self.codes.len() as u32;
        self.codes.push(code);
        let width = self.targets.len();
        let block = &mut self.block[self.block_rows * width..][..width];
        for (value, &(cell, column)) in block.iter_mut().zip(&self.targets) {
            let (begin, end) = bounds(row, cell);
            *value = match cells::digits(row.text, begin, end) {
                Some(value) => value as i64,
                None => {
                    let field = (&*self.plan[column].name, self.plan[column].nature);
                    let cells = &mut self.columns[column];
                    record_other(cells, at, field, &row.text[begin..end], report)
                }
            };
        }
        self.block_rows += 1;
        if !self.new_targets.is_empty() {
            self.push_new(row, at, report);
        }
        self.states.push(row, code);
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
        if self.block_rows == BLOCK_ROWS {
            self.end_block();
        }
    }
}

/// What HAProxy writes for a gauge below zero.
const BELOW_ZERO: std::ops::RangeInclusive<i128> = 1 << 63..=u64::MAX as i128;

/// Records a cell that is not up to 16 plain digits, and returns the value to append. A gauge below
/// zero is a bug of HAProxy.
#[cold]
fn record_other(
    cells: &mut Cells,
    at: u32,
    (field, nature): (&str, Nature),
    cell: &[u8],
    report: &mut FileReport,
) -> i64 {
    let number = cells::other(cell);
    let is_below_zero =
        nature.is_gauge() && number.is_some_and(|number| BELOW_ZERO.contains(&number));
    if is_below_zero {
        report.gauge_below_zero(field, cell);
        return cells.record(at, None).unwrap_or_default();
    }
    let value = cells.record(at, number);
    if value.is_none() {
        report.bad_cell(field, cell);
    }
    value.unwrap_or_default()
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

/// The sizes before a file, to roll back to.
#[derive(Debug)]
struct Checkpoint([(codes::Mark, usize, Vec<bool>); 3]);

impl Checkpoint {
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

/// Adds the rows of a file. After an error no row of it is used.
pub(crate) fn read(
    path: &Path,
    generation: Generation,
    limit: u64,
    buffer: &mut Buffer,
    codes: &mut AllCodes,
    rows: &mut AllRows,
) -> Result<FileReport, ReadError> {
    let limit = Limit { bytes: limit, name: "file-limit" };
    let mut file = file::open(path, limit, Links::Refuse)?;
    read_from(&mut file, generation, buffer, codes, rows)
}

/// Does the same with an open file.
pub(crate) fn read_from(
    file: &mut impl Read,
    generation: Generation,
    buffer: &mut Buffer,
    codes: &mut AllCodes,
    rows: &mut AllRows,
) -> Result<FileReport, ReadError> {
    let mut report = FileReport { room: rows.room(), ..FileReport::default() };
    let begins = [&rows.frontends, &rows.backends, &rows.servers].map(|rows| rows.codes.len());
    let mut header: Option<Header> = None;
    let mut refused = None;
    let checkpoint = Checkpoint::new(codes, rows);
    codes.begin_file();
    let end = buffer.rows(file, |row| {
        match &header {
            Some(header) => refused = header.add_row(row, codes, rows, &mut report).err(),
            // Some versions and proxies put an empty line before the header.
            None if line(row).trim_ascii().is_empty() && row.fault.is_none() => {
                return Some(Request { positions: usize::MAX, cells: 0 });
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
        Some(Request { positions: header.last + 1, cells: header.cells })
    });
    let error = match (refused, end) {
        (Some(why), _) => ReadError::Damage(why),
        (None, Err(error)) => ReadError::from(error),
        (None, Ok(())) if header.is_none() => ReadError::Damage("is empty".to_owned()),
        (None, Ok(())) => {
            let kinds = [&mut rows.frontends, &mut rows.backends, &mut rows.servers];
            for (kind, begin) in kinds.into_iter().zip(begins) {
                kind.end_file(begin, generation);
            }
            return Ok(report);
        }
    };
    checkpoint.restore(codes, rows);
    Err(error)
}

/// The kind of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RowKind {
    Frontend,
    Backend,
    Server,
    /// A listener, or an unknown kind of a future HAProxy.
    Other,
}

/// A `type` that is empty or no number, because HAProxy 2.3 mixed up the rows of two clients.
#[derive(Debug)]
struct InvalidType;

impl RowKind {
    /// The kind by `type`, or by svname if the header has no `type` (HAProxy 1.3).
    #[inline]
    fn of(kind: Option<&[u8]>, svname: &[u8]) -> Result<Self, InvalidType> {
        Ok(match (kind, svname) {
            (Some(b"2"), _) => Self::Server,
            (Some(b"0"), _) | (None, b"FRONTEND") => Self::Frontend,
            (Some(b"1"), _) | (None, b"BACKEND") => Self::Backend,
            (None, _) => Self::Server,
            (Some(digits), _) if is_number(digits) => Self::Other,
            (Some(_), _) => return Err(InvalidType),
        })
    }
}

fn is_number(cell: &[u8]) -> bool {
    !cell.is_empty() && cell.iter().all(u8::is_ascii_digit)
}

/// The header of a file.
#[derive(Debug)]
struct Header {
    cells: usize,
    /// The cell of `type`.
    kind: Option<usize>,
    /// The last cell of a row that is read.
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
        if row.fault == Some(RowFault::TooManyCells) {
            return Err(format!("has a header of more than {CELLS_MAX} columns"));
        }
        if row.fault.is_some() {
            return Err("is cut in its header".to_owned());
        }
        let names: Vec<_> =
            text.trim_start_matches("# ").trim_end_matches(',').split(',').collect();
        let kind = names.iter().position(|name| *name == "type");
        // The first two cells are the proxy and the server.
        let last = kind.unwrap_or_default().max(1);
        Ok((Self { cells: names.len(), kind, last }, names))
    }

    /// Adds a row to the rows of its kind. After an error the file is left out.
    #[inline]
    fn add_row(
        &self,
        row: Row<'_>,
        codes: &mut AllCodes,
        rows: &mut AllRows,
        report: &mut FileReport,
    ) -> Result<(), String> {
        if row.end == row.begin {
            return Ok(());
        }
        report.has_rows = true;
        // HAProxy ends each row with a comma, after which there is no cell.
        let cells = row.cells - usize::from(row.text[row.end - 1] == b',');
        if row.fault.is_some() || cells != self.cells {
            report.bad_row(|| self.why(row, cells));
            return Ok(());
        }
        let (svname_begin, svname_end) = bounds(row, 1);
        let svname = &row.text[svname_begin..svname_end];
        let kind =
            self.kind.map(|cell| bounds(row, cell)).map(|(begin, end)| &row.text[begin..end]);
        let key = &row.text[row.begin..svname_end];
        let (codes, rows, name_cells) = match RowKind::of(kind, svname) {
            Ok(RowKind::Server) => (&mut codes.servers, &mut rows.servers, NameCells::Both),
            Ok(RowKind::Frontend) => (&mut codes.frontends, &mut rows.frontends, NameCells::Proxy),
            Ok(RowKind::Backend) => (&mut codes.backends, &mut rows.backends, NameCells::Proxy),
            Ok(RowKind::Other) => {
                report.is_used = true;
                return Ok(());
            }
            Err(InvalidType) => {
                report.bad_row(|| "its type is no number".to_owned());
                return Ok(());
            }
        };
        match codes.code(key, name_cells) {
            Ok(_) if report.room == 0 => {
                return Err(format!(
                    "brings the snapshot to more than {ROWS_MAX} rows, which no HAProxy has"
                ));
            }
            Ok(code) => {
                report.room -= 1;
                report.is_used = true;
                rows.push(row, code, report);
            }
            Err(NameError::Invalid) => report.bad_row(|| {
                format!("a name is empty, no text or longer than {NAME_MAX_BYTES} bytes")
            }),
            Err(NameError::TooMany) => {
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
pub(crate) fn bounds(row: Row<'_>, cell: usize) -> (usize, usize) {
    let begin = if cell == 0 { row.begin } else { row.ends[cell - 1] as usize + 1 };
    (begin, row.ends[cell] as usize)
}
