//! The list of commands in a refusal, which tells a master CLI from a stats socket.

use std::mem;

/// Bytes of a refusal in which a list of commands is looked at. The master CLI has about twenty, of
/// less than 100 bytes each.
pub(super) const LIST_BYTES: usize = 8 * 1024;

/// A command that the master CLI alone lists.
const OF_MASTER: &[u8] = b"show proc";

/// Looks for [`OF_MASTER`] at the beginning of a line, behind blanks, as the bytes of a refusal
/// come.
#[derive(Debug)]
pub(super) struct CommandList {
    /// How many more bytes are looked at.
    left: usize,
    /// How many bytes of [`OF_MASTER`] this line has begun with; `None` once it has another.
    same: Option<usize>,
    /// Whether nothing of this line has come.
    line_start: bool,
}

impl CommandList {
    pub(super) const fn new() -> Self {
        Self { left: LIST_BYTES, same: Some(0), line_start: true }
    }

    /// Whether the master refuses; `None` until it is certain. An empty line ends every answer.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Option<bool> {
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
