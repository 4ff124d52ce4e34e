//! The notifications of both programs to a service manager (sd_notify): ready, alive, status,
//! stopping.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;

use crate::scene::Scene;
use crate::sink::{Manner, Sink};
use crate::support::{PROCESS, PULL, Program, wait_until};

fn tells_its_life(program: &str, config: &Path, scene: &Scene) {
    let path = scene.path().join("notify.sock");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
    let environment: [(&str, &OsStr); 2] =
        [("NOTIFY_SOCKET", path.as_os_str()), ("WATCHDOG_USEC", "100000".as_ref())];
    let arguments = ["-f".as_ref(), config.as_os_str()];
    let mut running = Program::start(program, &arguments, &environment, scene.path(), "served");

    let mut lines = BTreeSet::new();
    let mut hear = |wanted: &str| {
        wait_until(wanted, || {
            let mut datagram = [0; 4096];
            while let Ok(length) = socket.recv(&mut datagram) {
                let text = std::str::from_utf8(&datagram[..length]).unwrap();
                lines.extend(text.lines().map(str::to_owned));
            }
            lines.iter().any(|line| line.starts_with(wanted))
        });
    };
    hear("READY=1");
    hear("STATUS=");
    hear("WATCHDOG=1");
    running.end_with(Signal::TERM);
    hear("STOPPING=1");
}

#[test]
fn process_tells_its_life() {
    let (scene, sink) = (Scene::new(), Sink::start(Manner::Whole));
    tells_its_life(PROCESS, &scene.config(sink.port, 1, ""), &scene);
}

#[test]
fn pull_tells_its_life() {
    let scene = Scene::new();
    let text = format!(
        "[pull]\nservers = unix://{0}/nobody.sock\ndst-dir = {0}/incoming\n\
         tmp-dst-dir = {0}/tmp\nretries = 0\n",
        scene.path().display()
    );
    tells_its_life(PULL, &scene.write("pull.conf", &text), &scene);
}
