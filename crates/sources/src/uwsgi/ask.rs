//! The dialogue with a stats server: nothing or a request by HTTP is sent, a document comes to the
//! end of the connection.
//!
//! The file of an application is one line with what a fold needs of the last cycle (module
//! `preface`), then the document without the variables of requests (module `scan`).

use super::{Carrier, Requests, SUFFIX, preface, scan};

/// HTTP/1.0, so that the answer is neither kept open nor cut into chunks.
const REQUEST: &[u8] = b"GET / HTTP/1.0\r\nAccept: application/json\r\n\r\n";

/// Bytes that the head of an HTTP answer may have.
const HEAD_MAX_BYTES: usize = 8192;

/// Bytes of a status line in a message.
const QUOTE_BYTES: usize = 80;

/// Why an answer cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The connection ended before the first byte.
    #[error("closed the connection without an answer; look at the log of that uWSGI")]
    Empty,
    /// The connection ended within the document.
    #[error(
        "the answer ended after {bytes} bytes, before its last bracket; look whether that uWSGI \
         was restarted, and at its `socket-timeout`"
    )]
    Truncated {
        /// The number of bytes that came.
        bytes: u64,
    },
    /// More than `answer-limit`.
    #[error("the answer is longer than answer-limit allows ({limit} bytes); raise answer-limit")]
    TooLong {
        /// The largest size.
        limit: u64,
    },
    /// A byte stands where JSON has none such.
    #[error(
        "the answer is no JSON from byte {offset} on (\"{quote}\"); check that it is a stats \
         server of uWSGI, and that no folder or mount point of it has a quotation mark"
    )]
    Malformed {
        /// Bytes of the document before it.
        offset: u64,
        /// The byte, escaped.
        quote: String,
    },
    /// Brackets in brackets beyond any answer of uWSGI.
    #[error(
        "the answer has more brackets in brackets than any of uWSGI; check that it is a stats \
         server of uWSGI"
    )]
    TooDeep,
    /// The document is whole, but of another program.
    #[error(
        "the answer is JSON without workers; check that it is a stats server of uWSGI, with a \
         master"
    )]
    OtherDocument,
    /// The status of an HTTP answer is not 200.
    #[error(
        "the answer by HTTP begins with \"{quote}\"; check that it is a stats server of uWSGI with \
         stats-http"
    )]
    Status {
        /// The status line, escaped.
        quote: String,
    },
    /// An answer by HTTP came without being asked for.
    #[error("the answer is HTTP; write http:// in place of tcp://")]
    UnaskedHttp,
    /// A document came without the head of HTTP.
    #[error("the answer is not HTTP; write tcp:// in place of http://, or set stats-http in uWSGI")]
    NoHttp,
    /// The head of an HTTP answer does not end.
    #[error(
        "the head of the answer by HTTP is longer than {HEAD_MAX_BYTES} bytes; check that it is a \
         stats server of uWSGI"
    )]
    HeadTooLong,
}

impl Fault {
    /// Whether a part of a document came.
    pub(crate) const fn shows_this_kind(&self) -> bool {
        matches!(self, Self::Truncated { .. } | Self::TooLong { .. })
    }

    /// The fault without the numbers that differ each time.
    pub(crate) fn state(&self) -> String {
        let state = match self {
            Self::Empty => "empty",
            Self::Truncated { .. } => "truncated",
            Self::TooLong { .. } => "too long",
            Self::Malformed { .. } => "malformed",
            Self::TooDeep => "too deep",
            Self::OtherDocument => "other document",
            Self::Status { quote } => return format!("status {quote}"),
            Self::UnaskedHttp => "unasked HTTP",
            Self::NoHttp => "no HTTP",
            Self::HeadTooLong => "head too long",
        };
        state.to_owned()
    }
}

/// The request of an application, and its answer as it comes.
#[derive(Debug)]
pub struct Dialogue {
    carrier: Carrier,
    answer_limit: u64,
    before: Option<Requests>,
    is_asked: bool,
    /// The head of an HTTP answer so far; `None` once it has ended.
    head: Option<Vec<u8>>,
    scanner: scan::Scanner,
    /// Bytes that came.
    received: u64,
    /// Bytes that went to the file.
    written: u64,
}

impl Dialogue {
    pub(crate) const fn new(carrier: Carrier, answer_limit: u64) -> Self {
        let head = match carrier {
            Carrier::Plain => None,
            Carrier::Http => Some(Vec::new()),
        };
        Self {
            carrier,
            answer_limit,
            before: None,
            is_asked: false,
            head,
            scanner: scan::Scanner::new(),
            received: 0,
            written: 0,
        }
    }

    /// Takes the requests of the last cycle, for the first line of the file.
    pub(crate) fn recall(&mut self, before: Requests) {
        self.before = Some(before);
    }

    /// The requests of this cycle, for the next one.
    pub(crate) const fn requests(&self) -> &Requests {
        self.scanner.requests()
    }

    pub(crate) fn request(&mut self) -> Option<&[u8]> {
        if std::mem::replace(&mut self.is_asked, true) {
            return None;
        }
        Some(match self.carrier {
            Carrier::Plain => b"",
            Carrier::Http => REQUEST,
        })
    }

    pub(crate) fn receive<E: From<crate::Fault>>(
        &mut self,
        bytes: &[u8],
        mut write: impl FnMut(&str, &[u8], bool) -> Result<(), E>,
    ) -> Result<(), E> {
        let kept = self.keep(bytes).map_err(crate::Fault::from)?;
        if !kept.is_empty() {
            self.written += kept.len() as u64;
            write(SUFFIX, &kept, false)?;
        }
        Ok(())
    }

    /// What goes to the file of bytes that came.
    fn keep(&mut self, bytes: &[u8]) -> Result<Vec<u8>, Fault> {
        let before = self.received;
        self.received += bytes.len() as u64;
        if self.received > self.answer_limit {
            return Err(Fault::TooLong { limit: self.answer_limit });
        }
        if before == 0 && self.carrier == Carrier::Plain && bytes.first() == Some(&b'H') {
            return Err(Fault::UnaskedHttp);
        }
        let document = match self.head.take() {
            None => bytes,
            Some(head) => match self.end_of_head(head, bytes)? {
                Some(document) => document,
                None => return Ok(Vec::new()),
            },
        };
        let mut kept = Vec::with_capacity(document.len());
        if self.written == 0 && !document.is_empty() {
            kept.extend_from_slice(preface::line(self.before.as_ref()).as_bytes());
        }
        match self.scanner.scan(document, &mut kept) {
            Ok(()) => Ok(kept),
            Err(scan::Error::Depth) => Err(Fault::TooDeep),
            Err(scan::Error::Grammar(byte)) => {
                let offset = self.scanner.scanned();
                Err(Fault::Malformed { offset, quote: byte.escape_ascii().to_string() })
            }
        }
    }

    /// The bytes behind the head, once it has ended.
    fn end_of_head<'b>(
        &mut self,
        mut head: Vec<u8>,
        bytes: &'b [u8],
    ) -> Result<Option<&'b [u8]>, Fault> {
        for (at, byte) in bytes.iter().enumerate() {
            if head.is_empty() && *byte != b'H' {
                return Err(Fault::NoHttp);
            }
            head.push(*byte);
            if head.ends_with(b"\r\n\r\n") || head.ends_with(b"\n\n") {
                check_status(&head)?;
                return Ok(Some(&bytes[at + 1..]));
            }
            if head.len() == HEAD_MAX_BYTES {
                return Err(Fault::HeadTooLong);
            }
        }
        self.head = Some(head);
        Ok(None)
    }

    pub(crate) fn end_of_connection(&mut self) -> Result<(), Fault> {
        if self.received == 0 {
            return Err(Fault::Empty);
        }
        if let Some(head) = &self.head {
            check_status(head)?;
        }
        if !self.scanner.is_whole() {
            return Err(Fault::Truncated { bytes: self.received });
        }
        if !self.scanner.has_workers() {
            return Err(Fault::OtherDocument);
        }
        Ok(())
    }

    pub(crate) const fn file_bytes(&self) -> u64 {
        self.written
    }
}

/// Checks the first line of a head: `HTTP/1.x 200`.
fn check_status(head: &[u8]) -> Result<(), Fault> {
    let line = head.split(|byte| *byte == b'\n').next().unwrap_or_default().trim_ascii();
    let mut words = line.split(|byte| *byte == b' ');
    let is_http = words.next().is_some_and(|version| version.starts_with(b"HTTP/1."));
    if is_http && words.next() == Some(b"200") {
        return Ok(());
    }
    let quote = line[..line.len().min(QUOTE_BYTES)].escape_ascii().to_string();
    Err(Fault::Status { quote })
}

#[cfg(test)]
mod tests;
