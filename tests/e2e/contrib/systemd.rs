//! The units of `contrib/systemd`, tried with the real tools: systemd-analyze, systemd-sysusers,
//! systemd-tmpfiles, and a systemd that is booted for the test.
//!
//! Each tool also gets a broken file, which it must refuse. Paths, limits and users must be the
//! same in the units and in the programs.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::process::{Signal, geteuid};

use crate::haproxy::HaProxy;
use crate::scene::Scene;
use crate::sink::{Manner, Sink};
use crate::support::{Outcome, PROCESS, PULL, Program, installed, run, send, skip, wait_until};

mod machine;

use machine::Machine;

const PULL_UNIT: &str = "haproxystats-pull.service";
const PROCESS_UNIT: &str = "haproxystats-process.service";
const UNITS: [&str; 2] = [PULL_UNIT, PROCESS_UNIT];
const DROP_IN: &str = "haproxystats-process.service.d/cpu-affinity.conf";

/// The largest exposure that `systemd-analyze security` may report; MEDIUM begins at 5.
const EXPOSURE_MAX: f64 = 2.5;

fn contrib(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/systemd").join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(contrib(name)).unwrap()
}

/// The values of a unit's options; a later line adds to an earlier line of the same name.
fn options(unit: &str) -> BTreeMap<String, Vec<String>> {
    let mut options: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in read(unit).lines().filter(|line| !line.starts_with('#')) {
        if let Some((name, value)) = line.split_once('=') {
            options.entry(name.to_owned()).or_default().push(value.to_owned());
        }
    }
    options
}

/// The only value of an option.
fn option(unit: &str, name: &str) -> String {
    let values = options(unit).remove(name).unwrap_or_default();
    let [value] = &values[..] else { panic!("{unit}: {name} has the values {values:?}") };
    value.clone()
}

fn seconds(unit: &str, name: &str) -> f64 {
    let value = option(unit, name);
    value.strip_suffix('s').and_then(|number| number.parse().ok()).unwrap()
}

/// The default of an option, as a program prints it.
fn default_of(program: &str, section: &str, option: &str) -> String {
    let printed = run(program, &["-p"]).stdout;
    let section = printed.split(&format!("[{section}]\n")).nth(1).unwrap().split("\n\n").next();
    let prefix = format!("{option} = ");
    section.unwrap().lines().find_map(|line| line.strip_prefix(&prefix)).unwrap().to_owned()
}

/// A root with the programs, for a tool that checks whether they can be executed.
fn installed_root(scene: &Scene) -> PathBuf {
    for program in [PULL, PROCESS] {
        let name = Path::new(program).file_name().unwrap().to_str().unwrap();
        let path = scene.write(&format!("root/usr/bin/{name}"), "#!/bin/sh\n");
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    scene.path().join("root")
}

#[test]
fn systemd_analyze_accepts_the_units_and_the_drop_in() {
    let Some([analyze]) = installed("units are accepted", ["systemd-analyze"]) else { return };
    let scene = Scene::new();
    let root = installed_root(&scene);
    let units = root.join("usr/lib/systemd/system");
    let put = |name: &str, text: &str| {
        let path = units.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    let verify = |unit: &str| {
        let root = format!("--root={}", root.display());
        run(&analyze, &["verify", &root, "--recursive-errors=no", "--man=no", unit])
    };
    let refused = |unit: &str, because: &str| {
        let Outcome { code, stderr, .. } = verify(unit);
        assert!(stderr.contains(because), "{because:?} is not in {stderr:?}");
        code
    };
    for unit in UNITS {
        put(unit, &read(unit));
    }
    put(DROP_IN, &read(DROP_IN));
    for unit in UNITS {
        let outcome = verify(unit);
        let output = outcome.stdout + &outcome.stderr;
        assert_eq!((outcome.code, output.as_str()), (Some(0), ""), "{unit}");
    }

    put(DROP_IN, &read(DROP_IN).replace("CPUAffinity=", "CPUAffinity=x"));
    assert!(!verify(PROCESS_UNIT).stderr.is_empty(), "a broken drop-in is not refused");
    put(DROP_IN, &read(DROP_IN));
    for unit in UNITS {
        put(unit, &read(unit).replace("ProtectClock", "ProtectClocks"));
        refused(unit, "Unknown key 'ProtectClocks'");
        put(unit, &read(unit).replace("SystemCallFilter=@system-service", "SystemCallFilter=@x"));
        assert!(!verify(unit).stderr.is_empty(), "a broken filter is not refused");
        put(unit, &read(unit).replace("/usr/bin/haproxystats-", "/usr/bin/nobody-"));
        assert_eq!(refused(unit, "is not executable"), Some(1));
    }
}

/// The line `→ Overall exposure level for x.service: 1.5 OK`.
fn exposure(report: &str) -> f64 {
    let line = report.lines().find(|line| line.contains("Overall exposure level")).unwrap();
    line.split(": ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn the_units_are_rated_safe() {
    let Some([analyze]) = installed("units are safe", ["systemd-analyze"]) else { return };
    let scene = Scene::new();
    let rate = |unit: &str, text: &str| {
        let path = scene.write(unit, text);
        let path = path.to_str().unwrap();
        let outcome = run(&analyze, &["security", "--offline=true", "--no-pager", path]);
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        exposure(&outcome.stdout)
    };
    for unit in UNITS {
        let rated = rate(unit, &read(unit));
        assert!(rated < EXPOSURE_MAX, "{unit} is rated {rated}");
        // The rating depends on the options of the unit.
        let text = read(unit);
        let kept = |line: &&str| !line.starts_with("SystemCallFilter") && !line.contains("Protect");
        let open: Vec<&str> = text.lines().filter(kept).collect();
        let rated = rate(unit, &open.join("\n"));
        assert!(rated >= EXPOSURE_MAX, "{unit} without protection is rated {rated}");
    }
}

/// Directories, users, the watchdog and the time of the end agree in the units and the programs.
#[test]
fn units_and_programs_agree() {
    let base = default_of(PROCESS, "paths", "base-dir");
    let under = |dir: String| dir.replace("${paths:base-dir}", &base);
    for dir in [
        default_of(PULL, "pull", "dst-dir"),
        default_of(PULL, "pull", "tmp-dst-dir"),
        default_of(PROCESS, "process", "src-dir"),
        under(default_of(PROCESS, "process", "failed-dir")),
        under(default_of(PROCESS, "process", "outbox-dir")),
        default_of(PROCESS, "local-store", "dir"),
    ] {
        assert!(dir.starts_with(&format!("{base}/")), "{dir} is not in {base}");
    }
    let scene = Scene::new();
    let broken = scene.write("broken.conf", "nonsense");
    for (unit, program) in [(PULL_UNIT, PULL), (PROCESS_UNIT, PROCESS)] {
        assert_eq!(format!("/var/lib/{}", option(unit, "StateDirectory")), base, "{unit}");
        let name = Path::new(program).file_name().unwrap().to_str().unwrap();
        let start = format!("/usr/bin/{name} -f /etc/haproxystats.conf");
        assert_eq!(option(unit, "ExecStart"), start);
        assert!(run(program, &["-h"]).stdout.contains("default: /etc/haproxystats.conf"));
        assert!(read("haproxystats.sysusers").contains(&format!("\nu {} ", option(unit, "User"))));
        // The main thread notifies at half of this time; less would fail on a busy machine.
        assert!(seconds(unit, "WatchdogSec") >= 30.0);
        // Status 1 is a bad configuration.
        // With -P, because a program that accepts the file must not run on this machine.
        let asked = run(program, &["-P", "-f", broken.to_str().unwrap()]);
        let refused = asked.code.unwrap().to_string();
        assert_eq!(option(unit, "RestartPreventExitStatus"), refused);
    }
    let group = format!("\ng {} ", option(PULL_UNIT, "SupplementaryGroups"));
    assert!(read("haproxystats.sysusers").contains(&group));
    assert!(!options(PROCESS_UNIT).contains_key("SupplementaryGroups"), "process asks no HAProxy");

    // docs/operations.md: at the latest after 6 s plus both timeouts.
    let limit = |name: &str| default_of(PROCESS, "graphite", name).parse::<f64>().unwrap();
    let end = 6.0 + limit("connect-timeout") + limit("write-timeout");
    assert!(seconds(PROCESS_UNIT, "TimeoutStopSec") >= 2.0 * end);
    assert_eq!(option(PROCESS_UNIT, "KillMode"), "mixed", "the parent ends its workers");
}

#[test]
fn user_group_and_directory_are_made() {
    let tools = ["systemd-sysusers", "systemd-tmpfiles"];
    let Some([sysusers, tmpfiles]) = installed("user and directory", tools) else { return };
    let scene = Scene::new();
    let root = scene.path().join("root");
    fs::create_dir_all(root.join("etc")).unwrap();
    let root_is = format!("--root={}", root.display());
    let users = contrib("haproxystats.sysusers");
    let dry = run(&sysusers, &["--dry-run", &root_is, users.to_str().unwrap()]);
    assert_eq!(dry.code, Some(0), "{}", dry.stderr);
    let wrong = scene.write("wrong.conf", &read("haproxystats.sysusers").replace("\ng ", "\nq "));
    assert_eq!(run(&sysusers, &["--dry-run", &root_is, wrong.to_str().unwrap()]).code, Some(1));
    if !geteuid().is_root() {
        return skip("user and directory: only root may make them");
    }

    let made = run(&sysusers, &[&root_is, users.to_str().unwrap()]);
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    let entry = |file: &str, name: &str| {
        let text = fs::read_to_string(root.join("etc").join(file)).unwrap();
        let start = format!("{name}:");
        let line = text.lines().find(|line| line.starts_with(&start)).unwrap();
        line.split(':').map(str::to_owned).collect::<Vec<_>>()
    };
    let user = entry("passwd", "haproxystats");
    assert_eq!(user[5], "/var/lib/haproxystats");
    assert!(user[6].ends_with("/nologin"), "{user:?}");
    assert_eq!(entry("group", "haproxystats")[2], user[3]);
    entry("group", "haproxy");

    // A directory that an earlier run as root has left.
    let state = root.join("var/lib/haproxystats");
    fs::create_dir_all(state.join("incoming")).unwrap();
    let file = contrib("haproxystats.tmpfiles");
    let made = run(&tmpfiles, &["--create", &root_is, file.to_str().unwrap()]);
    assert_eq!((made.code, made.stderr.as_str()), (Some(0), ""));
    for (folder, mode) in [(state.clone(), "750"), (state.join("incoming"), "755")] {
        let stat = run("stat", &["-c", "%u:%g %a", folder.to_str().unwrap()]).stdout;
        assert_eq!(stat.trim_end(), format!("{}:{} {mode}", user[2], user[3]), "{folder:?}");
    }
    let wrong = scene.write("wrong.conf", &read("haproxystats.tmpfiles").replace("0750", "rwx"));
    assert_ne!(run(&tmpfiles, &["--create", &root_is, wrong.to_str().unwrap()]).code, Some(0));
}

/// The system calls of a filter such as `@system-service`, with those of the sets in it.
fn system_calls(analyze: &str, set: &str) -> BTreeSet<String> {
    let listed = run(analyze, &["syscall-filter", "--no-pager", set]).stdout;
    let names = listed.lines().skip(1).map(str::trim);
    let mut calls = BTreeSet::new();
    for name in names.filter(|name| !name.is_empty() && !name.starts_with('#')) {
        if name.starts_with('@') {
            calls.extend(system_calls(analyze, name));
        } else {
            calls.insert(name.to_owned());
        }
    }
    calls
}

/// The system calls that a unit allows: its first filter without its second filter.
fn allowed(analyze: &str, unit: &str) -> BTreeSet<String> {
    let filters = options(unit).remove("SystemCallFilter").unwrap();
    let [with, without] = &filters[..] else { panic!("{unit} has the filters {filters:?}") };
    let union = |sets: &str| -> BTreeSet<String> {
        sets.split(' ').flat_map(|set| system_calls(analyze, set)).collect()
    };
    union(with).difference(&union(without.strip_prefix('~').unwrap())).cloned().collect()
}

/// strace with the program that it runs, which would outlive it if a test fails.
struct Strace(Program);

impl Strace {
    fn signal(&self, signal: Signal) {
        self.0.children().into_iter().for_each(|pid| send(pid, signal));
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// Checks all system calls, because a program may go on after EPERM without a function.
#[test]
fn every_system_call_is_within_the_filter() {
    let tools = ["systemd-analyze", "strace", "haproxy"];
    let Some([analyze, strace, haproxy]) = installed("system calls", tools) else { return };
    let (scene, sink) = (Scene::without_spool(), Sink::start(Manner::Whole));
    let haproxy = HaProxy::start(&haproxy, scene.path());
    let sockets = haproxy.sockets_folder();
    let options = format!(
        "server = localhost\n[local-store]\ndir = {0}/store\n[pull]\nsocket-dir = {1}\n\
         pull-interval = 1\npull-timeout = 60\ndst-dir = {0}/incoming\ntmp-dst-dir = {0}/staged\n",
        scene.path().display(),
        sockets.display(),
    );
    let config = scene.config(sink.port, 2, &options);
    let text = fs::read_to_string(&config).unwrap().replace("server = 127.0.0.1\n", "");
    fs::write(&config, text).unwrap();

    let traced = [(PULL_UNIT, PULL), (PROCESS_UNIT, PROCESS)].map(|(unit, program)| {
        let calls = scene.path().join(format!("{unit}.calls"));
        let before = ["-f", "-qq", "-c", "-S", "name", "-U", "name", "-o"].map(OsStr::new);
        let after = [calls.as_os_str(), program.as_ref(), "-f".as_ref(), config.as_os_str()];
        let arguments = [&before[..], &after[..]].concat();
        let traced = Program::start(&strace, &arguments, &[], scene.path(), unit);
        (unit, calls.clone(), Strace(traced))
    });
    wait_until("three snapshots of HAProxy", || sink.by_timestamp().len() > 2);
    for (unit, calls, mut traced) in traced {
        traced.signal(Signal::TERM);
        assert_eq!(traced.0.wait().code(), Some(0), "{unit}");
        let table = fs::read_to_string(calls).unwrap();
        let used: BTreeSet<String> = table
            .lines()
            .map(str::trim)
            // strace may name a thread that ends late before the table.
            .skip_while(|line| *line != "syscall")
            .skip(2)
            .take_while(|line| !line.starts_with('-'))
            .map(str::to_owned)
            .collect();
        assert!(used.len() > 30 && used.contains("connect"), "{unit}: {table:?}");
        let allowed = allowed(&analyze, unit);
        let outside: Vec<_> = used.difference(&allowed).collect();
        assert!(outside.is_empty(), "{unit} refuses {outside:?}");
        let no_network = &allowed - &system_calls(&analyze, "@network-io");
        assert!(!used.is_subset(&no_network), "the comparison sees nothing");
    }
}

const HAPROXY: &str = "global
  user haproxy
  group haproxy
  stats socket /run/haproxy/admin.sock mode 660 user haproxy group haproxy level user
defaults
  mode http
  timeout connect 5s
  timeout client 5s
  timeout server 5s
frontend www
  bind unix@/run/www.sock
  default_backend app
backend app
  server app1 127.0.0.1:1
";

/// Both programs under a running systemd: their sandbox, their restarts, their end.
#[test]
fn systemd_runs_the_units() {
    let sink = Sink::start(Manner::Whole);
    let config = format!(
        "[pull]\nsocket-dir = /run/haproxy\npull-interval = 1\n\
         [process]\nliveness-check-interval = 1\nworkers = 2\n\
         [graphite]\nserver = localhost\nport = {}\n",
        sink.port
    );
    let Some(machine) = Machine::boot("systemd runs the units", &config, HAPROXY) else { return };
    for unit in UNITS {
        machine.wait_for(unit, "SubState", "running");
    }
    // The group haproxy may open the socket; the resolver, the network and the disk work.
    wait_until("metrics of HAProxy", || sink.lines().iter().any(|l| l.contains(".frontend.www.")));
    for unit in UNITS {
        assert_confined(&machine, unit);
        assert_eq!(machine.show(unit, "NRestarts"), "0", "{}", machine.log(unit));
    }
    the_checks_see_it(&machine);
    failed_units_are_restarted(&machine);
    the_end_is_clean(&machine);
    a_bad_configuration_is_not_tried_again(&machine);
}

fn assert_confined(machine: &Machine, unit: &str) {
    let pid = machine.show(unit, "MainPID");
    let status = machine.run(&["cat", &format!("/proc/{pid}/status")]).stdout;
    let field = |name: &str| {
        let prefix = format!("{name}:\t");
        status.lines().find_map(|line| line.strip_prefix(&prefix)).unwrap().trim().to_owned()
    };
    assert_eq!(field("NoNewPrivs"), "1", "{unit}");
    assert_eq!(field("Seccomp"), "2", "{unit}");
    for set in ["CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(field(set).trim_start_matches('0'), "", "{set} of {unit}");
    }
    let id = |arguments: &[&str]| machine.run(arguments).stdout.trim_end().to_owned();
    assert!(field("Uid").starts_with(&id(&["id", "-u", "haproxystats"])), "{unit}");
    let haproxy = id(&["sh", "-c", "getent group haproxy | cut -d: -f3"]);
    let groups = field("Groups");
    let has_haproxy = groups.split(' ').any(|group| group == haproxy);
    assert_eq!(has_haproxy, unit == PULL_UNIT, "{unit}: {groups}, haproxy is {haproxy}");
    // In the unit's view of the machine only its own directory can be written.
    let touch = |file: &str| machine.run(&["touch", &format!("/proc/{pid}/root{file}")]);
    for file in ["/etc/x", "/usr/bin/x", "/var/lib/x"] {
        assert!(touch(file).stderr.contains("Read-only file system"), "{unit}: {file}");
    }
    assert_eq!(touch("/var/lib/haproxystats/.x").code, Some(0), "{unit}");
}

fn the_checks_see_it(machine: &Machine) {
    let says = |check: &str, code: i32, part: &str| {
        let outcome = machine.run(&[&format!("/run/checks/{check}")]);
        assert_eq!(outcome.code, Some(code), "{check}: {}", outcome.stdout);
        assert!(outcome.stdout.contains(part), "{check}: {}", outcome.stdout);
    };
    says("check_haproxystats_pull", 0, "haproxystats-pull.service is active (running)");
    says("check_haproxystats_process", 0, "haproxystats-process.service is active (running)");
    says("check_haproxystats_process_number_of_procs", 0, "all 2 workers live|processes=3;");
    says("check_haproxystats_queue_size", 0, "wait in /var/lib/haproxystats/incoming");
    machine.systemctl(&["stop", PULL_UNIT]);
    says("check_haproxystats_pull", 2, "haproxystats-pull.service is inactive (dead)");
    machine.systemctl(&["start", PULL_UNIT]);
    says("check_haproxystats_pull", 0, "is active (running)");
}

/// A program that is killed with all its workers, and a program that hangs, are restarted.
fn failed_units_are_restarted(machine: &Machine) {
    machine.systemctl(&["kill", "--kill-whom=all", "--signal=KILL", PROCESS_UNIT]);
    machine.wait_for(PROCESS_UNIT, "NRestarts", "1");
    machine.wait_for(PROCESS_UNIT, "SubState", "running");

    // Only the times are shorter.
    let text = "[Service]\nWatchdogSec=2s\nTimeoutAbortSec=100ms\n";
    let file = format!("/run/units/{PULL_UNIT}.d/watchdog.conf");
    machine.run(&["sh", "-c", &format!("printf '{text}' >{file}")]);
    machine.systemctl(&["daemon-reload"]);
    machine.systemctl(&["restart", PULL_UNIT]);
    let pid = machine.show(PULL_UNIT, "MainPID");
    assert_eq!(machine.run(&["sh", "-c", &format!("kill -STOP {pid}")]).code, Some(0));
    wait_until("the watchdog", || {
        let now = machine.show(PULL_UNIT, "MainPID");
        now != pid && now != "0" && machine.show(PULL_UNIT, "SubState") == "running"
    });
    machine.run(&["rm", &file]);
    machine.systemctl(&["daemon-reload"]);
    machine.systemctl(&["restart", PULL_UNIT]);
}

fn the_end_is_clean(machine: &Machine) {
    let look = "grep -ls ^/usr/bin/haproxystats /proc/[0-9]*/cmdline";
    let found = || machine.run(&["sh", "-c", look]).stdout;
    wait_until("both programs with two workers", || found().lines().count() == 4);
    for unit in UNITS {
        machine.systemctl(&["stop", unit]);
        for (property, value) in
            [("ActiveState", "inactive"), ("Result", "success"), ("ExecMainStatus", "0")]
        {
            assert_eq!(machine.show(unit, property), value, "{property}: {}", machine.log(unit));
        }
    }
    assert_eq!(found(), "", "processes that are left");
}

fn a_bad_configuration_is_not_tried_again(machine: &Machine) {
    machine.run(&["sh", "-c", "echo nonsense >/etc/haproxystats.conf"]);
    for unit in UNITS {
        let outcome = machine.run(&["systemctl", "start", unit]);
        assert_ne!(outcome.code, Some(0), "{unit}");
        machine.wait_for(unit, "ActiveState", "failed");
        assert_eq!(machine.show(unit, "ExecMainStatus"), "1");
        let tried = machine.log(unit).matches("nonsense").count();
        assert_eq!(tried, 1, "{}", machine.log(unit));
    }
}
