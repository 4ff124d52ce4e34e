//! Runs with chosen faults.

use std::time::Duration;

use crate::faults::Fault;
use crate::world::{Plan, World};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A plan with the given faults alone, and with snapshots that can all be folded.
fn calm(seed: u64, faults: Vec<(Duration, Fault)>) -> Plan {
    Plan {
        receivers: 3,
        workers: 2,
        interval: seconds(1),
        outbox_bytes: u64::MAX,
        folds_in_order: false,
        origins: 1,
        batch_bytes: 1000,
        in_flight_max: if seed.is_multiple_of(2) { 4 } else { 1 },
        trouble: 0,
        faults,
        prompt_receiver: Some(0),
        ..Plan::random(seed)
    }
}

/// A healthy receiver gets each snapshot within a second, whatever other receivers and the disk do.
#[test]
fn a_healthy_receiver_waits_for_no_other() {
    let down = Fault::ReceiverDown(1);
    let slow = Fault::ReceiverSlow(2);
    for disk in [Fault::OutboxWorks, Fault::OutboxFull, Fault::OutboxHangs] {
        let faults = vec![(seconds(5), down), (seconds(10), slow), (seconds(15), disk)];
        for seed in 1..40 {
            let verdict = World::run(&calm(seed, faults.clone()));
            assert_eq!(verdict, Ok(()), "{disk:?}, seed {seed}");
        }
    }
}

/// Large batches that a slow receiver keeps in memory leave room for those of a healthy one.
#[test]
fn large_batches_of_a_slow_receiver_delay_no_healthy_one() {
    let faults = vec![(seconds(5), Fault::ReceiverSlow(1)), (seconds(30), Fault::ReceiverSlow(2))];
    for seed in 1..40 {
        let plan = Plan { workers: 1, batch_bytes: 20 << 20, ..calm(seed, faults.clone()) };
        assert_eq!(World::run(&plan), Ok(()), "seed {seed}");
    }
}

/// With `folds_in_order` several workers keep the order, also when children die.
#[test]
fn folds_in_order_keep_the_order_of_snapshots() {
    let deaths = [5, 20, 40, 80].map(|at| (seconds(at), Fault::KillChild)).to_vec();
    for seed in 1..40 {
        let plan = Plan { folds_in_order: true, ..calm(seed, deaths.clone()) };
        let folded =
            World::run_for(&plan).unwrap_or_else(|why| panic!("seed {seed}: {why}")).folded;
        assert!(folded.is_sorted(), "seed {seed}: {folded:?}");
    }
}

/// A clock that is set back while a receiver is down: both snapshots of a second arrive, in order.
#[test]
fn two_snapshots_of_one_second_both_arrive() {
    let faults = vec![
        (seconds(5), Fault::ReceiverDown(1)),
        (seconds(30), Fault::ClockBack { seconds: 20 }),
        (seconds(90), Fault::ReceiverUp(1)),
    ];
    for seed in 1..40 {
        assert_eq!(World::run(&calm(seed, faults.clone())), Ok(()), "seed {seed}");
    }
}
