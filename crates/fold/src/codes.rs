//! Codes: the rows of a proxy or server have the same number in all processes, by which the fold
//! groups them.
//!
//! Processes list their proxies in the same order, and so do successive snapshots. So the next row
//! is most likely the one that came next last time, which one comparison of bytes confirms; any
//! other row is found by its hash. Names are HAProxy's, letter by letter.
//!
//! A forged dump can have any number of names. So a snapshot may add only [`NAMES_MAX`] names, and
//! the names of a file that is left out are removed again.

use std::borrow::Cow;
use std::collections::HashMap;

/// The codes of one kind of proxy, kept from snapshot to snapshot.
#[derive(Debug, Default)]
pub(crate) struct Codes {
    /// The keys of all entries, as in the files, concatenated.
    text: Vec<u8>,
    entries: Vec<Entry>,
    lookup: HashMap<Box<[u8]>, usize>,
    /// Codes by proxy and server, because a name can be spelled with quotes and without.
    by_name: HashMap<String, u32>,
    /// Proxy and server by code.
    names: Vec<(String, String)>,
    /// The entry that is expected next.
    next: usize,
    /// How many entries the current snapshot used, to find out when too many are kept.
    used: usize,
    /// The sizes at the beginning of the current snapshot.
    at_begin: Mark,
}

/// The sizes to which [`Codes`] can be rolled back.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Mark {
    text: usize,
    entries: usize,
    names: usize,
}

/// New names of one kind in a snapshot; a HAProxy with 100,000 servers is known.
pub(crate) const NAMES_MAX: usize = 262_144;
/// Bytes of all these names.
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
pub(crate) enum NameError {
    /// The name is empty, no text, or too long.
    Invalid,
    /// The file has too many names.
    TooMany,
}

/// The cells of a row that name it, among the first two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NameCells {
    /// The proxy alone.
    Proxy,
    /// The proxy and the server.
    Both,
}

impl Codes {
    /// Must be called before the rows of a file.
    pub(crate) const fn begin_file(&mut self) {
        self.next = 0;
    }

    /// Must be called before the rows of a snapshot. If the last snapshot did not use most codes,
    /// all are removed, so that memory does not grow with every server that ever existed.
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

    /// Removes the entries since `mark`.
    pub(crate) fn roll_back(&mut self, mark: Mark) {
        for entry in self.entries.drain(mark.entries..) {
            self.lookup.remove(self.text.get(entry.begin..entry.end).unwrap_or_default());
        }
        for (proxy, server) in self.names.drain(mark.names..) {
            self.by_name.remove(&name_key(&proxy, &server));
        }
        self.text.truncate(mark.text);
        self.next = 0;
    }

    /// The code of a row. `key` is its text up to the end of its second cell.
    #[inline]
    pub(crate) fn code(&mut self, key: &[u8], cells: NameCells) -> Result<u32, NameError> {
        if let Some(entry) = self.entries.get(self.next)
            && self.text.get(entry.begin..entry.end) == Some(key)
        {
            self.next += 1;
            self.used = self.used.max(self.next);
            return Ok(entry.code);
        }
        self.look_up(key, cells)
    }

    /// Names by code: proxy and server; the server is empty for a proxy alone.
    pub(crate) fn names(&self) -> &[(String, String)] {
        &self.names
    }

    #[cold]
    fn look_up(&mut self, key: &[u8], cells: NameCells) -> Result<u32, NameError> {
        let index = match self.lookup.get(key) {
            Some(index) => *index,
            None => self.add(key, cells)?,
        };
        self.next = index + 1;
        self.used += 1;
        Ok(self.entries[index].code)
    }

    fn add(&mut self, key: &[u8], cells: NameCells) -> Result<usize, NameError> {
        if key.len() > NAME_MAX_BYTES {
            return Err(NameError::Invalid);
        }
        let text = std::str::from_utf8(key).map_err(|_| NameError::Invalid)?;
        let (proxy, server) = split(text).ok_or(NameError::Invalid)?;
        let server = if cells == NameCells::Proxy { Cow::Borrowed("") } else { server };
        if proxy.is_empty() || (server.is_empty() && cells == NameCells::Both) {
            return Err(NameError::Invalid);
        }
        if self.entries.len() - self.at_begin.entries >= NAMES_MAX
            || self.text.len() - self.at_begin.text + key.len() > NAMES_MAX_BYTES
        {
            return Err(NameError::TooMany);
        }
        let code = *self.by_name.entry(name_key(&proxy, &server)).or_insert_with(|| {
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

/// The key of [`Codes::by_name`], different for each pair of names.
fn name_key(proxy: &str, server: &str) -> String {
    format!("{}:{proxy}{server}", proxy.len())
}

/// The two cells of a key, without their quotes. The comma between them is the one at which the
/// reader of rows splits.
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
    use super::{Codes, NAME_MAX_BYTES, NAMES_MAX, NAMES_MAX_BYTES, NameCells, NameError, split};

    fn server(codes: &mut Codes, key: &str) -> Result<u32, NameError> {
        codes.code(key.as_bytes(), NameCells::Both)
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
        assert_eq!(codes.code(b"www,FRONTEND", NameCells::Proxy), Ok(0));
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
        assert_eq!(codes.code(b"a\xff,b", NameCells::Both), Err(NameError::Invalid));
        assert_eq!(server(&mut codes, ",b"), Err(NameError::Invalid));
        assert_eq!(server(&mut codes, "a,"), Err(NameError::Invalid));
        assert_eq!(server(&mut codes, &format!("a,{}", "b".repeat(200))), Ok(0));
        assert_eq!(server(&mut codes, &"a,".repeat(NAME_MAX_BYTES)), Err(NameError::Invalid));
    }

    #[test]
    fn names_are_removed_by_a_roll_back() {
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
        assert_eq!(server(&mut codes, "b,1"), Err(NameError::TooMany));
        assert_eq!(server(&mut codes, "a,7"), Ok(7), "a known name has its code");

        let mut codes = Codes::default();
        codes.begin_snapshot();
        let long = "b".repeat(NAME_MAX_BYTES - 10);
        let found = (0..NAMES_MAX).find(|n| server(&mut codes, &format!("{long},{n}")).is_err());
        let most = NAMES_MAX_BYTES / (NAME_MAX_BYTES - 10);
        assert!(found.is_some_and(|found| found <= most), "{found:?}");
    }

    #[test]
    fn unused_names_are_removed() {
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
