//! Rows that are the same thing in several processes get the same number, their code: what the fold groups by.
//!
//! Processes list their proxies in the same order, and snapshots follow each other; so the next row is most likely the one that
//! came next before, and one comparison of bytes settles it. Else a hash does. Names that become one by cleaning (`a.b`, `a_b`)
//! share a code: their values are summed, as the original did, and a warning names both, once.

use std::collections::HashMap;

use metric::clean;
use tracing::warn;

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
    next: usize,
    /// Used codes of the current snapshot, for knowing when too many are kept.
    used: usize,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    begin: usize,
    end: usize,
    code: u32,
}

/// A name that cannot be one: empty, or no text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadName;

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
        if self.entries.len() > 4 * self.used + 1024 {
            *self = Self::default();
        }
        self.next = 0;
        self.used = 0;
    }

    /// The code of `key`, the row's text up to the end of its second cell.
    #[inline]
    pub(crate) fn code(&mut self, key: &[u8], made_of: Key) -> Result<u32, BadName> {
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
    fn look_up(&mut self, key: &[u8], made_of: Key) -> Result<u32, BadName> {
        let index = match self.lookup.get(key) {
            Some(index) => *index,
            None => self.add(key, made_of)?,
        };
        self.next = index + 1;
        self.used += 1;
        Ok(self.entries[index].code)
    }

    fn add(&mut self, key: &[u8], made_of: Key) -> Result<usize, BadName> {
        let text = std::str::from_utf8(key).map_err(|_| BadName)?;
        let (proxy, server) = split(text).ok_or(BadName)?;
        let server = if made_of == Key::Proxy { "" } else { server };
        if proxy.is_empty() || (server.is_empty() && made_of == Key::ProxyAndServer) {
            return Err(BadName);
        }
        let names = (clean::segment(proxy), clean::segment(server));
        let cleaned = format!("{}.{}", names.0, names.1);
        let code = match self.by_clean.get(&cleaned) {
            Some(code) => {
                self.tell_merged(*code, text, &cleaned);
                *code
            }
            None => {
                let code = self.names.len() as u32;
                self.names.push(names);
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

    fn tell_merged(&self, code: u32, text: &str, cleaned: &str) {
        let first = self.entries.iter().find(|entry| entry.code == code).map(|entry| {
            String::from_utf8_lossy(self.text.get(entry.begin..entry.end).unwrap_or_default())
        });
        warn!(
            first = first.as_deref().unwrap_or_default(),
            second = text,
            both = cleaned.trim_end_matches('.'),
            "two names become one path: their values are summed; rename one in HAProxy to part them"
        );
    }
}

/// The two cells of a key, without their quotes.
fn split(key: &str) -> Option<(&str, &str)> {
    let at = if key.starts_with('"') { key.get(1..)?.find("\",")? + 2 } else { key.find(',')? };
    Some((unquoted(key.get(..at)?), unquoted(key.get(at + 1..)?)))
}

fn unquoted(cell: &str) -> &str {
    cell.strip_prefix('"').and_then(|cell| cell.strip_suffix('"')).unwrap_or(cell)
}

#[cfg(test)]
mod tests {
    use super::{BadName, Codes, Key, split};

    fn server(codes: &mut Codes, key: &str) -> Result<u32, BadName> {
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
        assert_eq!(split("\"a,b\",\"c\""), Some(("a,b", "c")));
        assert_eq!(split("a,\"c\"\"d\""), Some(("a", "c\"\"d")));
        assert_eq!(split("\"a"), None);
    }

    #[test]
    fn no_text_and_no_name_are_refused() {
        let mut codes = Codes::default();
        assert_eq!(codes.code(b"a\xff,b", Key::ProxyAndServer), Err(BadName));
        assert_eq!(server(&mut codes, ",b"), Err(BadName));
        assert_eq!(server(&mut codes, "a,"), Err(BadName));
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
