//! Why the answers of a stats socket cannot be used, and what a fault shows about the socket.

use super::Command;
use crate::haproxy::master;

/// Why an answer cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The connection ended before the first byte of the answer.
    #[error(
        "closed the connection without an answer to `{}`; look at the log of that HAProxy",
        .0.text()
    )]
    Empty(Command),
    /// The command was refused.
    #[error(
        "refused `{}`: \"{quote}\"; check that it is a stats socket, and its level",
        command.text()
    )]
    Refused {
        /// The command.
        command: Command,
        /// The first line, escaped.
        quote: String,
        /// Whether it is the refusal of a master CLI.
        by_master: bool,
    },
    /// The bytes are no answer to the command.
    #[error(
        "the answer to `{}` is not one, it begins with \"{quote}\"; check that it is a stats \
         socket",
        command.text()
    )]
    Malformed {
        /// The command.
        command: Command,
        /// The first line, escaped.
        quote: String,
    },
    /// The connection ended before the closing empty line.
    #[error(
        "the answer to `{}` ended after {bytes} bytes without its closing empty line; look whether \
         that HAProxy was restarted, and at its `stats timeout`",
        command.text()
    )]
    Truncated {
        /// The command.
        command: Command,
        /// The number of bytes that came.
        bytes: u64,
    },
    /// More than `answer-limit`.
    #[error(
        "the answer to `{}` is longer than answer-limit allows ({limit} bytes); raise answer-limit",
        command.text()
    )]
    TooLong {
        /// The command.
        command: Command,
        /// The largest size.
        limit: u64,
    },
}

impl Fault {
    /// Whether asking one command at a time may help: the line was refused, only its first command
    /// was answered, or the begin of the second answer was not found.
    pub(crate) fn suggests_single_requests(&self) -> bool {
        matches!(
            self,
            Self::Refused { .. }
                | Self::Empty(Command::Stat)
                | Self::Malformed { command: Command::Stat, .. }
        )
    }

    pub(crate) const fn is_by_master(&self) -> bool {
        matches!(self, Self::Refused { command: Command::Info, by_master: true, .. })
    }

    pub(crate) fn says_worker_ended(&self) -> bool {
        match self {
            Self::Malformed { quote, .. } | Self::Refused { quote, .. } => {
                master::says_ended(quote)
            }
            _ => false,
        }
    }

    pub(crate) const fn is_silence(&self) -> bool {
        matches!(self, Self::Empty(Command::Info))
    }

    pub(crate) const fn shows_this_kind(&self) -> bool {
        match self {
            Self::Truncated { .. } | Self::TooLong { .. } => true,
            _ => matches!(self.command(), Command::Stat),
        }
    }

    pub(crate) fn state(&self) -> String {
        match self {
            Self::Empty(command) => format!("empty {command:?}"),
            Self::Refused { command, .. } => format!("refused {command:?}"),
            Self::Malformed { command, .. } => format!("malformed {command:?}"),
            Self::Truncated { command, .. } => format!("truncated {command:?}"),
            Self::TooLong { command, .. } => format!("too long {command:?}"),
        }
    }

    const fn command(&self) -> Command {
        match self {
            Self::Empty(command)
            | Self::Refused { command, .. }
            | Self::Malformed { command, .. }
            | Self::Truncated { command, .. }
            | Self::TooLong { command, .. } => *command,
        }
    }

    /// The kind of the socket, if its answer to the first command shows that it is no stats socket.
    pub(crate) fn other_kind(&self) -> Option<&'static str> {
        match self {
            Self::Refused { command: Command::Info, by_master: true, .. } => {
                Some("it is the master CLI of HAProxy")
            }
            Self::Malformed { command: Command::Info, quote } if quote.starts_with("HTTP/") => {
                Some("it answers in HTTP, as a socket for traffic does")
            }
            // HAProxy sends a status of three digits to a peer that breaks the protocol of peers.
            Self::Malformed { command: Command::Info, quote }
                if quote.len() == 3 && quote.bytes().all(|byte| byte.is_ascii_digit()) =>
            {
                Some("it answers in the protocol of peers")
            }
            _ => None,
        }
    }
}
