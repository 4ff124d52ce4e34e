//! Whether a receiver is up, goes on, or finishes: what its threads wait for.

use std::net::SocketAddr;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::archive::lock;

/// Shared by all threads of a receiver.
#[derive(Debug, Default)]
pub(super) struct Switch {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// How often the receiver went down: what began before goes then.
    pub(super) downs: usize,
    /// No connection is accepted any more, and none is held.
    pub(super) finishes: bool,
    /// Where the connection comes from that only wakes the accepting thread.
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
    pub(super) fn hold(&self, downs: usize) {
        let holds = |state: &mut State| state.downs == downs && !state.finishes;
        drop(self.changed.wait_while(self.lock(), holds).unwrap_or_else(PoisonError::into_inner));
    }

    /// The same, for so long at most.
    pub(super) fn pause(&self, time: Duration, downs: usize) {
        self.wait(time, |state| state.downs > downs || state.finishes);
    }

    /// Whether the state became so in time.
    pub(super) fn wait(&self, limit: Duration, is_so: impl Fn(&State) -> bool) -> bool {
        let waits = |state: &mut State| !is_so(state);
        let waited = self.changed.wait_timeout_while(self.lock(), limit, waits);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        is_so(&state)
    }
}
