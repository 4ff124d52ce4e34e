//! One table of the system's errors: the class of each, for decisions, and its remedy, for messages
//! ([`crate::remedy`]).

use std::io;

use rustix::io::Errno;

/// The class of a system's error: the prospects of a later try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The file system or a quota is full.
    Full,
    /// Our user has no right to it, or the file system is mounted read-only.
    Denied,
    /// A limit of descriptors, threads or memory is reached.
    Exhausted,
    /// A passing state of the system: a signal, a lease on the file, an absent file server.
    Transient,
    /// No file has that name.
    Missing,
    /// The disk has lost data.
    Broken,
    /// The path or its file is wrong, or the error is not in the table.
    Other,
}

pub(crate) struct Row {
    errno: Errno,
    class: Class,
    /// Begins with `; `; empty if no remedy is known.
    pub(crate) remedy: &'static str,
}

const fn row(errno: Errno, class: Class, remedy: &'static str) -> Row {
    Row { errno, class, remedy }
}

const TABLE: [Row; 24] = [
    row(Errno::NOSPC, Class::Full, "; make room on its file system, in blocks and in inodes"),
    row(Errno::DQUOT, Class::Full, "; raise the quota of our user there"),
    row(Errno::ACCESS, Class::Denied, "; give our user the right to it"),
    row(Errno::PERM, Class::Denied, "; give our user the right to it"),
    row(Errno::ROFS, Class::Denied, "; mount its file system for writing"),
    row(Errno::MFILE, Class::Exhausted, "; raise our limit of open files (LimitNOFILE, ulimit -n)"),
    row(Errno::NFILE, Class::Exhausted, "; raise the system's limit of open files (fs.file-max)"),
    row(Errno::NOMEM, Class::Exhausted, "; free some memory, or raise our limit (MemoryMax)"),
    // For a file the cause is a lease of another process, for the start of a thread a limit.
    row(
        Errno::AGAIN,
        Class::Transient,
        "; raise the limit of processes and threads (TasksMax, ulimit -u)",
    ),
    row(Errno::INTR, Class::Transient, ""),
    row(Errno::STALE, Class::Transient, "; look at the file server that it is mounted from"),
    row(Errno::TIMEDOUT, Class::Transient, ""),
    row(Errno::NOTCONN, Class::Transient, ""),
    row(Errno::HOSTDOWN, Class::Transient, ""),
    row(Errno::NOENT, Class::Missing, "; check that it is there"),
    row(Errno::IO, Class::Broken, "; look at the disk and the kernel's log"),
    row(Errno::UCLEAN, Class::Broken, "; look at the disk and the kernel's log"),
    row(Errno::BADMSG, Class::Broken, "; look at the disk and the kernel's log"),
    row(Errno::NOTDIR, Class::Other, "; a part of the path is no directory"),
    row(Errno::NAMETOOLONG, Class::Other, "; choose a shorter path"),
    row(Errno::LOOP, Class::Other, "; the path has too many links"),
    row(Errno::XDEV, Class::Other, "; keep both on one file system"),
    row(Errno::NOTEMPTY, Class::Other, "; something is in it that is not ours"),
    row(Errno::ISDIR, Class::Other, ""),
];

impl Class {
    /// The class of an error; [`Class::Other`] if the error is not the system's.
    ///
    /// ```
    /// use haproxystats_daemon::errno::Class;
    ///
    /// let error = std::fs::read("/nowhere/at/all").unwrap_err();
    /// assert_eq!(Class::of(&error), Class::Missing);
    /// assert!(!Class::of(&error).can_pass());
    /// ```
    #[must_use]
    pub fn of(error: &io::Error) -> Self {
        find(error).map_or(Self::Other, |row| row.class)
    }

    /// Whether a later try can succeed, because space, rights, memory, descriptors and file servers
    /// come back. A missing file and lost data do not.
    #[must_use]
    pub const fn can_pass(self) -> bool {
        match self {
            Self::Full | Self::Denied | Self::Exhausted | Self::Transient => true,
            Self::Missing | Self::Broken | Self::Other => false,
        }
    }
}

/// The row of an error, if the table has it.
pub(crate) fn find(error: &io::Error) -> Option<&'static Row> {
    let errno = Errno::from_io_error(error)?;
    TABLE.iter().find(|row| row.errno == errno)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_is_in_the_table_once_and_some_classes_can_pass() {
        for (at, row) in TABLE.iter().enumerate() {
            assert!(TABLE[..at].iter().all(|other| other.errno != row.errno), "{:?}", row.errno);
            let remedy_is_a_clause = row.remedy.is_empty() || row.remedy.starts_with("; ");
            assert!(remedy_is_a_clause, "{:?}", row.errno);
        }
        for errno in [Errno::MFILE, Errno::ACCESS, Errno::STALE, Errno::NOSPC] {
            assert!(Class::of(&errno.into()).can_pass(), "{errno:?}");
        }
        for errno in [Errno::NOENT, Errno::IO, Errno::ISDIR, Errno::INVAL] {
            assert!(!Class::of(&errno.into()).can_pass(), "{errno:?}");
        }
        assert_eq!(Class::of(&io::Error::other("ours")), Class::Other);
    }
}
