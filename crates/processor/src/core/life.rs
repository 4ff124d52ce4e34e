//! The life of children: their start, their replies, their end, and limits that they overrun.

use super::Core;
use super::children::{Job, KILL_LIMIT, State, Work};
use super::journal::Condition;
use super::notice::Notice;
use super::types::{Action, ChildId, Death, Descriptor, OrderId, Reply, Role, StartFailure};

impl Core {
    pub(super) fn started(&mut self, id: ChildId, pid: u32) {
        if let Some(child) = self.children.get_mut(id) {
            child.pid = pid;
        }
    }

    pub(super) fn spawn_failed(&mut self, id: ChildId, reason: &str) {
        let Some(child) = self.children.remove(id, self.now()) else { return };
        self.counts.restarts += 1;
        self.log_start_failure(child.role, reason);
    }

    fn log_start_failure(&mut self, role: Role, reason: &str) {
        let notice = Notice::error("cannot start a child, trying again");
        let notice = notice.text("child", self.name_of(role)).text("reason", reason);
        self.log_begin(Condition::StartFailure(role), "", notice);
    }

    /// The name of a role in the log.
    pub(super) fn name_of(&self, role: Role) -> String {
        match role {
            Role::Fold(index) => format!("fold {index}"),
            Role::Send(index) => {
                let receiver = self.receivers.get(index);
                format!("send {}", receiver.map_or("", |receiver| &receiver.settings.name))
            }
            Role::Outbox => "outbox".to_owned(),
            Role::Spool => "spool".to_owned(),
        }
    }

    pub(super) fn reply(
        &mut self,
        id: ChildId,
        order: Option<OrderId>,
        reply: Reply,
        descriptor: Option<Descriptor>,
    ) {
        let Some(child) = self.children.get_mut(id) else {
            // The reply is late: its child was reaped, or abandoned and replaced.
            return self.close(descriptor);
        };
        let role = child.role;
        let is_alive = matches!(child.state, State::Starting | State::Running);
        match order {
            None if is_alive => self.message(id, role, reply),
            Some(order) if is_alive => {
                if let Some(job) = child.end_job(order) {
                    self.children.has_worked(role);
                    return self.finished(role, job, reply, descriptor);
                }
            }
            _ => {}
        }
        self.close(descriptor);
    }

    /// A child sent a message that answers no order.
    fn message(&mut self, id: ChildId, role: Role, reply: Reply) {
        match (role, reply) {
            (_, Reply::Ready) => self.child_is_ready(id, role),
            (_, Reply::StartFailure(failure)) => self.start_failed(role, failure),
            (Role::Outbox, Reply::Folder(folder)) => self.outbox.add_to_list(folder),
            (Role::Spool, Reply::Names { snapshots }) => self.snapshots_named(snapshots),
            (_, reply) => {
                let name = self.name_of(role);
                let notice = Notice::error("a child sent a wrong message, please report this");
                self.log(notice.text("child", name).text("reply", beginning(&reply)));
            }
        }
    }

    fn child_is_ready(&mut self, id: ChildId, role: Role) {
        let Some(child) = self.children.get_mut(id) else { return };
        if child.state != State::Starting {
            return;
        }
        (child.state, child.limit) = (State::Running, None);
        let pid = child.pid;
        let name = self.name_of(role);
        let text = if matches!(role, Role::Fold(_)) { "worker started" } else { "child started" };
        self.log(Notice::debug(text).text("child", &name).field("pid", pid));
        self.end(Condition::ChildDeath(role));
        let notice = Notice::info("a child has started after all").text("child", &name);
        self.log_end(Condition::StartFailure(role), notice);
        match role {
            Role::Outbox => self.outbox_is_ready(),
            Role::Spool => self.spool_is_ready(),
            Role::Fold(_) | Role::Send(_) => {}
        }
    }

    /// A child that can never start ends the program, unless such a child was ready before: then
    /// its start is tried again, and everything else goes on.
    fn start_failed(&mut self, role: Role, failure: StartFailure) {
        let was_ready = match role {
            Role::Outbox => self.outbox.was_ready,
            Role::Spool => self.spool.was_ready,
            Role::Fold(_) | Role::Send(_) => false,
        };
        if was_ready {
            self.log_start_failure(role, &failure.reason);
        } else {
            self.fail(failure);
        }
    }

    /// A child answered an order.
    fn finished(&mut self, role: Role, job: Job, reply: Reply, descriptor: Option<Descriptor>) {
        match (role, job.work) {
            (_, Work::Fold(snapshot)) => self.fold_ended(snapshot, reply, descriptor),
            (Role::Send(receiver), Work::Send(delivery)) => {
                self.send_ended(receiver, delivery, job.ordered_at, reply);
            }
            (_, Work::Hold { batch, entry, receivers }) => {
                self.hold_ended(batch, entry, receivers, reply);
            }
            (_, Work::Load { receiver, entry }) => {
                self.load_ended(receiver, entry, reply, descriptor);
            }
            (_, Work::Drop { receiver, entries }) => self.drop_ended(receiver, entries, reply),
            (_, Work::Quarantine { receiver, entry }) => {
                self.quarantine_ended(receiver, entry, reply);
            }
            (_, Work::Release { snapshot, identity }) => {
                self.release_ended(snapshot, identity, reply);
            }
            (_, Work::GiveUp { snapshot, reason }) => self.give_up_ended(snapshot, reason, reply),
            (_, Work::Inspect) => self.inspect_ended(reply),
            (_, Work::Send(_)) => {}
        }
    }

    /// The system has reaped a child.
    pub(super) fn ended(&mut self, id: ChildId, death: Death) {
        let Some(child) = self.children.remove(id, self.now()) else { return };
        self.forget_child(child.role);
        if !self.phase.expects_ends() {
            self.counts.restarts += 1;
            let death = if child.state == State::Killed { Death::Overdue } else { death };
            let snapshot = child.jobs.iter().find_map(|job| match &job.work {
                Work::Fold(snapshot) => Some(snapshot.to_string()),
                _ => None,
            });
            if child.state == State::Abandoned {
                let notice = Notice::info("a child that hung has ended, replacing it");
                self.log(notice.text("child", self.name_of(child.role)));
            } else {
                self.log_death(child.role, child.pid, death, snapshot.as_deref());
            }
            self.lose_jobs(child.role, child.jobs, death);
        } else {
            self.lose_jobs(child.role, child.jobs, Death::Terminated);
        }
    }

    /// The child of a role has ended or is abandoned.
    fn forget_child(&mut self, role: Role) {
        match role {
            Role::Outbox => self.outbox.forget_child(),
            Role::Spool => self.spool.forget_child(),
            Role::Fold(_) | Role::Send(_) => {}
        }
    }

    /// The child that had these orders has ended, or will never answer.
    fn lose_jobs(&mut self, role: Role, jobs: Vec<Job>, death: Death) {
        let is_alone = jobs.len() == 1;
        for job in jobs {
            // Only the orders that are overdue were the reason to kill the child.
            let is_reason = death != Death::Overdue || self.now() >= job.limit;
            self.lost(role, job, if is_reason { death } else { Death::Killed }, is_alone);
        }
    }

    fn lost(&mut self, role: Role, job: Job, death: Death, is_alone: bool) {
        match (role, job.work) {
            (_, Work::Fold(snapshot)) => self.fold_lost(snapshot, death),
            (Role::Send(receiver), Work::Send(delivery)) => {
                self.send_lost(receiver, delivery, job.ordered_at, death, is_alone);
            }
            (_, Work::Hold { batch, .. }) => self.hold_lost(batch),
            (_, Work::Load { receiver, entry }) => self.load_lost(receiver, &entry),
            (_, Work::Drop { receiver, entries }) => self.drop_lost(receiver, entries),
            (_, Work::Quarantine { receiver, entry }) => {
                self.outbox.quarantine_later(receiver, entry);
            }
            (_, Work::Release { snapshot, identity }) => {
                self.spool.release_again(snapshot, identity);
            }
            (_, Work::GiveUp { snapshot, reason }) => self.spool.give_up_again(snapshot, reason),
            (_, Work::Inspect | Work::Send(_)) => {}
        }
    }

    /// Kills the children that are overdue, and abandons those that the system cannot end.
    pub(super) fn look_at_limits(&mut self) {
        let now = self.now();
        for id in self.children.overdue(now) {
            let Some(child) = self.children.get_mut(id) else { continue };
            match child.state {
                State::Starting | State::Running => {
                    (child.state, child.limit) = (State::Killed, Some(now + KILL_LIMIT));
                    self.act(Action::Kill(id));
                }
                State::Killed => {
                    (child.state, child.limit) = (State::Abandoned, None);
                    let (role, pid) = (child.role, child.pid);
                    let jobs = std::mem::take(&mut child.jobs);
                    let name = self.name_of(role);
                    self.log(
                        Notice::error(
                            "a child hangs in the kernel and cannot be killed, going on without \
                             it until it ends; look at the disk that it uses",
                        )
                        .text("child", name)
                        .field("pid", pid),
                    );
                    self.forget_child(role);
                    self.lose_jobs(role, jobs, Death::Overdue);
                }
                State::Abandoned => child.limit = None,
            }
        }
    }
}

/// The beginning of a reply, for the log.
pub(super) fn beginning(reply: &Reply) -> String {
    format!("{reply:?}").chars().take(200).collect()
}
