//! The examples that `cargo xtask demo` uses, run with both programs as the demo does on a machine
//! without HAProxy.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use crate::scene::Scene;
use crate::support::{Program, data, skip, wait_until};

/// Cargo puts examples beside the folder of this test.
fn built(name: &str) -> Option<String> {
    let own = std::env::current_exe().unwrap();
    let path: PathBuf = own.ancestors().nth(2).unwrap().join("examples").join(name);
    path.is_file().then(|| path.to_string_lossy().into_owned())
}

#[test]
fn recorded_dumps_reach_the_example_receiver() {
    let (Some(fake_haproxy), Some(receiver)) = (built("fake_haproxy"), built("graphite_receiver"))
    else {
        return skip("demo: the examples are not built; a plain `cargo test` builds them");
    };
    let scene = Scene::new();
    let metrics = scene.path().join("graphite.txt");
    let arguments = ["127.0.0.1:0".as_ref(), "--write".as_ref(), metrics.as_os_str()];
    let receiver = Program::start(&receiver, &arguments, &[], scene.path(), "receiver");
    let mut port = String::new();
    wait_until("the receiver's port", || {
        let output = receiver.output();
        let Some((line, _)) = output.split_once('\n') else { return false };
        port = line.rsplit(':').next().unwrap().to_owned();
        true
    });
    let (dumps, sockets) = (data("dumps/haproxy-2.2.9"), scene.path().join("sockets"));
    let arguments = [dumps.as_os_str(), sockets.as_os_str()];
    let _haproxy = Program::start(&fake_haproxy, &arguments, &[], scene.path(), "haproxy");
    wait_until("four stats sockets", || {
        fs::read_dir(&sockets).is_ok_and(|entries| entries.count() == 4)
    });

    let base = scene.path().display();
    let text = format!(
        "[pull]\nsocket-dir = {base}/sockets\npull-interval = 1\ntimeout = 10\npull-timeout = 30\n\
         dst-dir = {base}/incoming\ntmp-dst-dir = {base}/incoming.tmp\n\
         [process]\nsrc-dir = {base}/incoming\nworkers = 1\n\
         [graphite]\nport = {port}\nwrite-timeout = 20\n"
    );
    let config = scene.write("haproxystats.conf", &text);
    let (process, pull) = (scene.process(&config), scene.pull(&config));
    // The second value differs, because the counters grow.
    let mut values = BTreeSet::new();
    wait_until("two values of a counter", || {
        let text = fs::read_to_string(&metrics).unwrap_or_default();
        let of_counter = |line: &&str| line.contains(".haproxy.frontend.www.req_tot ");
        values.extend(
            text.lines().filter(of_counter).map(|line| line.split(' ').nth(1).unwrap().to_owned()),
        );
        values.len() >= 2
    });
    pull.finish();
    scene.wait_for_empty_spool();
    process.finish();
    let malformed = receiver
        .output()
        .lines()
        .any(|line| !line.contains(" 0 malformed") && !line.starts_with("listening"));
    assert!(!malformed, "{}", receiver.output());
}
