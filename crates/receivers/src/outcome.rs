//! What a receiver left out of a batch that counts as delivered. Such points are counted and never
//! sent again: the receiver would leave them out again.

use serde::{Deserialize, Serialize};

/// The result of a delivery.
///
/// ```
/// use haproxystats_receivers::Outcome;
///
/// let mut outcome = Outcome::default();
/// outcome.refused_points.add(2, || "field type conflict".to_owned());
/// outcome.refused_points.add(1, || "another reason".to_owned());
/// assert_eq!(outcome.refused_points.count, 3);
/// assert_eq!(outcome.refused_points.reason.as_deref(), Some("field type conflict"));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Points that the receiver refused, as it counts them: for InfluxDB a point is a line.
    pub refused_points: Loss,
    /// Lines that were not sent, because they are longer than the receiver takes.
    pub long_lines: Loss,
}

/// A number of points or lines that are lost, and the reason for the first of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// How many.
    pub count: u64,
    /// Why the first was lost. `None` if nothing was.
    pub reason: Option<String>,
}

impl Outcome {
    /// Adds what another part of the batch lost.
    pub fn add(&mut self, other: Self) {
        let refused_points = (&mut self.refused_points, other.refused_points);
        for (loss, other) in [refused_points, (&mut self.long_lines, other.long_lines)] {
            loss.add(other.count, || other.reason.unwrap_or_default());
        }
    }
}

impl Loss {
    /// Adds to the count. The reason is kept if it is the first.
    pub fn add(&mut self, count: u64, reason: impl FnOnce() -> String) {
        if count == 0 {
            return;
        }
        self.count = self.count.saturating_add(count);
        self.reason.get_or_insert_with(reason);
    }
}
