//! Lines that are longer than the receiver takes.

use std::io::Read;

use model::{BatchCursor, Names, Table, TableKind};
use proptest::prelude::{any, prop_assert_eq, proptest};

use super::{groups, id, names, naming, sums};
use crate::graphite::{Encoder, Paths};
use crate::{LineReader, Loss};

/// The text, and the lines that are left out.
fn bounded(tables: &[Table], max_line: usize, double_writes: bool) -> (String, Loss) {
    let naming = config::Naming { max_line: Some(max_line), ..naming(Some(groups(double_writes))) };
    let (paths, id) = (Paths::new(&naming).unwrap(), id("h"));
    let mut encoder = Encoder::new(&paths, &id, BatchCursor::over(tables)).unwrap();
    let mut text = String::new();
    encoder.read_to_string(&mut text).unwrap();
    (text, encoder.long_lines())
}

#[test]
fn a_line_that_is_too_long_is_left_out_alone_and_counted() {
    let columns = ["a", "metric", "b", "metrics"].map(|name| sums(name, &[1, 22]));
    let names = names(&TableKind::Frontend, &[&["f0"], &["longer"]]);
    let table = Table { kind: TableKind::Frontend, names, columns: columns.into() };
    // `lb.haproxy.frontend.f0.metric 1 17` and its line feed.
    let (text, loss) = bounded(&[table], 35, false);
    assert_eq!(
        text,
        "lb.haproxy.frontend.f0.a 1 17\n\
         lb.haproxy.frontend.f0.metric 1 17\n\
         lb.haproxy.frontend.f0.b 1 17\n\
         lb.haproxy.frontend.longer.a 22 17\n\
         lb.haproxy.frontend.longer.b 22 17\n"
    );
    assert_eq!(loss.count, 3);
    let reason = "a line has 36 bytes, and max-line is 35; it begins with \
                  \"lb.haproxy.frontend.f0.metrics 1\"";
    assert_eq!(loss.reason.as_deref(), Some(reason));
}

#[test]
fn a_long_line_is_quoted_in_part() {
    let name = "n".repeat(240);
    let names = names(&TableKind::Frontend, &[&[&name]]);
    let table = Table { kind: TableKind::Frontend, names, columns: vec![sums("m", &[1])] };
    let (text, loss) = bounded(&[table], 100, false);
    assert_eq!((text.as_str(), loss.count), ("", 1));
    assert!(loss.reason.unwrap().len() < 250);
}

proptest! {
    /// With any bound the lines are those without it that are short enough, and the others are
    /// counted.
    #[test]
    fn a_bound_leaves_out_what_is_longer(
        max_line in 20..80_usize, widths in proptest::collection::vec(1..40_usize, 1..6),
        values in proptest::collection::vec(any::<i64>(), 6), double_writes in any::<bool>(),
    ) {
        let row = |(row, width): (usize, &usize)| format!("{}{row}", "x".repeat(*width));
        let rows: Vec<String> = widths.iter().enumerate().map(row).collect();
        let mut names = Names::new(&TableKind::Backend);
        rows.iter().for_each(|row| names.push(&[row]));
        let values: Vec<i128> = values.iter().map(|value| i128::from(*value)).collect();
        let columns = ["m", "longer_name"].map(|name| sums(name, &values[..rows.len()]));
        let tables = [Table { kind: TableKind::Backend, names, columns: columns.into() }];
        let (all, none) = bounded(&tables, 1000, double_writes);
        prop_assert_eq!(none, Loss::default());
        let (text, loss) = bounded(&tables, max_line, double_writes);
        let short = |line: &&str| line.len() <= max_line;
        let expected: String = all.split_inclusive('\n').filter(short).collect();
        prop_assert_eq!(text, expected);
        let left_out = all.split_inclusive('\n').filter(|line| line.len() > max_line).count();
        prop_assert_eq!(loss.count, left_out as u64);
    }
}
