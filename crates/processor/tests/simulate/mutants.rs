//! Five wrongs that the ledger must find: each alters what passes between the core and the world.

use crate::world::{Plan, World};

/// What is altered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mutant {
    /// A snapshot is released before its batch is held.
    EarlyRelease,
    /// The core is never told that time has passed.
    LostWakeUp,
    /// One crash of a fold child is reported twice.
    DoubleAttempt,
    /// What is over the bound of an outbox is not removed.
    UnboundedOutbox,
    /// Of two held batches of one second the later goes first.
    LanesOutOfOrder,
}

/// The first of many seeds that finds the mutant, and what it says.
fn found(mutant: Mutant) -> (u64, String) {
    for seed in 1..5000 {
        let plan = Plan { mutant: Some(mutant), ..Plan::random(seed) };
        if let Err(why) = World::run(&plan) {
            return (seed, why);
        }
    }
    panic!("nothing finds {mutant:?}");
}

#[test]
fn a_snapshot_released_before_its_hold_is_found() {
    let (_, why) = found(Mutant::EarlyRelease);
    assert!(why.contains("lacks"), "{why}");
}

#[test]
fn a_lost_wake_up_is_found() {
    let (_, why) = found(Mutant::LostWakeUp);
    assert!(why.contains("rest"), "{why}");
}

#[test]
fn an_attempt_counted_twice_is_found() {
    let (_, why) = found(Mutant::DoubleAttempt);
    assert!(why.contains("without need"), "{why}");
}

#[test]
fn a_bound_that_is_ignored_is_found() {
    let (_, why) = found(Mutant::UnboundedOutbox);
    assert!(why.contains("rest"), "{why}");
}

#[test]
fn an_order_broken_between_lanes_is_found() {
    let (_, why) = found(Mutant::LanesOutOfOrder);
    assert!(why.contains("one second"), "{why}");
}
