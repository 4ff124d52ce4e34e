//! Where a program leaves what its monitor server tells. The program never waits for the server:
//! both hold the lock for a copy of some numbers, and no I/O happens under it.

use std::fs;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::history::{FigureName, History};
use super::session::{Health, Subject};
use crate::Clock;

/// The file with the memory of our process. It is the kernel's, on no disk.
const STATUS: &str = "/proc/self/status";

/// The state of a program from which its health follows.
pub trait Vitals: Send + 'static {
    /// The health at this moment. Time passes while a program that hangs leaves nothing new.
    fn health(&self, now: Instant) -> Health;
}

/// The figures of a program.
#[derive(Debug)]
pub struct Board<V> {
    program: &'static str,
    clock: Clock,
    begun: Instant,
    state: Mutex<(V, History)>,
}

impl<V: Vitals> Board<V> {
    /// The figures at the start.
    pub fn new(program: &'static str, clock: Clock, vitals: V, names: Vec<FigureName>) -> Self {
        let begun = (clock.monotonic)();
        let state = Mutex::new((vitals, History::new(names, begun)));
        Self { program, clock, begun, state }
    }

    /// Replaces the state and the figures. The values are in the order of their names.
    pub fn publish(&self, vitals: V, values: Vec<u64>) {
        let now = (self.clock.monotonic)();
        let mut state = self.state();
        state.0 = vitals;
        state.1.record(now, values);
    }

    fn state(&self) -> MutexGuard<'_, (V, History)> {
        // Both halves are whole at any time.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<V: Vitals> Subject for Board<V> {
    fn health(&self) -> Health {
        let now = (self.clock.monotonic)();
        self.state().0.health(now)
    }

    fn figures(&self, source: Option<&str>, seconds: u64) -> Option<String> {
        let now = (self.clock.monotonic)();
        self.state().1.json(now, source, seconds)
    }

    fn sources(&self) -> Vec<String> {
        self.state().1.groups()
    }

    fn process(&self) -> String {
        let uptime = (self.clock.monotonic)().duration_since(self.begun).as_secs();
        let version = env!("CARGO_PKG_VERSION");
        let mut text = format!("{} {version}\nUptime:\t{uptime} s\n", self.program);
        let status = fs::read_to_string(STATUS).unwrap_or_default();
        for line in status.lines() {
            if line.starts_with("VmSize:") || line.starts_with("VmRSS:") {
                text.push_str(line);
                text.push('\n');
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    struct Up(bool);

    impl Vitals for Up {
        fn health(&self, _now: Instant) -> Health {
            if self.0 { Health::Healthy } else { Health::Booting }
        }
    }

    #[test]
    fn what_was_left_last_is_told() {
        let clock = Clock { wall: SystemTime::now, monotonic: Instant::now };
        let names = vec![FigureName::counter("cycles", "begun")];
        let board = Board::new("test", clock, Up(false), names);
        assert_eq!(board.health(), Health::Booting);
        board.publish(Up(true), vec![3]);
        assert_eq!(board.health(), Health::Healthy);
        let json = board.figures(Some("cycles"), 300).unwrap();
        assert!(json.ends_with("\"cycles\": {\"begun\": 3}}"), "{json}");
        assert_eq!(board.sources(), ["cycles"]);
        let process = board.process();
        assert!(process.starts_with("test ") && process.contains("VmRSS:"), "{process}");
    }
}
