//! The report: the machine and a Markdown table on standard output, and both with all figures in
//! the result folder.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::Failure;

/// A Markdown table with notes below it.
pub(crate) struct Table {
    columns: usize,
    text: String,
    notes: String,
}

impl Table {
    pub(crate) fn new(heads: &[&str]) -> Self {
        let line = "|---".repeat(heads.len());
        Self {
            columns: heads.len(),
            text: format!("| {} |\n{line}|\n", heads.join(" | ")),
            notes: String::new(),
        }
    }

    /// Cells that are missing are empty.
    pub(crate) fn row(&mut self, mut cells: Vec<String>) {
        cells.resize(self.columns, String::new());
        let _ = writeln!(self.text, "| {} |", cells.join(" | "));
    }

    pub(crate) fn note(&mut self, words: &str) {
        let _ = write!(self.notes, "\n{words}\n");
    }

    pub(crate) fn markdown(&self) -> String {
        format!("{}{}", self.text, self.notes)
    }
}

/// Prints a part's table and leaves it with its figures as `<name>.md` and `<name>.json`.
pub(crate) fn publish(
    folder: &Path,
    name: &str,
    conditions: &Conditions,
    table: &Table,
    figures: Value,
) -> Result<(), Failure> {
    let text = format!("{}\n\n{}", conditions.line(), table.markdown());
    println!("{text}");
    let json = json!({
        "command": conditions.command, "machine": conditions.machine, "folder": conditions.folder,
        name: figures,
    });
    let put = |ending: &str, text: &str| {
        let path = folder.join(format!("{name}.{ending}"));
        fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
    };
    put("md", &text)?;
    put("json", &format!("{json:#}\n"))
}

/// The conditions under which the figures were measured.
pub(crate) struct Conditions {
    pub(crate) command: String,
    pub(crate) machine: String,
    /// The kind of file system that the spool is on.
    pub(crate) folder: &'static str,
}

impl Conditions {
    fn line(&self) -> String {
        format!("`{}` on {}; the spool is on {}.", self.command, self.machine, self.folder)
    }
}

/// Processor, cores, kernel, and how busy it was.
pub(crate) fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!(
        "{}, {cores} cores, Linux {}, load {} at the begin",
        model.map_or("a processor without a name", |(_, name)| name),
        read("/proc/sys/kernel/osrelease").trim(),
        read("/proc/loadavg").split(' ').next().unwrap_or("unknown"),
    )
}

/// A number with three significant digits.
pub(crate) fn milliseconds(value: f64) -> String {
    match value.abs() {
        small if small < 1.0 => format!("{value:.3}"),
        middle if middle < 100.0 => format!("{value:.2}"),
        _ => format!("{value:.0}"),
    }
}

pub(crate) fn ratio(value: f64) -> String {
    format!("{value:.2}")
}

pub(crate) fn bytes(value: f64) -> String {
    match value {
        small if small < 1e6 => format!("{:.0} kB", value / 1e3),
        _ => format!("{:.1} MB", value / 1e6),
    }
}

/// A size in MB, from the kB of the kernel.
pub(crate) fn memory(kilobytes: u64) -> String {
    format!("{:.1} MB", kilobytes as f64 * 1024.0 / 1e6)
}

/// A whole number with commas.
pub(crate) fn count(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) && !text.ends_with('-') {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_written_for_people() {
        assert_eq!(
            [0.0, 999.0, 1000.0, 75_400.2, 1e6].map(count).join(" "),
            "0 999 1,000 75,400 1,000,000"
        );
        assert_eq!([-5.0, -500.0, -5000.0].map(count).join(" "), "-5 -500 -5,000");
        assert_eq!([0.0521, 7.25, 812.4].map(milliseconds).join(" "), "0.052 7.25 812");
        assert_eq!([34_100.0, 2.34e6].map(bytes).join(" "), "34 kB 2.3 MB");
        assert_eq!(memory(10_000), "10.2 MB");
    }

    #[test]
    fn a_table_is_markdown_with_its_notes_below() {
        let mut table = Table::new(&["a", "b"]);
        table.row(vec!["1".to_owned()]);
        table.note("Words.");
        assert_eq!(table.markdown(), "| a | b |\n|---|---|\n| 1 |  |\n\nWords.\n");
    }

    #[test]
    fn the_machine_is_named() {
        assert!(machine().contains("cores, Linux "), "{}", machine());
    }
}
