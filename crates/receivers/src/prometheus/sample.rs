//! Samples, labels and headers as bytes.

use std::io::{self, Write};

use model::{Column, Value};

use super::names::Kind;
use super::page::Exposition;

/// The value of a sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Sample {
    Integer(i128),
    Decimal(f64),
}

impl Sample {
    pub(super) const fn of_flag(flag: bool) -> Self {
        Self::Integer(flag as i128)
    }

    /// The value of a cell, if it is a number.
    pub(super) fn of(column: &Column, row: usize) -> Option<Self> {
        Some(match column.get(row)? {
            Value::Integer(value) => Self::Integer(value),
            Value::Mean { sum, count } => {
                let count = i128::from(count.max(1));
                if sum % count == 0 {
                    Self::Integer(sum / count)
                } else {
                    Self::Decimal(sum as f64 / count as f64)
                }
            }
            Value::Decimal(value) => Self::Decimal(value),
            Value::Milliseconds(value) => Self::Integer(i128::from(value)).in_seconds(),
            Value::Number(text) => Self::Decimal(text.parse().ok()?),
            Value::State(_) => return None,
        })
    }

    /// Milliseconds as seconds.
    pub(super) fn in_seconds(self) -> Self {
        match self {
            Self::Integer(value) if value % 1000 == 0 => Self::Integer(value / 1000),
            Self::Integer(value) => Self::Decimal(value as f64 / 1000.0),
            Self::Decimal(value) => Self::Decimal(value / 1000.0),
        }
    }

    pub(super) fn plus(self, other: Self) -> Self {
        match (self, other) {
            (Self::Integer(one), Self::Integer(two)) => Self::Integer(one.saturating_add(two)),
            (one, two) => Self::Decimal(one.as_f64() + two.as_f64()),
        }
    }

    pub(super) fn is_negative(self) -> bool {
        self.as_f64() < 0.0
    }

    const fn as_f64(self) -> f64 {
        match self {
            Self::Integer(value) => value as f64,
            Self::Decimal(value) => value,
        }
    }

    fn write(self, out: &mut impl Write) -> io::Result<()> {
        match self {
            Self::Integer(value) => write!(out, "{value}"),
            Self::Decimal(value) => write!(out, "{value}"),
        }
    }
}

/// Appends a label to a list of labels, its value escaped.
pub(super) fn push_label(key: &str, value: &str, labels: &mut String) {
    if !labels.is_empty() {
        labels.push(',');
    }
    labels.push_str(key);
    labels.push_str("=\"");
    for character in value.chars() {
        match character {
            '\\' => labels.push_str("\\\\"),
            '"' => labels.push_str("\\\""),
            '\n' => labels.push_str("\\n"),
            // OpenMetrics allows no carriage return outside of its line ends.
            '\r' => labels.push(' '),
            other => labels.push(other),
        }
    }
    labels.push('"');
}

/// Writes the samples of a family, which begin with its header.
#[derive(Debug)]
pub(super) struct Family<'a, W> {
    pub(super) out: &'a mut W,
    exposition: Exposition,
    name: String,
    kind: Kind,
    help: &'a str,
    is_begun: bool,
}

impl<'a, W: Write> Family<'a, W> {
    pub(super) const fn new(
        out: &'a mut W,
        exposition: Exposition,
        name: String,
        kind: Kind,
        help: &'a str,
    ) -> Self {
        Self { out, exposition, name, kind, help, is_begun: false }
    }

    /// Writes a sample; `more` is a last label.
    pub(super) fn push(
        &mut self,
        labels: &str,
        more: Option<(&str, &str)>,
        sample: Sample,
    ) -> io::Result<()> {
        // A counter below zero would make OpenMetrics readers refuse the whole page.
        if self.kind == Kind::Counter && sample.is_negative() {
            return Ok(());
        }
        if !self.is_begun {
            self.is_begun = true;
            self.write_header()?;
        }
        let out = &mut *self.out;
        out.write_all(self.name.as_bytes())?;
        match (labels, more) {
            ("", None) => {}
            ("", Some((key, value))) => write!(out, "{{{key}=\"{value}\"}}")?,
            (labels, None) => write!(out, "{{{labels}}}")?,
            (labels, Some((key, value))) => write!(out, "{{{labels},{key}=\"{value}\"}}")?,
        }
        out.write_all(b" ")?;
        sample.write(out)?;
        out.write_all(b"\n")
    }

    fn write_header(&mut self) -> io::Result<()> {
        let is_counter = self.kind != Kind::Gauge;
        let (name, kind) = match self.exposition {
            Exposition::Text => (self.name.as_str(), if is_counter { "counter" } else { "gauge" }),
            // OpenMetrics's counters are named without the ending that their samples must have.
            Exposition::OpenMetrics => match (self.kind, self.name.strip_suffix("_total")) {
                (Kind::Counter, Some(family)) => (family, "counter"),
                (Kind::Gauge, _) => (self.name.as_str(), "gauge"),
                _ => (self.name.as_str(), "unknown"),
            },
        };
        writeln!(self.out, "# HELP {name} {}\n# TYPE {name} {kind}", self.help)
    }
}
