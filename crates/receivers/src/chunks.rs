//! Text that is made in chunks while it is read: the whole text of a batch would take ten times the
//! memory of the batch.

use std::io::{self, BufRead, Read};

use model::form;

use crate::{LineReader, Loss};

/// A chunk ends after the row that reaches this size, so that it still fits a write of 256 KiB.
const CHUNK_BYTES: usize = 240 * 1024;

/// The rows of a batch as text.
pub trait RowSource {
    /// Appends the text of the next row; false after the last row.
    ///
    /// # Errors
    ///
    /// The batch is damaged or cannot be read.
    fn push_next(&mut self, chunk: &mut Vec<u8>) -> Result<bool, form::Error>;

    /// The lines that were left out so far, because they are longer than the receiver takes.
    fn long_lines(&self) -> Loss {
        Loss::default()
    }
}

/// Reads the text of a source.
#[derive(Debug)]
pub struct ChunkReader<S> {
    pub(crate) source: S,
    chunk: Vec<u8>,
    /// How many bytes of the chunk were read.
    read: usize,
}

impl<S> ChunkReader<S> {
    pub(crate) fn of(source: S) -> Self {
        let chunk = Vec::with_capacity(CHUNK_BYTES + CHUNK_BYTES / 8);
        Self { source, chunk, read: 0 }
    }
}

impl<S: RowSource> BufRead for ChunkReader<S> {
    /// The chunk stays empty after the last row.
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.read >= self.chunk.len() {
            self.chunk.clear();
            self.read = 0;
            let invalid_data = |error| io::Error::new(io::ErrorKind::InvalidData, error);
            while self.chunk.len() < CHUNK_BYTES
                && self.source.push_next(&mut self.chunk).map_err(invalid_data)?
            {}
        }
        Ok(self.chunk.get(self.read..).unwrap_or_default())
    }

    fn consume(&mut self, count: usize) {
        self.read += count;
    }
}

impl<S: RowSource> LineReader for ChunkReader<S> {
    fn long_lines(&self) -> Loss {
        self.source.long_lines()
    }
}

impl<S: RowSource> Read for ChunkReader<S> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let mut chunk = self.fill_buf()?;
        let count = chunk.read(room)?;
        self.consume(count);
        Ok(count)
    }
}
