//! Aligns the columns of a table, for a terminal and for grep.

use std::time::Duration;

/// The side of its column to which a text is moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    /// For words.
    Left,
    /// For numbers.
    Right,
}

/// The heading and the alignment of a column.
pub(crate) type Column = (&'static str, Align);

/// The text of a table: a line of headings and one line for each row. An absent value is a dash, so
/// that every line has the same number of columns; only the last column may be empty.
pub(crate) fn format<const N: usize>(columns: [Column; N], rows: &[[String; N]]) -> String {
    let headings = columns.map(|(heading, _)| heading.to_owned());
    let lines: Vec<&[String; N]> = std::iter::once(&headings).chain(rows).collect();
    let mut text = String::new();
    for line in &lines {
        for (at, cell) in line.iter().enumerate() {
            let is_last = at + 1 == N;
            let cell = if cell.is_empty() && !is_last { "-" } else { cell };
            let width = lines.iter().map(|line| line[at].chars().count()).max().unwrap_or(0);
            match columns[at].1 {
                Align::Right => text.push_str(&format!("{cell:>width$}")),
                Align::Left if is_last => text.push_str(cell),
                Align::Left => text.push_str(&format!("{cell:<width$}")),
            }
            if !is_last {
                text.push_str("  ");
            }
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text
}

/// Milliseconds with one decimal.
pub(crate) fn milliseconds(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 4] = [
        ("name", Align::Left),
        ("version", Align::Left),
        ("bytes", Align::Right),
        ("reason", Align::Left),
    ];

    fn row(cells: [&str; 4]) -> [String; 4] {
        cells.map(str::to_owned)
    }

    #[test]
    fn words_go_to_the_left_and_numbers_to_the_right() {
        let rows =
            [row(["ü.sock", "2.6.12", "1234567", ""]), row(["b", "", "0", "refused; start it"])];
        let expected = "\
name    version    bytes  reason
ü.sock  2.6.12   1234567
b       -              0  refused; start it
";
        assert_eq!(format(COLUMNS, &rows), expected);
    }

    #[test]
    fn a_table_without_rows_has_its_headings() {
        assert_eq!(format(COLUMNS, &[]), "name  version  bytes  reason\n");
    }
}
