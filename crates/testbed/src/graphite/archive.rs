//! Archives for the bytes that a receiver reads.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A line longer than this is no metric. Without a bound a sender that never sends a newline would
/// fill the memory.
const LINE_MAX_BYTES: usize = 64 * 1024;

/// Why a connection has ended.
#[derive(Debug)]
pub enum Cause {
    /// The sender closed its side, and the receiver read up to that.
    SenderClosed,
    /// The script of the receiver ended before that, or the receiver went down.
    ScriptOver,
    /// The connection broke, or the archive could not keep the bytes.
    Error(io::Error),
}

/// Keeps the bytes that are read. A page holds the state of one connection.
pub trait Archive: Send + Sync + 'static {
    /// The state of one connection.
    type Page: Send;

    /// Begins a page; called for each connection, in the order of acceptance.
    fn open(&self) -> Self::Page;

    /// Keeps bytes that were read. An error ends the connection.
    fn keep(&self, page: &mut Self::Page, bytes: &[u8]) -> io::Result<()>;

    /// Ends a page; called when the connection is closed.
    fn close(&self, page: Self::Page, cause: Cause);
}

/// The bytes of one connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Transcript {
    /// All bytes that were read.
    pub bytes: Vec<u8>,
    /// Whether the sender has closed its side.
    pub ended: bool,
}

/// Keeps every byte in memory, for tests.
#[derive(Debug, Default)]
pub struct Transcripts(Mutex<Vec<Transcript>>);

impl Transcripts {
    /// The transcripts so far, in the order of acceptance.
    #[must_use]
    pub fn all(&self) -> Vec<Transcript> {
        lock(&self.0).clone()
    }

    /// The number of bytes of each connection.
    #[must_use]
    pub fn sizes(&self) -> Vec<usize> {
        lock(&self.0).iter().map(|transcript| transcript.bytes.len()).collect()
    }

    /// The whole lines, connection by connection. A piece without a newline at the end of a
    /// connection is left out, because a receiver must not take it.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let transcripts = lock(&self.0);
        let whole = transcripts.iter().map(|transcript| whole_lines(&transcript.bytes));
        whole.flat_map(|bytes| bytes.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
    }
}

/// Panics if the bytes are not UTF-8, because our programs send nothing else.
fn whole_lines(bytes: &[u8]) -> &str {
    let end = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |last| last + 1);
    match std::str::from_utf8(&bytes[..end]) {
        Ok(text) => text,
        Err(error) => panic!("a line is no UTF-8: {error}"),
    }
}

impl Archive for Transcripts {
    type Page = usize;

    fn open(&self) -> usize {
        let mut transcripts = lock(&self.0);
        transcripts.push(Transcript::default());
        transcripts.len() - 1
    }

    fn keep(&self, page: &mut usize, bytes: &[u8]) -> io::Result<()> {
        lock(&self.0)[*page].bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn close(&self, page: usize, cause: Cause) {
        lock(&self.0)[page].ended = matches!(cause, Cause::SenderClosed);
    }
}

/// Writes whole lines to a file, so that memory stays small in a run of any length.
///
/// A line counts once its newline is read, even if the connection breaks afterwards. A piece
/// without a newline is dropped, as carbon does.
#[derive(Debug)]
pub struct LineFile {
    file: Mutex<BufWriter<File>>,
    lines: AtomicU64,
}

impl LineFile {
    /// Creates or empties the file.
    pub fn create(path: &Path) -> io::Result<Self> {
        let file = Mutex::new(BufWriter::new(File::create(path)?));
        Ok(Self { file, lines: AtomicU64::new(0) })
    }

    /// The number of lines so far.
    #[must_use]
    pub fn lines(&self) -> u64 {
        self.lines.load(Ordering::Relaxed)
    }

    /// Completes the file.
    pub fn flush(&self) -> io::Result<()> {
        lock(&self.file).flush()
    }
}

impl Archive for LineFile {
    /// The beginning of a line whose end has not come.
    type Page = Vec<u8>;

    fn open(&self) -> Vec<u8> {
        Vec::new()
    }

    fn keep(&self, page: &mut Vec<u8>, bytes: &[u8]) -> io::Result<()> {
        page.extend_from_slice(bytes);
        let end = page.iter().rposition(|&byte| byte == b'\n').map_or(0, |last| last + 1);
        if page.len() - end > LINE_MAX_BYTES {
            return Err(io::Error::other("a line without an end"));
        }
        let count = page[..end].iter().filter(|&&byte| byte == b'\n').count();
        lock(&self.file).write_all(&page[..end])?;
        page.drain(..end);
        self.lines.fetch_add(count as u64, Ordering::Relaxed);
        Ok(())
    }

    fn close(&self, _page: Vec<u8>, _cause: Cause) {}
}

/// The state stays usable after a panic.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
