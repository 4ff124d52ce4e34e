//! Why a watch cannot be set up.

use std::path::PathBuf;

use thiserror::Error;

use crate::reader;

/// The watch cannot be set up.
#[derive(Debug, Error)]
pub enum Error {
    /// The system refuses to watch the spool.
    #[error(
        "cannot watch {path:?}: {source}; if the limit of inotify is reached, raise \
         fs.inotify.max_user_watches and fs.inotify.max_user_instances"
    )]
    Watch {
        /// The spool.
        path: PathBuf,
        /// The error of the system.
        source: notify::Error,
    },
    /// The spool cannot be made, locked or listed.
    #[error(transparent)]
    Spool(#[from] reader::Error),
}
