//! The work of the children on their orders.

use std::time::Duration;

use haproxystats_processor::core::{
    Cause, ChildId, Death, Descriptor, Event, Findings, Folder, Order, OrderId, REJECTIONS_MAX,
    Reply, Role, SENDER_DEATHS_MAX,
};
use haproxystats_processor::entry::EntryName;
use model::{SnapshotId, Timestamp};
use receivers::Outcome;

use super::{
    Child, ENTRY_BYTES, Incident, Job, NAMES_MAX, ReceiverState, SPAN, Snapshot, SnapshotKind, Uid,
    World, refused,
};
use crate::ledger::Rejections;
use crate::mutants::Mutant;

impl World {
    pub(super) fn start_child(&mut self, id: ChildId) {
        let Some(child) = self.children.get_mut(&id) else { return };
        let role = child.role;
        let hangs = match role {
            Role::Outbox => self.outbox_hangs,
            Role::Spool => self.spool_hangs,
            Role::Fold(_) | Role::Send(_) => false,
        };
        if hangs {
            child.is_hung = true;
            return;
        }
        if self.rng.u8(0..50) == 0 {
            self.children.remove(&id);
            return self.step(Event::SpawnFailed { child: id, reason: "no memory".to_owned() });
        }
        self.step(Event::Started { child: id, pid: 1 });
        let mut replies = Vec::new();
        match role {
            Role::Outbox => {
                for Folder { name, files } in self.disk.list() {
                    for part in files.chunks(3) {
                        let folder = Folder { name: name.clone(), files: part.to_vec() };
                        replies.push(Reply::Folder(folder));
                    }
                }
            }
            Role::Spool => {
                self.unnamed = self.spool.keys().cloned().collect();
                self.may_name = true;
            }
            Role::Fold(_) | Role::Send(_) => {}
        }
        self.is_outbox_listed |= role == Role::Outbox;
        replies.push(Reply::Ready);
        for reply in replies {
            self.step(Event::Reply { child: id, order: None, reply, descriptor: None });
        }
        if role == Role::Spool {
            self.name_snapshots();
        }
    }

    pub(super) fn spool_child(&self) -> Option<ChildId> {
        let is_spool = |child: &Child| child.role == Role::Spool && !child.is_hung;
        self.children.iter().find(|(_, child)| is_spool(child)).map(|(id, _)| *id)
    }

    /// Sends a message of the spool child with names that it has not sent yet.
    pub(super) fn name_snapshots(&mut self) {
        let Some(child) = self.spool_child() else { return };
        if !self.may_name || self.unnamed.is_empty() {
            return;
        }
        self.may_name = false;
        let snapshots: Vec<_> = self.unnamed.iter().take(NAMES_MAX).cloned().collect();
        self.unnamed.retain(|name| !snapshots.contains(name));
        let reply = Reply::Names { snapshots };
        self.step(Event::Reply { child, order: None, reply, descriptor: None });
    }

    pub(super) fn publish(&mut self) {
        if self.now - self.start < SPAN {
            let interval = self.plan.interval;
            self.later(interval, Incident::Publish);
        }
        let second = self.epoch + (self.now - self.start).as_secs();
        let name = Timestamp::of_seconds(second);
        // As with pull, a snapshot never replaces another one.
        if self.spool.contains_key(&name) {
            return;
        }
        self.last_uid += 1;
        let uid = self.last_uid;
        let kind = if self.rng.u8(0..100) < self.plan.trouble {
            match self.rng.u8(0..6) {
                0 => SnapshotKind::ChildCrash,
                1 => SnapshotKind::Unusable,
                2 => {
                    self.ledger.poison.insert(uid);
                    SnapshotKind::SenderCrash
                }
                3 => {
                    self.ledger.rejected.insert(uid, Rejections::default());
                    SnapshotKind::Rejection
                }
                4 => SnapshotKind::Unreadable { times: self.rng.u32(1..15) },
                _ => SnapshotKind::Removal,
            }
        } else {
            SnapshotKind::Good
        };
        let has_manifest = self.rng.u8(0..4) > 0;
        let snapshot = Snapshot { uid, has_manifest, kind };
        self.spool.insert(name.clone(), snapshot);
        self.ledger.published.insert(uid, second);
        self.published_at.insert(uid, self.now);
        self.unnamed.insert(name);
        self.name_snapshots();
    }

    pub(super) fn ordered(
        &mut self,
        id: ChildId,
        order_id: OrderId,
        order: Order,
        descriptor: Option<Descriptor>,
    ) {
        if order == Order::Continue {
            self.may_name = true;
            // The names come after this step, because the core is still in it.
            let life = self.life;
            return self.later(Duration::ZERO, Incident::Names { life });
        }
        let uid = descriptor.and_then(|descriptor| self.descriptors.get(&descriptor).copied());
        if matches!(order, Order::Send | Order::Hold { .. }) && uid.is_none() {
            self.ledger.break_rule(|| format!("{order:?} comes with no open descriptor"));
        }
        if let (Some(Mutant::EarlyRelease), Order::Hold { .. }, Some(uid)) =
            (self.mutant, &order, uid)
        {
            // The snapshot is removed before its batch is on the disk.
            self.spool.retain(|_, snapshot| snapshot.uid != uid);
        }
        if let Order::Fold { snapshot } = &order {
            self.begin_fold(snapshot);
        }
        let (hangs, most) = match &order {
            Order::Fold { .. } => (false, 30),
            Order::Send | Order::SendFigures { .. } => (false, 0),
            Order::Hold { .. }
            | Order::Load { .. }
            | Order::Drop { .. }
            | Order::Quarantine { .. } => (self.outbox_hangs, 30),
            Order::Release { .. } | Order::GiveUp { .. } | Order::Inspect => (self.spool_hangs, 20),
            Order::Continue => (false, 0),
        };
        let mut after = self.millis(most);
        let Some(child) = self.children.get_mut(&id) else { return };
        let most = if matches!(child.role, Role::Send(_)) { self.plan.in_flight_max } else { 1 };
        if child.jobs.len() >= most {
            self.ledger.break_rule(|| format!("{id:?} has more than {most} orders"));
            return;
        }
        if let Role::Send(receiver) = child.role {
            after = match self.receivers.get(receiver) {
                Some(ReceiverState::Slow) => Duration::from_millis(self.rng.u64(100..8000)),
                Some(ReceiverState::Down) => Duration::from_millis(self.rng.u64(0..1000)),
                _ => Duration::from_millis(self.rng.u64(0..8)),
            };
        }
        child.jobs.push(Job { id: order_id, order, uid });
        if hangs {
            child.is_hung = true;
            return;
        }
        let life = self.life;
        self.later(after, Incident::OrderEnd { child: id, order: order_id, life });
    }

    /// Notes that a fold begins, and checks that it is alone if folds must keep their order.
    fn begin_fold(&mut self, name: &Timestamp) {
        let Some(uid) = self.spool.get(name).map(|snapshot| snapshot.uid) else { return };
        self.ledger.folded.push(uid);
        let is_folding =
            |child: &Child| matches!(child.role, Role::Fold(_)) && !child.jobs.is_empty();
        if self.plan.folds_in_order && self.children.values().any(is_folding) {
            self.ledger.break_rule(|| format!("{uid} is folded beside another"));
        }
    }

    /// A child has carried out an order, unless it died meanwhile.
    pub(super) fn end_order(&mut self, id: ChildId, order_id: OrderId) {
        let Some(child) = self.children.get_mut(&id) else { return };
        let Some(position) = child.jobs.iter().position(|job| job.id == order_id) else { return };
        let role = child.role;
        if let Some(uid) = child.jobs.get(position).and_then(|job| job.uid)
            && matches!(role, Role::Send(_))
            && self.ledger.poison.contains(&uid)
        {
            return self.end_child(id, Death::Crashed);
        }
        let Job { order, uid, .. } = child.jobs.remove(position);
        let (reply, content) = match self.effect(role, &order, uid, false) {
            Ok(done) => done,
            Err(death) => {
                self.children.remove(&id);
                return self.step(Event::Ended { child: id, death });
            }
        };
        let descriptor = content.map(|uid| {
            self.last_descriptor += 1;
            let descriptor = Descriptor(self.last_descriptor);
            self.descriptors.insert(descriptor, uid);
            descriptor
        });
        self.step(Event::Reply { child: id, order: Some(order_id), reply, descriptor });
        if role == Role::Spool {
            self.name_snapshots();
        }
    }

    /// The effect of an order on the world. With `is_cut` the child dies, and the effect may be
    /// partial.
    pub(super) fn effect(
        &mut self,
        role: Role,
        order: &Order,
        uid: Option<Uid>,
        is_cut: bool,
    ) -> Result<(Reply, Option<Uid>), Death> {
        match order {
            Order::Fold { snapshot } => self.fold(snapshot),
            Order::Send => {
                let Role::Send(receiver) = role else { return Err(Death::Crashed) };
                Ok((self.send(receiver, uid.unwrap_or_default(), is_cut), None))
            }
            Order::SendFigures { .. } => {
                let Role::Send(receiver) = role else { return Err(Death::Crashed) };
                let is_down = self.receivers.get(receiver) == Some(&ReceiverState::Down);
                Ok((if is_down { refused() } else { Reply::Delivered(Outcome::default()) }, None))
            }
            Order::Hold { entry, folders, sync } => {
                Ok((self.hold(entry, folders, *sync, uid.unwrap_or_default(), is_cut), None))
            }
            Order::Load { folder, entry } => Ok(self.load(folder, entry)),
            Order::Drop { folder, entries } => {
                if self.mutant != Some(Mutant::UnboundedOutbox) {
                    let all = entries.len();
                    let count = if is_cut { self.rng.usize(0..=all) } else { all };
                    self.disk.drop(folder, entries.get(..count).unwrap_or_default());
                }
                Ok((Reply::Dropped { failure: None }, None))
            }
            Order::Quarantine { folder, entry } => {
                if let Some(uid) = self.disk.load(folder, entry) {
                    let crashes = self.ledger.sender_crashes.get(&uid).copied();
                    let rejections = self.ledger.rejected.get(&uid).copied().unwrap_or_default();
                    if crashes.unwrap_or_default() < SENDER_DEATHS_MAX
                        && !rejections.suffice(REJECTIONS_MAX, self.now)
                        && !self.ledger.damaged.contains(&uid)
                    {
                        self.ledger.break_rule(|| format!("{uid} was set aside without need"));
                    }
                }
                self.disk.drop(folder, std::slice::from_ref(entry));
                Ok((Reply::Dropped { failure: None }, None))
            }
            Order::Release { snapshot, identity } => {
                if self.spool.get(snapshot).is_some_and(|standing| standing.uid == *identity) {
                    self.spool.remove(snapshot);
                }
                Ok((Reply::Released { undeleted: None }, None))
            }
            Order::GiveUp { snapshot, .. } => {
                self.give_up(snapshot);
                Ok((Reply::GivenUp { removed: 0 }, None))
            }
            Order::Inspect => {
                let (waiting, oldest) =
                    (self.spool.len() as u64, self.spool.keys().next().cloned());
                Ok((Reply::Inspected { waiting, oldest, undeleted: 0, reason: None }, None))
            }
            Order::Continue => Err(Death::Crashed),
        }
    }

    pub(super) fn fold(&mut self, name: &Timestamp) -> Result<(Reply, Option<Uid>), Death> {
        let failure = |cause| Ok((Reply::FoldFailed { cause, reason: "simulated".into() }, None));
        let Some(snapshot) = self.spool.get_mut(name) else { return failure(Cause::Missing) };
        let uid = snapshot.uid;
        if self.mutant == Some(Mutant::DoubleAttempt)
            && self.ledger.crashes.get(&uid).is_some_and(|crashes| *crashes == 1)
            && snapshot.kind == SnapshotKind::Good
        {
            return Err(Death::Crashed);
        }
        match snapshot.kind {
            SnapshotKind::Good | SnapshotKind::SenderCrash | SnapshotKind::Rejection => {
                let id = SnapshotId {
                    origin: format!("host{}", uid % self.plan.origins),
                    timestamp: name.clone(),
                    serial: if snapshot.has_manifest { uid } else { 0 },
                };
                let findings = Findings::default();
                let (points, bytes, identity) = (1, self.plan.batch_bytes, uid);
                Ok((Reply::Folded { id, identity, points, bytes, findings }, Some(uid)))
            }
            SnapshotKind::ChildCrash => {
                *self.ledger.crashes.entry(uid).or_default() += 1;
                Err(Death::Crashed)
            }
            SnapshotKind::Unusable => failure(Cause::Unusable),
            SnapshotKind::Unreadable { times } => {
                *self.ledger.unreadable.entry(uid).or_default() += 1;
                let times = times.saturating_sub(1);
                let is_good = times == 0;
                snapshot.kind =
                    if is_good { SnapshotKind::Good } else { SnapshotKind::Unreadable { times } };
                failure(Cause::Unreadable)
            }
            SnapshotKind::Removal => {
                self.spool.remove(name);
                self.ledger.removed.insert(uid);
                failure(Cause::Missing)
            }
        }
    }

    pub(super) fn send(&mut self, receiver: usize, uid: Uid, is_cut: bool) -> Reply {
        let state = self.receivers.get(receiver).copied().unwrap_or(ReceiverState::Up);
        // Until the outbox is listed, a new batch may overtake a held one of its second.
        if !self.is_outbox_listed
            && let Some(second) = self.ledger.published.get(&uid)
        {
            self.ledger.excused.insert(*second);
        }
        if state != ReceiverState::Down
            && let Some(rejections) = self.ledger.rejected.get_mut(&uid)
        {
            rejections.all += 1;
            rejections.since.get_or_insert(self.now);
            let reason = "no sense".to_owned();
            // A receiver may not tell whether the reason is the batch.
            let is_doubtful = self.rng.u8(0..4) == 0;
            if is_doubtful {
                return Reply::Doubtful { reason };
            }
            rejections.clear += 1;
            return Reply::Rejected { reason };
        }
        // A receiver can get the whole batch without an answer to the send child.
        let arrives = match state {
            ReceiverState::Down => self.rng.u8(0..5) == 0,
            ReceiverState::Up | ReceiverState::Slow => !is_cut || self.rng.bool(),
        };
        let is_first = self.ledger.delivered.get(receiver).is_some_and(|got| !got.contains(&uid));
        if arrives && let Some(delivered) = self.ledger.delivered.get_mut(receiver) {
            delivered.push(uid);
        }
        if state == ReceiverState::Down {
            return refused();
        }
        if is_first
            && self.plan.prompt_receiver == Some(receiver)
            && let Some(published) = self.published_at.get(&uid)
        {
            let took = self.now - *published;
            if took > Duration::from_secs(1) {
                self.ledger.break_rule(|| format!("receiver {receiver} got {uid} after {took:?}"));
            }
        }
        Reply::Delivered(Outcome::default())
    }

    pub(super) fn hold(
        &mut self,
        entry: &EntryName,
        folders: &[String],
        sync: bool,
        uid: Uid,
        is_cut: bool,
    ) -> Reply {
        let all = folders.len();
        let done = if is_cut { self.rng.usize(0..=all) } else { all };
        match self.disk.hold(uid, entry, folders, sync && !is_cut, done) {
            Ok(()) => Reply::Held { size_bytes: ENTRY_BYTES },
            Err(None) => Reply::HoldFailed { reason: "no space".to_owned() },
            Err(Some(broken)) => {
                self.ledger.break_rule(|| broken);
                Reply::Held { size_bytes: ENTRY_BYTES }
            }
        }
    }

    pub(super) fn load(&mut self, folder: &str, entry: &EntryName) -> (Reply, Option<Uid>) {
        if self.mutant == Some(Mutant::LanesOutOfOrder) {
            self.disk.swap_with_later(folder, entry);
        }
        let reason = "the disk says no".to_owned();
        if self.plan.trouble > 0 && self.rng.u8(0..20) == 0 {
            return (Reply::LoadFailed { cause: Cause::Unreadable, reason }, None);
        }
        match self.disk.load(folder, entry) {
            Some(uid) => {
                // The folders of all receivers have one file, so its damage is that of all.
                if self.plan.trouble > 0 && self.rng.u8(0..200) == 0 {
                    self.ledger.damaged.insert(uid);
                }
                if self.ledger.damaged.contains(&uid) {
                    return (Reply::LoadFailed { cause: Cause::Unusable, reason }, None);
                }
                (Reply::Loaded, Some(uid))
            }
            None => {
                let reason = "missing".to_owned();
                (Reply::LoadFailed { cause: Cause::Missing, reason }, None)
            }
        }
    }
}
