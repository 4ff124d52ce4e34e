//! The layout of a table whose rows are not HAProxy's: how each receiver names its rows.
//!
//! Encoders know the kinds of HAProxy's tables. A table of another source brings its layout along,
//! so a new source needs no change of an encoder, and a batch on disk can be sent by a program that
//! does not have the source.

use serde::{Deserialize, Serialize};

/// Labels of a row, and parts of a path, at most.
const PARTS_MAX: usize = 16;

/// How receivers name the rows of a table.
///
/// ```
/// use haproxystats_model::layout::{Layout, PathPart};
///
/// let layout = Layout::new("uwsgi_workers", &["source", "worker_id"], "uwsgi.{0}.workers.{1}");
/// assert_eq!(layout.path.len(), 4);
/// assert_eq!(layout.path[1], PathPart::Label(0));
/// assert!(layout.is_sound());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Layout {
    /// InfluxDB's measurement, and the `kind` of a JSON object.
    pub measurement: String,
    /// The labels of each row: InfluxDB's tags, Graphite's tags, keys of a JSON object.
    pub labels: Vec<String>,
    /// The parts of Graphite's path between the host and the name of a column. Two rows must differ
    /// in a label that the path has.
    pub path: Vec<PathPart>,
    /// Whether `--render influx` prints the rows without host and time, because a collector that
    /// runs the command adds both.
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_bare: bool,
}

/// A part of a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PathPart {
    /// The same in all rows.
    Text(String),
    /// The row's label of this number.
    Label(usize),
}

impl Layout {
    /// The layout with a path in which `{0}` stands for the first label, `{1}` for the second.
    #[must_use]
    pub fn new(measurement: &str, labels: &[&str], path: &str) -> Self {
        let part = |part: &str| {
            let number = part.strip_prefix('{').and_then(|part| part.strip_suffix('}'));
            match number.map(str::parse) {
                Some(Ok(label)) => PathPart::Label(label),
                _ => PathPart::Text(part.to_owned()),
            }
        };
        Self {
            measurement: measurement.to_owned(),
            labels: labels.iter().map(|&label| label.to_owned()).collect(),
            path: path.split('.').map(part).collect(),
            is_bare: false,
        }
    }

    /// The layout with rows that `--render influx` prints without host and time.
    #[must_use]
    pub fn bare(self) -> Self {
        Self { is_bare: true, ..self }
    }

    /// Whether receivers can use it: no text needs an escape, it has a few labels, and every label
    /// in the path is one.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let is_label = |part: &PathPart| match part {
            PathPart::Text(text) => is_word(text),
            PathPart::Label(label) => *label < self.labels.len(),
        };
        is_word(&self.measurement)
            && self.labels.len() <= PARTS_MAX
            && self.labels.iter().all(|label| is_word(label))
            && (1..=PARTS_MAX).contains(&self.path.len())
            && self.path.iter().all(is_label)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(flag: &bool) -> bool {
    !flag
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|it| it.is_ascii_alphanumeric() || b"_-".contains(&it))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layout_that_no_receiver_can_use_is_not_sound() {
        assert!(Layout::new("m", &[], "uwsgi").is_sound());
        for (measurement, labels, path) in [
            ("", &[][..], "a"),
            ("m", &["x"], "a.{1}"),
            ("m", &[], "a..b"),
            ("m,n", &[], "a"),
            ("m", &["x"; 17], "a"),
        ] {
            assert!(!Layout::new(measurement, labels, path).is_sound(), "{measurement} {path}");
        }
    }
}
