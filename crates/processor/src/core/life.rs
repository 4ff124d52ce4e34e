//! The life of children: they start, answer, end, or overrun a limit.

use super::Core;
use super::children::{Job, KILL_LIMIT, State, Work};
use super::notice::Notice;
use super::types::{Action, ChildId, Death, Descriptor, Failure, OrderId, Reply, Role};

impl Core {
    pub(super) fn started(&mut self, id: ChildId, pid: u32) {
        if let Some(child) = self.children.get_mut(id) {
            child.pid = pid;
        }
    }

    pub(super) fn unstarted(&mut self, id: ChildId, reason: &str) {
        let Some(child) = self.children.remove(id, self.now()) else { return };
        self.counts.restarts += 1;
        let notice = self.journal.unstarted(&self.name_of(child.role), reason, self.now.monotonic);
        self.log(notice);
    }

    /// What a role is called in the log.
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
            // It was reaped, or abandoned and replaced: its answer comes too late.
            return descriptor.into_iter().for_each(|descriptor| self.close(descriptor));
        };
        let role = child.role;
        let is_alive = matches!(child.state, State::Starting | State::Running);
        match order {
            None if is_alive => self.spoke(id, role, reply),
            Some(order) if is_alive => {
                if let Some(job) = child.take(order) {
                    self.children.has_worked(role);
                    return self.finished(role, job, reply, descriptor);
                }
            }
            _ => {}
        }
        descriptor.into_iter().for_each(|descriptor| self.close(descriptor));
    }

    /// A child said something that no order asked for.
    fn spoke(&mut self, id: ChildId, role: Role, reply: Reply) {
        match (role, reply) {
            (_, Reply::Ready) => self.is_ready(id, role),
            (_, Reply::Unfit { reason, is_configuration }) => {
                self.unfit(role, reason, is_configuration);
            }
            (Role::Outbox, Reply::Listed { folder, entries }) => self.outbox.list(folder, entries),
            (Role::Spool, Reply::Found { snapshots }) => self.found(snapshots),
            (_, reply) => {
                let name = self.name_of(role);
                self.log(
                    Notice::error("a child said what it must not")
                        .text("child", name)
                        .text("reply", format!("{reply:?}").chars().take(200).collect::<String>()),
                );
            }
        }
    }

    fn is_ready(&mut self, id: ChildId, role: Role) {
        let Some(child) = self.children.get_mut(id) else { return };
        if child.state != State::Starting {
            return;
        }
        (child.state, child.limit) = (State::Running, None);
        let pid = child.pid;
        let name = self.name_of(role);
        let text = if matches!(role, Role::Fold(_)) { "worker started" } else { "child started" };
        self.log(Notice::debug(text).text("child", &name).field("pid", pid));
        let notice = self.journal.is_running(&name, self.now.monotonic);
        self.log(notice);
        match role {
            Role::Outbox => self.outbox_is_ready(),
            Role::Spool => self.spool_is_ready(),
            Role::Fold(_) | Role::Send(_) => {}
        }
    }

    /// A child that can never start ends the program, unless the program ran already: then the
    /// child is tried again, and everything else goes on.
    fn unfit(&mut self, role: Role, reason: String, is_configuration: bool) {
        let was_ready = match role {
            Role::Outbox => self.outbox.was_ready(),
            Role::Spool => self.spool.was_ready,
            Role::Fold(_) | Role::Send(_) => false,
        };
        if was_ready {
            let name = self.name_of(role);
            let notice = self.journal.unstarted(&name, &reason, self.now.monotonic);
            self.log(notice);
        } else {
            self.fail(Failure { reason, is_configuration });
        }
    }

    /// A child did what it was ordered.
    fn finished(&mut self, role: Role, job: Job, reply: Reply, descriptor: Option<Descriptor>) {
        match (role, job.work) {
            (_, Work::Fold(snapshot)) => self.fold_ended(snapshot, reply, descriptor),
            (Role::Send(receiver), Work::Send(flight)) => {
                self.send_ended(receiver, flight, job.ordered_at, reply);
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
        match child.role {
            Role::Outbox => self.outbox.is_gone(),
            Role::Spool => self.spool.is_gone(),
            Role::Fold(_) | Role::Send(_) => {}
        }
        if !self.phase.expects_ends() {
            self.counts.restarts += 1;
            let death = if child.state == State::Killed { Death::Overdue } else { death };
            let snapshot = child.jobs.iter().find_map(|job| match &job.work {
                Work::Fold(snapshot) => Some(snapshot.to_string()),
                _ => None,
            });
            let name = self.name_of(child.role);
            let now = self.now.monotonic;
            let notice = if child.state == State::Abandoned {
                Some(Notice::info("a child that hung has ended, replacing it").text("child", &name))
            } else {
                self.journal.died(&name, child.pid, death, snapshot.as_deref(), now)
            };
            self.log(notice);
            self.lose_jobs(child.role, child.jobs, death);
        } else {
            self.lose_jobs(child.role, child.jobs, Death::Asked);
        }
    }

    /// The child that had these orders is gone, or will never answer.
    fn lose_jobs(&mut self, role: Role, jobs: Vec<Job>, death: Death) {
        let is_alone = jobs.len() == 1;
        for job in jobs {
            // Only the orders that are overdue were the reason to kill it.
            let is_reason = death != Death::Overdue || self.now() >= job.limit;
            self.lost(role, job, if is_reason { death } else { Death::Killed }, is_alone);
        }
    }

    fn lost(&mut self, role: Role, job: Job, death: Death, is_alone: bool) {
        match (role, job.work) {
            (_, Work::Fold(snapshot)) => self.fold_lost(snapshot, death),
            (Role::Send(receiver), Work::Send(flight)) => {
                self.send_lost(receiver, flight, job.ordered_at, death, is_alone);
            }
            (_, Work::Hold { batch, .. }) => self.hold_lost(batch),
            (_, Work::Load { receiver, entry }) => self.load_lost(receiver, &entry),
            (_, Work::Drop { receiver, entries }) => self.drop_lost(receiver, entries),
            (_, Work::Quarantine { receiver, entry }) => self.quarantine_lost(receiver, entry),
            (_, Work::Release { snapshot, identity }) => {
                self.spool.release_again(snapshot, identity);
            }
            (_, Work::GiveUp { snapshot, reason }) => self.spool.give_up_again(snapshot, reason),
            (_, Work::Inspect | Work::Send(_)) => {}
        }
    }

    /// Kills what is overdue, and abandons what cannot be killed.
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
                    match role {
                        Role::Outbox => self.outbox.is_gone(),
                        Role::Spool => self.spool.is_gone(),
                        Role::Fold(_) | Role::Send(_) => {}
                    }
                    self.lose_jobs(role, jobs, Death::Overdue);
                }
                State::Abandoned => child.limit = None,
            }
        }
    }
}
