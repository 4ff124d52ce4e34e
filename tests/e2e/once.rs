//! `haproxystats-pull --once` and `--check` as a user runs them: with the real HAProxy, beside a
//! running service, with an exit status, a path or a table on standard output, and no leftovers.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use testbed::names;

use crate::haproxy::{Counters, HaProxy, ask};
use crate::pull::{Answer, serve};
use crate::scene::{Scene, visible};
use crate::support::{Outcome, PROCESS, PULL, Program, installed, run, wait_until};

/// A `pull-timeout` that only a hang reaches.
const FAR: f32 = 60.0;

/// A configuration for both programs, with the sockets in `sockets`.
fn config(scene: &Scene, pull_timeout: f32, options: &str) -> PathBuf {
    let base = scene.path().display();
    fs::create_dir_all(scene.path().join("sockets")).unwrap();
    let text = format!(
        "[pull]\nsocket-dir = {base}/sockets\npull-interval = 1\n\
         pull-timeout = {pull_timeout}\n\
         dst-dir = {base}/incoming\ntmp-dst-dir = {base}/incoming.tmp\n{options}\
         [graphite]\nserver = 127.0.0.1\nnamespace = e2e\nprefix-hostname = false\n"
    );
    scene.write("haproxystats.conf", &text)
}

fn once(config: &Path, directory: &Path) -> Outcome {
    let [config, directory] = [config, directory].map(|path| path.to_str().unwrap());
    run(PULL, &["-f", config, "--once", directory])
}

fn check(config: &Path) -> Outcome {
    run(PULL, &["-f", config.to_str().unwrap(), "--check"])
}

/// The path that `--once` has printed.
fn printed(outcome: &Outcome) -> PathBuf {
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    outcome.stdout.strip_suffix('\n').unwrap().into()
}

/// The lines of a table as its cells, without the headings.
fn rows(outcome: &Outcome) -> Vec<Vec<&str>> {
    let mut lines = outcome.stdout.lines();
    let headings = "address kind version process ms bytes verdict reason and remedy";
    let first: Vec<&str> = lines.next().unwrap().split_whitespace().collect();
    assert_eq!(first.join(" "), headings);
    lines
        .map(|line| line.split("  ").map(str::trim).filter(|it| !it.is_empty()).collect())
        .collect()
}

/// The values in Graphite's lines that HAProxy's own counters have too.
fn values(lines: &str, counters: &Counters) -> Counters {
    let points = lines.lines().filter_map(|line| {
        let mut words = line.strip_prefix("e2e.haproxy.")?.split(' ');
        let (path, value) = (words.next()?.to_owned(), words.next()?.parse().ok()?);
        counters.contains_key(&path).then_some((path, value))
    });
    points.collect::<BTreeMap<_, _>>()
}

#[test]
fn a_snapshot_of_a_real_haproxy_is_rendered_exactly_beside_a_running_service() {
    let test = "a snapshot of a real HAProxy";
    let Some([program]) = installed(test, ["haproxy"]) else { return };
    let scene = Scene::without_spool();
    let haproxy = HaProxy::start(&program, scene.path());
    let config = config(&scene, FAR, "");
    let service = scene.pull(&config);
    wait_until("a snapshot of the service", || !visible(&scene.incoming()).is_empty());
    haproxy.traffic(70);
    let counters = haproxy.counters();
    let directory = scene.path().join("looks");
    let outcome = once(&config, &directory);
    let snapshot = printed(&outcome);
    assert_eq!(snapshot.parent(), Some(directory.as_path()));
    assert_eq!(names(&directory).len(), 1, "{:?}", names(&directory));
    let before = visible(&scene.incoming()).len();
    wait_until("the service goes on", || visible(&scene.incoming()).len() > before);
    let log = service.log();
    service.finish();
    assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");

    let (file, path) = (config.to_str().unwrap(), snapshot.to_str().unwrap());
    let rendered = run(PROCESS, &["-f", file, "--render", "graphite", path]);
    assert_eq!(rendered.code, Some(0), "{}", rendered.stderr);
    assert!(counters.len() > 50, "{counters:?}");
    assert_eq!(values(&rendered.stdout, &counters), counters);
}

#[test]
fn the_table_names_version_and_process_of_each_real_haproxy() {
    let Some([program]) = installed("the table of --check", ["haproxy"]) else { return };
    let scene = Scene::without_spool();
    let haproxy = HaProxy::start(&program, scene.path());
    let config = config(&scene, FAR, "");
    let before = names(scene.path());
    let outcome = check(&config);
    assert_eq!((outcome.code, &*outcome.stderr), (Some(0), ""), "{}", outcome.stdout);
    let rows = rows(&outcome);
    assert_eq!(rows.len(), 4);
    for (row, name) in rows.iter().zip(names(&haproxy.sockets_folder())) {
        let socket = haproxy.sockets_folder().join(name);
        let info = ask(&socket, "show info").unwrap();
        let value = |key: &str| info.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        let address = format!("unix://{}", socket.display());
        assert_eq!(row[..4], [&*address, "haproxy", value("Version: "), value("Pid: ")]);
        assert!(row[4].parse::<f64>().unwrap() > 0.0, "{row:?}");
        let stat = ask(&socket, "show stat").unwrap();
        // The uptime and other figures may have a digit more by now.
        let bytes: usize = row[5].parse().unwrap();
        assert!(bytes.abs_diff(info.len() + stat.len()) < 200, "{row:?}");
        assert_eq!(row[6..], ["ok"]);
    }
    assert_eq!(names(scene.path()), before, "a check writes nothing");
    drop(haproxy);
}

#[test]
fn an_endpoint_that_fails_is_status_1_of_a_check_and_the_reason_has_a_remedy() {
    let scene = Scene::without_spool();
    let config = config(&scene, FAR, "servers = unix://SOCKETS/gone.sock\nallow-partial = true\n");
    let text = fs::read_to_string(&config).unwrap();
    let sockets = scene.path().join("sockets");
    fs::write(&config, text.replace("SOCKETS", sockets.to_str().unwrap())).unwrap();
    serve(&sockets.join("good.sock"), Answer::Whole);
    let outcome = check(&config);
    assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
    let rows = rows(&outcome);
    assert_eq!(rows[0][1..4], ["haproxy", "-", "-"]);
    let reason = "cannot connect: No such file or directory (os error 2); check that it is there";
    assert_eq!(rows[0][5..], ["0", "failed", reason]);
    assert_eq!(rows[1][6..], ["ok"]);

    fs::remove_file(sockets.join("good.sock")).unwrap();
    let text = text.replace("servers = unix://SOCKETS/gone.sock\n", "");
    fs::write(&config, text).unwrap();
    let empty = check(&config);
    assert_eq!((empty.code, &*empty.stdout), (Some(1), ""));
    assert!(empty.stderr.contains("no stats socket there"), "{}", empty.stderr);
}

/// A service that logs errors alone does not keep a command from telling its reason.
#[test]
fn nothing_to_publish_is_status_2_and_a_bad_directory_is_told_apart() {
    let scene = Scene::without_spool();
    let config = config(&scene, 0.2, "loglevel = critical\n");
    let sockets = scene.path().join("sockets");
    let directory = scene.path().join("looks");
    let refused = |directory: &Path, code: i32, reason: &str| {
        let outcome = once(&config, directory);
        assert_eq!((outcome.code, &*outcome.stdout), (Some(code), ""), "{}", outcome.stderr);
        assert!(outcome.stderr.contains(reason), "{}", outcome.stderr);
    };
    refused(&directory, 2, "no stats socket there");
    serve(&sockets.join("half.sock"), Answer::Half);
    refused(&directory, 2, "no answer endpoint=unix://");
    assert!(!directory.exists());
    refused(&scene.path().join("far/looks"), 2, "make its parent first");
    refused(&scene.incoming(), 1, "lies in dst-dir");
    refused(&scene.path().join("incoming.tmp/looks"), 1, "lies in tmp-dst-dir");
    assert_eq!(names(scene.path()), ["haproxystats.conf", "sockets"]);
}

#[test]
fn a_command_line_without_the_directory_or_with_both_commands_is_refused() {
    for arguments in [&["--once"][..], &["--once", "d", "--check"], &["--check", "-P"]] {
        let outcome = run(PULL, arguments);
        assert_eq!((outcome.code, &*outcome.stdout), (Some(1), ""), "{arguments:?}");
        assert!(outcome.stderr.contains("Usage:"), "{arguments:?}: {}", outcome.stderr);
    }
}

#[test]
fn a_signal_in_the_middle_is_status_2_and_leaves_nothing() {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        for answer in [Answer::Nothing, Answer::Half] {
            let scene = Scene::without_spool();
            let config = config(&scene, FAR, "");
            serve(&scene.path().join("sockets/good.sock"), Answer::Whole);
            serve(&scene.path().join("sockets/stalled.sock"), answer);
            let directory = scene.path().join("looks");
            let arguments =
                [OsStr::new("-f"), config.as_os_str(), "--once".as_ref(), directory.as_os_str()];
            let mut pull = Program::start(PULL, &arguments, &[], scene.path(), "once");
            let staged = directory.join(".haproxystats-once");
            wait_until("the staged answers", || {
                let mut snapshots = fs::read_dir(&staged).into_iter().flatten().flatten();
                let named = snapshots.find(|it| !it.file_name().to_string_lossy().starts_with('.'));
                named.is_some_and(|snapshot| names(&snapshot.path()).len() >= 3)
            });
            pull.signal(signal);
            assert_eq!(pull.wait().code(), Some(2), "{}", pull.log());
            assert_eq!(pull.output(), "");
            let reason = "before one was published in";
            assert!(pull.log().contains(reason), "{}", pull.log());
            assert!(!directory.exists(), "{:?}", names(&directory));
        }
    }
}
