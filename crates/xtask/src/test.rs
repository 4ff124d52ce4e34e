//! `cargo xtask test`: every test of the workspace, with real servers and tools if they can be
//! installed.
//!
//! A test whose server or tool is missing passes and notes `skipped: …` in the file that
//! `HAPROXYSTATS_SKIPPED` names. When all of them are installed and root runs the tests,
//! `HAPROXYSTATS_REQUIRE_SERVERS` makes a skipped test a failure. Who sets that variable wants it
//! whatever could be installed, as `.ci/run` does. The packages that are installed may start their
//! services.
//!
//! A failure ends only its own test binary: the others run all the same, and the last lines list
//! all failures.

mod memory;
mod results;
mod tools;

use std::io::{self, IsTerminal};
use std::path::Path;
use std::process::Command;

use crate::{Failure, cargo, find_program, stream};
use results::Results;

/// A program that tests start, and the Debian package that brings it.
const PROGRAMS: &[(&str, &str)] = &[
    ("haproxy", "haproxy"),
    ("carbon-cache", "graphite-carbon"),
    ("whisper-fetch", "python3-whisper"),
    ("carbon-c-relay", "carbon-c-relay"),
    ("influxd", "influxdb"),
    ("graphite-manage", "graphite-web"),
    ("systemd-analyze", "systemd"),
    ("supervisord", "supervisor"),
    ("puppet", "puppet"),
    ("puppet-lint", "puppet-lint"),
    ("ansible-playbook", "ansible-core"),
    ("ansible-lint", "ansible-lint"),
    ("rpm", "rpm"),
    ("lintian", "lintian"),
    // cargo-deb asks it for the libraries that a package needs.
    ("dpkg-shlibdeps", "dpkg-dev"),
    ("valgrind", "valgrind"),
    ("shellcheck", "shellcheck"),
    ("strace", "strace"),
    ("mandoc", "mandoc"),
    ("groff", "groff-base"),
    ("cpio", "cpio"),
    ("docker-compose", "docker-compose"),
    ("pip3", "python3-pip"),
    ("curl", "curl"),
    ("kcat", "kcat"),
    // It brings uwsgi-core.
    ("uwsgi_python3", "uwsgi-plugin-python3"),
    FOR_KAFKA[0],
    FOR_KAFKA[1],
    FOR_KAFKA[2],
];

/// The seed of all property tests.
const PROPTEST_SEED: (&str, &str) = ("PROPTEST_RNG_SEED", "20261120");

/// What the build of librdkafka needs beside a linker; a file of headers is its path.
const FOR_KAFKA: [(&str, &str); 3] =
    [("make", "make"), ("pkg-config", "pkg-config"), ("/usr/include/openssl/ssl.h", "libssl-dev")];

const NO_FAIL_FAST: &str = "--no-fail-fast";
const COLOUR: &str = "CARGO_TERM_COLOR";
const REQUIRE: &str = "HAPROXYSTATS_REQUIRE_SERVERS";

/// The options of `test`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Handed on to `cargo test` as they are
    #[arg(value_name = "ARGUMENT", trailing_var_arg = true, allow_hyphen_values = true)]
    _arguments: Vec<String>,
}

/// Runs the tests; `arguments` go to `cargo test`. They are the words as they were typed, because
/// clap takes a leading `--` away.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    let mut missing = missing_programs();
    if !missing.is_empty() {
        match why_not_install() {
            None => install(&missing.iter().map(|(_, package)| *package).collect::<Vec<_>>()),
            Some(reason) => println!("xtask: nothing is installed: {reason}"),
        }
        missing = missing_programs();
    }
    let is_required = std::env::var_os(REQUIRE).is_some();
    let outcome = if is_required { "its tests fail" } else { "its tests are skipped" };
    for (program, package) in &missing {
        println!("xtask: {program} is missing (package {package}): {outcome}");
    }
    let missing_tools = tools::install();
    for tool in &missing_tools {
        println!("xtask: {tool} is missing: {outcome}");
    }

    let mut results = Results::default();
    // A developer who names tests wants only those.
    if arguments.is_empty() {
        memory::check(&mut results);
    }

    let notes = std::env::temp_dir().join(format!("haproxystats-skipped-{}", std::process::id()));
    // Some tests need root as well.
    let all_there = missing.is_empty() && missing_tools.is_empty();
    let can_run_all = all_there && rustix::process::geteuid().is_root();
    let with_kafka = is_required || missing_for_kafka().is_none();
    let command = tests(arguments, &notes, is_required || can_run_all, with_kafka);
    results.begin();
    match stream::run(command, &mut |piece| results.read(piece)) {
        Ok(status) => results.end(status),
        Err(failure) => results.add("cargo test", failure),
    }
    report_skipped(&notes);
    results.verdict()
}

/// The command of cargo that runs the tests; with `all_must_run` a skipped test fails, and with
/// `with_kafka` Kafka's tests are built.
fn tests(arguments: &[String], notes: &Path, all_must_run: bool, with_kafka: bool) -> Command {
    let mut command = cargo();
    command.args(["test", "--workspace", "--locked"]);
    if with_kafka {
        command.args(["--features", "kafka"]);
    }
    // Cargo refuses the option twice.
    if !arguments.iter().take_while(|word| **word != "--").any(|word| *word == NO_FAIL_FAST) {
        command.arg(NO_FAIL_FAST);
    }
    command.args(arguments).env("HAPROXYSTATS_SKIPPED", notes).env("PATH", tools::path());
    // Cargo writes into a pipe of ours, so it does not know that a terminal shows its output.
    if io::stdout().is_terminal() && std::env::var_os(COLOUR).is_none() {
        command.env(COLOUR, "always");
    }
    // With a fixed seed the result depends on the change alone. A plain `cargo test` draws new
    // cases.
    if std::env::var_os(PROPTEST_SEED.0).is_none() {
        command.env(PROPTEST_SEED.0, PROPTEST_SEED.1);
    }
    if all_must_run {
        command.env(REQUIRE, "1");
    } else {
        command.env_remove(REQUIRE);
    }
    command
}

/// Installs the package of a program that another task needs, if it is missing and this user can.
pub(crate) fn provide(name: &str) {
    let missing = missing_programs().into_iter().find(|(program, _)| *program == name);
    if let (Some((_, package)), None) = (missing, why_not_install()) {
        install(&[package]);
    }
}

/// The programs and tools of the tests that are installed.
pub(crate) fn installed() -> Vec<&'static str> {
    let programs = PROGRAMS.iter().map(|(program, _)| *program);
    programs.chain(tools::names()).filter(|name| find_program(name).is_some()).collect()
}

fn missing_programs() -> Vec<(&'static str, &'static str)> {
    PROGRAMS.iter().copied().filter(|(program, _)| find_program(program).is_none()).collect()
}

/// What is missing for the feature `kafka`; without it the tests are built and run all the same.
fn missing_for_kafka() -> Option<&'static str> {
    let missing = FOR_KAFKA.into_iter().find(|(program, _)| find_program(program).is_none());
    missing.map(|(program, _)| program)
}

/// The Debian packages of all programs.
pub(crate) fn packages() -> Vec<&'static str> {
    PROGRAMS.iter().map(|(_, package)| *package).collect()
}

pub(crate) fn is_debian() -> bool {
    Path::new("/etc/debian_version").exists() && find_program("apt-get").is_some()
}

fn why_not_install() -> Option<&'static str> {
    if !is_debian() {
        Some("this is no Debian")
    } else if !rustix::process::geteuid().is_root() {
        Some("that needs root")
    } else {
        None
    }
}

/// A failure is only shown, because the caller looks again for what is missing.
fn install(packages: &[&str]) {
    println!("xtask: installing {}", packages.join(" "));
    install_by(packages, &mut apt_get);
}

/// Installs by `apt_get`, which takes its arguments and tells whether it succeeded.
fn install_by(packages: &[&str], apt_get: &mut dyn FnMut(&[&str]) -> bool) {
    let install = |packages: &[&str], apt_get: &mut dyn FnMut(&[&str]) -> bool| {
        apt_get(&[&["install", "-y", "--no-install-recommends"], packages].concat())
    };
    if install(packages, apt_get) {
        return;
    }
    // New images come without package lists, and old lists name files that no longer exist. The
    // update fails if one source cannot be reached, but the others may have all that is needed.
    apt_get(&["update"]);
    if install(packages, apt_get) || packages.len() == 1 {
        return;
    }
    // One package that this release lacks must not prevent the installation of the others.
    for package in packages {
        install(&[package], apt_get);
    }
}

fn apt_get(arguments: &[&str]) -> bool {
    let mut command = Command::new("apt-get");
    // A machine that has just started often updates itself and holds apt's lock.
    command.args(["-q", "-o", "DPkg::Lock::Timeout=300"]).args(arguments);
    match command.env("DEBIAN_FRONTEND", "noninteractive").status() {
        Ok(status) => status.success(),
        Err(error) => {
            eprintln!("xtask: apt-get: {error}");
            false
        }
    }
}

/// Prints nothing if no test was skipped, so that cargo's own last line stays the last.
fn report_skipped(notes: &Path) {
    if let Ok(text) = std::fs::read_to_string(notes) {
        println!("\nxtask: {} skipped:\n{text}", text.lines().count());
        // A note file that stays in the temporary folder does no harm.
        let _ = std::fs::remove_file(notes);
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    /// The calls of apt-get; `succeeds` decides which calls succeed.
    fn calls(packages: &[&str], succeeds: &dyn Fn(&[String]) -> bool) -> Vec<String> {
        let mut calls = Vec::new();
        install_by(packages, &mut |arguments| {
            calls.push(arguments.join(" ").replace(" -y --no-install-recommends", ""));
            succeeds(&calls)
        });
        calls
    }

    #[test]
    fn package_lists_are_fetched_where_they_are_missing() {
        assert_eq!(calls(&["a", "b"], &|_| true), ["install a b"]);
        let updated = |calls: &[String]| calls.contains(&"update".to_owned());
        assert_eq!(calls(&["a", "b"], &updated), ["install a b", "update", "install a b"]);
    }

    #[test]
    fn a_package_that_does_not_exist_keeps_no_other_away() {
        let without_b = |calls: &[String]| !calls.last().unwrap().contains('b');
        let expected = ["install a b", "update", "install a b", "install a", "install b"];
        assert_eq!(calls(&["a", "b"], &without_b), expected);
        assert_eq!(calls(&["b"], &|_| false), ["install b", "update", "install b"]);
    }

    #[test]
    fn every_test_binary_runs_whichever_fails() {
        let words = |arguments: &[&str]| -> Vec<String> {
            let arguments: Vec<String> = arguments.iter().map(|word| (*word).to_owned()).collect();
            let command = tests(&arguments, Path::new("/n"), true, false);
            command.get_args().map(|word| word.to_string_lossy().into_owned()).collect()
        };
        let expected = ["test", "--workspace", "--locked", "--no-fail-fast", "--test", "e2e"];
        assert_eq!(words(&["--test", "e2e"]), expected);
        let given = [NO_FAIL_FAST, "--", "x"];
        assert_eq!(words(&given)[3..], given);
    }

    #[test]
    fn a_skip_is_a_failure_only_where_all_must_run() {
        let value = |all_must_run| {
            let command = tests(&[], Path::new("/n"), all_must_run, false);
            let found = command.get_envs().find(|(name, _)| *name == REQUIRE);
            found.and_then(|(_, value)| value.map(OsStr::to_owned))
        };
        assert_eq!(value(true), Some("1".into()));
        assert_eq!(value(false), None);
    }

    #[test]
    fn tests_of_kafka_are_built_where_they_are_asked_for() {
        let has_kafka = |with_kafka| {
            let command = tests(&[], Path::new("/n"), true, with_kafka);
            command.get_args().any(|word| word == "kafka")
        };
        assert!(has_kafka(true) && !has_kafka(false));
    }
}
