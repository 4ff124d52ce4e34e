//! Reads the files into the typed configuration, and reports all faults of all files in one run.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::document::Document;
use crate::fault::{Fault, Faults, Place, Problem, Warning};
use crate::interpolate::Resolver;
use crate::process::{self, process};
use crate::pull::pull;
use crate::typed::{Process, Pull};
use crate::{directories, shared, unknown};

/// The file that is read without `-f`. Only this file may be absent: then the defaults hold.
pub const DEFAULT_FILE: &str = "/etc/haproxystats.conf";

/// Bytes that a file may have; without a bound, `-f /dev/zero` would fill the memory.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// The program whose configuration is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// haproxystats-pull.
    Pull,
    /// haproxystats-process.
    Process,
}

/// The files that the command line names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sources {
    /// `-f`, or [`DEFAULT_FILE`].
    pub file: PathBuf,
    /// `-d`; its `*.conf` files are read after `file`, in name order.
    pub dir: Option<PathBuf>,
}

/// A configuration without a fault.
#[derive(Debug)]
pub struct Config {
    /// The configuration of haproxystats-pull.
    pub pull: Pull,
    /// The configuration of haproxystats-process.
    pub process: Process,
    /// The text of the files.
    pub document: Document,
    /// Probable mistakes, for the log.
    pub warnings: Vec<Warning>,
}

/// Reads and checks the configuration of both programs, so that the first one to start finds the
/// faults of the other.
///
/// ```
/// use std::path::PathBuf;
///
/// use haproxystats_config::{Sources, load};
///
/// let directory = tempfile::tempdir()?;
/// let file = directory.path().join("haproxystats.conf");
/// std::fs::write(&file, "[pull]\nworkers = 3\n[graphite:second]\nserver = backup\n")?;
/// let config = load(&Sources { file, dir: None })?;
/// assert_eq!(config.pull.workers, 3);
/// let names: Vec<_> = config.process.receivers.iter().map(|one| one.name.to_string()).collect();
/// assert_eq!(names, ["graphite", "graphite:second"]);
///
/// let absent = PathBuf::from("/nonexistent.conf");
/// assert!(load(&Sources { file: absent, dir: None }).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// Every fault, in the order of files and lines.
pub fn load(sources: &Sources) -> Result<Config, Faults> {
    load_beside(sources, Path::new(DEFAULT_FILE))
}

/// Loads; only `default_file` may be absent.
fn load_beside(sources: &Sources, default_file: &Path) -> Result<Config, Faults> {
    let main: Arc<Path> = Arc::from(sources.file.as_path());
    let mut files = vec![Arc::clone(&main)];
    let mut document = Document::default();
    let mut faults = Vec::new();
    let mut warnings = Vec::new();
    if let Some(dir) = sources.dir.as_deref() {
        match list(dir) {
            Ok(more) => files.extend(more),
            Err(error) => faults.push(fault_of(&Arc::from(dir), Problem::Folder(error))),
        }
    }
    for (index, file) in files.iter().enumerate() {
        match read(file) {
            Ok(bytes) => faults.extend(document.overlay(file, &bytes)),
            // A file that -f names must be there: with the defaults in its place, a mistyped path
            // would start programs that ask no HAProxy, or send to the wrong Graphite.
            Err(Problem::Absent) if index == 0 && **file == *default_file => {
                let message = "no such file; the defaults are in force".to_owned();
                let place = whole_file(file);
                warnings.push(Warning { place, section: None, option: None, message });
            }
            Err(problem) => faults.push(fault_of(file, problem)),
        }
    }

    let mut resolver = Resolver::new(&document);
    resolver.resolve_all();
    shared::check(&mut resolver, &main);
    let pull = pull(&mut resolver, &main);
    let process = process(&mut resolver, &main);
    directories::check(&mut resolver, &main);
    warnings.extend(unknown::warnings(&document, &resolver));
    faults.extend(resolver.into_faults());
    match (pull, process) {
        (Ok(pull), Ok(process)) if faults.is_empty() => {
            warnings.extend(process::warnings(&process, &document, &main));
            Ok(Config { pull, process, document, warnings })
        }
        _ => Err(Faults::sorted(faults, &files)),
    }
}

fn read(file: &Path) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::new();
    File::open(file)
        .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Problem::Absent,
            _ => Problem::Unreadable(error),
        })?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(Problem::TooLong { limit: MAX_FILE_BYTES });
    }
    Ok(bytes)
}

/// The `*.conf` files of a folder in name order. Hidden files are left out, because editors make
/// them, and because a shell's `*.conf` leaves them out too.
fn list(dir: &Path) -> io::Result<Vec<Arc<Path>>> {
    let mut names: Vec<OsString> = Vec::new();
    for entry in fs::read_dir(dir)? {
        names.push(entry?.file_name());
    }
    let is_ours = |name: &OsString| {
        let name = name.as_encoded_bytes();
        name.ends_with(b".conf") && !name.starts_with(b".")
    };
    let ours = names.into_iter().filter(is_ours);
    let mut files: Vec<Arc<Path>> = ours.map(|name| Arc::from(dir.join(name))).collect();
    files.sort();
    Ok(files)
}

fn whole_file(file: &Arc<Path>) -> Place {
    Place { file: Arc::clone(file), line: None }
}

fn fault_of(file: &Arc<Path>, problem: Problem) -> Fault {
    Fault { place: whole_file(file), section: None, option: None, problem }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warnings_or_faults(sources: &Sources, default_file: &Path) -> Result<Vec<String>, String> {
        let config = load_beside(sources, default_file).map_err(|faults| faults.to_string())?;
        Ok(config.warnings.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn only_the_default_file_may_be_absent() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("c.conf");
        let name = file.display();
        let sources = Sources { file: file.clone(), dir: None };
        let warning = format!("{name}: no such file; the defaults are in force");
        assert_eq!(warnings_or_faults(&sources, &file), Ok(vec![warning.clone()]));

        let fault = format!("{name}: no such file; write it, or name another one with -f");
        assert_eq!(warnings_or_faults(&sources, Path::new(DEFAULT_FILE)), Err(fault));

        // The files of a folder are read without the default file too, and a dangling link in the
        // folder is a fault.
        fs::create_dir(dir.path().join("d")).unwrap();
        fs::write(dir.path().join("d/a.conf"), "[pull]\nworkers = 3\n").unwrap();
        let sources = Sources { dir: Some(dir.path().join("d")), ..sources };
        assert_eq!(warnings_or_faults(&sources, &file), Ok(vec![warning]));
        assert_eq!(load_beside(&sources, &file).unwrap().pull.workers, 3);
        std::os::unix::fs::symlink("nothing", dir.path().join("d/b.conf")).unwrap();
        let fault = warnings_or_faults(&sources, &file).unwrap_err();
        assert!(fault.contains("d/b.conf: no such file; "), "{fault}");
    }
}
