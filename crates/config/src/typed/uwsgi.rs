//! The applications of uWSGI that are asked.

use serde::{Deserialize, Serialize};

use super::Address;

/// The section `[uwsgi]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uwsgi {
    /// Stats servers by address and by pattern.
    pub servers: Vec<UwsgiServer>,
    /// Whether a snapshot is published without the applications that failed.
    pub allow_partial: bool,
}

/// An entry of the list of stats servers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum UwsgiServer {
    /// One application.
    Application {
        /// The name that the file gives it.
        name: Option<String>,
        /// Its stats server.
        address: Address,
        /// Whether it is asked by HTTP.
        http: bool,
    },
    /// The pattern of the paths of UNIX sockets, looked up at each cycle.
    Pattern(String),
}
