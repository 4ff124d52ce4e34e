//! The role of `contrib/ansible-playbook`, tried with the real tools: the play runs against this
//! machine, below the test's folder, with a systemctl that only records its calls.
//!
//! Our own programs read the files that it writes. User, package and owner need the real root and
//! are not tried here.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use config::KnownOption;
use serde_json::json;
use tempfile::TempDir;

use super::options::{GROUPS, Value, expected, goes_with_all, loaded, names_in, other_values};
use crate::support::{Outcome, PROCESS, PULL, Program, installed, run};

/// Only a hang takes so long: a play runs some fifty programs one after the other, each in Python.
const DEADLINE: Duration = Duration::from_secs(600);

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The commented part of the defaults without its comment signs: YAML with every option.
fn every_option() -> String {
    let path = project("contrib/ansible-playbook/roles/haproxystats/defaults/main.yml");
    let text = fs::read_to_string(path).unwrap();
    let (_, block) = text.split_once("\n# haproxystats_config:\n").unwrap();
    let lines: Vec<&str> = block.lines().map(|line| line.strip_prefix("# ").unwrap()).collect();
    format!("haproxystats_config:\n{}\n", lines.join("\n"))
}

#[test]
fn the_defaults_of_the_role_name_every_option_and_no_other() {
    let mut section = "";
    let mut named = BTreeSet::new();
    let block = every_option();
    for line in block.lines().skip(1).filter(|line| !line.trim_start().starts_with('#')) {
        let (name, value) = line.trim().split_once(':').unwrap();
        if line.starts_with("    ") {
            if !config::GROUP_SECTIONS.contains(&section) {
                assert!(named.insert((section, name)), "[{section}] {name} stands there twice");
            }
            assert_ne!(value, "", "[{section}] {name}");
        } else {
            section = name;
        }
    }
    let known: BTreeSet<(&str, &str)> =
        config::known_options().iter().map(|option| (option.section, option.name)).collect();
    assert_eq!(named, known);
}

/// A copy of the playbook that the test may break, a root to fill, and a record of systemctl's
/// calls.
struct Play {
    folder: TempDir,
}

impl Play {
    fn new() -> Self {
        let play = Self { folder: tempfile::tempdir().unwrap() };
        let copy = play.path("playbook");
        let original = project("contrib/ansible-playbook");
        let outcome = run("cp", &["-r", original.to_str().unwrap(), copy.to_str().unwrap()]);
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        play.write("inventory", "[haproxy]\nlocalhost ansible_connection=local\n");
        play.write("ansible.cfg", "");
        // A script in place of each program, because a debug build is large.
        for (name, program) in [("pull", PULL), ("process", PROCESS)] {
            let text = format!("#!/bin/sh\nexec '{program}' \"$@\"\n");
            play.write(&format!("programs/haproxystats-{name}"), &text);
        }
        let folder = play.folder.path().display();
        let systemctl = play.write(
            "bin/systemctl",
            &format!(
                "#!/bin/sh\n\
                 state={folder}/state; mkdir -p $state\n\
                 case $1 in\n\
                 show) echo LoadState=loaded; test -e $state/$2.up && echo ActiveState=active ||\n\
                 echo ActiveState=inactive; exit 0 ;;\n\
                 is-enabled) test -e $state/$2.enabled; exit ;;\n\
                 start | restart) : >$state/$2.up ;;\n\
                 enable) : >$state/$2.enabled ;;\n\
                 esac\n\
                 echo \"$@\" >>{folder}/calls\n"
            ),
        );
        fs::set_permissions(systemctl, PermissionsExt::from_mode(0o755)).unwrap();
        play
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// The calls of systemctl since the last time.
    fn calls(&self) -> Vec<String> {
        let calls = fs::read_to_string(self.path("calls")).unwrap_or_default();
        self.write("calls", "");
        calls.lines().map(str::to_owned).collect()
    }

    /// Runs one of ansible's programs on the playbook, away from the user's own settings.
    fn run(&self, program: &str, arguments: &[&str]) -> Outcome {
        let mut path: OsString = self.path("bin").into();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        let settings = self.path("ansible.cfg");
        // For local tasks ansible takes the home folder from the system and not from HOME.
        let temporary = self.path("tmp");
        let environment: [(&str, &OsStr); 10] = [
            // Pipelining saves two of three processes, because a play is slow.
            ("ANSIBLE_PIPELINING", "1".as_ref()),
            ("PATH", &path),
            ("ANSIBLE_HOME", self.folder.path().as_os_str()),
            ("ANSIBLE_LOCAL_TEMP", temporary.as_os_str()),
            ("ANSIBLE_REMOTE_TMP", temporary.as_os_str()),
            ("HOME", self.folder.path().as_os_str()),
            ("ANSIBLE_CONFIG", settings.as_os_str()),
            ("ANSIBLE_NOCOLOR", "1".as_ref()),
            ("NO_COLOR", "1".as_ref()),
            ("LC_ALL", "C.UTF-8".as_ref()),
        ];
        // ansible-lint silently ignores files that are not below its working folder.
        let folder = self.path("playbook");
        let inside = ["-c", "cd \"$0\" && exec \"$@\"", folder.to_str().unwrap(), program];
        let all = inside.iter().chain(arguments).chain(&["main-playbook.yml"]);
        let all: Vec<&OsStr> = all.map(AsRef::as_ref).collect();
        let run = tempfile::tempdir().unwrap();
        let mut program = Program::start("sh", &all, &environment, run.path(), "ansible");
        let end = Instant::now() + DEADLINE;
        while program.runs() {
            assert!(Instant::now() < end, "waited in vain for ansible {arguments:?}");
            thread::sleep(Duration::from_millis(50));
        }
        let code = program.wait().code();
        Outcome { code, stdout: program.output(), stderr: program.log() }
    }

    /// Plays the whole role below the root; a later file of variables overrides an earlier one.
    fn play(&self, program: &str, variables: &[&str]) -> Outcome {
        let usual = json!({
            "ansible_become": false,
            "ansible_python_interpreter": "{{ ansible_playbook_python }}",
            "haproxystats_root": self.path("root"),
            "haproxystats_manage_services": true,
            "haproxystats_install": "files",
            "haproxystats_programs_from": self.path("programs"),
            "haproxystats_units_from": project("contrib/systemd"),
        });
        let inventory = self.path("inventory");
        let mut arguments = vec!["-i".to_owned(), inventory.to_str().unwrap().to_owned()];
        for (number, text) in [&usual.to_string()[..]].iter().chain(variables).enumerate() {
            let file = self.write(&format!("variables-{number}.yml"), text);
            arguments.extend(["-e".to_owned(), format!("@{}", file.display())]);
        }
        self.run(program, &arguments.iter().map(String::as_str).collect::<Vec<_>>())
    }
}

/// Expects a successful play, and returns the number of changes.
fn changed(outcome: &Outcome) -> u32 {
    assert_eq!(outcome.code, Some(0), "{}{}", outcome.stdout, outcome.stderr);
    let (_, recap) = outcome.stdout.split_once("PLAY RECAP").unwrap();
    let (_, rest) = recap.split_once("changed=").unwrap();
    rest.split(' ').next().unwrap().parse().unwrap()
}

/// Every option and every kind of group, as variables. They are written as text, because the order
/// of groups counts and a map would change it.
fn whole_configuration(values: &[(&KnownOption, Value)]) -> String {
    let mut text = "haproxystats_config:\n".to_owned();
    let mut section = "";
    for (option, value) in values {
        if option.section != section {
            section = option.section;
            writeln!(text, "  {section}:").unwrap();
        }
        let value = match value {
            Value::Flag(flag) => json!(flag).to_string(),
            Value::Number(text) => text.clone(),
            Value::Text(text) => json!(text).to_string(),
            Value::List(items) => json!(items).to_string(),
        };
        writeln!(text, "    {}: {value}", option.name).unwrap();
    }
    for section in config::GROUP_SECTIONS {
        writeln!(text, "  {section}:").unwrap();
        for (name, regex) in GROUPS {
            writeln!(text, "    {name}: {}", json!(regex)).unwrap();
        }
    }
    text
}

#[test]
fn ansible_and_ansible_lint_take_the_playbook() {
    let Some([ansible, lint]) =
        installed("the ansible playbook", ["ansible-playbook", "ansible-lint"])
    else {
        return;
    };
    let play = Play::new();
    let syntax = ["--syntax-check", "-i", "hosts"];
    let outcome = play.run(&ansible, &syntax);
    assert_eq!(outcome.code, Some(0), "{}{}", outcome.stdout, outcome.stderr);
    let strict = ["--offline", "--strict", "--profile", "production"];
    let outcome = play.run(&lint, &strict);
    assert_eq!(outcome.code, Some(0), "{}{}", outcome.stdout, outcome.stderr);

    let tasks = "playbook/roles/haproxystats/tasks/main.yml";
    let whole = play.read(tasks);
    play.write(tasks, &format!("{whole}\n- name: Look around\n  ansible.builtin.command: ls\n"));
    assert_eq!(play.run(&lint, &strict).code, Some(2), "lint takes a command that always changes");
    play.write(tasks, &format!("{whole}\n- name: \"Look\n"));
    assert_ne!(play.run(&ansible, &syntax).code, Some(0), "a broken task is taken");
}

#[test]
fn ansible_brings_every_value_to_the_programs_and_then_changes_nothing() {
    let Some([ansible, analyze]) =
        installed("a play for real", ["ansible-playbook", "systemd-analyze"])
    else {
        return;
    };
    let play = Play::new();
    let values = other_values(play.folder.path());
    let variables = whole_configuration(&values);

    assert_ne!(changed(&play.play(&ansible, &[&variables])), 0);
    let file = play.path("root/etc/haproxystats.conf");
    let text = play.read("root/etc/haproxystats.conf");
    assert_eq!(loaded(&file), expected(&values), "{text}");
    for section in config::GROUP_SECTIONS {
        assert_eq!(names_in(&text, section), ["web", "api"]);
    }
    let calls = play.calls();
    for call in ["daemon-reload", "start haproxystats-pull", "enable haproxystats-process"] {
        assert!(calls.iter().any(|made| made == call), "{call}: {calls:?}");
    }
    judge_units(&play, &analyze);

    assert_eq!(changed(&play.play(&ansible, &[&variables])), 0, "a second run changes something");
    assert_eq!(play.calls(), [""; 0]);
}

/// systemd accepts the units with the drop-ins, and refuses a drop-in with one wrong word.
fn judge_units(play: &Play, analyze: &str) {
    for program in ["haproxystats-pull", "haproxystats-process"] {
        let name = format!("root/etc/systemd/system/{program}.service");
        let unit = play.path(&name);
        let text = fs::read_to_string(&unit).unwrap();
        // The programs are below the test's root and not installed on this machine.
        let there = format!("ExecStart={}/", play.path("root").display());
        fs::write(&unit, text.replace("ExecStart=/", &there)).unwrap();
        let drop_in = format!("{name}.d/ansible.conf");
        let right = play.read(&drop_in);
        play.write(&drop_in, &right.replace("ExecStart=/", &there));
        let verify = || run(analyze, &["verify", "--recursive-errors=no", unit.to_str().unwrap()]);
        let outcome = verify();
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        assert!(!outcome.stderr.contains("ansible.conf"), "{}", outcome.stderr);
        play.write(&drop_in, &right.replace("CPUAffinity=", "CPUAffinity=x"));
        assert_ne!(verify().stderr, outcome.stderr, "a broken drop-in of {program} is taken");
        play.write(&drop_in, &right);
        fs::write(&unit, text).unwrap();
    }
}

#[test]
fn ansible_restarts_what_has_changed_and_keeps_a_bad_file_out() {
    let Some([ansible]) = installed("changes by ansible", ["ansible-playbook"]) else { return };
    let play = Play::new();
    let good = "
haproxystats_programs: [process]
haproxystats_cpus: { process: [0] }
haproxystats_config:
  pull: { socket-dir: /run/haproxy }
  graphite: { port: 2003, connect-timeout: 40 }
  local-store: {}
  frontend-groups: { web: ^web$ }
haproxystats_config_host:
  paths: { base-dir: /srv/stats }
  graphite: { port: 2004 }
  local-store: null
  frontend-groups: null
";
    assert_ne!(changed(&play.play(&ansible, &[good])), 0);
    let text = play.read("root/etc/haproxystats.conf");
    let wanted = "[pull]\nsocket-dir = /run/haproxy\n\n\
                  [graphite]\nport = 2004\nconnect-timeout = 40\n\n\
                  [paths]\nbase-dir = /srv/stats\n";
    let (_, written) = text.split_once("\n\n").unwrap();
    assert_eq!(written, wanted);
    assert!(play.path("root/srv/stats").is_dir(), "the state directory is not made");
    let drop_in = play.read("root/etc/systemd/system/haproxystats-process.service.d/ansible.conf");
    for line in ["CPUAffinity=0", "TimeoutStopSec=57s", "ReadWritePaths=/srv/stats"] {
        assert!(drop_in.lines().any(|present| present == line), "{line}:\n{drop_in}");
    }
    assert!(!play.path("root/usr/bin/haproxystats-pull").exists(), "pull was not asked for");
    play.calls();

    // A value out of range, and a name for which the program would only warn.
    for (option, message) in [("port: 70000", "out of range"), ("prot: 2003", "did you mean port?")]
    {
        let bad = good.replace("port: 2004", option);
        let outcome = play.play(&ansible, &[&bad]);
        assert_eq!(outcome.code, Some(2), "{}{}", outcome.stdout, outcome.stderr);
        assert!(outcome.stdout.contains(message), "{}", outcome.stdout);
        assert_eq!(play.read("root/etc/haproxystats.conf"), text);
        assert_eq!(play.calls(), [""; 0]);
    }

    // Every option as the defaults of the role show it: an option with a default keeps it.
    let mut every = every_option();
    for option in config::known_options().iter().filter(|option| !goes_with_all(option)) {
        let (before, line) = every.split_once(&format!("\n    {}: ", option.name)).unwrap();
        every = format!("{before}{}", &line[line.find('\n').unwrap()..]);
    }
    let every = format!("{every}haproxystats_config_host: {{}}\n");
    assert_ne!(changed(&play.play(&ansible, &[good, &every])), 0);
    let loaded = loaded(&play.path("root/etc/haproxystats.conf"));
    for option in config::known_options().iter().filter(|option| goes_with_all(option)) {
        let value = &loaded[&(option.section.to_owned(), option.name.to_owned())];
        if let Some(default) = option.default {
            let default = default.replace("${paths:base-dir}", "/var/lib/haproxystats");
            assert_eq!(value, &default, "[{}] {}", option.section, option.name);
        }
    }
    assert_eq!(play.calls(), ["daemon-reload", "restart haproxystats-process"]);
}
