//! Cuts the requests' variables out of a stats server's document, as the bytes come.
//!
//! It knows JSON's strings, brackets, commas and colons, and nothing of what stands in a string: a
//! visitor's bytes stand there raw, bad UTF-8 and control characters among them. The value of
//! `vars` and of `req_info` becomes `null`. Between strings the grammar is strict, because a
//! quotation mark that uWSGI has not escaped would turn strings and the rest around; such a
//! document is a fault, and nothing of it is kept.

use super::preface::Requests;

/// Brackets in brackets. A document of uWSGI has 6.
const DEPTH_MAX: usize = 32;

/// Bytes of a key that are remembered. A longer key is none that the scanner looks for.
const KEY_BYTES: usize = 16;

/// Keys whose values are never kept.
const SECRETS: [&[u8]; 2] = [b"vars", b"req_info"];

/// What stands in place of a secret.
const CUT: &[u8] = b"null";

/// The document cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Error {
    /// The byte is none that the grammar allows at its place.
    Grammar(u8),
    /// There are more than [`DEPTH_MAX`] brackets in brackets.
    Depth,
}

/// What may come next outside of a string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Value,
    ValueOrEnd,
    Key,
    KeyOrEnd,
    Colon,
    CommaOrEnd,
    /// More of a number or of a word.
    Scalar,
    /// The document is whole.
    Nothing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Text {
    /// Outside of a string.
    None,
    Inside,
    /// After a backslash.
    Escaped,
}

/// The state of a document; its size does not depend on the document, except for the number of
/// requests of each worker, which are bounded too.
#[derive(Debug)]
pub(crate) struct Scanner {
    next: Next,
    text: Text,
    /// Whether the current string is a key.
    is_key: bool,
    key: Key,
    /// The open brackets, the innermost in the lowest bit; 1 is an object.
    objects: u32,
    depth: usize,
    /// The depth of the key whose value is being cut.
    cut: Option<usize>,
    number: Option<u64>,
    /// Whether the current value of the document's object is the list of workers.
    in_workers: bool,
    has_workers: bool,
    requests: Requests,
    scanned: u64,
}

#[derive(Debug, Default)]
struct Key {
    bytes: [u8; KEY_BYTES],
    length: usize,
    /// A key with an escape could be any name.
    has_escape: bool,
}

impl Key {
    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.length) {
            *place = byte;
        }
        self.length = self.length.saturating_add(1);
        self.has_escape |= byte == b'\\';
    }

    fn is(&self, name: &[u8]) -> bool {
        self.bytes.get(..self.length) == Some(name)
    }

    fn is_secret(&self) -> bool {
        self.has_escape || SECRETS.iter().any(|secret| self.is(secret))
    }
}

impl Scanner {
    pub(crate) const fn new() -> Self {
        Self {
            next: Next::Value,
            text: Text::None,
            is_key: false,
            key: Key { bytes: [0; KEY_BYTES], length: 0, has_escape: false },
            objects: 0,
            depth: 0,
            cut: None,
            number: None,
            in_workers: false,
            has_workers: false,
            requests: Requests::new(),
            scanned: 0,
        }
    }

    /// Bytes of the document so far.
    pub(crate) const fn scanned(&self) -> u64 {
        self.scanned
    }

    /// Whether the document has come to its end.
    pub(crate) fn is_whole(&self) -> bool {
        self.next == Next::Nothing
    }

    /// Whether the document has a list of workers, as those of uWSGI have.
    pub(crate) const fn has_workers(&self) -> bool {
        self.has_workers
    }

    /// The requests of each worker so far.
    pub(crate) const fn requests(&self) -> &Requests {
        &self.requests
    }

    /// Appends to `kept` what may be kept of `bytes`.
    pub(crate) fn scan(&mut self, bytes: &[u8], kept: &mut Vec<u8>) -> Result<(), Error> {
        for &byte in bytes {
            let was_cutting = self.cut.is_some();
            self.step(byte)?;
            self.scanned += 1;
            match (was_cutting, self.cut.is_some()) {
                (false, false) | (true, false) => kept.push(byte),
                (false, true) => {
                    kept.push(byte);
                    kept.extend_from_slice(CUT);
                }
                (true, true) => {}
            }
        }
        Ok(())
    }

    fn step(&mut self, byte: u8) -> Result<(), Error> {
        match (self.text, byte) {
            (Text::Escaped, _) => {
                self.text = Text::Inside;
                self.push_to_key(byte);
            }
            (Text::Inside, b'\\') => {
                self.text = Text::Escaped;
                self.push_to_key(byte);
            }
            (Text::Inside, b'"') => {
                self.text = Text::None;
                self.next = if self.is_key { Next::Colon } else { self.after_value() };
            }
            (Text::Inside, _) => self.push_to_key(byte),
            (Text::None, _) => self.outside(byte)?,
        }
        Ok(())
    }

    fn push_to_key(&mut self, byte: u8) {
        if self.is_key {
            self.key.push(byte);
        }
    }

    fn outside(&mut self, byte: u8) -> Result<(), Error> {
        if self.next == Next::Scalar {
            if is_of_scalar(byte) {
                self.count_digit(byte);
                return Ok(());
            }
            self.end_number();
            self.next = self.after_value();
        }
        if matches!(byte, b' ' | b'\t' | b'\r' | b'\n') {
            return Ok(());
        }
        match (self.next, byte) {
            (Next::Key | Next::KeyOrEnd, b'"') => {
                self.text = Text::Inside;
                self.is_key = true;
                self.key = Key::default();
            }
            (Next::Value | Next::ValueOrEnd, b'"') if self.depth > 0 => {
                self.text = Text::Inside;
                self.is_key = false;
            }
            (Next::Value, b'{') if self.depth == 0 => self.open(true)?,
            (Next::Value | Next::ValueOrEnd, b'{' | b'[') if self.depth > 0 => {
                self.open(byte == b'{')?;
            }
            (Next::Value | Next::ValueOrEnd, _) if self.depth > 0 && is_of_scalar(byte) => {
                self.next = Next::Scalar;
                self.number = Some(0);
                self.count_digit(byte);
            }
            (Next::Colon, b':') => {
                self.next = Next::Value;
                if self.cut.is_none() && self.key.is_secret() {
                    self.cut = Some(self.depth);
                }
                if self.depth == 1 {
                    self.in_workers = self.key.is(b"workers");
                    self.has_workers |= self.in_workers;
                }
            }
            (Next::CommaOrEnd, b',') => {
                self.end_cut();
                self.next = if self.in_object() { Next::Key } else { Next::Value };
            }
            (Next::CommaOrEnd | Next::KeyOrEnd, b'}') if self.in_object() => self.close(),
            (Next::CommaOrEnd | Next::ValueOrEnd, b']') if !self.in_object() => self.close(),
            _ => return Err(Error::Grammar(byte)),
        }
        Ok(())
    }

    const fn in_object(&self) -> bool {
        self.objects & 1 == 1
    }

    const fn after_value(&self) -> Next {
        if self.depth == 0 { Next::Nothing } else { Next::CommaOrEnd }
    }

    fn open(&mut self, is_object: bool) -> Result<(), Error> {
        if self.depth == DEPTH_MAX {
            return Err(Error::Depth);
        }
        // The list of workers is the second bracket, a worker the third.
        if is_object && self.depth == 2 && self.in_workers && self.cut.is_none() {
            self.requests.begin_worker();
        }
        self.objects = (self.objects << 1) | u32::from(is_object);
        self.depth += 1;
        self.next = if is_object { Next::KeyOrEnd } else { Next::ValueOrEnd };
        Ok(())
    }

    /// Closes the innermost bracket. The bracket around a secret also ends the cut.
    fn close(&mut self) {
        self.end_cut();
        self.objects >>= 1;
        self.depth -= 1;
        self.next = self.after_value();
    }

    fn end_cut(&mut self) {
        if self.cut == Some(self.depth) {
            self.cut = None;
        }
    }

    fn count_digit(&mut self, byte: u8) {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'));
        let add = |number: u64| number.checked_mul(10)?.checked_add(digit?);
        self.number = self.number.and_then(add);
    }

    fn end_number(&mut self) {
        let Some(number) = self.number.take() else { return };
        if self.cut.is_some() || !self.in_object() {
            return;
        }
        if self.depth == 1 && self.key.is(b"pid") {
            self.requests.set_master(number);
        } else if self.depth == 3 && self.in_workers && self.key.is(b"requests") {
            self.requests.set_requests(number);
        }
    }
}

/// Whether a number, `true`, `false` or `null` can hold the byte.
const fn is_of_scalar(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'E')
        || matches!(byte, b't' | b'r' | b'u' | b'e' | b'f' | b'a' | b'l' | b's' | b'n')
}

#[cfg(test)]
mod tests;
