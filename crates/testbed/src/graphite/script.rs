//! The script of a connection: single steps, or a manner with a name.

use std::time::Duration;

/// One step on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Reads that many bytes, or fewer if the sender ends before.
    Read(usize),
    /// Reads that many bytes; a sender that ends before ends the script too.
    Cut(usize),
    /// Reads until the sender has closed its side.
    ReadToEnd,
    /// Reads a byte at a time, with this pause after each, until the sender has closed its side.
    Trickle(Duration),
    /// Waits until that many bytes are unread.
    AwaitUnread(usize),
    /// Waits until the sender's kernel and our kernel have that many bytes together.
    AwaitWritten(u64),
    /// Waits until the sender has closed its side. Its FIN may not have come yet, because it
    /// follows bytes that we do not read.
    AwaitHalfClose,
    /// Replies with that many bytes.
    Reply(usize),
    /// Replies with that many bytes, each after the sender has read the byte before.
    ReplyOneByOne(usize),
    /// Closes our side and waits until the sender's kernel has acknowledged that.
    HalfClose,
    /// Makes the end of the script a reset.
    Reset,
    /// Waits for this time, or less if the receiver goes down or finishes.
    Wait(Duration),
    /// Keeps the connection open until the receiver goes down or finishes.
    KeepOpen,
}

/// The behaviour of a receiver on all later connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Reads to the end, then closes: a good carbon.
    Whole,
    /// Closes before anything is read.
    CloseAtOnce,
    /// Reads a little, then closes while more bytes are unread, which the kernel makes a reset.
    Reset,
    /// Reads nothing and keeps the connection.
    NeverRead,
    /// Reads all and keeps the connection.
    NeverClose,
    /// Reads that many bytes, or to the end if that comes first.
    Cut(usize, Ending),
    /// Reads one byte more on each connection, beginning with none.
    Climb(Ending),
    /// Reads a byte at a time, with a pause after each.
    Trickle(Duration),
}

/// What the receiver does after the bytes that it reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Closes like a program that ends: FIN, or RST by the kernel if bytes are unread.
    Close,
    /// Sends RST at once.
    Reset,
    /// Sends FIN and reads the rest.
    HalfClose,
    /// Sends FIN and reads nothing more.
    Fin,
    /// Does nothing.
    Stall,
    /// Does nothing for this time, then sends RST.
    Pause(Duration),
}

impl Manner {
    /// The steps; `climbed` counts the connections of [`Manner::Climb`].
    pub(super) fn script(self, climbed: &mut usize) -> Vec<Step> {
        match self {
            Self::Whole => vec![Step::ReadToEnd],
            Self::CloseAtOnce => Vec::new(),
            Self::Reset => vec![Step::Cut(1), Step::AwaitUnread(1)],
            Self::NeverRead => vec![Step::KeepOpen],
            Self::NeverClose => vec![Step::ReadToEnd, Step::KeepOpen],
            Self::Trickle(pause) => vec![Step::Trickle(pause)],
            Self::Cut(after, ending) => ending.steps_after(after),
            Self::Climb(ending) => {
                let after = *climbed;
                *climbed += 1;
                ending.steps_after(after)
            }
        }
    }
}

impl Ending {
    fn steps_after(self, after: usize) -> Vec<Step> {
        let mut steps = vec![Step::Cut(after)];
        match self {
            Self::Close => {}
            Self::Reset => steps.push(Step::Reset),
            Self::HalfClose => steps.extend([Step::HalfClose, Step::ReadToEnd]),
            Self::Fin => steps.extend([Step::HalfClose, Step::KeepOpen]),
            Self::Stall => steps.push(Step::KeepOpen),
            Self::Pause(time) => steps.extend([Step::Wait(time), Step::Reset]),
        }
        steps
    }
}
