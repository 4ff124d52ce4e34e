//! A running systemd in its own namespaces (`boot.sh`), controlled by nsenter.
//!
//! It needs root, a cgroup2 hierarchy and the right to mount; without these the test is skipped
//! with a note. The real machine does not change, and everything ends with the [`Machine`].

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::process::geteuid;
use tempfile::TempDir;

use super::{UNITS, contrib};
use crate::support::{
    Outcome, PROCESS, PULL, Program, installed, run, skip, skip_for_the_machine, wait_until,
};

/// The status of `boot.sh` if the machine does not allow it.
const NOT_ALLOWED: i32 = 77;

/// The units on which all others depend by default, and the target of the boot, with these lines.
const TARGETS: [(&str, &str); 6] = [
    ("sysinit.target", ""),
    ("basic.target", ""),
    ("shutdown.target", "DefaultDependencies=no\n"),
    ("network.target", ""),
    ("multi-user.target", ""),
    (
        "test.target",
        "Wants=haproxy.service haproxystats-pull.service haproxystats-process.service\n",
    ),
];

pub(super) struct Machine {
    /// Dropped first, because its end ends everything in the machine.
    running: Option<Program>,
    nsenter: String,
    init: i32,
    cgroup: PathBuf,
    _folder: TempDir,
}

impl Machine {
    /// Boots with our units, and with HAProxy; `config` is `/etc/haproxystats.conf`.
    pub(super) fn boot(test: &str, config: &str, haproxy: &str) -> Option<Self> {
        let tools = ["unshare", "nsenter", "systemctl", "systemd-sysusers", "haproxy"];
        let [_, nsenter, ..] = installed(test, tools)?;
        if !geteuid().is_root() {
            skip(&format!("{test}: only root may make namespaces and mount"));
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let Some(cgroup) = own_cgroup(folder.path()) else {
            skip_for_the_machine(&format!("{test}: there is no cgroup2 that can be written"));
            return None;
        };
        lay_out(folder.path(), config, haproxy);
        let script =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/contrib/systemd/boot.sh");
        let arguments = [folder.path().as_os_str(), cgroup.as_os_str()];
        let script = script.to_str().unwrap();
        let running = Program::start(script, &arguments, &[], folder.path(), "machine");
        let mut machine =
            Self { running: Some(running), nsenter, init: 0, cgroup, _folder: folder };
        machine.wait_for_systemd(test).then_some(machine)
    }

    fn wait_for_systemd(&mut self, test: &str) -> bool {
        let running = self.running.as_mut().unwrap();
        let mut ended = false;
        wait_until("a systemd that has booted", || {
            ended = !running.runs();
            self.init = running.children().first().copied().unwrap_or_default();
            let words = ["--target", &self.init.to_string(), "--mount", "--pid", "--root"];
            let words = [&words[..], &["systemctl", "is-system-running"]].concat();
            let state = || run(&self.nsenter, &words).stdout;
            ended || (self.init != 0 && ["running", "degraded"].contains(&state().trim_end()))
        });
        if ended {
            let (code, log) = (running.wait().code(), running.log());
            assert_eq!(code, Some(NOT_ALLOWED), "boot.sh has failed: {log}");
            skip_for_the_machine(&format!("{test}: the machine does not allow it: {log}"));
        }
        !ended
    }

    /// Runs a command in the machine.
    pub(super) fn run(&self, words: &[&str]) -> Outcome {
        let init = self.init.to_string();
        let enter = ["--target", &init, "--mount", "--pid", "--root"];
        run(&self.nsenter, &[&enter[..], words].concat())
    }

    /// Runs systemctl, which must succeed.
    pub(super) fn systemctl(&self, words: &[&str]) {
        let outcome = self.run(&[&["systemctl"], words].concat());
        assert_eq!(outcome.code, Some(0), "systemctl {words:?}: {}", outcome.stderr);
    }

    /// A property of a unit.
    pub(super) fn show(&self, unit: &str, property: &str) -> String {
        let outcome = self.run(&["systemctl", "show", "--value", "--property", property, unit]);
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        outcome.stdout.trim_end().to_owned()
    }

    pub(super) fn wait_for(&self, unit: &str, property: &str, value: &str) {
        let what = format!("{property}={value} of {unit}: {}", self.log(unit));
        wait_until(&what, || self.show(unit, property) == value);
    }

    /// The standard error of a unit so far.
    pub(super) fn log(&self, unit: &str) -> String {
        self.run(&["cat", &format!("/run/{unit}.log")]).stdout
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if thread::panicking() && self.init != 0 {
            for unit in UNITS {
                eprintln!("--- the log of {unit}:\n{}", self.log(unit));
            }
        }
        self.running = None;
        // The kernel needs some time to end a whole namespace and to empty the groups.
        for _ in 0..1000 {
            remove_groups(&self.cgroup);
            if !self.cgroup.exists() {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        eprintln!("{} cannot be removed", self.cgroup.display());
    }
}

/// A cgroup for the machine below our own cgroup, so that it cannot touch another one.
fn own_cgroup(folder: &Path) -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let mut mounts = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let hierarchy = mounts.find(|words| words.get(2) == Some(&"cgroup2"))?[1].to_owned();
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let ours = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    // The name of a temporary folder is unique.
    let name = format!("haproxystats-test{}", folder.file_name()?.to_str()?);
    let cgroup = Path::new(&hierarchy).join(ours).join(name);
    fs::create_dir(&cgroup).ok()?;
    Some(cgroup)
}

fn remove_groups(group: &Path) {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            remove_groups(&entry.path());
        }
    }
    // A group that is in use stays, which the caller checks.
    let _ = fs::remove_dir(group);
}

/// The files of the machine, in the places of `boot.sh`.
fn lay_out(folder: &Path, config: &str, haproxy: &str) {
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    for name in ["root", "layers", "bin", "checks", "units"] {
        fs::create_dir(folder.join(name)).unwrap();
    }
    write("etc/haproxystats.conf", config);
    write("etc/haproxy-test.cfg", haproxy);
    for kind in ["sysusers", "tmpfiles"] {
        let text = fs::read_to_string(contrib(&format!("haproxystats.{kind}"))).unwrap();
        write(&format!("etc/{kind}.d/haproxystats.conf"), &text);
    }
    for (name, text) in TARGETS {
        write(&format!("units/{name}"), &format!("[Unit]\nDescription={name}\n{text}"));
    }
    let haproxy = "[Service]\nExecStart=/usr/sbin/haproxy -db -f /etc/haproxy-test.cfg\n";
    write("units/haproxy.service", haproxy);
    for unit in UNITS {
        fs::copy(contrib(unit), folder.join("units").join(unit)).unwrap();
        // Only the log, because the machine has no journal, and the pause before a restart differ
        // from the shipped unit.
        let text = format!("[Service]\nStandardError=append:/run/{unit}.log\nRestartSec=100ms\n");
        write(&format!("units/{unit}.d/test.conf"), &text);
    }
    for program in [PULL, PROCESS] {
        let name = Path::new(program).file_name().unwrap();
        std::os::unix::fs::symlink(program, folder.join("bin").join(name)).unwrap();
    }
    for check in fs::read_dir(contrib("../nagios")).unwrap() {
        let check = check.unwrap();
        fs::copy(check.path(), folder.join("checks").join(check.file_name())).unwrap();
    }
}
