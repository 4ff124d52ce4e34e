//! Master CLIs: the workers behind them, old ones after a reload too, and workers that end or hang.
//! Servers in some cycles alone.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use config::{Address, Pull};
use spool::manifest::{AnswerFile, Generation};

use crate::fake::{Fake, INFO, Lines, STAT, Script};
use crate::on_one_thread;
use crate::workbench::{SECOND, Workbench};

const REFUSAL: &str = "Unknown command, but maybe one of the following ones is a better match:\n  \
                       show proc : show processes status\n\n";
const ENDED: &str = "Can't find the target PID matching the prefix '@!11'\n";

/// The list of a master with these workers.
fn list(current: &[u32], old: &[u32]) -> String {
    let mut text = "#<PID>  <type>  <reloads>  <uptime>  <version>\n\
                    5  master  1 [failed: 0]  0d00h00m09s  2.6.12\n# workers\n"
        .to_owned();
    for pid in current {
        text.push_str(&format!("{pid}  worker  0  0d00h00m04s  2.6.12\n"));
    }
    if !old.is_empty() {
        text.push_str("# old workers\n");
    }
    for pid in old {
        text.push_str(&format!("{pid}  worker  1  0d00h00m09s  2.6.12\n"));
    }
    text + "# programs\n\n"
}

fn info(pid: u32) -> String {
    format!("Name: HAProxy\nVersion: 2.6.12\nPid: {pid}\nnode: lb1\nStart_time_sec: {pid}000\n\n")
}

/// A master with these workers, all of which answer.
fn master(current: &[u32], old: &[u32]) -> Arc<Lines> {
    let lines = Arc::new(Lines::default());
    lines.set("show info;show stat", REFUSAL);
    lines.set("show proc", &list(current, old));
    for pid in current.iter().chain(old) {
        lines.set(&format!("@!{pid} show info"), &info(*pid));
        lines.set(&format!("@!{pid} show stat"), STAT);
        lines.set(&format!("@!{pid} show stat -1 3 -1"), STAT);
    }
    lines
}

/// A configuration with this master alone.
fn config(bench: &Workbench) -> Pull {
    let masters = vec![Address::Unix(bench.socket("m.sock"))];
    let pull_timeout = Some(Duration::from_secs(60));
    Pull { socket_dir: None, masters, pull_timeout, ..bench.config() }
}

fn start(bench: &Workbench, lines: &Arc<Lines>) -> Fake {
    Fake::unix(&bench.socket("m.sock"), Script::Lines(Arc::clone(lines)))
}

fn last(bench: &Workbench) -> u64 {
    SECOND + bench.snapshots().len() as u64 - 1
}

#[test]
fn current_and_old_workers_are_in_the_snapshot_and_one_connection_is_open_at_a_time() {
    on_one_thread(async {
        let bench = Workbench::new();
        let lines = master(&[12], &[11, 10]);
        let _master = start(&bench, &lines);
        let program = bench.start(config(&bench));
        bench.until_snapshots(2).await;
        bench.stop(program).await;
        let files = bench.manifest(SECOND).files;
        let shown = |file: &AnswerFile| (file.name.clone(), file.worker, file.generation);
        let file = |name: &str, pid, generation| (name.to_owned(), Some(pid), generation);
        let (new, old) = (Generation::Current, Generation::Old);
        assert_eq!(
            files.iter().map(shown).collect::<Vec<_>>(),
            [
                file("m.sock@10_info", 10, old),
                file("m.sock@10_stat", 10, old),
                file("m.sock@11_info", 11, old),
                file("m.sock@11_stat", 11, old),
                file("m.sock@12_info", 12, new),
                file("m.sock@12_stat", 12, new),
            ]
        );
        assert!(files.iter().all(|file| file.source == "haproxy"));
        let cycle = bench.cycle(SECOND);
        assert_eq!((cycle.endpoints, cycle.missing, cycle.workers), (1, 0, 3));
        assert_eq!((cycle.old_workers, cycle.kept_workers), (Some(2), Some(0)));
        assert_eq!(lines.most.load(Ordering::SeqCst), 1);
        assert_eq!(
            lines.take_asked()[..7],
            [
                "show proc",
                "@!12 show info",
                "@!12 show stat",
                "@!10 show info",
                "@!10 show stat",
                "@!11 show info",
                "@!11 show stat"
            ]
        );
    });
}

#[test]
fn old_workers_are_left_out_if_the_option_says_so() {
    on_one_thread(async {
        let bench = Workbench::new();
        let lines = master(&[12], &[11]);
        let _master = start(&bench, &lines);
        let program = bench.start(Pull { old_workers: false, ..config(&bench) });
        bench.until_snapshots(2).await;
        bench.stop(program).await;
        assert_eq!(bench.answers(SECOND), ["m.sock@12_info", "m.sock@12_stat"]);
        assert_eq!(bench.cycle(SECOND).old_workers, Some(0));
    });
}

/// The current worker has a stats socket beside the master in socket-dir.
#[test]
fn a_master_in_the_folder_is_used_and_a_worker_with_a_socket_is_asked_there() {
    on_one_thread(async {
        let bench = Workbench::new();
        let lines = master(&[12], &[11]);
        let _master = start(&bench, &lines);
        let own = [info(12).as_bytes(), STAT.as_bytes()].concat();
        let direct = Fake::unix(&bench.socket("a.sock"), Script::Send(own.clone()));
        let pull_timeout = Some(Duration::from_secs(60));
        let program = bench.start(Pull { pull_timeout, ..bench.config() });
        bench.until_cycles(4).await;
        lines.take_asked();
        bench.until_cycles(2).await;
        let asked = lines.take_asked();
        assert!(asked.contains(&"@!11 show stat".to_owned()), "{asked:?}");
        assert!(!asked.iter().any(|line| line.starts_with("@!12")), "{asked:?}");
        let at = last(&bench);
        assert_eq!(
            bench.answers(at),
            ["a.sock_info", "a.sock_stat", "m.sock@11_info", "m.sock@11_stat"]
        );
        let cycle = bench.cycle(at);
        assert_eq!((cycle.endpoints, cycle.missing, cycle.old_workers), (2, 0, Some(1)));
        assert_eq!(bench.count("the master CLI of HAProxy: its workers are asked"), 1);
        assert_eq!(bench.count("left out"), 0, "{}", bench.log());
        // The first cycle found it by its refusal.
        assert!(bench.answers(SECOND).contains(&"m.sock@12_stat".to_owned()));

        // A master that fails costs no snapshot of processes that have sockets of their own.
        lines.set("show proc", "");
        bench.until_logged("closed the connection without an answer to `show proc`").await;
        let before = bench.snapshots().len();
        bench.until_snapshots(before + 2).await;
        assert_eq!(bench.cycle(last(&bench)).missing, 1);
        drop(direct);
        bench.stop(program).await;
    });
}

#[test]
fn a_worker_that_ends_between_the_list_and_the_request_is_no_failure() {
    on_one_thread(async {
        for answer in [ENDED, ""] {
            let bench = Workbench::new();
            let lines = master(&[12], &[11]);
            let _master = start(&bench, &lines);
            lines.set("@!11 show stat", answer);
            if answer.is_empty() {
                // It ends while it is asked, so the next list lacks it.
                lines.set("show proc", &list(&[12], &[]));
            }
            let program = bench.start(config(&bench));
            bench.until_snapshots(2).await;
            bench.stop(program).await;
            for at in [SECOND, SECOND + 1] {
                assert_eq!(bench.answers(at), ["m.sock@12_info", "m.sock@12_stat"]);
                assert_eq!(bench.cycle(at).missing, 0);
            }
            assert_eq!(bench.count("no answer"), 0, "{}", bench.log());
        }
    });
}

#[test]
fn an_old_worker_that_hangs_keeps_its_last_answers_until_it_ends() {
    on_one_thread(async {
        let bench = Workbench::new();
        let lines = master(&[12], &[11]);
        let _master = start(&bench, &lines);
        let limit = Some(Duration::from_millis(800));
        let program = bench.start(Pull { pull_timeout: limit, ..config(&bench) });
        bench.until_snapshots(2).await;
        lines.remove("@!11 show info");
        bench.until_logged("no answer of a worker, asked again later").await;
        let before = bench.snapshots().len();
        bench.until_snapshots(before + 3).await;
        let at = last(&bench);
        let cycle = bench.cycle(at);
        assert_eq!((cycle.old_workers, cycle.kept_workers, cycle.missing), (Some(1), Some(1), 0));
        let path = bench.dst().join(at.to_string()).join("m.sock@11_info");
        assert_eq!(std::fs::read_to_string(path).unwrap(), info(11));
        assert_eq!(bench.count("no answer of a worker"), 1, "{}", bench.log());
        lines.take_asked();
        bench.until_cycles(2).await;
        let asked = lines.take_asked();
        assert!(!asked.contains(&"@!11 show info".to_owned()), "a pause: {asked:?}");
        lines.set("show proc", &list(&[12], &[]));
        bench.until_logged("the worker has ended").await;
        bench.until_cycles(2).await;
        assert_eq!(bench.cycle(last(&bench)).old_workers, Some(0));
        bench.stop(program).await;
    });
}

#[test]
fn a_current_worker_without_an_answer_costs_the_snapshot_as_a_socket_does() {
    on_one_thread(async {
        let bench = Workbench::new();
        let lines = master(&[12], &[11]);
        lines.remove("@!12 show stat");
        let _master = start(&bench, &lines);
        let limit = Some(Duration::from_millis(400));
        let program = bench.start(Pull { pull_timeout: limit, ..config(&bench) });
        bench.until_logged("no snapshot").await;
        bench.until_cycles(3).await;
        assert_eq!(bench.snapshots(), [""; 0]);
        lines.set("show proc", &list(&[13], &[11, 12]));
        lines.set("@!13 show info", &info(13));
        lines.set("@!13 show stat", STAT);
        bench.until_snapshots(1).await;
        bench.stop(program).await;
        let partial = Workbench::new();
        let lines = master(&[12], &[11]);
        lines.remove("@!12 show stat");
        let _master = start(&partial, &lines);
        let config = Pull { pull_timeout: limit, allow_partial: true, ..config(&partial) };
        let _good = Fake::unix(&partial.socket("a.sock"), Script::Good);
        let config = Pull { servers: vec![Address::Unix(partial.socket("a.sock"))], ..config };
        let program = partial.start(config);
        partial.until_snapshots(1).await;
        partial.stop(program).await;
        let cycle = partial.cycle(SECOND);
        assert_eq!((cycle.endpoints, cycle.missing, cycle.old_workers), (2, 1, Some(1)));
        assert_eq!(
            partial.answers(SECOND),
            ["a.sock_info", "a.sock_stat", "m.sock@11_info", "m.sock@11_stat"]
        );
    });
}

#[test]
fn a_named_master_that_lists_nothing_is_a_failed_endpoint() {
    on_one_thread(async {
        for (answer, why) in [
            (Some(REFUSAL), "is no list of processes, it begins with"),
            (Some(""), "closed the connection without an answer to `show proc`"),
            (None, "no list of its workers within 2 s"),
        ] {
            let bench = Workbench::new();
            let lines = Arc::new(Lines::default());
            if let Some(answer) = answer {
                lines.set("show proc", answer);
            }
            let _master = start(&bench, &lines);
            let program = bench.start(config(&bench));
            bench.until_logged(why).await;
            bench.until_logged("no snapshot").await;
            bench.stop(program).await;
            assert_eq!(bench.snapshots(), [""; 0]);
        }
    });
}

#[test]
fn what_is_kept_leaves_with_the_program() {
    on_one_thread(async {
        let bench = Workbench::new();
        let lines = master(&[12], &[11]);
        let _master = start(&bench, &lines);
        let program = bench.start(config(&bench));
        bench.until_snapshots(2).await;
        assert!(crate::workbench::names(&bench.tmp()).contains(&".haproxystats-kept".to_owned()));
        bench.stop(program).await;
        assert_eq!(crate::workbench::names(&bench.tmp()), [""; 0]);
    });
}

#[test]
fn servers_are_asked_for_in_each_nth_cycle_alone() {
    on_one_thread(async {
        let bench = Workbench::new();
        let lines = Arc::new(Lines::default());
        let both = [INFO, STAT].concat();
        lines.set("show info;show stat", &both);
        lines.set("show info;show stat -1 3 -1", &both);
        let _fake = Fake::unix(&bench.socket("a.sock"), Script::Lines(Arc::clone(&lines)));
        let program = bench.start(Pull { servers_interval: 3, ..bench.config() });
        bench.until_snapshots(7).await;
        bench.stop(program).await;
        let (whole, part) = ("show info;show stat", "show info;show stat -1 3 -1");
        assert_eq!(lines.take_asked()[..7], [whole, part, part, whole, part, part, whole]);
        let without = |at| bench.cycle(SECOND + at).without_servers;
        assert_eq!([0, 1, 2, 3].map(without), [false, true, true, false]);
    });
}

/// Otherwise the receivers would wait for servers as long again.
#[test]
fn a_cycle_with_servers_that_leaves_no_snapshot_is_made_up_for_by_the_next() {
    on_one_thread(async {
        let bench = Workbench::new();
        let lines = Arc::new(Lines::default());
        let both = [INFO, STAT].concat();
        lines.set("show info;show stat", INFO);
        lines.set("show info", INFO);
        lines.set("show stat", "");
        lines.set("show info;show stat -1 3 -1", &both);
        let _fake = Fake::unix(&bench.socket("a.sock"), Script::Lines(Arc::clone(&lines)));
        let program = bench.start(Pull { servers_interval: 100, ..bench.config() });
        bench.until_logged("no snapshot").await;
        lines.set("show info;show stat", &both);
        bench.until_snapshots(2).await;
        bench.stop(program).await;
        assert!(!bench.cycle(SECOND).without_servers);
        assert!(bench.cycle(SECOND + 1).without_servers);
    });
}
