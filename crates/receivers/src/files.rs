//! Files that the configuration names: secrets, certificates and keys.

use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use daemon::file::{self, Limit, Links};

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
