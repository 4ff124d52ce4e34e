//! The faults as they strike children, disks and receivers.

use std::collections::BTreeMap;
use std::time::Duration;

use haproxystats_processor::core::{
    CRASHES_MAX, ChildId, Death, Event, KILLS_MAX, Order, Role, UNREADABLE_MAX,
};
use model::Timestamp;

use super::{Incident, Job, ReceiverState, SnapshotKind, Uid, World};
use crate::faults::Fault;

impl World {
    pub(super) fn give_up(&mut self, name: &Timestamp) {
        let Some(snapshot) = self.spool.remove(name) else { return };
        let uid = snapshot.uid;
        let count = |counts: &BTreeMap<Uid, u32>| counts.get(&uid).copied().unwrap_or_default();
        let ledger = &self.ledger;
        let may = snapshot.kind == SnapshotKind::Unusable
            || count(&ledger.crashes) >= CRASHES_MAX
            || count(&ledger.kills) >= KILLS_MAX
            || count(&ledger.unreadable) >= UNREADABLE_MAX;
        if !may {
            self.ledger.break_rule(|| format!("{uid} was given up without need"));
        }
        self.ledger.removed.insert(uid);
    }

    /// Ends a child, unless it hangs in the kernel. Its orders take effect, partly or not at all.
    pub(super) fn end_child(&mut self, id: ChildId, death: Death) {
        let Some(child) = self.children.get(&id) else { return };
        if child.is_hung {
            return;
        }
        let Some(child) = self.children.remove(&id) else { return };
        let is_alone = child.jobs.len() == 1;
        for Job { order, uid, .. } in child.jobs {
            match &order {
                Order::Fold { snapshot } => {
                    if let Some(snapshot) = self.spool.get(snapshot) {
                        let counts = match death {
                            Death::Killed if child.is_killed => Some(&mut self.ledger.crashes),
                            Death::Killed => Some(&mut self.ledger.kills),
                            Death::Crashed => Some(&mut self.ledger.crashes),
                            Death::Terminated | Death::Overdue => None,
                        };
                        if let Some(counts) = counts {
                            *counts.entry(snapshot.uid).or_default() += 1;
                        }
                    }
                }
                order => {
                    if let Some(uid) = uid
                        && death == Death::Crashed
                        && is_alone
                    {
                        *self.ledger.sender_crashes.entry(uid).or_default() += 1;
                    }
                    if self.rng.bool() {
                        let _ = self.effect(child.role, order, uid, true);
                    }
                }
            }
        }
        self.event_later(Duration::ZERO, Event::Ended { child: id, death });
    }

    pub(super) fn inject(&mut self, fault: Fault) {
        match fault {
            Fault::CrashChild | Fault::KillChild => {
                let ids: Vec<_> = self.children.keys().copied().collect();
                if let Some(id) = self.rng.choice(&ids) {
                    let is_crash = fault == Fault::CrashChild;
                    self.end_child(*id, if is_crash { Death::Crashed } else { Death::Killed });
                }
            }
            Fault::CrashParent { after_actions } => self.crash_after = Some(after_actions),
            Fault::PowerCut => self.crash_parent(true),
            Fault::Restart => self.step(Event::Shutdown { signal: "SIGTERM" }),
            Fault::ReceiverDown(receiver) => self.set_receiver(receiver, ReceiverState::Down),
            Fault::ReceiverSlow(receiver) => self.set_receiver(receiver, ReceiverState::Slow),
            Fault::ReceiverUp(receiver) => self.set_receiver(receiver, ReceiverState::Up),
            Fault::OutboxFull => self.disk.is_full = true,
            Fault::OutboxHangs => self.outbox_hangs = true,
            Fault::OutboxWorks => {
                (self.disk.is_full, self.outbox_hangs) = (false, false);
                self.resume(Role::Outbox);
            }
            Fault::SpoolHangs => self.spool_hangs = true,
            Fault::SpoolWorks => {
                self.spool_hangs = false;
                self.resume(Role::Spool);
            }
            Fault::ClockBack { seconds } => self.epoch -= seconds,
        }
    }

    pub(super) fn set_receiver(&mut self, receiver: usize, state: ReceiverState) {
        if let Some(known) = self.receivers.get_mut(receiver) {
            *known = state;
        }
    }

    /// Lets the children of a disk that hung go on, or end if they were killed.
    pub(super) fn resume(&mut self, role: Role) {
        let life = self.life;
        let hung: Vec<ChildId> = self
            .children
            .iter()
            .filter(|(_, child)| child.is_hung && child.role == role)
            .map(|(id, _)| *id)
            .collect();
        for id in hung {
            let Some(child) = self.children.get_mut(&id) else { continue };
            child.is_hung = false;
            if child.is_killed {
                self.end_child(id, Death::Killed);
            } else if let Some(order) = child.jobs.first().map(|job| job.id) {
                self.later(Duration::ZERO, Incident::OrderEnd { child: id, order, life });
            } else {
                self.later(Duration::ZERO, Incident::ChildStart { child: id, life });
            }
        }
    }
}
