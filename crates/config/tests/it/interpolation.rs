//! References, compared with cases from ConfigParser's documented rules.

use std::fmt::Write;
use std::path::PathBuf;

use haproxystats_config::{Program, Selection, print_in_force};
use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};

use crate::{Files, faults_of, load_text};

/// The value of `[t] v`, as `-P` prints it.
fn value(text: &str) -> String {
    let printed = print_in_force(&load_text(text).document, Program::Process);
    let section = printed.split("[t]\n").nth(1).unwrap();
    let value = section.lines().find_map(|line| line.strip_prefix("v = ")).unwrap();
    value.replace("$$", "$")
}

#[test]
fn references_give_what_configparser_gives() {
    for (text, expected) in [
        // In the section itself, in any case, before and after.
        ("[t]\nA = 1\nv = ${a}${A}${b}\nb = 2\n", "112"),
        // From [DEFAULT], and overridden by the section.
        ("[DEFAULT]\na = 1\nb = 2\n[t]\nb = 3\nv = ${a}-${b}\n", "1-3"),
        // From another section, inherited values included.
        ("[DEFAULT]\na = 1\n[x]\nb = 2\n[t]\nv = ${x:a}${x:B}${DEFAULT:a}\n", "121"),
        // A value of [DEFAULT] is completed by the section that reads it.
        ("[DEFAULT]\na = <${b}>\n[x]\nb = 1\n[t]\nb = 2\nv = ${a}${x:a}\n", "<2><1>"),
        // A value of another section is completed there.
        ("[x]\na = ${b}\nb = 1\n[t]\nb = 2\nv = ${x:a}\n", "1"),
        // Nested.
        ("[t]\na = 1\nb = ${a}2\nc = ${b}3\nv = ${c}4\n", "1234"),
        // Dollars; the result of a reference is not read again.
        ("[t]\nv = $$5 $${a} $$$$\n", "$5 ${a} $$"),
        ("[t]\na = $${b}\nb = 1\nv = ${a}\n", "${b}"),
        // Blanks within a name count; braces outside a reference are text.
        ("[t]\na b = 1\nv = {${a b}}\n", "{1}"),
        // An empty value is a value.
        ("[t]\na =\nv = x${a}y\n", "xy"),
        // Only ours: a reference can read a default of the table.
        (
            "[t]\nv = ${paths:base-dir}/x ${pull:retries} ${process:loglevel}\n",
            "/var/lib/haproxystats/x 1 info",
        ),
        // Only ours: a section's default precedes the file's [DEFAULT].
        ("[DEFAULT]\nretries = 9\n[t]\nv = ${graphite:retries} ${retries}\n", "3 9"),
    ] {
        assert_eq!(value(text), expected, "{text}");
    }
}

#[test]
fn the_usual_file_has_its_paths() {
    let config = load_text(
        "[paths]\nbase-dir = /srv/stats\n[pull]\ndst-dir = ${paths:base-dir}/incoming\n\
         tmp-dst-dir = ${dst-dir}.tmp\n",
    );
    assert_eq!(config.pull.dst_dir, PathBuf::from("/srv/stats/incoming"));
    assert_eq!(config.pull.tmp_dst_dir, PathBuf::from("/srv/stats/incoming.tmp"));
}

#[test]
fn lines_of_a_referenced_value_stay_lines() {
    let config =
        load_text("[x]\nmore =\n  scur\n  stot\n[process]\nserver-metrics = bin${x:more}\n");
    let names = ["bin", "scur", "stot"].map(str::to_owned).to_vec();
    assert_eq!(config.process.tables.server_metrics, Selection::Named(names));
}

#[test]
fn faults_of_references() {
    for (line, expected) in [
        ("v = a $ b", "a lone $ in \"$ b\"; write $$ for a dollar, ${option} for a value"),
        ("v = a$", "a lone $ in \"$\"; write $$ for a dollar, ${option} for a value"),
        ("v = ${a", "\"${a\" is no reference; write ${option} or ${section:option}"),
        ("v = ${}", "\"${}\" is no reference; write ${option} or ${section:option}"),
        // The last colon ends the section's name.
        ("v = ${a:b:c}", "${a:b:c} names nothing that is set; there is no such section"),
        (
            "v = ${graphite:x:port}",
            "${graphite:x:port} names nothing that is set; there is no such section, did you mean \
            [graphite]?",
        ),
        ("v = ${graphite:}", "${graphite:} names nothing that is set"),
        ("v = ${nothing}", "${nothing} names nothing that is set"),
        ("v = ${loglevl}", "${loglevl} names nothing that is set; did you mean loglevel?"),
        ("v = ${ loglevel}", "${ loglevel} names nothing that is set; did you mean loglevel?"),
        (
            "v = ${path:base-dir}",
            "${path:base-dir} names nothing that is set; there is no such section, did you mean \
            [paths]?",
        ),
        (
            "v = ${elsewhere:x}",
            "${elsewhere:x} names nothing that is set; there is no such section",
        ),
        ("v = ${pull:socket-dir}", "${pull:socket-dir} names nothing that is set"),
        ("v = ${v}", "refers to itself: [t] v -> [t] v"),
        ("v = ${T}\nt = ${t:v}", "refers to itself: [t] v -> [t] t -> [t] v"),
    ] {
        let faults = faults_of(&format!("[t]\n{line}\n"));
        assert_eq!(faults.len(), 1, "{faults:?}");
        let (_, fault) = faults[0].split_once("] ").unwrap();
        assert_eq!(fault.split_once(": ").unwrap().1, expected, "{line}");
    }
}

#[test]
fn one_mistake_is_one_fault_however_many_values_need_it() {
    assert_eq!(
        faults_of(
            "[paths]\nbase-dir = ${nope}\n[pull]\ndst-dir = ${paths:base-dir}/a\ntmp-dst-dir = \
            ${dst-dir}/b\n"
        ),
        ["c.conf:2: [paths] base-dir: ${nope} names nothing that is set"]
    );
}

#[test]
fn a_value_of_default_may_wait_for_a_section_but_not_for_nothing() {
    assert_eq!(faults_of("[DEFAULT]\na = ${b}\nc = ${a}\n[x]\nb = 1\n"), [""; 0]);
    assert_eq!(
        faults_of("[DEFAULT]\na = ${b}\n"),
        ["c.conf:2: [DEFAULT] a: ${b} names nothing that is set"]
    );
    assert_eq!(
        faults_of("[DEFAULT]\na = ${b}\n[x]\nb = 1\n[y]\nc = ${a}\n[z]\nd = ${DEFAULT:a}\n"),
        [
            "c.conf:2: [DEFAULT] a: ${b} names nothing that is set",
            "c.conf:8: [z] d: ${DEFAULT:a} holds a reference that no option of [DEFAULT] answers; \
            set that option there",
        ]
    );
}

/// A chain of options, each of which refers to the one before.
fn chain(links: usize) -> String {
    let mut text = "[t]\nv0 = $$\n".to_owned();
    for link in 1..=links {
        writeln!(text, "v{link} = ${{v{}}}", link - 1).unwrap();
    }
    text
}

#[test]
fn nesting_has_a_bound_that_no_order_moves() {
    assert_eq!(faults_of(&chain(64)), [""; 0]);
    let too_deep = "references are nested deeper than 64; write the value itself";
    // A value that refers to the one that is too deep is no second fault.
    let expected = [format!("c.conf:67: [t] v65: {too_deep}")];
    assert_eq!(faults_of(&chain(66)), expected);
    // A chain of this length would overflow the stack if it were followed to its end.
    assert_eq!(faults_of(&chain(20_000)), expected);

    let chain = chain(66);
    let backwards: Vec<_> = chain.lines().skip(1).collect();
    let backwards: Vec<_> = backwards.into_iter().rev().collect();
    assert_eq!(
        faults_of(&format!("[t]\n{}\n", backwards.join("\n"))),
        [format!("c.conf:2: [t] v66: {too_deep}"), format!("c.conf:3: [t] v65: {too_deep}"),]
    );
    let backwards: Vec<_> = backwards.into_iter().skip(2).collect();
    assert_eq!(faults_of(&format!("[t]\n{}\n", backwards.join("\n"))), [""; 0]);
}

#[test]
fn values_that_multiply_end_with_a_fault() {
    for seed in ["x", ""] {
        let mut text = format!("[t]\nv0 = {seed}\n");
        for link in 1..=60 {
            let before = link - 1;
            writeln!(text, "v{link} = ${{v{before}}}${{v{before}}}").unwrap();
        }
        let expected: &[&str] = match seed {
            "" => &[],
            _ => &[
                "c.conf:19: [t] v17: grows over 65536 bytes by its references; write fewer of them",
            ],
        };
        assert_eq!(faults_of(&text), expected);
    }
}

/// Text, dollars and references to earlier options.
fn parts() -> impl Strategy<Value = Vec<(u8, u8)>> {
    proptest::collection::vec((0_u8..4, any::<u8>()), 0..5)
}

proptest! {
    /// Without a cycle every reference stands for the value that it names.
    #[test]
    fn references_are_replaced(options in proptest::collection::vec(parts(), 1..8)) {
        let mut text = String::new();
        let mut values: Vec<String> = Vec::new();
        for (rank, parts) in options.iter().enumerate() {
            let (mut written, mut value) = ("x".to_owned(), "x".to_owned());
            for (kind, number) in parts {
                let earlier = usize::from(*number) % rank.max(1);
                match kind {
                    0 => { written.push_str("$$"); value.push('$'); }
                    1 | 2 if rank > 0 => {
                        let section = ["", "t:"][usize::from(*kind) - 1];
                        write!(written, "${{{section}V{earlier}}}").unwrap();
                        value.push_str(&values[earlier]);
                    }
                    _ => { written.push_str("{y}"); value.push_str("{y}"); }
                }
            }
            values.push(value);
            writeln!(text, "v{rank} = {written}").unwrap();
        }
        writeln!(text, "v = ${{v{}}}", options.len() - 1).unwrap();
        assert_eq!(&value(&format!("[t]\n{text}")), values.last().unwrap());
    }

    /// The reader ends with any references.
    #[test]
    fn any_references_end(
        values in proptest::collection::vec(
            proptest::collection::vec(
                prop_oneof![
                    (0..6_u8).prop_map(|n| format!("${{v{n}}}")),
                    (0..6_u8).prop_map(|n| format!("${{u:v{n}}}")),
                    (0..6_u8).prop_map(|n| format!("${{DEFAULT:v{n}}}")),
                    prop_oneof![Just("$$"), Just("$"), Just("${"), Just("x")]
                        .prop_map(str::to_owned),
                ],
                0..6,
            ),
            18,
        )
    ) {
        let mut text = String::new();
        for (rank, parts) in values.iter().enumerate() {
            if rank % 6 == 0 {
                writeln!(text, "[{}]", ["DEFAULT", "t", "u"][rank / 6]).unwrap();
            }
            writeln!(text, "v{} = {}", rank % 6, parts.concat()).unwrap();
        }
        let files = Files::new(&[("c.conf", &text)]);
        match files.load() {
            Ok(config) => assert!(!print_in_force(&config.document, Program::Process).is_empty()),
            Err(faults) => assert!(faults.iter().count() > 0),
        }
    }
}
