//! HAProxy's stats socket, and its master CLI.

pub mod ask;
pub mod master;
pub mod natures;

use crate::Program;

/// Bytes of a version or of a process number at most.
const VALUE_MAX_BYTES: usize = 40;

pub(crate) const LEFT_OUT: &str = "left out: it is no stats socket; keep it out of socket-dir";
pub(crate) const NO_SOCKET: &str = "no snapshot: no stats socket there; give HAProxy one in it \
                                    (`stats socket`), or set servers";
pub(crate) const NO_ENDPOINT: &str = "no snapshot: no socket in socket-dir is a stats socket; \
                                      give HAProxy one there (`stats socket`)";

/// Whether HAProxy made this name for a reload: it binds `<path>.<pid>.tmp`, keeps the old socket
/// as `<path>.<pid>.bak`, and renames. A process that is asked under two names would count twice.
pub(crate) fn is_temporary_name(file_name: &str) -> bool {
    let mut parts = file_name.rsplitn(3, '.');
    let (Some("tmp" | "bak"), Some(pid), Some(_)) = (parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    !pid.is_empty() && pid.bytes().all(|byte| byte.is_ascii_digit())
}

/// The version and the process number in an answer to `show info`.
pub(crate) fn identify(info: &[u8]) -> Program {
    Program { version: value(info, b"Version: "), process: value(info, b"Pid: ") }
}

/// The value of the first whole line that begins with `key`, cut and escaped.
fn value(info: &[u8], key: &[u8]) -> Option<String> {
    for line in info.split_inclusive(|byte| *byte == b'\n') {
        let Some(line) = line.strip_suffix(b"\n") else { continue };
        if let Some(value) = line.strip_prefix(key) {
            let value = value[..value.len().min(VALUE_MAX_BYTES)].trim_ascii();
            return (!value.is_empty()).then(|| value.escape_ascii().to_string());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_whole_lines_name_the_program() {
        let found = |info: &[u8]| {
            let Program { version, process } = identify(info);
            [version, process].map(Option::unwrap_or_default)
        };
        let info = b"Name: HAProxy\nVersion: 2.6.12-1+deb12u2\nPid: 77\ndescription: x\nPid: 8\n";
        assert_eq!(found(info), ["2.6.12-1+deb12u2", "77"]);
        assert_eq!(found(b"Name: HAProxy\nVersion: 1.8\r\nPid: 7"), ["1.8", ""], "cut");
        assert_eq!(found(b"Version: \x1b[2J\nPid: \n"), ["\\x1b[2J", ""]);
        let long = [b"Version: ".as_slice(), &[b'9'; 500], b"\n"].concat();
        assert_eq!(found(&long)[0].len(), VALUE_MAX_BYTES);
        assert_eq!(found(b""), ["", ""]);
    }

    #[test]
    fn the_names_of_a_reload_are_a_path_a_process_and_an_ending() {
        for name in ["a.sock.4711.bak", "a.sock.4711.tmp", ".1.tmp"] {
            assert!(is_temporary_name(name), "{name}");
        }
        for name in ["a.sock", "d.tmp", "4711.tmp", "a..tmp", "a.x1.tmp", "a.4711.old", ""] {
            assert!(!is_temporary_name(name), "{name}");
        }
    }
}
