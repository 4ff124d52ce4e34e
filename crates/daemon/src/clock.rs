//! The clocks of a program. Only `bin` reads the system's clocks, so that a test can stop time or
//! set it back.

use std::time::{Duration, Instant, SystemTime};

/// The two clocks of a program.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    /// The time of the calendar; can jump.
    pub wall: fn() -> SystemTime,
    /// Measures durations; never goes back.
    pub monotonic: fn() -> Instant,
}

impl Clock {
    /// Whole seconds since the epoch; a clock before 1970 counts as 0.
    #[must_use]
    pub fn epoch_seconds(&self) -> u64 {
        (self.wall)().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
    }
}
