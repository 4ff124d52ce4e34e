//! Why an endpoint gave no answer, what an operator can do about it, and whether the socket is an
//! endpoint of its kind at all.

use std::io;
use std::time::Duration;

use daemon::remedy;
use rustix::io::Errno;
use sources::{Fault, Source};

use crate::writers::WorkError;

/// Why an endpoint gave no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("cannot find an address: {0}; check the name and the resolver")]
    Lookup(#[source] io::Error),
    #[error("cannot connect: {source}{}", remedy_of_connect(*peer, source))]
    Connect { peer: Source, source: io::Error },
    #[error("cannot send the commands: {source}; look at the log of that {}", peer.program())]
    Send { peer: Source, source: io::Error },
    #[error(
        "the connection broke after {bytes} bytes: {source}; look at the log of that {}",
        peer.program()
    )]
    Read { peer: Source, bytes: u64, source: io::Error },
    #[error("not done within pull-timeout ({} s): {doing}", limit.as_secs_f64())]
    Timeout { limit: Duration, doing: String },
    #[error(
        "no answer within {} s; look whether that worker hangs, and at the log of its HAProxy",
        limit.as_secs_f64()
    )]
    WorkerTimeout { limit: Duration },
    #[error(
        "no list of its workers within {} s; look at the master's log, and whether its ten places \
         for clients are taken (`ss -xp`)",
        limit.as_secs_f64()
    )]
    ListTimeout { limit: Duration },
    #[error(
        "the current worker {worker} is not asked, because its last requests were lost; look \
         whether it hangs"
    )]
    WorkerGivenUp { worker: String },
    #[error("pull-timeout was over before this worker could be asked; raise it")]
    NoTurn,
    #[error("the master has no current worker; look at the log of that HAProxy")]
    NoWorker,
    #[error(transparent)]
    Answer(#[from] Fault),
    #[error(transparent)]
    File(#[from] spool::writer::Error),
    #[error(transparent)]
    Writers(#[from] WorkError),
}

/// The socket at the other end is not an endpoint of the kind that was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OtherKind {
    pub(crate) why: &'static str,
    /// Whether its answer shows so. A socket without an answer may be an endpoint in trouble.
    pub(crate) is_certain: bool,
}

impl Failure {
    /// The failure without the numbers that differ each time: one state for the log.
    pub(crate) fn state(&self) -> String {
        match self {
            Self::Lookup(error) => format!("look-up {:?}", error.kind()),
            Self::Connect { source, .. } => format!("connect {:?}", source.kind()),
            Self::Send { source, .. } => format!("send {:?}", source.kind()),
            Self::Read { source, .. } => format!("read {:?}", source.kind()),
            Self::Timeout { .. } => "timeout".to_owned(),
            Self::NoTurn => "no turn".to_owned(),
            Self::NoWorker => "no worker".to_owned(),
            Self::WorkerTimeout { .. } => "worker timeout".to_owned(),
            Self::ListTimeout { .. } => "list timeout".to_owned(),
            Self::WorkerGivenUp { .. } => "worker given up".to_owned(),
            Self::Answer(fault) => fault.state(),
            Self::File(spool::writer::Error::Io { doing, source, .. }) => {
                format!("file {doing} {:?}", source.kind())
            }
            Self::File(_) => "file".to_owned(),
            Self::Writers(_) => "writers".to_owned(),
        }
    }

    /// Whether another attempt to connect can succeed, which a datagram socket never accepts.
    pub(crate) fn can_pass(&self) -> bool {
        !matches!(
            self,
            Self::Connect { source, .. }
                if Errno::from_io_error(source) == Some(Errno::PROTOTYPE)
        )
    }

    /// The other kind that the behaviour of the socket shows, if any. `has_answered` says whether
    /// an endpoint has answered there before. A socket that then closes without a byte is an
    /// endpoint in trouble, and leaving it out would look like a drop of all sums.
    pub(crate) fn other_kind(&self, has_answered: bool) -> Option<OtherKind> {
        let certain = |why| Some(OtherKind { why, is_certain: true });
        let silent = |why| Some(OtherKind { why, is_certain: false });
        match self {
            Self::Connect { .. } if !self.can_pass() => certain("it takes datagrams"),
            Self::Answer(fault) if fault.is_silence() && !has_answered => {
                silent("it closes the connection without an answer, as a socket for traffic does")
            }
            Self::Send { source, .. } | Self::Read { bytes: 0, source, .. }
                if !has_answered && is_broken(source) =>
            {
                silent("it breaks the connection without an answer, as a socket for traffic does")
            }
            Self::Answer(fault) => fault.other_kind().and_then(certain),
            _ => None,
        }
    }

    /// Whether the time was over.
    pub(crate) const fn is_timeout(&self) -> bool {
        matches!(
            self,
            Self::Timeout { .. }
                | Self::WorkerTimeout { .. }
                | Self::ListTimeout { .. }
                | Self::NoTurn
        )
    }

    /// Whether a worker behind a master, not the master or our disk, can be the cause.
    pub(crate) const fn is_of_worker(&self) -> bool {
        matches!(
            self,
            Self::Timeout { .. }
                | Self::WorkerTimeout { .. }
                | Self::Answer(_)
                | Self::Read { .. }
                | Self::Send { .. }
        )
    }

    /// Whether the socket has refused the commands of a stats socket as a master CLI does.
    pub(crate) const fn is_by_master(&self) -> bool {
        matches!(self, Self::Answer(fault) if fault.is_by_master())
    }

    /// Whether a part of an answer came, which shows that an endpoint of its kind is there.
    pub(crate) fn shows_this_kind(&self) -> bool {
        matches!(self, Self::Answer(fault) if fault.shows_this_kind())
    }
}

fn is_broken(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

fn remedy_of_connect(peer: Source, error: &io::Error) -> String {
    let program = peer.program();
    match error.kind() {
        io::ErrorKind::ConnectionRefused => format!("; start its {program}, or remove the socket"),
        // Its queue of connections is full. `remedy::of` does not fit, because it takes EAGAIN for
        // the error of a thread that cannot start.
        io::ErrorKind::WouldBlock => format!(
            "; its {program} does not accept connections: look whether it hangs or is overloaded"
        ),
        io::ErrorKind::TimedOut => {
            format!("; look whether its {program} is overloaded, or raise timeout")
        }
        _ => remedy::of(error).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use sources::Pipelining;

    use super::*;

    const PEER: Source = Source::HAProxy;

    fn read(bytes: u64) -> Failure {
        Failure::Read { peer: PEER, bytes, source: io::ErrorKind::ConnectionReset.into() }
    }

    fn connect(source: io::Error) -> Failure {
        Failure::Connect { peer: PEER, source }
    }

    /// The failure of a first connection that ends after these bytes.
    fn answer(bytes: &[u8]) -> Failure {
        let mut dialogue = PEER.dialogue(Pipelining::On, 1 << 20);
        dialogue.request().unwrap();
        dialogue.receive(bytes, |_, _, _| Ok::<(), Fault>(())).unwrap();
        Failure::Answer(dialogue.end_of_connection().unwrap_err())
    }

    #[test]
    fn silence_shows_another_kind_of_socket_unless_an_endpoint_has_answered_before() {
        let send = || Failure::Send { peer: PEER, source: io::ErrorKind::BrokenPipe.into() };
        for failure in [answer(b""), read(0), send()] {
            assert!(failure.other_kind(false).is_some(), "{failure}");
            assert!(failure.other_kind(true).is_none(), "{failure}");
        }
        let refused = connect(io::ErrorKind::ConnectionRefused.into());
        let late = Failure::Timeout { limit: Duration::ZERO, doing: String::new() };
        let first_only = answer(b"Name: HAProxy\n\n");
        assert!(first_only.shows_this_kind(), "{first_only}");
        for failure in [read(1), refused, late, first_only] {
            assert!(failure.other_kind(false).is_none(), "{failure}");
        }
        assert!(connect(Errno::PROTOTYPE.into()).other_kind(true).is_some());
    }

    #[test]
    fn the_state_holds_no_numbers_that_change() {
        assert_eq!(read(1).state(), read(2).state());
        let truncated = |bytes| answer(bytes).state();
        assert_eq!(truncated(b"Name: HAProxy\n"), truncated(b"Name: HAProxy\nUptime: 1\n"));
        assert_ne!(truncated(b"Name: HAProxy\n"), read(1).state());
    }

    #[test]
    fn a_refused_connection_says_what_to_do() {
        let text = connect(Errno::CONNREFUSED.into()).to_string();
        assert!(text.ends_with("; start its HAProxy, or remove the socket"), "{text}");
        let text = connect(Errno::AGAIN.into()).to_string();
        assert!(text.contains("look whether it hangs") && !text.contains("TasksMax"), "{text}");
        let text = connect(Errno::MFILE.into()).to_string();
        assert!(text.contains("LimitNOFILE"), "{text}");
    }
}
