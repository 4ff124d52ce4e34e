//! The lines that have reached the Graphite receiver, read from the file that it writes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::path::Path;

use crate::Failure;

/// The newest values of one frontend or backend by metric.
pub(super) type Values = BTreeMap<String, f64>;

/// The lines so far.
pub(super) struct Arrivals {
    file: File,
    /// The begin of a line whose end is not written yet.
    pending: Vec<u8>,
    pub(super) lines: u64,
    pub(super) malformed: u64,
    /// Timestamps: one for each snapshot.
    pub(super) snapshots: BTreeSet<u64>,
    pub(super) frontends: BTreeMap<String, Values>,
    pub(super) backends: BTreeMap<String, Values>,
    /// The newest timestamp in the two tables: snapshots may arrive out of order.
    newest: u64,
}

impl Arrivals {
    /// Opens the file, and makes it if the receiver has not made it yet.
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .read(true)
            .open(path)
            .map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self {
            file,
            pending: Vec::new(),
            lines: 0,
            malformed: 0,
            snapshots: BTreeSet::new(),
            frontends: BTreeMap::new(),
            backends: BTreeMap::new(),
            newest: 0,
        })
    }

    /// Reads the lines that were written since the last call.
    pub(super) fn read_on(&mut self) -> Result<(), Failure> {
        let mut bytes = std::mem::take(&mut self.pending);
        self.file
            .read_to_end(&mut bytes)
            .map_err(|error| format!("what the receiver wrote: {error}"))?;
        let end = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |last| last + 1);
        self.pending = bytes.split_off(end);
        for line in String::from_utf8_lossy(&bytes).lines() {
            self.lines += 1;
            if self.take(line).is_none() {
                self.malformed += 1;
            }
        }
        Ok(())
    }

    fn take(&mut self, line: &str) -> Option<()> {
        let mut words = line.split(' ');
        let (path, value, timestamp) = (words.next()?, words.next()?, words.next()?);
        let value: f64 = value.parse().ok()?;
        let timestamp: u64 = timestamp.parse().ok()?;
        let (_, path) = path.split_once(".haproxy.")?;
        let parts: Vec<&str> = path.split('.').collect();
        let (table, name, metric) = match parts[..] {
            ["frontend", name, metric] => (&mut self.frontends, name, metric),
            ["backend", name, metric] => (&mut self.backends, name, metric),
            // A metric about the program itself can have the program's time, not a snapshot's.
            ["haproxystats", _] => return Some(()),
            _ => {
                self.snapshots.insert(timestamp);
                return Some(());
            }
        };
        self.snapshots.insert(timestamp);
        if timestamp >= self.newest {
            self.newest = timestamp;
            table.entry(name.to_owned()).or_default().insert(metric.to_owned(), value);
        }
        Some(())
    }
}
