//! Folds given snapshots and prints what a receiver would get, for a look at the data and for
//! tests.
//!
//! The directories stay as they are, and nothing is sent.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use daemon::Clock;
use model::{Batch, SnapshotId, Timestamp, form};
use receivers::graphite::{Encoder, NameForms, Paths};
use receivers::influxdb::{InfluxLines, Precision, Schema};
use receivers::prometheus::{self, Exposition, Page, Query};
use receivers::{InvalidPattern, LineReader, Loss, RowEncoder, json};
use thiserror::Error;
use tracing::warn;

use crate::child::fold::FoldChild;
use crate::core::Reply;

/// The form of what is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The lines of the unnamed `[graphite]`, on or off.
    Graphite,
    /// InfluxDB's line protocol, with nanoseconds and the names and tags of the first `[influxdb]`
    /// that is on, else telegraf's names. Rows of a bare layout have neither host nor time.
    Influx,
    /// An object for each row and line.
    Json,
    /// The page for Prometheus, of the newest snapshot of each origin.
    Prometheus,
}

const FORMATS: [(&str, Format); 4] = [
    ("graphite", Format::Graphite),
    ("influx", Format::Influx),
    ("json", Format::Json),
    ("prometheus", Format::Prometheus),
];

/// A word that names no format.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is no format; write graphite, influx, json or prometheus")]
pub struct UnknownFormat(String);

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(word: &str) -> Result<Self, UnknownFormat> {
        let known = FORMATS.iter().find(|(name, _)| *name == word);
        known.map(|(_, format)| *format).ok_or_else(|| UnknownFormat(word.to_owned()))
    }
}

/// Something could not be printed.
#[derive(Debug, Error)]
pub enum RenderError {
    /// The directory's name is no time.
    #[error("{path:?} is no snapshot: its name must be epoch seconds, as in incoming/1700000000")]
    Name {
        /// The directory.
        path: PathBuf,
    },
    /// The snapshot cannot be folded.
    #[error("{path:?} cannot be folded: {reason}")]
    Unfolded {
        /// The directory.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The output takes no more.
    #[error("cannot write to standard output: {0}")]
    Write(#[from] io::Error),
}

/// Folds the snapshots in `directories` and writes them to `out`, each whole, in this order; for
/// Prometheus, as one page of the newest of each origin.
/// `host` is the origin of snapshots that do not name theirs.
///
/// # Errors
///
/// The first directory that is no snapshot or cannot be folded, or the output fails.
pub fn render(
    config: &config::Process,
    host: &str,
    clock: Clock,
    format: Format,
    directories: &[PathBuf],
    out: &mut (impl Write + Send),
) -> Result<(), RenderError> {
    ::fold::on_polars_thread(move || {
        let forms = match format {
            Format::Graphite => NameForms::default().with(&config.naming),
            Format::Influx | Format::Json | Format::Prometheus => NameForms::default(),
        };
        if format == Format::Prometheus {
            return render_page(config, host, clock, directories, out);
        }
        let mut child = FoldChild::new(config, forms, host, clock);
        directories.iter().try_for_each(|path| render_one(config, &mut child, format, path, out))
    })
}

/// Prometheus's text format, which every reader knows.
fn render_page(
    config: &config::Process,
    host: &str,
    clock: Clock,
    directories: &[PathBuf],
    out: &mut impl Write,
) -> Result<(), RenderError> {
    let mut config = config.clone();
    prometheus::fold_options(&mut config.tables);
    let mut child = FoldChild::new(&config, NameForms::default(), host, clock);
    let mut newest: BTreeMap<String, Batch> = BTreeMap::new();
    for path in directories {
        let (id, file) = fold(&mut child, path)?;
        let is_older = |known: &Batch| {
            (id.timestamp.seconds(), id.serial) < (known.id.timestamp.seconds(), known.id.serial)
        };
        if newest.get(&id.origin).is_some_and(is_older) {
            continue;
        }
        let damaged = |error: form::Error| unfolded(path, &error);
        let mut reader = form::Reader::new(form::FileView::new(&file)).map_err(damaged)?;
        let mut batch = Batch { id, tables: Vec::new() };
        while reader.advance().map_err(damaged)? {
            batch.tables.extend(reader.current().cloned());
        }
        newest.insert(batch.id.origin.clone(), batch);
    }
    let query = Query::default();
    let names = prometheus::Names::default();
    let page = Page::new(newest.values(), names, Exposition::Text, &query);
    let mut out = BufWriter::new(out);
    page.write(&mut out)?;
    Ok(out.flush()?)
}

fn unfolded(path: &Path, reason: &impl ToString) -> RenderError {
    RenderError::Unfolded { path: path.to_owned(), reason: reason.to_string() }
}

/// Folds a snapshot and logs what was found.
fn fold(child: &mut FoldChild, path: &Path) -> Result<(SnapshotId, File), RenderError> {
    // `incoming/1700000000/` and `.` are names, too.
    let canonical = path.canonicalize().map_err(|error| unfolded(path, &error))?;
    let name = canonical.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let timestamp: Timestamp =
        name.parse().map_err(|_| RenderError::Name { path: path.to_owned() })?;
    let (reply, batch) =
        child.fold(&canonical, &timestamp).map_err(|error| unfolded(path, &error.reason))?;
    let Reply::Folded { id, findings, .. } = reply else {
        return Err(unfolded(path, &"a wrong reply, please report this"));
    };
    for finding in &findings.list {
        warn!(?path, "{:?}: {}", finding.subject, finding.text);
    }
    if findings.more > 0 {
        warn!(?path, "{} more findings", findings.more);
    }
    Ok((id, File::from(batch)))
}

fn render_one(
    config: &config::Process,
    child: &mut FoldChild,
    format: Format,
    path: &Path,
    out: &mut impl Write,
) -> Result<(), RenderError> {
    let (id, file) = fold(child, path)?;
    let damaged = |error: form::Error| unfolded(path, &error);
    let reader = form::Reader::new(form::FileView::new(&file)).map_err(damaged)?;
    match format {
        Format::Graphite => {
            let paths = Paths::new(&config.naming).map_err(|error| unfolded(path, &error))?;
            let mut encoder = Encoder::new(&paths, &id, reader).map_err(damaged)?;
            io::copy(&mut encoder, out)?;
            let Loss { count, reason } = encoder.long_lines();
            if let Some(reason) = reason {
                warn!(
                    ?path,
                    "{count} lines are too long for the receiver and are left out: {reason}"
                );
            }
        }
        Format::Influx => {
            let schema = influx_schema(config).map_err(|error| unfolded(path, &error))?;
            let format = InfluxLines::new(&schema, &id);
            io::copy(&mut RowEncoder::new(reader, format).map_err(damaged)?, out)?;
        }
        Format::Json => {
            let format = json::JsonRows::new(&id);
            io::copy(&mut RowEncoder::new(reader, format).map_err(damaged)?, out)?;
        }
        // One page has all snapshots.
        Format::Prometheus => {}
    }
    Ok(())
}

fn influx_schema(config: &config::Process) -> Result<Schema, InvalidPattern> {
    for receiver in &config.receivers {
        if let config::ReceiverKind::InfluxDb(influxdb) = &receiver.kind {
            return Schema::new(influxdb, Precision::Nanoseconds).map(Schema::for_commands);
        }
    }
    Ok(Schema::plain(Precision::Nanoseconds).for_commands())
}
