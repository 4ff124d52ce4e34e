//! The lines of a batch in the format of its receiver, made as they are read.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind};

use flate2::bufread::GzDecoder;
use model::{Batch, BatchCursor, Cursor, SnapshotId, form};
use receivers::graphite::{Encoder, Paths, ShortLines};
use receivers::influxdb::{InfluxLines, Schema};
use receivers::json::JsonRows;
use receivers::{LineReader, Lines, RowEncoder};

/// The format of a receiver's lines.
#[derive(Debug)]
pub(crate) enum Encoding {
    /// Graphite's plaintext protocol.
    Graphite(Paths),
    /// InfluxDB's line protocol.
    Influx(Schema),
    /// A JSON object for each row.
    Json,
}

const BUFFER_BYTES: usize = 64 << 10;

impl Encoding {
    fn open<'a>(
        &'a self,
        id: &'a SnapshotId,
        cursor: impl Cursor + 'a,
    ) -> io::Result<Box<dyn LineReader + 'a>> {
        match self {
            Self::Graphite(paths) => {
                Ok(Box::new(Encoder::new(paths, id, cursor).map_err(damaged)?))
            }
            Self::Influx(schema) => {
                let format = InfluxLines::new(schema, id);
                Ok(Box::new(RowEncoder::new(cursor, format).map_err(damaged)?))
            }
            Self::Json => {
                let format = JsonRows::new(id);
                Ok(Box::new(RowEncoder::new(cursor, format).map_err(damaged)?))
            }
        }
    }
}

/// The lines of a batch, made as they are read.
#[derive(Debug)]
pub(super) struct FormLines<'a> {
    pub(super) file: &'a File,
    pub(super) encoding: &'a Encoding,
    pub(super) id: &'a SnapshotId,
}

impl Lines for FormLines<'_> {
    fn open(&self) -> io::Result<Box<dyn LineReader + '_>> {
        let reader = form::Reader::new(form::FileView::new(self.file)).map_err(damaged)?;
        self.encoding.open(self.id, reader)
    }
}

/// The lines of a batch that is in memory.
#[derive(Debug)]
pub(super) struct DecodedLines<'a> {
    pub(super) batch: &'a Batch,
    pub(super) encoding: &'a Encoding,
}

impl Lines for DecodedLines<'_> {
    fn open(&self) -> io::Result<Box<dyn LineReader + '_>> {
        self.encoding.open(&self.batch.id, BatchCursor::new(self.batch))
    }
}

fn damaged(error: form::Error) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, error)
}

/// Graphite's lines that version 0.1.0 stored.
#[derive(Debug)]
pub(super) struct OldLines<'a> {
    pub(super) file: &'a File,
    /// Bytes of the longest line that the receiver takes.
    pub(super) max_line: Option<usize>,
}

impl OldLines<'_> {
    fn decoder(&self) -> GzDecoder<BufReader<form::FileView<'_>>> {
        let view = form::FileView::new(self.file);
        GzDecoder::new(BufReader::with_capacity(BUFFER_BYTES, view))
    }
}

impl Lines for OldLines<'_> {
    fn open(&self) -> io::Result<Box<dyn LineReader + '_>> {
        // Read all lines once before the first is sent, so that gzip's CRC is verified.
        let checked = io::copy(&mut self.decoder(), &mut io::sink());
        checked.map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
        let lines = BufReader::with_capacity(BUFFER_BYTES, self.decoder());
        Ok(match self.max_line {
            Some(max_bytes) => Box::new(ShortLines::new(lines, max_bytes)),
            None => Box::new(lines),
        })
    }
}
