//! Goldens: our lines for real dumps of each HAProxy version, from 62 columns (1.5) to 213 (3.4).
//!
//! A case is a directory in `tests/data/golden` with `haproxystats.conf` and the sorted
//! `expected.graphite`; its name begins with the name of its dumps. `UPDATE_GOLDEN=1` writes the
//! current lines: read the difference before you commit it.

use std::fs;

use crate::scene::Scene;
use crate::support::{data, wait_until};

/// The dumps that we have.
pub(crate) const DUMPS: [&str; 5] =
    ["haproxy-1.5.0", "haproxy-2.2.9", "haproxy-2.6.12", "haproxy-3.0.11", "haproxy-3.4.7"];

/// Puts dumps into the spool as a snapshot.
pub(crate) fn publish(scene: &Scene, dumps: &str, second: u64) {
    let aside = scene.path().join("aside");
    fs::create_dir(&aside).unwrap();
    for entry in fs::read_dir(data(&format!("dumps/{dumps}"))).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        for (dump, answer) in [(".show_info.txt", "_info"), (".show_stat.txt", "_stat")] {
            if let Some(endpoint) = name.strip_suffix(dump) {
                fs::copy(&path, aside.join(format!("{endpoint}{answer}"))).unwrap();
            }
        }
    }
    fs::rename(aside, scene.incoming().join(second.to_string())).unwrap();
}

fn run_case(case: &str, dumps: &str) {
    let scene = Scene::new();
    publish(&scene, dumps, 1_700_000_000);
    let directory = data(&format!("golden/{case}"));
    let config = fs::read_to_string(directory.join("haproxystats.conf")).unwrap();
    let config = scene.write(
        "haproxystats.conf",
        &format!("{config}\n[paths]\nbase-dir = {}\n", scene.path().display()),
    );

    let process = scene.process(&config);
    let stored = scene.path().join("local-store/1700000000/stats");
    wait_until("an empty spool", || scene.waiting().is_empty() && stored.exists());
    process.finish();
    let text = fs::read_to_string(stored).unwrap();
    let mut lines: Vec<_> = text.lines().filter(|line| !line.contains("WallClockTime")).collect();
    lines.sort_unstable();
    let text = lines.join("\n") + "\n";

    let golden = directory.join("expected.graphite");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(golden, text).unwrap();
        return;
    }
    let expected = fs::read_to_string(golden).unwrap();
    for (number, (line, expected)) in text.lines().zip(expected.lines()).enumerate() {
        assert_eq!(line, expected, "line {} of {case}; UPDATE_GOLDEN=1 renews", number + 1);
    }
    assert_eq!(text.lines().count(), expected.lines().count(), "lines of {case}");
}

macro_rules! cases {
    ($($name:ident = $case:literal, $dumps:literal;)*) => {
        $(#[test] fn $name() { run_case($case, $dumps); })*
    };
}

cases! {
    haproxy_1_5 = "haproxy-1.5.0-default", "haproxy-1.5.0";
    haproxy_2_2 = "haproxy-2.2.9-default", "haproxy-2.2.9";
    haproxy_2_6 = "haproxy-2.6.12-default", "haproxy-2.6.12";
    haproxy_3_0 = "haproxy-3.0.11-default", "haproxy-3.0.11";
    haproxy_3_4 = "haproxy-3.4.7-default", "haproxy-3.4.7";
    haproxy_2_2_everything = "haproxy-2.2.9-everything", "haproxy-2.2.9";
    haproxy_3_4_everything = "haproxy-3.4.7-everything", "haproxy-3.4.7";
}
