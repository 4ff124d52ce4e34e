//! What an operator can do about an error of the system, as the end of a message.
//!
//! "Too many open files (os error 24)" says what happened and not what to do. Messages end with
//! [`of`] the error that they quote.

use std::io;

use rustix::io::Errno;

/// The remedy for an error, beginning with `; `; empty where none is known.
#[must_use]
pub fn of(error: &io::Error) -> &'static str {
    let Some(errno) = Errno::from_io_error(error) else { return "" };
    match errno {
        Errno::MFILE => "; raise our limit of open files (LimitNOFILE, ulimit -n)",
        Errno::NFILE => "; raise the system's limit of open files (fs.file-max)",
        Errno::AGAIN => "; raise the limit of processes and threads (TasksMax, ulimit -u)",
        Errno::NOMEM => "; free some memory, or raise our limit (MemoryMax)",
        Errno::NOSPC => "; make room on its file system, in blocks and in inodes",
        Errno::DQUOT => "; raise the quota of our user there",
        Errno::ACCESS | Errno::PERM => "; give our user the right to it",
        Errno::ROFS => "; mount its file system for writing",
        Errno::IO => "; look at the disk and the kernel's log",
        Errno::NOENT => "; check that it is there",
        Errno::NOTDIR => "; a part of the path is no directory",
        Errno::NAMETOOLONG => "; choose a shorter path",
        Errno::LOOP => "; the path has too many links",
        Errno::XDEV => "; keep both on one file system",
        Errno::STALE => "; look at the file server that it is mounted from",
        Errno::NOTEMPTY => "; something is in it that is not ours",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_the_system_has_a_remedy_and_one_of_ours_speaks_for_itself() {
        assert!(of(&Errno::MFILE.into()).contains("LimitNOFILE"));
        assert!(of(&Errno::NOSPC.into()).contains("make room"));
        assert_eq!(of(&io::Error::other("what we say")), "");
    }
}
