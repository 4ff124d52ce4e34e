//! The state of a receiver that its threads wait for: up, down or finishing.

use std::net::SocketAddr;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::archive::lock;

/// The state, shared by all threads of a receiver.
#[derive(Debug, Default)]
pub(super) struct Switch {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// The number of times that the receiver went down, which ends all earlier connections.
    pub(super) downs: usize,
    /// No connection is accepted any more, and no script waits.
    pub(super) finishes: bool,
    /// The address of the connection that only wakes the accepting thread.
    pub(super) waker: Option<SocketAddr>,
    pub(super) accepted: usize,
    /// The numbers of the connections that are open.
    pub(super) open: Vec<usize>,
}

impl Switch {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Changes the state and tells all threads.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.lock());
        self.changed.notify_all();
        result
    }

    pub(super) fn went_down_since(&self, downs: usize) -> bool {
        self.lock().downs > downs
    }

    /// Waits until the receiver goes down or finishes.
    pub(super) fn wait_for_end(&self, downs: usize) {
        let goes_on = |state: &mut State| state.downs == downs && !state.finishes;
        drop(self.changed.wait_while(self.lock(), goes_on).unwrap_or_else(PoisonError::into_inner));
    }

    /// Waits until the receiver goes down or finishes, for this time at most.
    pub(super) fn pause(&self, time: Duration, downs: usize) {
        self.wait(time, |state| state.downs > downs || state.finishes);
    }

    /// Waits for a condition of the state; false if it does not hold within the limit.
    pub(super) fn wait(&self, limit: Duration, holds: impl Fn(&State) -> bool) -> bool {
        let does_not_hold = |state: &mut State| !holds(state);
        let result = self.changed.wait_timeout_while(self.lock(), limit, does_not_hold);
        let (state, _) = result.unwrap_or_else(PoisonError::into_inner);
        holds(&state)
    }
}
