//! The pages of the manual in `contrib/man`, tried with mandoc and groff, and compared with the
//! programs: every option both ways. Also the version, which is the workspace's in every file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::scene::Scene;
use crate::support::{PROCESS, PULL, installed, run};

const VERSION: &str = env!("CARGO_PKG_VERSION");
const CONFIGURATION: &str = "haproxystats.conf.5";
const PAGES: [&str; 3] = [CONFIGURATION, "haproxystats-pull.8", "haproxystats-process.8"];

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

fn page(name: &str) -> String {
    read(&format!("contrib/man/{name}"))
}

/// Warnings and errors of the tools, without mandoc's remarks on style, which differ between
/// versions.
fn complaints(mandoc: &str, groff: &str, path: &Path) -> String {
    let path = path.to_str().unwrap();
    let mandoc = run(mandoc, &["-T", "lint", "-W", "warning", path]);
    let groff = run(groff, &["-ww", "-mdoc", "-Tutf8", "-z", path]);
    assert_eq!(groff.code, Some(0), "{}", groff.stderr);
    mandoc.stdout + &mandoc.stderr + &groff.stderr
}

#[test]
fn both_formatters_take_the_pages() {
    let Some([mandoc, groff]) = installed("pages of the manual", ["mandoc", "groff"]) else {
        return;
    };
    let scene = Scene::new();
    for name in PAGES {
        let path = scene.write(name, &page(name));
        assert_eq!(complaints(&mandoc, &groff, &path), "", "{name}");
        let rendered = run(&groff, &["-mdoc", "-Tascii", path.to_str().unwrap()]).stdout;
        assert!(rendered.contains(&format!("haproxystats {VERSION}")), "{name}: {rendered}");
    }
    let broken = page(CONFIGURATION).replacen(".El\n", "", 1);
    let path = scene.write("broken.5", &broken);
    assert_ne!(complaints(&mandoc, &groff, &path), "", "a list without its end");
}

/// `[section] option | takes | default`, and the text below it, of every option on the page.
fn options(page: &str) -> BTreeMap<String, String> {
    let mut section = "";
    let mut open = None;
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    let page = page.replace("\\-", "-");
    for line in page.lines() {
        if let Some(heading) = line.strip_prefix(".Ss ") {
            section = heading;
        } else if let Some(item) = line.strip_prefix(".It Ic ") {
            let (option, rest) = item.split_once(" Pq ").expect(line);
            let (takes, default) = rest.split_once("; default ").expect(line);
            let key = format!("{section} {option} | {takes} | {default}");
            assert_eq!(found.insert(key.clone(), String::new()), None, "{key} stands there twice");
            open = Some(key);
        } else if line == ".El" {
            open = None;
        } else if let Some(key) = &open {
            let text = found.get_mut(key).unwrap();
            text.push_str(line);
            text.push(' ');
        }
    }
    found
}

/// The text of an option begins with its meaning as a sentence and may go on after it.
#[test]
fn the_page_of_the_configuration_has_every_option_and_no_other() {
    let text = page(CONFIGURATION);
    let mut written = options(&text);
    for known in config::known_options() {
        let config::KnownOption { section, name, kind, meaning, .. } = known;
        let default = known.default.unwrap_or("unset");
        let key = format!("[{section}] {name} | {kind} | {default}");
        let text = written.remove(&key);
        let text = text.unwrap_or_else(|| panic!("the page lacks {key}"));
        let (first, rest) = meaning.split_at(1);
        let sentence = format!("{}{rest}. ", first.to_uppercase());
        assert!(text.starts_with(&sentence), "{key}: {text} does not begin with {sentence}");
    }
    assert!(written.is_empty(), "the page has more: {written:?}");
    for section in config::GROUP_SECTIONS {
        assert!(text.replace("\\-", "-").contains(&format!("[{section}]")), "{section}");
    }
}

/// The options of a usage text, such as `-f, --file` or `--render`.
fn usage_options(usage: &str) -> BTreeSet<String> {
    let lines = usage.lines().map(str::trim).filter(|line| line.starts_with('-'));
    let names = |line: &str| {
        let count = if line.starts_with("--") { 1 } else { 2 };
        line.split_whitespace().take(count).collect::<Vec<_>>().join(" ")
    };
    lines.map(names).collect()
}

#[test]
fn the_pages_of_the_programs_have_every_option_and_no_other() {
    for (name, program) in [(PAGES[1], PULL), (PAGES[2], PROCESS)] {
        let text = page(name).replace("\\-", "-");
        let items = text.lines().filter_map(|line| line.strip_prefix(".It Fl "));
        let written: BTreeSet<String> = items
            .map(|item| {
                let bare = |text: &str| text.split(' ').next().unwrap().to_owned();
                match item.split_once(" , Fl ") {
                    Some((short, long)) => format!("-{}, -{}", bare(short), bare(long)),
                    None => format!("-{}", bare(item)),
                }
            })
            .collect();
        assert_eq!(written, usage_options(&run(program, &["-h"]).stdout), "{name}");
    }
}

/// `[workspace.package] version` is the source; this test names the files that must follow it.
#[test]
fn every_file_names_the_version_of_the_workspace() {
    for name in PAGES {
        assert!(page(name).contains(&format!("\n.Os haproxystats {VERSION}\n")), "{name}");
    }
    let debian = read("contrib/debian/changelog");
    assert!(debian.starts_with(&format!("haproxystats ({VERSION}-")), "{debian}");
    for name in ["Dockerfile", "README.md", "compose.yaml"] {
        let text = read(&format!("contrib/docker/{name}"));
        let tags =
            text.split("haproxystats:").skip(1).filter(|rest| rest.starts_with(char::is_numeric));
        let tags: BTreeSet<&str> =
            tags.map(|rest| rest.split(char::is_whitespace).next().unwrap()).collect();
        assert_eq!(tags, BTreeSet::from([VERSION]), "contrib/docker/{name}");
    }

    let log = read("CHANGELOG.md");
    let heading = log.lines().find_map(|line| line.strip_prefix("## [")).unwrap();
    let heading = heading.split(']').next().unwrap();
    assert!(["Unreleased", VERSION].contains(&heading), "CHANGELOG.md begins with [{heading}]");

    // The fuzz targets are a workspace of their own; a stale lock file would stop them.
    let lock = read("fuzz/Cargo.lock");
    let ours = format!("name = \"haproxystats-config\"\nversion = \"{VERSION}\"\n");
    assert!(lock.contains(&ours), "fuzz/Cargo.lock has another version of ours");

    let written = read("Cargo.toml").matches("\nversion = \"").count();
    assert_eq!(written, 1, "a version of its own in Cargo.toml");
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("crates")).unwrap() {
        let manifest = entry.unwrap().path().join("Cargo.toml");
        let Ok(text) = fs::read_to_string(&manifest) else { continue };
        let inherits = text.contains("\nversion.workspace = true\n");
        assert!(inherits, "{} has a version of its own", manifest.display());
    }
}
