//! The faults of a soak: one after the other at random moments, many of them while an earlier one
//! lasts.
//!
//! The seed fixes the faults and the pauses between them, but not what a program does at that
//! moment. Two runs with one seed therefore can have different results.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use fastrand::Rng;
use rustix::process::{Pid, Signal};
use testbed::graphite::{Ending, Manner};

use super::programs::{Program, send};
use super::receivers::Receivers;
use crate::Failure;

/// The pause between two faults, in milliseconds.
const PAUSE: std::ops::Range<u64> = 100..2_500;
/// Batches of the demo's HAProxy have some 2^15 bytes, so cuts fall anywhere in a batch and after
/// it.
const CUT_BITS: u32 = 16;

/// The faults; a fault that is listed twice comes twice as often.
const FAULTS: [Fault; 19] = [
    Fault::KillChild,
    Fault::KillChild,
    Fault::KillChildren,
    Fault::StopChild,
    Fault::KillProcess,
    Fault::KillProcess,
    Fault::EndProcess,
    Fault::StopProcess,
    Fault::KillPull,
    Fault::EndPull,
    Fault::StopPull,
    Fault::StopEndpoint,
    Fault::Close,
    Fault::Close,
    Fault::Reset,
    Fault::Reset,
    Fault::HalfClose,
    Fault::Stall,
    Fault::Down,
];

/// A fault that the soak injects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    KillChild,
    KillChildren,
    StopChild,
    KillProcess,
    EndProcess,
    StopProcess,
    KillPull,
    EndPull,
    StopPull,
    StopEndpoint,
    Close,
    Reset,
    HalfClose,
    Stall,
    Down,
}

/// The action that ends a fault.
#[derive(Debug, Clone, Copy)]
enum Recovery {
    Continue(Pid),
    StartProcess,
    StartPull,
    /// The receiver of this number listens again.
    ComeUp(usize),
}

/// The programs and receivers that the faults hit.
pub(super) struct Targets<'a> {
    pub(super) process: Program<'a>,
    pub(super) pull: Program<'a>,
    pub(super) endpoints: Vec<Pid>,
    pub(super) receivers: Receivers,
}

/// The faults to come.
pub(super) struct Faults {
    random: Rng,
    next: Instant,
    recoveries: Vec<(Instant, Recovery)>,
    counts: BTreeMap<Fault, u32>,
    /// Whether no fault comes.
    is_calm: bool,
}

impl Faults {
    pub(super) fn new(seed: u64, is_calm: bool) -> Self {
        let (random, next) = (Rng::with_seed(seed), Instant::now());
        Self { random, next, recoveries: Vec::new(), counts: BTreeMap::new(), is_calm }
    }

    /// Begins and ends the faults that are due; must be called often.
    pub(super) fn step(&mut self, targets: &mut Targets<'_>) -> Result<(), Failure> {
        let now = Instant::now();
        for (_, recovery) in self.recoveries.extract_if(.., |(time, _)| *time <= now) {
            recover(recovery, targets)?;
        }
        targets.process.check()?;
        targets.pull.check()?;
        if !self.is_calm && now >= self.next {
            self.next = now + Duration::from_millis(self.random.u64(PAUSE));
            if let Some(fault) = self.random.choice(FAULTS) {
                self.inject(fault, targets)?;
            }
        }
        Ok(())
    }

    /// Ends every fault that still lasts.
    pub(super) fn clear(&mut self, targets: &mut Targets<'_>) -> Result<(), Failure> {
        self.recoveries.drain(..).try_for_each(|(_, recovery)| recover(recovery, targets))?;
        targets.receivers.be_good()?;
        targets.process.start_again()
    }

    /// The number of faults so far.
    pub(super) fn total(&self) -> u32 {
        self.counts.values().sum()
    }

    /// The number of times that each fault came.
    pub(super) fn summary(&self) -> String {
        let counts = self.counts.iter().map(|(fault, count)| format!("{fault:?} {count}"));
        counts.collect::<Vec<_>>().join(", ")
    }

    fn inject(&mut self, fault: Fault, targets: &mut Targets<'_>) -> Result<(), Failure> {
        let done = match fault {
            Fault::KillChild => self.kill(1, targets),
            Fault::KillChildren => self.kill(usize::MAX, targets),
            Fault::StopChild => {
                let victim = self.random.choice(targets.process.children());
                self.stop(victim)
            }
            Fault::StopProcess => self.stop(targets.process.pid()),
            Fault::StopPull => self.stop(targets.pull.pid()),
            Fault::StopEndpoint => {
                let victim = self.random.choice(&targets.endpoints).copied();
                self.stop(victim)
            }
            Fault::KillProcess => {
                let done = targets.process.kill()?;
                self.soon(done, Recovery::StartProcess)
            }
            Fault::EndProcess => {
                let done = targets.process.terminate()?;
                self.soon(done, Recovery::StartProcess)
            }
            Fault::KillPull => {
                let done = targets.pull.kill()?;
                self.soon(done, Recovery::StartPull)
            }
            Fault::EndPull => {
                let done = targets.pull.terminate()?;
                self.soon(done, Recovery::StartPull)
            }
            Fault::Close => self.cut(Ending::Close, targets),
            Fault::Reset => self.cut(Ending::Reset, targets),
            Fault::HalfClose => self.cut(Ending::HalfClose, targets),
            Fault::Stall => {
                let time = Duration::from_millis(self.random.u64(200..6_000));
                self.cut(Ending::Pause(time), targets)
            }
            Fault::Down => match self.random.choice(targets.receivers.exposed()) {
                Some(number) => {
                    targets.receivers.go_down(number);
                    self.after(500..15_000, Recovery::ComeUp(number));
                    true
                }
                None => false,
            },
        };
        *self.counts.entry(fault).or_default() += u32::from(done);
        Ok(())
    }

    fn kill(&mut self, most: usize, targets: &Targets<'_>) -> bool {
        let mut children = targets.process.children();
        self.random.shuffle(&mut children);
        children.truncate(most);
        children.iter().for_each(|&pid| send(pid, Signal::KILL));
        !children.is_empty()
    }

    fn stop(&mut self, victim: Option<Pid>) -> bool {
        let Some(pid) = victim else { return false };
        send(pid, Signal::STOP);
        self.after(100..4_000, Recovery::Continue(pid));
        true
    }

    fn cut(&mut self, ending: Ending, targets: &Targets<'_>) -> bool {
        let Some(number) = self.random.choice(targets.receivers.exposed()) else { return false };
        for _ in 0..self.random.u32(1..=4) {
            // Each order of magnitude has the same chance, because a cut in the first line matters
            // as much as a cut in the last line.
            let bits = self.random.u32(0..=CUT_BITS);
            let manner = Manner::Cut(self.random.usize(0..1 << bits), ending);
            targets.receivers.spoil(number, manner);
        }
        true
    }

    fn soon(&mut self, done: bool, recovery: Recovery) -> bool {
        if done {
            self.after(0..2_000, recovery);
        }
        done
    }

    fn after(&mut self, milliseconds: std::ops::Range<u64>, recovery: Recovery) {
        let pause = Duration::from_millis(self.random.u64(milliseconds));
        self.recoveries.push((Instant::now() + pause, recovery));
    }
}

fn recover(recovery: Recovery, targets: &mut Targets<'_>) -> Result<(), Failure> {
    match recovery {
        Recovery::Continue(pid) => send(pid, Signal::CONT),
        Recovery::StartProcess => targets.process.start_again()?,
        Recovery::StartPull => targets.pull.start_again()?,
        Recovery::ComeUp(number) => targets.receivers.come_up(number)?,
    }
    Ok(())
}
