//! Files for one run, in a folder that `cargo xtask fuzz` makes and removes.

use std::path::PathBuf;

/// Writes a file and says where it is.
pub(crate) fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let folder = std::env::var_os("FUZZ_FOLDER").map_or_else(std::env::temp_dir, PathBuf::from);
    let path = folder.join(name);
    std::fs::write(&path, bytes).expect("the scratch folder can be written");
    path
}
