//! Files that are too large, never end or block: they are refused in bounded time and memory, and
//! the other files are folded.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

use model::Value;
use rustix::fs::{CWD, Mode, mkfifoat};

use crate::workbench::{HEADER, Metrics, Snapshot, config};

const GOOD: &str = "good,FRONTEND,1,2,,,,0,\n";

fn good() -> String {
    format!("{HEADER}\n{GOOD}\n")
}

fn assert_good(metrics: &Metrics) {
    assert!(metrics.keys().all(|path| path.starts_with("frontend good ")), "{metrics:?}");
    assert_eq!(metrics.get("frontend good scur"), Some(&Value::Integer(1)));
}

/// To open a FIFO blocks until a writer comes, and to open a device can have an effect.
#[test]
fn what_is_no_regular_file_is_never_opened() {
    let snapshot = Snapshot::new()
        .made_stat(|path| mkfifoat(CWD, path, Mode::RUSR | Mode::WUSR).unwrap())
        .made_stat(|path| fs::create_dir(path).unwrap())
        .made_stat(|path| symlink("/dev/zero", path).unwrap())
        .made_stat(|path| drop(UnixListener::bind(path).unwrap()))
        .made_stat(|path| symlink("gone", path).unwrap())
        .made_stat(|path| symlink(path, path).unwrap())
        // A link to a good answer: the files of a snapshot must be in it themselves.
        .made_stat(|path| symlink("admin8.sock_stat", path).unwrap())
        .stat(good());
    let (metrics, damages) = snapshot.fold(&config());
    assert_good(&metrics);
    assert_eq!(damages.len(), 7, "{damages:?}");
    for (_, reason) in &damages {
        assert_eq!(reason, "left out: it is no regular file");
    }

    let mut of_info = snapshot;
    for input in &mut of_info.inputs {
        input.info = input.stat.take();
    }
    let (_, damages) = of_info.fold(&config());
    assert_eq!(damages.len(), 8, "{damages:?}");
}

/// A file with a hole of 2 GiB is not read over the limit, and under the limit it is read through
/// one small buffer.
#[test]
fn a_file_of_2_gib_is_refused_or_passed_over() {
    let sparse = |begin: &str| {
        let begin = begin.to_owned();
        move |path: &std::path::Path| {
            let mut file = File::create(path).unwrap();
            file.write_all(begin.as_bytes()).unwrap();
            file.set_len(2 << 30).unwrap();
        }
    };
    let snapshot = Snapshot::new().made_stat(sparse("")).stat(good());
    let (metrics, damages) = snapshot.fold(&config());
    assert_good(&metrics);
    assert_eq!(
        damages[0].1,
        "left out: it has 2147483648 bytes, more than file-limit = 268435456 allows"
    );

    let raised = config::Tables { file_limit: 4 << 30, ..config() };
    let (metrics, damages) = snapshot.fold(&raised);
    assert_good(&metrics);
    assert_eq!(damages[0].1, "left out: it begins with a row longer than 262144 bytes");
}

#[test]
fn an_answer_to_show_info_has_a_bound_of_its_own() {
    let long = format!("CurrConns: 1\n{}", "x: 1\n".repeat(300_000));
    let (metrics, damages) = Snapshot::new().info(long).info("CurrConns: 2\n").fold(&config());
    assert_eq!(metrics.get("daemon CurrConns"), Some(&Value::Integer(2)));
    assert_eq!(
        damages[0].1,
        "left out: it has 1500013 bytes, more than the bound for show info = 1048576 allows"
    );
}

#[test]
fn a_row_without_an_end_costs_itself() {
    let long = "x".repeat(1 << 20);
    let text = format!("{HEADER}\n{GOOD}{long}\n{GOOD}{long}");
    let (metrics, damages) = Snapshot::new().stat(text).fold(&config());
    assert_eq!(metrics.get("frontend good scur"), Some(&Value::Integer(2)));
    assert_eq!(damages[0].1, "2 rows left out, the first since it is longer than 262144 bytes");
}

/// The shortest possible rows, more of them than any HAProxy has: the file is left out whole.
#[test]
fn a_file_with_rows_without_end_is_left_out_whole() {
    let text = format!("# pxname,svname,type\nx,FRONTEND,0\n{}", "a,b,2\n".repeat(2_000_001));
    let (metrics, damages) = Snapshot::new().stat(text).stat(good()).fold(&config());
    assert_good(&metrics);
    assert_eq!(
        damages[0].1,
        "left out: it brings the snapshot to more than 2000000 rows, which no HAProxy has"
    );
}

#[test]
fn a_file_with_names_without_end_is_left_out_whole() {
    let mut text = format!("{HEADER}\nx,FRONTEND,1,1,,,,0,\n");
    for number in 0..262_145 {
        text.push_str(&format!("a,{number},1,,,,,2,\n"));
    }
    let (metrics, damages) = Snapshot::new().stat(text).stat(good()).fold(&config());
    assert_good(&metrics);
    assert!(
        damages[0].1.starts_with("left out: it brings the snapshot to more than 262144 names"),
        "{damages:?}"
    );
}

#[test]
fn snapshots_of_many_files_cost_what_their_files_cost() {
    let mut snapshot = Snapshot::new().stat(good());
    let endpoint = snapshot.inputs[0].clone();
    let gone = snapshot.directory.path().join("gone_stat");
    for _ in 0..20_000 {
        snapshot
            .inputs
            .push(haproxystats_fold::Input { stat: Some(gone.clone()), ..endpoint.clone() });
    }
    let (metrics, damages) = snapshot.fold(&config());
    assert_good(&metrics);
    assert_eq!(damages.len(), 20_000);
}
