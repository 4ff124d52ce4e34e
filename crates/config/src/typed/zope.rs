//! The instances of Zope that are asked.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Address;

/// The section `[zope]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Zope {
    /// Instances by address.
    pub servers: Vec<ZopeInstance>,
    /// Folders of deployments, and patterns of them, looked up at each cycle.
    pub deployments: Vec<String>,
    /// The database that is asked about; one word.
    pub database: String,
    /// The time over which loads, stores and connections are counted: 1 to 3600 whole seconds.
    pub sampling_interval: Duration,
    /// Whether a snapshot is published without the instances that failed.
    pub allow_partial: bool,
}

/// An instance of the list of servers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZopeInstance {
    /// Its deployment.
    pub deployment: String,
    /// Its name in the deployment.
    pub name: String,
    /// Its monitor.
    pub address: Address,
}

impl Zope {
    /// Whether no instance of Zope is to be asked.
    #[must_use]
    pub const fn is_off(&self) -> bool {
        self.servers.is_empty() && self.deployments.is_empty()
    }
}
