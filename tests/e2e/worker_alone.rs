//! A worker without its parent, with the orders that the example `worker_orders` prints, as
//! `cargo xtask instructions` runs it.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::scene::Scene;
use crate::support::{PROCESS, run, skip};

const TIMESTAMP: u64 = 1_700_000_000;

#[test]
fn it_does_its_orders_and_ends_with_them() {
    // Cargo puts examples beside the folder of this test.
    let own = std::env::current_exe().unwrap();
    let example: PathBuf = own.ancestors().nth(2).unwrap().join("examples/worker_orders");
    if !example.is_file() {
        return skip("worker alone: the examples are not built; a plain `cargo test` builds them");
    }
    let scene = Scene::new();
    scene.publish(TIMESTAMP);
    let base = scene.path().display();
    let text = format!(
        "[process]\nsrc-dir = {base}/incoming\n[graphite]\nenabled = false\n\
         [local-store]\ndir = {base}/store\n"
    );
    let config = scene.write("haproxystats.conf", &text);
    let snapshot = TIMESTAMP.to_string();
    let example = example.to_str().unwrap();
    let printed = run(example, &[config.to_str().unwrap(), &snapshot, &snapshot]);
    assert_eq!(printed.code, Some(0), "{}", printed.stderr);
    let orders = scene.write("orders", &printed.stdout);

    let worker = Command::new(PROCESS)
        .env("HAPROXYSTATS_WORKER_OF", std::process::id().to_string())
        .env("POLARS_MAX_THREADS", "1")
        .stdin(File::open(orders).unwrap())
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    let replies = String::from_utf8(worker.stdout).unwrap();
    assert!(worker.status.success(), "{:?} {replies}", worker.status);
    assert_eq!(replies.matches(r#""Finished":{"outcome":"Delivered""#).count(), 2, "{replies}");
    let lines = fs::read_to_string(scene.path().join("store").join(&snapshot).join("stats"));
    assert!(lines.unwrap().lines().all(|line| line.ends_with(&snapshot)));
    // The worker removes nothing, because the parent does that.
    assert_eq!(scene.waiting().len(), 1);
}

#[test]
fn its_example_refuses_what_is_no_configuration() {
    let own = std::env::current_exe().unwrap();
    let example: PathBuf = own.ancestors().nth(2).unwrap().join("examples/worker_orders");
    if !example.is_file() {
        return skip("worker orders: the examples are not built; a plain `cargo test` builds them");
    }
    let scene = Scene::new();
    let config = scene.write("haproxystats.conf", "[process]\nworkers = none\n");
    let example = example.to_str().unwrap();
    for words in [&[config.to_str().unwrap(), "1"][..], &[config.to_str().unwrap()], &[]] {
        let outcome = run(example, words);
        assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(2), ""), "{}", outcome.stderr);
        assert!(!outcome.stderr.is_empty());
    }
}
