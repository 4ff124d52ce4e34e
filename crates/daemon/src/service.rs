//! What a service manager is told (sd_notify(3)): that we are ready, that we live, how things stand. Without one, nothing.
//!
//! The place where to tell it stands in the environment; whoever makes a [`Service`] in `bin` lets it be read, all others are handed one.

use std::time::Duration;

use sd_notify::NotifyState;
use tracing::debug;

/// The service manager, if there is one.
#[derive(Debug, Clone, Copy)]
pub struct Service {
    watched: bool,
    watchdog: Option<Duration>,
}

impl Service {
    /// The one that started this process.
    #[must_use]
    pub fn of_this_process() -> Self {
        Self { watched: true, watchdog: sd_notify::watchdog_enabled() }
    }

    /// None: nothing is told to anybody.
    #[must_use]
    pub const fn none() -> Self {
        Self { watched: false, watchdog: None }
    }

    /// How often [`Service::alive`] must be called: half the time after which we would be taken for hung.
    #[must_use]
    pub fn alive_interval(&self) -> Option<Duration> {
        self.watchdog.map(|limit| limit / 2)
    }

    /// All is set up; work begins.
    pub fn ready(&self) {
        self.tell(&[NotifyState::Ready]);
    }

    /// The loop that would hang does not.
    pub fn alive(&self) {
        if self.watchdog.is_some() {
            self.tell(&[NotifyState::Watchdog]);
        }
    }

    /// How things stand, in a line for `systemctl status`.
    pub fn status(&self, line: &str) {
        self.tell(&[NotifyState::Status(line)]);
    }

    /// The end has begun.
    pub fn stopping(&self) {
        self.tell(&[NotifyState::Stopping]);
    }

    fn tell(&self, state: &[NotifyState<'_>]) {
        if self.watched
            && let Err(error) = sd_notify::notify(state)
        {
            debug!(%error, "the service manager cannot be told");
        }
    }
}
