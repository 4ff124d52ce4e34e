//! Why a cycle leaves no snapshot.

use std::path::PathBuf;

use config::Pull;
use sources::Source;
use sources::uwsgi::Carrier;
use sources::zope::Request;
use tracing::{error, warn};

use crate::endpoint::{DiscoveryError, STATS_SOCKET};
use crate::responses::Responses;
use crate::writers::WorkError;

/// Why a cycle leaves no snapshot. The log has the numbers beside the text.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoSnapshot {
    #[error("no snapshot: {0}")]
    Find(#[from] DiscoveryError),
    /// There is no socket in `socket-dir`.
    #[error("{}", STATS_SOCKET.no_socket())]
    NoSocket(Option<PathBuf>),
    /// No socket matches the patterns of `[uwsgi]`, and nothing else is asked.
    #[error("{}", Source::Uwsgi(Carrier::Plain).no_socket())]
    NoApplication,
    /// No folder of `[zope]` has an instance, and nothing else is asked.
    #[error("{}", Source::Zope(Request::DEFAULT).no_socket())]
    NoInstance,
    /// No socket in `socket-dir` is an endpoint.
    #[error("{}", STATS_SOCKET.no_endpoint())]
    NoEndpoint { left_out: usize },
    /// Some endpoints failed for which `allow-partial` is off.
    #[error(
        "no snapshot: it would not hold every endpoint; do what the log says about those that \
         failed, or set allow-partial to go on without them"
    )]
    Partial { endpoints: usize, failed: usize },
    /// All endpoints failed.
    #[error(
        "no snapshot: no endpoint has answered; do what the log says about each, and look whether \
         the programs behind them run"
    )]
    NoAnswer { endpoints: usize },
    #[error("no snapshot: {0}")]
    Spool(#[from] spool::writer::Error),
    #[error("no snapshot: {0}")]
    Work(#[from] WorkError),
}

impl NoSnapshot {
    /// The reason if there is no endpoint at all.
    pub(crate) fn without_endpoint(config: &Pull) -> Self {
        match &config.socket_dir {
            None if !config.uwsgi.servers.is_empty() => Self::NoApplication,
            None if !config.zope.is_off() => Self::NoInstance,
            socket_dir => Self::NoSocket(socket_dir.clone()),
        }
    }

    /// The reason not to publish a cycle with these responses; `None` to publish it.
    pub(crate) fn judge(responses: &Responses) -> Option<Self> {
        let (endpoints, failed) = (responses.certain_endpoints(), responses.failed());
        if endpoints == 0 {
            return Some(Self::NoEndpoint { left_out: responses.left_out() });
        }
        if responses.needed_failed() > 0 {
            return Some(Self::Partial { endpoints, failed });
        }
        (failed == endpoints).then_some(Self::NoAnswer { endpoints })
    }

    /// The reason without the numbers that differ each time: one state for the log.
    pub(crate) fn state(&self) -> String {
        use spool::writer::Error;
        match self {
            Self::Find(error) => error.state(),
            Self::NoSocket(_) => "no socket".to_owned(),
            Self::NoApplication => "no application".to_owned(),
            Self::NoInstance => "no instance".to_owned(),
            Self::NoEndpoint { .. } => "no endpoint".to_owned(),
            Self::Partial { .. } => "partial".to_owned(),
            Self::NoAnswer { .. } => "no answer".to_owned(),
            Self::Spool(Error::Io { doing, source, .. }) => {
                format!("spool {doing} {:?}", source.kind())
            }
            Self::Spool(Error::Locked { .. }) => "spool locked".to_owned(),
            Self::Spool(_) => "spool".to_owned(),
            Self::Work(_) => "broken".to_owned(),
        }
    }

    pub(crate) fn log(&self, note: &str) {
        match self {
            Self::NoSocket(socket_dir) => warn!(?socket_dir, "{self}{note}"),
            Self::NoApplication | Self::NoInstance => warn!("{self}{note}"),
            Self::NoEndpoint { left_out } => warn!(left_out, "{self}{note}"),
            Self::Partial { endpoints, failed } => warn!(endpoints, failed, "{self}{note}"),
            Self::NoAnswer { endpoints } => warn!(endpoints, "{self}{note}"),
            Self::Find(error) => error!(%error, "no snapshot{note}"),
            Self::Spool(error) => error!(%error, "no snapshot{note}"),
            Self::Work(error) => error!(%error, "no snapshot{note}"),
        }
    }
}
