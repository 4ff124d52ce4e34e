//! All processes together and each by itself, and what is derived from their figures.
//!
//! A key that only some processes have is summed over those.

use std::collections::{HashMap, HashSet};

use model::catalog::{DAEMON_MEANS, DAEMON_PERCENTAGES, DAEMON_SUMS, Fold};
use model::section::{Column, Names, Part, Section, Subject, clean};

use crate::cells::Cells;
use crate::fold::{Refused, Table};
use crate::process::{IDLE, Process, keys};
use crate::stat::Rows;

/// Sections of the daemon: all processes together, then each by itself where that is wanted.
pub(crate) fn sections(
    mut processes: Vec<Process>,
    per_process: bool,
    percentages: bool,
) -> Result<Vec<Section>, Refused> {
    if processes.is_empty() {
        return Ok(Vec::new());
    }
    name_apart(&mut processes);
    let rows = rows(&processes);
    let plan = rows.plan.clone();
    let table = Table::new(rows);
    let mut columns = table.fold(&table.codes, &plan)?.columns;
    columns.extend(cpu_statistics(&processes));
    if percentages {
        let totals = columns.clone();
        columns.extend(percentage_columns(1, |key, row| value_of(&totals, key, row)));
    }
    let mut sections = vec![Section::of_one(Subject::Daemon, Part::HAProxy, columns)];
    if per_process {
        sections.push(each_process(&processes, percentages));
    }
    Ok(sections)
}

/// Where two processes bear one number, as independent HAProxies do, the endpoints' names stand in; where even these become
/// one, as `a.b` and `a_b` do, the later ones are counted through.
fn name_apart(processes: &mut [Process]) {
    let mut times: HashMap<String, usize> = HashMap::new();
    for process in processes.iter() {
        *times.entry(process.name.clone()).or_default() += 1;
    }
    for process in processes.iter_mut() {
        if times.get(&process.name).is_some_and(|times| *times > 1) {
            process.name = clean::segment(&process.endpoint);
        }
    }
    let mut taken: HashSet<String> = HashSet::new();
    let mut numbers: HashMap<String, usize> = HashMap::new();
    for process in processes {
        let name = process.name.clone();
        while !taken.insert(process.name.clone()) {
            let number = numbers.entry(name.clone()).or_insert(1);
            *number += 1;
            process.name = format!("{name}_{number}");
        }
    }
}

fn rows(processes: &[Process]) -> Rows {
    let plan = DAEMON_SUMS.iter().map(|key| (*key, Fold::Sum));
    let mut rows =
        Rows::new(plan.chain(DAEMON_MEANS.iter().map(|key| (*key, Fold::Mean))).collect(), 0);
    for (column, (cells, seen)) in rows.columns.iter_mut().zip(&mut rows.seen).enumerate() {
        for process in processes {
            *seen |= process.values[column].is_some();
            push(cells, process.values[column].flatten());
        }
    }
    rows.codes = vec![0; processes.len()];
    rows
}

fn push(cells: &mut Cells, value: Option<i128>) {
    match value {
        Some(value) => {
            cells.push_wide(value);
        }
        None => cells.push_null(),
    }
}

fn cpu_usage(process: &Process) -> Option<i128> {
    let idle = keys().position(|key| key == IDLE)?;
    process.values[idle].flatten().map(|idle| 100 - idle)
}

/// Percentiles and the standard deviation over two processes or more.
///
/// The q-th percentile of n sorted values is the one at index (n - 1) * q, rounded half to even, as pandas' `nearest` has it;
/// polars' rounds halves away from zero. The deviation is that of a sample: its divisor is n - 1.
fn cpu_statistics(processes: &[Process]) -> Vec<Column> {
    let mut usage: Vec<i128> = processes.iter().filter_map(cpu_usage).collect();
    if usage.len() < 2 {
        return Vec::new();
    }
    usage.sort_unstable();
    let last = (usage.len() - 1) as f64;
    let percentile = |percent: u32| {
        let index = (last * f64::from(percent) / 100.0).round_ties_even() as usize;
        Column::integers(format!("{percent}PercentileCpuUsagePct"), [usage.get(index).copied()])
    };
    let mean = usage.iter().map(|value| *value as f64).sum::<f64>() / usage.len() as f64;
    let squares: f64 = usage.iter().map(|value| (*value as f64 - mean).powi(2)).sum();
    let mut columns: Vec<_> = [25, 50, 75, 95, 99].into_iter().map(percentile).collect();
    columns.push(Column::decimals("StdCpuUsagePct", [Some((squares / last).sqrt())]));
    columns
}

/// Used / limit in percent, truncated; 0 where the limit is 0. No column where a key is missing.
fn percentage_columns(
    rows: usize,
    value: impl Fn(&str, usize) -> Option<i128>,
) -> impl Iterator<Item = Column> {
    DAEMON_PERCENTAGES.iter().filter_map(move |(name, used, limit)| {
        let percent = |row| {
            let (used, limit) = (value(used, row)?, value(limit, row)?);
            if limit == 0 { Some(0) } else { used.checked_mul(100).map(|used| used / limit) }
        };
        let values: Vec<_> = (0..rows).map(percent).collect();
        values.iter().any(Option::is_some).then(|| Column::integers(*name, values))
    })
}

fn value_of(columns: &[Column], key: &str, row: usize) -> Option<i128> {
    match columns.iter().find(|column| column.name == key)?.get(row)? {
        model::section::Value::Integer(value) => Some(value.into()),
        model::section::Value::Wide(value) => Some(value),
        model::section::Value::Decimal(_) | model::section::Value::Milliseconds(_) => None,
    }
}

fn each_process(processes: &[Process], percentages: bool) -> Section {
    let mut names = Names::default();
    for process in processes {
        names.push(&process.name, "");
    }
    let mut columns: Vec<_> = keys()
        .enumerate()
        .map(|(at, key)| Column::integers(key, processes.iter().map(|p| p.values[at].flatten())))
        .collect();
    columns.push(Column::integers("CpuUsagePct", processes.iter().map(cpu_usage)));
    if percentages {
        let own = columns.clone();
        let of_process = |key: &str, row| value_of(&own, key, row);
        columns.extend(percentage_columns(processes.len(), of_process));
    }
    columns.retain(|column| column.count() > 0);
    Section { subject: Subject::Process, part: Part::HAProxy, names, columns }
}
