//! Reads a topic from its beginning to its end with kcat.

use std::io;
use std::process::{Command, Stdio};

/// A line with the numbers of a message, then its key and its payload, byte for byte.
const FORMAT: &str = "%p %o %K %S\\n%k%s";

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its partition.
    pub partition: i32,
    /// Its key; `None` if it has none.
    pub key: Option<String>,
    /// Its payload.
    pub payload: Vec<u8>,
}

/// All messages, in the order of their partitions and offsets.
pub(super) fn records(kcat: &str, address: &str, topic: &str) -> io::Result<Vec<Record>> {
    let mut command = Command::new(kcat);
    command.args(["-C", "-q", "-e", "-o", "beginning", "-f", FORMAT]);
    command.args(["-b", address, "-t", topic]).stdin(Stdio::null());
    let output = command.output()?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        return Err(io::Error::other(format!("kcat: {}: {text}", output.status)));
    }
    let mut records = Vec::new();
    let mut rest = output.stdout.as_slice();
    while !rest.is_empty() {
        let (numbers, record, after) = parse(rest)
            .ok_or_else(|| io::Error::other(format!("kcat printed no message: {rest:?}")))?;
        records.push((numbers, record));
        rest = after;
    }
    records.sort_by_key(|(numbers, _)| *numbers);
    Ok(records.into_iter().map(|(_, record)| record).collect())
}

/// A message with its partition and offset, and the bytes after it.
fn parse(text: &[u8]) -> Option<((i32, i64), Record, &[u8])> {
    let end = text.iter().position(|byte| *byte == b'\n')?;
    let line = std::str::from_utf8(&text[..end]).ok()?;
    let mut words = line.split(' ');
    let partition = words.next()?.parse().ok()?;
    let offset = words.next()?.parse().ok()?;
    let key_bytes: i64 = words.next()?.parse().ok()?;
    let payload_bytes = words.next()?.parse().ok()?;
    let rest = &text[end + 1..];
    let (key, rest) = match usize::try_from(key_bytes) {
        Ok(bytes) => {
            let (key, rest) = rest.split_at_checked(bytes)?;
            (Some(String::from_utf8(key.to_vec()).ok()?), rest)
        }
        // kcat prints -1 for no key.
        Err(_) => (None, rest),
    };
    let (payload, rest) = rest.split_at_checked(payload_bytes)?;
    Some(((partition, offset), Record { partition, key, payload: payload.to_vec() }, rest))
}
