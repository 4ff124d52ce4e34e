//! The example configurations are valid and complete, so that they can be copied.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use crate::support::{PROCESS, PULL, example, installed, run};

/// Sections in which the user chooses the keys.
const GROUPS: [&str; 3] = ["frontend-groups", "backend-groups", "server-groups"];

#[test]
fn both_programs_take_every_file_without_a_word() {
    for name in ["haproxystats.conf", "minimal.conf", "every-option.conf"] {
        for program in [PULL, PROCESS] {
            let file = example(name);
            let outcome = run(program, &["-P", "-f", file.to_str().unwrap()]);
            assert_eq!(outcome.code, Some(0), "{program} on {name}: {}", outcome.stderr);
            assert_eq!(outcome.stderr, "", "{program} on {name}");
        }
    }
}

#[test]
fn haproxy_takes_its_file() {
    let Some([haproxy]) = installed("haproxy.cfg", ["haproxy"]) else { return };
    let file = example("haproxy.cfg");
    let outcome = run(&haproxy, &["-c", "-f", file.to_str().unwrap()]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert!(!outcome.stderr.contains("WARNING"), "{}", outcome.stderr);
}

/// The values of a file by section and option; `mark` is the text before each option.
fn options_of(text: &str, mark: &str) -> BTreeMap<(String, String), String> {
    let mut section = String::new();
    let mut options = BTreeMap::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('[') {
            // A further receiver has the options of its kind, of which the first value counts.
            let name = name.trim_end_matches(']');
            section = name.split(':').next().unwrap_or(name).to_owned();
        } else if let Some((name, value)) =
            line.strip_prefix(mark).and_then(|rest| rest.split_once(" = "))
            && !name.starts_with(['#', ' '])
        {
            let option = (section.clone(), name.to_owned());
            options.entry(option).or_insert_with(|| value.to_owned());
        }
    }
    options
}

/// Options without effect are comments, so that a copy of the file gives no warning.
#[test]
fn every_option_names_every_option_and_no_other() {
    let text = fs::read_to_string(example("every-option.conf")).unwrap();
    for (mark, has_effect) in [("", true), ("#", false)] {
        let named = options_of(&text, mark);
        let in_file: BTreeSet<(&str, &str)> = named
            .keys()
            .map(|(section, name)| (section.as_str(), name.as_str()))
            .filter(|(section, _)| !GROUPS.contains(section))
            .collect();
        let options = config::known_options().iter();
        let in_table: BTreeSet<(&str, &str)> = options
            .filter(|option| option.has_effect() == has_effect)
            .map(|option| (option.section, option.name))
            .collect();
        assert_eq!(in_file, in_table);
    }
    for section in GROUPS {
        assert!(text.contains(&format!("\n[{section}]\n")), "[{section}] is missing");
    }
}

/// The file says that it has the defaults.
#[test]
fn every_option_shows_the_defaults() {
    let base = "/var/lib/haproxystats";
    let text = fs::read_to_string(example("every-option.conf")).unwrap();
    let mut named = options_of(&text, "");
    named.extend(options_of(&text, "#"));
    for option in config::known_options() {
        let key = (option.section.to_owned(), option.name.to_owned());
        let (Some(default), Some(value)) = (option.default, named.get(&key)) else { continue };
        let value = value.replace("${paths:base-dir}", base);
        let default = default.replace("${paths:base-dir}", base);
        assert_eq!(value, default, "[{}] {}", option.section, option.name);
    }
}
