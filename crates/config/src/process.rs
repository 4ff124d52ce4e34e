//! `[process]`: its options, and how they become [`Process`] together with the receivers.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::document::Document;
use crate::fault::{Place, Warning};
use crate::interpolate::{Resolver, place_of};
use crate::kind;
use crate::nearest::nearest;
use crate::options::{KnownOption, Opt};
use crate::reader::{Reader, Rejection};
use crate::receivers;
use crate::typed::{Listen, LogLevel, PartialInput, Process, Selection, Tables};

pub(crate) const SECTION: &str = "process";

const LOGLEVEL: Opt<LogLevel> =
    Opt::unset("loglevel", kind::LOG_LEVEL, "how much haproxystats-process logs");
const SRC_DIR: Opt<PathBuf> = Opt::new(
    "src-dir",
    kind::PATH,
    "/var/lib/haproxystats/incoming",
    "the directory that is watched: dst-dir of [pull]",
);
const WORKERS: Opt<usize> = Opt::new("workers", kind::WORKERS, "4", "worker processes");
const FRONTEND_METRICS: Opt<Selection> = Opt::unset(
    "frontend-metrics",
    kind::METRICS,
    "metrics of frontends, in place of the default list",
);
const BACKEND_METRICS: Opt<Selection> = Opt::unset(
    "backend-metrics",
    kind::METRICS,
    "metrics of backends, in place of the default list",
);
const SERVER_METRICS: Opt<Selection> =
    Opt::unset("server-metrics", kind::METRICS, "metrics of servers, in place of the default list");
const DAEMON_METRICS: Opt<Selection> = Opt::unset(
    "daemon-metrics",
    kind::METRICS,
    "metrics of HAProxy itself, in place of the default list",
);
const AGGR_SERVER_METRICS: Opt<bool> =
    Opt::new("aggr-server-metrics", kind::BOOLEAN, "false", "sum servers over all backends, too");
const MAX_SERVERS_PER_BACKEND: Opt<usize> = Opt::unset(
    "max-servers-per-backend",
    kind::SERVER_COUNT,
    "a backend with more servers than this is sent without them",
);
const EXCLUDE_FRONTENDS: Opt<PathBuf> = Opt::unset(
    "exclude-frontends",
    kind::PATH,
    "a file of frontends to leave out, with one name on each line",
);
const EXCLUDE_BACKENDS: Opt<PathBuf> = Opt::unset(
    "exclude-backends",
    kind::PATH,
    "a file of backends to leave out, with one name on each line",
);
const PER_PROCESS_METRICS: Opt<bool> =
    Opt::new("per-process-metrics", kind::BOOLEAN, "false", "lines for each HAProxy process, too");
const CALCULATE_PERCENTAGES: Opt<bool> = Opt::new(
    "calculate-percentages",
    kind::BOOLEAN,
    "false",
    "four percentages of HAProxy's limits",
);
const SERVER_STATES: Opt<bool> = Opt::new(
    "server-states",
    kind::BOOLEAN,
    "false",
    "states of servers and backends, as numbers and as texts",
);
const HIDE_MAINT: Opt<bool> = Opt::new(
    "hide-maint",
    kind::BOOLEAN,
    "false",
    "leave out servers that are in maintenance in all processes",
);
const LIVENESS_CHECK_INTERVAL: Opt<Duration> =
    Opt::new("liveness-check-interval", kind::LIMIT, "10", "time between two reports on itself");
const JOB_TIMEOUT: Opt<Duration> = Opt::new(
    "job-timeout",
    kind::LIMIT,
    "300",
    "a worker without progress for so long is replaced",
);
const FILE_LIMIT: Opt<u64> =
    Opt::new("file-limit", kind::BYTES, "268435456", "bytes that one file of a snapshot may have");
const PARTIAL_INPUT: Opt<PartialInput> = Opt::new(
    "partial-input",
    kind::PARTIAL_INPUT,
    "accept",
    "what becomes of a snapshot with damaged files",
);
const FAILED_DIR: Opt<PathBuf> = Opt::new(
    "failed-dir",
    kind::PATH,
    "${paths:base-dir}/failed",
    "where snapshots go that cannot be processed",
);
const FAILED_LIMIT: Opt<usize> =
    Opt::new("failed-limit", kind::SNAPSHOT_COUNT, "100", "snapshots kept there; the oldest go");
const OUTBOX_DIR: Opt<PathBuf> = Opt::new(
    "outbox-dir",
    kind::PATH,
    "${paths:base-dir}/outbox",
    "where batches wait while a receiver is away, in a folder for each receiver",
);
const MONITOR_LISTEN: Opt<Listen> = Opt::unset(
    "monitor-listen",
    kind::LISTEN,
    "the address at which load balancers and people ask how haproxystats-process is",
);

pub(crate) const OPTIONS: &[KnownOption] = &[
    LOGLEVEL.row,
    SRC_DIR.row,
    WORKERS.row,
    FRONTEND_METRICS.row,
    BACKEND_METRICS.row,
    SERVER_METRICS.row,
    DAEMON_METRICS.row,
    AGGR_SERVER_METRICS.row,
    MAX_SERVERS_PER_BACKEND.row,
    EXCLUDE_FRONTENDS.row,
    EXCLUDE_BACKENDS.row,
    PER_PROCESS_METRICS.row,
    CALCULATE_PERCENTAGES.row,
    SERVER_STATES.row,
    HIDE_MAINT.row,
    LIVENESS_CHECK_INTERVAL.row,
    JOB_TIMEOUT.row,
    FILE_LIMIT.row,
    PARTIAL_INPUT.row,
    FAILED_DIR.row,
    FAILED_LIMIT.row,
    OUTBOX_DIR.row,
    MONITOR_LISTEN.row,
];

/// Reads the section and the receivers.
pub(crate) fn process(resolver: &mut Resolver<'_>, file: &Arc<Path>) -> Result<Process, Rejection> {
    let outbox_dir = Reader::new(resolver, SECTION, file).value(&OUTBOX_DIR)?;
    // An error is returned only after this section, so that one run reports its faults too.
    let receivers = receivers::read(resolver, file);
    let mut reader = Reader::new(resolver, SECTION, file);
    let loglevel = reader.value(&LOGLEVEL)?;
    let src_dir = reader.value(&SRC_DIR)?;
    let workers = reader.value(&WORKERS)?;
    let liveness_check_interval = reader.value(&LIVENESS_CHECK_INTERVAL)?;
    let job_timeout = reader.value(&JOB_TIMEOUT)?;
    let partial_input = reader.value(&PARTIAL_INPUT)?;
    let failed_dir = reader.value(&FAILED_DIR)?;
    let failed_limit = reader.value(&FAILED_LIMIT)?;
    let monitor_listen = reader.optional(&MONITOR_LISTEN);
    let tables = tables(&mut reader)?;
    let (receivers, naming) = receivers?;

    Ok(Process {
        loglevel,
        src_dir,
        workers,
        liveness_check_interval,
        job_timeout,
        partial_input,
        failed_dir,
        failed_limit,
        tables,
        outbox_dir,
        monitor_listen,
        receivers,
        naming,
    })
}

/// Warns of names in the lists of metrics that no known HAProxy has. They are no faults, because a
/// newer HAProxy may have them.
pub(crate) fn warnings(process: &Process, document: &Document, file: &Arc<Path>) -> Vec<Warning> {
    let tables = &process.tables;
    let lists = [
        (&FRONTEND_METRICS, &tables.frontend_metrics),
        (&BACKEND_METRICS, &tables.backend_metrics),
        (&SERVER_METRICS, &tables.server_metrics),
        (&DAEMON_METRICS, &tables.daemon_metrics),
    ];
    let mut warnings = Vec::new();
    for (option, selection) in lists {
        let names = match selection {
            Selection::Default => continue,
            Selection::All { except } => except,
            Selection::Named(names) => names,
        };
        let option = option.row.name;
        let known: Vec<&str> = if option == DAEMON_METRICS.row.name {
            model::catalog::daemon_names().collect()
        } else {
            model::catalog::names().collect()
        };
        for name in names.iter().filter(|name| !known.contains(&name.as_str())) {
            let place = match place_of(document, SECTION, option) {
                Some((_, place)) => place.clone(),
                None => Place { file: Arc::clone(file), line: None },
            };
            let meant = match nearest(name, known.iter().copied()) {
                Some(near) => format!("did you mean {near}?"),
                None => "check its spelling.".to_owned(),
            };
            let message = format!(
                "{name:?} is no metric of any HAProxy that this version knows; {meant} It is read \
                 if HAProxy has it"
            );
            let (section, option) = (Some(SECTION.to_owned()), Some(option.to_owned()));
            warnings.push(Warning { place, section, option, message });
        }
    }
    warnings
}

fn tables(reader: &mut Reader<'_, '_>) -> Result<Tables, Rejection> {
    let mut selection = |option| reader.optional(option).unwrap_or(Selection::Default);
    Ok(Tables {
        frontend_metrics: selection(&FRONTEND_METRICS),
        backend_metrics: selection(&BACKEND_METRICS),
        server_metrics: selection(&SERVER_METRICS),
        daemon_metrics: selection(&DAEMON_METRICS),
        aggr_server_metrics: reader.value(&AGGR_SERVER_METRICS)?,
        max_servers_per_backend: reader.optional(&MAX_SERVERS_PER_BACKEND),
        exclude_frontends: reader.optional(&EXCLUDE_FRONTENDS),
        exclude_backends: reader.optional(&EXCLUDE_BACKENDS),
        per_process_metrics: reader.value(&PER_PROCESS_METRICS)?,
        calculate_percentages: reader.value(&CALCULATE_PERCENTAGES)?,
        server_states: reader.value(&SERVER_STATES)?,
        hide_maint: reader.value(&HIDE_MAINT)?,
        file_limit: reader.value(&FILE_LIMIT)?,
    })
}
