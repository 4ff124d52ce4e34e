//! The tables of the applications in a snapshot.
//!
//! The names and fields of four tables are telegraf's; the others are ours (module `table`). A
//! worker's number is its place in the list, which is uWSGI's own number too, except for a worker
//! that never ran: uWSGI then says 0.

use model::{Column, Nature};
use serde_json::Value;

use super::number::{count, list, number, text};
use super::table::{self, Draft};
use super::{preface, text as json};
use crate::{Answer, Reading, Remark, uwsgi::Requests};

const DAMAGE: &str = "the document";

/// The drafts of all tables.
struct Drafts {
    totals: Draft,
    /// The mean time of a request of each application, in microseconds.
    avg_rt: Vec<Option<f64>>,
    overview: Draft,
    workers: Draft,
    apps: Draft,
    cores: Draft,
    sockets: Draft,
    caches: Draft,
    spoolers: Draft,
    locks: Draft,
}

/// Reads the files of all applications.
pub(crate) fn read(answers: &[Answer]) -> Reading {
    let mut reading = Reading::default();
    let mut drafts = Drafts::new();
    for answer in answers {
        let (before, document) = preface::split(&answer.bytes);
        match serde_json::from_str::<Value>(&json::strict(document)) {
            Ok(document) if document.get("workers").is_some_and(Value::is_array) => {
                drafts.add(&answer.endpoint, &document, before.as_ref());
                reading.usable += 1;
            }
            Ok(_) => {
                let text = "left out: its JSON has no workers; it is no answer of uWSGI".to_owned();
                reading.damages.push(Remark { subject: answer.file.clone(), state: DAMAGE, text });
            }
            Err(error) => {
                let text = format!("left out: no JSON: {error}; look at the disk of the spool");
                reading.damages.push(Remark { subject: answer.file.clone(), state: DAMAGE, text });
            }
        }
    }
    reading.tables = drafts.finish();
    reading
}

impl Drafts {
    fn new() -> Self {
        Self {
            totals: Draft::new(&table::TOTALS),
            avg_rt: Vec::new(),
            overview: Draft::new(&table::OVERVIEW),
            workers: Draft::new(&table::WORKERS),
            apps: Draft::new(&table::APPS),
            cores: Draft::new(&table::CORES),
            sockets: Draft::new(&table::SOCKETS),
            caches: Draft::new(&table::CACHES),
            spoolers: Draft::new(&table::SPOOLERS),
            locks: Draft::new(&table::LOCKS),
        }
    }

    fn finish(self) -> Vec<model::Table> {
        let avg_rt = Column::decimals("avg_rt", Nature::Average, self.avg_rt);
        let avg_rt = (avg_rt.count() > 0).then_some(avg_rt);
        let tables = [
            self.totals.finish(avg_rt),
            self.overview.finish(None),
            self.workers.finish(None),
            self.apps.finish(None),
            self.cores.finish(None),
            self.sockets.finish(None),
            self.caches.finish(None),
            self.spoolers.finish(None),
            self.locks.finish(None),
        ];
        tables.into_iter().flatten().collect()
    }

    fn add(&mut self, source: &str, document: &Value, before: Option<&Requests>) {
        let id = |key| number(document, key).map(|id| id.to_string()).unwrap_or_default();
        let labels = [source, &id("uid"), &id("gid"), text(document, "version")];
        self.overview.push(&labels, |key| number(document, key));

        let workers = list(document, "workers");
        for (at, worker) in workers.iter().enumerate() {
            self.add_worker(source, &(at + 1).to_string(), worker);
        }
        if self.totals.push(&[source], |key| total(document, workers, key)) {
            self.avg_rt.push(avg_rt(document, workers, before));
        }
        for socket in list(document, "sockets") {
            let is_tcp = is_tcp(socket);
            let labels = [source, text(socket, "name"), text(socket, "proto")];
            self.sockets.push(&labels, |key| match key {
                "queue" | "max_queue" if !is_tcp => None,
                _ => number(socket, key),
            });
        }
        for cache in list(document, "caches") {
            self.caches.push(&[source, text(cache, "name")], |key| number(cache, key));
        }
        for spooler in list(document, "spoolers") {
            self.spoolers.push(&[source, text(spooler, "dir")], |key| number(spooler, key));
        }
        let locks = list(document, "locks").iter().filter_map(Value::as_object);
        for (name, holder) in locks.flatten() {
            self.locks.push(&[source, name], |_| holder.as_i64());
        }
    }

    fn add_worker(&mut self, source: &str, id: &str, worker: &Value) {
        let is_new = self.workers.push(&[source, id], |key| match key {
            "delta_request" => number(worker, "delta_requests"),
            _ => number(worker, key),
        });
        if is_new {
            self.workers.push_status(text(worker, "status"));
        }
        for (at, app) in list(worker, "apps").iter().enumerate() {
            self.apps.push(&[source, id, &id_of(app, at)], |key| number(app, key));
        }
        for (at, core) in list(worker, "cores").iter().enumerate() {
            self.cores.push(&[source, id, &id_of(core, at)], |key| number(core, key));
        }
    }
}

/// The number that uWSGI gives an app or a core, from 0 on.
fn id_of(object: &Value, at: usize) -> String {
    match number(object, "id") {
        Some(id) => id.to_string(),
        None => at.to_string(),
    }
}

/// A column of [`table::TOTALS`].
fn total(document: &Value, workers: &[Value], key: &str) -> Option<i64> {
    let sum_of = |key: &str| {
        let values = workers.iter().map(|worker| count(worker, key));
        i64::try_from(values.fold(0, u64::saturating_add)).ok()
    };
    let with_status = |status: &str| {
        let those = workers.iter().filter(|worker| text(worker, "status") == status);
        i64::try_from(those.count()).ok()
    };
    // Linux tells the queue of a TCP socket alone; that of a UNIX socket always reads 0.
    let of_sockets = |key: &str| {
        let sockets = list(document, "sockets").iter().filter(|socket| is_tcp(socket));
        let queues: Vec<i64> = sockets.filter_map(|socket| number(socket, key)).collect();
        (!queues.is_empty()).then(|| queues.iter().fold(0, |sum: i64, it| sum.saturating_add(*it)))
    };
    // Without memory-report all sizes read 0.
    let largest = workers.iter().filter_map(|worker| number(worker, "rss")).max().unwrap_or(0);
    match key {
        "workers_total" => i64::try_from(workers.len()).ok(),
        "busy_workers" => with_status("busy"),
        "idle_workers" => with_status("idle"),
        "cheap_workers" => with_status("cheap"),
        "rss" | "rss_max" if largest <= 0 => None,
        "rss_max" => Some(largest),
        "listen_queue" => of_sockets("queue"),
        "listen_queue_max" => of_sockets("max_queue"),
        _ => sum_of(key),
    }
}

/// The mean of the workers' `avg_rt`, which uWSGI keeps as a running mean of each, weighted by the
/// requests since the last cycle. If that is unknown, or there were none, all requests weigh.
fn avg_rt(document: &Value, workers: &[Value], before: Option<&Requests>) -> Option<f64> {
    let all: Vec<u64> = workers.iter().map(|worker| count(worker, "requests")).collect();
    let master = document.get("pid").and_then(Value::as_u64);
    let since = before.map(|before| before.since(master, &all));
    let weights = match since {
        Some(since) if since.iter().any(|requests| *requests > 0) => since,
        _ => all,
    };
    let (mut sum, mut weight) = (0.0, 0.0);
    for (worker, requests) in workers.iter().zip(weights) {
        sum += count(worker, "avg_rt") as f64 * requests as f64;
        weight += requests as f64;
    }
    (weight > 0.0).then(|| sum / weight)
}

/// Whether a socket has the name of a TCP one: `host:port`.
fn is_tcp(socket: &Value) -> bool {
    let name = text(socket, "name");
    let port = name.rsplit_once(':').map(|(_, port)| port);
    !name.starts_with(['/', '@']) && port.is_some_and(|port| port.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests;
