//! The live table: redrawn in place on a terminal, printed anew every few seconds elsewhere.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::time::Duration;

use super::arrivals::{Arrivals, Values};

/// A column: its heading and the metrics whose sum it shows.
type Column = (&'static str, &'static [&'static str]);

const FRONTEND_COLUMNS: [Column; 7] = [
    ("requests", &["req_tot"]),
    ("req/s", &["req_rate"]),
    ("sessions", &["stot"]),
    ("now", &["scur"]),
    ("4xx", &["hrsp_4xx"]),
    ("5xx", &["hrsp_5xx"]),
    ("errors", &["ereq", "dreq"]),
];

const BACKEND_COLUMNS: [Column; 7] = [
    ("requests", &["req_tot"]),
    ("sess/s", &["rate"]),
    ("sessions", &["stot"]),
    ("now", &["scur"]),
    ("4xx", &["hrsp_4xx"]),
    ("5xx", &["hrsp_5xx"]),
    ("errors", &["econ", "eresp"]),
];

/// The window of metrics per second. A batch arrives at once, about one a second.
const RATE_WINDOW: Duration = Duration::from_secs(5);

/// The pause between two tables if the output is not a terminal.
const PLAIN_PAUSE: Duration = Duration::from_secs(5);

/// The table on the terminal, and when it was drawn.
pub(super) struct Screen {
    terminal: bool,
    drawn_lines: usize,
    next: Duration,
    history: VecDeque<(Duration, u64)>,
}

impl Screen {
    /// A screen on standard output.
    pub(super) fn new() -> Self {
        let terminal = std::io::stdout().is_terminal();
        let next = if terminal { Duration::ZERO } else { PLAIN_PAUSE };
        Self { terminal, drawn_lines: 0, next, history: VecDeque::new() }
    }

    /// Draws if it is due; must be called often.
    pub(super) fn show(&mut self, elapsed: Duration, arrivals: &Arrivals) {
        self.history.push_back((elapsed, arrivals.lines));
        while self.history.len() > 2 && elapsed - self.history[0].0 > RATE_WINDOW {
            self.history.pop_front();
        }
        if elapsed >= self.next {
            self.next = elapsed + if self.terminal { Duration::ZERO } else { PLAIN_PAUSE };
            self.draw(elapsed, arrivals);
        }
    }

    /// Draws the last state.
    pub(super) fn finish(&mut self, elapsed: Duration, arrivals: &Arrivals) {
        self.draw(elapsed, arrivals);
    }

    fn draw(&mut self, elapsed: Duration, arrivals: &Arrivals) {
        let mut text = String::new();
        if self.terminal && self.drawn_lines > 0 {
            // Moves to the first line of the last table and clears the screen below it.
            let _ = write!(text, "\x1b[{}A\x1b[J", self.drawn_lines);
        }
        let table = self.table(elapsed, arrivals);
        self.drawn_lines = table.lines().count();
        text.push_str(&table);
        let mut out = std::io::stdout();
        // A reader that ends early (`| head`) is not an error.
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }

    fn table(&self, elapsed: Duration, arrivals: &Arrivals) -> String {
        let mut text = format!(
            "{:>4} s   cycles {}   metrics {} ({} a second)\n\n",
            elapsed.as_secs(),
            arrivals.snapshots.len(),
            arrivals.lines,
            self.rate(),
        );
        rows(&mut text, "frontend", &FRONTEND_COLUMNS, &arrivals.frontends);
        text.push('\n');
        rows(&mut text, "backend", &BACKEND_COLUMNS, &arrivals.backends);
        if !self.terminal {
            text.push('\n');
        }
        text
    }

    fn rate(&self) -> u64 {
        match (self.history.front(), self.history.back()) {
            (Some((from, before)), Some((to, now))) if to > from => {
                (now - before) * 1000 / u64::try_from((*to - *from).as_millis()).unwrap_or(u64::MAX)
            }
            _ => 0,
        }
    }
}

fn rows(text: &mut String, title: &str, columns: &[Column], table: &BTreeMap<String, Values>) {
    let _ = write!(text, "{title:<17}");
    for (heading, _) in columns {
        let _ = write!(text, "{heading:>9}");
    }
    text.push('\n');
    if table.is_empty() {
        text.push_str("  (nothing yet)\n");
    }
    for (name, values) in table {
        let short: String = name.chars().take(15).collect();
        let _ = write!(text, "  {short:<15}");
        for (_, metrics) in columns {
            let known: Vec<&f64> = metrics.iter().filter_map(|name| values.get(*name)).collect();
            let cell = match known.len() {
                0 => "-".to_owned(),
                _ => known.into_iter().sum::<f64>().to_string(),
            };
            let _ = write!(text, "{cell:>9}");
        }
        text.push('\n');
    }
}
