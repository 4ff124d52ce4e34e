//! Warnings: probable mistakes with which the programs start nevertheless.

use crate::{Files, graphites};

fn warnings_of(text: &str) -> Vec<String> {
    let files = Files::new(&[("c.conf", text)]);
    let config = files.load().unwrap();
    config.warnings.iter().flat_map(|warning| files.lines(warning)).collect()
}

#[test]
fn a_warning_of_an_unknown_name_has_the_nearest_known_one() {
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
fn a_secret_in_the_file_gets_a_warning_with_the_option_of_its_file() {
    let text = "[graphite]\npassword = x\n[influxdb:a]\nurl = http://h\nbucket = b\ntoken = x\n\
                [kafka]\nbrokers = h\ntopic = t\nsasl.password = x\n";
    let remedy = "unknown option, not read; a secret comes from a file: write";
    assert_eq!(
        warnings_of(text),
        [
            "c.conf:2: [graphite] password: unknown option, not read; remove it, because no secret \
             belongs here",
            &format!("c.conf:6: [influxdb:a] token: {remedy} token-file or password-file"),
            &format!("c.conf:10: [kafka] sasl.password: {remedy} sasl-password-file"),
        ]
    );
}

#[test]
fn a_mistake_of_old_examples_gets_a_warning_with_the_right_name() {
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
    let process = files.load().unwrap().process;
    assert_eq!(graphites(&process)[0].naming.host, haproxystats_config::HostPart::Full);
}

#[test]
fn what_a_reference_reads_is_the_users_own() {
    let text = "[DEFAULT]\nsite = a\n[my]\nroot = /srv\n[paths]\nsub = x\n\
                [pull]\ndst-dir = ${my:root}/${paths:sub}/${site}\n";
    assert_eq!(warnings_of(text), Vec::<String>::new());
}

#[test]
fn an_option_without_effect_gets_a_warning() {
    let own = "no effect: every section has a default of its own; serves references such as";
    let pieces = "no effect: an answer is read in pieces of up to 64 KiB; leave it out";
    assert_eq!(
        warnings_of(
            "[DEFAULT]\nretries = 9\ntimeout = 9\ninterval = 9\n[pull]\nbuffer-limit = 9\n"
        ),
        [
            format!("c.conf:2: [DEFAULT] retries: {own} ${{DEFAULT:retries}}; leave it out"),
            format!("c.conf:3: [DEFAULT] timeout: {own} ${{DEFAULT:timeout}}; leave it out"),
            format!("c.conf:4: [DEFAULT] interval: {own} ${{DEFAULT:interval}}; leave it out"),
            format!("c.conf:6: [pull] buffer-limit: {pieces}"),
        ]
    );
    assert_eq!(
        warnings_of("[DEFAULT]\nbuffer-limit = 9\n"),
        [format!("c.conf:2: [DEFAULT] buffer-limit: {pieces}")]
    );
    let referenced = "[DEFAULT]\nretries = 9\n[pull]\nretries = ${DEFAULT:retries}\n\
                      buffer-limit = 4\nworkers = ${buffer-limit}\n";
    assert_eq!(warnings_of(referenced), [""; 0]);
}
