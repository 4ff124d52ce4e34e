//! `cargo xtask simulate`: the simulator of haproxystats-process on many seeds.
//!
//! The simulator is a test of `crates/processor` that takes its seeds from the environment. The
//! task chooses the profile that is done sooner: a development build runs 150 seeds a second, and a
//! release of the tests takes minutes to build.

use clap::value_parser;

use crate::{Failure, cargo};

/// The options of `simulate`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How many seeds to run
    #[arg(
        long,
        value_name = "N",
        default_value = "5000",
        value_parser = value_parser!(u64).range(1..=SEEDS_MAX)
    )]
    seeds: u64,
    /// The first seed: one that failed, with --seeds 1, is run again
    #[arg(
        long,
        value_name = "S",
        default_value = "1",
        value_parser = value_parser!(u64).range(..=SEEDS_MAX)
    )]
    from: u64,
}

/// Bound for the seeds of a run and for the first seed, so that no sum overflows.
const SEEDS_MAX: u64 = 1_000_000_000_000;
/// From this many seeds on, a release build saves more time than building it takes.
const RELEASE_SEEDS: u64 = 20_000;

/// Runs the tests of the simulator with these seeds.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let &Options { seeds, from } = options;
    let range = format!("{from} to {}", from + seeds - 1);
    println!("xtask: {seeds} seeds, {range}");
    let mut command = cargo();
    // With --workspace, though one crate has the test, so that it has the features of the other
    // tests.
    command.args(["test", "--workspace", "--locked", "--test", "simulate"]);
    if seeds >= RELEASE_SEEDS {
        command.arg("--release");
    }
    command.args(["--", "--nocapture"]);
    command.env("SIMULATE_SEEDS", seeds.to_string()).env("SIMULATE_FROM", from.to_string());
    let status = command.status().map_err(|error| format!("cargo test: {error}"))?;
    if status.success() {
        println!("xtask: {seeds} seeds ended exact, {range}");
        Ok(())
    } else {
        Err(format!(
            "the simulator failed within {seeds} seeds, {range} ({status}); \
             `cargo xtask simulate --from S --seeds 1` runs seed S again"
        ))
    }
}
