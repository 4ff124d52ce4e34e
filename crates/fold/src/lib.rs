//! Reads HAProxy's answers into typed columns and folds them over its processes.
//!
//! The input is files and the output is tables of a [`model::Batch`]. The reader is our own, the
//! folds are those of polars, which no other crate imports. A damaged file is left out and reported
//! as [`Damage`], and the other files are folded.

mod cells;
mod codes;
mod columns;
mod exclude;
mod findings;
mod fold;
mod info;
mod input;
mod keys;
mod process;
mod row_limit;
mod rows;
mod separators;
mod server_limit;
#[cfg(feature = "stages")]
pub mod stages;
mod stat;
mod states;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use daemon::file::ReadError;
use model::catalog::{Fold, ProxyKind};
use model::{Column, Names, Nature, Table, TableKind, clean};
use thiserror::Error;

use crate::codes::Codes;
use crate::columns::{Plan, Planned};
use crate::fold::{CodedTable, Frame};
use crate::keys::Keys;
use crate::row_limit::keep_rows;
use crate::server_limit::LeftOut;
use crate::stat::{AllCodes, AllRows, Joining, Rows};
use crate::states::States;

pub use crate::findings::{Damage, Oddity};
pub use crate::fold::on_polars_thread;
pub use crate::server_limit::Servers;

/// A snapshot could not be folded.
#[derive(Debug, Error)]
pub enum Error {
    /// A file cannot be read now; a later try can succeed.
    #[error("{} cannot be read: {source}{}", path.display(), daemon::remedy::of(source))]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A bug of ours.
    #[error("cannot fold {what}: {source}; please report this")]
    Fold {
        /// The rows that were folded.
        what: &'static str,
        /// Polars' error.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// The files with the answers of one endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// The endpoint's name.
    pub endpoint: String,
    /// The answer to `show info`.
    pub info: Option<PathBuf>,
    /// The answer to `show stat`.
    pub stat: Option<PathBuf>,
    /// The generation of its process.
    pub generation: Generation,
    /// Whether the answers came through a master CLI. Of two inputs of one process the other one
    /// counts, and that is nothing odd.
    pub by_master: bool,
}

/// Whether a process is in service.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Generation {
    /// It takes new connections.
    #[default]
    Current,
    /// A worker from before a reload, which only serves what it has. Its counters count; its
    /// states, weights and limits count only for what no current process has.
    Old,
}

/// The reader and the folds, with their memory from one snapshot to the next.
#[derive(Debug)]
pub struct Tables {
    config: config::Tables,
    buffer: rows::Buffer,
    codes: AllCodes,
    /// How many frontends, backends and servers the last snapshot had: the capacity for the next.
    rows_before: [usize; 3],
    keys: Keys,
    frontend_plan: Plan,
    backend_plan: Plan,
    server_plan: Plan,
    aggregate_plan: Plan,
}

/// The proxies of one snapshot, read but not folded.
#[derive(Debug)]
pub struct Proxies {
    rows: AllRows,
    excluded_frontends: HashSet<String>,
    excluded_backends: HashSet<String>,
    /// How many files could be used, at least in part.
    pub usable: usize,
    /// Files that could not be used, or only in part.
    pub damages: Vec<Damage>,
    /// Oddities of the other files.
    pub oddities: Vec<Oddity>,
}

/// The findings about the files of a snapshot.
#[derive(Debug, Default)]
struct Findings {
    damages: Vec<Damage>,
    oddities: Vec<Oddity>,
}

/// The daemon of one snapshot.
#[derive(Debug)]
pub struct Daemon {
    /// Its tables.
    pub tables: Vec<Table>,
    /// How many files could be used, at least in part.
    pub usable: usize,
    /// Files that could not be used, or only in part.
    pub damages: Vec<Damage>,
    /// Oddities of the other files.
    pub oddities: Vec<Oddity>,
    /// The second sockets of a process, by endpoint, each with the endpoint that counts.
    pub doubles: HashMap<String, String>,
    /// Processes of a HAProxy without an endpoint.
    pub missing: u64,
}

impl Tables {
    /// Plans the folds; no snapshot is read yet.
    #[must_use]
    pub fn new(config: config::Tables) -> Self {
        Self {
            buffer: rows::Buffer::new(),
            codes: AllCodes::default(),
            rows_before: [0; 3],
            frontend_plan: Plan::new(ProxyKind::Frontend, &config.frontend_metrics),
            backend_plan: Plan::new(ProxyKind::Backend, &config.backend_metrics),
            server_plan: Plan::new(ProxyKind::Server, &config.server_metrics),
            aggregate_plan: if config.aggr_server_metrics {
                Plan::new(ProxyKind::Server, &config::Selection::Default)
            } else {
                Plan::default()
            },
            keys: Keys::new(&config.daemon_metrics, config.calculate_percentages),
            config,
        }
    }

    /// Reads and folds the answers to `show info`.
    ///
    /// # Errors
    ///
    /// A bug of ours, or a file that may be readable later; a damaged file is no error.
    pub fn daemon(&self, inputs: &[Input]) -> Result<Daemon, Error> {
        let mut processes = Vec::new();
        let (mut damages, mut oddities) = (Vec::new(), Vec::new());
        for input in inputs {
            let Some(path) = &input.info else { continue };
            let (generation, limit) = (input.generation, self.config.file_limit);
            match process::read(&input.endpoint, path, generation, &self.keys, limit) {
                Ok(answer) => {
                    if !answer.bad.is_empty() {
                        let reason = format!("no number: {}", answer.bad.join(", "));
                        let (path, state) = (path.clone(), findings::OF_LINES);
                        damages.push(Damage { path, state, reason });
                    }
                    let mut process = answer.process;
                    process.by_master = input.by_master;
                    processes.push(process);
                    oddities.extend(answer.oddities);
                }
                Err(error) => damages.push(left_out(path, error)?),
            }
        }
        let usable = processes.len();
        // The first of two inputs of a process counts.
        processes.sort_by_key(|process| process.by_master);
        let family = process::family(&processes);
        processes.retain(|process| !family.doubles.contains_key(&process.endpoint));
        oddities.extend(family.oddities);
        let keys = self.keys.join(&mut processes, &mut oddities);
        let (each, percentages) =
            (self.config.per_process_metrics, self.config.calculate_percentages);
        let tables = info::tables(processes, &keys, each, percentages)?;
        let (doubles, missing) = (family.doubles, family.missing);
        Ok(Daemon { tables, usable, damages, oddities, doubles, missing })
    }

    /// Reads the answers to `show stat`. An answer of `doubles` is read only if the endpoint that
    /// counts has no usable answer. `natures` has columns that the catalogue may lack.
    ///
    /// # Errors
    ///
    /// A file may be readable later; a damaged file is no error.
    pub fn read(
        &mut self,
        inputs: &[Input],
        doubles: &HashMap<String, String>,
        natures: &HashMap<String, Nature>,
    ) -> Result<Proxies, Error> {
        let empty = |planned: Vec<Planned>, plan: &Plan, capacity: usize| {
            let mut rows = Rows::new(planned, capacity);
            if let Some(except) = &plan.all_except {
                let (all_except, natures) = (Some(except.clone()), natures.clone());
                rows.joining = Joining { all_except, natures, surplus: 0 };
            }
            rows.states.is_read = self.config.server_states;
            rows
        };
        let of = |plan: &Plan, capacity| empty(plan.of_snapshot(natures), plan, capacity);
        let mut rows = AllRows {
            frontends: of(&self.frontend_plan, self.rows_before[0]),
            backends: of(&self.backend_plan, self.rows_before[1]),
            servers: empty(self.all_server_fields(natures), &self.server_plan, self.rows_before[2]),
        };
        rows.servers.states.is_read |= self.config.hide_maint;
        let mut findings = Findings::default();
        self.codes.begin_snapshot();
        let mut read = HashSet::new();
        let is_double = |input: &&Input| doubles.contains_key(&input.endpoint);
        for input in inputs.iter().filter(|input| !is_double(input)) {
            if self.read_stat(input, &mut rows, &mut findings)? {
                read.insert(input.endpoint.as_str());
            }
        }
        for input in inputs.iter().filter(is_double) {
            let Some(counts) = doubles.get(&input.endpoint) else { continue };
            if !read.contains(counts.as_str()) && self.read_stat(input, &mut rows, &mut findings)? {
                read.insert(counts);
            }
        }
        let usable = read.len();
        let Findings { damages, mut oddities } = findings;
        self.rows_before =
            [&rows.frontends, &rows.backends, &rows.servers].map(|rows| rows.codes.len());
        let mut new_columns = BTreeMap::new();
        let mut surplus = 0;
        for rows in [&rows.frontends, &rows.backends, &rows.servers] {
            surplus = surplus.max(rows.joining.surplus);
            for (planned, cells) in rows.plan.iter().zip(&rows.columns) {
                let is_text = || rows.texts.iter().any(|(name, _)| *name == planned.name);
                if planned.is_new && cells.has_values() && !is_text() {
                    new_columns.insert(Arc::clone(&planned.name), planned.fold);
                }
            }
        }
        columns::oddities(columns::Source::ShowStat, &new_columns, surplus, natures, &mut oddities);
        let config = &self.config;
        Ok(Proxies {
            rows,
            excluded_frontends: exclude::names(config.exclude_frontends.as_ref(), &mut oddities),
            excluded_backends: exclude::names(config.exclude_backends.as_ref(), &mut oddities),
            usable,
            damages,
            oddities,
        })
    }

    /// Reads an endpoint's answer to `show stat`, and returns whether there is a usable one.
    fn read_stat(
        &mut self,
        input: &Input,
        rows: &mut AllRows,
        findings: &mut Findings,
    ) -> Result<bool, Error> {
        let Some(path) = &input.stat else { return Ok(false) };
        let limit = self.config.file_limit;
        match stat::read(path, input.generation, limit, &mut self.buffer, &mut self.codes, rows) {
            Err(error) => {
                findings.damages.push(left_out(path, error)?);
                Ok(false)
            }
            Ok(report) => {
                findings.oddities.extend(report.oddities(&input.endpoint));
                findings.damages.extend(report.damage(path));
                Ok(report.is_usable())
            }
        }
    }

    /// Folds the frontends.
    ///
    /// # Errors
    ///
    /// A bug of ours.
    pub fn frontends(&mut self, proxies: &mut Proxies) -> Result<Table, Error> {
        let excluded = &proxies.excluded_frontends;
        let (folded, states) = fold_all(std::mem::take(&mut proxies.rows.frontends), "frontends")?;
        let columns = states.texts(&folded.codes);
        let folded = folded.with(columns);
        Ok(table(TableKind::Frontend, folded, &self.codes.frontends, excluded).0)
    }

    /// Folds the backends.
    ///
    /// # Errors
    ///
    /// A bug of ours.
    pub fn backends(&mut self, proxies: &mut Proxies) -> Result<Table, Error> {
        let excluded = &proxies.excluded_backends;
        let (folded, states) = fold_all(std::mem::take(&mut proxies.rows.backends), "backends")?;
        let columns = states.of_backends(&folded.codes);
        let folded = folded.with(columns);
        Ok(table(TableKind::Backend, folded, &self.codes.backends, excluded).0)
    }

    /// Folds the servers within their backends, their number in each backend, and over all backends
    /// if that is configured. `max-servers-per-backend` bounds the first alone.
    ///
    /// # Errors
    ///
    /// A bug of ours.
    pub fn servers(&mut self, proxies: &mut Proxies) -> Result<Servers, Error> {
        let excluded = &proxies.excluded_backends;
        let mut rows = std::mem::take(&mut proxies.rows.servers);
        let states = std::mem::take(&mut rows.states);
        // Known columns beyond the plan's own are only for the table over all backends.
        let own = self.server_plan.columns.len();
        let mut plan = rows.plan.clone();
        let mut at = 0;
        plan.retain(|planned| {
            at += 1;
            at <= own || planned.is_new
        });
        let frame = Frame::new(rows);
        let mut tables = Vec::new();
        if self.config.aggr_server_metrics {
            tables.push(self.over_all_backends(&frame)?);
        }
        let mut folded = frame.fold(&frame.codes, &plan, "servers")?;
        drop(frame);
        if self.config.server_states {
            let columns = states.of_servers(&folded.codes);
            folded = folded.with(columns);
        }
        let (mut servers, codes) =
            table(TableKind::BackendServer, folded, &self.codes.servers, excluded);
        let mut counts = server_counts(&servers.names);
        if self.config.server_states {
            counts.columns.extend(states.counts(&servers.names, &codes, &counts.names));
        }
        if self.config.hide_maint {
            let keep: Vec<_> = codes.iter().map(|code| !states.is_in_maintenance(*code)).collect();
            keep_rows(&mut servers, &keep);
        }
        tables.push(counts);
        let limit = self.config.max_servers_per_backend;
        let left_out = limit.map(|most| server_limit::apply(&mut servers, most));
        tables.push(servers);
        Ok(match left_out {
            Some(LeftOut { servers, oddities }) => {
                Servers { tables, left_out: Some(servers), oddities }
            }
            None => Servers { tables, left_out: None, oddities: Vec::new() },
        })
    }

    /// Folds servers by their own names, excluded backends included.
    fn over_all_backends(&self, frame: &Frame) -> Result<Table, Error> {
        let mut names = Vec::new();
        let mut by_name: HashMap<&str, u32> = HashMap::new();
        let mut by_code: Vec<u32> = Vec::new();
        for (_, server) in self.codes.servers.names() {
            by_code.push(*by_name.entry(server).or_insert_with(|| {
                names.push(server.as_str());
                names.len() as u32 - 1
            }));
        }
        let codes: Vec<u32> = frame.codes.iter().map(|&code| by_code[code as usize]).collect();
        let folded =
            frame.fold(&codes, &self.aggregate_plan.columns, "servers over all backends")?;
        let mut rows = Names::new(&TableKind::Server);
        for &code in &folded.codes {
            rows.push(&[names[code as usize]]);
        }
        Ok(Table { kind: TableKind::Server, names: rows, columns: folded.columns })
    }

    /// The fields of servers in either plan.
    fn all_server_fields(&self, natures: &HashMap<String, Nature>) -> Vec<Planned> {
        let mut fields = self.server_plan.of_snapshot(natures);
        for planned in &self.aggregate_plan.columns {
            if fields.iter().all(|other| other.name != planned.name) {
                fields.push(planned.clone());
            }
        }
        fields
    }
}

/// Folds rows by their own plan, and gives their states.
fn fold_all(mut rows: Rows, what: &'static str) -> Result<(CodedTable, States), Error> {
    let states = std::mem::take(&mut rows.states);
    let plan = rows.plan.clone();
    let frame = Frame::new(rows);
    Ok((frame.fold(&frame.codes, &plan, what)?, states))
}

/// The damage of a file that is left out; an error if it may be readable later.
fn left_out(path: &Path, error: ReadError) -> Result<Damage, Error> {
    let path = path.to_owned();
    match error {
        ReadError::Transient(source) => Err(Error::Unreadable { path, source }),
        ReadError::Damage(reason) => {
            let reason = format!("left out: it {reason}");
            Ok(Damage { path, state: findings::OF_FILE, reason })
        }
    }
}

/// The folded rows with their names and the codes of the rows, without the excluded proxies.
fn table(
    kind: TableKind,
    mut folded: CodedTable,
    codes: &Codes,
    excluded: &HashSet<String>,
) -> (Table, Vec<u32>) {
    let mut names = Names::new(&kind);
    let mut kept = Vec::with_capacity(folded.codes.len());
    for &code in &folded.codes {
        let (proxy, server) = &codes.names()[code as usize];
        let keep = excluded.is_empty() || !excluded.contains(&clean::segment(proxy));
        kept.push(keep);
        if keep {
            names.push(&[proxy.as_str(), server.as_str()][..kind.labels()]);
        }
    }
    if kept.contains(&false) {
        for column in &mut folded.columns {
            column.keep_rows(&kept);
        }
        let mut flags = kept.iter();
        folded.codes.retain(|_| flags.next() == Some(&true));
    }
    (Table { kind, names, columns: folded.columns }, folded.codes)
}

/// The table of `TotalServers`: how many different servers each backend has.
fn server_counts(servers: &Names) -> Table {
    let mut counts: Vec<(&str, i128)> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    let mut last = None;
    let backends = (0..servers.len()).filter_map(|row| servers.label(row, 0));
    for backend in backends {
        // The servers of a backend follow each other.
        let place = match last {
            Some((name, place)) if name == backend => place,
            _ => *places.entry(backend).or_insert_with(|| {
                counts.push((backend, 0));
                counts.len() - 1
            }),
        };
        last = Some((backend, place));
        counts[place].1 += 1;
    }
    let mut names = Names::new(&TableKind::ServerCount);
    for (backend, _) in &counts {
        names.push(&[backend]);
    }
    let values = counts.iter().map(|(_, count)| Some(*count));
    let column = Column::integers("TotalServers", Nature::Gauge, Some(Fold::Sum), values);
    Table { kind: TableKind::ServerCount, columns: vec![column], names }
}
