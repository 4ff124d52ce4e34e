//! Compares the directories of both programs pairwise: two options must not name the same
//! directory, and no directory may be inside another.
//!
//! Each directory has an owner that removes, moves or counts the files in it. Two owners of one
//! directory would do that to each other's files: local-store's retention would delete snapshots,
//! and lines in `src-dir` would be read as a snapshot and removed. Paths are resolved first, so
//! that a link or `..` cannot hide an overlap. There are two exceptions:
//! `src-dir` and `dst-dir` may be the same, and a directory may be below a hidden name in them,
//! because their readers skip hidden names.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use crate::fault::Problem;
use crate::interpolate::{Resolution, Resolver, place_of};
use crate::reader::refuse;
use crate::{local_store, receivers, values};

/// Links of one path that are followed, as in Linux.
const LINKS_MAX: usize = 40;

/// Section and option.
type OptionName<'d> = (&'d str, &'static str);

const DST_DIR: OptionName<'_> = ("pull", "dst-dir");
const SRC_DIR: OptionName<'_> = ("process", "src-dir");

/// Two directories that overlap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlap {
    /// The directory of the faulty option, resolved.
    pub dir: PathBuf,
    /// The relation of `dir` to the other directory.
    pub relation: Relation,
    /// The other option with its section; two options if `src-dir` and `dst-dir` are the same.
    pub other: String,
    /// The other directory, resolved.
    pub other_dir: PathBuf,
}

/// The relation of a directory to another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// Both are the same.
    Same,
    /// It is inside the other directory.
    Inside,
    /// The other directory is inside it.
    Around,
}

impl fmt::Display for Overlap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Quoted, because the target of a link may have any character.
        let Self { dir, relation, other, other_dir } = self;
        write!(f, "resolves to {dir:?}, ")?;
        match relation {
            Relation::Same => {
                write!(f, "as {other} does; write a directory that no other option names")
            }
            Relation::Inside => {
                write!(f, "which lies in {other_dir:?}, the directory of {other}; ")?;
                write!(f, "write a directory outside {other_dir:?}")
            }
            Relation::Around => {
                write!(f, "which contains {other_dir:?}, the directory of {other}; ")?;
                write!(f, "write a directory that does not contain {other_dir:?}")
            }
        }
    }
}

/// A directory with the options that name it.
#[derive(Debug)]
struct Directory<'d> {
    /// One option, or `dst-dir` and `src-dir` if they name the same directory.
    options: Vec<OptionName<'d>>,
    path: PathBuf,
}

impl<'d> Directory<'d> {
    /// Whether snapshots are read from it, by readers that skip hidden names.
    fn is_spool(&self) -> bool {
        self.options.iter().any(|option| [DST_DIR, SRC_DIR].contains(option))
    }

    /// The forbidden relation to `other`, if any.
    fn conflict(&self, other: &Directory<'_>) -> Option<Relation> {
        if self.path == other.path {
            Some(Relation::Same)
        } else if other.exposes(self) {
            Some(Relation::Inside)
        } else if self.exposes(other) {
            Some(Relation::Around)
        } else {
            None
        }
    }

    /// Whether `inner` is inside this directory, where its owner finds it.
    fn exposes(&self, inner: &Directory<'_>) -> bool {
        let Ok(below) = inner.path.strip_prefix(&self.path) else { return false };
        match below.components().next() {
            Some(Component::Normal(first)) if self.is_spool() => {
                !first.as_encoded_bytes().starts_with(b".")
            }
            _ => true,
        }
    }

    /// The first of the options that the file sets.
    fn written(&self, resolver: &Resolver<'_>) -> Option<OptionName<'d>> {
        let is_written = |(section, option): &OptionName<'_>| {
            place_of(resolver.document(), section, option).is_some()
        };
        self.options.iter().copied().find(is_written)
    }

    fn names(&self) -> String {
        let names = self.options.iter().map(|(section, option)| format!("[{section}] {option}"));
        names.collect::<Vec<_>>().join(" and ")
    }
}

/// Records a fault for each pair that overlaps. A directory whose value has a fault is left out,
/// because that fault is recorded already.
pub(crate) fn check(resolver: &mut Resolver<'_>, file: &Arc<Path>) {
    let directories = in_use(resolver);
    for (index, later) in directories.iter().enumerate() {
        for earlier in &directories[..index] {
            // Report the option that the file sets, since a default has no line.
            let (blamed, other) = match (earlier.written(resolver), later.written(resolver)) {
                (Some(_), None) => (earlier, later),
                _ => (later, earlier),
            };
            if let Some(relation) = blamed.conflict(other) {
                record_overlap(resolver, file, blamed, relation, other);
            }
        }
    }
}

fn record_overlap(
    resolver: &mut Resolver<'_>,
    file: &Arc<Path>,
    blamed: &Directory<'_>,
    relation: Relation,
    other: &Directory<'_>,
) {
    let (section, option) = blamed.written(resolver).unwrap_or(blamed.options[0]);
    let overlap = Overlap {
        dir: blamed.path.clone(),
        relation,
        other: other.names(),
        other_dir: other.path.clone(),
    };
    refuse(resolver, section, option, file, Problem::Overlap(overlap));
}

/// The directories that the two programs use with this file, resolved.
fn in_use<'d>(resolver: &mut Resolver<'d>) -> Vec<Directory<'d>> {
    let mut options = vec![
        DST_DIR,
        SRC_DIR,
        ("pull", "tmp-dst-dir"),
        ("process", "failed-dir"),
        ("process", "outbox-dir"),
    ];
    for section in receivers::sections(resolver.document()) {
        let kind = receivers::kind_of(section).map(|kind| kind.section);
        let enabled = value(resolver, (section, receivers::ENABLED.row.name), values::boolean);
        if kind == Some(local_store::SECTION) && enabled == Some(true) {
            options.push((section, local_store::DIR.row.name));
        }
    }
    let mut directories: Vec<Directory<'_>> = Vec::new();
    for option in options {
        let Some(path) = value(resolver, option, values::path) else { continue };
        let path = resolve(&path);
        match directories.iter_mut().find(|other| option == SRC_DIR && other.path == path) {
            Some(dst_dir) => dst_dir.options.push(option),
            None => directories.push(Directory { options: vec![option], path }),
        }
    }
    directories
}

/// The value of an option if it has no fault.
fn value<T, E>(
    resolver: &mut Resolver<'_>,
    (section, option): OptionName<'_>,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Option<T> {
    match resolver.value(section, option) {
        Resolution::Value { text, .. } => parse(&text).ok(),
        Resolution::Unset | Resolution::Failed | Resolution::Incomplete => None,
    }
}

/// The path without links, `.` and `..`, absolute if the working directory is known.
///
/// Links are followed one component at a time, because `fs::canonicalize` fails for a path that
/// does not exist yet, and a link may exist before its target.
fn resolve(path: &Path) -> PathBuf {
    let mut resolved = match path.is_absolute() {
        true => PathBuf::new(),
        false => fs::canonicalize(".").unwrap_or_default(),
    };
    let mut ahead: Vec<OsString> = Vec::new();
    let push = |ahead: &mut Vec<OsString>, path: &Path| {
        ahead.extend(path.components().rev().map(|part| part.as_os_str().to_owned()));
    };
    push(&mut ahead, path);
    let mut links = 0;
    while let Some(part) = ahead.pop() {
        if part == "." {
            continue;
        }
        if part == ".." {
            resolved.pop();
            continue;
        }
        let next = resolved.join(part);
        match fs::read_link(&next) {
            Ok(target) if links < LINKS_MAX => {
                links += 1;
                push(&mut ahead, &target);
            }
            _ => resolved = next,
        }
    }
    resolved
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_path_is_resolved_as_the_system_does_even_if_it_does_not_exist() {
        let dir = tempfile::tempdir().unwrap();
        let base = fs::canonicalize(dir.path()).unwrap();
        fs::create_dir_all(base.join("a/b")).unwrap();
        symlink(base.join("a/b"), base.join("far")).unwrap();
        symlink("far/../c", base.join("relative")).unwrap();
        symlink("not/there", base.join("dangling")).unwrap();
        symlink("loop", base.join("loop")).unwrap();
        for (path, expected) in [
            ("far", "a/b"),
            ("far/..", "a"),
            ("far/x/./../y/", "a/b/y"),
            ("relative/z", "a/c/z"),
            ("dangling/x", "not/there/x"),
            ("none/../far/../../q", "q"),
        ] {
            assert_eq!(resolve(&base.join(path)), base.join(expected), "{path}");
            let there = fs::canonicalize(base.join(path));
            assert!(there.is_err() || there.unwrap() == base.join(expected), "{path}");
        }
        assert_eq!(resolve(Path::new("/../..")), Path::new("/"));
        assert_eq!(resolve(&base.join("loop")), base.join("loop"));
        let here = fs::canonicalize(".").unwrap();
        assert_eq!(resolve(Path::new("x/../y")), here.join("y"));
    }
}
