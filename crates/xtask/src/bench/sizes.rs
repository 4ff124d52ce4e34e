//! The main table: the cost of a snapshot of each size, beside the floor of the same run.
//!
//! Programs take turns (program, original, floor, and again), so that a machine that is busy for a
//! while is busy for all of them; ratios are made within a turn, and their median counts.

use std::path::Path;

use serde_json::{Value, json};

use super::generator::{Columns, LARGE, MID, Size, TINY};
use super::process::Role;
use super::report::{Table, bytes, count, memory, milliseconds, ratio};
use super::run::{Outcome, Program, run_floor};
use super::stage::Stage;
use super::statistics::{median, slope};
use super::usage::Cpu;
use crate::Failure;

/// The values of `--size`.
pub(super) const NAMES: [&str; 3] = [TINY.name, MID.name, LARGE.name];

/// The sizes, each with the lengths of a short and a long run.
const SIZES: [(Size, usize, usize); 3] = [(TINY, 100, 1600), (MID, 10, 110), (LARGE, 2, 10)];

/// The floor is cheap, so a longer run is needed for a figure that does not vary.
pub(crate) const FLOOR_TIMES: usize = 4;

/// The measurements to make.
pub(crate) struct Plan<'a> {
    pub(crate) program: &'a Program,
    pub(crate) original: Option<&'a Program>,
    /// Names of sizes; empty for all.
    pub(crate) sizes: &'a [String],
    pub(crate) turns: usize,
    pub(crate) quick: bool,
}

/// The cost of one more snapshot for one program.
#[derive(Debug, Default)]
struct Series {
    user: Vec<f64>,
    system: Vec<f64>,
    cpu: Vec<f64>,
    wall: Vec<f64>,
    /// The CPU of each turn by role, and the most memory in kB.
    cpu_of: [Vec<f64>; Role::ALL.len()],
    memory: [u64; Role::ALL.len()],
}

/// The most memory that the parent and a send child are meant to have, in kB.
const MEMORY_BAR: u64 = 12_000_000 / 1024;

impl Series {
    fn add(&mut self, short: &Outcome, long: &Outcome) {
        self.add_cpu((short.snapshots, short.cpu), (long.snapshots, long.cpu));
        self.wall.push(slope((short.snapshots, short.wall), (long.snapshots, long.wall)));
        for role in Role::ALL {
            let (short_of, long_of) = (short.of(role), long.of(role));
            let cpu = slope((short.snapshots, short_of.cpu), (long.snapshots, long_of.cpu));
            self.cpu_of[role as usize].push(cpu);
            self.memory[role as usize] = self.memory[role as usize].max(long_of.memory);
        }
    }

    fn add_cpu(&mut self, short: (usize, Cpu), long: (usize, Cpu)) {
        let of = |part: fn(Cpu) -> f64| slope((short.0, part(short.1)), (long.0, part(long.1)));
        self.user.push(of(|cpu| cpu.user));
        self.system.push(of(|cpu| cpu.system));
        self.cpu.push(of(Cpu::total));
    }

    /// The median over the turns of this program's CPU divided by the other program's.
    fn ratio_to(&self, other: &Self) -> f64 {
        let ratios: Vec<f64> =
            self.cpu.iter().zip(&other.cpu).map(|(own, base)| own / base).collect();
        median(&ratios)
    }

    fn json(&self) -> Value {
        json!({
            "cpu_ms": median(&self.cpu), "user_ms": median(&self.user),
            "system_ms": median(&self.system), "wall_ms": median(&self.wall),
            "cpu_ms_of_each_turn": self.cpu,
            "cpu_ms_of_roles": Self::of_roles(|role| median(&self.cpu_of[role as usize]).into()),
            "memory_kb_of_roles": Self::of_roles(|role| self.memory[role as usize].into()),
        })
    }

    fn of_roles(figure: impl Fn(Role) -> Value) -> Value {
        Role::ALL.into_iter().map(|role| (role.name().to_owned(), figure(role))).collect()
    }

    /// The memory of a role, with a note if it is above [`MEMORY_BAR`].
    fn memory_of(&self, role: Role) -> String {
        let kilobytes = self.memory[role as usize];
        match role {
            Role::Parent | Role::Send if kilobytes > MEMORY_BAR => {
                format!("{} (above the bar)", memory(kilobytes))
            }
            _ => memory(kilobytes),
        }
    }
}

/// One row of the table.
struct Row {
    size: Size,
    columns: Columns,
    workers: usize,
    input: u64,
    metrics: f64,
    output: f64,
    ours: Series,
    floor: Series,
    original: Option<Series>,
    calls: Option<(f64, &'static str)>,
}

/// Measures the plan with one worker and with two.
pub(crate) fn run(plan: &Plan<'_>, stage: &Stage) -> Result<(Table, Value), Failure> {
    let mut rows = Vec::new();
    for (size, short, long) in SIZES {
        if !plan.sizes.is_empty() && !plan.sizes.iter().any(|name| name == size.name) {
            continue;
        }
        let long = if plan.quick { short + (long - short) / 4 } else { long };
        for columns in Columns::BOTH {
            let input = stage.generate(size, columns)?;
            for workers in [1, 2] {
                rows.push(measure(plan, stage, (size, columns, input), workers, (short, long))?);
            }
        }
    }
    Ok((table(&rows), Value::Array(rows.iter().map(Row::json).collect())))
}

fn measure(
    plan: &Plan<'_>,
    stage: &Stage,
    (size, columns, input): (Size, Columns, u64),
    workers: usize,
    (short, long): (usize, usize),
) -> Result<Row, Failure> {
    let mut row = Row {
        size,
        columns,
        workers,
        input,
        metrics: 0.0,
        output: 0.0,
        ours: Series::default(),
        floor: Series::default(),
        original: plan.original.map(|_| Series::default()),
        calls: None,
    };
    for turn in 1..=plan.turns {
        eprintln!(
            "{}, {} columns, {workers} worker(s): turn {turn} of {}",
            size.name,
            columns.name(),
            plan.turns
        );
        let low = plan.program.run(stage, short, workers)?;
        let high = plan.program.run(stage, long, workers)?;
        let of = |part: fn(&Outcome) -> u64| {
            slope((short, part(&low) as f64), (long, part(&high) as f64))
        };
        row.metrics = of(|outcome| outcome.metrics);
        row.output = of(|outcome| outcome.bytes);
        if row.metrics < 1.0 {
            return Err(format!("{} metrics a snapshot arrived", row.metrics));
        }
        row.ours.add(&low, &high);
        if let (Some(program), Some(series)) = (plan.original, &mut row.original) {
            let low = program.run(stage, short, workers)?;
            series.add(&low, &program.run(stage, long, workers)?);
        }
        let floor = |snapshots| {
            Ok::<_, Failure>((snapshots, run_floor(stage, snapshots, row.output as u64)?))
        };
        row.floor.add_cpu(floor(short)?, floor(long * FLOOR_TIMES)?);
    }
    if workers == 1 {
        row.calls =
            Some(plan.program.calls(stage, short.min(10), short.min(10) + short.min(20))?);
    }
    Ok(row)
}

impl Row {
    fn json(&self) -> Value {
        let mut value = json!({
            "size": self.size.name, "processes": self.size.processes,
            "frontends": self.size.frontends, "backends": self.size.backends,
            "servers_per_backend": self.size.servers, "columns": self.columns.name(),
            "workers": self.workers, "input_bytes": self.input, "metrics": self.metrics,
            "output_bytes": self.output, "ours": self.ours.json(),
            "floor_cpu_ms": median(&self.floor.cpu), "floor_cpu_ms_of_each_turn": self.floor.cpu,
            "ratio_to_floor": self.ours.ratio_to(&self.floor),
        });
        if let Some((calls, counter)) = self.calls {
            value["system_calls"] = json!({ "count": calls, "counted_by": counter });
        }
        if let Some(original) = &self.original {
            value["original"] = original.json();
            value["original_to_ours"] = json!(original.ratio_to(&self.ours));
        }
        value
    }
}

fn table(rows: &[Row]) -> Table {
    let mut heads = vec![
        "size",
        "columns",
        "workers",
        "in",
        "out",
        "metrics",
        "CPU ms",
        "user",
        "system",
        "CPU of fold",
        "of send",
        "of disk",
        "of parent",
        "wall ms",
        "two workers",
        "floor ms",
        "CPU / floor",
        "fold child",
        "send child",
        "disk child",
        "parent",
        "system calls",
    ];
    if rows.iter().any(|row| row.original.is_some()) {
        heads.extend(["original CPU ms", "its worker", "its parent", "original / ours"]);
    }
    let mut table = Table::new(&heads);
    for row in rows {
        let mut cells = vec![
            row.size.name.to_owned(),
            row.columns.name().to_owned(),
            row.workers.to_string(),
            bytes(row.input as f64),
            bytes(row.output),
            count(row.metrics),
            milliseconds(median(&row.ours.cpu)),
            milliseconds(median(&row.ours.user)),
            milliseconds(median(&row.ours.system)),
        ];
        cells.extend(row.ours.cpu_of.iter().map(|cpu| milliseconds(median(cpu))));
        cells.extend([
            milliseconds(median(&row.ours.wall)),
            faster(rows, row).map_or_else(String::new, |times| format!("{times:.2} x one")),
            milliseconds(median(&row.floor.cpu)),
            ratio(row.ours.ratio_to(&row.floor)),
        ]);
        cells.extend(Role::ALL.map(|role| row.ours.memory_of(role)));
        cells.push(row.calls.map_or_else(String::new, |(calls, _)| count(calls)));
        if let Some(original) = &row.original {
            cells.extend([
                milliseconds(median(&original.cpu)),
                original.memory_of(Role::Fold),
                memory(original.memory[Role::Parent as usize]),
                ratio(original.ratio_to(&row.ours)),
            ]);
        }
        table.row(cells);
    }
    let counter = rows.iter().find_map(|row| row.calls.map(|(_, counter)| counter));
    table.note(&format!(
        "Each figure is for one more snapshot: the slope between a short and a long run, median of \
         the turns. CPU is the whole program's; that of a role lacks children that ended before. \
         Memory is the most of the largest process of a role; the bar is 12 MB for the parent and \
         a send child. Disk children are the outbox and the spool. System calls are counted by \
         {}, with one worker.",
        counter.unwrap_or("nobody")
    ));
    table
}

/// The speed of this row divided by the speed of the same row with one worker.
fn faster(rows: &[Row], row: &Row) -> Option<f64> {
    let same = |one: &&Row| one.size == row.size && one.columns == row.columns && one.workers == 1;
    let alone = rows.iter().find(same).filter(|_| row.workers > 1)?;
    Some(median(&alone.ours.wall) / median(&row.ours.wall))
}

/// The path of a program in the folder of all.
pub(crate) fn process(programs: &Path) -> Program {
    Program::of(&programs.join("haproxystats-process"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_made_within_a_turn() {
        let series = |cpu: &[f64]| Series { cpu: cpu.to_vec(), ..Series::default() };
        // In the second turn the machine was ten times slower for both.
        let (ours, floor) = (series(&[3.0, 30.0, 3.3]), series(&[1.0, 10.0, 1.0]));
        assert!((ours.ratio_to(&floor) - 3.0).abs() < 1e-12);
    }

    #[test]
    fn a_row_has_a_cell_for_each_head_with_an_original_and_without() {
        let row = |original| Row {
            size: SIZES[0].0,
            columns: Columns::V26,
            workers: 1,
            input: 34_000,
            metrics: 1024.0,
            output: 90_000.0,
            ours: Series::default(),
            floor: Series::default(),
            original,
            calls: Some((12.5, "strace")),
        };
        for original in [None, Some(Series::default())] {
            let text = table(&[row(original)]).markdown();
            let bars = |line: &str| line.matches('|').count();
            let lines: Vec<&str> = text.lines().filter(|line| line.starts_with('|')).collect();
            assert_eq!(lines.len(), 3);
            assert!(lines.iter().all(|line| bars(line) == bars(lines[0])), "{text}");
            assert!(text.contains("| tiny | 2.6 | 1 | 34 kB | 90 kB | 1,024 |"), "{text}");
        }
    }
}
