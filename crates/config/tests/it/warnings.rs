//! What is odd without being wrong.

use crate::Files;

fn warnings_of(text: &str) -> Vec<String> {
    let files = Files::new(&[("c.conf", text)]);
    let config = files.load().unwrap();
    config.warnings.iter().flat_map(|warning| files.lines(warning)).collect()
}

#[test]
fn unknown_names_are_told_with_the_nearest_known_one() {
    let text = "[DEFAULT]\nloglevl = info\nworkers = 3\n[Pull]\nx = 1\n[colours]\nred = 1\n\
                [process]\nworker = 3\nsocket-dir = /run\ncolour = red\n";
    assert_eq!(
        warnings_of(text),
        [
            "c.conf:2: [DEFAULT] loglevl: unknown option, not read; did you mean loglevel?",
            "c.conf:3: [DEFAULT] workers: not read here, where its section does not inherit it; \
            set it in [pull] or [process]",
            "c.conf:4: [Pull]: unknown section, not read; did you mean [pull]?",
            "c.conf:6: [colours]: unknown section, not read",
            "c.conf:9: [process] worker: unknown option, not read; did you mean workers?",
            "c.conf:10: [process] socket-dir: unknown option here, not read; it belongs in [pull]",
            "c.conf:11: [process] colour: unknown option, not read",
        ]
    );
}

#[test]
fn names_that_old_examples_carry_are_told_by_their_right_name() {
    assert_eq!(
        warnings_of("[graphite]\nprefix_hostname = false\ntimeout = 0.9\n"),
        [
            "c.conf:2: [graphite] prefix_hostname: unknown option, not read; write prefix-hostname",
            "c.conf:3: [graphite] timeout: unknown option, not read; write connect-timeout",
        ]
    );
}

#[test]
fn prefix_hostname_with_an_underscore_is_not_obeyed() {
    let files = Files::new(&[("c.conf", "[graphite]\nprefix_hostname = false\n")]);
    let naming = files.load().unwrap().process.naming;
    assert_eq!(naming.host, haproxystats_config::HostPart::Full);
}

#[test]
fn what_a_reference_reads_is_the_users_own() {
    let text = "[DEFAULT]\nsite = a\n[my]\nroot = /srv\n[paths]\nsub = x\n\
                [pull]\ndst-dir = ${my:root}/${paths:sub}/${site}\n";
    assert_eq!(warnings_of(text), Vec::<String>::new());
}
