//! The commands in the pages are valid: our programs and checks have the options, systemd has the
//! unit, the project has the file. The tests in `crates/xtask/src/main.rs` check the commands of
//! `cargo xtask`.
//!
//! Only code blocks are read, which are indented or between fences. Other tests check what the
//! commands do; the commands of docs/quick-start.md are run as they are.

#![allow(clippy::unwrap_used, reason = "test code outside of test functions")]

use std::fs;
use std::path::{Path, PathBuf};

const FOLDERS: [&str; 7] = ["examples/", "contrib/", "docs/", "crates/", "tests/", "fuzz/", ".ci/"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// Every page, with its path.
fn pages() -> Vec<(PathBuf, String)> {
    let mut folders = vec![root().to_owned()];
    let mut pages = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() && (folder != root() || ["docs", "contrib"].contains(&name)) {
                folders.push(path);
            } else if name.ends_with(".md") {
                pages.push((path.clone(), fs::read_to_string(&path).unwrap()));
            }
        }
    }
    pages
}

/// The commands of a page: lines of its code, each with its continuation lines.
fn commands(page: &str) -> Vec<String> {
    let (mut commands, mut fenced, mut open) = (Vec::<String>::new(), false, false);
    for line in page.lines() {
        if line.starts_with("```") {
            fenced = !fenced;
            continue;
        }
        if !fenced && !line.starts_with("    ") {
            continue;
        }
        let line = line.split("  #").next().unwrap().trim();
        let (text, goes_on) = line.strip_suffix('\\').map_or((line, false), |text| (text, true));
        match commands.last_mut().filter(|_| open) {
            Some(command) => command.push_str(text),
            None => commands.push(text.to_owned()),
        }
        open = goes_on;
    }
    commands
}

/// The words of a command that would be options of its program, without values and brackets.
fn options<'a>(words: &[&'a str]) -> Vec<&'a str> {
    let words = words
        .iter()
        .take_while(|word| !word.starts_with("2>") && !word.starts_with(['>', '|', '&']));
    let words = words.map(|word| word.trim_matches(['[', ']']));
    words.filter(|word| word.starts_with('-')).map(|word| word.split('=').next().unwrap()).collect()
}

/// Whether a text has this option, and not only a longer option.
fn has(text: &str, option: &str) -> bool {
    text.split(|c: char| c.is_whitespace() || "[]|(),\"')=".contains(c)).any(|word| word == option)
}

/// The options in a command that its program or check does not have.
fn unknown_words(words: &[&str]) -> Vec<String> {
    let wrong = |what: &str, usage: &str, words: &[&str]| -> Vec<String> {
        let unknown = options(words).into_iter().filter(|option| !has(usage, option));
        unknown.map(|option| format!("{what} has no {option}")).collect()
    };
    match words {
        [program @ ("haproxystats-pull" | "haproxystats-process"), rest @ ..] => {
            let file = program.trim_start_matches("haproxystats-");
            let text = read(&format!("src/bin/{file}.rs"));
            let usage = text.split("Options:").nth(1).unwrap();
            wrong(program, usage.split("\";").next().unwrap(), rest)
        }
        [check, rest @ ..] if check.starts_with("check_haproxystats") => {
            match fs::read_to_string(root().join("contrib/nagios").join(check)) {
                Ok(text) => {
                    let usage = text.split("usage='").nth(1);
                    wrong(
                        check,
                        usage.map_or(&*text, |rest| rest.split('\'').next().unwrap()),
                        rest,
                    )
                }
                Err(_) => vec![format!("there is no check {check}")],
            }
        }
        ["systemctl" | "systemd-analyze", rest @ ..] => {
            let units = rest.iter().filter(|word| word.starts_with("haproxystats-"));
            let unit = |word: &str| format!("{}.service", word.trim_end_matches(".service"));
            let missing =
                units.filter(|word| !root().join("contrib/systemd").join(unit(word)).exists());
            missing.map(|word| format!("there is no unit {word}")).collect()
        }
        _ => Vec::new(),
    }
}

/// The missing files of the project that a command names, without files that the page makes.
fn missing_files(page: &str, folder: &Path, words: &[&str]) -> Vec<String> {
    let paths = words.iter().filter_map(|word| {
        let word = word.trim_start_matches(['<', '>']).trim_matches(['"', '\'', '`', ',', ')']);
        let start = FOLDERS.iter().filter_map(|folder| word.find(folder)).min()?;
        // Below another folder the file is not ours. `@` and the like can be before a path.
        let before = &word[..start];
        (!before.contains('/') || before == "./").then(|| &word[start..])
    });
    let there = |path: &str| {
        let whole = path.split(['*', '<', '$', '{']).next().unwrap();
        let whole = whole.rsplit_once('/').filter(|_| whole != path).map_or(whole, |(up, _)| up);
        [root(), folder].iter().any(|base| base.join(whole).exists())
    };
    let made = |path: &str| page.contains(&format!("mkdir -p {path}\n"));
    paths.filter(|path| !there(path) && !made(path)).map(|path| format!("no file {path}")).collect()
}

/// The number of checked commands on a page, and their faults.
fn faults(page: &str, folder: &Path) -> (usize, Vec<String>) {
    let (mut looked_at, mut faults) = (0, Vec::new());
    for command in commands(page) {
        let words: Vec<&str> = command.split_whitespace().collect();
        // The words before the program set variables.
        let ours = words.iter().position(|word| !word.contains('=')).unwrap_or(0);
        let words = &words[ours.min(words.len())..];
        let found = [unknown_words(words), missing_files(page, folder, words)].concat();
        looked_at += usize::from(words.first().is_some_and(|word| {
            word.starts_with("haproxystats-") || word.starts_with("check_haproxystats")
        }));
        faults.extend(found.into_iter().map(|fault| format!("{command}: {fault}")));
    }
    (looked_at, faults)
}

#[test]
fn every_command_in_the_pages_would_be_understood() {
    let mut looked_at = 0;
    for (path, text) in pages() {
        let (number, faults) = faults(&text, path.parent().unwrap());
        assert!(faults.is_empty(), "{}:\n{}", path.display(), faults.join("\n"));
        looked_at += number;
    }
    assert!(looked_at > 15, "{looked_at} commands of ours were found");
}

#[test]
fn a_command_that_would_not_be_understood_is_found() {
    for (command, fault) in [
        ("haproxystats-pull -P -x", "haproxystats-pull has no -x"),
        ("haproxystats-process --config a.conf", "haproxystats-process has no --config"),
        ("check_haproxystats_queue_size [-z DIR]", "check_haproxystats_queue_size has no -z"),
        ("check_haproxystats_queue", "there is no check check_haproxystats_queue"),
        ("systemctl start haproxystats-push", "there is no unit haproxystats-push"),
        ("cp examples/none.conf \\\n      /etc", "no file examples/none.conf"),
        ("curl --data state@contrib/none.json x", "no file contrib/none.json"),
    ] {
        let (_, faults) = faults(&format!("Text:\n\n    {command}\n"), root());
        assert_eq!(faults.len(), 1, "{command}: {faults:?}");
        assert!(faults[0].ends_with(fault), "{faults:?}");
    }
}
