//! `--check` of haproxystats-process: asks every receiver once and prints a table.

use std::process::ExitCode;

use config::Config;
use daemon::Clock;
use processor::ReceiverCheck;

use crate::table::{self, Align, Column};
use crate::{cli, start};

/// Exit status if a receiver fails.
const RECEIVER_FAILS: u8 = 1;

const COLUMNS: [Column; 6] = [
    ("receiver", Align::Left),
    ("address", Align::Left),
    ("ms", Align::Right),
    ("verdict", Align::Left),
    ("reason", Align::Left),
    ("remedy", Align::Left),
];

/// Prints the table. The status is that of a failure if a receiver fails.
pub(crate) fn check(config: &Config, clock: Clock) -> ExitCode {
    start::start_command_logging(config.process.loglevel);
    start::log_warnings(config);
    let checks = processor::check(&config.process, clock);
    let rows: Vec<[String; 6]> = checks.iter().map(row).collect();
    let printed = cli::print(&table::format(COLUMNS, &rows));
    let fails = checks.iter().any(|check| check.result.is_err());
    if fails { ExitCode::from(RECEIVER_FAILS) } else { printed }
}

fn row(check: &ReceiverCheck) -> [String; 6] {
    let (verdict, reason, remedy) = match &check.result {
        Ok(found) => ("ok", found.as_str(), ""),
        Err(failure) => ("failed", failure.reason.as_str(), failure.remedy.as_str()),
    };
    [
        check.receiver.clone(),
        check.address.clone(),
        table::milliseconds(check.elapsed),
        verdict.to_owned(),
        reason.to_owned(),
        remedy.to_owned(),
    ]
}
