//! The code is laid out as docs/architecture.md says: which crate may import which, where polars is
//! named, how every file begins, how long lines and files are.

#![allow(clippy::unwrap_used, reason = "test code outside of test functions")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Which siblings a crate may import; strictly downward.
const ARROWS: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("spool", &["model", "daemon"]),
    ("daemon", &[]),
    ("config", &["model"]),
    ("fold", &["config", "model", "daemon"]),
    ("receivers", &["config", "model", "daemon"]),
    ("sources", &["model"]),
    ("puller", &["config", "spool", "sources", "daemon"]),
    ("processor", &["config", "model", "spool", "daemon", "fold", "sources", "receivers"]),
    ("testbed", &[]),
    ("xtask", &["testbed"]),
];

/// Which libraries the programs themselves may import.
const BIN: &[&str] = &["config", "daemon", "puller", "processor"];

/// Crates that a bare `cargo build` leaves out, because only developers run them.
const NOT_DEFAULT: [&str; 2] = ["testbed", "xtask"];

const COLUMNS_MAX: usize = 100;
const LINES_MAX: usize = 500;
const BIN_LINES_MAX: usize = 90;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The names in a manifest's `[dependencies]`.
fn dependencies(manifest: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(manifest).unwrap();
    let table = text.split("\n[dependencies]\n").nth(1).unwrap_or_default();
    let table = table.split("\n[").next().unwrap();
    let names = table.lines().filter_map(|line| line.split(['.', ' ', '=']).next());
    names.filter(|name| !name.is_empty() && !name.starts_with('#')).map(str::to_owned).collect()
}

fn rust_files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && path.file_name().unwrap() != "data" {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Every Rust file of the project with its text.
fn sources() -> BTreeMap<PathBuf, String> {
    let mut files = Vec::new();
    for directory in ["src", "crates", "tests", "examples", "fuzz/src"] {
        rust_files(&root().join(directory), &mut files);
    }
    files.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

/// The part of a file that ships: what stands before its unit tests.
fn shipped(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests").next().unwrap()
}

#[test]
fn crates_import_only_downward() {
    let names: BTreeSet<&str> = ARROWS.iter().map(|(name, _)| *name).collect();
    for (name, allowed) in ARROWS {
        let manifest = root().join("crates").join(name).join("Cargo.toml");
        for dependency in dependencies(&manifest) {
            let sibling = names.contains(dependency.as_str());
            assert!(
                !sibling || allowed.contains(&dependency.as_str()),
                "{name} imports {dependency}"
            );
        }
    }
    for dependency in dependencies(&root().join("Cargo.toml")) {
        let sibling = names.contains(dependency.as_str());
        assert!(!sibling || BIN.contains(&dependency.as_str()), "bin imports {dependency}");
    }
}

/// No folder is under `crates` that is not a crate.
#[test]
fn every_crate_has_its_arrows() {
    let mut there: Vec<_> = fs::read_dir(root().join("crates"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    there.sort();
    let mut drawn: Vec<_> = ARROWS.iter().map(|(name, _)| *name).collect();
    drawn.sort_unstable();
    assert_eq!(there, drawn);
}

/// A crate that is forgotten there would be missed by a bare `cargo test`.
#[test]
fn every_crate_but_the_developers_is_a_default_member() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let list = manifest.split("\ndefault-members = [\n").nth(1).unwrap();
    let list = list.split("\n]").next().unwrap();
    let listed: BTreeSet<&str> =
        list.lines().map(|line| line.trim_matches([' ', '"', ','])).collect();
    let crates = ARROWS.iter().map(|(name, _)| *name).filter(|name| !NOT_DEFAULT.contains(name));
    let mut expected: BTreeSet<String> = crates.map(|name| format!("crates/{name}")).collect();
    expected.insert(".".to_owned());
    assert_eq!(listed, expected.iter().map(String::as_str).collect());
}

#[test]
fn polars_stands_in_one_manifest_and_in_no_public_signature() {
    for (name, _) in ARROWS {
        let found = dependencies(&root().join("crates").join(name).join("Cargo.toml"));
        let polars = found.iter().any(|dependency| dependency.starts_with("polars"));
        assert_eq!(polars, *name == "fold", "{name}");
    }
    for (path, text) in sources() {
        let imports = shipped(&text).contains("\nuse polars");
        let may_import = path.ends_with("crates/fold/src/fold.rs");
        assert!(!imports || may_import, "{} names polars", path.display());
    }
}

#[test]
fn every_file_begins_with_its_idea_and_stays_small() {
    for (path, text) in sources() {
        assert!(text.starts_with("//! "), "{} has no module doc", path.display());
        let lines = text.lines().count();
        let most = if path.starts_with(root().join("src/bin")) { BIN_LINES_MAX } else { LINES_MAX };
        assert!(lines <= most, "{} has {lines} lines, at most {most} may be", path.display());
    }
}

/// rustfmt breaks neither comments nor strings.
#[test]
fn no_line_is_too_long() {
    for (path, text) in sources() {
        let place = path.strip_prefix(root()).unwrap().display();
        for (number, line) in text.lines().enumerate() {
            let columns = line.chars().count();
            assert!(columns <= COLUMNS_MAX, "{place}:{}: {columns} columns", number + 1);
        }
    }
}

#[test]
fn clocks_environment_arguments_and_exit_are_for_bin() {
    for (path, text) in sources() {
        let place = path.strip_prefix(root()).unwrap().to_str().unwrap();
        let library = place.starts_with("crates/")
            && !NOT_DEFAULT.iter().any(|name| place.starts_with(&format!("crates/{name}/")))
            && !place.contains("/tests/")
            && !place.contains("/examples/")
            && !place.contains("/benches/")
            && !place.ends_with("/tests.rs");
        if !library {
            continue;
        }
        // A doc example is a test.
        let is_code = |line: &&str| !line.trim_start().starts_with("//");
        let code: String = shipped(&text).lines().filter(is_code).collect();
        for word in ["SystemTime::now", "Utc::now", "env::var", "env::args", "process::exit"] {
            assert!(!code.contains(word), "{place} has {word}");
        }
        // tokio's clock is a timer that tests can stop.
        let own_clock = code.contains("Instant::now") && !text.contains("use tokio::time::");
        assert!(!own_clock, "{place} reads a clock");
    }
}

#[test]
fn there_is_no_glob_import_and_no_mod_rs() {
    for (path, text) in sources() {
        assert!(!path.ends_with("mod.rs"), "{}", path.display());
        let glob = text.lines().any(|line| {
            let line = line.trim();
            line.starts_with("use ") && line.ends_with("::*;") && line != "use super::*;"
        });
        assert!(!glob, "{} has a glob import", path.display());
    }
}

/// A sum that wraps would be a wrong figure in a graph; a panic costs one worker one try.
#[test]
fn a_release_checks_for_overflow() {
    let text = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let profile = text.split("\n[profile.release]\n").nth(1).unwrap();
    let profile = profile.split("\n[").next().unwrap();
    assert!(profile.lines().any(|line| line == "overflow-checks = true"), "{profile}");
}
