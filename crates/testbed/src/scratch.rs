//! Small helpers of tests: free ports, the names in a directory.

use std::fs;
use std::io;
use std::net::TcpListener;
use std::path::Path;

/// Free TCP ports on 127.0.0.1, all different.
///
/// All ports are bound at the same time, so that they differ: HAProxy listens with SO_REUSEPORT and
/// would silently share a port.
pub fn free_ports<const N: usize>() -> io::Result<[u16; N]> {
    let mut listeners = Vec::with_capacity(N);
    let mut ports = [0; N];
    for port in &mut ports {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        *port = listener.local_addr()?.port();
        listeners.push(listener);
    }
    Ok(ports)
}

/// The names in a directory, sorted; empty if the directory is missing.
#[must_use]
pub fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_differ() {
        let [a, b, c] = free_ports().unwrap();
        assert!(a != b && b != c && a != c);
    }

    #[test]
    fn names_are_sorted_and_a_missing_directory_has_none() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("b"), "").unwrap();
        fs::write(folder.path().join("a"), "").unwrap();
        assert_eq!(names(folder.path()), ["a", "b"]);
        assert!(names(&folder.path().join("c")).is_empty());
    }
}
