//! Tries whether a rename can move a directory from one directory to another.
//!
//! Equal device numbers do not answer that: two bind mounts of one file system have one number, and
//! quotas can forbid a rename too.

use std::fs;
use std::io;
use std::path::Path;

/// The directory that is moved.
const PROBE: &str = ".haproxystats-probe";

/// The result of the probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rename {
    Works,
    /// The two directories are on different file systems.
    Crosses,
}

/// Moves an empty directory, and leaves nothing behind.
///
/// # Errors
///
/// The directory cannot be made or moved for another reason.
pub(crate) fn rename(from_dir: &Path, to_dir: &Path) -> io::Result<Rename> {
    let (from, to) = (from_dir.join(PROBE), to_dir.join(PROBE));
    // An interrupted probe may have left its directory.
    let _ = fs::remove_dir(&to);
    let _ = fs::remove_dir(&from);
    fs::create_dir(&from)?;
    match fs::rename(&from, &to) {
        Ok(()) => {
            let _ = fs::remove_dir(&to);
            Ok(Rename::Works)
        }
        Err(error) => {
            let _ = fs::remove_dir(&from);
            if error.kind() == io::ErrorKind::CrossesDevices {
                return Ok(Rename::Crosses);
            }
            Err(error)
        }
    }
}
