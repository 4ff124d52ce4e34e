//! HAProxy's stats socket.

pub mod ask;

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

#[cfg(test)]
mod tests {
    use super::*;

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
