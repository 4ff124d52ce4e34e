//! `[local-store]` and `[local-store:name]`: the options that only this kind of receiver has.

use std::path::PathBuf;
use std::time::Duration;

use crate::kind;
use crate::options::{KnownOption, Opt};
use crate::reader::{Reader, Rejection};
use crate::receivers::Context;
use crate::typed::{LocalStore, Naming, ReceiverKind};

pub(crate) const SECTION: &str = "local-store";

pub(crate) const DIR: Opt<PathBuf> = Opt::new(
    "dir",
    kind::PATH,
    "/var/lib/haproxystats/local-store",
    "gets a file <timestamp>/stats for each snapshot",
);
const RETENTION: Opt<Duration> =
    Opt::unset("retention", kind::LIMIT, "age after which our own directories are removed");

pub(crate) const OPTIONS: &[KnownOption] = &[DIR.row, RETENTION.row];

/// Reads the options of this kind.
pub(crate) fn local_store(
    reader: &mut Reader<'_, '_>,
    context: &Context<'_>,
) -> Result<ReceiverKind, Rejection> {
    // A file takes lines of any length.
    let naming = Naming { max_line: None, ..context.naming.clone()? };
    Ok(ReceiverKind::LocalStore(LocalStore {
        dir: reader.value(&DIR)?,
        retention: reader.optional(&RETENTION),
        naming,
    }))
}
