//! From a real HAProxy of four processes to a real carbon, with a comparison of the values.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::carbon::Carbon;
use crate::haproxy::{Counters, HaProxy};
use crate::scene::Scene;
use crate::support::{installed, wait_until};

/// Whisper files have HAProxy's own counters, before and after a reload of one of its processes.
#[test]
fn whisper_files_hold_haproxys_own_counters() {
    let servers = ["haproxy", "carbon-cache", "whisper-fetch"];
    let Some([haproxy, carbon_cache, whisper_fetch]) = installed("real_servers", servers) else {
        return;
    };
    let scene = Scene::new();
    let carbon = Carbon::start(&carbon_cache, &whisper_fetch, scene.path());
    let haproxy = HaProxy::start(&haproxy, scene.path());
    let config = config(&scene, &haproxy, carbon.port);
    let mut process = scene.process(&config);
    let mut pull = scene.pull(&config);

    haproxy.traffic(140);
    let before = haproxy.counters();
    assert_eq!(before["frontend.www.req_tot"], 100, "{before:?}");
    assert_eq!(before["frontend.shop.dreq"], 20, "{before:?}");
    assert_same(&haproxy, &carbon, &before);
    // The sum of four processes with `maxconn 500` each.
    assert_eq!(carbon.last("e2e.haproxy.daemon.Maxconn"), Some(2000.0));

    haproxy.reload();
    haproxy.traffic(70);
    let after = haproxy.counters();
    assert_ne!(before, after);
    let reloaded = now();
    wait_until("a snapshot taken after the reload", || {
        newest_snapshot(&scene).is_some_and(|timestamp| timestamp > reloaded)
    });
    assert_same(&haproxy, &carbon, &after);

    assert!(pull.runs() && process.runs());
    pull.finish();
    scene.wait_for_empty_spool();
    process.finish();
    let staged = fs::read_dir(scene.path().join("incoming.tmp")).unwrap().count();
    assert_eq!(staged, 0, "something is left where pull stages");
}

fn config(scene: &Scene, haproxy: &HaProxy, port: u16) -> std::path::PathBuf {
    let text = format!(
        "[DEFAULT]\nloglevel = debug\n[paths]\nbase-dir = {}\n\
         [pull]\nsocket-dir = {}\npull-interval = 1\ntimeout = 1\npull-timeout = 10\n\
         dst-dir = ${{paths:base-dir}}/incoming\ntmp-dst-dir = ${{paths:base-dir}}/incoming.tmp\n\
         [process]\nsrc-dir = ${{paths:base-dir}}/incoming\nworkers = 2\n\
         [graphite]\nserver = 127.0.0.1\nport = {port}\nnamespace = e2e\nprefix-hostname = false\n\
         write-timeout = 20\n\
         [local-store]\ndir = ${{paths:base-dir}}/local-store\n",
        scene.path().display(),
        haproxy.sockets_folder().display(),
    );
    scene.write("haproxystats.conf", &text)
}

/// Waits until whisper's newest points equal HAProxy's counters, which do not change without
/// requests.
fn assert_same(haproxy: &HaProxy, carbon: &Carbon, counters: &Counters) {
    #[expect(clippy::cast_precision_loss, reason = "counters of a test are small")]
    for (path, &value) in counters.iter().filter(|(path, _)| !path.starts_with("frontend.origin")) {
        let metric = format!("e2e.haproxy.{path}");
        wait_until(&format!("{metric} = {value} in whisper"), || {
            carbon.last(&metric) == Some(value as f64)
        });
    }
    assert_eq!(&haproxy.counters(), counters, "HAProxy's counters did not rest");
}

/// The newest directory in local-store, which has a directory for each processed snapshot.
fn newest_snapshot(scene: &Scene) -> Option<u64> {
    let entries = fs::read_dir(scene.path().join("local-store")).ok()?;
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).max()
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}
