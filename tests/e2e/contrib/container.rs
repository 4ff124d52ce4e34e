//! The image of `contrib/docker`, tried with the real tools as far as possible without an engine:
//! hadolint and docker-compose read the files, the copied files exist, the commands are in the
//! base's packages, and the entry point runs both programs with only these commands.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;

use crate::scene::Scene;
use crate::support::{Outcome, PROCESS, PULL, Program, installed, lives, run, send, wait_until};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const DOCKERFILE: &str = "contrib/docker/Dockerfile";
const IGNORE: &str = "contrib/docker/Dockerfile.dockerignore";
const ENTRY_POINT: &str = "contrib/docker/entrypoint.sh";
const CHECK: &str = "check_haproxystats_queue_size";

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(path)).unwrap()
}

fn absolute(path: &str) -> String {
    Path::new(ROOT).join(path).to_str().unwrap().to_owned()
}

/// The instructions, each on one line and without comments.
fn instructions() -> Vec<String> {
    let text = read(DOCKERFILE);
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let joined = lines.join("\n").replace("\\\n", " ");
    joined.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// The instructions of the last stage, which is the image.
fn last_stage() -> Vec<String> {
    let all = instructions();
    let begin = all.iter().rposition(|line| line.starts_with("FROM ")).unwrap();
    all[begin..].to_vec()
}

#[test]
fn hadolint_takes_the_dockerfile() {
    let Some([hadolint]) = installed("Dockerfile", ["hadolint"]) else { return };
    let outcome = run(&hadolint, &[&absolute(DOCKERFILE)]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(0), ""), "{}", outcome.stderr);
    let scene = Scene::new();
    let broken = read(DOCKERFILE).replace("debian:bookworm-slim", "debian");
    let broken = run(&hadolint, &[scene.write("Dockerfile", &broken).to_str().unwrap()]);
    assert!(broken.code != Some(0) && broken.stdout.contains("DL3006"), "{}", broken.stdout);
}

#[test]
fn the_stages_fit_each_other_and_the_project() {
    let bases: Vec<String> = instructions()
        .iter()
        .filter_map(|line| Some(line.strip_prefix("FROM ")?.to_owned()))
        .collect();
    let rust = env!("CARGO_PKG_RUST_VERSION");
    let expected = [format!("rust:{rust}-bookworm AS build"), "debian:bookworm-slim".to_owned()];
    assert_eq!(bases, expected);
    let tag = format!("-t haproxystats:{} .", env!("CARGO_PKG_VERSION"));
    assert!(read(DOCKERFILE).contains(&tag), "the Dockerfile does not name the version: {tag}");
}

/// The paths that the ignore file lets the builder see.
fn let_through() -> Vec<String> {
    let text = read(IGNORE);
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(lines[0], "*", "all is left out but what is named");
    lines[1..].iter().map(|line| line.strip_prefix('!').expect(line).to_owned()).collect()
}

#[test]
fn the_builder_gets_every_file_that_the_image_copies() {
    let through = let_through();
    let mut copied = 0;
    for line in last_stage() {
        let Some(words) = line.strip_prefix("COPY ") else { continue };
        if words.contains("--from=") {
            continue;
        }
        let words: Vec<&str> =
            words.split_whitespace().filter(|word| !word.starts_with("--")).collect();
        for source in &words[..words.len() - 1] {
            assert!(Path::new(ROOT).join(source).is_file(), "{source} is not there");
            assert!(through.iter().any(|path| path == source), "{source} is kept from the builder");
            copied += 1;
        }
    }
    assert_eq!(copied, 3);
}

/// Cargo finds both programs in the files that the builder sees, and fails when a crate is missing.
/// `--no-deps` reads only the workspace, so that no crate has to be downloaded; the empty
/// CARGO_HOME makes the test fail here, and not on a fresh machine, if cargo should need one.
#[test]
fn the_builder_sees_all_that_cargo_needs() {
    let scene = Scene::new();
    let context = scene.path().join("context");
    for path in let_through() {
        let to = context.join(&path);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        let copied =
            Command::new("cp").arg("-r").arg(Path::new(ROOT).join(&path)).arg(&to).status();
        assert!(copied.unwrap().success(), "{path}");
    }
    let cargo_home = scene.path().join("cargo-home");
    fs::create_dir(&cargo_home).unwrap();
    let metadata = || {
        let manifest = context.join("Cargo.toml");
        let words = ["metadata", "--locked", "--offline", "--no-deps", "--format-version", "1"];
        let words = words.into_iter().chain(["--manifest-path"]).map(OsStr::new);
        let words: Vec<&OsStr> = words.chain([manifest.as_os_str()]).collect();
        let environment = [("CARGO_HOME", cargo_home.as_os_str())];
        let mut cargo = Program::start(env!("CARGO"), &words, &environment, &context, "cargo");
        let code = cargo.wait().code();
        Outcome { code, stdout: cargo.output(), stderr: cargo.log() }
    };
    let outcome = metadata();
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    // `--locked` of the image's build needs it, and `--no-deps` does not read it.
    assert!(context.join("Cargo.lock").is_file(), "Cargo.lock is kept from the builder");
    for source in ["src/bin/pull.rs", "src/bin/process.rs"] {
        let named = format!("\"src_path\":\"{}\"", context.join(source).display());
        assert!(outcome.stdout.contains(&named) && context.join(source).is_file(), "{source}");
    }
    fs::remove_dir_all(context.join("crates/fold")).unwrap();
    let outcome = metadata();
    assert_ne!(outcome.code, Some(0), "a crate is missing");
    assert!(outcome.stderr.contains("crates/fold/Cargo.toml"), "{}", outcome.stderr);
}

#[test]
fn compose_takes_its_file_and_the_programs_take_theirs() {
    for program in [PULL, PROCESS] {
        let outcome = run(program, &["-P", "-f", &absolute("contrib/docker/haproxystats.conf")]);
        assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""));
    }
    let Some([compose, haproxy]) = installed("compose", ["docker-compose", "haproxy"]) else {
        return;
    };
    let file = absolute("contrib/docker/compose.yaml");
    let outcome = run(&compose, &["-f", &file, "config"]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let mounted = absolute("contrib/docker/haproxy.cfg");
    assert!(outcome.stdout.contains(&mounted), "{}", outcome.stdout);
    let checked = run(&haproxy, &["-c", "-f", &mounted]);
    assert_eq!(checked.code, Some(0), "{}", checked.stderr);

    let scene = Scene::new();
    let broken = read("contrib/docker/compose.yaml").replace("    volumes:\n", "    volume:\n");
    let broken = scene.write("compose.yaml", &broken);
    assert_ne!(run(&compose, &["-f", broken.to_str().unwrap(), "config"]).code, Some(0));
}

/// A folder with only the commands of Debian's required packages, which every image of Debian has;
/// `None`, with a note, on another system.
fn commands_of_the_base(scene: &Scene) -> Option<PathBuf> {
    let [query] = installed("commands of the image", ["dpkg-query"])?;
    let format = "-f=${Package} ${Priority} ${Essential}\n";
    let listed = run(&query, &["-W", format]).stdout;
    let required = listed
        .lines()
        .filter(|line| line.ends_with("required yes") || line.ends_with("required no"));
    let packages: Vec<&str> = required.map(|line| line.split(' ').next().unwrap()).collect();
    assert!(packages.contains(&"dash"), "{listed}");
    let files = run(&query, &[&["-L"], &packages[..]].concat()).stdout;
    let folder = scene.path().join("base");
    fs::create_dir(&folder).unwrap();
    for path in files.lines().map(Path::new) {
        let place =
            path.parent().is_some_and(|place| place.ends_with("bin") || place.ends_with("sbin"));
        if place && path.is_file() {
            // A second package may bring the same name through a link of the merged /usr.
            let _ = symlink(path, folder.join(path.file_name().unwrap()));
        }
    }
    Some(folder)
}

#[test]
fn the_commands_that_make_the_image_are_in_its_base() {
    let scene = Scene::new();
    let Some(base) = commands_of_the_base(&scene) else { return };
    let mut known = 0;
    for line in last_stage() {
        let Some(commands) = line.strip_prefix("RUN ") else { continue };
        for command in commands.split("&&") {
            let name = command.split_whitespace().next().unwrap();
            // Docker's image of Debian has apt in addition to what is required.
            let is_there = name == "apt-get" || base.join(name).exists();
            assert!(is_there, "{name} is not in Debian's required packages");
            known += 1;
        }
    }
    assert_eq!(known, 6);
    assert!(!base.join("curl").exists(), "the base has only what is required");
}

/// A program with child processes. If a test fails they are killed too, because a parent that is
/// killed leaves them behind.
pub(super) struct Household(pub(super) Program);

impl Drop for Household {
    fn drop(&mut self) {
        // The pid of a program that has ended may be that of another process by now.
        if !self.0.runs() {
            return;
        }
        let members = self.0.children();
        send(self.0.pid(), Signal::KILL);
        for member in members {
            send(member, Signal::KILL);
        }
    }
}

/// The children of a process that the test did not start.
pub(super) fn children(parent: i32) -> Vec<i32> {
    let pids = fs::read_dir("/proc").unwrap().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let of_it = |pid: &i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let fields = stat.rsplit_once(") ").map(|(_, fields)| fields.to_owned());
        fields.is_some_and(|fields| fields.split(' ').nth(1) == Some(&parent.to_string()))
    };
    pids.filter(of_it).collect()
}

/// The workers of a haproxystats-process: the children with its own command line.
pub(super) fn workers(parent: i32) -> Vec<i32> {
    let command_line = |pid: i32| fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let own = command_line(parent);
    children(parent).into_iter().filter(|&pid| command_line(pid) == own).collect()
}

/// The environment of the image: its commands, both programs and the check on PATH, and a
/// configuration that needs neither HAProxy nor Graphite.
struct Image {
    scene: Scene,
    path: String,
    config: String,
}

impl Image {
    fn new() -> Option<Self> {
        let scene = Scene::new();
        let base = commands_of_the_base(&scene)?;
        let check = absolute(&format!("contrib/nagios/{CHECK}"));
        for program in [PULL, PROCESS, &check] {
            symlink(program, base.join(Path::new(program).file_name().unwrap())).unwrap();
        }
        let folder = scene.path().display();
        let text = format!(
            "[paths]\nbase-dir = {folder}\n\
             [pull]\nservers = unix://{folder}/nobody.sock\nretries = 0\n\
             dst-dir = {folder}/incoming\ntmp-dst-dir = {folder}/incoming.tmp\n\
             [process]\nsrc-dir = {folder}/incoming\nworkers = 1\n\
             [graphite]\nenabled = false\n[local-store]\ndir = {folder}/local-store\n"
        );
        let config = scene.write("haproxystats.conf", &text).to_str().unwrap().to_owned();
        Some(Self { path: base.to_str().unwrap().to_owned(), scene, config })
    }

    fn start(&self, words: &[&str]) -> Household {
        let entry_point = absolute(ENTRY_POINT);
        // A shell that was started in the background ignores SIGINT, and all that it starts does.
        let mut arguments: Vec<_> = vec!["--default-signal=INT".as_ref(), entry_point.as_ref()];
        arguments.extend(words.iter().map(AsRef::<std::ffi::OsStr>::as_ref));
        let environment = [("PATH", self.path.as_ref())];
        let folder = self.scene.path();
        Household(Program::start("/usr/bin/env", &arguments, &environment, folder, "container"))
    }

    fn run(&self, words: &[&str]) -> Outcome {
        let mut container = self.start(words);
        let code = container.0.wait().code();
        Outcome { code, stdout: container.0.output(), stderr: container.0.log() }
    }

    /// Starts both programs and waits until they are ready; returns the pids of pull and process.
    fn start_all(&self) -> (Household, [i32; 2]) {
        let container = self.start(&["all", "-f", &self.config]);
        wait_until("a cycle of pull and a watching process", || {
            let log = container.0.log();
            log.contains("no snapshot") && log.contains("haproxystats-process starts")
        });
        let pids = ["haproxystats-pull", "haproxystats-process"].map(|name| {
            let of_it = |pid: &i32| command(*pid).starts_with(name);
            container.0.children().into_iter().find(of_it).expect(name)
        });
        // process is ready for signals once it has a worker.
        wait_until("a worker", || !children(pids[1]).is_empty());
        (container, pids)
    }
}

/// The command line of a process, with blanks between the words.
fn command(pid: i32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ")
}

#[test]
fn the_entry_point_ends_both_programs_in_order() {
    let Some(image) = Image::new() else { return };
    for signal in [Signal::TERM, Signal::INT] {
        let (mut container, pids) = image.start_all();
        container.0.end_with(signal);
        assert!(!pids.into_iter().any(lives), "a program outlives its container");
    }
}

#[test]
fn the_end_of_one_program_ends_the_container() {
    let Some(image) = Image::new() else { return };
    // A program is killed or ends in order, without a signal to the container.
    for (victim, signal, code) in [
        (0, Signal::KILL, 128 + 9),
        (1, Signal::KILL, 128 + 9),
        (0, Signal::TERM, 2),
        (1, Signal::TERM, 2),
    ] {
        let (mut container, pids) = image.start_all();
        send(pids[victim], signal);
        assert_eq!(container.0.wait().code(), Some(code), "{victim} {signal:?}");
        assert!(!pids.into_iter().any(lives), "a program outlives its container");
    }
}

#[test]
fn the_entry_point_runs_one_program_or_any_command() {
    let Some(image) = Image::new() else { return };
    let version = format!("haproxystats {}", env!("CARGO_PKG_VERSION"));
    for program in ["pull", "process"] {
        assert_eq!(image.run(&[program, "-v"]).stdout.lines().next(), Some(&version[..]));
    }
    assert_eq!(image.run(&["echo", "any", "command"]).stdout, "any command\n");

    // The program replaces the script, so signals reach the program directly.
    let mut pull = image.start(&["pull", "-f", &image.config]);
    wait_until("a cycle", || pull.0.log().contains("no snapshot"));
    assert!(command(pull.0.pid()).starts_with("haproxystats-pull "), "{}", command(pull.0.pid()));
    pull.0.end_with(Signal::TERM);

    // Both programs refuse a bad configuration, and the container ends.
    let bad = image.scene.write("bad.conf", "[pull]\nworkers = none\n");
    let outcome = image.run(&["all", "-f", bad.to_str().unwrap()]);
    assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
}

#[test]
fn the_health_check_tells_a_spool_that_fills() {
    let Some(image) = Image::new() else { return };
    let health = last_stage().into_iter().find(|line| line.starts_with("HEALTHCHECK ")).unwrap();
    let words: Vec<String> = serde_json::from_str(health.split(" CMD ").nth(1).unwrap()).unwrap();
    let check = format!("{CHECK} -f {}", image.config);
    let words: Vec<String> = words.iter().map(|word| word.replace(CHECK, &check)).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let health = || image.run(&words);

    assert_eq!(health().code, Some(0), "{}", health().stdout);
    for snapshot in 1..=121 {
        fs::create_dir(image.scene.incoming().join(snapshot.to_string())).unwrap();
    }
    assert_eq!(health().code, Some(1), "{}", health().stdout);
    fs::remove_dir_all(image.scene.incoming()).unwrap();
    assert_eq!(health().code, Some(1), "{}", health().stdout);
}

#[test]
fn shellcheck_takes_the_entry_point() {
    let Some([shellcheck]) = installed("entry point", ["shellcheck"]) else { return };
    let outcome = run(&shellcheck, &[&absolute(ENTRY_POINT)]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stdout);
    let scene = Scene::new();
    let broken = scene.write("broken.sh", "#!/bin/sh\n[ $1 == a ]\n");
    let outcome = run(&shellcheck, &[broken.to_str().unwrap()]);
    assert!(outcome.stdout.contains("SC3014"), "{}", outcome.stdout);
}
