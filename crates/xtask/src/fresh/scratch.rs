//! The scratch folder: made where a whole build fits, filled with empty folders, and removed after
//! a success.
//!
//! The settings of the user's cargo home are linked, not copied, so that no credentials remain in a
//! folder that is kept.

use std::env;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::environment::Environment;
use crate::Failure;

/// A run writes about 5 GB of builds, crates, tools and packages; the rest is reserve.
const SPACE_NEEDED_GIB: u64 = 8;
const GIB: u64 = 1 << 30;

/// Files of a cargo home that say how the registry is reached.
const SETTINGS: [&str; 4] = ["config.toml", "config", "credentials.toml", "credentials"];

/// The folder of one run.
pub(super) struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// A new folder in `parent`, if a build fits there.
    pub(super) fn create(parent: &Path) -> Result<Self, Failure> {
        let fault = |error: io::Error| format!("{}: {error}", parent.display());
        let parent = fs::canonicalize(parent).map_err(fault)?;
        let space = rustix::fs::statvfs(&parent).map_err(|error| fault(error.into()))?;
        enough(space.f_bavail.saturating_mul(space.f_frsize))
            .map_err(|shortage| format!("{}: {shortage}", parent.display()))?;
        let path = parent.join(format!("haproxystats-fresh-{}", std::process::id()));
        // A folder that exists already may be another run's.
        fs::create_dir(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self { path })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn clone_folder(&self) -> PathBuf {
        self.path.join("clone")
    }

    /// `cargo xtask demo` logs to `cargo-xtask-demo.log`.
    pub(super) fn log(&self, command: &str) -> PathBuf {
        let words: Vec<&str> =
            command.split(' ').map(|word| word.trim_start_matches('-')).collect();
        self.path.join(format!("{}.log", words.join("-")))
    }

    /// Makes the places that the environment names.
    pub(super) fn fill(&self, environment: &Environment) -> Result<(), Failure> {
        let fault = |error: io::Error| format!("{}: {error}", self.path.display());
        for folder in environment.folders() {
            fs::create_dir_all(folder).map_err(fault)?;
        }
        fs::write(&environment.apt.config, environment.apt.text()).map_err(fault)?;
        if let Some(home) = cargo_home() {
            for linked in link_settings(&home, &environment.cargo_home).map_err(fault)? {
                println!("xtask: settings of cargo taken over: {}", linked.display());
            }
        }
        Ok(())
    }

    pub(super) fn remove(&self) -> Result<(), Failure> {
        fs::remove_dir_all(&self.path).map_err(|error| format!("{}: {error}", self.path.display()))
    }
}

/// Fails with the remedy if that many bytes are not enough.
fn enough(free: u64) -> Result<(), Failure> {
    if free >= SPACE_NEEDED_GIB * GIB {
        return Ok(());
    }
    Err(format!(
        "{SPACE_NEEDED_GIB} GiB are needed and {} are free; --scratch DIR takes another disk",
        free / GIB
    ))
}

/// The user's cargo home.
fn cargo_home() -> Option<PathBuf> {
    let own = || Some(PathBuf::from(env::var_os("HOME")?).join(".cargo"));
    env::var_os("CARGO_HOME").map(PathBuf::from).or_else(own)
}

/// Links the settings of one cargo home into another, and returns the linked files.
fn link_settings(from: &Path, to: &Path) -> io::Result<Vec<PathBuf>> {
    let there = SETTINGS.into_iter().map(|name| from.join(name)).filter(|path| path.is_file());
    let there: Vec<PathBuf> = there.collect();
    for path in &there {
        symlink(path, to.join(path.file_name().unwrap_or_default()))?;
    }
    Ok(there)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_with_too_little_room_is_refused() {
        assert_eq!(enough(SPACE_NEEDED_GIB * GIB), Ok(()));
        let expected = "8 GiB are needed and 7 are free; --scratch DIR takes another disk";
        assert_eq!(enough(SPACE_NEEDED_GIB * GIB - 1), Err(expected.to_owned()));
    }

    #[test]
    fn a_log_has_its_commands_name() {
        let scratch = Scratch { path: "/s".into() };
        for (command, log) in [
            ("cargo xtask demo", "/s/cargo-xtask-demo.log"),
            ("apt-get --simulate", "/s/apt-get-simulate.log"),
        ] {
            assert_eq!(scratch.log(command), Path::new(log));
        }
    }

    #[test]
    fn only_settings_are_taken_from_the_users_cargo_home() {
        let folder = std::env::temp_dir().join(format!("xtask-settings-{}", std::process::id()));
        let (from, to) = (folder.join("from"), folder.join("to"));
        fs::create_dir_all(from.join("registry")).unwrap();
        fs::create_dir_all(&to).unwrap();
        fs::write(from.join("config.toml"), "[net]\n").unwrap();
        let linked = link_settings(&from, &to).unwrap();
        let found: Vec<_> = fs::read_dir(&to).unwrap().map(|entry| entry.unwrap().path()).collect();
        let text = fs::read_to_string(to.join("config.toml")).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(linked, [from.join("config.toml")]);
        assert_eq!((found, text.as_str()), (vec![to.join("config.toml")], "[net]\n"));
    }
}
