//! Kinds of endpoints, apart from transport: the requests to an endpoint, the files of its answers,
//! and when the answers are whole.
//!
//! Nothing here does I/O, waits or reads a clock. The owner of the connections asks a [`Dialogue`]
//! for the next request, sends it on a new connection, and hands over the bytes as they come. The
//! next request can depend on the bytes that came before. A kind is a folder and a variant of
//! [`Source`]; the compiler finds each match that a new kind must extend.

pub mod haproxy;
pub mod reading;
pub mod uwsgi;
pub mod zope;

pub use reading::{Answer, Reading, Remark};

/// A kind of endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// The stats socket of a HAProxy process.
    HAProxy,
    /// The stats server of a uWSGI.
    Uwsgi(uwsgi::Carrier),
    /// The monitor of a Zope instance.
    Zope(zope::Request),
}

/// What the dialogue with an endpoint needs of the dialogue of the cycle before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Memory {
    /// Nothing, or there was no cycle before.
    #[default]
    None,
    /// The natures of new columns of a HAProxy.
    HAProxy(haproxy::natures::Known),
    /// The requests of each worker of a uWSGI.
    Uwsgi(uwsgi::Requests),
}

/// The program that has answered, by its own words. Safe for a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Program {
    /// Its version.
    pub version: Option<String>,
    /// The number of its process.
    pub process: Option<String>,
}

/// Whether an endpoint takes several requests on one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pipelining {
    /// All requests on one connection: one accept, and answers from the same instant.
    On,
    /// A connection for each request.
    Off,
}

/// The process that a HAProxy's answers come from, and whether they have its servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scope {
    /// The worker behind a master CLI; `None` is the process of the stats socket.
    pub worker: Option<u32>,
    /// Whether servers are in the answer to `show stat`.
    pub servers: bool,
}

/// The requests and answers of one endpoint in one cycle.
///
/// ```
/// use haproxystats_sources::{Fault, Pipelining, Source};
///
/// let mut dialogue = Source::HAProxy.dialogue(Pipelining::Off, 1 << 20);
/// let mut answers = Vec::new();
/// while let Some(request) = dialogue.request() {
///     let received: &[u8] = match request {
///         b"show info\n" => b"Name: HAProxy\n\n",
///         _ => b"# pxname,svname,\n\n",
///     };
///     dialogue.receive(received, |suffix, bytes, _| {
///         answers.push((suffix.to_owned(), bytes.len()));
///         Ok::<(), Fault>(())
///     })?;
///     dialogue.end_of_connection()?;
/// }
/// assert_eq!(answers, [("_info".to_owned(), 15), ("_stat".to_owned(), 18)]);
/// # Ok::<(), Fault>(())
/// ```
#[derive(Debug)]
pub enum Dialogue {
    /// The dialogue with a stats socket.
    HAProxy(haproxy::ask::Dialogue),
    /// The dialogue with a stats server.
    Uwsgi(uwsgi::ask::Dialogue),
    /// The dialogue with the monitor of a Zope instance.
    Zope(zope::ask::Dialogue),
}

/// Why the answers of an endpoint cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The fault of a stats socket, or of another socket in its place.
    #[error(transparent)]
    HAProxy(#[from] haproxy::ask::Fault),
    /// The fault of a master CLI's list.
    #[error(transparent)]
    Master(#[from] haproxy::master::Fault),
    /// The fault of a uWSGI's stats server.
    #[error(transparent)]
    Uwsgi(#[from] uwsgi::ask::Fault),
    /// The fault of a Zope instance's monitor.
    #[error(transparent)]
    Zope(#[from] zope::ask::Fault),
}

impl Memory {
    /// The natures of columns that the catalogue lacks.
    #[must_use]
    pub const fn natures(&self) -> Option<&haproxy::natures::Natures> {
        match self {
            Self::HAProxy(known) => Some(known.natures()),
            Self::None | Self::Uwsgi(_) => None,
        }
    }
}

impl Source {
    /// Every kind.
    pub const ALL: [Self; 3] =
        [Self::HAProxy, Self::Uwsgi(uwsgi::Carrier::Plain), Self::Zope(zope::Request::DEFAULT)];

    /// The kind, as a manifest names it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::HAProxy => "haproxy",
            Self::Uwsgi(_) => "uwsgi",
            Self::Zope(_) => "zope",
        }
    }

    /// The name of the program at the other end, for messages.
    #[must_use]
    pub const fn program(self) -> &'static str {
        match self {
            Self::HAProxy => "HAProxy",
            Self::Uwsgi(_) => "uWSGI",
            Self::Zope(_) => "Zope instance",
        }
    }

    /// The scheme of an address by TCP, for messages.
    #[must_use]
    pub const fn tcp_scheme(self) -> &'static str {
        match self {
            Self::Uwsgi(uwsgi::Carrier::Http) => "http",
            Self::HAProxy | Self::Uwsgi(uwsgi::Carrier::Plain) | Self::Zope(_) => "tcp",
        }
    }

    /// The message about a socket of another kind in a directory of endpoints.
    #[must_use]
    pub const fn left_out(self) -> &'static str {
        match self {
            Self::HAProxy => haproxy::LEFT_OUT,
            Self::Uwsgi(_) => uwsgi::LEFT_OUT,
            Self::Zope(_) => zope::LEFT_OUT,
        }
    }

    /// The message about a directory of endpoints that holds no socket.
    #[must_use]
    pub const fn no_socket(self) -> &'static str {
        match self {
            Self::HAProxy => haproxy::NO_SOCKET,
            Self::Uwsgi(_) => uwsgi::NO_SOCKET,
            Self::Zope(_) => zope::NO_INSTANCE,
        }
    }

    /// The message about a directory of endpoints that holds only sockets of other kinds.
    #[must_use]
    pub const fn no_endpoint(self) -> &'static str {
        match self {
            Self::HAProxy => haproxy::NO_ENDPOINT,
            Self::Uwsgi(_) => uwsgi::NO_SOCKET,
            Self::Zope(_) => zope::NO_INSTANCE,
        }
    }

    /// The suffixes of the files of an endpoint in a snapshot. The endpoint's name comes before the
    /// suffix.
    #[must_use]
    pub const fn suffixes(self) -> &'static [&'static str] {
        match self {
            Self::HAProxy => &haproxy::ask::SUFFIXES,
            Self::Uwsgi(_) => &uwsgi::SUFFIXES,
            Self::Zope(_) => &zope::SUFFIXES,
        }
    }

    /// The kind of a file's endpoint, and the endpoint's name.
    ///
    /// ```
    /// use haproxystats_sources::Source;
    ///
    /// assert_eq!(Source::of_file("a.sock_stat"), Some((Source::HAProxy, "a.sock")));
    /// assert_eq!(Source::of_file("haproxystats.manifest"), None);
    /// ```
    #[must_use]
    pub fn of_file(name: &str) -> Option<(Self, &str)> {
        let of_source = |source: Self| {
            let mut suffixes = source.suffixes().iter();
            suffixes.find_map(|suffix| Some((source, name.strip_suffix(suffix)?)))
        };
        Self::ALL.into_iter().find_map(of_source)
    }

    /// The tables of all answers of this kind in one snapshot. `None` for HAProxy's answers, which
    /// the crate `fold` reads.
    #[must_use]
    pub fn read(self, answers: &[Answer]) -> Option<Reading> {
        match self {
            Self::HAProxy => None,
            Self::Uwsgi(_) => Some(uwsgi::read(answers)),
            Self::Zope(_) => Some(zope::read(answers)),
        }
    }

    /// Whether the program makes a socket of this name only for a moment, such as during a reload.
    /// Such a socket is no further endpoint.
    #[must_use]
    pub fn is_temporary_name(self, file_name: &str) -> bool {
        match self {
            Self::HAProxy => haproxy::is_temporary_name(file_name),
            Self::Uwsgi(_) | Self::Zope(_) => false,
        }
    }

    /// The program at the other end, from the beginning of its first answer.
    ///
    /// ```
    /// use haproxystats_sources::Source;
    ///
    /// let program = Source::HAProxy.identify(b"Name: HAProxy\nVersion: 2.6.12\nPid: 4711\n");
    /// assert_eq!(program.version.as_deref(), Some("2.6.12"));
    /// assert_eq!(program.process.as_deref(), Some("4711"));
    /// ```
    #[must_use]
    pub fn identify(self, answer: &[u8]) -> Program {
        match self {
            Self::HAProxy => haproxy::identify(answer),
            Self::Uwsgi(_) => uwsgi::identify(answer),
            Self::Zope(_) => Program::default(),
        }
    }

    /// A dialogue that has not begun. No answer may be longer than `answer_limit` bytes.
    #[must_use]
    pub fn dialogue(self, pipelining: Pipelining, answer_limit: u64) -> Dialogue {
        match self {
            Self::HAProxy => {
                Dialogue::HAProxy(haproxy::ask::Dialogue::new(pipelining, answer_limit))
            }
            Self::Uwsgi(carrier) => {
                Dialogue::Uwsgi(uwsgi::ask::Dialogue::new(carrier, answer_limit))
            }
            Self::Zope(request) => Dialogue::Zope(zope::ask::Dialogue::new(request, answer_limit)),
        }
    }
}

impl Dialogue {
    /// Takes what the last dialogue with this endpoint has left, before the first request.
    pub fn recall(&mut self, memory: Memory) {
        match (self, memory) {
            (Self::Uwsgi(dialogue), Memory::Uwsgi(requests)) => dialogue.recall(requests),
            (Self::HAProxy(dialogue), Memory::HAProxy(known)) => dialogue.recall(known),
            (Self::HAProxy(_) | Self::Uwsgi(_) | Self::Zope(_), _) => {}
        }
    }

    /// What the next dialogue with this endpoint needs of this one, once it is over.
    #[must_use]
    pub fn memory(&self) -> Memory {
        match self {
            Self::HAProxy(dialogue) => Memory::HAProxy(dialogue.known().clone()),
            Self::Zope(_) => Memory::None,
            Self::Uwsgi(dialogue) => Memory::Uwsgi(dialogue.requests().clone()),
        }
    }

    /// Asks for a part of the answers, before the first request.
    pub const fn set_scope(&mut self, scope: Scope) {
        match self {
            Self::HAProxy(dialogue) => dialogue.set_scope(scope),
            Self::Uwsgi(_) | Self::Zope(_) => {}
        }
    }

    /// The request for the next connection; `None` once every answer is whole.
    pub fn request(&mut self) -> Option<&[u8]> {
        match self {
            Self::HAProxy(dialogue) => dialogue.request(),
            Self::Uwsgi(dialogue) => dialogue.request(),
            Self::Zope(dialogue) => dialogue.request(),
        }
    }

    /// Requests beside the answers, once every answer is whole, each for a connection of its own.
    /// They may fail. Their answers go to [`Self::end_questions`].
    #[must_use]
    pub fn questions(&self) -> Vec<Vec<u8>> {
        match self {
            Self::HAProxy(dialogue) => dialogue.questions(),
            Self::Uwsgi(_) | Self::Zope(_) => Vec::new(),
        }
    }

    /// Takes the natures that the answers to [`Self::questions`] have told, none after a failure.
    /// The questions are not asked again before the next start of the process.
    pub fn end_questions(&mut self, natures: haproxy::natures::Natures) {
        match self {
            Self::HAProxy(dialogue) => dialogue.end_questions(natures),
            Self::Uwsgi(_) | Self::Zope(_) => {}
        }
    }

    /// Takes bytes of the connection. `write` is called with the suffix of a file, bytes of that
    /// file, possibly none, and whether the file is whole with them. Files come one after the
    /// other, and the last file of a connection is whole at its end.
    ///
    /// # Errors
    ///
    /// The bytes are no answer to the request, or `write` fails.
    pub fn receive<E: From<Fault>>(
        &mut self,
        bytes: &[u8],
        write: impl FnMut(&str, &[u8], bool) -> Result<(), E>,
    ) -> Result<(), E> {
        match self {
            Self::HAProxy(dialogue) => dialogue.receive(bytes, write),
            Self::Uwsgi(dialogue) => dialogue.receive(bytes, write),
            Self::Zope(dialogue) => dialogue.receive(bytes, write),
        }
    }

    /// Checks at the end of the connection that every answer is whole.
    ///
    /// # Errors
    ///
    /// A part of an answer is missing.
    pub fn end_of_connection(&mut self) -> Result<(), Fault> {
        match self {
            Self::HAProxy(dialogue) => dialogue.end_of_connection().map_err(Fault::from),
            Self::Uwsgi(dialogue) => dialogue.end_of_connection().map_err(Fault::from),
            Self::Zope(dialogue) => dialogue.end_of_connection().map_err(Fault::from),
        }
    }

    /// Bytes that were given to the current file.
    #[must_use]
    pub const fn file_bytes(&self) -> u64 {
        match self {
            Self::HAProxy(dialogue) => dialogue.file_bytes(),
            Self::Uwsgi(dialogue) => dialogue.file_bytes(),
            Self::Zope(dialogue) => dialogue.file_bytes(),
        }
    }
}

impl Fault {
    /// Whether the same endpoint may answer with [`Pipelining::Off`].
    #[must_use]
    pub fn suggests_single_requests(&self) -> bool {
        match self {
            Self::HAProxy(fault) => fault.suggests_single_requests(),
            Self::Master(_) | Self::Uwsgi(_) | Self::Zope(_) => false,
        }
    }

    /// The kind of the socket, if its bytes show that it is no endpoint of this kind.
    #[must_use]
    pub fn other_kind(&self) -> Option<&'static str> {
        match self {
            Self::HAProxy(fault) => fault.other_kind(),
            Self::Master(_) | Self::Uwsgi(_) | Self::Zope(_) => None,
        }
    }

    /// Whether a stats socket was asked and the master CLI of a HAProxy has refused.
    #[must_use]
    pub const fn is_by_master(&self) -> bool {
        matches!(self, Self::HAProxy(fault) if fault.is_by_master())
    }

    /// Whether a master CLI says that the worker has ended.
    #[must_use]
    pub fn says_worker_ended(&self) -> bool {
        matches!(self, Self::HAProxy(fault) if fault.says_worker_ended())
    }

    /// Whether the first connection ended without a byte.
    #[must_use]
    pub const fn is_silence(&self) -> bool {
        match self {
            Self::HAProxy(fault) => fault.is_silence(),
            Self::Master(_) | Self::Uwsgi(_) | Self::Zope(_) => false,
        }
    }

    /// Whether a part of an answer came, which shows that an endpoint of this kind is there.
    #[must_use]
    pub const fn shows_this_kind(&self) -> bool {
        match self {
            Self::HAProxy(fault) => fault.shows_this_kind(),
            Self::Master(_) => false,
            Self::Uwsgi(fault) => fault.shows_this_kind(),
            Self::Zope(fault) => fault.shows_this_kind(),
        }
    }

    /// The fault without the numbers that differ each time: one state for the log.
    #[must_use]
    pub fn state(&self) -> String {
        match self {
            Self::HAProxy(fault) => fault.state(),
            Self::Master(fault) => fault.state(),
            Self::Uwsgi(fault) => fault.state(),
            Self::Zope(fault) => fault.state(),
        }
    }
}
