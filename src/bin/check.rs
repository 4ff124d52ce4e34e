//! `--check` of haproxystats-pull: asks every endpoint once and prints a table.

use std::error::Error;
use std::process::ExitCode;

use config::Config;
use daemon::Clock;
use puller::{CheckVerdict, EndpointCheck};

use crate::table::{self, Align, Column};
use crate::{cli, start};

/// Exit status if an endpoint fails.
const ENDPOINT_FAILS: u8 = 1;

const COLUMNS: [Column; 8] = [
    ("address", Align::Left),
    ("kind", Align::Left),
    ("version", Align::Left),
    ("process", Align::Right),
    ("ms", Align::Right),
    ("bytes", Align::Right),
    ("verdict", Align::Left),
    ("reason and remedy", Align::Left),
];

/// Prints the table. The status is that of a failure if an endpoint fails, or if none answers.
pub(crate) async fn print(config: Config, clock: Clock) -> Result<ExitCode, Box<dyn Error>> {
    start::log_warnings(&config);
    let checks = match puller::check(config.pull, clock).await {
        Err(error @ puller::Error::NoSnapshot(_)) => return Ok(cli::refuse(&error.to_string())),
        checks => checks?,
    };
    let rows: Vec<[String; 8]> = checks.iter().map(row).collect();
    let printed = cli::print(&table::format(COLUMNS, &rows));
    let fails = checks.iter().any(|check| matches!(check.verdict, CheckVerdict::Fails(_)));
    let answers = checks.iter().any(|check| check.verdict == CheckVerdict::Answers);
    let is_good = answers && !fails;
    Ok(if is_good { printed } else { ExitCode::from(ENDPOINT_FAILS) })
}

fn row(check: &EndpointCheck) -> [String; 8] {
    let (verdict, reason) = match &check.verdict {
        CheckVerdict::Answers => ("ok", ""),
        CheckVerdict::LeftOut(reason) => ("left out", reason.as_str()),
        CheckVerdict::Fails(reason) => ("failed", reason.as_str()),
    };
    // What is left out is of none of our kinds.
    let kind = if verdict == "left out" { "" } else { check.kind };
    [
        check.address.clone(),
        kind.to_owned(),
        check.version.clone().unwrap_or_default(),
        check.process.clone().unwrap_or_default(),
        table::milliseconds(check.elapsed),
        check.bytes.to_string(),
        verdict.to_owned(),
        reason.to_owned(),
    ]
}
