//! The options of TLS, which are the same for every receiver that has them.

use std::path::PathBuf;

use crate::fault::Problem;
use crate::kind;
use crate::options::{KnownOption, Opt};
use crate::reader::{Reader, Rejection};
use crate::typed::Tls;

const CA_FILE: Opt<PathBuf> = Opt::unset(
    "ca-file",
    kind::PATH,
    "certificates (PEM) of authorities that are trusted, in place of the system's",
);
const CERTIFICATE: Opt<PathBuf> =
    Opt::unset("certificate", kind::PATH, "our own certificate (PEM), with its chain");
const KEY: Opt<PathBuf> = Opt::unset("key", kind::PATH, "the key of certificate (PEM)");
const SERVER_NAME: Opt<String> = Opt::unset(
    "server-name",
    kind::HOST,
    "name that the server's certificate must have, if it is not that of its address",
);

/// The rows of the table.
pub(crate) const ROWS: [KnownOption; 4] = [CA_FILE.row, CERTIFICATE.row, KEY.row, SERVER_NAME.row];
/// The rows that Kafka has too: its library always expects the name of the broker's address, and
/// `key` is the key of a message there.
pub(crate) const FILE_ROWS: [KnownOption; 2] = [CA_FILE.row, CERTIFICATE.row];

/// Reads the options. Without TLS they must not be set, because they would have no effect.
pub(crate) fn tls(reader: &mut Reader<'_, '_>, is_tls: bool) -> Result<Option<Tls>, Rejection> {
    let server_name = reader.optional(&SERVER_NAME);
    let tls = files(reader, is_tls, &KEY)?;
    if !is_tls && reader.is_set(&SERVER_NAME) {
        return Err(reader.refuse(&SERVER_NAME, unused()));
    }
    Ok(tls.map(|tls| Tls { server_name, ..tls }))
}

/// Reads [`FILE_ROWS`] and the option of the key.
pub(crate) fn files(
    reader: &mut Reader<'_, '_>,
    is_tls: bool,
    key: &Opt<PathBuf>,
) -> Result<Option<Tls>, Rejection> {
    let tls = Tls {
        ca_file: reader.optional(&CA_FILE),
        certificate: reader.optional(&CERTIFICATE),
        key: reader.optional(key),
        server_name: None,
    };
    if !is_tls {
        for option in [&CA_FILE, &CERTIFICATE, key] {
            if reader.is_set(option) {
                return Err(reader.refuse(option, unused()));
            }
        }
        return Ok(None);
    }
    for (one, other) in [(&CERTIFICATE, key), (key, &CERTIFICATE)] {
        if reader.is_set(one) && !reader.is_set(other) {
            let why = format!("needs {}; set that too, or leave this out", other.row.name);
            return Err(reader.refuse(one, Problem::Conflict { why }));
        }
    }
    Ok(Some(tls))
}

fn unused() -> Problem {
    let why = "is for TLS, which is off here; turn TLS on, or leave it out";
    Problem::Conflict { why: why.to_owned() }
}
