//! The environment of the commands: the user's own, with empty folders for downloads and builds,
//! and without the variables that cargo has set for this program.
//!
//! HOME is kept, because git, pip and rustup have their settings there. RUSTUP_HOME is kept too, so
//! that the toolchain is found.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Variables of cargo about access to the registry, without which some machines cannot download.
const KEPT: [&str; 5] =
    ["CARGO_HTTP_", "CARGO_NET_", "CARGO_REGISTRY_", "CARGO_REGISTRIES_", "CARGO_SOURCE_"];
/// Beginnings of variables that a new user's shell does not have.
const REMOVED: [&str; 3] = ["CARGO", "HAPROXYSTATS_", "PROPTEST_"];
/// Whole names of such variables. A compiler cache would use earlier builds, and rustup must choose
/// the toolchain by the clone's own file.
const REMOVED_NAMES: [&str; 5] = [
    "PIP_CACHE_DIR",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTC_WRAPPER",
    "RUSTUP_TOOLCHAIN",
    "UPDATE_GOLDEN",
];

/// The difference between the commands' environment and our own.
#[derive(Debug)]
pub(super) struct Environment {
    pub(super) cargo_home: PathBuf,
    cache: PathBuf,
    target: PathBuf,
    pub(super) apt: Apt,
    removed: Vec<OsString>,
}

/// apt's configuration file, and the folders that it names.
#[derive(Debug)]
pub(super) struct Apt {
    pub(super) config: PathBuf,
    cache: PathBuf,
    lists: PathBuf,
}

impl Environment {
    /// `inherited` are the names of our own variables.
    pub(super) fn new(scratch: &Path, inherited: impl Iterator<Item = OsString>) -> Self {
        let apt = scratch.join("apt");
        Self {
            cargo_home: scratch.join("cargo-home"),
            cache: scratch.join("cache"),
            target: scratch.join("target"),
            apt: Apt {
                config: apt.join("apt.conf"),
                cache: apt.join("cache"),
                lists: apt.join("lists"),
            },
            removed: inherited.filter(|name| removed(name)).collect(),
        }
    }

    /// Folders that the commands find empty.
    pub(super) fn folders(&self) -> Vec<PathBuf> {
        let apt = [&self.apt.cache, &self.apt.lists];
        let own = [&self.cargo_home, &self.cache, &self.target].map(PathBuf::clone);
        // Older apt does not make these folders itself.
        let partial = [self.apt.cache.join("archives/partial"), self.apt.lists.join("partial")];
        own.into_iter().chain(apt.map(PathBuf::clone)).chain(partial).collect()
    }

    pub(super) fn apply(&self, command: &mut Command) {
        for name in &self.removed {
            command.env_remove(name);
        }
        command.envs([
            ("CARGO_HOME", &self.cargo_home),
            ("CARGO_TARGET_DIR", &self.target),
            ("XDG_CACHE_HOME", &self.cache),
            ("APT_CONFIG", &self.apt.config),
        ]);
    }
}

impl Apt {
    /// The text of the configuration file: the machine's own lists and packages stay untouched.
    pub(super) fn text(&self) -> String {
        format!(
            "Dir::Cache \"{}\";\nDir::State::lists \"{}\";\n",
            self.cache.display(),
            self.lists.display()
        )
    }
}

fn removed(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    REMOVED_NAMES.contains(&name.as_ref())
        || (REMOVED.iter().any(|beginning| name.starts_with(beginning))
            && !KEPT.iter().any(|beginning| name.starts_with(beginning)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn environment(names: &[&str]) -> Environment {
        Environment::new(Path::new("/scratch"), names.iter().map(OsString::from))
    }

    /// The changes to our own environment for a command; `None` removes a variable.
    fn changes(environment: &Environment) -> BTreeMap<String, Option<String>> {
        let text = |text: &OsStr| text.to_string_lossy().into_owned();
        let mut command = Command::new("sh");
        environment.apply(&mut command);
        command.get_envs().map(|(name, value)| (text(name), value.map(text))).collect()
    }

    #[test]
    fn downloads_and_builds_go_into_the_scratch_folder() {
        let set = changes(&environment(&["CARGO_HOME", "CARGO_TARGET_DIR", "PATH", "HOME"]));
        let expected = [
            ("APT_CONFIG", "/scratch/apt/apt.conf"),
            ("CARGO_HOME", "/scratch/cargo-home"),
            ("CARGO_TARGET_DIR", "/scratch/target"),
            ("XDG_CACHE_HOME", "/scratch/cache"),
        ];
        let expected = expected.map(|(name, place)| (name.to_owned(), Some(place.to_owned())));
        assert_eq!(set, BTreeMap::from(expected));
    }

    #[test]
    fn only_what_a_new_user_has_is_inherited() {
        let gone = [
            "CARGO",
            "CARGO_MANIFEST_DIR",
            "CARGO_PKG_NAME",
            "CARGO_BUILD_RUSTC_WRAPPER",
            "HAPROXYSTATS_REQUIRE_SERVERS",
            "PROPTEST_CASES",
            "RUSTC_WRAPPER",
            "RUSTUP_TOOLCHAIN",
            "PIP_CACHE_DIR",
        ];
        let stay = [
            "CARGO_HTTP_PROXY",
            "CARGO_REGISTRIES_CRATES_IO_PROTOCOL",
            "CARGO_SOURCE_CRATES_IO_REPLACE_WITH",
            "HOME",
            "PATH",
            "RUSTUP_HOME",
            "PIP_INDEX_URL",
            "https_proxy",
        ];
        let changes = changes(&environment(&[&gone[..], &stay].concat()));
        for name in gone {
            assert_eq!(changes.get(name), Some(&None), "{name}");
        }
        assert!(!stay.iter().any(|name| changes.contains_key(*name)), "{changes:?}");
    }

    #[test]
    fn apt_has_its_lists_and_packages_in_the_scratch_folder() {
        let environment = environment(&[]);
        let expected =
            "Dir::Cache \"/scratch/apt/cache\";\nDir::State::lists \"/scratch/apt/lists\";\n";
        assert_eq!(environment.apt.text(), expected);
        let folders = environment.folders();
        for place in ["apt/cache/archives/partial", "apt/lists/partial", "cargo-home", "target"] {
            assert!(folders.contains(&Path::new("/scratch").join(place)), "{place}");
        }
    }
}
