//! Remedies: what an operator can do about a system's error, as the end of a message.
//!
//! "Too many open files (os error 24)" does not tell what to do. So a message ends with the remedy
//! ([`of`]) for the error that it quotes. The texts are in the table of [`crate::errno`].

use std::io;

use crate::errno;

/// The remedy for an error, beginning with `; `; empty if none is known.
///
/// ```
/// use haproxystats_daemon::remedy;
///
/// let error = std::fs::read("/nowhere/at/all").unwrap_err();
/// assert_eq!(remedy::of(&error), "; check that it is there");
/// ```
#[must_use]
pub fn of(error: &io::Error) -> &'static str {
    errno::find(error).map_or("", |row| row.remedy)
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn only_an_error_of_the_system_has_a_remedy() {
        assert!(of(&Errno::MFILE.into()).contains("LimitNOFILE"));
        assert!(of(&Errno::NOSPC.into()).contains("make room"));
        assert_eq!(of(&io::Error::other("what we say")), "");
    }
}
