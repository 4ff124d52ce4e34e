//! Where a batch's lines come from: the batch itself, memory, or a file of the outbox that is decompressed on the way. They are
//! made as they are read, so that none needs a copy of the whole.

use std::io::{self, BufRead, ErrorKind, Write};

/// The lines of a batch, which can be read more than once: after a fault the whole batch goes again.
pub trait Lines: std::fmt::Debug {
    /// How many bytes they have, where that is known before they are read.
    fn bytes(&self) -> Option<u64>;

    /// The lines from their beginning.
    ///
    /// # Errors
    ///
    /// They cannot be read, or are not what was written.
    fn open(&self) -> io::Result<Box<dyn BufRead + '_>>;
}

impl Lines for &[u8] {
    fn bytes(&self) -> Option<u64> {
        Some(self.len() as u64)
    }

    fn open(&self) -> io::Result<Box<dyn BufRead + '_>> {
        Ok(Box::new(*self))
    }
}

impl Lines for Vec<u8> {
    fn bytes(&self) -> Option<u64> {
        Some(self.len() as u64)
    }

    fn open(&self) -> io::Result<Box<dyn BufRead + '_>> {
        Ok(Box::new(self.as_slice()))
    }
}

/// Writes all lines, by the pieces in which they come, and tells how many bytes that were.
pub(crate) fn copy(lines: &dyn Lines, to: &mut impl Write) -> io::Result<u64> {
    let mut source = lines.open()?;
    let mut bytes = 0;
    loop {
        let piece = match source.fill_buf() {
            Ok([]) => return Ok(bytes),
            Ok(piece) => piece,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        to.write_all(piece)?;
        let count = piece.len();
        bytes += count as u64;
        source.consume(count);
    }
}
