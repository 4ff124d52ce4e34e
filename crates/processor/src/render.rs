//! Folds given snapshots and prints what a receiver would get, for a look at the data and for
//! tests.
//!
//! The directories stay as they are, and nothing is sent.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use daemon::Clock;
use model::{Timestamp, form};
use receivers::graphite::{Encoder, NameForms, Paths};
use receivers::influxdb::{InfluxLines, Precision, Schema};
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
}

const FORMATS: [(&str, Format); 3] =
    [("graphite", Format::Graphite), ("influx", Format::Influx), ("json", Format::Json)];

/// A word that names no format.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is no format; write graphite, influx or json")]
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

/// Folds the snapshots in `directories` and writes them to `out`, each whole, in this order.
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
            Format::Influx | Format::Json => NameForms::default(),
        };
        let mut child = FoldChild::new(config, forms, host, clock);
        directories.iter().try_for_each(|path| render_one(config, &mut child, format, path, out))
    })
}

fn render_one(
    config: &config::Process,
    child: &mut FoldChild,
    format: Format,
    path: &Path,
    out: &mut impl Write,
) -> Result<(), RenderError> {
    let unfolded = |reason| RenderError::Unfolded { path: path.to_owned(), reason };
    // `incoming/1700000000/` and `.` are names, too.
    let canonical = path.canonicalize().map_err(|error| unfolded(error.to_string()))?;
    let name = canonical.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let timestamp: Timestamp =
        name.parse().map_err(|_| RenderError::Name { path: path.to_owned() })?;
    let (reply, batch) =
        child.fold(&canonical, &timestamp).map_err(|error| unfolded(error.reason))?;
    let Reply::Folded { id, findings, .. } = reply else {
        return Err(unfolded("a wrong reply, please report this".to_owned()));
    };
    for finding in &findings.list {
        warn!(?path, "{:?}: {}", finding.subject, finding.text);
    }
    if findings.more > 0 {
        warn!(?path, "{} more findings", findings.more);
    }
    let file = File::from(batch);
    let damaged = |error: form::Error| unfolded(error.to_string());
    let reader = form::Reader::new(form::FileView::new(&file)).map_err(damaged)?;
    match format {
        Format::Graphite => {
            let paths = Paths::new(&config.naming).map_err(|error| unfolded(error.to_string()))?;
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
            let schema = influx_schema(config).map_err(|error| unfolded(error.to_string()))?;
            let format = InfluxLines::new(&schema, &id);
            io::copy(&mut RowEncoder::new(reader, format).map_err(damaged)?, out)?;
        }
        Format::Json => {
            let format = json::JsonRows::new(&id);
            io::copy(&mut RowEncoder::new(reader, format).map_err(damaged)?, out)?;
        }
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
