//! Files that the configuration names: secrets, certificates and keys.

use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use daemon::file::{self, Limit, Links};

const SECRET_LIMIT: Limit = Limit { bytes: 16 << 10, name: "16 KiB" };
/// The others' right to read a file.
const READABLE_FOR_OTHERS: u32 = 0o004;

/// The bytes of a file.
///
/// # Errors
///
/// The option, its path and the reason.
pub(crate) fn read(option: &str, path: &Path, limit: Limit) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = file::open(path, limit, Links::Follow)
        .and_then(|mut file| file.read_to_end(&mut bytes).map_err(Into::into));
    match read {
        Ok(_) => Ok(bytes),
        Err(error) => Err(format!("{option} {path:?} {error}")),
    }
}

/// The secret in a file, without line ends at its end.
///
/// # Errors
///
/// The option, its path and the reason. An empty file is an error: a login without a secret would
/// be refused with a reason that tells less.
pub(crate) fn secret(option: &str, path: &Path) -> Result<String, String> {
    let text = String::from_utf8(read(option, path, SECRET_LIMIT)?)
        .map_err(|_| format!("{option} {path:?} is no UTF-8; check the file"))?;
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err(format!("{option} {path:?} is empty; write the secret into it")),
        secret => Ok(secret.to_owned()),
    }
}

/// A warning about a secret that every user of the machine can read.
pub(crate) fn warning_of_readers(option: &str, path: &Path) -> Option<String> {
    let metadata = path.metadata().ok()?;
    if metadata.mode() & READABLE_FOR_OTHERS == 0 {
        return None;
    }
    let path = path.display();
    let text = "can be read by every user of this machine; chmod o-r";
    Some(format!("{option} {path} {text} {path}"))
}
