//! The tables of the daemon and of each process, with figures derived from theirs.
//!
//! A key that some processes lack is summed over the others. Old workers add their counters and
//! what their sessions hold, but no limits and no means, and have no rows of their own: each reload
//! would begin new ones. Without any current process they count as current ones.

use std::collections::{HashMap, HashSet};

use model::catalog::{DAEMON_PERCENTAGES, Fold};
use model::{Column, Names, Nature, Table, TableKind, Value, clean};

use crate::columns::Planned;
use crate::fold::Frame;
use crate::keys::Keys;
use crate::process::Process;
use crate::stat::Rows;
use crate::{Error, Generation};

/// The table of all processes together, then that of each process if `per_process` is set. Beside
/// a current process, old workers count in the sums alone.
pub(crate) fn tables(
    mut processes: Vec<Process>,
    keys: &Keys,
    per_process: bool,
    percentages: bool,
) -> Result<Vec<Table>, Error> {
    if processes.is_empty() {
        return Ok(Vec::new());
    }
    let rows = rows(&processes, keys);
    let plan = rows.plan.clone();
    let frame = Frame::new(rows);
    let mut columns = frame.fold(&frame.codes, &plan, "the daemon")?.columns;
    let is_current = |process: &Process| process.generation == Generation::Current;
    if processes.iter().any(is_current) {
        processes.retain(is_current);
    }
    make_names_unique(&mut processes);
    columns.extend(cpu_statistics(&processes));
    if percentages {
        let totals = columns.clone();
        columns.extend(percentage_columns(1, |key, row| value_of(&totals, key, row)));
    }
    keep_sent(&mut columns, keys);
    let mut tables = vec![Table::of_one_row(TableKind::Daemon, columns)];
    if per_process {
        tables.push(each_process(&processes, keys, percentages));
    }
    Ok(tables)
}

/// Removes the columns that were read only to calculate others.
fn keep_sent(columns: &mut Vec<Column>, keys: &Keys) {
    let hidden = &keys.planned[keys.sent..];
    columns.retain(|column| hidden.iter().all(|planned| *planned.name != *column.name));
}

/// Gives processes with the same number, such as those of independent HAProxies, the names of their
/// endpoints. Later names that are still equal are numbered; `a.b` and `a_b` count as equal,
/// because some receivers cannot tell them apart and would sum the figures of two processes.
fn make_names_unique(processes: &mut [Process]) {
    let mut times: HashMap<String, usize> = HashMap::new();
    for process in processes.iter() {
        *times.entry(clean::segment(&process.name)).or_default() += 1;
    }
    for process in processes.iter_mut() {
        if times.get(&clean::segment(&process.name)).is_some_and(|times| *times > 1) {
            process.name.clone_from(&process.endpoint);
        }
    }
    let mut taken: HashSet<String> = HashSet::new();
    let mut numbers: HashMap<String, usize> = HashMap::new();
    for process in processes {
        let name = process.name.clone();
        while !taken.insert(clean::segment(&process.name)) {
            let number = numbers.entry(clean::segment(&name)).or_insert(1);
            *number += 1;
            process.name = format!("{name}_{number}");
        }
    }
}

fn rows(processes: &[Process], keys: &Keys) -> Rows {
    let mut rows = Rows::new(keys.planned.clone(), 0);
    let old = (0..).zip(processes).filter(|(_, it)| it.generation == Generation::Old);
    rows.old = old.map(|(row, _)| (row, row + 1)).collect();
    for (column, (cells, seen)) in rows.columns.iter_mut().zip(&mut rows.seen).enumerate() {
        for process in processes {
            *seen |= process.values[column].is_some();
            match process.values[column].flatten() {
                Some(value) => cells.push_wide(value),
                None => cells.push_null(),
            }
        }
    }
    rows.codes = vec![0; processes.len()];
    rows
}

fn cpu_usage(process: &Process) -> Option<i128> {
    process.idle.map(|idle| 100 - idle)
}

/// Percentiles and the standard deviation over at least two processes.
///
/// The q-th percentile of n sorted values is the value at index (n - 1) * q, rounded half to even,
/// as with pandas' `nearest`; polars rounds halves away from zero. The deviation is that of a
/// sample, with the divisor n - 1.
fn cpu_statistics(processes: &[Process]) -> Vec<Column> {
    let mut usage: Vec<i128> = processes.iter().filter_map(cpu_usage).collect();
    if usage.len() < 2 {
        return Vec::new();
    }
    usage.sort_unstable();
    let last = (usage.len() - 1) as f64;
    let percentile = |percent: u32| {
        let index = (last * f64::from(percent) / 100.0).round_ties_even() as usize;
        let name = format!("{percent}PercentileCpuUsagePct");
        Column::integers(name, Nature::Gauge, None, [usage.get(index).copied()])
    };
    let mean = usage.iter().map(|value| *value as f64).sum::<f64>() / usage.len() as f64;
    let squares: f64 = usage.iter().map(|value| (*value as f64 - mean).powi(2)).sum();
    let mut columns: Vec<_> = [25, 50, 75, 95, 99].into_iter().map(percentile).collect();
    columns.push(Column::decimals(
        "StdCpuUsagePct",
        Nature::Gauge,
        [Some((squares / last).sqrt())],
    ));
    columns
}

/// Usage / limit in percent, truncated; 0 if the limit is 0. No column if a key is missing.
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
        let column = || Column::integers(*name, Nature::Gauge, None, values.iter().copied());
        values.iter().any(Option::is_some).then(column)
    })
}

fn value_of(columns: &[Column], key: &str, row: usize) -> Option<i128> {
    match columns.iter().find(|column| column.name == key)?.get(row)? {
        Value::Integer(value) => Some(value),
        _ => None,
    }
}

fn each_process(processes: &[Process], keys: &Keys, percentages: bool) -> Table {
    let mut names = Names::new(&TableKind::Process);
    for process in processes {
        names.push(&[&process.name]);
    }
    let planned = keys.planned.iter().enumerate();
    let mut columns: Vec<_> = planned.map(|(at, planned)| figure(at, planned, processes)).collect();
    columns.push(Column::integers(
        "CpuUsagePct",
        Nature::Gauge,
        None,
        processes.iter().map(cpu_usage),
    ));
    if percentages {
        let own = columns.clone();
        let of_process = |key: &str, row| value_of(&own, key, row);
        columns.extend(percentage_columns(processes.len(), of_process));
    }
    keep_sent(&mut columns, keys);
    columns.retain(|column| column.count() > 0);
    Table { kind: TableKind::Process, names, columns }
}

/// The column of a key with a value for each process. A mean is one over a single process.
fn figure(at: usize, planned: &Planned, processes: &[Process]) -> Column {
    let Planned { name, nature, fold, .. } = planned;
    let values = processes.iter().map(|process| process.values[at].flatten());
    if *fold == Fold::Mean {
        let means = values.map(|value| value.map(|value| (value, 1)));
        return Column::means(&**name, *nature, Some(*fold), means);
    }
    Column::integers(&**name, *nature, Some(*fold), values)
}
