//! The body of a row group, in versions 1 and 2 of the form.

use std::io;
use std::sync::Arc;

use super::arrays::{Defect, Input, push_array, push_integers, push_texts};
use super::{GROUP_BYTES, GROUP_MAX_BYTES};
use crate::catalog::{Fold, Nature};
use crate::column::is_number;
use crate::{Column, Integers, Layout, Names, Table, TableKind, Texts, Values};

/// The code of each kind of table, nature and fold is its position in these lists. Append only,
/// because disks have files of older programs.
const KINDS: [TableKind; 8] = TableKind::ALL;
/// The code of a table with a layout, which follows; since version 2.
const OTHER: u8 = 8;
const NATURES: [Nature; 9] = [
    Nature::Counter,
    Nature::Gauge,
    Nature::Rate,
    Nature::Limit,
    Nature::Maximum,
    Nature::Average,
    Nature::Age,
    Nature::Duration,
    Nature::Other,
];
const FOLDS: [Option<Fold>; 6] = [
    None,
    Some(Fold::Sum),
    Some(Fold::Mean),
    Some(Fold::MeanWithTraffic),
    Some(Fold::Largest),
    Some(Fold::Smallest),
];

/// The code of each kind of values.
const INTEGERS: u8 = 0;
const MEANS: u8 = 1;
const DECIMALS: u8 = 2;
const MILLISECONDS: u8 = 3;
const STATES: u8 = 4;
/// Since version 2.
const NUMBERS: u8 = 5;

/// Bytes of memory that a column takes besides its values and its name.
const COLUMN_BYTES: usize = 128;
/// Counted for each row besides its names and values, so that the number of rows is bounded too.
const ROW_BYTES: usize = 1;
/// Bytes of a layout, as JSON.
const LAYOUT_MAX_BYTES: usize = 4096;
/// A column's name is written with its length in one byte.
const COLUMN_NAME_MAX_BYTES: usize = 255;

fn code_of<T: PartialEq>(value: &T, all: &[T]) -> u8 {
    let position = all.iter().position(|other| other == value);
    position.and_then(|position| u8::try_from(position).ok()).unwrap_or(u8::MAX)
}

fn from_code<T: Clone>(code: u8, all: &[T], defect: Defect) -> Result<T, Defect> {
    all.get(usize::from(code)).cloned().ok_or(defect)
}

/// The row at which each group of a table ends, so that no group of several rows exceeds
/// [`GROUP_BYTES`].
pub(super) fn ends(table: &Table) -> io::Result<Vec<usize>> {
    let refused = |why| Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    let rows = table.names.len();
    let mut fixed = layout_bytes(&table.kind)?;
    let mut per_row = ROW_BYTES + 8 * table.names.labels();
    for column in &table.columns {
        let present = column.present.as_ref().map_or(rows, Vec::len);
        if column.values.len() != rows || present != rows {
            return refused("a column has another number of values than its table has rows");
        }
        if column.name.len() > COLUMN_NAME_MAX_BYTES {
            return refused("the name of a column is longer than 255 bytes");
        }
        fixed += COLUMN_BYTES + column.name.len();
        per_row += usize::from(column.present.is_some()) + bytes_per_row(&column.values);
    }
    let texts = table.columns.iter().filter_map(|column| match &column.values {
        Values::States(texts) | Values::Numbers(texts) => Some(texts),
        _ => None,
    });
    let texts: Vec<&Texts> = texts.collect();
    let mut ends = Vec::new();
    let mut used = fixed;
    let mut begin = 0;
    for row in 0..rows {
        let texts: usize = texts.iter().map(|texts| texts.bytes(row, row + 1)).sum();
        let bytes = per_row + table.names.bytes(row, row + 1) + texts;
        if fixed + bytes > GROUP_MAX_BYTES {
            return refused("a row takes more than a row group may");
        }
        if used + bytes > GROUP_BYTES && row > begin {
            ends.push(row);
            (begin, used) = (row, fixed);
        }
        used += bytes;
    }
    if begin < rows {
        ends.push(rows);
    }
    Ok(ends)
}

/// Bytes of the layout, which each group of the table has.
fn layout_bytes(kind: &TableKind) -> io::Result<usize> {
    let TableKind::Other(layout) = kind else { return Ok(0) };
    let bytes = serde_json::to_vec(layout.as_ref())?.len();
    if layout.is_sound() && bytes <= LAYOUT_MAX_BYTES {
        return Ok(bytes);
    }
    let why = format!("the layout of {:?} is not sound", layout.measurement);
    Err(io::Error::new(io::ErrorKind::InvalidInput, why))
}

fn write_kind(kind: &TableKind, body: &mut Vec<u8>) {
    let TableKind::Other(layout) = kind else { return body.push(code_of(kind, &KINDS)) };
    body.push(OTHER);
    // `layout_bytes` has made the same text before.
    let json = serde_json::to_vec(layout.as_ref()).unwrap_or_default();
    push_length(json.len(), body);
    body.extend(json);
}

fn read_kind(input: &mut Input<'_>) -> Result<TableKind, Defect> {
    let code = input.u8()?;
    if code != OTHER {
        return from_code(code, &KINDS, "there is no such kind of table");
    }
    let length = input.length()?;
    if length > LAYOUT_MAX_BYTES {
        return Err("its layout is longer than a layout may be");
    }
    let layout: Layout =
        serde_json::from_slice(input.bytes(length)?).map_err(|_| "its layout is none")?;
    if layout.is_sound() {
        Ok(TableKind::Other(Arc::new(layout)))
    } else {
        Err("its layout is none")
    }
}

/// Bytes of memory that each row of these values takes, without its text.
const fn bytes_per_row(values: &Values) -> usize {
    match values {
        Values::Integers(Integers::Narrow(_)) => 8,
        Values::Integers(Integers::Wide(_)) => 16,
        Values::Means { sums: Integers::Narrow(_), .. } => 8 + 4,
        Values::Means { sums: Integers::Wide(_), .. } => 16 + 4,
        Values::Decimals(_) | Values::Milliseconds(_) | Values::States(_) | Values::Numbers(_) => 8,
    }
}

/// Makes the body of the rows `from..to`.
pub(super) fn write(table: &Table, from: usize, to: usize, body: &mut Vec<u8>) {
    body.clear();
    write_kind(&table.kind, body);
    push_length(to - from, body);
    push_length(table.columns.len(), body);
    let labels = table.names.labels();
    push_texts(table.names.texts(), from * labels, to * labels, body);
    for column in &table.columns {
        write_column(column, from, to, body);
    }
}

fn push_length(length: usize, body: &mut Vec<u8>) {
    body.extend(u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
}

fn write_column(column: &Column, from: usize, to: usize, body: &mut Vec<u8>) {
    body.push(u8::try_from(column.name.len()).unwrap_or(u8::MAX));
    body.extend_from_slice(column.name.as_bytes());
    body.push(code_of(&column.nature, &NATURES));
    body.push(code_of(&column.fold, &FOLDS));
    let present = column.present.as_ref().and_then(|present| present.get(from..to));
    body.push(u8::from(present.is_some()));
    for flags in present.unwrap_or_default().chunks(8) {
        body.push(flags.iter().rev().fold(0, |bits, flag| bits << 1 | u8::from(*flag)));
    }
    match &column.values {
        Values::Integers(values) => {
            body.push(INTEGERS);
            push_integers(values, from, to, body);
        }
        Values::Means { sums, counts } => {
            body.push(MEANS);
            push_integers(sums, from, to, body);
            push_array(counts.get(from..to).unwrap_or_default(), body, u32::to_le_bytes);
        }
        Values::Decimals(values) => {
            body.push(DECIMALS);
            push_array(values.get(from..to).unwrap_or_default(), body, f64::to_le_bytes);
        }
        Values::Milliseconds(values) => {
            body.push(MILLISECONDS);
            push_array(values.get(from..to).unwrap_or_default(), body, u64::to_le_bytes);
        }
        Values::States(states) => {
            body.push(STATES);
            push_texts(states, from, to, body);
        }
        Values::Numbers(numbers) => {
            body.push(NUMBERS);
            push_texts(numbers, from, to, body);
        }
    }
}

/// Reads a body whose CRC is right.
pub(super) fn read(body: &[u8]) -> Result<Table, Defect> {
    let mut input = Input::new(body, GROUP_MAX_BYTES);
    let kind = read_kind(&mut input)?;
    let (rows, columns) = (input.length()?, input.length()?);
    let count = rows.checked_mul(kind.labels()).ok_or("it has too many rows")?;
    input.reserve(rows, ROW_BYTES)?;
    let names = Names::of_texts(&kind, rows, input.texts(count)?);
    input.reserve(columns, COLUMN_BYTES)?;
    let columns = (0..columns).map(|_| read_column(&mut input, rows)).collect::<Result<_, _>>()?;
    if !input.is_empty() {
        return Err("it is longer than it says");
    }
    Ok(Table { kind, names, columns })
}

fn read_column(input: &mut Input<'_>, rows: usize) -> Result<Column, Defect> {
    let length = usize::from(input.u8()?);
    input.reserve(length, 1)?;
    let name = str::from_utf8(input.bytes(length)?).map_err(|_| "a column's name is no text")?;
    let nature = from_code(input.u8()?, &NATURES, "there is no such nature")?;
    let fold = from_code(input.u8()?, &FOLDS, "there is no such fold")?;
    let present = match input.u8()? {
        0 => None,
        1 => {
            input.reserve(rows, 1)?;
            let bytes = input.bytes(rows.div_ceil(8))?;
            let mut flags = Vec::with_capacity(8 * bytes.len());
            for byte in bytes {
                let of_byte: [bool; 8] = std::array::from_fn(|bit| byte >> bit & 1 == 1);
                flags.extend_from_slice(&of_byte);
            }
            flags.truncate(rows);
            Some(flags)
        }
        _ => return Err("it does not say which rows have a value"),
    };
    let values = read_values(input, rows)?;
    let column = Column { name: name.to_owned(), nature, fold, values, present };
    let mut rows = 0..rows;
    let has_unsound = match &column.values {
        Values::Means { counts, .. } => {
            rows.any(|row| column.has(row) && counts.get(row) == Some(&0))
        }
        Values::Decimals(values) => {
            let is_sound = |row| values.get(row).is_some_and(|value: &f64| value.is_finite());
            rows.any(|row| column.has(row) && !is_sound(row))
        }
        Values::Numbers(numbers) => {
            rows.any(|row| column.has(row) && !numbers.get(row).is_some_and(is_number))
        }
        Values::Integers(_) | Values::Milliseconds(_) | Values::States(_) => false,
    };
    if has_unsound { Err("a value is no number") } else { Ok(column) }
}

fn read_values(input: &mut Input<'_>, rows: usize) -> Result<Values, Defect> {
    Ok(match input.u8()? {
        INTEGERS => {
            let width = input.u8()?;
            Values::Integers(input.integers(rows, width)?)
        }
        MEANS => {
            let width = input.u8()?;
            let sums = input.integers(rows, width)?;
            input.reserve(rows, 4)?;
            let counts = input.array(rows)?.iter().map(|it| u32::from_le_bytes(*it)).collect();
            Values::Means { sums, counts }
        }
        DECIMALS => {
            input.reserve(rows, 8)?;
            let values = input.array(rows)?;
            Values::Decimals(values.iter().map(|it| f64::from_le_bytes(*it)).collect())
        }
        MILLISECONDS => {
            input.reserve(rows, 8)?;
            let values = input.array(rows)?;
            Values::Milliseconds(values.iter().map(|it| u64::from_le_bytes(*it)).collect())
        }
        STATES => Values::States(input.texts(rows)?),
        NUMBERS => Values::Numbers(input.texts(rows)?),
        _ => return Err("there is no such kind of values"),
    })
}
