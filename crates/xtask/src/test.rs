//! `cargo xtask test`: every test of the workspace, with real servers and tools where they can be
//! had.
//!
//! A test whose server or tool is missing passes and notes `skipped: …` in the file that
//! `HAPROXYSTATS_SKIPPED` names. Once all are there and the run is root's,
//! `HAPROXYSTATS_REQUIRE_SERVERS` turns such a note into a failure, so that a run never skips
//! unseen. Packages that are installed for that may start their services.

mod memory;
mod tools;

use std::path::Path;
use std::process::Command;

use crate::{Failure, cargo, find_program};

/// A program that tests start, and the Debian package that brings it.
const PROGRAMS: &[(&str, &str)] = &[
    ("haproxy", "haproxy"),
    ("carbon-cache", "graphite-carbon"),
    ("whisper-fetch", "python3-whisper"),
    ("graphite-manage", "graphite-web"),
    ("systemd-analyze", "systemd"),
    ("supervisord", "supervisor"),
    ("puppet", "puppet"),
    ("puppet-lint", "puppet-lint"),
    ("ansible-playbook", "ansible-core"),
    ("ansible-lint", "ansible-lint"),
    ("rpm", "rpm"),
    ("lintian", "lintian"),
    ("valgrind", "valgrind"),
    ("shellcheck", "shellcheck"),
    ("strace", "strace"),
    ("mandoc", "mandoc"),
    ("groff", "groff-base"),
    ("cpio", "cpio"),
    ("docker-compose", "docker-compose"),
    ("pip3", "python3-pip"),
    ("curl", "curl"),
];

/// The seed of all property tests.
const PROPTEST_SEED: (&str, &str) = ("PROPTEST_RNG_SEED", "20261120");

/// Runs the tests; `arguments` go to `cargo test`.
pub(crate) fn run(arguments: &[&str]) -> Result<(), Failure> {
    let mut missing = missing_programs();
    if !missing.is_empty() {
        match why_not_install() {
            None => install(&missing.iter().map(|(_, package)| *package).collect::<Vec<_>>()),
            Some(reason) => println!("xtask: nothing is installed: {reason}"),
        }
        missing = missing_programs();
    }
    for (program, package) in &missing {
        println!("xtask: {program} is missing (package {package}): its tests are skipped");
    }
    let missing_tools = tools::install();
    for tool in &missing_tools {
        println!("xtask: {tool} is missing: its tests are skipped");
    }

    // A choice of tests is somebody's who looks at these.
    if arguments.is_empty() {
        memory::check()?;
    }

    let notes = std::env::temp_dir().join(format!("haproxystats-skipped-{}", std::process::id()));
    let mut command = cargo();
    command.args(["test", "--workspace", "--locked"]).args(arguments);
    command.env("HAPROXYSTATS_SKIPPED", &notes).env("PATH", tools::path());
    // A run tells of the change and not of its luck; `cargo test` alone draws new cases each time.
    if std::env::var_os(PROPTEST_SEED.0).is_none() {
        command.env(PROPTEST_SEED.0, PROPTEST_SEED.1);
    }
    // Without root some tests have nothing to try, whatever is installed.
    if missing.is_empty() && missing_tools.is_empty() && rustix::process::geteuid().is_root() {
        command.env("HAPROXYSTATS_REQUIRE_SERVERS", "1");
    } else {
        command.env_remove("HAPROXYSTATS_REQUIRE_SERVERS");
    }
    let status = command.status().map_err(|error| format!("cargo test: {error}"))?;
    report_skipped(&notes);
    if status.success() { Ok(()) } else { Err(format!("cargo test ended with {status}")) }
}

/// Installs the package of a program that another task needs, where it is missing and that can be
/// done.
pub(crate) fn provide(name: &str) {
    let missing = missing_programs().into_iter().find(|(program, _)| *program == name);
    if let (Some((_, package)), None) = (missing, why_not_install()) {
        install(&[package]);
    }
}

fn missing_programs() -> Vec<(&'static str, &'static str)> {
    PROGRAMS.iter().copied().filter(|(program, _)| find_program(program).is_none()).collect()
}

fn why_not_install() -> Option<&'static str> {
    if !Path::new("/etc/debian_version").exists() || find_program("apt-get").is_none() {
        Some("this is no Debian")
    } else if !rustix::process::geteuid().is_root() {
        Some("that needs root")
    } else {
        None
    }
}

/// A failure is only told: what is still missing afterwards is said by the caller.
fn install(packages: &[&str]) {
    println!("xtask: installing {}", packages.join(" "));
    let install = [&["install", "-y", "--no-install-recommends"], packages].concat();
    // Fresh images come without package lists, and old lists name files that are gone.
    if !apt_get(&install) && apt_get(&["update"]) {
        apt_get(&install);
    }
}

fn apt_get(arguments: &[&str]) -> bool {
    let mut command = Command::new("apt-get");
    command.arg("-q").args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
    match command.status() {
        Ok(status) => status.success(),
        Err(error) => {
            eprintln!("xtask: apt-get: {error}");
            false
        }
    }
}

/// Nothing is printed where nothing was skipped: cargo's own last line stays the last.
fn report_skipped(notes: &Path) {
    if let Ok(text) = std::fs::read_to_string(notes) {
        println!("\nxtask: {} skipped:\n{text}", text.lines().count());
        // The note file lies in the temporary folder; one that stays does no harm.
        let _ = std::fs::remove_file(notes);
    }
}
