//! uWSGI's stats server, which sends one JSON document to whoever connects, and closes.
//!
//! The answer holds the variables of the requests that run, cookies among them. They are cut out
//! before any byte goes to a file; the module `scan` does that.

pub mod ask;
mod number;
mod preface;
mod read;
mod scan;
mod table;
mod text;

pub use preface::Requests;
pub(crate) use read::read;

use crate::Program;

/// How the stats server is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Carrier {
    /// It sends its document to each connection.
    Plain,
    /// It answers a request by HTTP (`--stats-http`).
    Http,
}

/// The ending of the file of an application.
pub(crate) const SUFFIXES: [&str; 1] = [SUFFIX];
const SUFFIX: &str = "_uwsgi";

pub(crate) const LEFT_OUT: &str = "left out: it is no stats server of uWSGI";
pub(crate) const NO_SOCKET: &str = "no snapshot: no socket matches servers of [uwsgi]; give uWSGI \
                                    a stats socket there (`stats = PATH`), or correct the pattern";

/// Bytes of a version or of a process number at most.
const VALUE_MAX_BYTES: usize = 40;

/// The version and the master's process number in the beginning of a file. They come before the
/// first list, in which other keys of these names stand.
pub(crate) fn identify(head: &[u8]) -> Program {
    let (_, document) = preface::split(head);
    let own = document.split(|byte| *byte == b'[').next().unwrap_or_default();
    Program { version: value(own, b"\"version\":"), process: value(own, b"\"pid\":") }
}

fn value(bytes: &[u8], key: &[u8]) -> Option<String> {
    let at = bytes.windows(key.len()).position(|window| window == key)?;
    let rest = bytes[at + key.len()..].trim_ascii_start();
    let quoted = rest.strip_prefix(b"\"");
    let is_end = |byte: &u8| match quoted {
        Some(_) => *byte == b'"',
        None => !byte.is_ascii_digit(),
    };
    let rest = quoted.unwrap_or(rest);
    let value = &rest[..rest.iter().position(is_end)?.min(VALUE_MAX_BYTES)];
    (!value.is_empty()).then(|| value.escape_ascii().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_keys_name_the_program() {
        let found = |head: &[u8]| {
            let Program { version, process } = identify(head);
            [version, process].map(Option::unwrap_or_default)
        };
        let head = b"{\"haproxystats\":1}\n{\n\t\"version\":\"2.0.21\",\n\t\"pid\":77,\"locks\":[";
        assert_eq!(found(head), ["2.0.21", "77"]);
        assert_eq!(found(b"{\"workers\":[{\"pid\":7,"), ["", ""], "the pid of a worker");
        assert_eq!(found(b"{\"version\":\"\x1b[2J\",\"pid\":7"), ["", ""], "cut");
        assert_eq!(found(b""), ["", ""]);
    }
}
