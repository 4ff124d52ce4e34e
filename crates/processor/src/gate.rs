//! On which road the next snapshot goes, and what is tried while a road is closed: pure decisions, no clock, no channel.
//!
//! With the receiver up a snapshot goes straight to it. While it is down snapshots go into the outbox at full speed, and what stands
//! there is tried, the oldest first, one at a time. Where the outbox takes nothing either (a full disk), snapshots stay in the spool and
//! one is tried after each pause.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::circuit::{Change, Circuit};

/// How a worker is to dispatch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Mode {
    /// To the receiver; what it refuses goes into the outbox.
    Direct,
    /// Into the outbox.
    Store,
}

/// What the parent does when a pause is over.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Try {
    /// Nothing.
    Nothing,
    /// The oldest batch of the outbox goes to the receiver.
    Replay,
}

/// The roads and their state.
#[derive(Debug)]
pub(crate) struct Gate {
    circuit: Circuit,
    outbox: Outbox,
    /// A batch of the outbox is on its way.
    replaying: bool,
}

#[derive(Debug, PartialEq)]
enum Outbox {
    Works,
    /// It took nothing; nothing is handed out until a pause is over.
    Fails,
    /// One snapshot may go.
    Due(Mode),
    /// It is on its way.
    Probing(String),
}

impl Gate {
    pub(crate) const fn new(circuit: Circuit) -> Self {
        Self { circuit, outbox: Outbox::Works, replaying: false }
    }

    /// How the next snapshot goes; `None` if none may.
    pub(crate) const fn mode(&self) -> Option<Mode> {
        match self.outbox {
            Outbox::Works if self.circuit.is_down() => Some(Mode::Store),
            Outbox::Works => Some(Mode::Direct),
            Outbox::Due(mode) => Some(mode),
            Outbox::Fails | Outbox::Probing(_) => None,
        }
    }

    pub(crate) const fn is_down(&self) -> bool {
        self.circuit.is_down()
    }

    /// Whether a pause must be begun before something is tried; `waiting` tells whether the outbox holds anything.
    pub(crate) const fn wants_pause(&self, waiting: bool) -> bool {
        let stuck = matches!(self.outbox, Outbox::Fails);
        !self.replaying && ((self.circuit.is_down() && waiting) || stuck)
    }

    /// Whether the next batch of the outbox may go without a pause.
    pub(crate) const fn may_replay(&self) -> bool {
        !self.replaying && !self.circuit.is_down()
    }

    pub(crate) fn pause(&mut self) -> Duration {
        self.circuit.pause()
    }

    /// The pause is over; `waiting` tells whether the outbox holds anything.
    pub(crate) fn pause_over(&mut self, waiting: bool) -> Try {
        if self.outbox == Outbox::Fails {
            // One try at the receiver at a time: the outbox's, where it has one.
            self.outbox = Outbox::Due(if waiting { Mode::Store } else { Mode::Direct });
        }
        if waiting && !self.replaying {
            self.replaying = true;
            return Try::Replay;
        }
        Try::Nothing
    }

    /// A worker has begun a snapshot.
    pub(crate) fn begun(&mut self, snapshot: &str) {
        if matches!(self.outbox, Outbox::Due(_)) {
            self.outbox = Outbox::Probing(snapshot.to_owned());
        }
    }

    /// The receiver took a snapshot's batch.
    pub(crate) fn delivered(&mut self, snapshot: &str) -> Change {
        self.no_result(snapshot);
        self.outbox = Outbox::Works;
        self.circuit.took()
    }

    /// The outbox has it; `refused` tells whether the receiver was asked before.
    pub(crate) fn stored(&mut self, snapshot: &str, refused: bool) -> Change {
        self.no_result(snapshot);
        self.outbox = Outbox::Works;
        if refused { self.circuit.refused() } else { Change::None }
    }

    /// Neither has it. True if the outbox is found to fail by this.
    pub(crate) fn neither(&mut self, snapshot: &str, refused: bool) -> (Change, bool) {
        let probing = self.outbox == Outbox::Probing(snapshot.to_owned());
        let news = self.outbox == Outbox::Works;
        if probing || news {
            self.outbox = Outbox::Fails;
        }
        (if refused { self.circuit.refused() } else { Change::None }, news)
    }

    /// The outbox could keep nothing, however small its bound is: snapshots had better wait in the spool.
    pub(crate) fn nothing_kept(&mut self) {
        if self.circuit.is_down() {
            self.outbox = Outbox::Fails;
        }
    }

    /// A snapshot came to an end that tells nothing about the roads.
    pub(crate) fn no_result(&mut self, snapshot: &str) {
        if self.outbox == Outbox::Probing(snapshot.to_owned()) {
            self.outbox = Outbox::Fails;
        }
    }

    /// The receiver took a batch of the outbox: there is room again, too.
    pub(crate) fn replay_took(&mut self) -> Change {
        self.replaying = false;
        if !matches!(self.outbox, Outbox::Probing(_)) {
            self.outbox = Outbox::Works;
        }
        self.circuit.took()
    }

    /// It refused one.
    pub(crate) fn replay_refused(&mut self) -> Change {
        self.replaying = false;
        self.circuit.refused()
    }

    /// It took so long over a snapshot that nobody waits any longer: the snapshot goes into the outbox next time.
    pub(crate) fn too_slow(&mut self, snapshot: &str) -> Change {
        self.no_result(snapshot);
        self.circuit.refused()
    }

    /// It took lines about ourselves.
    pub(crate) fn own_took(&mut self) -> Change {
        self.circuit.took()
    }

    /// It refused lines about ourselves.
    pub(crate) const fn own_refused(&mut self) -> Change {
        self.circuit.refused()
    }

    /// The batch of the outbox could not be sent for a reason of its own.
    pub(crate) const fn replay_without_result(&mut self) {
        self.replaying = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate() -> Gate {
        Gate::new(Circuit::new(None, || 0.0))
    }

    #[test]
    fn up_goes_straight_and_down_goes_into_the_outbox() {
        let mut gate = gate();
        assert_eq!((gate.mode(), gate.wants_pause(true)), (Some(Mode::Direct), false));
        assert_eq!(gate.stored("1", true), Change::WentDown);
        assert_eq!(
            gate.stored("2", true),
            Change::None,
            "it was on its way when the receiver went down"
        );
        assert_eq!((gate.mode(), gate.wants_pause(true)), (Some(Mode::Store), true));
        assert_eq!(gate.pause_over(true), Try::Replay);
        assert!(!gate.wants_pause(true), "one try at a time");
        assert_eq!(gate.pause_over(true), Try::Nothing);
        assert_eq!(gate.replay_refused(), Change::None);
        assert!(gate.wants_pause(true));
        gate.pause_over(true);
        assert_eq!(gate.replay_took(), Change::CameUp);
        assert_eq!((gate.mode(), gate.may_replay()), (Some(Mode::Direct), true));
    }

    #[test]
    fn with_both_roads_closed_one_snapshot_is_tried_after_each_pause() {
        let mut gate = gate();
        assert_eq!(gate.neither("1", true), (Change::WentDown, true));
        assert_eq!(gate.neither("2", true), (Change::None, false), "told once");
        assert_eq!((gate.mode(), gate.wants_pause(false)), (None, true));
        assert_eq!(gate.pause_over(false), Try::Nothing);
        assert_eq!((gate.mode(), gate.wants_pause(false)), (Some(Mode::Direct), false));
        gate.begun("1");
        assert_eq!(gate.mode(), None, "one at a time");
        assert_eq!(gate.neither("1", true), (Change::None, false));
        assert!(gate.wants_pause(false));
        gate.pause_over(false);
        gate.begun("1");
        assert_eq!(gate.delivered("1"), Change::CameUp);
        assert_eq!(gate.mode(), Some(Mode::Direct));
    }

    #[test]
    fn the_receiver_is_tried_with_the_outbox_and_the_disk_with_a_snapshot() {
        let mut gate = gate();
        gate.neither("1", true);
        assert_eq!(gate.pause_over(true), Try::Replay);
        assert_eq!(gate.mode(), Some(Mode::Store));
        gate.begun("1");
        assert_eq!(gate.stored("1", false), Change::None);
        assert_eq!(
            gate.mode(),
            Some(Mode::Store),
            "the disk has room again, the receiver is still down"
        );
    }

    #[test]
    fn a_probe_whose_worker_dies_is_made_again_after_a_pause() {
        let mut gate = gate();
        gate.neither("1", true);
        gate.pause_over(false);
        gate.begun("1");
        gate.no_result("1");
        assert_eq!((gate.mode(), gate.wants_pause(false)), (None, true));
    }
}
