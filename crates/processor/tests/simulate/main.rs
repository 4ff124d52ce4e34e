//! The simulator: the real core, with simulated children, through crashes and faults.
//!
//! `cargo xtask simulate` runs many seeds; the tests run some. A seed that fails is printed. The
//! world decides nothing: it carries out the core's orders late, wrongly or not at all, and keeps a
//! ledger of the snapshots that were published, delivered and counted.

#![allow(clippy::unwrap_used, reason = "tests")]

mod contract;
mod disk;
mod faults;
mod ledger;
mod mutants;
mod scenarios;
mod world;

use world::{Plan, World};

/// Seeds of a run, and the first of them: `cargo xtask simulate` sets them.
fn seeds() -> std::ops::Range<u64> {
    let number = |name: &str, otherwise: u64| {
        std::env::var(name).ok().map_or(otherwise, |text| text.parse().unwrap())
    };
    let from = number("SIMULATE_FROM", 1);
    from..from + number("SIMULATE_SEEDS", 2000)
}

/// Every published snapshot reaches every receiver or is counted, whatever fails.
#[test]
fn every_seed_ends_exact() {
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let seeds = seeds();
    let failed: Vec<String> = std::thread::scope(|scope| {
        let runs = (0..threads).map(|part| {
            let seeds = seeds.clone().filter(move |seed| seed % threads == part);
            scope.spawn(move || {
                let run = |seed| World::run(&Plan::random(seed)).err().map(|why| (seed, why));
                let failed = seeds.filter_map(run).take(3);
                failed.map(|(seed, why)| format!("seed {seed}: {why}")).collect::<Vec<_>>()
            })
        });
        let runs: Vec<_> = runs.collect();
        runs.into_iter().flat_map(|run| run.join().unwrap()).collect()
    });
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
