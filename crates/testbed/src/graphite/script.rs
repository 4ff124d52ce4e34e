//! What a receiver does with a connection: step by step, or as one of the manners that have a name.

use std::time::Duration;

/// One thing that is done with a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Reads so many bytes, fewer where the sender ends before.
    Read(usize),
    /// The same, but a sender that ends before ends the script too.
    Cut(usize),
    /// Reads until the sender has closed its side.
    ReadToEnd,
    /// Reads a byte, waits so long, and so on until the sender has closed its side.
    Trickle(Duration),
    /// Looks until so many bytes lie unread.
    AwaitUnread(usize),
    /// Looks until the sender's kernel and ours hold so many bytes together.
    AwaitWritten(u64),
    /// Looks until the sender has closed its side. We may not have heard of it, because its end can
    /// lie behind bytes that we do not take.
    AwaitHalfClose,
    /// Says so many bytes.
    Say(usize),
    /// Says so many bytes, each after the sender has read the one before.
    SayOneByOne(usize),
    /// Closes its own side and looks until the sender's kernel has heard of it.
    HalfClose,
    /// Makes the end of the script a reset.
    Reset,
    /// Does nothing for so long, less if the receiver goes down or finishes.
    Wait(Duration),
    /// Does nothing until the receiver goes down or finishes.
    Hold,
}

/// What a receiver does with all connections that come from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Reads to the end, then closes: a good carbon.
    Whole,
    /// Closes before anything is read.
    CloseAtOnce,
    /// Reads a little, then closes while more lies unread, which the kernel makes a reset.
    Reset,
    /// Reads nothing and keeps the connection.
    NeverRead,
    /// Reads all and keeps the connection.
    NeverClose,
    /// Reads so many bytes, or to the end where that comes first.
    Cut(usize, Ending),
    /// Likewise, one byte more on each connection, beginning with none.
    Climb(Ending),
    /// Reads a byte at a time, with a pause after each.
    Trickle(Duration),
}

/// What follows the bytes that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// As a program that ends: FIN, or RST by the kernel where something is left unread.
    Close,
    /// RST at once.
    Reset,
    /// FIN, and the rest is read all the same.
    HalfClose,
    /// FIN, and nothing more is read.
    Fin,
    /// Nothing at all.
    Stall,
    /// Nothing for so long, then RST.
    Pause(Duration),
}

impl Manner {
    /// The steps; `climbed` counts the connections of [`Manner::Climb`].
    pub(super) fn script(self, climbed: &mut usize) -> Vec<Step> {
        match self {
            Self::Whole => vec![Step::ReadToEnd],
            Self::CloseAtOnce => Vec::new(),
            Self::Reset => vec![Step::Cut(1), Step::AwaitUnread(1)],
            Self::NeverRead => vec![Step::Hold],
            Self::NeverClose => vec![Step::ReadToEnd, Step::Hold],
            Self::Trickle(pause) => vec![Step::Trickle(pause)],
            Self::Cut(after, ending) => ending.behind(after),
            Self::Climb(ending) => {
                let after = *climbed;
                *climbed += 1;
                ending.behind(after)
            }
        }
    }
}

impl Ending {
    fn behind(self, after: usize) -> Vec<Step> {
        let mut steps = vec![Step::Cut(after)];
        match self {
            Self::Close => {}
            Self::Reset => steps.push(Step::Reset),
            Self::HalfClose => steps.extend([Step::HalfClose, Step::ReadToEnd]),
            Self::Fin => steps.extend([Step::HalfClose, Step::Hold]),
            Self::Stall => steps.push(Step::Hold),
            Self::Pause(time) => steps.extend([Step::Wait(time), Step::Reset]),
        }
        steps
    }
}
