//! Where a batch's lines come from: memory, or a file of the outbox that is decompressed on the way, so that neither needs a copy of the other.

use std::io::{self, BufRead};

/// The lines of a batch, which can be read more than once: after a fault the whole batch goes again.
pub trait Lines: std::fmt::Debug {
    /// How many bytes they have.
    fn bytes(&self) -> u64;

    /// The lines from their beginning.
    ///
    /// # Errors
    ///
    /// They cannot be read, or are not what was written.
    fn open(&self) -> io::Result<Box<dyn BufRead + '_>>;
}

impl Lines for &[u8] {
    fn bytes(&self) -> u64 {
        self.len() as u64
    }

    fn open(&self) -> io::Result<Box<dyn BufRead + '_>> {
        Ok(Box::new(*self))
    }
}

impl Lines for Vec<u8> {
    fn bytes(&self) -> u64 {
        self.len() as u64
    }

    fn open(&self) -> io::Result<Box<dyn BufRead + '_>> {
        Ok(Box::new(self.as_slice()))
    }
}
