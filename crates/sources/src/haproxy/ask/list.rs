//! The list of commands in a refusal, which tells a master CLI from a stats socket.

use std::mem;

/// Bytes of a refusal that are searched at most. The master CLI lists about twenty commands of less
/// than 100 bytes each.
pub(super) const LIST_BYTES: usize = 8 * 1024;

/// A command that only the master CLI lists.
const OF_MASTER: &[u8] = b"show proc";

/// Searches the bytes of a refusal, as they come, for [`OF_MASTER`] at the beginning of a line,
/// after blanks.
#[derive(Debug)]
pub(super) struct CommandList {
    /// The number of bytes that are still searched.
    left: usize,
    /// The number of bytes of [`OF_MASTER`] at the beginning of this line; `None` if the line
    /// differs.
    same: Option<usize>,
    /// Whether the next byte begins a line.
    line_start: bool,
}

impl CommandList {
    pub(super) const fn new() -> Self {
        Self { left: LIST_BYTES, same: Some(0), line_start: true }
    }

    /// Whether a master CLI refuses; `None` until that is certain. An empty line ends the list.
    pub(super) fn by_master(&mut self, bytes: &[u8]) -> Option<bool> {
        for byte in bytes {
            if self.left == 0 {
                return Some(false);
            }
            self.left -= 1;
            if *byte == b'\n' {
                if mem::replace(&mut self.line_start, true) {
                    return Some(false);
                }
                self.same = Some(0);
                continue;
            }
            self.line_start = false;
            self.same = match self.same {
                Some(0) if matches!(byte, b' ' | b'\t') => Some(0),
                Some(same) if *byte == OF_MASTER[same] => Some(same + 1),
                _ => None,
            };
            if self.same == Some(OF_MASTER.len()) {
                return Some(true);
            }
        }
        None
    }
}
