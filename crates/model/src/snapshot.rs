//! The name of a snapshot, and its identity.
//!
//! A snapshot's name is the decimal number of seconds since the epoch at which its cycle began, and
//! the timestamp of all its lines. The name does not identify the snapshot, because a clock that is
//! set back gives one name twice, and a central machine reads many hosts. So a [`SnapshotId`] also
//! has the origin and a random serial.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A text that is not a timestamp.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is no whole number of seconds since the epoch")]
pub struct InvalidTimestamp(String);

/// Seconds since the epoch, with the text that names a snapshot's directory.
///
/// `7` and `007` are two directories of one second, so the text is kept; it decides the order of
/// equal seconds.
///
/// ```
/// use haproxystats_model::Timestamp;
///
/// let timestamp: Timestamp = "1700000000".parse()?;
/// assert_eq!(timestamp.seconds(), 1_700_000_000);
/// assert!("999".parse::<Timestamp>()? < timestamp);
/// assert!("+1".parse::<Timestamp>().is_err());
/// # Ok::<(), haproxystats_model::snapshot::InvalidTimestamp>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Timestamp {
    seconds: u64,
    text: String,
}

/// `u64::MAX` has 20 digits; without this bound, leading zeros could make a name longer than
/// NAME_MAX.
const DIGITS_MAX: usize = 20;

impl Timestamp {
    /// The timestamp of a second.
    #[must_use]
    pub fn of_seconds(seconds: u64) -> Self {
        Self { seconds, text: seconds.to_string() }
    }

    /// The seconds.
    #[must_use]
    pub const fn seconds(&self) -> u64 {
        self.seconds
    }

    /// The text, which is the directory's name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for Timestamp {
    type Err = InvalidTimestamp;

    fn from_str(text: &str) -> Result<Self, InvalidTimestamp> {
        // `parse` alone would accept a sign too.
        let is_decimal = text.bytes().all(|byte| byte.is_ascii_digit());
        if is_decimal
            && text.len() <= DIGITS_MAX
            && let Ok(seconds) = text.parse()
        {
            return Ok(Self { seconds, text: text.to_owned() });
        }
        Err(InvalidTimestamp(text.chars().take(80).collect()))
    }
}

impl TryFrom<String> for Timestamp {
    type Error = InvalidTimestamp;

    fn try_from(text: String) -> Result<Self, InvalidTimestamp> {
        text.parse()
    }
}

impl From<Timestamp> for String {
    fn from(timestamp: Timestamp) -> Self {
        timestamp.text
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Ord for Timestamp {
    fn cmp(&self, other: &Self) -> Ordering {
        self.seconds.cmp(&other.seconds).then_with(|| self.text.cmp(&other.text))
    }
}

impl PartialOrd for Timestamp {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The identity of a snapshot, unique over time and over all machines.
///
/// `origin` is the machine that pulled it, and `serial` a random number from its manifest, which
/// tells two snapshots of one second apart. A snapshot without a manifest has the serial 0.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SnapshotId {
    /// The machine's name.
    pub origin: String,
    /// When the cycle began.
    pub timestamp: Timestamp,
    /// From the manifest.
    pub serial: u64,
}

impl fmt::Display for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { origin, timestamp, serial } = self;
        write!(f, "{origin}/{timestamp}-{serial:016x}")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::*;

    fn timestamp(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn only_decimal_digits_of_64_bits_are_a_timestamp() {
        let seconds = ["1700000000", "0", "18446744073709551615"].map(|t| timestamp(t).seconds());
        assert_eq!(seconds, [1_700_000_000, 0, u64::MAX]);
        for other in [
            "",
            "+1",
            "-1",
            "1.5",
            " 1",
            "1 ",
            "0x10",
            "failed",
            ".17",
            "\u{661}",
            "18446744073709551616",
            "000000000000000000001",
        ] {
            assert!(other.parse::<Timestamp>().is_err(), "{other}");
        }
    }

    #[test]
    fn the_order_is_by_number_and_then_by_text() {
        let mut texts = ["1700000000", "999", "0999", "18446744073709551615", "7"].map(timestamp);
        texts.sort();
        let texts = texts.map(String::from);
        assert_eq!(texts, ["7", "0999", "999", "1700000000", "18446744073709551615"]);
    }

    proptest! {
        /// A timestamp keeps its text, and the order of timestamps is that of seconds.
        #[test]
        fn a_timestamp_reads_back(left in any::<u64>(), right in any::<u64>()) {
            let (a, b) = (Timestamp::of_seconds(left), Timestamp::of_seconds(right));
            prop_assert_eq!(timestamp(a.as_str()), a.clone());
            prop_assert_eq!(a.cmp(&b), left.cmp(&right));
        }
    }
}
