//! `[DEFAULT]` and `[paths]`: options that other sections inherit or refer to.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::document::DEFAULT;
use crate::interpolate::Resolver;
use crate::kind;
use crate::options::{KnownOption, Opt};
use crate::reader::Reader;
use crate::typed::{LogLevel, Retries};

pub(crate) const PATHS: &str = "paths";

const LOGLEVEL: Opt<LogLevel> = Opt::new(
    "loglevel",
    kind::LOG_LEVEL,
    "info",
    "how much is logged; pull and process inherit it",
);
const RETRIES_UNREAD: Opt<Retries> = Opt::new(
    "retries",
    kind::RETRIES,
    "2",
    "no effect: every section has a default of its own; serves references such as \
     ${DEFAULT:retries}",
);
const TIMEOUT_UNREAD: Opt<Duration> = Opt::new(
    "timeout",
    kind::PAUSE,
    "1",
    "no effect: every section has a default of its own; serves references such as \
     ${DEFAULT:timeout}",
);
const INTERVAL_UNREAD: Opt<Duration> = Opt::new(
    "interval",
    kind::PAUSE,
    "2",
    "no effect: every section has a default of its own; serves references such as \
     ${DEFAULT:interval}",
);
pub(crate) const BASE_DIR: Opt<PathBuf> = Opt::new(
    "base-dir",
    kind::PATH,
    "/var/lib/haproxystats",
    "for references such as ${paths:base-dir}/incoming",
);

pub(crate) const DEFAULT_OPTIONS: &[KnownOption] =
    &[LOGLEVEL.row, RETRIES_UNREAD.row, TIMEOUT_UNREAD.row, INTERVAL_UNREAD.row];
pub(crate) const PATHS_OPTIONS: &[KnownOption] = &[BASE_DIR.row];

/// Checks the values, although no program reads them directly, because a reference or a later
/// version may read them.
pub(crate) fn check(resolver: &mut Resolver<'_>, file: &Arc<Path>) {
    let mut reader = Reader::new(resolver, DEFAULT, file);
    reader.optional(&LOGLEVEL);
    reader.optional(&RETRIES_UNREAD);
    reader.optional(&TIMEOUT_UNREAD);
    reader.optional(&INTERVAL_UNREAD);
    Reader::new(resolver, PATHS, file).optional(&BASE_DIR);
}
