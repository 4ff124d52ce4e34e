//! The lines of a stored batch, as a stream: 50 MB of them need no more memory than a few.
//!
//! The file is decompressed twice, first to nowhere (1 ms for each megabyte of lines), on one open
//! file: what is handed out afterwards has passed gzip's CRC and has the length that its name says.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::path::PathBuf;

use daemon::errno::Class;
use daemon::file::{self, Fault, Limit, Links};
use flate2::bufread::GzDecoder;

use super::Error;
use crate::Lines;

/// Where the lines of a batch lie; opened by whoever sends them, which may be another thread than
/// the outbox's.
#[derive(Debug, Clone)]
pub struct Stored {
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
}

impl Lines for Stored {
    fn bytes(&self) -> Option<u64> {
        Some(self.bytes)
    }

    fn open(&self) -> io::Result<Box<dyn BufRead + '_>> {
        let reader = Reader::open(self.path.clone(), self.bytes).map_err(io::Error::from)?;
        Ok(Box::new(BufReader::with_capacity(BUFFER_BYTES, reader)))
    }
}

impl From<Error> for io::Error {
    /// The kind tells what to do, as [`Lines`] knows no other error: `NotFound`, somebody took it;
    /// `InvalidData`, it is damaged; any other passes, and the batch is still good.
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::Gone { .. } => io::ErrorKind::NotFound,
            Error::Damaged { .. } => io::ErrorKind::InvalidData,
            Error::Locked { .. } => io::ErrorKind::WouldBlock,
            Error::Timestamp { .. } => io::ErrorKind::InvalidInput,
            Error::Io { source, .. } => source.kind(),
        };
        Self::new(kind, error)
    }
}

/// The plain lines. An error in the midst (the disk failed after all) means: the receiver must not
/// count as having the batch.
#[derive(Debug)]
pub struct Reader {
    lines: GzDecoder<BufReader<File>>,
}

const BUFFER_BYTES: usize = 64 * 1024;
/// The length that its name says bounds a batch.
const LIMIT: Limit = Limit { bytes: u64::MAX, name: "no bound" };

impl Reader {
    pub(super) fn open(path: PathBuf, bytes: u64) -> Result<Self, Error> {
        let mut file = match file::open(&path, LIMIT, Links::Refused) {
            Ok(file) => file.into_inner(),
            Err(Fault::Passing(source)) => return Err(Error::Io { doing: "open", path, source }),
            Err(Fault::Damage(_)) if file::is_absent(&path) => return Err(Error::Gone { path }),
            Err(Fault::Damage(why)) => {
                let source = io::Error::new(io::ErrorKind::InvalidData, why);
                return Err(Error::Damaged { path, source });
            }
        };
        match verify(&file, bytes).and_then(|()| file.rewind()) {
            Err(source) if is_damage(&source) => Err(Error::Damaged { path, source }),
            Err(source) => Err(Error::Io { doing: "read", path, source }),
            Ok(()) => Ok(Self { lines: decoder(file) }),
        }
    }
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.lines.read(buffer)
    }
}

fn decoder<R: Read>(file: R) -> GzDecoder<BufReader<R>> {
    GzDecoder::new(BufReader::with_capacity(BUFFER_BYTES, file))
}

/// Whether the file itself is at fault, and not the moment. A disk that cannot read it makes it as
/// useless as flipped bits do, and it must not bar the way for all that come after.
fn is_damage(error: &io::Error) -> bool {
    !Class::of(error).can_pass()
}

fn verify(file: &File, bytes: u64) -> io::Result<()> {
    let mut lines = decoder(file);
    // Never further than one byte too many: a flipped bit can make a small file very long.
    let found = io::copy(&mut (&mut lines).take(bytes.saturating_add(1)), &mut io::sink())?;
    if found != bytes {
        let or_more = if found > bytes { " or more" } else { "" };
        let message = format!("{found}{or_more} bytes of lines, its name says {bytes}");
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    if !lines.into_inner().fill_buf()?.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "something follows its end"));
    }
    Ok(())
}
