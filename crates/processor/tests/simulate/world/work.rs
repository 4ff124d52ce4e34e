//! What children make of their orders.

use std::time::Duration;

use haproxystats_processor::core::{
    Cause, ChildId, Death, Descriptor, Event, Findings, Order, OrderId, REJECTIONS_MAX, Reply,
    Role, SENDER_DEATHS_MAX,
};
use haproxystats_processor::entry::EntryName;
use model::{SnapshotId, Timestamp};

use super::{
    Child, Coming, ENTRY_BYTES, Job, Mood, NAMES_MAX, SPAN, Snapshot, Temper, Uid, World,
    delivered, refused,
};
use crate::mutants::Mutant;

impl World {
    pub(super) fn begun(&mut self, id: ChildId) {
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
            return self.step(Event::Unstarted { child: id, reason: "no memory".to_owned() });
        }
        self.step(Event::Started { child: id, pid: 1 });
        let mut replies = Vec::new();
        match role {
            Role::Outbox => {
                for (folder, entries) in self.disk.list() {
                    for part in entries.chunks(3) {
                        let (folder, entries) = (folder.clone(), part.to_vec());
                        replies.push(Reply::Listed { folder, entries });
                    }
                }
            }
            Role::Spool => {
                self.untold = self.spool.keys().cloned().collect();
                self.may_tell = true;
            }
            Role::Fold(_) | Role::Send(_) => {}
        }
        self.is_outbox_listed |= role == Role::Outbox;
        replies.push(Reply::Ready);
        for reply in replies {
            self.step(Event::Reply { child: id, order: None, reply, descriptor: None });
        }
        if role == Role::Spool {
            self.tell();
        }
    }

    pub(super) fn spool_child(&self) -> Option<ChildId> {
        let is_spool = |child: &Child| child.role == Role::Spool && !child.is_hung;
        self.children.iter().find(|(_, child)| is_spool(child)).map(|(id, _)| *id)
    }

    /// Has the spool's child name what it has not named yet.
    pub(super) fn tell(&mut self) {
        let Some(child) = self.spool_child() else { return };
        if !self.may_tell || self.untold.is_empty() {
            return;
        }
        self.may_tell = false;
        let snapshots: Vec<_> = self.untold.iter().take(NAMES_MAX).cloned().collect();
        snapshots.iter().for_each(|name| {
            self.untold.remove(name);
        });
        let reply = Reply::Found { snapshots };
        self.step(Event::Reply { child, order: None, reply, descriptor: None });
    }

    pub(super) fn publish(&mut self) {
        if self.now - self.start < SPAN {
            let interval = self.plan.interval;
            self.later(interval, Coming::Publish);
        }
        let second = self.epoch + (self.now - self.start).as_secs();
        let name = Timestamp::of_seconds(second);
        // As pull does: no snapshot ever takes the place of another.
        if self.spool.contains_key(&name) {
            return;
        }
        self.last_uid += 1;
        let uid = self.last_uid;
        let temper = if self.rng.u8(0..100) < self.plan.trouble {
            match self.rng.u8(0..6) {
                0 => Temper::CrashesItsChild,
                1 => Temper::Unusable,
                2 => {
                    self.ledger.poison.insert(uid);
                    Temper::CrashesItsSender
                }
                3 => {
                    self.ledger.rejected.insert(uid, 0);
                    Temper::IsRejected
                }
                4 => Temper::Unreadable { times: self.rng.u32(1..15) },
                _ => Temper::Vanishes,
            }
        } else {
            Temper::Good
        };
        let has_manifest = self.rng.u8(0..4) > 0;
        let snapshot = Snapshot { uid, has_manifest, temper, published: self.now };
        self.spool.insert(name.clone(), snapshot);
        self.ledger.published.insert(uid, second);
        self.publish_at.insert(uid, self.now);
        self.untold.insert(name);
        self.tell();
    }

    pub(super) fn ordered(
        &mut self,
        id: ChildId,
        order_id: OrderId,
        order: Order,
        descriptor: Option<Descriptor>,
    ) {
        if order == Order::Continue {
            self.may_tell = true;
            // Not within this step: the core is still being asked.
            let life = self.life;
            return self.later(Duration::ZERO, Coming::Names { life });
        }
        let uid = descriptor.and_then(|descriptor| self.descriptors.get(&descriptor).copied());
        if matches!(order, Order::Send | Order::Hold { .. }) && uid.is_none() {
            self.ledger.break_rule(|| format!("{order:?} comes with no open descriptor"));
        }
        if let (Some(Mutant::EarlyRelease), Order::Hold { .. }, Some(uid)) =
            (self.mutant, &order, uid)
        {
            // The snapshot goes before its batch is on the disk.
            self.spool.retain(|_, snapshot| snapshot.uid != uid);
            self.altered += 1;
        }
        if let Order::Fold { snapshot } = &order {
            self.begin_fold(snapshot);
        }
        let (hangs, most) = match &order {
            Order::Fold { .. } => (false, 30),
            Order::Send | Order::SendOwn { .. } => (false, 0),
            Order::Hold { .. }
            | Order::Load { .. }
            | Order::Drop { .. }
            | Order::Quarantine { .. } => (self.outbox_hangs, 30),
            Order::Release { .. } | Order::GiveUp { .. } | Order::Inspect => (self.spool_hangs, 20),
            Order::Continue => (false, 0),
        };
        let mut after = self.millis(most);
        let Some(child) = self.children.get_mut(&id) else { return };
        let most = if matches!(child.role, Role::Send(_)) { self.plan.flights } else { 1 };
        if child.jobs.len() >= most {
            self.ledger.break_rule(|| format!("{id:?} has more than {most} orders"));
            return;
        }
        if let Role::Send(receiver) = child.role {
            after = match self.moods.get(receiver) {
                Some(Mood::Slow) => Duration::from_millis(self.rng.u64(100..8000)),
                Some(Mood::Down) => Duration::from_millis(self.rng.u64(0..1000)),
                _ => Duration::from_millis(self.rng.u64(0..8)),
            };
        }
        child.jobs.push(Job { id: order_id, order, uid });
        if hangs {
            child.is_hung = true;
            return;
        }
        let life = self.life;
        self.later(after, Coming::Done { child: id, order: order_id, life });
    }

    /// Notes that a snapshot is to be folded, and checks the order if it must be kept.
    fn begin_fold(&mut self, name: &Timestamp) {
        let Some(uid) = self.spool.get(name).map(|snapshot| snapshot.uid) else { return };
        self.ledger.folded.push(uid);
        let is_folding =
            |child: &Child| matches!(child.role, Role::Fold(_)) && !child.jobs.is_empty();
        if self.plan.folds_in_order && self.children.values().any(is_folding) {
            self.ledger.break_rule(|| format!("{uid} is folded beside another"));
        }
    }

    /// A child has done what it was ordered, unless it died meanwhile.
    pub(super) fn done(&mut self, id: ChildId, order_id: OrderId) {
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
            self.tell();
        }
    }

    /// What an order does to the world. A child that dies may leave the order half done.
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
            Order::SendOwn { .. } => {
                let Role::Send(receiver) = role else { return Err(Death::Crashed) };
                let is_down = self.moods.get(receiver) == Some(&Mood::Down);
                Ok((if is_down { refused() } else { delivered() }, None))
            }
            Order::Hold { entry, folders, sync } => {
                Ok((self.hold(entry, folders, *sync, uid.unwrap_or_default(), is_cut), None))
            }
            Order::Load { folder, entry } => Ok(self.load(folder, entry)),
            Order::Drop { folder, entries } => {
                if self.mutant == Some(Mutant::UnboundedOutbox) {
                    self.altered += 1;
                } else {
                    let all = entries.len();
                    let count = if is_cut { self.rng.usize(0..=all) } else { all };
                    self.disk.drop(folder, entries.get(..count).unwrap_or_default());
                }
                Ok((Reply::Dropped { failure: None }, None))
            }
            Order::Quarantine { folder, entry } => {
                if let Some(uid) = self.disk.load(folder, entry) {
                    let crashes = self.ledger.sender_crashes.get(&uid).copied();
                    let rejections = self.ledger.rejected.get(&uid).copied();
                    if crashes.unwrap_or_default() < SENDER_DEATHS_MAX
                        && rejections.unwrap_or_default() < REJECTIONS_MAX
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
        let unfolded = |cause| Ok((Reply::Unfolded { cause, reason: "simulated".into() }, None));
        let Some(snapshot) = self.spool.get_mut(name) else { return unfolded(Cause::Missing) };
        let uid = snapshot.uid;
        if self.mutant == Some(Mutant::DoubleAttempt)
            && self.ledger.crashes.get(&uid).is_some_and(|crashes| *crashes == 1)
            && snapshot.temper == Temper::Good
        {
            self.altered += 1;
            return Err(Death::Crashed);
        }
        match snapshot.temper {
            Temper::Good | Temper::CrashesItsSender | Temper::IsRejected => {
                let id = SnapshotId {
                    origin: format!("host{}", uid % self.plan.origins),
                    timestamp: name.clone(),
                    serial: if snapshot.has_manifest { uid } else { 0 },
                };
                let findings = Findings::default();
                let (points, bytes, identity) = (1, self.plan.batch_bytes, uid);
                Ok((Reply::Folded { id, identity, points, bytes, findings }, Some(uid)))
            }
            Temper::CrashesItsChild => {
                *self.ledger.crashes.entry(uid).or_default() += 1;
                Err(Death::Crashed)
            }
            Temper::Unusable => unfolded(Cause::Unusable),
            Temper::Unreadable { times } => {
                *self.ledger.unreadable.entry(uid).or_default() += 1;
                let left = times.saturating_sub(1);
                snapshot.temper =
                    if left == 0 { Temper::Good } else { Temper::Unreadable { times: left } };
                unfolded(Cause::Unreadable)
            }
            Temper::Vanishes => {
                self.spool.remove(name);
                self.ledger.gone.insert(uid);
                unfolded(Cause::Missing)
            }
        }
    }

    pub(super) fn send(&mut self, receiver: usize, uid: Uid, is_cut: bool) -> Reply {
        let mood = self.moods.get(receiver).copied().unwrap_or(Mood::Up);
        // While nobody knows what the outbox holds, a second of it may be overtaken.
        if !self.is_outbox_listed
            && let Some(second) = self.ledger.published.get(&uid)
        {
            self.ledger.excused.insert(*second);
        }
        if mood != Mood::Down
            && let Some(rejections) = self.ledger.rejected.get_mut(&uid)
        {
            *rejections += 1;
            return Reply::Rejected { reason: "no sense".to_owned() };
        }
        // A receiver can have the whole batch and not say so.
        let arrives = match mood {
            Mood::Down => self.rng.u8(0..5) == 0,
            Mood::Up | Mood::Slow => !is_cut || self.rng.bool(),
        };
        let is_first = self.ledger.delivered.get(receiver).is_some_and(|got| !got.contains(&uid));
        if arrives && let Some(delivered) = self.ledger.delivered.get_mut(receiver) {
            delivered.push(uid);
        }
        if mood == Mood::Down {
            return refused();
        }
        if is_first
            && self.plan.prompt == Some(receiver)
            && let Some(published) = self.publish_at.get(&uid)
        {
            let took = self.now - *published;
            if took > Duration::from_secs(1) {
                self.ledger.break_rule(|| format!("receiver {receiver} got {uid} after {took:?}"));
            }
        }
        delivered()
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
            Err(None) => Reply::Unheld { reason: "no space".to_owned() },
            Err(Some(broken)) => {
                self.ledger.break_rule(|| broken);
                Reply::Held { size_bytes: ENTRY_BYTES }
            }
        }
    }

    pub(super) fn load(&mut self, folder: &str, entry: &EntryName) -> (Reply, Option<Uid>) {
        if self.mutant == Some(Mutant::LanesOutOfOrder) {
            self.altered += u32::from(self.disk.swap_with_later(folder, entry));
        }
        match self.disk.load(folder, entry) {
            Some(uid) => (Reply::Loaded, Some(uid)),
            None => (Reply::Unloaded { cause: Cause::Missing, reason: "missing".to_owned() }, None),
        }
    }
}
