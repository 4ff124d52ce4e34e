//! docs/quick-start.md in a folder, from the first command to the last, run by `sh`: HAProxy,
//! Graphite, both programs, the graph, Graphite down and up again, the end.
//!
//! The page has fixed ports and release builds; the test has free ports and its own build, installs
//! nothing, and sends requests without a pause. Everything else is run as it is written.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::Signal;

use crate::contrib::page::code;
use crate::scene::Scene;
use crate::support::{PULL, Program, free_ports, installed, send, wait_until};

const PAGE: &str = "docs/quick-start.md";
const INSTALLS: &str = "apt-get install haproxy graphite-carbon graphite-web curl\n";
const PROGRAMS: &str = "PATH=$PWD/target/release:$PATH\n";

/// The processes that the page starts and a failed test would leave behind. Each has a file with
/// its pid below the folder that the page makes.
struct Leftovers(PathBuf);

impl Drop for Leftovers {
    fn drop(&mut self) {
        let below = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten();
        for file in below(&self.0).flat_map(|made| below(&made.path())) {
            let path = file.path();
            if path.extension().is_none_or(|extension| extension != "pid") {
                continue;
            }
            let pid = fs::read_to_string(&path).unwrap_or_default().trim().parse::<i32>();
            let Ok(pid) = pid else { continue };
            // The pid of a process that has ended may be that of another process by now.
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            if String::from_utf8_lossy(&environment).contains(self.0.to_str().unwrap()) {
                send(pid, Signal::KILL);
            }
        }
    }
}

/// The page's commands with the test's ports and programs, and a line of output for each step.
fn script() -> String {
    let text = code(PAGE, "## In a folder");
    assert!(text.contains(INSTALLS) && text.contains(PROGRAMS), "the page begins otherwise");
    let programs = Path::new(PULL).parent().unwrap().display();
    let mut text = text
        .replace(INSTALLS, "")
        .replace(PROGRAMS, &format!("PATH={programs}:$PATH\n"))
        .replace("sleep 0.3", ":")
        // The last output may lack its newline.
        .replace("# step: ", "echo; echo step: ");
    let ports: [u16; 7] = free_ports();
    let names = ["WWW=8080", "SHOP=8081", "ORIGIN=8082", "CARBON=12003", "PICKLE=12004"];
    let names = names.into_iter().chain(["QUERY=17002", "WEB=8090"]);
    for (name, port) in names.zip(ports) {
        assert_eq!(text.matches(name).count(), 1, "{name}");
        let (variable, _) = name.split_once('=').unwrap();
        text = text.replace(name, &format!("{variable}={port}"));
    }
    text + "echo; echo step: done\n"
}

#[test]
fn every_command_of_the_quick_start_works() {
    let tools = ["haproxy", "carbon-cache", "graphite-manage", "curl"];
    if installed("quick_start::every_command_of_the_quick_start_works", tools).is_none() {
        return;
    }
    let scene = Scene::without_spool();
    let script = scene.write("script", &script());
    let made = scene.path().join("made");
    fs::create_dir(&made).unwrap();
    let _leftovers = Leftovers(made.clone());
    let words = ["-eu", script.to_str().unwrap()].map(AsRef::as_ref);
    let environment = [("TMPDIR", made.as_os_str())];
    let mut shell = Program::start("sh", &words, &environment, scene.path(), "quick-start");
    // Each step has the whole deadline.
    let text = fs::read_to_string(&script).unwrap();
    let steps: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("echo; echo ")).collect();
    assert_eq!(steps.len(), 7, "{steps:?}");
    for step in &steps {
        wait_until(step, || {
            let runs = shell.runs();
            let (output, log) = (shell.output(), shell.log());
            assert!(runs || output.contains("step: done"), "{output}\n{log}");
            output.lines().any(|line| line == *step)
        });
    }
    assert_eq!(shell.wait().code(), Some(0), "{}", shell.log());
    let output = shell.output();
    for expected in [
        "prefix-hostname = true\n",
        ".haproxy.frontend.www.req_tot,",
        "{\"success\": true}",
        "the receiver is down; batches go into the outbox until it is back",
        "the receiver is back; the outbox follows, oldest first",
    ] {
        assert!(output.contains(expected), "no {expected:?}:\n{output}\n{}", shell.log());
    }
    assert_eq!(fs::read_dir(&made).unwrap().count(), 0, "something is left behind");
}
