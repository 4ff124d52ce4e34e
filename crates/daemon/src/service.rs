//! Notifications to the service manager (sd_notify(3)): ready, alive, status, stopping. Without a
//! service manager they do nothing.
//!
//! The address of the service manager is in the environment, which only `bin` may read. So `bin`
//! makes the [`Service`], and all other code gets it as an argument.

use std::time::Duration;

use sd_notify::NotifyState;
use tracing::debug;

/// The service manager, if there is one.
#[derive(Debug, Clone, Copy)]
pub struct Service {
    is_managed: bool,
    watchdog: Option<Duration>,
}

impl Service {
    /// The service manager that started this process, if any.
    #[must_use]
    pub fn of_this_process() -> Self {
        Self { is_managed: true, watchdog: sd_notify::watchdog_enabled() }
    }

    /// No service manager: notifications do nothing.
    #[must_use]
    pub const fn none() -> Self {
        Self { is_managed: false, watchdog: None }
    }

    /// How often [`Service::alive`] must be called: half the time after which the watchdog ends the
    /// program.
    #[must_use]
    pub fn alive_interval(&self) -> Option<Duration> {
        self.watchdog.map(|limit| limit / 2)
    }

    /// The program is set up and begins its work.
    pub fn ready(&self) {
        self.notify(&[NotifyState::Ready]);
    }

    /// Tells the watchdog that the main loop is running.
    pub fn alive(&self) {
        if self.watchdog.is_some() {
            self.notify(&[NotifyState::Watchdog]);
        }
    }

    /// A line for `systemctl status`.
    pub fn status(&self, line: &str) {
        self.notify(&[NotifyState::Status(line)]);
    }

    /// The program has begun to end.
    pub fn stopping(&self) {
        self.notify(&[NotifyState::Stopping]);
    }

    fn notify(&self, state: &[NotifyState<'_>]) {
        if self.is_managed
            && let Err(error) = sd_notify::notify(state)
        {
            debug!(%error, "the service manager cannot be notified");
        }
    }
}
