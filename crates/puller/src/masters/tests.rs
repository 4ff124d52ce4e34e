//! Which workers are asked in a cycle, and what lost requests, reloads and cut lists change.

use sources::haproxy::master;

use super::*;

fn worker(pid: u32, reloads: u64, uptime: u64) -> Worker {
    Worker { pid, reloads: Some(reloads), uptime: Some(uptime) }
}

fn list(current: &[Worker], old: &[Worker]) -> Workers {
    Workers { current: current.to_vec(), old: old.to_vec(), is_cut: false }
}

fn rules(cycle: u64, now: u64) -> Rules {
    Rules {
        old_workers: true,
        servers: true,
        cycle,
        now: Duration::from_secs(now),
        room: WORKERS_MAX,
        start: Instant::now(),
        span: Duration::from_secs(2),
    }
}

fn plan(master: &Master, rules: &Rules) -> (Vec<u32>, Vec<u32>, Vec<u32>) {
    let Plan { current, old, given_up, .. } = master.plan(rules, &HashSet::new());
    (current, old, given_up)
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn current_workers_come_first_and_old_ones_in_turn() {
    let mut master = Master::default();
    let old: Vec<_> = (1..=120).map(|pid| worker(pid, 200 - u64::from(pid), 900)).collect();
    master.update(&list(&[worker(500, 0, 5)], &old), 1000 * SECOND);
    let mut asked = BTreeSet::new();
    for cycle in 1..=3 {
        let (current, old, _) = plan(&master, &rules(cycle, 1000 + cycle));
        assert_eq!((current, old.len()), (vec![500], OLD_WORKERS_PER_CYCLE));
        for pid in old {
            master.answered(pid, cycle, b"");
            asked.insert(pid);
        }
    }
    assert_eq!(asked.len(), 120, "three cycles of 50");
    let without = Rules { old_workers: false, ..rules(4, 1004) };
    assert_eq!(plan(&master, &without), (vec![500], vec![], vec![]));
    let small = Rules { room: 3, ..rules(4, 1004) };
    assert_eq!(plan(&master, &small).1.len(), 2);
}

#[test]
fn a_worker_that_loses_requests_is_asked_after_growing_pauses_and_then_not_again() {
    let mut master = Master::default();
    let at = |now: u64, reloads| list(&[], &[worker(7, reloads, now - 900)]);
    let is_asked = |master: &Master, now| plan(master, &rules(1, now)).1 == [7];
    master.update(&at(1000, 1), 1000 * SECOND);
    let mut now = 1000;
    for pause in [30, 120] {
        assert!(is_asked(&master, now));
        master.lost(7, 1, Duration::from_secs(now));
        master.update(&at(now + pause - 1, 1), Duration::from_secs(now + pause - 1));
        assert!(!is_asked(&master, now + pause - 1), "{pause}");
        now += pause;
    }
    assert!(is_asked(&master, now));
    master.lost(7, 1, Duration::from_secs(now));
    master.update(&at(now + 100_000, 1), Duration::from_secs(now + 100_000));
    assert!(!is_asked(&master, now + 100_000));
    master.update(&at(now + 100_001, 2), Duration::from_secs(now + 100_001));
    assert!(is_asked(&master, now + 100_001), "another reload changes the entry");
}

#[test]
fn a_process_that_has_the_number_of_an_ended_one_is_a_new_worker() {
    let mut master = Master::default();
    master.update(&list(&[worker(7, 0, 10)], &[]), 1000 * SECOND);
    for _ in 0..3 {
        master.lost(7, 1, 1000 * SECOND);
    }
    assert_eq!(plan(&master, &rules(2, 5000)), (vec![], vec![], vec![7]));
    // The uptimes of a list are of another second than ours, by a little.
    master.update(&list(&[worker(7, 0, 4008)], &[]), 5000 * SECOND);
    assert_eq!(plan(&master, &rules(2, 5000)).2, [7]);
    master.update(&list(&[worker(7, 0, 3)], &[]), 5001 * SECOND);
    assert_eq!(plan(&master, &rules(2, 5001)).0, [7]);
}

/// A master has ten places, and a worker that hangs can keep one for each lost request.
#[test]
fn the_workers_of_a_master_never_take_ten_places() {
    let mut master = Master::default();
    let old: Vec<_> = (1..=20).map(|pid| worker(pid, 1, 0)).collect();
    let (mut lost, mut now) = (0, 0);
    master.update(&list(&[], &old), Duration::ZERO);
    for cycle in 1..1000 {
        now += 1000;
        for pid in plan(&master, &rules(cycle, now)).1 {
            if pid <= 9 {
                master.lost(pid, cycle, Duration::from_secs(now));
                lost += 1;
            } else {
                master.answered(pid, cycle, b"");
            }
        }
    }
    assert_eq!(lost, 9, "each of nine once");
    assert_eq!(plan(&master, &rules(1001, now + 1000)).1.len(), 11);
}

#[test]
fn a_worker_that_answers_on_its_own_socket_is_not_asked_here() {
    let info = b"Name: HAProxy\nPid: 7\nnode: lb1\nStart_time_sec: 1700000000\n";
    let mut masters = Masters::default();
    let mut master = Master::default();
    master.update(&list(&[worker(7, 0, 1)], &[]), SECOND);
    masters.add_direct("unix:///run/a".to_owned(), info);
    let direct = masters.begin_cycle();
    let first = master.plan(&rules(1, 1), &direct);
    assert_eq!((first.current, first.direct), (vec![7], 0), "not known before its first answer");
    master.answered(7, 1, info);
    let second = master.plan(&rules(2, 2), &direct);
    assert_eq!((second.current.len(), second.direct), (0, 1));
    master.end(&second);
    assert!(!master.is_needed());
    // Its own socket gave no answer in the last cycle.
    let third = master.plan(&rules(3, 3), &masters.begin_cycle());
    assert_eq!(third.current, [7]);
    master.end(&third);
    assert!(master.is_needed());
}

#[test]
fn a_cut_list_ends_no_worker_and_a_whole_one_does() {
    let mut master = Master::default();
    master.update(&list(&[worker(9, 0, 1)], &[worker(7, 1, 5), worker(8, 2, 5)]), 10 * SECOND);
    let cut = Workers { is_cut: true, ..list(&[worker(9, 0, 1)], &[worker(8, 2, 5)]) };
    assert_eq!(master.update(&cut, 10 * SECOND), [0; 0]);
    assert!(!master.is_listed(7) && master.is_listed(8));
    assert_eq!(plan(&master, &rules(1, 10)).1, [7, 8], "the cut one may live");
    assert_eq!(master.update(&list(&[worker(9, 0, 1)], &[]), 10 * SECOND), [7, 8]);
    assert!(master.old().is_empty());
    let text = b"#<PID> <type> <reloads> <uptime>\n# workers\n9 worker 0 0d00h00m01s\n\n";
    assert_eq!(master.update(&master::read(text).unwrap(), 10 * SECOND), [0; 0]);
}

/// Its own socket has answered just before a reload, and its master says by now that it is old.
#[test]
fn a_process_that_has_become_old_counts_as_old_on_its_own_socket() {
    let info = b"Name: HAProxy\nPid: 7\nnode: lb1\nStart_time_sec: 1700000000\n";
    let endpoint = |identity| Endpoint {
        source: sources::Source::HAProxy,
        address: Address::Unix("/run/m".into()),
        name: "m".to_owned(),
        identity,
        is_needed: true,
        worker: None,
    };
    let mut masters = Masters::default();
    let mut master = masters.take(&endpoint(None));
    master.update(&list(&[worker(8, 0, 0)], &[worker(7, 1, 60)]), 100 * SECOND);
    master.answered(7, 1, info);
    masters.put_back(&endpoint(None), master);
    masters.add_direct("unix:///run/a".to_owned(), info);
    assert_eq!(masters.old_direct(), HashSet::from(["unix:///run/a".to_owned()]));
}
