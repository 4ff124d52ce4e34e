//! Small disks of a soak: a tmpfs each, under the outbox or under local-store, that is full for a
//! while in every minute. Only root can mount them.
//!
//! What local-store writes is moved from its disk into one file, so that a soak of any length fits.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::courier::snapshots;
use crate::Failure;

/// The seconds of a period; a disk is full in a part of each period.
const PERIOD: u64 = 60;
const FULL: std::ops::Range<u64> = 20..40;
const FILLER: &str = ".filler";

/// A mounted tmpfs; dropping it unmounts it.
pub(super) struct SmallDisk {
    path: PathBuf,
    bytes: usize,
    is_full: bool,
}

impl SmallDisk {
    /// Mounts it on a directory, which is made.
    pub(super) fn mount(path: &Path, bytes: usize) -> Result<Self, Failure> {
        fs::create_dir_all(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "haproxystats-soak"]);
        let status = command.arg(path).status().map_err(|error| format!("mount: {error}"))?;
        if !status.success() {
            return Err(format!("mount of a tmpfs on {}: {status}", path.display()));
        }
        Ok(Self { path: path.to_owned(), bytes, is_full: false })
    }

    /// Fills or frees the disk when it is due; must be called often.
    pub(super) fn follow(&mut self, elapsed: Duration) -> Result<(), Failure> {
        self.make_full(FULL.contains(&(elapsed.as_secs() % PERIOD)))
    }

    /// Fills the disk or frees it.
    pub(super) fn make_full(&mut self, is_full: bool) -> Result<(), Failure> {
        let filler = self.path.join(FILLER);
        let done = match (self.is_full, is_full) {
            (false, false) => Ok(()),
            (true, false) => fs::remove_file(&filler),
            // Also while it is full, because a file may have been removed.
            (_, true) => fill(&filler, self.bytes),
        };
        done.map_err(|error| format!("{}: {error}", filler.display()))?;
        self.is_full = is_full;
        Ok(())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily, because a child that is ending may still have a file open.
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}

/// Appends until nothing more fits.
fn fill(filler: &Path, bytes: usize) -> io::Result<()> {
    let mut file = OpenOptions::new().create(true).append(true).open(filler)?;
    match file.write_all(&vec![0; bytes]) {
        Err(error) if error.kind() != io::ErrorKind::StorageFull => Err(error),
        _ => Ok(()),
    }
}

/// The lines that local-store has written on its disk so far.
pub(super) struct LocalStore {
    disk: SmallDisk,
    received: PathBuf,
    lines: File,
    count: u64,
}

impl LocalStore {
    const BYTES: usize = 1 << 20;

    /// Mounts its directory; lines go to `received`.
    pub(super) fn mount(directory: &Path, received: PathBuf) -> Result<Self, Failure> {
        let disk = SmallDisk::mount(directory, Self::BYTES)?;
        let lines =
            File::create(&received).map_err(|error| format!("{}: {error}", received.display()))?;
        Ok(Self { disk, received, lines, count: 0 })
    }

    /// Takes the new files, and fills or frees the disk when it is due; must be called often.
    pub(super) fn follow(&mut self, elapsed: Duration) -> Result<(), Failure> {
        self.take()?;
        self.disk.follow(elapsed)
    }

    /// The disk has space from now on.
    pub(super) fn be_good(&mut self) -> Result<(), Failure> {
        self.disk.make_full(false)
    }

    /// Moves every whole file into ours.
    pub(super) fn take(&mut self) -> Result<(), Failure> {
        for snapshot in snapshots(&self.disk.path) {
            let directory = self.disk.path.join(snapshot.to_string());
            let file = directory.join("stats");
            let moved = match fs::read(&file) {
                // A child is writing it, or a killed child has left it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => Err(error),
                Ok(bytes) => {
                    self.count += bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
                    self.lines.write_all(&bytes).and_then(|()| fs::remove_file(&file))
                }
            };
            moved.map_err(|error| format!("{}: {error}", file.display()))?;
            // The directory may be in use again.
            let _ = fs::remove_dir(&directory);
        }
        Ok(())
    }

    /// The number of lines that were taken.
    pub(super) const fn lines(&self) -> u64 {
        self.count
    }

    /// Takes the rest once the program has ended, and returns the file with all lines.
    pub(super) fn finish(mut self) -> Result<PathBuf, Failure> {
        self.take()?;
        Ok(self.received.clone())
    }
}
