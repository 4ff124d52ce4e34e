//! The dialogue with a stats socket, which takes a line of commands, sends an answer and an empty
//! line for each command, and closes.
//!
//! Both commands go on one connection. A socket that takes only one command gets two connections.
//! The answers are stored as they were sent, each with its empty line, as the Python program stores
//! them. The module `answers` finds the end of an answer.

use crate::Pipelining;
use answers::Answers;

pub use fault::Fault;

mod answers;
mod fault;
mod list;

/// The endings of the two files of an endpoint.
pub(crate) const SUFFIXES: [&str; 2] = [Command::Info.suffix(), Command::Stat.suffix()];

/// A command, which also names its answer and the file of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// `show info`
    Info,
    /// `show stat`
    Stat,
}

/// The requests of a stats socket and their answers, as they come.
#[derive(Debug)]
pub struct Dialogue {
    /// The requests that were not sent yet.
    requests: &'static [Request],
    answer_limit: u64,
    /// The answers on the current connection.
    answers: Answers,
}

/// The request of one connection.
#[derive(Debug, Clone, Copy)]
struct Request {
    line: &'static [u8],
    /// The commands in it, in order.
    commands: &'static [Command],
}

const PIPELINED: &[Request] =
    &[Request { line: b"show info;show stat\n", commands: &[Command::Info, Command::Stat] }];

const SINGLE: &[Request] = &[
    Request { line: b"show info\n", commands: &[Command::Info] },
    Request { line: b"show stat\n", commands: &[Command::Stat] },
];

impl Command {
    /// The text of the command.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Info => "show info",
            Self::Stat => "show stat",
        }
    }

    /// The ending of the answer's file.
    #[must_use]
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Info => "_info",
            Self::Stat => "_stat",
        }
    }
}

impl Dialogue {
    pub(crate) const fn new(pipelining: Pipelining, answer_limit: u64) -> Self {
        let requests = match pipelining {
            Pipelining::On => PIPELINED,
            Pipelining::Off => SINGLE,
        };
        Self { requests, answer_limit, answers: Answers::new(&[], answer_limit) }
    }

    pub(crate) fn request(&mut self) -> Option<&[u8]> {
        let (request, later) = self.requests.split_first()?;
        self.requests = later;
        self.answers = Answers::new(request.commands, self.answer_limit);
        Some(request.line)
    }

    pub(crate) fn receive<E: From<crate::Fault>>(
        &mut self,
        bytes: &[u8],
        mut write: impl FnMut(&str, &[u8], bool) -> Result<(), E>,
    ) -> Result<(), E> {
        self.answers
            .receive(bytes, |command, bytes, is_whole| write(command.suffix(), bytes, is_whole))
    }

    pub(crate) fn end_of_connection(&mut self) -> Result<(), Fault> {
        self.answers.end()
    }

    pub(crate) const fn file_bytes(&self) -> u64 {
        self.answers.bytes()
    }
}

#[cfg(test)]
mod tests;
