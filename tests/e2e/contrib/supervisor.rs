//! The configuration of `contrib/supervisor`, tried with the real supervisord: it starts both
//! programs, stores their logs, restarts a killed program, gives up after a bad configuration, and
//! ends both in order.
//!
//! A test changes only the paths of the programs, their configuration and the logs, and the user,
//! which is the user of the test.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use rustix::process::Signal;

use crate::contrib::container::{Household, workers};
use crate::scene::Scene;
use crate::support::{
    Outcome, PROCESS, PULL, Program, installed, lives, run, send, skip, wait_until,
};

const PROGRAMS: [&str; 2] = ["haproxystats-pull", "haproxystats-process"];

fn shipped() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/supervisor/haproxystats.conf");
    fs::read_to_string(path).unwrap()
}

/// supervisord in the foreground, and its control socket.
struct Supervisor {
    /// Dropped before the folder that its log is in.
    daemon: Household,
    scene: Scene,
    control: String,
    settings: String,
}

impl Supervisor {
    /// `changed` gets the shipped file with the test's paths, and may change it further.
    fn start(test: &str, options: &str, changed: impl Fn(String) -> String) -> Option<Self> {
        let [daemon, control] = installed(test, ["supervisord", "supervisorctl"])?;
        let scene = Scene::new();
        let folder = scene.path().to_str().unwrap().to_owned();
        scene.write(
            "haproxystats.conf",
            &format!(
                "[paths]\nbase-dir = {folder}\n\
                 [pull]\nservers = unix://{folder}/nobody.sock\nretries = 0\n\
                 dst-dir = {folder}/incoming\ntmp-dst-dir = {folder}/incoming.tmp\n{options}\n\
                 [process]\nsrc-dir = {folder}/incoming\nworkers = 2\n\
                 [graphite]\nenabled = false\n[local-store]\ndir = {folder}/local-store\n"
            ),
        );
        let programs = Path::new(PULL).parent().unwrap();
        assert_eq!(Some(programs), Path::new(PROCESS).parent());
        // Only root may change the user, and the shipped user may be missing on this machine.
        let mine = shipped()
            .replace("/usr/bin", programs.to_str().unwrap())
            .replace("/etc/haproxystats.conf", &format!("{folder}/haproxystats.conf"))
            .replace("/var/log/supervisor", &folder)
            .replace("user=haproxystats\n", "");
        scene.write("conf.d/haproxystats.conf", &changed(mine));
        let settings = format!(
            "[supervisord]\nnodaemon = true\nlogfile = {folder}/supervisord.log\n\
             pidfile = {folder}/supervisord.pid\nchildlogdir = {folder}\n\
             [unix_http_server]\nfile = {folder}/s.sock\n\
             [rpcinterface:supervisor]\n\
             supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface\n\
             [supervisorctl]\nserverurl = unix://{folder}/s.sock\n\
             [include]\nfiles = {folder}/conf.d/*.conf\n"
        );
        let settings = scene.write("supervisord.conf", &settings).to_str().unwrap().to_owned();
        let words: [&OsStr; 2] = ["-c".as_ref(), settings.as_ref()];
        let daemon = Program::start(&daemon, &words, &[], scene.path(), "supervisord");
        let daemon = Household(daemon);
        Some(Self { scene, daemon, control, settings })
    }

    fn control(&self, words: &[&str]) -> Outcome {
        run(&self.control, &[&["-c", &self.settings], words].concat())
    }

    fn wait_for(&self, program: &str, state: &str) {
        wait_until(&format!("{program} {state}"), || {
            self.control(&["status", program]).stdout.split_whitespace().nth(1) == Some(state)
        });
    }

    fn pid(&self, program: &str) -> i32 {
        self.control(&["pid", program]).stdout.trim().parse().unwrap()
    }

    fn log(&self, program: &str) -> String {
        fs::read_to_string(self.scene.path().join(format!("{program}.log"))).unwrap_or_default()
    }

    fn finish(mut self) {
        self.daemon.0.signal(Signal::TERM);
        assert_eq!(self.daemon.0.wait().code(), Some(0), "{}", self.daemon.0.output());
    }
}

#[test]
fn supervisord_starts_stops_logs_and_brings_back() {
    let Some(supervisor) = Supervisor::start("supervisord", "", |text| text) else { return };
    for program in PROGRAMS {
        supervisor.wait_for(program, "RUNNING");
        assert!(supervisor.log(program).contains(&format!("{program} starts")));
    }

    // Only the user and its group can use their files, as under systemd.
    for program in PROGRAMS {
        let status = format!("/proc/{}/status", supervisor.pid(program));
        let status = fs::read_to_string(status).unwrap();
        assert!(status.contains("\nUmask:\t0027\n"), "{program}: {status}");
    }

    // A killed program comes back, and the workers of the old parent do not stay.
    for program in PROGRAMS {
        let old = supervisor.pid(program);
        if program == PROGRAMS[1] {
            wait_until("its workers", || workers(old).len() == 2);
        }
        let ours = workers(old);
        send(old, Signal::KILL);
        wait_until("another one", || {
            let status = supervisor.control(&["status", program]).stdout;
            status.contains("RUNNING") && supervisor.pid(program) != old
        });
        wait_until("the end of its workers", || !ours.iter().copied().any(lives));
    }

    // supervisord stops the parent, which ends its workers: no process is killed or restarted.
    let process = supervisor.pid(PROGRAMS[1]);
    wait_until("its workers", || workers(process).len() == 2);
    let ours = workers(process);
    let stopped = supervisor.control(&["stop", "all"]);
    assert_eq!(stopped.code, Some(0), "{}", stopped.stdout);
    for program in PROGRAMS {
        supervisor.wait_for(program, "STOPPED");
    }
    assert!(![&[process], &ours[..]].concat().into_iter().any(lives));
    let log = fs::read_to_string(supervisor.scene.path().join("supervisord.log")).unwrap();
    for program in PROGRAMS {
        assert!(log.contains(&format!("stopped: {program} (exit status 0)")), "{log}");
    }
    assert_eq!(supervisor.control(&["start", "all"]).code, Some(0));
    for program in PROGRAMS {
        supervisor.wait_for(program, "RUNNING");
    }
    supervisor.finish();
}

/// The change for containers that the shipped file describes.
#[test]
fn in_a_container_the_logs_are_supervisords_standard_error() {
    let changed = |text: String| {
        let lines = text.lines().map(|line| match line.split_once('=') {
            Some(("stderr_logfile", _)) => "stderr_logfile=/dev/stderr".to_owned(),
            Some(("stderr_logfile_maxbytes", _)) => "stderr_logfile_maxbytes=0".to_owned(),
            _ => line.to_owned(),
        });
        lines.collect::<Vec<_>>().join("\n")
    };
    let Some(supervisor) = Supervisor::start("supervisord in a container", "", changed) else {
        return;
    };
    for program in PROGRAMS {
        let line = format!("{program} starts");
        wait_until(&line, || supervisor.daemon.0.log().contains(&line));
    }
    supervisor.finish();
}

#[test]
fn a_bad_configuration_is_given_up_soon() {
    let bad = "pull-interval = often";
    let Some(supervisor) = Supervisor::start("supervisord, bad file", bad, |text| text) else {
        return;
    };
    for program in PROGRAMS {
        supervisor.wait_for(program, "FATAL");
        let tries = supervisor.log(program).matches("pull-interval").count();
        assert_eq!(tries, 4, "the first, and startretries more:\n{}", supervisor.log(program));
    }
    supervisor.finish();
}

/// supervisord looks up the user, so it reports a typing error in that line.
#[test]
fn the_user_of_the_file_is_asked_for() {
    if !rustix::process::geteuid().is_root() {
        return skip("supervisord's user: only root may change users");
    }
    let Some([daemon]) = installed("supervisord's user", ["supervisord"]) else { return };
    let scene = Scene::new();
    let nobody = shipped().replace("user=haproxystats\n", "user=no-such-user-here\n");
    let text = format!("[supervisord]\nnodaemon = true\n{nobody}");
    let path = scene.write("supervisord.conf", &text);
    let outcome = run(&daemon, &["-c", path.to_str().unwrap()]);
    assert_ne!(outcome.code, Some(0));
    let output = outcome.stdout + &outcome.stderr;
    assert!(output.contains("no-such-user-here"), "{output}");
    assert_eq!(shipped().matches("\nuser=haproxystats\n").count(), PROGRAMS.len());
}
