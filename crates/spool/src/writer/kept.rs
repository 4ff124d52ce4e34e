//! Answers that later snapshots may need again, such as those of a worker that is asked in turn.
//!
//! Each is a hard link to the file of its snapshot, so it costs no second copy; where the file
//! system refuses links, it is a copy. The directory lies in the staging directory, has the marker
//! of a staged directory, and is removed when the program ends, or by `Spool::clean` after a kill.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::{Error, StagedFiles, io_error, remove_marked};
use crate::manifest;

/// The directory. All methods and the drop work on the disk, so they can block.
#[derive(Debug)]
pub struct KeptAnswers {
    dir: PathBuf,
}

impl KeptAnswers {
    pub(super) const fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// Keeps a whole file of a snapshot that is not published yet, in place of an earlier one.
    ///
    /// # Errors
    ///
    /// The system refuses.
    pub fn store(&self, files: &StagedFiles, name: &str) -> Result<(), Error> {
        self.make()?;
        let to = self.dir.join(name);
        self.forget(name)?;
        let from = files.path_of(OsStr::new(name));
        link_or_copy(&from, &to, false).map_err(|source| io_error("keep", &to, source))
    }

    /// Puts a kept file into a snapshot.
    ///
    /// # Errors
    ///
    /// It is not kept, the snapshot is complete, or the system refuses.
    pub fn restore(&self, files: &StagedFiles, name: &str) -> Result<(), Error> {
        let from = self.dir.join(name);
        files.add(OsStr::new(name), |to, sync| link_or_copy(&from, to, sync))
    }

    /// Removes a kept file, if there is one.
    ///
    /// # Errors
    ///
    /// The system refuses.
    pub fn forget(&self, name: &str) -> Result<(), Error> {
        let path = self.dir.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(io_error("remove", &path, error))
            }
            _ => Ok(()),
        }
    }

    /// Makes the directory with its marker.
    fn make(&self) -> Result<(), Error> {
        let failed = |source| io_error("create directory", &self.dir, source);
        match fs::create_dir(&self.dir) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
            Err(error) => return Err(failed(error)),
            Ok(()) => {}
        }
        File::create_new(self.dir.join(manifest::FILE_NAME)).map_err(failed)?;
        Ok(())
    }
}

impl Drop for KeptAnswers {
    fn drop(&mut self) {
        // What stays is removed by the next start.
        let _ = remove_marked(&self.dir);
    }
}

/// With `sync` a copy is on the disk after this; the contents of a link are already.
fn link_or_copy(from: &Path, to: &Path, sync: bool) -> io::Result<()> {
    match fs::hard_link(from, to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            fs::copy(from, to)?;
            if sync {
                File::open(to)?.sync_all()?;
            }
            Ok(())
        }
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cycle::Cycle;
    use crate::manifest::{AnswerFile, Manifest};
    use crate::writer::Spool;

    #[test]
    fn an_answer_outlives_its_snapshot_and_leaves_with_the_program() {
        let root = tempfile::tempdir().unwrap();
        let (dst, tmp) = (root.path().join("in"), root.path().join("in.tmp"));
        let mut spool = Spool::open(&dst, &tmp, false).unwrap();
        let kept = spool.keep();
        let first = spool.stage(1).unwrap();
        let mut file = first.files().create("a@7_info".as_ref()).unwrap();
        file.write(b"Pid: 7\n").unwrap();
        file.close().unwrap();
        kept.store(&first.files(), "a@7_info").unwrap();
        drop(first);
        spool.clean().unwrap();
        let second = spool.stage(2).unwrap();
        assert!(kept.restore(&second.files(), "b@7_info").is_err(), "never kept");
        kept.restore(&second.files(), "a@7_info").unwrap();
        let (name, source) = ("a@7_info".to_owned(), "haproxy".to_owned());
        let files = vec![AnswerFile::new(name, source, String::new())];
        let (origin, cycle) = ("lb1".to_owned(), Cycle::default());
        let manifest = Manifest {
            origin,
            serial: 1,
            cycle,
            files,
            unanswered: vec![],
            natures: std::collections::BTreeMap::new(),
        };
        second.files().complete(&manifest).unwrap();
        let published = second.publish().unwrap();
        let text = fs::read_to_string(published.path.join("a@7_info")).unwrap();
        assert_eq!(text, "Pid: 7\n");
        kept.forget("a@7_info").unwrap();
        kept.forget("a@7_info").unwrap();
        drop(kept);
        assert_eq!(testbed::names(&tmp), [""; 0]);
    }

    #[test]
    fn what_a_killed_program_kept_is_removed_by_the_next_start() {
        let root = tempfile::tempdir().unwrap();
        let (dst, tmp) = (root.path().join("in"), root.path().join("in.tmp"));
        let mut spool = Spool::open(&dst, &tmp, false).unwrap();
        let kept = spool.keep();
        let first = spool.stage(1).unwrap();
        first.files().create("a@7_info".as_ref()).unwrap().close().unwrap();
        kept.store(&first.files(), "a@7_info").unwrap();
        std::mem::forget(kept);
        drop((first, spool));
        let spool = Spool::open(&dst, &tmp, false).unwrap();
        spool.clean().unwrap();
        assert_eq!(testbed::names(&tmp), [""; 0]);
    }
}
