//! Rows that are the same thing in several processes get the same number, their code: what the fold groups by.
//!
//! Processes list their proxies in the same order, and snapshots follow each other; so the next row is most likely the one that
//! came next before, and one comparison of bytes settles it. Else a hash does. Names that become one by cleaning (`a.b`, `a_b`)
//! share a code: their values are summed, as the original did, and a warning names both, once.
//!
//! A forged dump can make up names without end; so a snapshot may bring only so many new ones, and what a file brought that is
//! left out is forgotten.

use std::borrow::Cow;
use std::collections::HashMap;

use model::clean;

use crate::findings::Oddity;

/// The codes of one kind of proxy, kept from snapshot to snapshot.
#[derive(Debug, Default)]
pub(crate) struct Codes {
    /// All keys as they stand in the files, one behind the other.
    text: Vec<u8>,
    entries: Vec<Entry>,
    lookup: HashMap<Box<[u8]>, usize>,
    by_clean: HashMap<String, u32>,
    /// Clean names by code.
    names: Vec<(String, String)>,
    /// The first entry of each code.
    firsts: Vec<usize>,
    next: usize,
    /// Used codes of the current snapshot, for knowing when too many are kept.
    used: usize,
    /// Where the current snapshot began.
    at_begin: Mark,
    /// How many names were found to share a code.
    merges: usize,
    /// Those of them that nobody has taken yet.
    oddities: Vec<Oddity>,
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
/// Names that share a code are told one by one up to this many.
const MERGES_MAX: usize = 20;

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

    /// A new snapshot begins. Codes that most likely nobody uses any more are forgotten, so that memory does not grow with every
    /// server that ever was.
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
            self.by_clean.remove(&joined(&proxy, &server));
        }
        self.firsts.truncate(mark.names);
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

    /// Clean names by code: proxy and server, or the proxy alone.
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
        let names = (clean::segment(&proxy), clean::segment(&server));
        let cleaned = joined(&names.0, &names.1);
        let code = match self.by_clean.get(&cleaned) {
            Some(code) => {
                let code = *code;
                self.note_merge(code, text, &cleaned);
                code
            }
            None => {
                let code = self.names.len() as u32;
                self.names.push(names);
                self.firsts.push(self.entries.len());
                self.by_clean.insert(cleaned, code);
                code
            }
        };
        let begin = self.text.len();
        self.text.extend_from_slice(key);
        let index = self.entries.len();
        self.entries.push(Entry { begin, end: self.text.len(), code });
        self.lookup.insert(key.into(), index);
        Ok(index)
    }

    /// What was odd about names since the last call.
    pub(crate) fn take_oddities(&mut self) -> Vec<Oddity> {
        std::mem::take(&mut self.oddities)
    }

    fn note_merge(&mut self, code: u32, text: &str, cleaned: &str) {
        self.merges += 1;
        let both = cleaned.trim_end_matches('.');
        let text = if self.merges <= MERGES_MAX {
            let first = self.firsts.get(code as usize).and_then(|first| self.entries.get(*first));
            let first = first.and_then(|entry| self.text.get(entry.begin..entry.end));
            let first = String::from_utf8_lossy(first.unwrap_or_default());
            format!(
                "{first:?} and {text:?} become one path: their values are summed; rename one in \
                 HAProxy to part them"
            )
        } else if self.merges == MERGES_MAX + 1 {
            "more names become one path than are told one by one".to_owned()
        } else {
            return;
        };
        let subject = both.to_owned();
        self.oddities.push(Oddity { subject, state: "names", text, lasts: false });
    }
}

/// What [`Codes::by_clean`] knows names by; no clean name has a dot.
fn joined(proxy: &str, server: &str) -> String {
    format!("{proxy}.{server}")
}

/// The two cells of a key, without their quotes; they are parted where the rows' reader parted them.
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
    fn names_that_clean_to_one_share_a_code_and_other_pairs_do_not() {
        let mut codes = Codes::default();
        assert_eq!(server(&mut codes, "a.b,c"), Ok(0));
        assert_eq!(server(&mut codes, "a_b,c"), Ok(0));
        assert_eq!(server(&mut codes, "a,b_c"), Ok(1));
        assert_eq!(codes.names()[0], ("a_b".to_owned(), "c".to_owned()));
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
        let new: Vec<_> = ["b.c,1", "b_c,1", "a,2"].map(|key| server(&mut codes, key)).into();
        assert_eq!(new, [Ok(1), Ok(1), Ok(2)]);
        codes.roll_back(mark);
        let again: Vec<_> = ["a,2", "a,1", "b_c,1"].map(|key| server(&mut codes, key)).into();
        assert_eq!(again, [Ok(1), Ok(0), Ok(2)]);
        assert_eq!(codes.names()[2], ("b_c".to_owned(), "1".to_owned()));
        assert_eq!((codes.names().len(), codes.firsts.len(), codes.by_clean.len()), (3, 3, 3));
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
