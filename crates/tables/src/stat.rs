//! The answers to `show stat`: the wanted cells of all files, in columns, by kind of proxy.
//!
//! Columns are found by their names in the header, never by position or version: HAProxy puts new ones in the middle. A damaged
//! row costs itself, a damaged header its file. A column that a file lacks is null for its rows; one that no file has is no
//! column.

use std::fs::File;
use std::io;
use std::path::Path;

use metric::catalog::Fold;

use crate::cells::{self, Cells, Odd};
use crate::codes::{Codes, Key};
use crate::rows::{Buffer, ROW_MAX_BYTES, Row, RowFault, Stop};

/// The wanted columns of one kind of proxy and the rows that were found.
#[derive(Debug)]
pub(crate) struct Rows {
    pub(crate) plan: Vec<(&'static str, Fold)>,
    pub(crate) columns: Vec<Cells>,
    /// Whether any file had the column.
    pub(crate) seen: Vec<bool>,
    /// Each row's code.
    pub(crate) codes: Vec<u32>,
    /// Rows that were given no traffic, ascending: no value for the means that leave them out.
    pub(crate) idle: Vec<u32>,
    /// Of the current file: cell and column.
    targets: Vec<(usize, usize)>,
    /// Of the current file: columns that it lacks.
    lacking: Vec<usize>,
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
}

impl Rows {
    pub(crate) fn new(plan: Vec<(&'static str, Fold)>) -> Self {
        Self {
            columns: vec![Cells::default(); plan.len()],
            seen: vec![false; plan.len()],
            plan,
            codes: Vec::new(),
            idle: Vec::new(),
            targets: Vec::new(),
            lacking: Vec::new(),
            traffic: None,
        }
    }

    fn begin_file(&mut self, header: &[&str]) {
        let cell = |name: &str| header.iter().position(|field| *field == name);
        self.targets.clear();
        self.lacking.clear();
        self.traffic = cell("lbtot");
        for (column, (name, _)) in self.plan.iter().enumerate() {
            match cell(name) {
                Some(cell) => {
                    self.targets.push((cell, column));
                    self.seen[column] = true;
                }
                None => self.lacking.push(column),
            }
        }
    }

    #[inline]
    fn push(&mut self, row: Row<'_>, code: u32, outcome: &mut Outcome) {
        let at = self.codes.len() as u32;
        self.codes.push(code);
        for &(cell, column) in &self.targets {
            let (begin, end) = bounds(row, cell);
            match cells::integer(row.text, begin, end) {
                Ok(value) => self.columns[column].push(value),
                Err(odd) => {
                    let cells = &mut self.columns[column];
                    let taken = match odd {
                        Odd::Integer(value) => cells.push_wide(value),
                        Odd::NoInteger => {
                            cells.push_null();
                            false
                        }
                    };
                    if !taken {
                        outcome.bad_cell(self.plan[column].0, &row.text[begin..end]);
                    }
                }
            }
        }
        for &column in &self.lacking {
            self.columns[column].push_null();
        }
        let traffic = self.traffic.is_some_and(|cell| {
            let (begin, end) = bounds(row, cell);
            !matches!(cells::integer(row.text, begin, end), Ok(..=0) | Err(Odd::NoInteger))
        });
        if !traffic {
            self.idle.push(at);
        }
    }
}

impl Outcome {
    #[cold]
    fn bad_row(&mut self, why: impl Into<String>) {
        self.rows.get_or_insert_with(|| (0, why.into())).0 += 1;
    }

    #[cold]
    fn bad_cell(&mut self, field: &str, cell: &[u8]) {
        let first =
            || format!("{field} is {:?}", String::from_utf8_lossy(&cell[..cell.len().min(40)]));
        self.cells.get_or_insert_with(|| (0, first())).0 += 1;
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
#[derive(Debug)]
pub(crate) struct AllRows {
    pub(crate) frontends: Rows,
    pub(crate) backends: Rows,
    pub(crate) servers: Rows,
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

/// Adds one file's rows. What is said to be wrong speaks of the file: `Err` means that nothing more of it can be used.
pub(crate) fn read(
    path: &Path,
    limit: u64,
    buffer: &mut Buffer,
    codes: &mut AllCodes,
    rows: &mut AllRows,
) -> Result<Outcome, String> {
    let mut file = open(path, limit)?;
    let mut outcome = Outcome::default();
    let mut header: Option<Header> = None;
    let mut refused = None;
    codes.begin_file();
    let end = buffer.rows(&mut file, |row| {
        match &header {
            Some(header) => header.take(row, codes, rows, &mut outcome),
            None => match Header::read(row) {
                Ok((found, names)) => {
                    for kind in [&mut rows.frontends, &mut rows.backends, &mut rows.servers] {
                        kind.begin_file(&names);
                    }
                    header = Some(found);
                }
                Err(why) => refused = Some(why),
            },
        }
        refused.is_none()
    });
    match (refused, end) {
        (Some(why), _) => Err(why),
        (_, Err(Stop::Io(error))) => Err(format!("cannot be read: {error}")),
        (_, Err(Stop::RowTooLong)) => {
            Err(format!("has a row longer than {ROW_MAX_BYTES} bytes, which HAProxy never writes"))
        }
        _ if header.is_none() => Err("is empty".to_owned()),
        _ => Ok(outcome),
    }
}

/// Opens a regular file of at most `limit` bytes.
pub(crate) fn open(path: &Path, limit: u64) -> Result<File, String> {
    let unreadable = |error: io::Error| format!("cannot be read: {error}");
    let metadata = std::fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() {
        return Err("is no regular file".to_owned());
    }
    if metadata.len() > limit {
        return Err(format!("has {} bytes, more than file-limit = {limit} allows", metadata.len()));
    }
    File::open(path).map_err(unreadable)
}

/// What a file's first row says about the others.
#[derive(Debug)]
struct Header {
    cells: usize,
    kind: Option<usize>,
}

impl Header {
    fn read(row: Row<'_>) -> Result<(Self, Vec<&str>), String> {
        let line = line(row);
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
        Ok((Self { cells: names.len(), kind }, names))
    }

    #[inline]
    fn take(&self, row: Row<'_>, codes: &mut AllCodes, rows: &mut AllRows, outcome: &mut Outcome) {
        let length = row.ends.len();
        let line_end = row.ends[length - 1] as usize;
        if line_end == row.begin {
            return;
        }
        // Each row of HAProxy's ends with a comma, so that its last end is that of no cell.
        let cells = if row.text[line_end - 1] == b',' { length - 1 } else { length };
        if row.fault.is_some() || cells != self.cells {
            return outcome.bad_row(self.why(row, cells));
        }
        let (svname_begin, svname_end) = bounds(row, 1);
        let svname = &row.text[svname_begin..svname_end];
        let kind =
            self.kind.map(|cell| bounds(row, cell)).map(|(begin, end)| &row.text[begin..end]);
        let key = &row.text[row.begin..svname_end];
        let (codes, rows, made_of) = match (kind, svname) {
            (Some(b"2"), _) => (&mut codes.servers, &mut rows.servers, Key::ProxyAndServer),
            (_, b"FRONTEND") => (&mut codes.frontends, &mut rows.frontends, Key::Proxy),
            (_, b"BACKEND") => (&mut codes.backends, &mut rows.backends, Key::Proxy),
            _ => return,
        };
        match codes.code(key, made_of) {
            Ok(code) => rows.push(row, code, outcome),
            Err(_) => outcome.bad_row("a name is empty or no text"),
        }
    }

    #[cold]
    fn why(&self, row: Row<'_>, cells: usize) -> String {
        match row.fault {
            Some(RowFault::Cut) => "the file is cut in it".to_owned(),
            Some(RowFault::OpenQuote) => "a quote is not closed".to_owned(),
            Some(RowFault::TooManyCells) => format!("it has more than {} cells", self.cells),
            None => format!("it has {cells} cells and the header {}", self.cells),
        }
    }
}

fn line(row: Row<'_>) -> &[u8] {
    let end = row.ends.last().map_or(row.begin, |end| *end as usize);
    &row.text[row.begin..end]
}

#[inline]
fn bounds(row: Row<'_>, cell: usize) -> (usize, usize) {
    let begin = if cell == 0 { row.begin } else { row.ends[cell - 1] as usize + 1 };
    (begin, row.ends[cell] as usize)
}
