//! The log of the code under test, as the lines that an operator would see.
//!
//! A capture sees the events of the test's thread, and of other threads that use the dispatcher of
//! this thread, because tests of one binary run side by side.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::Level;
use tracing::subscriber::{self, DefaultGuard};
use tracing_subscriber::fmt::MakeWriter;

/// Captures the log of this thread until it is dropped.
#[must_use]
pub struct Capture {
    text: Buffer,
    _guard: DefaultGuard,
}

impl Capture {
    /// Begins with the next event; events below `level` are left out.
    pub fn start(level: Level) -> Self {
        let text = Buffer::default();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_max_level(level)
            .with_writer(text.clone())
            .finish();
        Self { text, _guard: subscriber::set_default(subscriber) }
    }

    /// The log so far.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.text.lock()).into_owned()
    }

    /// The lines of the log so far.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.text().lines().map(str::to_owned).collect()
    }
}

/// Runs `work` and returns the lines that it logged, from the level `info` on.
pub fn logged(work: impl FnOnce()) -> Vec<String> {
    let capture = Capture::start(Level::INFO);
    work();
    capture.lines()
}

#[derive(Debug, Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Buffer {
    /// The buffer stays usable after a panic, because each write is one line.
    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl io::Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Buffer {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use tracing::{debug, info, warn};

    use super::*;

    #[test]
    fn lines_are_those_of_the_work_alone() {
        let lines = logged(|| {
            warn!(place = "here", "first");
            debug!("too low");
            info!("second");
        });
        warn!("too late");
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].ends_with("first place=\"here\""), "{lines:?}");
        assert!(lines[1].contains(" INFO ") && lines[1].ends_with("second"), "{lines:?}");
    }

    #[test]
    fn a_capture_can_be_read_while_it_goes_on() {
        let capture = Capture::start(Level::DEBUG);
        debug!("one");
        assert_eq!(capture.lines().len(), 1);
        debug!("two");
        assert_eq!(capture.text().matches("DEBUG").count(), 2);
    }
}
