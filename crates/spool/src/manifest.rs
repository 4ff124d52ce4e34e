//! The manifest of a snapshot: a file of JSON in it that says who pulled it, in which cycle, and
//! what each file holds.
//!
//! The spool is the only thing that the two programs share, so the manifest holds all that
//! haproxystats-process must know of a cycle. The file is named [`FILE_NAME`], which ends in
//! neither `_info` nor `_stat`, so that no reader, the Python program included, takes it for an
//! answer. A snapshot that the Python program or a person made has no manifest. Version 0.1.0 wrote
//! only the numbers of the cycle ([`crate::cycle`]); [`header`] reads either file.
//!
//! ```json
//! {
//!   "version": 1,
//!   "origin": "lb1",
//!   "serial": "9f86d081884c7d65",
//!   "cycle": { "endpoints": 2, "missing": 1, "cycles": 7, … },
//!   "files": [
//!     { "name": "a.sock_info", "source": "haproxy", "endpoint": "unix:///run/haproxy/a.sock" },
//!     { "name": "m.sock@4711_info", "source": "haproxy", "endpoint": "unix:///run/m.sock",
//!       "worker": 4711, "generation": "old" },
//!     …
//!   ],
//!   "unanswered": [
//!     { "endpoint": "unix:///run/haproxy/b.sock", "reason": "cannot connect: …" }
//!   ],
//!   "natures": { "h4_peak": "max", … }
//! }
//! ```
//!
//! A reader ignores fields that it does not know, and takes 0 for missing numbers of the cycle. A
//! change that an older reader would misread raises the version, so that this reader refuses it.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use daemon::file::{self, Limit, Links, ReadError};
use model::{SnapshotId, Timestamp};
use serde::{Deserialize, Deserializer, Serialize};
use thiserror::Error;

use crate::cycle::{self, Cycle};

/// The name of the file.
pub const FILE_NAME: &str = "haproxystats.manifest";

/// The version that is written, and the newest one that is read.
const VERSION: u64 = 1;

/// Bytes that the file may have: 20,000 files with names and endpoints of any length fit.
const MANIFEST_MAX_BYTES: u64 = 32 << 20;
const LIMIT: Limit = Limit { bytes: MANIFEST_MAX_BYTES, name: "the bound for manifests" };

/// Bytes of the longest origin; a host's name has no more.
const ORIGIN_MAX_BYTES: usize = 255;

/// Natures of new columns that a manifest may have.
pub const NATURES_MAX: usize = 256;

/// The contents and the origin of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The machine that pulled it.
    pub origin: String,
    /// A random number, which tells two snapshots of one second apart.
    #[serde(with = "hexadecimal")]
    pub serial: u64,
    /// Numbers about the cycle.
    #[serde(default)]
    pub cycle: Cycle,
    /// The answers.
    #[serde(default)]
    pub files: Vec<AnswerFile>,
    /// Endpoints that are not in the snapshot.
    #[serde(default)]
    pub unanswered: Vec<Unanswered>,
    /// The natures of columns that the catalogue of pull lacks, by the names of
    /// [`model::Nature::name`]. A reader takes [`NATURES_MAX`] at most.
    #[serde(default, deserialize_with = "natures", skip_serializing_if = "BTreeMap::is_empty")]
    pub natures: BTreeMap<String, String>,
}

/// One file of answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswerFile {
    /// Its name in the snapshot's directory.
    pub name: String,
    /// The kind of the endpoint, such as `haproxy`.
    pub source: String,
    /// The endpoint's address, such as `unix:///run/haproxy/a.sock` or `tcp://lb1:80`.
    pub endpoint: String,
    /// The worker that has answered, if the endpoint is a master CLI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<u32>,
    /// The generation of the process that has answered.
    #[serde(default, skip_serializing_if = "Generation::is_current")]
    pub generation: Generation,
}

/// Whether a process is in service.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Generation {
    /// It takes new connections.
    #[default]
    Current,
    /// A worker of HAProxy from before a reload.
    Old,
}

impl Generation {
    // serde's attribute passes a reference.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for this form")]
    const fn is_current(&self) -> bool {
        matches!(self, Self::Current)
    }
}

impl AnswerFile {
    /// A file with the answer of a process in service, from its own socket.
    #[must_use]
    pub const fn new(name: String, source: String, endpoint: String) -> Self {
        Self { name, source, endpoint, worker: None, generation: Generation::Current }
    }
}

/// An endpoint without an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unanswered {
    /// The endpoint's address.
    pub endpoint: String,
    /// The reason, as in the log.
    pub reason: String,
}

/// The identity and the cycle of a snapshot, from its manifest or from the file of version 0.1.0.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Header {
    /// Origin and serial, which only a manifest has.
    pub identity: Option<Identity>,
    /// Numbers about the cycle.
    pub cycle: Option<Cycle>,
    /// The natures of new columns.
    pub natures: BTreeMap<String, String>,
}

/// The part of a snapshot's identity that its name lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The machine that pulled it.
    pub origin: String,
    /// The random number.
    pub serial: u64,
}

/// A manifest cannot be used.
#[derive(Debug, Error)]
pub enum Error {
    /// The file cannot be opened or read.
    #[error("{path:?} {fault}")]
    Unusable {
        /// The file.
        path: PathBuf,
        /// The reason.
        fault: ReadError,
    },
    /// The file is not of the format.
    #[error("{path:?} is no manifest: {source}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The place and the reason.
        source: serde_json::Error,
    },
    /// A newer program wrote it.
    #[error(
        "{path:?} has the version {version}, and this program reads no newer one than {VERSION}; \
         upgrade haproxystats-process to the version of haproxystats-pull"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The version of the file.
        version: u64,
    },
    /// The origin cannot name a machine.
    #[error(
        "{path:?} has the origin {origin:?}, which must be of 1 to {ORIGIN_MAX_BYTES} bytes, \
         without slashes and control characters; look at host-name of [pull]"
    )]
    Origin {
        /// The file.
        path: PathBuf,
        /// The beginning of the origin.
        origin: String,
    },
}

/// The part of a manifest that is read first.
#[derive(Deserialize)]
struct Version {
    version: u64,
}

/// The fields of a [`Header`], without the lists of a manifest.
#[derive(Deserialize)]
struct Summary {
    origin: String,
    #[serde(with = "hexadecimal")]
    serial: u64,
    #[serde(default)]
    cycle: Cycle,
    #[serde(default, deserialize_with = "natures")]
    natures: BTreeMap<String, String>,
}

impl Manifest {
    /// The text of the file.
    ///
    /// # Errors
    ///
    /// serde_json reports an error, which no manifest is known to cause.
    ///
    /// ```
    /// use haproxystats_spool::cycle::Cycle;
    /// use haproxystats_spool::manifest::{self, Manifest};
    ///
    /// let snapshot = tempfile::tempdir()?;
    /// let manifest = Manifest {
    ///     origin: "lb1".to_owned(),
    ///     serial: 0x9f86_d081_884c_7d65,
    ///     cycle: Cycle { endpoints: 2, ..Cycle::default() },
    ///     files: Vec::new(),
    ///     unanswered: Vec::new(),
    ///     natures: Default::default(),
    /// };
    /// std::fs::write(snapshot.path().join(manifest::FILE_NAME), manifest.to_json()?)?;
    /// assert_eq!(manifest::read(snapshot.path())?, Some(manifest));
    ///
    /// let header = manifest::header(snapshot.path())?;
    /// let id = header.snapshot_id("1700000000".parse()?, "this-machine");
    /// assert_eq!(id.to_string(), "lb1/1700000000-9f86d081884c7d65");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        #[derive(Serialize)]
        struct Versioned<'a> {
            version: u64,
            #[serde(flatten)]
            manifest: &'a Manifest,
        }
        let json = serde_json::to_string_pretty(&Versioned { version: VERSION, manifest: self })?;
        Ok(json + "\n")
    }
}

impl Header {
    /// The identity of the snapshot of this second. Without a manifest the origin is `machine` and
    /// the serial is 0.
    #[must_use]
    pub fn snapshot_id(&self, timestamp: Timestamp, machine: &str) -> SnapshotId {
        match &self.identity {
            Some(Identity { origin, serial }) => {
                SnapshotId { origin: origin.clone(), timestamp, serial: *serial }
            }
            None => SnapshotId { origin: machine.to_owned(), timestamp, serial: 0 },
        }
    }
}

/// Reads the manifest of a snapshot; `None` if the snapshot has none.
///
/// # Errors
///
/// The manifest is not a regular file, is too large, cannot be read, is not of the format, or is
/// newer than this program.
pub fn read(snapshot: &Path) -> Result<Option<Manifest>, Error> {
    let Some((path, text)) = text(snapshot)? else { return Ok(None) };
    let manifest: Manifest = parse(&path, &text)?;
    check_origin(&path, &manifest.origin)?;
    Ok(Some(manifest))
}

/// Reads the header of a snapshot from its manifest, or from the file of version 0.1.0. The header
/// is empty if the snapshot has neither.
///
/// # Errors
///
/// As of [`read`], for either file.
pub fn header(snapshot: &Path) -> Result<Header, Error> {
    let Some((path, text)) = text(snapshot)? else {
        let cycle = cycle::read(snapshot).map_err(|error| Error::Unusable {
            path: snapshot.join(cycle::FILE_NAME),
            fault: ReadError::from(error),
        })?;
        return Ok(Header { cycle, ..Header::default() });
    };
    let Summary { origin, serial, cycle, natures } = parse(&path, &text)?;
    check_origin(&path, &origin)?;
    Ok(Header { identity: Some(Identity { origin, serial }), cycle: Some(cycle), natures })
}

/// The path and the text of the file.
fn text(snapshot: &Path) -> Result<Option<(PathBuf, Vec<u8>)>, Error> {
    let path = snapshot.join(FILE_NAME);
    if file::is_absent(&path) {
        return Ok(None);
    }
    let mut text = Vec::new();
    let opened = file::open(&path, LIMIT, Links::Refuse);
    let read = opened.and_then(|mut file| {
        file.read_to_end(&mut text).map_err(ReadError::from)?;
        Ok(())
    });
    match read {
        Ok(()) => Ok(Some((path, text))),
        Err(fault) => Err(Error::Unusable { path, fault }),
    }
}

/// Checks the version before the rest, because a newer manifest may have another form.
fn parse<'a, T: Deserialize<'a>>(path: &Path, text: &'a [u8]) -> Result<T, Error> {
    let malformed = |source| Error::Malformed { path: path.to_owned(), source };
    let Version { version } = serde_json::from_slice(text).map_err(malformed)?;
    if version > VERSION {
        return Err(Error::Newer { path: path.to_owned(), version });
    }
    serde_json::from_slice(text).map_err(malformed)
}

fn check_origin(path: &Path, origin: &str) -> Result<(), Error> {
    let fits = (1..=ORIGIN_MAX_BYTES).contains(&origin.len());
    if fits && !origin.contains(|letter: char| letter == '/' || letter.is_control()) {
        return Ok(());
    }
    Err(Error::Origin { path: path.to_owned(), origin: origin.chars().take(80).collect() })
}

/// A damaged nature costs the nature alone: a value that is no text becomes the text of its JSON,
/// which names no nature.
fn natures<'a, D: Deserializer<'a>>(from: D) -> Result<BTreeMap<String, String>, D::Error> {
    let values = BTreeMap::<String, serde_json::Value>::deserialize(from)?;
    let texts = values.into_iter().take(NATURES_MAX).map(|(name, value)| match value {
        serde_json::Value::String(text) => (name, text),
        other => (name, other.to_string()),
    });
    Ok(texts.collect())
}

/// A number of 64 bits as text: many readers of JSON keep 53 bits of a number.
mod hexadecimal {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    // serde's attribute passes a reference.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for this form")]
    pub(super) fn serialize<S: Serializer>(number: &u64, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&format_args!("{number:016x}"))
    }

    pub(super) fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<u64, D::Error> {
        let text = <std::borrow::Cow<'a, str>>::deserialize(from)?;
        // `from_str_radix` alone would accept a sign too.
        let is_plain = text.bytes().all(|byte| byte.is_ascii_hexdigit());
        match u64::from_str_radix(&text, 16) {
            Ok(number) if is_plain => Ok(number),
            _ => Err(D::Error::custom("a serial is a hexadecimal text of 64 bits")),
        }
    }
}

#[cfg(test)]
mod tests;
