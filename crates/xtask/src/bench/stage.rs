//! The folder of the programs under measurement: one snapshot of the size in question, a spool that
//! is filled with hard links to it, and a configuration.
//!
//! Hard links need no space and no reading, and each run finds the same files in the page cache.
//! The programs delete them as they delete real snapshots.

use std::fs;
use std::path::{Path, PathBuf};

use super::generator::{self, Columns, Size};
use crate::Failure;

/// The first snapshot's name, so far in the past that nothing else has such a timestamp.
pub(crate) const FIRST: u64 = 1_600_000_000;

/// Lines for the configuration beyond the defaults.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ExtraOptions<'a> {
    /// Lines of the section `[process]`.
    pub(crate) process: &'a str,
    /// Lines of the section `[graphite]`, and sections after it.
    pub(crate) graphite: &'a str,
}

/// A folder that is removed when it is dropped.
pub(crate) struct Stage {
    pub(crate) path: PathBuf,
}

impl Stage {
    pub(crate) fn create(name: &str) -> Result<Self, Failure> {
        let name = format!("haproxystats-{name}-{}", std::process::id());
        let stage = Self { path: std::env::temp_dir().join(name) };
        make(&stage.incoming())?;
        Ok(stage)
    }

    pub(crate) fn incoming(&self) -> PathBuf {
        self.path.join("incoming")
    }

    pub(crate) fn template(&self) -> PathBuf {
        self.path.join("template")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.path.join("program.log")
    }

    /// Makes the snapshot to which all others are links, and returns its size in bytes.
    pub(crate) fn generate(&self, size: Size, columns: Columns) -> Result<u64, Failure> {
        clear(&self.template())?;
        generator::write(size, columns, &self.template())
    }

    /// Fills the spool with that many snapshots and nothing else.
    pub(crate) fn fill(&self, snapshots: usize) -> Result<(), Failure> {
        clear(&self.incoming())?;
        (FIRST..).take(snapshots).try_for_each(|stamp| self.link(&self.incoming(), stamp))
    }

    /// Puts one snapshot into a directory.
    pub(crate) fn link(&self, directory: &Path, stamp: u64) -> Result<(), Failure> {
        let snapshot = directory.join(stamp.to_string());
        make(&snapshot)?;
        let failed = |error| format!("{}: {error}", snapshot.display());
        for entry in fs::read_dir(self.template()).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            fs::hard_link(entry.path(), snapshot.join(entry.file_name())).map_err(failed)?;
        }
        Ok(())
    }

    /// The number of snapshots in the spool.
    pub(crate) fn waiting(&self) -> usize {
        fs::read_dir(self.incoming()).map_or(0, Iterator::count)
    }

    /// The number of batches in the outbox, in all of its folders.
    pub(crate) fn held(&self) -> usize {
        let folders = fs::read_dir(self.path.join("outbox")).into_iter().flatten().flatten();
        let count = |folder: fs::DirEntry| fs::read_dir(folder.path()).map_or(0, Iterator::count);
        folders.map(count).sum()
    }

    /// Writes a configuration that the Python program understands too.
    pub(crate) fn configure(
        &self,
        workers: usize,
        port: u16,
        more: ExtraOptions<'_>,
    ) -> Result<PathBuf, Failure> {
        // This run would deliver the batches that an earlier run left there.
        clear(&self.path.join("outbox"))?;
        let path = self.path.join("haproxystats.conf");
        let text = format!(
            "[paths]\nbase-dir = {base}\n\n\
             [pull]\nsocket-dir = {base}/sockets\npull-interval = 1\n\
             dst-dir = {base}/incoming\ntmp-dst-dir = {base}/incoming.tmp\n\n\
             [process]\nsrc-dir = {base}/incoming\nworkers = {workers}\n{process}\n\
             [graphite]\nserver = 127.0.0.1\nport = {port}\n{graphite}",
            base = self.path.display(),
            process = more.process,
            graphite = more.graphite,
        );
        fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(path)
    }

    /// Whether the folder is in memory; the spool's deletions cost more on a disk.
    pub(crate) fn file_system(&self) -> &'static str {
        const TMPFS: u64 = 0x0102_1994;
        match rustix::fs::statfs(&self.path) {
            Ok(found) if u64::try_from(found.f_type) == Ok(TMPFS) => "tmpfs",
            Ok(_) => "a disk, its files in the page cache",
            Err(_) => "unknown",
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // After a second Ctrl-C the folder has to be removed by hand.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Makes an empty directory, and removes an earlier one.
pub(crate) fn clear(directory: &Path) -> Result<(), Failure> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("{}: {error}", directory.display()))
        }
        _ => make(directory),
    }
}

fn make(directory: &Path) -> Result<(), Failure> {
    fs::create_dir_all(directory).map_err(|error| format!("{}: {error}", directory.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spool_is_filled_with_links_and_goes_with_its_stage() {
        let stage = Stage::create("stage-test").unwrap();
        let size = Size { name: "small", processes: 2, frontends: 1, backends: 1, servers: 1 };
        let bytes = stage.generate(size, Columns::V18).unwrap();
        stage.fill(3).unwrap();
        stage.fill(2).unwrap();
        assert_eq!(stage.waiting(), 2);
        let files: Vec<_> = fs::read_dir(stage.incoming().join("1600000001")).unwrap().collect();
        let found: u64 =
            files.iter().map(|file| file.as_ref().unwrap().metadata().unwrap().len()).sum();
        assert_eq!((files.len(), found), (4, bytes));
        let path = stage.path.clone();
        drop(stage);
        assert!(!path.exists());
    }
}
