//! What an operator can do about an error of the system, as the end of a message.
//!
//! "Too many open files (os error 24)" says what happened and not what to do. Messages end with
//! [`of`] the error that they quote. The texts are in the table of [`crate::errno`].

use std::io;

use crate::errno;

/// The remedy for an error, beginning with `; `; empty where none is known.
///
/// ```
/// use haproxystats_daemon::remedy;
///
/// let error = std::fs::read("/nowhere/at/all").unwrap_err();
/// assert_eq!(remedy::of(&error), "; check that it is there");
/// ```
#[must_use]
pub fn of(error: &io::Error) -> &'static str {
    errno::remedy(error)
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn an_error_of_the_system_has_a_remedy_and_one_of_ours_speaks_for_itself() {
        assert!(of(&Errno::MFILE.into()).contains("LimitNOFILE"));
        assert!(of(&Errno::NOSPC.into()).contains("make room"));
        assert_eq!(of(&io::Error::other("what we say")), "");
    }
}
