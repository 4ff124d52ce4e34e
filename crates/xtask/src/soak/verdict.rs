//! The comparison at the end of a soak: expected lines with received lines.
//!
//! A line is stored as a hash of 64 bits, so that memory stays small: 16 bytes a line. The chance
//! that two of a million lines share a hash is one in 30 million. Lines of the programs about
//! themselves differ from run to run, so only their form is checked.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::Failure;

/// Lines of each kind that are shown; the files hold all.
const EXAMPLES: usize = 5;

/// The number of lines of each kind.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Lines that the published snapshots give.
    pub(super) published: u64,
    /// Published lines that came.
    pub(super) delivered: u64,
    /// Lines that came again.
    pub(super) repeated: u64,
    /// Lines that did not come because their snapshots are in `failed/`.
    pub(super) failed: u64,
    /// Lines that should have come and did not.
    pub(super) lost: u64,
    /// Lines that no snapshot gives.
    pub(super) foreign: u64,
    /// Lines about the programs themselves.
    pub(super) own: u64,
    /// Some lost and some foreign lines.
    pub(super) examples: Vec<String>,
}

/// Compares two files of lines; `failed` are the snapshots in `failed/`.
pub(super) fn compare(
    expected: &Path,
    received: &Path,
    failed: &BTreeSet<u64>,
) -> Result<Verdict, Failure> {
    let mut verdict = Verdict::default();
    let mut arrived: HashMap<u64, bool> = HashMap::new();
    each_line(expected, |line| {
        if !is_own(line) {
            arrived.insert(hash(line), false);
        }
    })?;
    verdict.published = arrived.len() as u64;
    each_line(received, |line| match arrived.get_mut(&hash(line)) {
        Some(true) => verdict.repeated += 1,
        Some(first) => {
            *first = true;
            verdict.delivered += 1;
        }
        None if is_own(line) && is_well_formed(line) => verdict.own += 1,
        None => {
            verdict.foreign += 1;
            example(&mut verdict.examples, "foreign", verdict.foreign, line);
        }
    })?;
    each_line(expected, |line| {
        if arrived.get(&hash(line)) != Some(&false) {
            return;
        }
        if timestamp(line).is_some_and(|timestamp| failed.contains(&timestamp)) {
            verdict.failed += 1;
        } else {
            verdict.lost += 1;
            example(&mut verdict.examples, "lost", verdict.lost, line);
        }
    })?;
    Ok(verdict)
}

fn each_line(path: &Path, mut take: impl FnMut(&str)) -> Result<(), Failure> {
    let with_path = |error| format!("{}: {error}", path.display());
    let mut reader = BufReader::new(File::open(path).map_err(with_path)?);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line).map_err(with_path)? > 0 {
        // A line that is not UTF-8 is foreign in any case.
        take(String::from_utf8_lossy(&line).trim_end_matches('\n'));
        line.clear();
    }
    Ok(())
}

fn example(examples: &mut Vec<String>, kind: &str, number: u64, line: &str) {
    if number <= EXAMPLES as u64 {
        examples.push(format!("{kind}: {line}"));
    }
}

fn hash(line: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    line.hash(&mut hasher);
    hasher.finish()
}

/// The snapshot of a line; `None` for a line about the programs themselves.
pub(super) fn snapshot_of(line: &str) -> Option<u64> {
    if is_own(line) { None } else { timestamp(line) }
}

/// The longest time that a snapshot needed to reach a receiver. A snapshot that did not come has
/// no time.
pub(super) fn slowest(
    published: &BTreeMap<u64, Instant>,
    arrived: &BTreeMap<u64, Instant>,
) -> Option<(u64, Duration)> {
    let delay = |(snapshot, begin): (&u64, &Instant)| {
        let end = arrived.get(snapshot)?;
        Some((*snapshot, end.saturating_duration_since(*begin)))
    };
    published.iter().filter_map(delay).max_by_key(|(_, delay)| *delay)
}

fn is_own(line: &str) -> bool {
    line.contains(".haproxy.haproxystats.")
}

fn is_well_formed(line: &str) -> bool {
    let words: Vec<&str> = line.split(' ').collect();
    matches!(words[..], [_, value, _] if value.parse::<f64>().is_ok_and(f64::is_finite))
        && timestamp(line).is_some()
}

fn timestamp(line: &str) -> Option<u64> {
    line.rsplit(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(expected: &str, received: &str, failed: &[u64]) -> Verdict {
        let folder = std::env::temp_dir();
        let name = |kind: &str| format!("soak-{kind}-{}-{:x}", std::process::id(), hash(received));
        let paths = [folder.join(name("expected")), folder.join(name("received"))];
        std::fs::write(&paths[0], expected).unwrap();
        std::fs::write(&paths[1], received).unwrap();
        let verdict = compare(&paths[0], &paths[1], &failed.iter().copied().collect()).unwrap();
        paths.iter().for_each(|path| std::fs::remove_file(path).unwrap());
        verdict
    }

    #[test]
    fn every_line_is_put_where_it_belongs() {
        let expected = "s.haproxy.a 1 10\ns.haproxy.b 2 10\ns.haproxy.a 3 11\ns.haproxy.a 4 12\n\
                        s.haproxy.haproxystats.T 1 10\n";
        let received = "s.haproxy.a 1 10\ns.haproxy.a 1 10\ns.haproxy.haproxystats.T 0.5 99\n\
                        s.haproxy.haproxystats.T 0. 5 99\ns.haproxy.a 3 1\n";
        let verdict = verdict(expected, received, &[12]);
        let examples = [
            "foreign: s.haproxy.haproxystats.T 0. 5 99",
            "foreign: s.haproxy.a 3 1",
            "lost: s.haproxy.b 2 10",
            "lost: s.haproxy.a 3 11",
        ];
        let expected = Verdict {
            published: 4,
            delivered: 1,
            repeated: 1,
            failed: 1,
            lost: 2,
            foreign: 2,
            own: 1,
            examples: examples.map(str::to_owned).to_vec(),
        };
        assert_eq!(verdict, expected);
    }

    #[test]
    fn the_slowest_snapshot_is_found() {
        let begin = Instant::now();
        let after = |milliseconds| begin + Duration::from_millis(milliseconds);
        let published = [(10, begin), (11, after(1000)), (12, after(2000))].into();
        let arrived = [(9, after(9000)), (10, after(30)), (11, after(1500))].into();
        assert_eq!(slowest(&published, &arrived), Some((11, Duration::from_millis(500))));
        assert_eq!(snapshot_of("s.haproxy.a 1 10"), Some(10));
        assert_eq!(snapshot_of("s.haproxy.haproxystats.T 1 10"), None);
    }

    #[test]
    fn a_line_that_is_cut_or_glued_is_foreign() {
        for received in ["s.haproxy.a 1 1\n", "s.haproxy.a 1 10s.haproxy.a 1 10\n", "proxy.a 1 10"]
        {
            let verdict = verdict("s.haproxy.a 1 10\n", received, &[]);
            assert_eq!((verdict.foreign, verdict.lost), (1, 1), "{received}");
        }
    }
}
