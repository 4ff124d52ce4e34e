//! docs/reliability.md and docs/operations.md name tests that exist, words that the programs log,
//! and metrics that they send.

#![allow(clippy::unwrap_used, clippy::panic, reason = "test code outside of test functions")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const RELIABILITY: &str = "docs/reliability.md";
const OPERATIONS: &str = "docs/operations.md";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The Rust files below a directory, by their path within the project, with their text.
fn sources(directory: &Path, found: &mut Vec<(PathBuf, String)>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && path.file_name().unwrap() != "data" {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            found.push((path.strip_prefix(root()).unwrap().with_extension(""), text));
        }
    }
}

fn all_sources() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    ["src", "crates", "tests"].iter().for_each(|folder| sources(&root().join(folder), &mut found));
    found
}

/// Rows of all tables with that many columns, without their headings.
fn rows(text: &str, columns: usize) -> Vec<Vec<String>> {
    let lines = text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("|--"));
    let cells = lines.map(|line| {
        let line = line.strip_prefix("| ").unwrap().strip_suffix(" |").unwrap();
        line.split(" | ").map(str::to_owned).collect::<Vec<_>>()
    });
    let headings = ["fault", "model", "what happens"];
    cells.filter(|row| row.len() == columns && !headings.contains(&row[0].as_str())).collect()
}

/// The texts between backticks.
fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// Whether a path has the parts of a name, in their order.
fn leads_to(places: &[&str], path: &Path) -> bool {
    let mut places = places.iter();
    let mut wanted = places.next();
    for part in path.iter().filter_map(|part| part.to_str()) {
        if wanted.is_some_and(|place| *place == part) {
            wanted = places.next();
        }
    }
    wanted.is_none()
}

/// Whether a file has a test of this name: by itself, from a macro, or as a property.
fn has_test(text: &str, name: &str) -> bool {
    let by_hand = text.find(&format!("fn {name}(")).is_some_and(|at| {
        let before: Vec<&str> = text[..at].lines().rev().take(6).collect();
        before.iter().any(|line| line.contains("#[test]") || line.contains("#[tokio::test"))
    });
    by_hand || text.lines().any(|line| line.trim_start().starts_with(&format!("{name} = \"")))
}

#[test]
fn every_fault_names_tests_that_exist() {
    let sources = all_sources();
    let page = read(RELIABILITY);
    let rows = rows(&page, 3);
    assert!(rows.len() > 40, "only {} rows were found", rows.len());
    for row in rows {
        let tests = quoted(&row[2]);
        assert!(!tests.is_empty(), "no test: {}", row[0]);
        for test in tests {
            let mut places: Vec<&str> = test.split("::").collect();
            let name = places.pop().unwrap();
            let there =
                sources.iter().any(|(path, text)| leads_to(&places, path) && has_test(text, name));
            assert!(there, "there is no test {test}");
        }
    }
}

#[test]
fn a_name_leads_to_its_own_file_only() {
    assert!(leads_to(&["e2e", "exact"], Path::new("tests/e2e/exact")));
    assert!(!leads_to(&["exact", "e2e"], Path::new("tests/e2e/exact")));
    assert!(!leads_to(&["e2e", "faults"], Path::new("crates/puller/tests/pull/faults")));
    assert!(has_test("#[test]\nfn a() {}", "a"));
    assert!(!has_test("fn a() {}", "a"));
}

/// The code of the programs, with strings that go on over several lines joined.
fn shipped_words() -> String {
    let mut words = String::new();
    for (path, text) in all_sources() {
        if !path.iter().any(|part| part == "tests") {
            for piece in text.split("\\\n") {
                words.push_str(piece.trim_start());
            }
            words.push('\n');
        }
    }
    words
}

#[test]
fn every_log_line_of_the_operators_page_is_logged() {
    let words = shipped_words();
    let page = read(OPERATIONS);
    let rows = rows(&page, 4);
    assert!(rows.len() > 20, "only {} rows were found", rows.len());
    for line in rows.iter().flat_map(|row| quoted(&row[1])) {
        assert!(words.contains(line), "nobody says {line:?}");
    }
}

#[test]
fn the_operators_page_has_every_metric_about_ourselves() {
    let page = read(OPERATIONS);
    let rows = rows(&page, 3);
    let written: BTreeSet<&str> = rows.iter().flat_map(|row| quoted(&row[0])).collect();
    let mut known = BTreeSet::new();
    let code = ["statistics", "core/report"].map(|file| {
        let text = read(&format!("crates/processor/src/{file}.rs"));
        text.split("#[cfg(test)]").next().unwrap().to_owned()
    });
    for text in &code {
        let strings = text.split('"').skip(1).step_by(2);
        known.extend(strings.filter(|word| word.starts_with(|c: char| c.is_ascii_uppercase())));
    }
    assert_eq!(written, known);
}
