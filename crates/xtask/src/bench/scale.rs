//! How cost grows from ten servers to a hundred thousand: one worker, four processes that each have
//! every server, and a power law fitted to the measurements.
//!
//! An exponent of 1 is linear growth. The fixed cost of a snapshot bends the curve at small sizes,
//! so the law is fitted twice: to all sizes, and to the large ones.

use serde_json::{Value, json};

use super::generator::{Columns, Size};
use super::process::Role;
use super::report::{Table, bytes, count, memory, milliseconds, ratio};
use super::run::{Outcome, Program, run_floor};
use super::sizes::FLOOR_TIMES;
use super::stage::Stage;
use super::statistics::{PowerLaw, median, power_law, slope};
use super::usage::Cpu;
use crate::Failure;

/// The measurements at one size; costs in milliseconds of CPU for a snapshot.
#[derive(Debug, Clone)]
pub(crate) struct Point {
    pub(crate) servers: usize,
    pub(crate) cost: f64,
    pub(crate) floor: f64,
    input: u64,
    metrics: f64,
    worker: u64,
}

const SERVERS: [usize; 9] = [10, 30, 100, 300, 1000, 3000, 10_000, 30_000, 100_000];
const PROCESSES: usize = 4;
const SERVERS_PER_BACKEND: usize = 10;
const BACKENDS_PER_FRONTEND: usize = 2;
/// From this many servers on, the fixed cost of a snapshot is small beside the cost of its rows.
pub(crate) const LARGE: usize = 1000;
/// A long run has about this many servers in all its snapshots, within these bounds.
const SERVERS_OF_A_RUN: usize = 400_000;
const SNAPSHOTS_MIN: usize = 4;
const SNAPSHOTS_MAX: usize = 1000;

fn size(servers: usize) -> Size {
    let backends = servers.div_ceil(SERVERS_PER_BACKEND);
    Size {
        name: "scale",
        processes: PROCESSES,
        frontends: backends.div_ceil(BACKENDS_PER_FRONTEND),
        backends,
        servers: SERVERS_PER_BACKEND,
    }
}

/// Measures every size; the points are for the plot.
pub(crate) fn run(
    program: &Program,
    stage: &Stage,
    turns: usize,
    quick: bool,
) -> Result<(Vec<Point>, (Table, Value)), Failure> {
    let mut points = Vec::new();
    for servers in SERVERS {
        if quick && servers > 10_000 {
            break;
        }
        eprintln!("{servers} servers in each of {PROCESSES} processes");
        points.push(measure(program, stage, servers, turns)?);
    }
    let table = table(&points);
    let figures = json!({
        "processes": PROCESSES, "columns": Columns::V26.name(), "workers": 1,
        "points": points.iter().map(Point::json).collect::<Vec<_>>(),
        "growth": law(&points, 0).map(json), "growth_of_large": law(&points, LARGE).map(json),
    });
    Ok((points, (table, figures)))
}

fn measure(
    program: &Program,
    stage: &Stage,
    servers: usize,
    turns: usize,
) -> Result<Point, Failure> {
    let input = stage.generate(size(servers), Columns::V26)?;
    let long = (SERVERS_OF_A_RUN / servers).clamp(SNAPSHOTS_MIN, SNAPSHOTS_MAX);
    let short = (long / 8).max(1);
    let (mut costs, mut floors, mut worker, mut metrics) = (Vec::new(), Vec::new(), 0, 0.0);
    for _ in 0..turns {
        let low = program.run(stage, short, 1)?;
        let high = program.run(stage, long, 1)?;
        let of = |part: fn(&Outcome) -> f64| slope((short, part(&low)), (long, part(&high)));
        costs.push(of(|outcome| outcome.cpu.total()));
        metrics = of(|outcome| outcome.metrics as f64);
        worker = worker.max(high.of(Role::Fold).memory);
        let output = of(|outcome| outcome.bytes as f64) as u64;
        let floor = |snapshots| run_floor(stage, snapshots, output).map(Cpu::total);
        let longer = long * FLOOR_TIMES;
        floors.push(slope((short, floor(short)?), (longer, floor(longer)?)));
    }
    let (cost, floor) = (median(&costs), median(&floors));
    Ok(Point { servers, cost, floor, input, metrics, worker })
}

/// The growth of the cost from that many servers on.
pub(crate) fn law(points: &[Point], from: usize) -> Option<PowerLaw> {
    let large = points.iter().filter(|point| point.servers >= from);
    let pairs: Vec<(f64, f64)> = large.map(|point| (point.servers as f64, point.cost)).collect();
    power_law(&pairs)
}

fn json(law: PowerLaw) -> Value {
    json!({ "exponent": law.exponent, "factor_ms": law.factor, "r_squared": law.r_squared })
}

impl Point {
    #[cfg(test)]
    pub(crate) fn for_test(servers: usize, cost: f64, floor: f64) -> Self {
        Self { servers, cost, floor, input: 1, metrics: 1.0, worker: 1 }
    }

    fn json(&self) -> Value {
        json!({
            "servers": self.servers, "input_bytes": self.input, "metrics": self.metrics,
            "cpu_ms": self.cost, "floor_cpu_ms": self.floor, "worker_kb": self.worker,
        })
    }
}

fn table(points: &[Point]) -> Table {
    let heads = [
        "servers",
        "in",
        "metrics",
        "CPU ms",
        "CPU us a server",
        "floor ms",
        "CPU / floor",
        "worker",
    ];
    let mut table = Table::new(&heads);
    for point in points {
        table.row(vec![
            count(point.servers as f64),
            bytes(point.input as f64),
            count(point.metrics),
            milliseconds(point.cost),
            milliseconds(point.cost * 1e3 / point.servers as f64),
            milliseconds(point.floor),
            ratio(point.cost / point.floor),
            memory(point.worker),
        ]);
    }
    table.note(&format!(
        "One worker, {PROCESSES} processes, columns of {}. Each figure is for one more snapshot: \
         the slope between a short and a long run, median of the turns.",
        Columns::V26.name()
    ));
    for (words, from) in [("all sizes", 0), ("1,000 servers and more", LARGE)] {
        if let Some(law) = law(points, from) {
            table.note(&format!(
                "Over {words} cost grows with the number of servers to the power of {:.3} \
                 (R² {:.4}).",
                law.exponent, law.r_squared
            ));
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_law_of_the_large_is_not_bent_by_the_small() {
        // 1 ms for each snapshot and 2 microseconds for each server.
        let points =
            SERVERS.map(|servers| Point::for_test(servers, 1.0 + 0.002 * servers as f64, 1.0));
        let (all, large) = (law(&points, 0).unwrap(), law(&points, LARGE).unwrap());
        assert!(all.exponent < 0.8 && (0.9..1.0).contains(&large.exponent), "{all:?} {large:?}");
        assert!(table(&points).markdown().contains("1,000 servers and more"));
    }

    #[test]
    fn sizes_have_as_many_servers_as_they_say() {
        for servers in SERVERS {
            let size = size(servers);
            assert_eq!(size.backends * size.servers, servers);
            assert!(size.frontends > 0);
        }
    }
}
