//! The table of the instances in a snapshot: a row for each, a column for each `category.name`, in
//! the order of the alphabet, as the script `dump-perf-metrics` prints them.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use model::{Column, Layout, Names, Nature, Table, TableKind};

use super::document::{self, Metrics, Problem};
use super::name;
use crate::{Answer, Reading, Remark};

/// The columns of the table. A real instance has 14; a row must fit into a row group of a batch.
const COLUMNS_MAX: usize = 500;

/// Names in a remark.
const NAMED_MAX: usize = 10;

const DAMAGE: &str = "the answer";
const OTHERS: &str = "no numbers";
const MANY: &str = "many metrics";

/// The columns that have been found: the text of each value, by row.
#[derive(Default)]
struct Columns {
    texts: BTreeMap<String, Vec<Option<String>>>,
    /// Whether a column found no room.
    is_full: bool,
}

/// Reads the files of all instances.
pub(crate) fn read(answers: &[Answer]) -> Reading {
    let kind = TableKind::Other(Arc::new(layout()));
    let mut reading = Reading::default();
    let mut names = Names::new(&kind);
    let mut seen = HashSet::new();
    let mut columns = Columns::default();
    // Not by the names of the files, where instance10 precedes instance2.
    let mut ordered: Vec<(Option<[String; 2]>, &Answer)> =
        answers.iter().map(|answer| (name::labels(&answer.endpoint), answer)).collect();
    ordered.sort_by(|(left, _), (right, _)| order(left.as_ref()).cmp(&order(right.as_ref())));
    for (labels, answer) in ordered {
        let metrics = match row(labels.as_ref(), answer, &mut seen) {
            Ok(metrics) => metrics,
            Err(text) => {
                let subject = answer.file.clone();
                reading.damages.push(Remark { subject, state: DAMAGE, text });
                continue;
            }
        };
        reading.usable += 1;
        let Some([deployment, instance]) = labels else { continue };
        columns.add(names.len(), metrics.values);
        names.push(&[&deployment, &instance]);
        if !metrics.others.is_empty() {
            let subject = format!("{deployment}/{instance}");
            let text = others(&metrics.others);
            reading.oddities.push(Remark { subject, state: OTHERS, text });
        }
    }
    if columns.is_full {
        let text = format!("have more than {COLUMNS_MAX} metrics; those beyond are left out");
        let subject = "instances of Zope".to_owned();
        reading.oddities.push(Remark { subject, state: MANY, text });
    }
    let rows = names.len();
    let columns = columns.finish(rows);
    if !columns.is_empty() {
        reading.tables.push(Table { kind, names, columns });
    }
    reading
}

fn layout() -> Layout {
    Layout::new("deployments", &["deployment", "process"], "zope.{0}.{1}").bare()
}

/// Instances of a deployment by their numbers.
fn order(labels: Option<&[String; 2]>) -> Option<(&str, usize, &str)> {
    let [deployment, instance] = labels?;
    Some((deployment, instance.len(), instance))
}

/// The metrics of an answer, or why it is left out.
fn row(
    labels: Option<&[String; 2]>,
    answer: &Answer,
    seen: &mut HashSet<[String; 2]>,
) -> Result<Metrics, String> {
    let Some(labels) = labels else {
        let why =
            "left out: its name is not that of a deployment and an instance, with %2f between";
        return Err(why.to_owned());
    };
    let metrics = document::metrics(&answer.bytes).map_err(|problem| match problem {
        Problem::Error(text) => format!("left out: the instance has no metrics: \"{text}\""),
        Problem::Cut => "left out: it is cut; look at the disk of the spool".to_owned(),
        Problem::NoJson(quote) => format!("left out: no JSON, it begins with \"{quote}\""),
        Problem::NoMetrics => "left out: it has no metrics".to_owned(),
    })?;
    if !seen.insert(labels.clone()) {
        return Err("left out: another file is of a deployment and an instance that are written \
                    alike"
            .to_owned());
    }
    Ok(metrics)
}

fn others(names: &[String]) -> String {
    let distinct: BTreeSet<&str> = names.iter().map(String::as_str).collect();
    let named: Vec<&str> = distinct.iter().copied().take(NAMED_MAX).collect();
    let more = if distinct.len() > NAMED_MAX { " and more" } else { "" };
    format!(
        "has values that are left out, because they or their names suit no receiver: {}{more}",
        named.join(", ")
    )
}

impl Columns {
    fn add(&mut self, row: usize, values: BTreeMap<String, String>) {
        for (name, text) in values {
            if !self.texts.contains_key(&name) && self.texts.len() == COLUMNS_MAX {
                self.is_full = true;
                continue;
            }
            let column = self.texts.entry(name).or_default();
            column.resize(row, None);
            column.push(Some(text));
        }
    }

    fn finish(self, rows: usize) -> Vec<Column> {
        let mut columns = Vec::with_capacity(self.texts.len());
        for (name, mut texts) in self.texts {
            texts.resize(rows, None);
            let nature = nature(&name);
            columns.push(Column::numbers(name, nature, texts.iter().map(Option::as_deref)));
        }
        columns
    }
}

/// The nature of a metric of ftw.monitor; of a new one, that of most.
fn nature(name: &str) -> Nature {
    match name {
        "instance.uptime" => Nature::Age,
        "cache.max_size" => Nature::Limit,
        "db.conflicts" | "db.unresolved_conflicts" => Nature::Counter,
        _ => Nature::Gauge,
    }
}

#[cfg(test)]
mod tests;
