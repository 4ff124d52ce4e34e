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

/// The parts of a message that ends with its remedy: what happened, and what to do about it, which
/// is empty if the message has no remedy. What is quoted in a message comes before its remedy, so
/// the last semicolon is ours.
///
/// ```
/// use haproxystats_daemon::remedy;
///
/// let parts = remedy::split("answered 400: a; b; check url");
/// assert_eq!(parts, ("answered 400: a; b", "check url"));
/// ```
#[must_use]
pub fn split(message: &str) -> (&str, &str) {
    message.rsplit_once("; ").unwrap_or((message, ""))
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
