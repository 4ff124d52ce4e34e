//! The page: all families of the newest batch of each origin.
//!
//! With one origin there is no label that promex lacks; with several, each sample has the label
//! `host`. Our own figures begin with `haproxystats_`.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write};

use model::{Batch, Column, Table, TableKind, Value, Values};

use super::names::{Kind, Metric, Names, PROXY_STATES, Reading, SERVER_STATES, STATES_OF_STATUS};
use super::query::Query;
use super::sample::{Family, Sample, push_label};

/// The format of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exposition {
    /// Prometheus's text format 0.0.4.
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Exposition {
    /// The media type, for the header `Content-Type`.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Sets what a fold must give for the page: every column, every state and every server. The files
/// of excluded names stay.
pub fn fold_options(tables: &mut config::Tables) {
    let all = || config::Selection::All { except: Vec::new() };
    tables.frontend_metrics = all();
    tables.daemon_metrics = all();
    tables.backend_metrics = all();
    tables.server_metrics = all();
    tables.server_states = true;
    // A query says so, and the backends' numbers of servers count all.
    tables.hide_maint = false;
    tables.max_servers_per_backend = None;
    tables.aggr_server_metrics = false;
    tables.per_process_metrics = false;
    tables.calculate_percentages = false;
}

/// The page.
#[derive(Debug)]
pub struct Page<'a> {
    batches: Vec<&'a Batch>,
    names: Names,
    exposition: Exposition,
    query: &'a Query,
}

/// The rows of a scope in one table.
#[derive(Debug)]
struct Rows<'a> {
    table: &'a Table,
    /// The labels of each row; `None` for a row that is left out.
    labels: Vec<Option<String>>,
    /// Of a backend: how many servers have each state and each status of a check.
    servers: &'a HashMap<&'a str, ServerCounts>,
}

/// How many servers of a backend have each state and each status of a check.
#[derive(Debug, Default)]
struct ServerCounts {
    states: [u64; SERVER_STATES.len()],
    checks: [u64; STATES_OF_STATUS.len()],
}

impl<'a> Page<'a> {
    /// The page of the newest batch of each origin.
    pub fn new(
        batches: impl IntoIterator<Item = &'a Batch>,
        names: Names,
        exposition: Exposition,
        query: &'a Query,
    ) -> Self {
        let mut newest: Vec<&Batch> = Vec::new();
        for batch in batches {
            let age = |batch: &Batch| (batch.id.timestamp.seconds(), batch.id.serial);
            match newest.iter_mut().find(|known| known.id.origin == batch.id.origin) {
                Some(known) if age(known) <= age(batch) => *known = batch,
                Some(_) => {}
                None => newest.push(batch),
            }
        }
        newest.sort_by(|one, two| one.id.origin.cmp(&two.id.origin));
        Self { batches: newest, names, exposition, query }
    }

    /// Writes the page.
    ///
    /// # Errors
    ///
    /// The output fails.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let query = self.query;
        if self.names == Names::Exporter && query.process {
            let help = "Whether there is a snapshot of HAProxy.";
            self.write_of_batches("haproxy_up", help, |_| 1, out)?;
        }
        for (is_asked, scope, kind) in [
            (query.process, 'P', TableKind::Daemon),
            (query.frontends, 'F', TableKind::Frontend),
            (query.backends, 'B', TableKind::Backend),
            (query.servers, 'S', TableKind::BackendServer),
        ] {
            if is_asked {
                self.write_scope(scope, &kind, out)?;
            }
        }
        if query.own {
            self.write_own(out)?;
        }
        if self.exposition == Exposition::OpenMetrics {
            out.write_all(b"# EOF\n")?;
        }
        Ok(())
    }

    /// The families of one kind of rows.
    fn write_scope(&self, scope: char, kind: &TableKind, out: &mut impl Write) -> io::Result<()> {
        let counts: Vec<_> = self.batches.iter().map(|batch| servers_of(batch, scope)).collect();
        let mut all = Vec::new();
        for (batch, servers) in self.batches.iter().zip(&counts) {
            for table in batch.tables.iter().filter(|table| table.kind == *kind) {
                let labels = self.labels(batch, table, scope);
                all.push(Rows { table, labels, servers });
            }
        }
        let prefix = match scope {
            'P' => "haproxy_process_",
            'F' => "haproxy_frontend_",
            'B' => "haproxy_backend_",
            _ => "haproxy_server_",
        };
        let metrics: Vec<_> =
            self.names.metrics().iter().filter(|metric| metric.is_of(scope)).collect();
        for family in metrics.chunk_by(|one, two| one.name == two.name) {
            let Metric { name, kind, help, .. } = family[0];
            let name = format!("{prefix}{name}");
            if !self.query.has(&name) {
                continue;
            }
            let mut samples = Family::new(out, self.exposition, name, *kind, help);
            for metric in family {
                for rows in &all {
                    rows.write(metric, &mut samples)?;
                }
            }
        }
        Ok(())
    }

    fn labels(&self, batch: &Batch, table: &Table, scope: char) -> Vec<Option<String>> {
        let host = self.host(batch);
        let keys = self.names.labels(scope);
        let status = texts(table, "status").filter(|_| scope == 'S' && self.query.no_maint);
        let of_row = |row| {
            let state = status.and_then(|status| text(status, row)).and_then(server_state);
            if state == Some("MAINT") {
                return None;
            }
            let mut labels = String::new();
            for (key, value) in keys.iter().zip(table.names.row(row)) {
                push_label(key, value, &mut labels);
            }
            if !host.is_empty() {
                let separator = if labels.is_empty() { "" } else { "," };
                labels.push_str(separator);
                labels.push_str(&host);
            }
            Some(labels)
        };
        (0..table.names.len()).map(of_row).collect()
    }

    /// The label of the origin; empty with one origin.
    fn host(&self, batch: &Batch) -> String {
        let mut label = String::new();
        if self.batches.len() > 1 {
            push_label("host", &batch.id.origin, &mut label);
        }
        label
    }

    fn write_of_batches(
        &self,
        name: &str,
        help: &str,
        value: impl Fn(&Batch) -> i128,
        out: &mut impl Write,
    ) -> io::Result<()> {
        if !self.query.has(name) {
            return Ok(());
        }
        let mut family = Family::new(out, self.exposition, name.to_owned(), Kind::Gauge, help);
        for batch in &self.batches {
            family.push(&self.host(batch), None, Sample::Integer(value(batch)))?;
        }
        Ok(())
    }

    /// The families about haproxystats.
    fn write_own(&self, out: &mut impl Write) -> io::Result<()> {
        let help = "Time of the snapshot whose figures these are, in epoch seconds.";
        let time = |batch: &Batch| i128::from(batch.id.timestamp.seconds());
        self.write_of_batches("haproxystats_snapshot_timestamp_seconds", help, time, out)?;
        let mut columns: BTreeMap<String, Vec<(&Batch, &Column)>> = BTreeMap::new();
        for batch in &self.batches {
            let tables = batch.tables.iter().filter(|table| table.kind == TableKind::Own);
            for column in tables.flat_map(|table| &table.columns) {
                columns.entry(own_name(column)).or_default().push((batch, column));
            }
        }
        for (name, columns) in columns {
            if !self.query.has(&name) {
                continue;
            }
            let help = "A figure about haproxystats itself; docs/metrics.md explains it.";
            let mut family = Family::new(out, self.exposition, name, Kind::Gauge, help);
            for (batch, column) in columns {
                if let Some(sample) = Sample::of(column, 0) {
                    family.push(&self.host(batch), None, sample)?;
                }
            }
        }
        Ok(())
    }
}

impl Rows<'_> {
    fn write(&self, metric: &Metric, family: &mut Family<'_, impl Write>) -> io::Result<()> {
        let rows = self.labels.iter().enumerate();
        let rows = rows.filter_map(|(row, labels)| Some((row, labels.as_deref()?)));
        match metric.reading {
            Reading::Number | Reading::Bound | Reading::Milliseconds | Reading::Code(_) => {
                let columns = NumberColumns::of(self.table, metric);
                for (row, labels) in rows {
                    columns.write(metric, row, labels, family)?;
                }
            }
            Reading::ProxyState | Reading::ServerState | Reading::Check | Reading::Up => {
                let Some(column) = texts(self.table, metric.column) else { return Ok(()) };
                for (row, labels) in rows {
                    if let Some(text) = text(column, row) {
                        write_state(metric.reading, text, labels, family)?;
                    }
                }
            }
            Reading::ServersByState | Reading::ServersByCheck => {
                for (row, labels) in rows {
                    let backend = self.table.names.label(row, 0).unwrap_or_default();
                    // A backend without servers has no sample, as with promex.
                    let Some(counts) = self.servers.get(backend) else { continue };
                    let (states, counts): (&[&str], &[u64]) = match metric.reading {
                        Reading::ServersByState => (&SERVER_STATES, &counts.states),
                        _ => (&STATES_OF_STATUS, &counts.checks),
                    };
                    for (state, count) in states.iter().zip(counts) {
                        let sample = Sample::Integer(i128::from(*count));
                        family.push(labels, Some(("state", state)), sample)?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// The columns that make the samples of a metric.
#[derive(Debug)]
struct NumberColumns<'a> {
    numbers: Option<&'a Column>,
    alias: Option<&'a Column>,
    /// The mode of a proxy or server, for a metric of HTTP.
    mode: Option<&'a Column>,
    /// Texts without which there is no sample; the outer `None` is no condition.
    condition: Option<Option<&'a Column>>,
}

impl<'a> NumberColumns<'a> {
    fn of(table: &'a Table, metric: &Metric) -> Self {
        let mode = metric.is_of_http().then(|| texts(table, "mode"));
        Self {
            numbers: numbers(table, metric.column),
            alias: metric.alias.and_then(|alias| numbers(table, alias)),
            mode: mode.flatten(),
            condition: metric.condition().map(|name| texts(table, name)),
        }
    }

    /// Whether a row has the metric. A fold gives 0 to a row without a value.
    fn has(&self, row: usize) -> bool {
        let mode = self.mode.and_then(|column| text(column, row));
        mode.is_none_or(|mode| mode == "http")
            && self.condition.is_none_or(|texts| texts.is_some_and(|it| text(it, row).is_some()))
    }

    fn write(
        &self,
        metric: &Metric,
        row: usize,
        labels: &str,
        family: &mut Family<'_, impl Write>,
    ) -> io::Result<()> {
        let value = |column: Option<&Column>| Sample::of(column?, row);
        let sample = match (value(self.numbers), value(self.alias)) {
            (Some(one), Some(two)) => one.plus(two),
            (Some(sample), None) | (None, Some(sample)) => sample,
            (None, None) => return Ok(()),
        };
        match metric.reading {
            _ if !self.has(row) => Ok(()),
            Reading::Bound if sample == Sample::Integer(0) => Ok(()),
            Reading::Milliseconds => family.push(labels, None, sample.in_seconds()),
            Reading::Code(code) => family.push(labels, Some(("code", code)), sample),
            _ => family.push(labels, None, sample),
        }
    }
}

/// A sample for each state, of which at most one is 1.
fn write_state(
    reading: Reading,
    text: &str,
    labels: &str,
    family: &mut Family<'_, impl Write>,
) -> io::Result<()> {
    let (states, state): (&[&str], _) = match reading {
        Reading::Up => {
            let is_up = matches!(server_state(text), Some("UP" | "DRAIN")) || text == "OPEN";
            return family.push(labels, None, Sample::of_flag(is_up));
        }
        Reading::ServerState => (&SERVER_STATES, server_state(text)),
        Reading::Check => (&STATES_OF_STATUS, Some(check_word(text))),
        _ => (&PROXY_STATES, proxy_state(text)),
    };
    // A word that no HAProxy sends is no state.
    let Some(state) = state else { return Ok(()) };
    for known in states {
        family.push(labels, Some(("state", known)), Sample::of_flag(*known == state))?;
    }
    Ok(())
}

/// The state of a server, from its status, such as "UP 1/3", "MAINT (via be/s1)" or "no check".
fn server_state(status: &str) -> Option<&'static str> {
    if status == "no check" {
        return Some("UP");
    }
    let word = status.split(' ').next()?;
    SERVER_STATES.into_iter().find(|state| *state == word)
}

/// A frontend that has all its sessions (FULL) is up.
fn proxy_state(status: &str) -> Option<&'static str> {
    match status {
        "OPEN" | "FULL" | "UP" => Some("UP"),
        "STOP" | "DOWN" => Some("DOWN"),
        _ => None,
    }
}

/// The word of a check's status. A star before it says that a check is under way.
fn check_word(status: &str) -> &str {
    status.strip_prefix("* ").unwrap_or(status)
}

/// The servers of the backends of a batch, if the scope needs them.
fn servers_of(batch: &Batch, scope: char) -> HashMap<&str, ServerCounts> {
    let mut all: HashMap<&str, ServerCounts> = HashMap::new();
    let is_servers = |table: &&Table| table.kind == TableKind::BackendServer && scope == 'B';
    for table in batch.tables.iter().filter(is_servers) {
        let Some(status) = texts(table, "status") else { continue };
        let check = texts(table, "check_status");
        for row in 0..table.names.len() {
            let Some(backend) = table.names.label(row, 0) else { continue };
            let counts = all.entry(backend).or_default();
            let state = text(status, row).and_then(server_state);
            if let Some(at) = SERVER_STATES.iter().position(|known| Some(*known) == state) {
                counts.states[at] += 1;
            }
            let word = check.and_then(|check| text(check, row)).map(check_word);
            if let Some(at) = STATES_OF_STATUS.iter().position(|known| Some(*known) == word) {
                counts.checks[at] += 1;
            }
        }
    }
    all
}

fn numbers<'a>(table: &'a Table, name: &str) -> Option<&'a Column> {
    let is_number = |column: &&Column| !matches!(column.values, Values::States(_));
    table.columns.iter().filter(is_number).find(|column| column.name == name)
}

fn texts<'a>(table: &'a Table, name: &str) -> Option<&'a Column> {
    let is_text = |column: &&Column| matches!(column.values, Values::States(_));
    table.columns.iter().filter(is_text).find(|column| column.name == name)
}

fn text(column: &Column, row: usize) -> Option<&str> {
    match column.get(row)? {
        Value::State(text) if !text.is_empty() => Some(text),
        _ => None,
    }
}

/// `TotalWallClockTime` is `haproxystats_total_wall_clock_time_seconds`.
fn own_name(column: &Column) -> String {
    let mut name = "haproxystats".to_owned();
    let mut was_lower = true;
    for character in column.name.chars() {
        if character.is_ascii_uppercase() && was_lower {
            name.push('_');
        }
        was_lower = !character.is_ascii_uppercase();
        let is_legal = character.is_ascii_alphanumeric();
        name.push(if is_legal { character.to_ascii_lowercase() } else { '_' });
    }
    if matches!(column.values, Values::Milliseconds(_)) {
        name.push_str("_seconds");
    }
    name
}
