//! Prints what haproxystats-process would tell a worker, so that a worker can be run by itself:
//! under valgrind, perf or a debugger, which do not follow the parent.
//!
//! The worker reads its orders from stdin and ends with them; it removes no snapshot, so that the
//! same one can be named many times. `cargo xtask instructions` drives its worker so.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for a terminal")]

use std::path::PathBuf;
use std::process::ExitCode;

use config::Sources;
use serde_json::json;

const USAGE: &str = "\
Prints the orders for a worker of haproxystats-process.

usage: worker_orders CONFIG_FILE SNAPSHOT [SNAPSHOT ...]

  CONFIG_FILE  a configuration
  SNAPSHOT     the name of a directory in its src-dir

To run a worker on them:

  worker_orders haproxystats.conf 1600000000 > orders
  sh -c 'HAPROXYSTATS_WORKER_OF=$$ POLARS_MAX_THREADS=1 haproxystats-process < orders; true'
";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [file, snapshots @ ..] = words.as_slice() else { return refuse(USAGE) };
    if snapshots.is_empty() {
        return refuse(USAGE);
    }
    let config = match config::load(&Sources { file: PathBuf::from(file), dir: None }) {
        Ok(config) => config.process,
        Err(faults) => return refuse(&format!("{faults}\n")),
    };
    println!("{}", json!({ "Begin": { "config": config, "host": "worker" } }));
    for snapshot in snapshots {
        println!("{}", json!({ "Job": { "snapshot": snapshot, "mode": "Direct" } }));
    }
    ExitCode::SUCCESS
}

fn refuse(why: &str) -> ExitCode {
    eprint!("{why}");
    ExitCode::from(2)
}
