//! HAProxy's answers as typed columns, folded over its processes.
//!
//! Files go in, sections of a [`model::Batch`] come out; in between stand a reader of our own and
//! polars, which no other crate sees. A damaged file costs itself: it is left out, reported as
//! [`Damage`], and the rest is folded.

mod cells;
mod codes;
mod exclude;
mod findings;
mod fold;
mod info;
mod process;
mod rows;
mod separators;
#[cfg(feature = "stages")]
pub mod stages;
mod stat;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use daemon::file::Fault;
use model::catalog::{Choice, Fold, Kind};
use model::section::{Column, Names, Part, Section, Subject};
use thiserror::Error;

use crate::codes::Codes;
use crate::fold::{Folded, Table};
use crate::stat::{AllCodes, AllRows, Rows};

pub use crate::findings::{Damage, Oddity};
pub use crate::fold::on_its_thread;

/// A snapshot could not be folded.
#[derive(Debug, Error)]
pub enum Error {
    /// A file cannot be read just now.
    #[error("{} cannot be read: {source}{}", path.display(), daemon::remedy::of(source))]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A fault of ours.
    #[error("cannot fold {what}: {source}; please report this")]
    Fold {
        /// What was being folded.
        what: &'static str,
        /// What polars said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// The answers of one endpoint: where they lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// The endpoint's name.
    pub endpoint: String,
    /// The answer to `show info`.
    pub info: Option<PathBuf>,
    /// The answer to `show stat`.
    pub stat: Option<PathBuf>,
}

/// The reader and the folds, with what they keep from one snapshot to the next.
#[derive(Debug)]
pub struct Tables {
    config: config::Tables,
    buffer: rows::Buffer,
    codes: AllCodes,
    /// How many frontends, backends and servers the last snapshot had: most likely the next one has as many.
    rows_before: [usize; 3],
    frontend_plan: Vec<(&'static str, Fold)>,
    backend_plan: Vec<(&'static str, Fold)>,
    server_plan: Vec<(&'static str, Fold)>,
    aggregate_plan: Vec<(&'static str, Fold)>,
}

/// The proxies of one snapshot, read but not folded.
#[derive(Debug)]
pub struct Proxies {
    rows: AllRows,
    excluded_frontends: HashSet<String>,
    excluded_backends: HashSet<String>,
    /// How many files could be used, at least in part.
    pub usable: usize,
    /// Files of which something could not be used.
    pub damages: Vec<Damage>,
    /// What is odd about the others.
    pub oddities: Vec<Oddity>,
}

/// What the files of a snapshot turned out to be.
#[derive(Debug, Default)]
struct Found {
    damages: Vec<Damage>,
    oddities: Vec<Oddity>,
}

/// The daemon of one snapshot.
#[derive(Debug)]
pub struct Daemon {
    /// Its sections.
    pub sections: Vec<Section>,
    /// How many files could be used, at least in part.
    pub usable: usize,
    /// Files of which something could not be used.
    pub damages: Vec<Damage>,
    /// What is odd about the others.
    pub oddities: Vec<Oddity>,
    /// Endpoints that are a second socket of a process, whose answers must not count twice, and the
    /// endpoint that counts.
    pub doubles: HashMap<String, String>,
    /// Processes of a HAProxy that no endpoint answers for.
    pub missing: u64,
}

impl Tables {
    /// Ready for the first snapshot.
    #[must_use]
    pub fn new(config: config::Tables) -> Self {
        let plan = |kind: Kind, selection: &config::Selection| {
            kind.plan(match selection {
                config::Selection::Default => Choice::Default,
                config::Selection::All => Choice::All,
                config::Selection::Named(names) => Choice::Named(names),
            })
        };
        Self {
            buffer: rows::Buffer::new(),
            codes: AllCodes::default(),
            rows_before: [0; 3],
            frontend_plan: plan(Kind::Frontend, &config.frontend_metrics),
            backend_plan: plan(Kind::Backend, &config.backend_metrics),
            server_plan: plan(Kind::Server, &config.server_metrics),
            aggregate_plan: if config.aggr_server_metrics {
                Kind::Server.plan(Choice::Default)
            } else {
                Vec::new()
            },
            config,
        }
    }

    /// Reads and folds the answers to `show info`.
    ///
    /// # Errors
    ///
    /// A fault of ours, or a file that may be readable later; a damaged file is no error.
    pub fn daemon(&self, inputs: &[Input]) -> Result<Daemon, Error> {
        let mut processes = Vec::new();
        let (mut damages, mut oddities) = (Vec::new(), Vec::new());
        for (endpoint, path) in inputs.iter().filter_map(|i| Some((&i.endpoint, i.info.as_ref()?)))
        {
            let mut damaged = |state, reason| {
                damages.push(Damage { path: path.clone(), state, reason });
            };
            match process::read(endpoint, path, self.config.file_limit) {
                Ok(answer) => {
                    if !answer.bad.is_empty() {
                        let bad = answer.bad.join(", ");
                        damaged(findings::OF_LINES, format!("no number: {bad}"));
                    }
                    processes.push(answer.process);
                    oddities.extend(answer.oddities);
                }
                Err(Fault::Passing(source)) => {
                    return Err(Error::Unreadable { path: path.clone(), source });
                }
                Err(Fault::Damage(reason)) => {
                    damaged(findings::OF_FILE, format!("left out: it {reason}"));
                }
            }
        }
        let usable = processes.len();
        let family = process::family(&processes);
        processes.retain(|process| !family.doubles.contains_key(&process.endpoint));
        oddities.extend(family.oddities);
        let wanted = (self.config.per_process_metrics, self.config.calculate_percentages);
        let sections = info::sections(processes, wanted.0, wanted.1)
            .map_err(|error| fault("the daemon", error))?;
        let (doubles, missing) = (family.doubles, family.missing);
        Ok(Daemon { sections, usable, damages, oddities, doubles, missing })
    }

    /// Reads the answers to `show stat`. Those of `doubles` stand in where the endpoint that counts
    /// has none that can be used.
    ///
    /// # Errors
    ///
    /// A file may be readable later; a damaged one is no error.
    pub fn read(
        &mut self,
        inputs: &[Input],
        doubles: &HashMap<String, String>,
    ) -> Result<Proxies, Error> {
        let mut rows = AllRows {
            frontends: Rows::new(self.frontend_plan.clone(), self.rows_before[0]),
            backends: Rows::new(self.backend_plan.clone(), self.rows_before[1]),
            servers: Rows::new(self.all_server_fields(), self.rows_before[2]),
        };
        let mut found = Found::default();
        self.codes.begin_snapshot();
        let mut read = HashSet::new();
        let is_double = |input: &&Input| doubles.contains_key(&input.endpoint);
        for input in inputs.iter().filter(|input| !is_double(input)) {
            if self.read_stat(input, &mut rows, &mut found)? {
                read.insert(input.endpoint.as_str());
            }
        }
        for input in inputs.iter().filter(is_double) {
            let Some(counts) = doubles.get(&input.endpoint) else { continue };
            if !read.contains(counts.as_str()) && self.read_stat(input, &mut rows, &mut found)? {
                read.insert(counts);
            }
        }
        let usable = read.len();
        let Found { damages, mut oddities } = found;
        self.rows_before =
            [&rows.frontends, &rows.backends, &rows.servers].map(|rows| rows.codes.len());
        oddities.extend(self.codes.take_oddities());
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

    /// Reads an endpoint's answer to `show stat`, if it has one; whether it could be used.
    fn read_stat(
        &mut self,
        input: &Input,
        rows: &mut AllRows,
        found: &mut Found,
    ) -> Result<bool, Error> {
        let Some(path) = &input.stat else { return Ok(false) };
        let limit = self.config.file_limit;
        match stat::read(path, limit, &mut self.buffer, &mut self.codes, rows) {
            Err(Fault::Passing(source)) => Err(Error::Unreadable { path: path.clone(), source }),
            Err(Fault::Damage(reason)) => {
                let (path, reason) = (path.clone(), format!("left out: it {reason}"));
                found.damages.push(Damage { path, state: findings::OF_FILE, reason });
                Ok(false)
            }
            Ok(outcome) => {
                found.oddities.extend(outcome.oddities(&input.endpoint));
                found.damages.extend(outcome.damage(path));
                Ok(outcome.is_usable())
            }
        }
    }

    /// Folds the frontends.
    ///
    /// # Errors
    ///
    /// Only a fault of ours.
    pub fn frontends(&mut self, proxies: &mut Proxies) -> Result<Vec<Section>, Error> {
        let excluded = &proxies.excluded_frontends;
        let rows = std::mem::take(&mut proxies.rows.frontends);
        let mut folded = fold_once(rows, &self.frontend_plan, "frontends")?;
        let names = kept(&mut folded, &self.codes.frontends, |(name, _)| !excluded.contains(name));
        Ok(vec![Section {
            subject: Subject::Frontend,
            part: Part::Frontend,
            names,
            columns: folded.columns,
        }])
    }

    /// Folds the backends.
    ///
    /// # Errors
    ///
    /// Only a fault of ours.
    pub fn backends(&mut self, proxies: &mut Proxies) -> Result<Vec<Section>, Error> {
        let excluded = &proxies.excluded_backends;
        let rows = std::mem::take(&mut proxies.rows.backends);
        let mut folded = fold_once(rows, &self.backend_plan, "backends")?;
        let names = kept(&mut folded, &self.codes.backends, |(name, _)| !excluded.contains(name));
        Ok(vec![Section {
            subject: Subject::Backend,
            part: Part::Backend,
            names,
            columns: folded.columns,
        }])
    }

    /// Folds the servers: within their backends, how many each backend has, and over all backends where that is wanted.
    ///
    /// # Errors
    ///
    /// Only a fault of ours.
    pub fn servers(&mut self, proxies: &mut Proxies) -> Result<Vec<Section>, Error> {
        let excluded = &proxies.excluded_backends;
        let rows = std::mem::take(&mut proxies.rows.servers);
        let table = Table::new(rows);
        let mut sections = Vec::new();
        if self.config.aggr_server_metrics {
            sections.push(self.over_all_backends(&table)?);
        }
        let plan = &self.server_plan;
        let mut folded = table.fold(&table.codes, plan).map_err(|error| fault("servers", error))?;
        drop(table);
        let names = kept(&mut folded, &self.codes.servers, |(name, _)| !excluded.contains(name));
        sections.push(server_counts(&names));
        sections.push(Section {
            subject: Subject::BackendServer,
            part: Part::Server,
            names,
            columns: folded.columns,
        });
        Ok(sections)
    }

    /// Servers by their own names; excluded backends count too.
    fn over_all_backends(&self, table: &Table) -> Result<Section, Error> {
        let mut names = Vec::new();
        let mut by_name: HashMap<&str, u32> = HashMap::new();
        let by_code: Vec<u32> = self
            .codes
            .servers
            .names()
            .iter()
            .map(|(_, server)| {
                *by_name.entry(server).or_insert_with(|| {
                    names.push(server.as_str());
                    names.len() as u32 - 1
                })
            })
            .collect();
        let codes: Vec<u32> = table.codes.iter().map(|&code| by_code[code as usize]).collect();
        let plan = &self.aggregate_plan;
        let folded =
            table.fold(&codes, plan).map_err(|error| fault("servers over all backends", error))?;
        let mut section_names = Names::default();
        for &code in &folded.codes {
            section_names.push(names[code as usize], "");
        }
        Ok(Section {
            subject: Subject::Server,
            part: Part::Server,
            names: section_names,
            columns: folded.columns,
        })
    }

    /// What is read of servers: what is asked of them in their backends and over all of them.
    fn all_server_fields(&self) -> Vec<(&'static str, Fold)> {
        let mut fields = self.server_plan.clone();
        for (name, fold) in &self.aggregate_plan {
            if fields.iter().all(|(planned, _)| planned != name) {
                fields.push((name, *fold));
            }
        }
        fields
    }
}

fn fault(what: &'static str, error: fold::Refused) -> Error {
    Error::Fold { what, source: Box::new(error) }
}

fn fold_once(
    rows: Rows,
    plan: &[(&'static str, Fold)],
    what: &'static str,
) -> Result<Folded, Error> {
    let table = Table::new(rows);
    table.fold(&table.codes, plan).map_err(|error| fault(what, error))
}

/// The names of what was folded, without what is excluded, which leaves the columns too.
fn kept(folded: &mut Folded, codes: &Codes, keep: impl Fn(&(String, String)) -> bool) -> Names {
    let mut names = Names::default();
    let mut kept = Vec::with_capacity(folded.codes.len());
    for &code in &folded.codes {
        let name = &codes.names()[code as usize];
        kept.push(keep(name));
        if keep(name) {
            names.push(&name.0, &name.1);
        }
    }
    if kept.contains(&false) {
        for column in &mut folded.columns {
            column.keep_rows(&kept);
        }
    }
    names
}

/// `TotalServers`: how many different servers each backend has.
fn server_counts(servers: &Names) -> Section {
    let mut counts: Vec<(&str, i128)> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    let mut last = None;
    for (backend, _) in servers.iter() {
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
    let mut names = Names::default();
    for (backend, _) in &counts {
        names.push(backend, "");
    }
    let values = counts.iter().map(|(_, count)| Some(*count));
    Section {
        subject: Subject::Backend,
        part: Part::Server,
        columns: vec![Column::integers("TotalServers", values)],
        names,
    }
}
