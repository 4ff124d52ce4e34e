//! Why an endpoint gave no answer, what an operator can do about it, and whether it is a stats
//! socket at all.

use std::io;
use std::time::Duration;

use daemon::remedy;
use rustix::io::Errno;

use crate::source::haproxy::{Fault, Part};
use crate::writers::Broken;

/// Why an endpoint gave no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("cannot find an address: {0}; check the name and the resolver")]
    Lookup(#[source] io::Error),
    #[error("cannot connect: {}{}", .0, remedy_of_connect(.0))]
    Connect(#[source] io::Error),
    #[error("cannot send the commands: {0}; look at the log of that HAProxy")]
    Send(#[source] io::Error),
    #[error("the connection broke after {bytes} bytes: {source}; look at the log of that HAProxy")]
    Read { bytes: u64, source: io::Error },
    #[error("not done within pull-timeout ({} s): {doing}", limit.as_secs_f64())]
    Late { limit: Duration, doing: String },
    #[error(transparent)]
    Answer(#[from] Fault),
    #[error(transparent)]
    File(#[from] spool::writer::Error),
    #[error(transparent)]
    Writers(#[from] Broken),
}

/// What is at the other end in place of a stats socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OtherKind {
    pub(crate) why: &'static str,
    /// Whether it said so. A socket that says nothing may be a stats socket in trouble.
    pub(crate) is_certain: bool,
}

impl Failure {
    /// What it is without the figures that differ each time: one state for the log.
    pub(crate) fn state(&self) -> String {
        match self {
            Self::Lookup(error) => format!("look-up {:?}", error.kind()),
            Self::Connect(error) => format!("connect {:?}", error.kind()),
            Self::Send(error) => format!("send {:?}", error.kind()),
            Self::Read { source, .. } => format!("read {:?}", source.kind()),
            Self::Late { .. } => "late".to_owned(),
            Self::Answer(Fault::Nothing(part)) => format!("nothing {part:?}"),
            Self::Answer(Fault::Refused { part, .. }) => format!("refused {part:?}"),
            Self::Answer(Fault::Unlike { part, .. }) => format!("unlike {part:?}"),
            Self::Answer(Fault::Cut { part, .. }) => format!("cut {part:?}"),
            Self::Answer(Fault::TooLong { part, .. }) => format!("too long {part:?}"),
            Self::File(spool::writer::Error::Io { doing, source, .. }) => {
                format!("file {doing} {:?}", source.kind())
            }
            Self::File(_) => "file".to_owned(),
            Self::Writers(_) => "writers".to_owned(),
        }
    }

    /// Whether another attempt to connect can succeed. A datagram socket stays one.
    pub(crate) fn can_pass(&self) -> bool {
        !matches!(
            self,
            Self::Connect(error) if Errno::from_io_error(error) == Some(Errno::PROTOTYPE)
        )
    }

    /// What is at the other end, where it behaved as no stats socket does. `has_answered` says
    /// whether a stats socket has answered there before: one that closes without a byte is a
    /// HAProxy in trouble then, and to leave it out would read as a drop of all sums.
    pub(crate) fn other_kind(&self, has_answered: bool) -> Option<OtherKind> {
        let certain = |why| Some(OtherKind { why, is_certain: true });
        let silent = |why| Some(OtherKind { why, is_certain: false });
        match self {
            Self::Connect(_) if !self.can_pass() => certain("it takes datagrams"),
            Self::Answer(Fault::Nothing(Part::Info)) if !has_answered => {
                silent("it closes the connection without an answer, as a socket for traffic does")
            }
            Self::Send(error) | Self::Read { bytes: 0, source: error }
                if !has_answered && is_broken(error) =>
            {
                silent("it breaks the connection without an answer, as a socket for traffic does")
            }
            Self::Answer(fault) => fault.other_kind().and_then(certain),
            _ => None,
        }
    }

    /// Whether it shows that a stats socket is there: some of an answer came.
    pub(crate) fn shows_a_stats_socket(&self) -> bool {
        match self {
            Self::Answer(Fault::Cut { .. } | Fault::TooLong { .. }) => true,
            Self::Answer(fault) => fault.part() == Part::Stat,
            _ => false,
        }
    }
}

fn is_broken(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

fn remedy_of_connect(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "; start its HAProxy, or remove the socket",
        // Its queue of connections is full. `remedy::of` takes EAGAIN for a thread that cannot
        // start.
        io::ErrorKind::WouldBlock => {
            "; its HAProxy does not accept connections: look whether it hangs or is overloaded"
        }
        io::ErrorKind::TimedOut => "; look whether its HAProxy is overloaded, or raise timeout",
        _ => remedy::of(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: u64) -> Failure {
        Failure::Read { bytes, source: io::ErrorKind::ConnectionReset.into() }
    }

    #[test]
    fn silence_is_another_kind_of_socket_only_where_none_has_answered_before() {
        let nothing = || Failure::Answer(Fault::Nothing(Part::Info));
        let send = || Failure::Send(io::ErrorKind::BrokenPipe.into());
        for failure in [nothing(), read(0), send()] {
            assert!(failure.other_kind(false).is_some(), "{failure}");
            assert!(failure.other_kind(true).is_none(), "{failure}");
        }
        let refused = Failure::Connect(io::ErrorKind::ConnectionRefused.into());
        let late = Failure::Late { limit: Duration::ZERO, doing: String::new() };
        for failure in [read(1), refused, late, Failure::Answer(Fault::Nothing(Part::Stat))] {
            assert!(failure.other_kind(false).is_none(), "{failure}");
        }
        assert!(Failure::Connect(Errno::PROTOTYPE.into()).other_kind(true).is_some());
    }

    #[test]
    fn the_state_holds_no_figures_that_change() {
        assert_eq!(read(1).state(), read(2).state());
        let cut = |bytes| Failure::Answer(Fault::Cut { part: Part::Stat, bytes }).state();
        assert_eq!(cut(1), cut(2));
        assert_ne!(cut(1), read(1).state());
    }

    #[test]
    fn a_refused_connection_says_what_to_do() {
        let text = Failure::Connect(Errno::CONNREFUSED.into()).to_string();
        assert!(text.ends_with("; start its HAProxy, or remove the socket"), "{text}");
        let text = Failure::Connect(Errno::AGAIN.into()).to_string();
        assert!(text.contains("look whether it hangs") && !text.contains("TasksMax"), "{text}");
        let text = Failure::Connect(Errno::MFILE.into()).to_string();
        assert!(text.contains("LimitNOFILE"), "{text}");
    }
}
