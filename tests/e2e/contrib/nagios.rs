//! The checks of `contrib/nagios`, tried with the real tools: by sh and shellcheck, and as a nagios
//! server runs them, against the running programs.
//!
//! In every case a check prints one line and ends with a status from 0 to 3. Checks that ask
//! systemd get the test's own systemctl here; `systemd.rs` uses the real one.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::process::{Signal, geteuid};

use crate::scene::Scene;
use crate::sink::{Manner, Sink};
use crate::support::{PROCESS, PULL, Program, installed, lives, run, send, wait_until};

const FIRST: u64 = 1_700_000_000;

const QUEUE_SIZE: &str = "check_haproxystats_queue_size";
const NUMBER_OF_PROCS: &str = "check_haproxystats_process_number_of_procs";
const PROCESS_UNIT: &str = "check_haproxystats_process";
const PULL_UNIT: &str = "check_haproxystats_pull";
const MONITOR: &str = "check_haproxystats_monitor";
const CHECKS: [&str; 5] = [QUEUE_SIZE, NUMBER_OF_PROCS, PROCESS_UNIT, PULL_UNIT, MONITOR];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/nagios")
}

/// Runs a check of `folder` with this PATH through `wrapper`; returns its status and its line.
fn check_in(
    folder: &Path,
    path: &OsStr,
    wrapper: &[&str],
    name: &str,
    arguments: &[&str],
) -> (i32, String) {
    let output = tempfile::tempdir().unwrap();
    let check = folder.join(name);
    let words: Vec<&OsStr> = wrapper.iter().map(AsRef::as_ref).collect();
    let words = [&words[..], &[check.as_os_str()]].concat();
    let arguments: Vec<&OsStr> =
        words[1..].iter().copied().chain(arguments.iter().map(AsRef::as_ref)).collect();
    let environment = [("PATH", path)];
    let program = words[0].to_str().unwrap();
    let mut running = Program::start(program, &arguments, &environment, output.path(), "check");
    let code = running.wait().code().unwrap();
    let line = running.output();
    assert_eq!(line.lines().count(), 1, "{name} says no single line: {line:?}");
    assert!((0..=3).contains(&code), "{name} ends with {code}: {line}");
    assert_eq!(running.log(), "", "standard error of {name}");
    let state = ["OK", "WARNING", "CRITICAL", "UNKNOWN"][usize::try_from(code).unwrap()];
    assert!(line.starts_with(&format!("{state}: ")), "status {code} with {line:?}");
    (code, line.trim_end().to_owned())
}

/// PATH with the programs under test, or a stand-in, before the system's.
fn path_with(folder: &Path) -> OsString {
    let system = std::env::var_os("PATH").unwrap();
    let folders = std::iter::once(folder.to_owned()).chain(std::env::split_paths(&system));
    std::env::join_paths(folders).unwrap()
}

fn programs() -> OsString {
    path_with(Path::new(PULL).parent().unwrap())
}

fn check(name: &str, arguments: &[&str]) -> (i32, String) {
    check_in(&folder(), &programs(), &[], name, arguments)
}

#[track_caller]
fn assert_result(result: (i32, String), code: i32, parts: &[&str]) {
    for part in parts {
        assert!(result.1.contains(part), "{part:?} is not in {:?}", result.1);
    }
    assert_eq!(result.0, code, "{}", result.1);
}

fn spool_of(scene: &Scene, dst_dir: &str) -> String {
    let text = format!(
        "[paths]\nbase-dir = {}\n[pull]\nservers = unix:///nobody.sock\ndst-dir = {dst_dir}\n",
        scene.path().display()
    );
    scene.write("pull.conf", &text).to_str().unwrap().to_owned()
}

#[test]
fn the_checks_are_sound_for_shells_and_shellcheck() {
    let tools = ["sh", "dash", "shellcheck"];
    let Some([sh, dash, shellcheck]) = installed("soundness of the checks", tools) else { return };
    let mut accepted = 0;
    for name in CHECKS {
        let path = folder().join(name);
        let path = path.to_str().unwrap();
        for (tool, arguments) in
            [(&sh, vec!["-n", path]), (&dash, vec!["-n", path]), (&shellcheck, vec![path])]
        {
            let outcome = run(tool, &arguments);
            let output = outcome.stdout + &outcome.stderr;
            assert_eq!((outcome.code, output.as_str()), (Some(0), ""), "{tool} {name}");
            accepted += 1;
        }
    }
    assert_eq!(accepted, 15);

    let scene = Scene::new();
    let text = fs::read_to_string(folder().join(QUEUE_SIZE)).unwrap();
    let unquoted = scene.write("unquoted", &text.replace("-f \"$file\"", "-f $file"));
    assert_eq!(run(&shellcheck, &[unquoted.to_str().unwrap()]).code, Some(1));
    let cut = scene.write("cut", text.rsplit_once("fi\n").unwrap().0);
    assert_eq!(run(&dash, &["-n", cut.to_str().unwrap()]).code, Some(2));
}

#[test]
fn the_queue_is_judged_by_its_thresholds_and_by_what_runs() {
    let (scene, sink) = (Scene::new(), Sink::start(Manner::Whole));
    let file = spool_of(&scene, "${paths:base-dir}/incoming");
    let all: Vec<u64> = (FIRST..FIRST + 4).collect();
    all.iter().for_each(|&timestamp| scene.publish(timestamp));
    // These do not count: a snapshot that is being removed, a directory without a number as its
    // name, a number beyond 64 bits, a file, a link.
    let too_long = "1".repeat(21);
    for name in [".1700000009.removed", "lost+found", "17x", "+17", "1.7", &too_long] {
        fs::create_dir(scene.incoming().join(name)).unwrap();
    }
    fs::write(scene.incoming().join("note"), "").unwrap();
    fs::write(scene.incoming().join("1700000008"), "").unwrap();
    symlink(scene.path(), scene.incoming().join("1700000007")).unwrap();

    let of = |ok: &str, warning: &str| check(QUEUE_SIZE, &["-f", &file, "-o", ok, "-w", warning]);
    assert_result(of("4", "4"), 0, &["4 snapshots wait", "|queue_size=4;4;4;0;"]);
    assert_result(of("3", "4"), 1, &["|queue_size=4;3;4;0;"]);
    assert_result(of("2", "3"), 2, &["|queue_size=4;2;3;0;"]);
    assert_result(check(QUEUE_SIZE, &["-f", &file]), 0, &["|queue_size=4;60;120;0;"]);
    // The spellings in the configurations of the Python program's users.
    let file_is = format!("--file={file}");
    let result = check(QUEUE_SIZE, &[&file_is, "--ok", "1", "--warning=9"]);
    assert_result(result, 1, &["OK up to 1, WARNING up to 9"]);
    assert_result(check(QUEUE_SIZE, &[&format!("-f{file}"), "-o1", "-w2"]), 2, &[]);

    let process = scene.process(&scene.config(sink.port, 1, ""));
    wait_until("an empty queue", || check(QUEUE_SIZE, &["-f", &file]).1.contains("queue_size=0;"));
    process.finish();
}

/// References, a second file, a doubled dollar and blanks, as haproxystats-pull reads them.
#[test]
fn the_queue_is_where_the_configuration_says() {
    let scene = Scene::new();
    let file = spool_of(&scene, "${paths:base-dir}/else where/$$5|x");
    let more = scene.write("more.d/10-base.conf", "[paths]\nbase-dir = /nowhere\n");
    let spool = scene.path().join("else where/$5|x");
    fs::create_dir_all(spool.join("1700000000")).unwrap();
    let place = format!("{}/else where/$5/x", scene.path().display());
    assert_result(check(QUEUE_SIZE, &["-f", &file]), 0, &[&place, "|queue_size=1;60;120;0;"]);

    let dir = more.parent().unwrap().to_str().unwrap();
    let result = check(QUEUE_SIZE, &["-f", &file, "-d", dir]);
    assert_result(result, 3, &["/nowhere/else where/$5/x is not there"]);
}

#[test]
fn a_queue_that_cannot_be_read_is_unknown() {
    let scene = Scene::without_spool();
    let file = spool_of(&scene, "${paths:base-dir}/incoming");
    assert_result(check(QUEUE_SIZE, &["-f", &file]), 3, &["incoming is not there"]);
    fs::write(scene.incoming(), "").unwrap();
    assert_result(check(QUEUE_SIZE, &["-f", &file]), 3, &["is no directory"]);

    let wrong = scene.write("wrong.conf", "[pull]\nworkers = many|some\n[graphite]\nport = 0\n");
    let result = check(QUEUE_SIZE, &["-f", wrong.to_str().unwrap()]);
    assert_result(result, 3, &["bad configuration", "wrong.conf:2", "many/some"]);
    let refused: [&[&str]; 7] = [
        &["-o", "x"],
        &["-o", ""],
        &["-w", "-1"],
        &["-o", "9", "-w", "8"],
        &["-w", "99999999999999999999"],
        &["--what", "5"],
        &["-f"],
    ];
    for arguments in refused {
        check_is_unknown(QUEUE_SIZE, arguments);
    }
    for name in [NUMBER_OF_PROCS, PROCESS_UNIT, PULL_UNIT] {
        check_is_unknown(name, &["--what"]);
    }

    // haproxystats is not installed, or not in the PATH of nagios.
    let bare = tools_alone(&scene);
    let result = check_in(&folder(), bare.as_os_str(), &[], QUEUE_SIZE, &["-f", &file]);
    assert_result(result, 3, &["haproxystats-pull is not in PATH"]);
    let result = check_in(&folder(), bare.as_os_str(), &[], NUMBER_OF_PROCS, &[]);
    assert_result(result, 3, &["haproxystats-process is not in PATH"]);
    let result = check_in(&folder(), bare.as_os_str(), &[], PULL_UNIT, &[]);
    assert_result(result, 3, &["systemctl is not in PATH"]);
}

#[track_caller]
fn check_is_unknown(name: &str, arguments: &[&str]) {
    assert_result(check(name, arguments), 3, &[]);
}

/// A folder with the few tools that a check may use, and nothing else.
fn tools_alone(scene: &Scene) -> PathBuf {
    let folder = scene.path().join("tools");
    fs::create_dir(&folder).unwrap();
    let tools = ["sh", "tr", "sed", "grep", "id", "wc", "dirname", "timeout"];
    for (name, path) in tools.iter().zip(installed("tools", tools).unwrap()) {
        symlink(path, folder.join(name)).unwrap();
    }
    folder
}

/// Copies of the checks and of a program in a folder where any user may run them.
fn open_to_all(scene: &Scene, program: &str) -> PathBuf {
    fs::set_permissions(scene.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let bin = scene.path().join("bin");
    fs::create_dir(&bin).unwrap();
    for name in CHECKS {
        fs::copy(folder().join(name), bin.join(name)).unwrap();
    }
    let copy = bin.join(Path::new(program).file_name().unwrap());
    // A link, because a debug build is large; another file system, such as a tmpfs, needs a copy.
    fs::hard_link(program, &copy).or_else(|_| fs::copy(program, &copy).map(|_| ())).unwrap();
    bin
}

/// The words that run a command as the user nobody; none if the test does not run as root.
fn as_nobody(test: &str) -> Option<Vec<String>> {
    if !geteuid().is_root() {
        return Some(Vec::new());
    }
    let [setpriv] = installed(test, ["setpriv"])?;
    let words = ["--reuid=65534", "--regid=65534", "--clear-groups", "--"].map(str::to_owned);
    Some(std::iter::once(setpriv).chain(words).collect())
}

#[test]
fn a_spool_that_may_not_be_read_is_unknown() {
    let Some(nobody) = as_nobody("a spool that may not be read") else { return };
    let nobody: Vec<&str> = nobody.iter().map(String::as_str).collect();
    let scene = Scene::new();
    let file = spool_of(&scene, "${paths:base-dir}/incoming");
    let bin = open_to_all(&scene, PULL);
    let result = |mode| {
        fs::set_permissions(scene.incoming(), fs::Permissions::from_mode(mode)).unwrap();
        check_in(&bin, &path_with(&bin), &nobody, QUEUE_SIZE, &["-f", &file])
    };
    assert_result(result(0o755), 0, &["|queue_size=0;60;120;0;"]);
    assert_result(result(0o000), 3, &["may not list"]);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
    assert_result(result(0o755), 3, &["bad configuration", "Permission denied"]);
}

#[test]
fn the_monitor_server_is_asked_over_tcp_and_unix() {
    let Some([_perl]) = installed("monitor check", ["perl"]) else { return };
    let (scene, sink) = (Scene::new(), Sink::start(Manner::Whole));
    let path = scene.path().join("m $.sock");
    let config = scene.config(sink.port, 1, "");
    let text = fs::read_to_string(&config).unwrap();
    let value = format!("unix://{}", path.display().to_string().replace('$', "$$"));
    let listen = format!("[process]\nmonitor-listen = {value}\n");
    fs::write(&config, text.replace("[process]\n", &listen)).unwrap();
    let file = config.to_str().unwrap();
    let process = scene.process(&config);
    let of_file = || check(MONITOR, &["-p", "process", "-f", file]);
    wait_until("an answer", || of_file().0 == 1);
    assert_result(of_file(), 1, &["haproxystats-process at unix:///", "booting|uptime=", "s;;;0;"]);
    scene.publish(FIRST);
    wait_until("a fold", || of_file().0 == 0);
    assert_result(of_file(), 0, &["m $.sock: OK|uptime="]);
    process.finish();
    assert_result(of_file(), 2, &["cannot connect: Connection refused"]);

    let answers = |answer: &'static str| {
        let monitor = crate::zope::Monitor::start(move || Some(answer.to_owned()));
        check(MONITOR, &["-a", &format!("127.0.0.1:{}", monitor.port), "-t10"])
    };
    let lost = "CRITICAL: haproxystats-pull at 127.0.0.1:";
    assert_result(answers("Error: a | b\n"), 2, &[lost, "Error: a / b"]);
    assert_result(answers("Warmup in progress\n"), 1, &["Warmup in progress"]);
    assert_result(answers("220 smtp\r\n"), 3, &["something else answers: 220 smtp"]);
    assert_result(answers(""), 2, &["closes without an answer"]);
    let mute = crate::zope::Monitor::start(|| None);
    let address = format!("127.0.0.1:{}", mute.port);
    assert_result(check(MONITOR, &["-a", &address, "-t", "1"]), 2, &["no answer within 1 s"]);
    assert_result(check(MONITOR, &["-f", file]), 3, &["set monitor-listen in [pull]"]);
    assert_result(check(MONITOR, &["-a", "nowhere"]), 3, &["nowhere is no address"]);
    assert_result(check(MONITOR, &["-t", "x"]), 3, &["whole number of seconds"]);
    assert_result(check(MONITOR, &["-p", "both"]), 3, &["-p is pull or process"]);
}

/// The parent and two workers, counted in `/proc`.
#[test]
fn the_processes_are_the_parent_and_its_workers() {
    let (scene, other) = (Scene::new(), Scene::new());
    let sink = Sink::start(Manner::Whole);
    let config = scene.config(sink.port, 2, "");
    let file = config.to_str().unwrap();
    let of = |file: &str| check(NUMBER_OF_PROCS, &["-f", file]);
    assert_result(of(file), 2, &["no haproxystats-process runs", "|processes=0;;3:3;0;"]);

    let mut process = scene.process(&config);
    // A second haproxystats-process with another configuration does not count.
    let other_config = other.config(sink.port, 1, "");
    let other_process = other.process(&other_config);
    wait_until("all of both", || of(file).0 == 0 && of(other_config.to_str().unwrap()).0 == 0);
    assert_result(of(file), 0, &["all 2 workers live|processes=3;;3:3;0;"]);
    let result = check(NUMBER_OF_PROCS, &["-v", "--file", file]);
    let workers = process.workers();
    for pid in workers.iter().chain([&process.pid()]) {
        assert!(result.1.contains(&format!(" {pid}")), "{pid} is not in {}", result.1);
    }
    other_process.finish();

    send(workers[0], Signal::STOP);
    let stopped = format!("stopped by a signal: pid {}|processes=2;;3:3;0;", workers[0]);
    wait_until("the stopped worker to be seen", || of(file).1.contains(&stopped));
    assert_result(of(file), 2, &[]);
    send(workers[0], Signal::CONT);
    wait_until("the worker to be back", || of(file).0 == 0);

    // A stopped parent replaces no worker.
    process.signal(Signal::STOP);
    send(workers[1], Signal::KILL);
    wait_until("the worker's death", || !lives(workers[1]));
    let parent = format!("stopped by a signal: pid {}|processes=1;;3:3;0;", process.pid());
    wait_until("the dead worker to be seen", || of(file).1.contains(&parent));
    assert_result(of(file), 2, &[]);
    process.signal(Signal::CONT);
    wait_until("the replaced worker", || of(file).0 == 0);
    assert!(!process.workers().contains(&workers[1]));

    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("workers = 2", "workers = 4")).unwrap();
    assert_result(of(file), 2, &["2 of 4 workers live|processes=3;;5:5;0;"]);
    fs::write(&config, text.replace("workers = 2", "workers = none")).unwrap();
    assert_result(of(file), 3, &["bad configuration", "none"]);
    fs::write(&config, text).unwrap();
    process.end_with(Signal::TERM);
    assert_result(of(file), 2, &["no haproxystats-process runs"]);
}

/// The user nagios may read neither `/proc/PID/exe` nor the environment of other users.
#[test]
fn another_user_may_count_the_processes() {
    let Some(nobody) = as_nobody("counting as somebody else") else { return };
    let nobody: Vec<&str> = nobody.iter().map(String::as_str).collect();
    let (scene, sink) = (Scene::new(), Sink::start(Manner::Whole));
    let bin = open_to_all(&scene, PROCESS);
    let config = scene.config(sink.port, 2, "");
    let arguments = ["-f", config.to_str().unwrap()];
    let process = scene.process(&config);
    let of = || check_in(&bin, &path_with(&bin), &nobody, NUMBER_OF_PROCS, &arguments);
    wait_until("both workers", || of().0 == 0);
    assert_result(of(), 0, &["all 2 workers live|processes=3;;3:3;0;"]);
    process.finish();
}

/// The answers of systemctl, and the states that the checks report.
#[test]
fn units_are_judged_by_what_systemd_says_of_them() {
    let scene = Scene::new();
    let path = path_with(&scene.path().join("bin"));
    let answer = |text: &str, status: i32| {
        let script = format!(
            "#!/bin/sh\nprintf '%s\\n' \"$*\" >{0}/asked\ncat <<'E'\n{text}\nE\nexit {status}\n",
            scene.path().display()
        );
        let file = scene.write("bin/systemctl", &script);
        fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
    };
    let unit = |load: &str, active: &str, sub: &str, rest: &str| {
        format!("LoadState={load}\nActiveState={active}\nSubState={sub}\n{rest}")
    };
    let down = "Result=exit-code\nNRestarts=20";
    let cases = [
        (
            unit("loaded", "active", "running", "NRestarts=3\nStatusText=2 wait | up"),
            0,
            "2 wait / up|restarts=3c;;;0;",
        ),
        (unit("loaded", "active", "running", ""), 0, "is active (running)|restarts=0c;;;0;"),
        (unit("loaded", "activating", "start", ""), 1, "activating (start)"),
        (unit("loaded", "deactivating", "stop-sigterm", ""), 1, "deactivating"),
        (unit("loaded", "reloading", "reload", ""), 1, "reloading"),
        (unit("loaded", "activating", "auto-restart", down), 2, "auto-restart), after exit-code"),
        (unit("loaded", "active", "exited", ""), 2, "active (exited)"),
        (unit("loaded", "failed", "failed", down), 2, "exit-code|restarts=20c;;;0;"),
        (unit("loaded", "inactive", "dead", ""), 2, "inactive (dead)"),
        (unit("masked", "inactive", "dead", ""), 2, "inactive (dead)"),
        (unit("not-found", "inactive", "dead", ""), 3, "there is no unit"),
        (unit("bad-setting", "inactive", "dead", ""), 3, "cannot load"),
        (unit("loaded", "strange", "thing", ""), 3, "nothing known"),
        (String::new(), 3, "cannot load"),
    ];
    for (text, code, part) in cases {
        answer(&text, 0);
        for (name, unit) in [
            (PROCESS_UNIT, "haproxystats-process.service"),
            (PULL_UNIT, "haproxystats-pull.service"),
        ] {
            assert_result(check_in(&folder(), &path, &[], name, &[]), code, &[part, unit]);
            let asked = fs::read_to_string(scene.path().join("asked")).unwrap();
            assert!(asked.trim_end().ends_with(&format!(" -- {unit}")), "{asked}");
        }
    }
    answer("Failed to connect to bus: No such file or directory\nand more", 1);
    let result = check_in(&folder(), &path, &[], PULL_UNIT, &["-u", "mine.service"]);
    assert_result(result, 3, &["mine.service", "Failed to connect to bus"]);
}
