//! Rows that are the same thing in several processes get the same number, their code: what the
//! fold groups by.
//!
//! Processes list their proxies in the same order, and snapshots follow each other; so the next row
//! is most likely the one that came next before, and one comparison of bytes settles it. Else a
//! hash does. Names are those of HAProxy, letter by letter.
//!
//! A forged dump can hold any number of names. So a snapshot may add only [`NAMES_MAX`] of them,
//! and the names of a file that is left out are forgotten.

use std::borrow::Cow;
use std::collections::HashMap;

/// The codes of one kind of proxy, kept from snapshot to snapshot.
#[derive(Debug, Default)]
pub(crate) struct Codes {
    /// All keys as they stand in the files, one behind the other.
    text: Vec<u8>,
    entries: Vec<Entry>,
    lookup: HashMap<Box<[u8]>, usize>,
    /// Codes by proxy and server: one name can be spelled with quotes and without.
    by_name: HashMap<String, u32>,
    /// Proxy and server by code.
    names: Vec<(String, String)>,
    next: usize,
    /// Used codes of the current snapshot, for knowing when too many are kept.
    used: usize,
    /// Where the current snapshot began.
    at_begin: Mark,
}

/// How much is known at some moment.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Mark {
    text: usize,
    entries: usize,
    names: usize,
}

/// Different names that one snapshot can bring of each kind; HAProxy was seen with 100,000 servers.
pub(crate) const NAMES_MAX: usize = 262_144;
/// Bytes of all of them together.
pub(crate) const NAMES_MAX_BYTES: usize = 32 * 1024 * 1024;
/// Bytes of a row's two names together; a line of HAProxy's configuration has 2048.
pub(crate) const NAME_MAX_BYTES: usize = 4096;

#[derive(Debug, Clone, Copy)]
struct Entry {
    begin: usize,
    end: usize,
    code: u32,
}

/// Why a row has no code.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The name is empty, no text, or too long.
    Name,
    /// There are too many names: not the row is at fault but its file.
    TooMany,
}

/// How a key is made of a row's first two cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    /// The proxy alone.
    Proxy,
    /// The proxy and the server.
    ProxyAndServer,
}

impl Codes {
    /// A new file begins.
    pub(crate) const fn begin_file(&mut self) {
        self.next = 0;
    }

    /// A new snapshot begins. If most codes were not used in the last one, all are forgotten, so
    /// that memory does not grow with every server that ever existed.
    pub(crate) fn begin_snapshot(&mut self) {
        if self.entries.len() > (4 * self.used + 1024).min(NAMES_MAX) {
            *self = Self::default();
        }
        self.next = 0;
        self.used = 0;
        self.at_begin = self.mark();
    }

    pub(crate) const fn mark(&self) -> Mark {
        Mark { text: self.text.len(), entries: self.entries.len(), names: self.names.len() }
    }

    /// Forgets what came since.
    pub(crate) fn roll_back(&mut self, mark: Mark) {
        for entry in self.entries.drain(mark.entries..) {
            self.lookup.remove(self.text.get(entry.begin..entry.end).unwrap_or_default());
        }
        for (proxy, server) in self.names.drain(mark.names..) {
            self.by_name.remove(&joined(&proxy, &server));
        }
        self.text.truncate(mark.text);
        self.next = 0;
    }

    /// The code of `key`, the row's text up to the end of its second cell.
    #[inline]
    pub(crate) fn code(&mut self, key: &[u8], made_of: Key) -> Result<u32, Refused> {
        if let Some(entry) = self.entries.get(self.next)
            && self.text.get(entry.begin..entry.end) == Some(key)
        {
            self.next += 1;
            self.used = self.used.max(self.next);
            return Ok(entry.code);
        }
        self.look_up(key, made_of)
    }

    /// Names by code: proxy and server, or the proxy alone.
    pub(crate) fn names(&self) -> &[(String, String)] {
        &self.names
    }

    #[cold]
    fn look_up(&mut self, key: &[u8], made_of: Key) -> Result<u32, Refused> {
        let index = match self.lookup.get(key) {
            Some(index) => *index,
            None => self.add(key, made_of)?,
        };
        self.next = index + 1;
        self.used += 1;
        Ok(self.entries[index].code)
    }

    fn add(&mut self, key: &[u8], made_of: Key) -> Result<usize, Refused> {
        if key.len() > NAME_MAX_BYTES {
            return Err(Refused::Name);
        }
        let text = std::str::from_utf8(key).map_err(|_| Refused::Name)?;
        let (proxy, server) = split(text).ok_or(Refused::Name)?;
        let server = if made_of == Key::Proxy { Cow::Borrowed("") } else { server };
        if proxy.is_empty() || (server.is_empty() && made_of == Key::ProxyAndServer) {
            return Err(Refused::Name);
        }
        if self.entries.len() - self.at_begin.entries >= NAMES_MAX
            || self.text.len() - self.at_begin.text + key.len() > NAMES_MAX_BYTES
        {
            return Err(Refused::TooMany);
        }
        let code = *self.by_name.entry(joined(&proxy, &server)).or_insert_with(|| {
            self.names.push((proxy.into_owned(), server.into_owned()));
            self.names.len() as u32 - 1
        });
        let begin = self.text.len();
        self.text.extend_from_slice(key);
        let index = self.entries.len();
        self.entries.push(Entry { begin, end: self.text.len(), code });
        self.lookup.insert(key.into(), index);
        Ok(index)
    }
}

/// What [`Codes::by_name`] knows names by: no two pairs of names give the same text.
fn joined(proxy: &str, server: &str) -> String {
    format!("{}:{proxy}{server}", proxy.len())
}

/// The two cells of a key, without their quotes; split at the comma at which the reader of rows
/// splits.
fn split(key: &str) -> Option<(Cow<'_, str>, Cow<'_, str>)> {
    let mut quoted = false;
    let at = key.bytes().position(|byte| {
        quoted ^= byte == b'"';
        byte == b',' && !quoted
    })?;
    Some((unquoted(key.get(..at)?), unquoted(key.get(at + 1..)?)))
}

fn unquoted(cell: &str) -> Cow<'_, str> {
    match cell.strip_prefix('"').and_then(|cell| cell.strip_suffix('"')) {
        Some(inner) if inner.contains('"') => Cow::Owned(inner.replace("\"\"", "\"")),
        Some(inner) => Cow::Borrowed(inner),
        None => Cow::Borrowed(cell),
    }
}

#[cfg(test)]
mod tests {
    use super::{Codes, Key, NAME_MAX_BYTES, NAMES_MAX, NAMES_MAX_BYTES, Refused, split};

    fn server(codes: &mut Codes, key: &str) -> Result<u32, Refused> {
        codes.code(key.as_bytes(), Key::ProxyAndServer)
    }

    #[test]
    fn the_same_row_has_the_same_code_in_whatever_order_it_comes() {
        let mut codes = Codes::default();
        codes.begin_snapshot();
        let first: Vec<_> = ["a,1", "a,2", "b,1"].map(|key| server(&mut codes, key)).into();
        assert_eq!(first, [Ok(0), Ok(1), Ok(2)]);
        codes.begin_file();
        let second: Vec<_> = ["a,1", "b,1", "c,1", "a,2"].map(|key| server(&mut codes, key)).into();
        assert_eq!(second, [Ok(0), Ok(2), Ok(3), Ok(1)]);
    }

    #[test]
    fn names_are_known_letter_by_letter_whatever_quotes_are_around_them() {
        let mut codes = Codes::default();
        let keys = ["a.b,c", "a_b,c", "\"a.b\",\"c\"", "a.bc,\"\"\"\"", "a.b,c\"\""];
        let codes_of: Vec<_> = keys.map(|key| server(&mut codes, key)).into();
        assert_eq!(codes_of, [Ok(0), Ok(1), Ok(0), Ok(2), Ok(3)]);
        assert_eq!(codes.names()[0], ("a.b".to_owned(), "c".to_owned()));
    }

    #[test]
    fn a_frontend_is_known_by_its_proxy_alone() {
        let mut codes = Codes::default();
        assert_eq!(codes.code(b"www,FRONTEND", Key::Proxy), Ok(0));
        assert_eq!(codes.names()[0], ("www".to_owned(), String::new()));
    }

    #[test]
    fn quotes_are_no_part_of_a_name() {
        let parted = |key| split(key).map(|(a, b)| (a.into_owned(), b.into_owned()));
        let pair = |a: &str, b: &str| Some((a.to_owned(), b.to_owned()));
        assert_eq!(parted("\"a,b\",\"c\""), pair("a,b", "c"));
        assert_eq!(parted("a,\"c\"\"d\""), pair("a", "c\"d"));
        assert_eq!(parted("a\"b,c\"d,e"), pair("a\"b,c\"d", "e"));
        assert_eq!(parted("\",\""), None);
        assert_eq!(parted("\"a"), None);
    }

    #[test]
    fn no_text_and_no_name_are_refused() {
        let mut codes = Codes::default();
        assert_eq!(codes.code(b"a\xff,b", Key::ProxyAndServer), Err(Refused::Name));
        assert_eq!(server(&mut codes, ",b"), Err(Refused::Name));
        assert_eq!(server(&mut codes, "a,"), Err(Refused::Name));
        assert_eq!(server(&mut codes, &format!("a,{}", "b".repeat(200))), Ok(0));
        assert_eq!(server(&mut codes, &"a,".repeat(NAME_MAX_BYTES)), Err(Refused::Name));
    }

    #[test]
    fn what_is_rolled_back_was_never_there() {
        let mut codes = Codes::default();
        codes.begin_snapshot();
        server(&mut codes, "a,1").unwrap();
        let mark = codes.mark();
        let new: Vec<_> = ["b.c,1", "\"b.c\",1", "a,2"].map(|key| server(&mut codes, key)).into();
        assert_eq!(new, [Ok(1), Ok(1), Ok(2)]);
        codes.roll_back(mark);
        let again: Vec<_> = ["a,2", "a,1", "b.c,1"].map(|key| server(&mut codes, key)).into();
        assert_eq!(again, [Ok(1), Ok(0), Ok(2)]);
        assert_eq!(codes.names()[2], ("b.c".to_owned(), "1".to_owned()));
        assert_eq!((codes.names().len(), codes.by_name.len()), (3, 3));
    }

    #[test]
    fn names_have_a_bound_in_number_and_in_bytes() {
        let mut codes = Codes::default();
        codes.begin_snapshot();
        let found = (0..=NAMES_MAX).find(|n| server(&mut codes, &format!("a,{n}")).is_err());
        assert_eq!(found, Some(NAMES_MAX));
        assert_eq!(server(&mut codes, "b,1"), Err(Refused::TooMany));
        assert_eq!(server(&mut codes, "a,7"), Ok(7), "what is known costs nothing");

        let mut codes = Codes::default();
        codes.begin_snapshot();
        let long = "b".repeat(NAME_MAX_BYTES - 10);
        let found = (0..NAMES_MAX).find(|n| server(&mut codes, &format!("{long},{n}")).is_err());
        let most = NAMES_MAX_BYTES / (NAME_MAX_BYTES - 10);
        assert!(found.is_some_and(|found| found <= most), "{found:?}");
    }

    #[test]
    fn what_is_used_no_more_is_forgotten() {
        let mut codes = Codes::default();
        codes.begin_snapshot();
        for number in 0..5000 {
            server(&mut codes, &format!("a,{number}")).unwrap();
        }
        codes.begin_snapshot();
        server(&mut codes, "a,1").unwrap();
        codes.begin_snapshot();
        assert_eq!(server(&mut codes, "b,1"), Ok(0));
    }
}
