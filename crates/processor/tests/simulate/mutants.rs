//! Five mutants that the ledger must find: each alters an event or an action between the core and
//! the world.

use crate::world::{Plan, World};

/// The alteration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mutant {
    /// A snapshot is released before its batch is held.
    EarlyRelease,
    /// The core gets no tick.
    LostWakeUp,
    /// One crash of a fold child is reported twice.
    DoubleAttempt,
    /// Batches beyond the bound of an outbox are not removed.
    UnboundedOutbox,
    /// Of two held batches of one second the later goes first.
    LanesOutOfOrder,
}

/// Asserts that one of many seeds finds the mutant, by a reason with this text. Seeds before it may
/// give another reason, because a mutant breaks more than one rule.
fn assert_found(mutant: Mutant, text: &str) {
    let mut others = Vec::new();
    for seed in 1..5000 {
        let plan = Plan { mutant: Some(mutant), ..Plan::random(seed) };
        match World::run(&plan) {
            Err(why) if why.contains(text) => return,
            Err(why) => others.push(why),
            Ok(()) => {}
        }
    }
    panic!("nothing finds {mutant:?}: {:?}", others.first());
}

#[test]
fn a_snapshot_released_before_its_hold_is_found() {
    assert_found(Mutant::EarlyRelease, "lacks");
}

#[test]
fn a_lost_wake_up_is_found() {
    assert_found(Mutant::LostWakeUp, "rest");
}

#[test]
fn an_attempt_counted_twice_is_found() {
    assert_found(Mutant::DoubleAttempt, "without need");
}

#[test]
fn a_bound_that_is_ignored_is_found() {
    assert_found(Mutant::UnboundedOutbox, "rest");
}

#[test]
fn an_order_broken_between_lanes_is_found() {
    assert_found(Mutant::LanesOutOfOrder, "one second");
}
