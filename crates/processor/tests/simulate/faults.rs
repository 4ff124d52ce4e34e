//! The faults of a run and their times, drawn from the seed: single faults, and pairs that begin
//! and end a disturbance.

use std::time::Duration;

/// A fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A child crashes, busy or idle.
    CrashChild,
    /// A child gets SIGKILL from outside.
    KillChild,
    /// The parent is killed after some more actions.
    CrashParent {
        after_actions: u32,
    },
    /// The machine loses its power.
    PowerCut,
    /// The parent ends on SIGTERM and is started again.
    Restart,
    ReceiverDown(usize),
    ReceiverSlow(usize),
    ReceiverUp(usize),
    OutboxFull,
    OutboxHangs,
    OutboxWorks,
    SpoolHangs,
    SpoolWorks,
    /// The clock of pull jumps back.
    ClockBack {
        seconds: u64,
    },
}

/// Draws the faults of a run, ordered by time.
pub(crate) fn draw(
    rng: &mut fastrand::Rng,
    receivers: usize,
    span: Duration,
) -> Vec<(Duration, Fault)> {
    let mut faults = Vec::new();
    let moment = |rng: &mut fastrand::Rng| span.mul_f64(rng.f64());
    for _ in 0..rng.usize(0..12) {
        let fault = match rng.u8(0..8) {
            0..=2 => Fault::CrashChild,
            3 | 4 => Fault::KillChild,
            5 => Fault::CrashParent { after_actions: rng.u32(0..40) },
            6 => Fault::PowerCut,
            _ => Fault::Restart,
        };
        faults.push((moment(rng), fault));
    }
    let mut window = |rng: &mut fastrand::Rng, begin: Fault, end: Fault| {
        let from = moment(rng);
        let length = span.mul_f64(rng.f64() * rng.f64());
        faults.push((from, begin));
        faults.push((from + length, end));
    };
    for _ in 0..rng.usize(0..4) {
        let receiver = rng.usize(0..receivers);
        let begin =
            if rng.bool() { Fault::ReceiverDown(receiver) } else { Fault::ReceiverSlow(receiver) };
        window(rng, begin, Fault::ReceiverUp(receiver));
    }
    for _ in 0..rng.usize(0..3) {
        let begin = if rng.bool() { Fault::OutboxFull } else { Fault::OutboxHangs };
        window(rng, begin, Fault::OutboxWorks);
    }
    if rng.u8(0..4) == 0 {
        window(rng, Fault::SpoolHangs, Fault::SpoolWorks);
    }
    for _ in 0..rng.usize(0..4) {
        let fault = Fault::ClockBack { seconds: rng.u64(1..30) };
        let at = moment(rng);
        faults.push((at, fault));
    }
    faults.sort_by_key(|(at, _)| *at);
    faults
}
