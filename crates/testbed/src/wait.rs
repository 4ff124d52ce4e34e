//! A wait for a condition that no event reports.

use std::thread;
use std::time::{Duration, Instant};

/// The pause between two checks.
const LOOK: Duration = Duration::from_millis(10);

/// Waits until the condition holds; false if it does not hold within `limit`.
pub fn wait_until(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + limit;
    while !condition() {
        if Instant::now() >= end {
            return false;
        }
        thread::sleep(LOOK);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_looked_at_until_it_holds_or_the_time_is_over() {
        let mut looks = 0;
        let third = || {
            looks += 1;
            looks == 3
        };
        assert!(wait_until(Duration::from_secs(60), third));
        assert!(!wait_until(Duration::ZERO, || false));
    }
}
