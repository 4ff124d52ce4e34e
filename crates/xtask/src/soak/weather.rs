//! What goes wrong and when: one fault after the other at random moments, many of them while an
//! earlier one lasts.
//!
//! The seed fixes the faults and the pauses between them, not the moment within a program's work
//! that they hit: a run repeats its plan, not its luck.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use fastrand::Rng;
use rustix::process::{Pid, Signal};
use testbed::graphite::{Ending, Manner};

use super::programs::{Program, send};
use super::receivers::Receivers;
use crate::Failure;

/// A pause between two faults, in milliseconds.
const PAUSE: std::ops::Range<u64> = 100..2_500;
/// Batches of the demo's HAProxy are some 2^15 bytes long: cuts fall into all of it and behind it.
const CUT_BITS: u32 = 16;

/// The faults, each as often as it stands here.
const FAULTS: [Fault; 19] = [
    Fault::KillWorker,
    Fault::KillWorker,
    Fault::KillWorkers,
    Fault::StopWorker,
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

/// What can go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    KillWorker,
    KillWorkers,
    StopWorker,
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

/// What ends a fault.
#[derive(Debug, Clone, Copy)]
enum Later {
    Continue(Pid),
    StartProcess,
    StartPull,
    /// The receiver of this number listens again.
    ComeUp(usize),
}

/// All that faults fall upon.
pub(super) struct Road<'a> {
    pub(super) process: Program<'a>,
    pub(super) pull: Program<'a>,
    pub(super) endpoints: Vec<Pid>,
    pub(super) receivers: Receivers,
}

/// The faults to come.
pub(super) struct Weather {
    random: Rng,
    next: Instant,
    later: Vec<(Instant, Later)>,
    counts: BTreeMap<Fault, u32>,
}

impl Weather {
    pub(super) fn new(seed: u64) -> Self {
        let (random, next) = (Rng::with_seed(seed), Instant::now());
        Self { random, next, later: Vec::new(), counts: BTreeMap::new() }
    }

    /// To be called often: does what is due.
    pub(super) fn pass(&mut self, road: &mut Road<'_>) -> Result<(), Failure> {
        let now = Instant::now();
        let (due, later) = std::mem::take(&mut self.later).into_iter().partition(|l| l.0 <= now);
        self.later = later;
        let due: Vec<(Instant, Later)> = due;
        due.into_iter().try_for_each(|(_, later)| end(later, road))?;
        road.process.check()?;
        road.pull.check()?;
        if now >= self.next {
            self.next = now + Duration::from_millis(self.random.u64(PAUSE));
            if let Some(fault) = self.random.choice(FAULTS) {
                self.strike(fault, road)?;
            }
        }
        Ok(())
    }

    /// Ends every fault that still lasts.
    pub(super) fn clear(&mut self, road: &mut Road<'_>) -> Result<(), Failure> {
        self.later.drain(..).try_for_each(|(_, later)| end(later, road))?;
        road.receivers.be_good()?;
        road.process.start_again()
    }

    /// How many faults there were so far.
    pub(super) fn total(&self) -> u32 {
        self.counts.values().sum()
    }

    /// How often each fault came.
    pub(super) fn summary(&self) -> String {
        let counts = self.counts.iter().map(|(fault, count)| format!("{fault:?} {count}"));
        counts.collect::<Vec<_>>().join(", ")
    }

    fn strike(&mut self, fault: Fault, road: &mut Road<'_>) -> Result<(), Failure> {
        let struck = match fault {
            Fault::KillWorker => self.kill(1, road),
            Fault::KillWorkers => self.kill(usize::MAX, road),
            Fault::StopWorker => {
                let victim = self.random.choice(road.process.workers());
                self.stop(victim)
            }
            Fault::StopProcess => self.stop(road.process.pid()),
            Fault::StopPull => self.stop(road.pull.pid()),
            Fault::StopEndpoint => {
                let victim = self.random.choice(&road.endpoints).copied();
                self.stop(victim)
            }
            Fault::KillProcess => {
                let struck = road.process.kill()?;
                self.soon(struck, Later::StartProcess)
            }
            Fault::EndProcess => {
                let struck = road.process.terminate()?;
                self.soon(struck, Later::StartProcess)
            }
            Fault::KillPull => {
                let struck = road.pull.kill()?;
                self.soon(struck, Later::StartPull)
            }
            Fault::EndPull => {
                let struck = road.pull.terminate()?;
                self.soon(struck, Later::StartPull)
            }
            Fault::Close => self.cut(Ending::Close, road),
            Fault::Reset => self.cut(Ending::Reset, road),
            Fault::HalfClose => self.cut(Ending::HalfClose, road),
            Fault::Stall => {
                let time = Duration::from_millis(self.random.u64(200..6_000));
                self.cut(Ending::Pause(time), road)
            }
            Fault::Down => match self.random.choice(road.receivers.exposed()) {
                Some(number) => {
                    road.receivers.go_down(number);
                    self.after(500..15_000, Later::ComeUp(number));
                    true
                }
                None => false,
            },
        };
        *self.counts.entry(fault).or_default() += u32::from(struck);
        Ok(())
    }

    fn kill(&mut self, most: usize, road: &Road<'_>) -> bool {
        let mut workers = road.process.workers();
        self.random.shuffle(&mut workers);
        workers.truncate(most);
        workers.iter().for_each(|&pid| send(pid, Signal::KILL));
        !workers.is_empty()
    }

    fn stop(&mut self, victim: Option<Pid>) -> bool {
        let Some(pid) = victim else { return false };
        send(pid, Signal::STOP);
        self.after(100..4_000, Later::Continue(pid));
        true
    }

    fn cut(&mut self, ending: Ending, road: &Road<'_>) -> bool {
        let Some(number) = self.random.choice(road.receivers.exposed()) else { return false };
        for _ in 0..self.random.u32(1..=4) {
            // Any size is as likely: a cut in the first line matters as much as one in the last.
            let bits = self.random.u32(0..=CUT_BITS);
            let manner = Manner::Cut(self.random.usize(0..1 << bits), ending);
            road.receivers.spoil(number, manner);
        }
        true
    }

    fn soon(&mut self, struck: bool, later: Later) -> bool {
        if struck {
            self.after(0..2_000, later);
        }
        struck
    }

    fn after(&mut self, milliseconds: std::ops::Range<u64>, later: Later) {
        let pause = Duration::from_millis(self.random.u64(milliseconds));
        self.later.push((Instant::now() + pause, later));
    }
}

fn end(later: Later, road: &mut Road<'_>) -> Result<(), Failure> {
    match later {
        Later::Continue(pid) => send(pid, Signal::CONT),
        Later::StartProcess => road.process.start_again()?,
        Later::StartPull => road.pull.start_again()?,
        Later::ComeUp(number) => road.receivers.come_up(number)?,
    }
    Ok(())
}
