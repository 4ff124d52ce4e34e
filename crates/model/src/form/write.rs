//! Writes a batch.

use std::io::{self, Write};

use super::{GROUP_MAX_BYTES, HEADER_MAX_BYTES, Header, MAGIC, VERSION, group, group_crc};
use crate::{Batch, Table, TableKind, Values};

/// Writes a batch in the oldest form that has its tables, and returns its header. Tables without
/// rows are left out.
///
/// ```
/// use haproxystats_model::form::{self, Reader};
/// use haproxystats_model::{Batch, SnapshotId, Timestamp};
///
/// let timestamp = Timestamp::of_seconds(1_700_000_000);
/// let id = SnapshotId { origin: "lb1".into(), timestamp, serial: 0 };
/// let mut bytes = Vec::new();
/// form::write(&Batch { id: id.clone(), tables: vec![] }, &mut bytes)?;
/// assert_eq!(Reader::new(bytes.as_slice())?.header().id, id);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// The system refuses bytes; or a row of the batch is larger than a row group may be, or a column
/// has another number of values than its table has rows.
pub fn write(batch: &Batch, to: &mut impl Write) -> io::Result<Header> {
    let ends = batch.tables.iter().map(group::ends).collect::<io::Result<Vec<_>>>()?;
    let groups = u32::try_from(ends.iter().map(Vec::len).sum::<usize>());
    let groups = groups.map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let header = Header { id: batch.id.clone(), points: batch.points(), groups };
    let version = if batch.tables.iter().any(needs_newest) { VERSION } else { 1 };
    write_header(&header, version, to)?;
    let mut body = Vec::with_capacity(GROUP_MAX_BYTES / 2);
    let mut number = 0;
    for (table, ends) in batch.tables.iter().zip(ends) {
        let mut begin = 0;
        for end in ends {
            group::write(table, begin, end, &mut body);
            number += 1;
            write_group(number, &body, to)?;
            begin = end;
        }
    }
    Ok(header)
}

fn needs_newest(table: &Table) -> bool {
    matches!(table.kind, TableKind::Other(_))
        || table.columns.iter().any(|column| matches!(column.values, Values::Numbers(_)))
}

fn write_header(header: &Header, version: u32, to: &mut impl Write) -> io::Result<()> {
    let json = serde_json::to_vec(header)?;
    let too_long = || {
        let why = "the header of a batch is too long: its origin is no name of a machine";
        io::Error::new(io::ErrorKind::InvalidInput, why)
    };
    let length = u32::try_from(json.len()).map_err(|_| too_long())?;
    if json.len() > HEADER_MAX_BYTES {
        return Err(too_long());
    }
    let mut bytes = MAGIC.to_vec();
    bytes.extend(version.to_le_bytes());
    bytes.extend(length.to_le_bytes());
    bytes.extend(crc32fast::hash(&json).to_le_bytes());
    bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
    bytes.extend(json);
    to.write_all(&bytes)
}

fn write_group(number: u32, body: &[u8], to: &mut impl Write) -> io::Result<()> {
    debug_assert!(body.len() <= GROUP_MAX_BYTES, "a group of {} bytes", body.len());
    let length = u32::try_from(body.len());
    let length = length.map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut prelude = length.to_le_bytes().to_vec();
    prelude.extend(crc32fast::hash(body).to_le_bytes());
    prelude.extend(group_crc(number, &prelude).to_le_bytes());
    to.write_all(&prelude)?;
    to.write_all(body)
}
