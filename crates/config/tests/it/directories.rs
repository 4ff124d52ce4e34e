//! Overlaps of directories: every pair, through links and `..`, existing or not.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::{Files, faults_of, load_text};

/// Every directory with a separate path, by section and option.
const APART: [(&str, &str, &str); 6] = [
    ("pull", "dst-dir", "/d"),
    ("pull", "tmp-dst-dir", "/t"),
    ("process", "src-dir", "/s"),
    ("process", "failed-dir", "/f"),
    ("process", "outbox-dir", "/o"),
    ("local-store", "dir", "/l"),
];

/// A file with these directories, except for the options to which `changed` gives another path.
fn with(changed: &[(&str, &str)]) -> String {
    let line = |(section, option, path): &(&str, &str, &str)| {
        let name = format!("{section} {option}");
        let path = changed.iter().find(|(changed, _)| *changed == name).map_or(*path, |(_, to)| to);
        format!("{option} = {path}\n")
    };
    let lines: Vec<_> = APART.iter().map(line).collect();
    let [dst, tmp, src, failed, outbox, store] = lines.as_slice() else { unreachable!() };
    format!("[pull]\n{dst}{tmp}[process]\n{src}{failed}{outbox}[local-store]\n{store}")
}

#[test]
fn directories_that_are_apart_are_no_fault() {
    assert_eq!(faults_of(&with(&[])), [""; 0]);
    // `/s2` begins as `/s` does, but is not inside it.
    assert_eq!(faults_of(&with(&[("local-store dir", "/s2")])), [""; 0]);
}

/// Each pair in each relation, and both names in each fault.
#[test]
fn every_pair_is_compared() {
    let mut pairs = 0;
    for (index, (section, option, path)) in APART.iter().enumerate() {
        for (other_section, other, other_path) in &APART[..index] {
            let name = format!("{section} {option}");
            let inside = format!("{other_path}/./x/../y");
            let is_spool_pair = (*option, *other) == ("src-dir", "dst-dir");
            for (changed, to) in [
                (&name, *other_path),
                (&name, inside.as_str()),
                (&format!("{other_section} {other}"), format!("{path}/z").as_str()),
            ] {
                let faults = faults_of(&with(&[(changed, to)]));
                if is_spool_pair && to == *other_path {
                    assert_eq!(faults, [""; 0]);
                    continue;
                }
                assert_eq!(faults.len(), 1, "{changed} = {to}: {faults:?}");
                for part in [
                    &format!("[{section}] {option}"),
                    &format!("[{other_section}] {other}"),
                    "; write a directory ",
                ] {
                    assert!(faults[0].contains(part), "{changed} = {to}: {faults:?}");
                }
                pairs += 1;
            }
        }
    }
    assert_eq!(pairs, 15 * 3 - 1);
}

#[test]
fn a_fault_says_both_paths_and_what_to_write() {
    assert_eq!(
        faults_of(&with(&[("local-store dir", "/s")])),
        ["c.conf:9: [local-store] dir: resolves to \"/s\", as [process] src-dir does; write a \
            directory that no other option names"]
    );
    assert_eq!(
        faults_of(&with(&[("local-store dir", "/s/x/../store")])),
        ["c.conf:9: [local-store] dir: resolves to \"/s/store\", which lies in \"/s\", the \
            directory of [process] src-dir; write a directory outside \"/s\""]
    );
    assert_eq!(
        faults_of(&with(&[("local-store dir", "/x"), ("pull tmp-dst-dir", "/x/tmp")])),
        ["c.conf:9: [local-store] dir: resolves to \"/x\", which contains \"/x/tmp\", the \
            directory of [pull] tmp-dst-dir; write a directory that does not contain \"/x/tmp\""]
    );
    // One directory with two names is one fault.
    assert_eq!(
        faults_of(&with(&[("process src-dir", "/d"), ("local-store dir", "/d/x")])),
        ["c.conf:9: [local-store] dir: resolves to \"/d/x\", which lies in \"/d\", the \
            directory of [pull] dst-dir and [process] src-dir; write a directory outside \"/d\""]
    );
}

#[test]
fn links_are_followed_whether_their_targets_are_there_or_not() {
    let files = Files::new(&[("in/keep", "")]);
    let base = fs::canonicalize(files.dir.path()).unwrap();
    symlink("in", base.join("link")).unwrap();
    symlink("later", base.join("dangling")).unwrap();
    let base = base.display();
    for (src_dir, dir, resolved) in [
        ("in", "link", "in"),
        ("link", "in/store", "in/store"),
        ("in", "link/../in/store", "in/store"),
        ("later", "dangling/store", "later/store"),
        ("dangling", "later", "later"),
    ] {
        let text = with(&[
            ("process src-dir", &format!("{base}/{src_dir}")),
            ("local-store dir", &format!("{base}/{dir}")),
        ]);
        let faults = faults_of(&text);
        let expected = format!("[local-store] dir: resolves to \"{base}/{resolved}\", ");
        assert!(faults.len() == 1 && faults[0].contains(&expected), "{src_dir}, {dir}: {faults:?}");
    }
    // A link as src-dir that leads to dst-dir is the normal case, too.
    let dst = format!("{base}/in");
    let src = format!("{base}/link/");
    assert_eq!(faults_of(&with(&[("pull dst-dir", &dst), ("process src-dir", &src)])), [""; 0]);
}

#[test]
fn a_directory_may_lie_below_a_hidden_name_of_the_spool_and_of_no_other() {
    let config = load_text(
        "[paths]\nbase-dir = /s\n[process]\nsrc-dir = /s\nfailed-dir = ${src-dir}/.failed/old\n\
         outbox-dir = /s/.outbox\n[pull]\ndst-dir = /s\ntmp-dst-dir = /s/.tmp\n\
         [local-store]\ndir = /s/.store\n",
    );
    assert_eq!(config.process.failed_dir, Path::new("/s/.failed/old"));
    assert_eq!(config.process.outbox_dir, Path::new("/s/.outbox"));
    for dir in ["/s/x/.y", "/f/.store", "/t/.store", "/o/.store"] {
        assert_eq!(faults_of(&with(&[("local-store dir", dir)])).len(), 1, "{dir}");
    }
}

#[test]
fn a_directory_that_nothing_uses_is_not_compared() {
    let store_off = with(&[("local-store dir", "/s")]) + "enabled = no\n";
    assert_eq!(faults_of(&store_off), [""; 0]);
    let no_store = "[pull]\ndst-dir = /var/lib/haproxystats/local-store\n\
                    [process]\nsrc-dir = ${pull:dst-dir}\n";
    assert_eq!(faults_of(no_store), [""; 0]);
    assert_eq!(faults_of(&format!("{no_store}[local-store]\n")).len(), 1);
}

/// The fault is at the line of the path that overlaps with a default.
#[test]
fn an_overlap_with_a_default_is_reported_at_the_line_of_the_file() {
    let faults = faults_of("[process]\nsrc-dir = /var/lib/haproxystats\n");
    assert_eq!(faults.len(), 4, "{faults:?}");
    for other in
        ["[pull] dst-dir", "[pull] tmp-dst-dir", "[process] failed-dir", "[process] outbox-dir"]
    {
        let names_both = |fault: &&String| {
            fault.starts_with("c.conf:2: [process] src-dir: ") && fault.contains(other)
        };
        assert_eq!(faults.iter().filter(names_both).count(), 1, "{other}: {faults:?}");
    }
}

/// Another fault, also of a directory, hides no overlap.
#[test]
fn overlaps_are_reported_in_one_run_with_all_other_faults() {
    let text = with(&[("process outbox-dir", "/f"), ("pull tmp-dst-dir", "")])
        .replace("[process]\n", "[process]\nworkers = 0\n")
        .replace("[pull]\n", "[pull]\ntimeout = x\n");
    let faults = faults_of(&text);
    let lines: Vec<_> = faults.iter().map(|fault| fault.split(' ').next().unwrap()).collect();
    assert_eq!(lines, ["c.conf:2:", "c.conf:4:", "c.conf:6:", "c.conf:9:"], "{faults:?}");
}
