//! The lines of a batch: a batch that is encoded, lines in memory, or a file of the outbox that is
//! decompressed. Lines are made while they are read, so that no process needs a copy of all.

use std::io::{self, BufRead, BufReader, ErrorKind, Write};

use crate::Loss;

/// The lines of a batch. They can be read several times, because a failed batch is sent again
/// whole.
pub trait Lines: std::fmt::Debug {
    /// How many bytes the lines have, if that is known before they are read.
    fn bytes(&self) -> Option<u64> {
        None
    }

    /// The lines from their beginning.
    ///
    /// # Errors
    ///
    /// They cannot be read, or are damaged.
    fn open(&self) -> io::Result<Box<dyn LineReader + '_>>;
}

/// Lines that are read.
pub trait LineReader: BufRead {
    /// The lines that were left out so far, because they are longer than the receiver takes.
    fn long_lines(&self) -> Loss {
        Loss::default()
    }
}

impl LineReader for &[u8] {}

impl<R: io::Read> LineReader for BufReader<R> {}

impl Lines for Vec<u8> {
    fn bytes(&self) -> Option<u64> {
        Some(self.len() as u64)
    }

    fn open(&self) -> io::Result<Box<dyn LineReader + '_>> {
        Ok(Box::new(self.as_slice()))
    }
}

/// Writes all lines, in the pieces in which they come.
pub(crate) fn copy(lines: &dyn Lines, to: &mut impl Write) -> io::Result<()> {
    let mut source = lines.open()?;
    loop {
        let piece = match source.fill_buf() {
            Ok([]) => return Ok(()),
            Ok(piece) => piece,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        to.write_all(piece)?;
        let count = piece.len();
        source.consume(count);
    }
}
