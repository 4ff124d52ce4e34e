//! The name of a batch in the outbox: `<timestamp>-<origin>-<serial>-<number>-<points>.batch`.
//!
//! The names give the order of batches and their points, so a start need not read the files.
//! `origin` is a hash of the origin's name. `number` tells batches of one timestamp apart: the core
//! gives a number that no file of the timestamp has, so a batch never replaces another.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use model::{SnapshotId, Timestamp};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

/// The suffix of a batch's name.
pub const SUFFIX: &str = ".batch";

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EntryName {
    /// The snapshot's timestamp.
    pub timestamp: Timestamp,
    /// A hash of the snapshot's origin.
    pub origin: u32,
    /// The snapshot's serial; 0 if the snapshot has no manifest.
    pub serial: u64,
    /// The later of two batches of one timestamp has the larger number.
    pub number: u32,
    /// Values in the batch.
    pub points: u64,
}

/// An origin, by its hash, and a second. Batches that share both are delivered in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Second {
    origin: u32,
    seconds: u64,
}

impl Second {
    /// The origin and second of a snapshot.
    #[must_use]
    pub fn of(id: &SnapshotId) -> Self {
        Self { origin: origin_hash(&id.origin), seconds: id.timestamp.seconds() }
    }
}

/// The text is not the name of a batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the name of a batch")]
pub struct InvalidEntryName(String);

impl EntryName {
    /// The name of a snapshot's batch.
    #[must_use]
    pub fn new(id: &SnapshotId, number: u32, points: u64) -> Self {
        let (timestamp, origin) = (id.timestamp.clone(), origin_hash(&id.origin));
        Self { timestamp, origin, serial: id.serial, number, points }
    }

    /// The origin and second of the batch.
    #[must_use]
    pub fn second(&self) -> Second {
        Second { origin: self.origin, seconds: self.timestamp.seconds() }
    }

    /// Whether this is certainly a batch of the same snapshot.
    #[must_use]
    pub fn is_of(&self, id: &SnapshotId) -> bool {
        self.second() == Second::of(id) && self.serial != 0 && self.serial == id.serial
    }
}

impl Ord for EntryName {
    /// Oldest first. Within a second the number gives the order of the batches.
    fn cmp(&self, other: &Self) -> Ordering {
        let key = |name: &Self| (name.timestamp.seconds(), name.number);
        let rest = |name: &Self| (name.origin, name.serial, name.points);
        key(self)
            .cmp(&key(other))
            .then_with(|| self.timestamp.cmp(&other.timestamp))
            .then_with(|| rest(self).cmp(&rest(other)))
    }
}

impl PartialOrd for EntryName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// 32 bits of a hash that never changes.
fn origin_hash(origin: &str) -> u32 {
    (xxh3_64(origin.as_bytes()) >> 32) as u32
}

impl fmt::Display for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { timestamp, origin, serial, number, points } = self;
        write!(f, "{timestamp}-{origin:08x}-{serial:016x}-{number}-{points}{SUFFIX}")
    }
}

impl FromStr for EntryName {
    type Err = InvalidEntryName;

    fn from_str(text: &str) -> Result<Self, InvalidEntryName> {
        let name = parse(text);
        // A batch has one name: other spellings (`01`, `+1`, upper case) are refused.
        match name {
            Some(name) if name.to_string() == text => Ok(name),
            _ => Err(InvalidEntryName(text.chars().take(120).collect())),
        }
    }
}

fn parse(text: &str) -> Option<EntryName> {
    let mut parts = text.strip_suffix(SUFFIX)?.split('-');
    let name = EntryName {
        timestamp: parts.next()?.parse().ok()?,
        origin: u32::from_str_radix(parts.next()?, 16).ok()?,
        serial: u64::from_str_radix(parts.next()?, 16).ok()?,
        number: parts.next()?.parse().ok()?,
        points: parts.next()?.parse().ok()?,
    };
    if parts.next().is_some() { None } else { Some(name) }
}

impl TryFrom<String> for EntryName {
    type Error = InvalidEntryName;

    fn try_from(text: String) -> Result<Self, InvalidEntryName> {
        text.parse()
    }
}

impl From<EntryName> for String {
    fn from(name: EntryName) -> Self {
        name.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::*;

    fn name(text: &str) -> EntryName {
        text.parse().unwrap()
    }

    #[test]
    fn batches_of_one_second_are_in_order_of_number_whatever_their_serials() {
        let first = name("17-00000001-00000000000000ff-1-5.batch");
        let second = name("17-00000001-0000000000000002-2-5.batch");
        let next = name("18-00000001-0000000000000001-1-5.batch");
        assert!(first < second && second < next);
    }

    #[test]
    fn similar_texts_are_refused() {
        for text in [
            "",
            "17",
            "17-00000001-0000000000000001-1-5",
            "17-1-0000000000000001-1-5.batch",
            "17-00000001-0000000000000001-01-5.batch",
            "17-00000001-0000000000000001-+1-5.batch",
            "17-0000000A-0000000000000001-1-5.batch",
            "17-00000001-0000000000000001-1-5-6.batch",
            "+17-00000001-0000000000000001-1-5.batch",
            ".17-00000001-0000000000000001-1-5.batch",
        ] {
            assert!(text.parse::<EntryName>().is_err(), "{text}");
        }
    }

    proptest! {
        /// A name that is written is read back, and matches its snapshot.
        #[test]
        fn names_are_read_back(
            timestamp in "0{0,3}[0-9]{1,17}",
            origin in "[a-z.]{0,12}",
            (serial, number, points) in any::<(u64, u32, u64)>(),
        ) {
            let id = SnapshotId { origin, timestamp: timestamp.parse().unwrap(), serial };
            let entry = EntryName::new(&id, number, points);
            prop_assert_eq!(entry.to_string().parse(), Ok(entry.clone()));
            prop_assert_eq!(entry.is_of(&id), serial != 0);
        }
    }
}
