//! `--check` of haproxystats-process: asks every receiver once and prints a table.

use std::process::ExitCode;

use config::Config;
use daemon::Clock;
use processor::ReceiverCheck;

use crate::table::{self, Align, Column};
use crate::{cli, start};

/// Exit status if a receiver fails.
const RECEIVER_FAILS: u8 = 1;

const COLUMNS: [Column; 5] = [
    ("receiver", Align::Left),
    ("address", Align::Left),
    ("ms", Align::Right),
    ("verdict", Align::Left),
    ("reason and remedy", Align::Left),
];

/// Prints the table. The status is that of a failure if a receiver fails.
pub(crate) fn check(config: &Config, clock: Clock) -> ExitCode {
    start::log_warnings(config);
    let checks = processor::check(&config.process, clock);
    let rows: Vec<[String; 5]> = checks.iter().map(row).collect();
    let printed = cli::print(&table::format(COLUMNS, &rows));
    let fails = checks.iter().any(|check| check.result.is_err());
    if fails { ExitCode::from(RECEIVER_FAILS) } else { printed }
}

fn row(check: &ReceiverCheck) -> [String; 5] {
    let (verdict, reason) = match &check.result {
        Ok(found) => ("ok", found),
        Err(reason) => ("failed", reason),
    };
    [
        check.receiver.clone(),
        check.address.clone(),
        table::milliseconds(check.elapsed),
        verdict.to_owned(),
        reason.clone(),
    ]
}
