//! The pages agree with the code: every option with its type and its default, every field with its
//! fold, the imports between crates, and the targets of links. Each is checked both ways: a page
//! lacks nothing of the code, and has nothing that the code lacks.

#![allow(clippy::unwrap_used, reason = "test code outside of test functions")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use model::catalog::{
    Choice, DAEMON_MEANS, DAEMON_PERCENTAGES, DAEMON_SUMS, Fold, ProxyKind, names, nature,
};

const CONFIGURATION: &str = "docs/configuration.md";
const METRICS: &str = "docs/metrics.md";
const ARCHITECTURE: &str = "docs/architecture.md";

/// An empty cell of a table.
const NONE: &str = "–";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// Every page whose links are checked.
fn pages() -> Vec<PathBuf> {
    let entries = |folder: &str| {
        let entries = fs::read_dir(root().join(folder)).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect::<Vec<_>>()
    };
    let docs = entries("docs").into_iter();
    let docs = docs.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    let contrib = entries("contrib").into_iter().map(|folder| folder.join("README.md"));
    ["README.md", "CHANGELOG.md", "CONTRIBUTING.md"]
        .map(|name| root().join(name))
        .into_iter()
        .chain(docs)
        .chain(contrib.filter(|page| page.exists()))
        .collect()
}

/// The lines between a heading and the next heading of any level.
fn below<'a>(text: &'a str, heading: &str) -> Vec<&'a str> {
    let mut lines = text.lines().skip_while(|line| *line != heading);
    assert!(lines.next().is_some(), "there is no heading {heading}");
    lines.take_while(|line| !line.starts_with('#')).collect()
}

/// The cells of the tables below a heading, in the rows that begin with a name in backticks.
fn rows(text: &str, heading: &str) -> Vec<Vec<String>> {
    let cells = |line: &str| line.split(" | ").map(|cell| cell.trim().to_owned()).collect();
    let rows = below(text, heading).into_iter().filter(|line| line.starts_with("| `"));
    rows.map(|line| cells(line.strip_prefix("| ").unwrap().strip_suffix(" |").unwrap())).collect()
}

/// The text of a cell without backticks.
fn bare(cell: &str) -> &str {
    cell.strip_prefix('`').and_then(|rest| rest.strip_suffix('`')).unwrap_or(cell)
}

const fn word(fold: Option<Fold>) -> &'static str {
    match fold {
        Some(Fold::Sum) => "sum",
        Some(Fold::Mean) => "mean",
        Some(Fold::MeanWithTraffic) => "mean with traffic",
        Some(Fold::Largest) => "largest",
        Some(Fold::Smallest) => "smallest",
        None => NONE,
    }
}

#[test]
fn every_option_has_its_row_and_every_row_its_option() {
    let page = read(CONFIGURATION);
    let headed: Vec<&str> =
        page.lines().filter_map(|line| line.strip_prefix("## `[")?.strip_suffix("]`")).collect();
    let mut written = Vec::new();
    for section in &headed {
        for row in rows(&page, &format!("## `[{section}]`")) {
            let [option, takes, default, meaning] = row.as_slice() else {
                panic!("[{section}]: a row has another number of cells: {row:?}");
            };
            let (option, default, meaning) =
                (bare(option), bare(default), meaning.replace('`', ""));
            written.push(format!("[{section}] {option} | {takes} | {default} | {meaning}"));
        }
    }
    let known: Vec<String> = config::known_options()
        .iter()
        .map(|known| {
            let default = known.default.unwrap_or("unset");
            let config::KnownOption { section, name, kind, meaning, .. } = known;
            format!("[{section}] {name} | {kind} | {default} | {meaning}")
        })
        .collect();
    for row in &written {
        assert!(known.contains(row), "{CONFIGURATION} has a row that no option has:\n{row}");
    }
    for option in &known {
        assert!(written.contains(option), "{CONFIGURATION} lacks the row of an option:\n{option}");
    }
    assert_eq!(written.len(), known.len(), "{CONFIGURATION} has a row twice");

    let headed: BTreeSet<&str> = headed.into_iter().collect();
    let known = config::known_options().iter().map(|known| known.section);
    let known: BTreeSet<&str> = known.chain(config::GROUP_SECTIONS).collect();
    assert_eq!(headed, known);
}

#[test]
fn the_catalogue_is_the_codes() {
    let page = read(METRICS);
    let heading = "## The catalogue";
    let written: Vec<String> = rows(&page, heading).iter().map(|row| row.join(" | ")).collect();
    let known: Vec<String> = names()
        .map(|name| {
            let nature = nature(name).unwrap();
            let kind = format!("{nature:?}").to_lowercase();
            format!("`{name}` | {kind} | {}", word(nature.fold()))
        })
        .collect();
    assert_eq!(written, known);
    assert!(page.contains(&format!("The {} fields", known.len())));

    // The table of natures has all of them.
    for nature in names().filter_map(nature) {
        let kind = format!("| {nature:?} | ").to_lowercase();
        let fold = format!(" | {} |", word(nature.fold()));
        let is_its_row = |line: &&str| line.starts_with(&kind) && line.ends_with(&fold);
        assert!(below(&page, heading).iter().any(is_its_row), "no row {kind}…{fold}");
    }
}

#[test]
fn the_default_lists_are_the_codes() {
    let page = read(METRICS);
    let rows = rows(&page, "## Frontends, backends and servers");
    for (column, kind) in
        [(3, ProxyKind::Frontend), (4, ProxyKind::Backend), (5, ProxyKind::Server)]
    {
        let written: BTreeMap<&str, &str> = rows
            .iter()
            .map(|row| (bare(&row[0]), row[column].as_str()))
            .filter(|(_, fold)| *fold != NONE)
            .collect();
        let plan = kind.plan(Choice::Default).into_iter();
        let known: BTreeMap<&str, &str> =
            plan.map(|(name, fold)| (name, word(Some(fold)))).collect();
        assert_eq!(written, known, "{kind:?}");
    }
}

#[test]
fn the_daemons_metrics_are_the_codes() {
    let page = read(METRICS);
    let written: Vec<(String, String)> =
        rows(&page, "## daemon").iter().map(|row| (bare(&row[0]).into(), row[1].clone())).collect();
    let sums = DAEMON_SUMS.iter().map(|key| (*key, Fold::Sum));
    let known: Vec<(String, String)> = sums
        .chain(DAEMON_MEANS.iter().map(|key| (*key, Fold::Mean)))
        .map(|(key, fold)| (key.to_owned(), word(Some(fold)).to_owned()))
        .collect();
    assert_eq!(written, known);

    let percentages = rows(&page, "### Percentages");
    let written: Vec<Vec<&str>> =
        percentages.iter().map(|row| row.iter().map(|cell| bare(cell)).collect()).collect();
    let known: Vec<Vec<&str>> =
        DAEMON_PERCENTAGES.iter().map(|(name, used, limit)| vec![*name, *used, *limit]).collect();
    assert_eq!(written, known);
}

/// The metrics that a file of the processor emits: its string literals in camel case.
fn emitted(code: &str) -> BTreeSet<&str> {
    let is_metric = |name: &&str| {
        name.starts_with(|c: char| c.is_ascii_uppercase())
            && name.chars().all(|c| c.is_ascii_alphanumeric())
    };
    code.split('"').skip(1).step_by(2).filter(is_metric).collect()
}

#[test]
fn our_own_metrics_are_the_codes() {
    let page = read(METRICS);
    for (heading, source) in [
        ("### With each snapshot", "crates/processor/src/statistics.rs"),
        ("### From haproxystats-process", "crates/processor/src/core/report.rs"),
    ] {
        let rows = rows(&page, heading);
        let written: BTreeSet<&str> = rows.iter().map(|row| bare(&row[0])).collect();
        assert_eq!(written, emitted(&read(source)), "{heading}");
    }
}

#[test]
fn the_arrows_are_those_of_the_manifests() {
    let page = read(ARCHITECTURE);
    let mut written = BTreeMap::new();
    for row in rows(&page, "## Crates") {
        let imports = row[2].split(", ").filter(|import| *import != "none");
        let imports: BTreeSet<String> = imports.map(str::to_owned).collect();
        written.insert(bare(&row[0]).to_owned(), imports);
    }
    let mut manifests = BTreeMap::new();
    for entry in fs::read_dir(root().join("crates")).unwrap() {
        let directory = entry.unwrap().path();
        let Ok(manifest) = fs::read_to_string(directory.join("Cargo.toml")) else { continue };
        let table = manifest.split("\n[dependencies]\n").nth(1).unwrap_or_default();
        let table = table.split("\n[").next().unwrap();
        let imports = table.lines().filter_map(|line| line.split(['.', ' ', '=']).next());
        let imports: BTreeSet<String> =
            imports.filter(|name| written.contains_key(*name)).map(str::to_owned).collect();
        manifests.insert(directory.file_name().unwrap().to_str().unwrap().to_owned(), imports);
    }
    assert_eq!(written, manifests);
}

#[test]
fn the_readme_names_the_rust_that_is_needed() {
    let version = format!("Rust {} or newer", env!("CARGO_PKG_RUST_VERSION"));
    assert!(read("README.md").contains(&version), "{version}");
}

/// The targets of a page's links, without those in code.
fn links(text: &str) -> Vec<String> {
    let prose = text.lines().filter(|line| !line.starts_with("    ")).collect::<Vec<_>>().join(" ");
    let targets = prose.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    targets.map(|(target, _)| target.to_owned()).collect()
}

/// The anchors of a page: its headings in lower case, blanks as hyphens, without punctuation.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let stays = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    let anchor = |line: &str| {
        let heading = line.trim_start_matches('#').trim().to_lowercase();
        heading.chars().filter(stays).collect::<String>().replace(' ', "-")
    };
    headings.map(anchor).collect()
}

#[test]
fn every_link_within_the_project_leads_somewhere() {
    let mut checked = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for target in links(&text).iter().filter(|target| !target.contains("://")) {
            let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
            let file =
                if path.is_empty() { page.clone() } else { page.parent().unwrap().join(path) };
            assert!(file.exists(), "{}: no file {target}", page.display());
            let anchored = fs::read_to_string(&file).unwrap_or_default();
            let there = anchor.is_empty() || anchors(&anchored).contains(anchor);
            assert!(there, "{}: no heading {target}", page.display());
            checked += 1;
        }
    }
    assert!(checked > 0, "no link was found");
}

#[test]
fn every_page_can_be_reached_from_the_readme() {
    let mut reached = BTreeSet::from([root().join("README.md").canonicalize().unwrap()]);
    let mut to_read: Vec<PathBuf> = reached.iter().cloned().collect();
    while let Some(page) = to_read.pop() {
        for target in links(&fs::read_to_string(&page).unwrap()) {
            let path = page.parent().unwrap().join(target.split('#').next().unwrap());
            let Ok(path) = path.canonicalize() else { continue };
            let is_page = path.extension().is_some_and(|extension| extension == "md");
            if is_page && reached.insert(path.clone()) {
                to_read.push(path);
            }
        }
    }
    for page in pages() {
        let path = page.canonicalize().unwrap();
        assert!(reached.contains(&path), "no page leads to {}", page.display());
    }
}

#[test]
fn the_readme_links_every_page_of_docs() {
    let targets = links(&read("README.md"));
    for page in pages() {
        let path = page.strip_prefix(root()).unwrap().to_str().unwrap();
        let linked = targets.iter().any(|target| target.split('#').next() == Some(path));
        assert!(linked || !path.starts_with("docs/"), "README.md has no link to {path}");
    }
}

/// The groups of the stats sockets in a text.
fn socket_groups(text: &str) -> Vec<&str> {
    let lines = text.lines().filter_map(|line| line.split_once("stats socket /"));
    let words = lines.flat_map(|(_, rest)| rest.split_once(" group "));
    words.map(|(_, rest)| rest.split([' ', '`', '"']).next().unwrap()).collect()
}

/// The unit of pull is in this group, and in no other group that HAProxy could give a socket.
#[test]
fn every_stats_socket_is_given_to_the_group_haproxy() {
    let files =
        ["contrib/man", "examples"].map(|folder| fs::read_dir(root().join(folder)).unwrap());
    let files = files.into_iter().flatten().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.is_file());
    let mut count = 0;
    for path in pages().into_iter().chain(files) {
        let text = fs::read_to_string(&path).unwrap();
        for group in socket_groups(&text) {
            assert_eq!(group, "haproxy", "{}", path.display());
            count += 1;
        }
    }
    assert!(count >= 5, "{count} sockets with a group were found");
    let wrong =
        r#".Dl "stats socket /run/haproxy/admin.sock mode 660 group haproxystats level user""#;
    assert_eq!(socket_groups(wrong), ["haproxystats"]);
}
