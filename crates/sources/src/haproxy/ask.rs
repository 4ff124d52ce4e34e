//! The dialogue with a stats socket, which takes a line of commands, sends an answer and an empty
//! line for each command, and closes.
//!
//! Both commands go on one connection. A socket that takes only one command gets two connections.
//! Through a master CLI each command goes to one worker (`@!PID`) and has its own connection. The
//! answers are stored as they were sent, each with its empty line, as the Python program stores
//! them. The module `answers` finds the end of an answer.

use super::natures::{Known, Natures, Scan};
use crate::{Pipelining, Scope};
use answers::Answers;

pub use fault::Fault;

mod answers;
mod fault;
mod list;

/// The endings of the two files of an endpoint.
pub const SUFFIXES: [&str; 2] = [Command::Info.suffix(), Command::Stat.suffix()];

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
    pipelining: Pipelining,
    scope: Scope,
    /// The requests that were sent.
    sent: usize,
    /// The request of the current connection.
    line: Vec<u8>,
    answer_limit: u64,
    /// The answers on the current connection.
    answers: Answers,
    /// Reads the answers for the question about new columns.
    scan: Scan,
}

/// The commands of one connection.
const BOTH: &[Command] = &[Command::Info, Command::Stat];

/// The arguments that leave out servers: all proxies, of the types 1 (frontend) and 2 (backend).
const PROXIES_ALONE: &str = " -1 3 -1";

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
    pub(crate) fn new(pipelining: Pipelining, answer_limit: u64) -> Self {
        Self {
            pipelining,
            scope: Scope { worker: None, servers: true },
            sent: 0,
            line: Vec::new(),
            answer_limit,
            answers: Answers::new(&[], answer_limit),
            scan: Scan::default(),
        }
    }

    pub(crate) const fn set_scope(&mut self, scope: Scope) {
        self.scope = scope;
    }

    pub(crate) fn request(&mut self) -> Option<&[u8]> {
        let commands: &'static [Command] = match (self.pipelining, self.sent) {
            (Pipelining::On, 0) => BOTH,
            (Pipelining::Off, 0) => &[Command::Info],
            (Pipelining::Off, 1) => &[Command::Stat],
            _ => return None,
        };
        self.sent += 1;
        self.answers = Answers::new(commands, self.answer_limit);
        let texts: Vec<String> = commands.iter().map(|command| self.text_of(*command)).collect();
        self.line = texts.join(";").into_bytes();
        self.line.push(b'\n');
        Some(&self.line)
    }

    /// A command with its arguments, for this process or for a worker of a master.
    fn text_of(&self, command: Command) -> String {
        let arguments = match command {
            Command::Stat if !self.scope.servers => PROXIES_ALONE,
            Command::Info | Command::Stat => "",
        };
        match self.scope.worker {
            Some(pid) => format!("@!{pid} {}{arguments}", command.text()),
            None => format!("{}{arguments}", command.text()),
        }
    }

    pub(crate) fn receive<E: From<crate::Fault>>(
        &mut self,
        bytes: &[u8],
        mut write: impl FnMut(&str, &[u8], bool) -> Result<(), E>,
    ) -> Result<(), E> {
        let Self { answers, scan, scope, .. } = self;
        answers.receive(bytes, |command, bytes, is_whole| {
            if scope.worker.is_none() {
                scan.read(command, bytes, scope.servers);
            }
            write(command.suffix(), bytes, is_whole)
        })
    }

    pub(crate) fn recall(&mut self, known: Known) {
        self.scan.recall(known);
    }

    pub(crate) const fn known(&self) -> &Known {
        self.scan.known()
    }

    pub(crate) fn questions(&self) -> Vec<Vec<u8>> {
        self.scan.questions(self.pipelining)
    }

    pub(crate) fn end_questions(&mut self, natures: Natures) {
        self.scan.end(natures);
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
