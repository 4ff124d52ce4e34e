//! The tables of uWSGI: their layouts, and a table as it is gathered row by row.

use std::collections::HashSet;
use std::sync::Arc;

use model::{Column, Layout, Names, Nature, Table, TableKind, Values};

/// A table before its rows are known.
pub(super) struct Draft {
    kind: TableKind,
    columns: &'static [(&'static str, Nature)],
    names: Vec<Vec<String>>,
    seen: HashSet<Vec<String>>,
    rows: Vec<Vec<Option<i64>>>,
    statuses: Vec<String>,
}

/// The name, labels and Graphite's path of a table, and its columns.
#[derive(Debug)]
pub(super) struct Schema {
    measurement: &'static str,
    labels: &'static [&'static str],
    path: &'static str,
    columns: &'static [(&'static str, Nature)],
}

const COUNTER: Nature = Nature::Counter;
const GAUGE: Nature = Nature::Gauge;
const OTHER: Nature = Nature::Other;

/// What is summed over the workers of an application.
pub(super) const TOTALS: Schema = Schema {
    measurement: "uwsgi",
    labels: &["source"],
    path: "uwsgi.{0}",
    columns: &[
        ("requests", COUNTER),
        ("exceptions", COUNTER),
        ("harakiri_count", COUNTER),
        ("respawn_count", COUNTER),
        ("tx", COUNTER),
        ("workers_total", GAUGE),
        ("busy_workers", GAUGE),
        ("idle_workers", GAUGE),
        ("cheap_workers", GAUGE),
        ("rss", GAUGE),
        ("rss_max", GAUGE),
        ("listen_queue", GAUGE),
        ("listen_queue_max", Nature::Limit),
    ],
};

/// Telegraf's.
pub(super) const OVERVIEW: Schema = Schema {
    measurement: "uwsgi_overview",
    labels: &["source", "uid", "gid", "version"],
    path: "uwsgi.{0}.overview",
    columns: &[
        ("listen_queue", GAUGE),
        ("listen_queue_errors", COUNTER),
        ("signal_queue", GAUGE),
        ("load", GAUGE),
        ("pid", OTHER),
    ],
};

/// Telegraf's, with its spelling of `delta_request`.
pub(super) const WORKERS: Schema = Schema {
    measurement: "uwsgi_workers",
    labels: &["source", "worker_id"],
    path: "uwsgi.{0}.workers.{1}",
    columns: &[
        ("requests", COUNTER),
        ("accepting", GAUGE),
        ("delta_request", GAUGE),
        ("exceptions", COUNTER),
        ("harakiri_count", COUNTER),
        ("pid", OTHER),
        ("signals", COUNTER),
        ("signal_queue", GAUGE),
        ("rss", GAUGE),
        ("vsz", GAUGE),
        ("running_time", COUNTER),
        ("last_spawn", OTHER),
        ("respawn_count", COUNTER),
        ("tx", COUNTER),
        ("avg_rt", Nature::Average),
    ],
};

/// Telegraf's.
pub(super) const APPS: Schema = Schema {
    measurement: "uwsgi_apps",
    labels: &["source", "worker_id", "app_id"],
    path: "uwsgi.{0}.workers.{1}.apps.{2}",
    columns: &[
        ("modifier1", OTHER),
        ("requests", COUNTER),
        ("startup_time", OTHER),
        ("exceptions", COUNTER),
    ],
};

/// Telegraf's.
pub(super) const CORES: Schema = Schema {
    measurement: "uwsgi_cores",
    labels: &["source", "worker_id", "core_id"],
    path: "uwsgi.{0}.workers.{1}.cores.{2}",
    columns: &[
        ("requests", COUNTER),
        ("static_requests", COUNTER),
        ("routed_requests", COUNTER),
        ("offloaded_requests", COUNTER),
        ("write_errors", COUNTER),
        ("read_errors", COUNTER),
        ("in_request", GAUGE),
    ],
};

/// Ours.
pub(super) const SOCKETS: Schema = Schema {
    measurement: "uwsgi_sockets",
    labels: &["source", "socket", "proto"],
    path: "uwsgi.{0}.sockets.{1}.{2}",
    columns: &[
        ("queue", GAUGE),
        ("max_queue", Nature::Limit),
        ("shared", OTHER),
        ("can_offload", OTHER),
    ],
};

/// Ours.
pub(super) const CACHES: Schema = Schema {
    measurement: "uwsgi_caches",
    labels: &["source", "cache"],
    path: "uwsgi.{0}.caches.{1}",
    columns: &[
        ("hashsize", Nature::Limit),
        ("keysize", Nature::Limit),
        ("max_items", Nature::Limit),
        ("blocks", Nature::Limit),
        ("blocksize", Nature::Limit),
        ("items", GAUGE),
        ("hits", COUNTER),
        ("miss", COUNTER),
        ("full", COUNTER),
        ("last_modified_at", OTHER),
    ],
};

/// Ours.
pub(super) const SPOOLERS: Schema = Schema {
    measurement: "uwsgi_spoolers",
    labels: &["source", "dir"],
    path: "uwsgi.{0}.spoolers.{1}",
    columns: &[("pid", OTHER), ("tasks", COUNTER), ("respawns", COUNTER), ("running", GAUGE)],
};

/// Ours.
pub(super) const LOCKS: Schema = Schema {
    measurement: "uwsgi_locks",
    labels: &["source", "lock"],
    path: "uwsgi.{0}.locks.{1}",
    columns: &[("pid", OTHER)],
};

impl Draft {
    pub(super) fn new(schema: &'static Schema) -> Self {
        let layout = Layout::new(schema.measurement, schema.labels, schema.path);
        Self {
            kind: TableKind::Other(Arc::new(layout)),
            columns: schema.columns,
            names: Vec::new(),
            seen: HashSet::new(),
            rows: Vec::new(),
            statuses: Vec::new(),
        }
    }

    /// Adds a row with a value for each column. Of rows with the same labels the first one counts;
    /// the answer is whether it was added.
    pub(super) fn push(
        &mut self,
        labels: &[&str],
        value: impl FnMut(&'static str) -> Option<i64>,
    ) -> bool {
        let labels: Vec<String> = labels.iter().map(|&label| label.to_owned()).collect();
        if !self.seen.insert(labels.clone()) {
            return false;
        }
        self.names.push(labels);
        self.rows.push(self.columns.iter().map(|column| column.0).map(value).collect());
        true
    }

    /// Adds the status of the row that was added last.
    pub(super) fn push_status(&mut self, status: &str) {
        self.statuses.push(status.to_owned());
    }

    /// The table; `None` if it has no value.
    pub(super) fn finish(self, further: Option<Column>) -> Option<Table> {
        if self.rows.is_empty() {
            return None;
        }
        let mut names = Names::new(&self.kind);
        for labels in &self.names {
            let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
            names.push(&labels);
        }
        let mut columns = Vec::new();
        for (at, (name, nature)) in self.columns.iter().enumerate() {
            let values = self.rows.iter().map(|row| row[at].map(i128::from));
            let column = Column::integers(*name, *nature, None, values);
            if column.count() > 0 {
                columns.push(column);
            }
        }
        if !self.statuses.is_empty() {
            let statuses = Values::States(self.statuses.iter().map(String::as_str).collect());
            columns.push(Column::new("status", OTHER, None, statuses));
        }
        columns.extend(further);
        if columns.is_empty() {
            return None;
        }
        Some(Table { kind: self.kind, names, columns })
    }
}
