//! HAProxy's master CLI: the workers that it lists.
//!
//! The columns of `show proc` differ between HAProxy 1.9 and 3.x, so the list is read by its words:
//! a row belongs to the section above it, `# workers` or `# old workers`, and its reloads are the
//! last plain number before its uptime. HAProxy leaves out rows for which its buffer has no room,
//! and says nothing, so a long list counts as cut; a row that is cut is not used.

use std::fmt;

use super::value;

/// The command for the list.
pub const LIST: &[u8] = b"show proc\n";

/// Bytes of a list at most; HAProxy writes no more than its buffer, which has 16 KiB by default.
pub const LIST_MAX_BYTES: usize = 1 << 20;

/// Bytes of a list from which on rows may be absent: almost half of HAProxy's default buffer, which
/// an operator can make smaller.
const LONG_BYTES: usize = 7_900;

/// Bytes of an answer in a quote.
const QUOTED_BYTES: usize = 80;

/// The answer to a request for a process that has ended, of HAProxy 2.0 and later and of 1.9.
const ENDED: [&str; 2] = ["Can't find the target PID", "Can't find the target CLI"];

/// A worker in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Worker {
    /// The number of its process.
    pub pid: u32,
    /// How many reloads it has lived through.
    pub reloads: Option<u64>,
    /// The seconds since its start.
    pub uptime: Option<u64>,
}

/// The workers of a master.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Workers {
    /// Those that take new connections.
    pub current: Vec<Worker>,
    /// Those from before a reload, which only serve what they have.
    pub old: Vec<Worker>,
    /// Whether the list was or may be cut, so that further workers may live.
    pub is_cut: bool,
}

/// Why an answer to `show proc` cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The connection ended before the first byte.
    #[error(
        "closed the connection without an answer to `show proc`; a master has ten places for \
         clients, which workers that hang can take: look at its `show proc` by hand"
    )]
    Empty,
    /// The answer is no list.
    #[error(
        "the answer to `show proc` is no list of processes, it begins with \"{quote}\"; check that \
         it is the master CLI (haproxy -W -S), and its level"
    )]
    NoList {
        /// The first line, escaped.
        quote: String,
    },
}

/// The identity of a process, as its answer to `show info` tells it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Process {
    node: String,
    pid: String,
    start: String,
}

/// The section of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Section {
    Current,
    Old,
    Other,
}

impl Fault {
    /// The fault without the details that differ each time: one state for the log.
    #[must_use]
    pub fn state(&self) -> String {
        match self {
            Self::Empty => "empty list".to_owned(),
            Self::NoList { .. } => "no list".to_owned(),
        }
    }
}

impl Process {
    /// The process of a HAProxy 2.5 or later; older ones do not tell their start.
    ///
    /// ```
    /// use haproxystats_sources::haproxy::master::Process;
    ///
    /// let info = b"Name: HAProxy\nPid: 7\nnode: lb1\nStart_time_sec: 1700000000\n";
    /// assert!(Process::of(info).is_some());
    /// assert!(Process::of(b"Name: HAProxy\nPid: 7\nnode: lb1\n").is_none());
    /// ```
    #[must_use]
    pub fn of(info: &[u8]) -> Option<Self> {
        Some(Self {
            node: value(info, b"node: ").unwrap_or_default(),
            pid: value(info, b"Pid: ")?,
            start: value(info, b"Start_time_sec: ")?,
        })
    }
}

impl fmt::Display for Process {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { node, pid, start } = self;
        write!(formatter, "process {pid} of node {node:?}, started at {start}")
    }
}

/// Whether an answer says that the worker has ended.
pub(crate) fn says_ended(line: &str) -> bool {
    // An escaped quote of the answer.
    let line = line.replace("\\'", "'");
    ENDED.iter().any(|text| line.contains(text))
}

/// Reads an answer to `show proc`.
///
/// # Errors
///
/// The answer is no list of processes.
///
/// ```
/// use haproxystats_sources::haproxy::master;
///
/// let list = b"#<PID>  <type>  <reloads>  <uptime>  <version>\n\
///     10  master  1 [failed: 0]  0d00h00m09s  2.6.12\n# workers\n\
///     12  worker  0  0d00h00m04s  2.6.12\n# old workers\n\
///     11  worker  1  0d00h00m09s  2.6.12\n# programs\n\n";
/// let workers = master::read(list)?;
/// assert_eq!((workers.current[0].pid, workers.old[0].pid), (12, 11));
/// # Ok::<(), master::Fault>(())
/// ```
pub fn read(answer: &[u8]) -> Result<Workers, Fault> {
    let text = String::from_utf8_lossy(answer);
    let text = text.trim_start_matches(['\n', '\r']);
    if text.is_empty() {
        return Err(Fault::Empty);
    }
    let mut lines = text.split_inclusive('\n');
    let header = lines.next().unwrap_or_default();
    if !header.starts_with('#') || !header.contains("<PID>") {
        let first = &header.as_bytes()[..header.len().min(QUOTED_BYTES)];
        return Err(Fault::NoList { quote: first.trim_ascii_end().escape_ascii().to_string() });
    }
    let has_uptime = header.contains("<uptime>");
    let is_cut = text.len() >= LONG_BYTES || !text.ends_with("\n\n");
    let mut workers = Workers { is_cut, ..Workers::default() };
    let mut section = Section::Other;
    for line in lines {
        let Some(line) = line.strip_suffix('\n') else {
            workers.is_cut = true;
            break;
        };
        let line = line.trim();
        if let Some(title) = line.strip_prefix('#') {
            section = match title.trim() {
                "workers" => Section::Current,
                "old workers" => Section::Old,
                _ => Section::Other,
            };
            continue;
        }
        let to = match section {
            Section::Current => &mut workers.current,
            Section::Old => &mut workers.old,
            Section::Other => continue,
        };
        if line.is_empty() {
            continue;
        }
        match row(line, has_uptime) {
            Some(worker) => to.push(worker),
            None => workers.is_cut = true,
        }
    }
    Ok(workers)
}

/// A row of the list; `None` if it is cut.
fn row(line: &str, has_uptime: bool) -> Option<Worker> {
    let mut words = line.split_whitespace();
    let pid = words.next()?.parse().ok().filter(|pid| *pid > 0)?;
    if words.next()? != "worker" {
        return None;
    }
    let mut reloads = None;
    for word in words {
        if let Some(uptime) = seconds(word) {
            return Some(Worker { pid, reloads, uptime: Some(uptime) });
        }
        if let Ok(number) = word.parse() {
            reloads = Some(number);
        }
    }
    (!has_uptime).then_some(Worker { pid, reloads, uptime: None })
}

/// The seconds of `3d04h05m06s`.
fn seconds(word: &str) -> Option<u64> {
    let (days, rest) = word.split_once('d')?;
    let (hours, rest) = rest.split_once('h')?;
    let (minutes, rest) = rest.split_once('m')?;
    let seconds = rest.strip_suffix('s')?;
    let mut total: u64 = 0;
    for (text, unit) in [(days, 86_400), (hours, 3_600), (minutes, 60), (seconds, 1)] {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number: u64 = if is_number { text.parse().ok()? } else { return None };
        total = total.checked_add(number.checked_mul(unit)?)?;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::*;

    fn worker(pid: u32, reloads: u64, uptime: u64) -> Worker {
        Worker { pid, reloads: Some(reloads), uptime: Some(uptime) }
    }

    /// As the manual of HAProxy 1.9 shows it, with nbproc 2.
    const OF_1_9: &str = "#<PID>   <type>   <relative PID>  <reloads>   <uptime>\n\
1162            master          0               5               0d00h02m07s\n\
# workers\n\
1271            worker          1               0               0d00h00m00s\n\
1272            worker          2               0               0d00h00m00s\n\
# old workers\n\
1233            worker          [was: 1]        3               0d00h00m43s\n\
# programs\n\n";

    /// HAProxy 2.2, with a program beside the workers.
    const OF_2_2: &str = "#<PID>   <type>   <relative PID>  <reloads>   <uptime>   <version>   \n\
1162            master          0               1               0d00h02m07s     2.2.9-2+deb11u6\n\
# workers\n\
1271            worker          1               0               1d02h00m03s     2.2.9-2+deb11u6\n\
# old workers\n\
1233   worker   [was: 1]   1   0d00h00m43s   2.0-dev3-6019f6-289\n\
# programs\n\
1244            foo             -               0               0d00h00m00s     -               \n\
# old programs\n\
1255   foo   -   1   0d00h00m00s   -   \n\n";

    /// Recorded from HAProxy 2.6.12.
    const OF_2_6: &str = "#<PID>   <type>   <reloads>   <uptime>   <version>   \n\
15829           master          2 [failed: 0]   0d00h00m04s     2.6.12-1+deb12u4\n\
# workers\n\
15921           worker          0               0d00h00m02s     2.6.12-1+deb12u4\n\
# old workers\n\
15832           worker          2               0d00h00m09s     2.6.12-1+deb12u4\n\
15900           worker          1               0d00h00m05s     2.6.12-1+deb12u4\n\
# programs\n\n";

    /// HAProxy 3.2, which has no section for programs if there are none.
    const OF_3_2: &str = "#<PID>   <type>   <reloads>   <uptime>   <version>   \n\
88              master          1 [failed: 1]   0d00h00m04s     3.2.26-1\n\
# workers\n\
91              worker          0               0d00h00m02s     3.2.26-1\n\
# old workers\n\
90              worker          1               12d00h00m09s    3.2.26-1\n\n";

    #[test]
    fn the_lists_of_all_versions_are_read_by_their_words() {
        let of = |text: &str| read(text.as_bytes()).unwrap();
        let (current, old) =
            (vec![worker(1271, 0, 0), worker(1272, 0, 0)], vec![worker(1233, 3, 43)]);
        assert_eq!(of(OF_1_9), Workers { current, old, is_cut: false });
        let (current, old) = (vec![worker(1271, 0, 93_603)], vec![worker(1233, 1, 43)]);
        assert_eq!(of(OF_2_2), Workers { current, old, is_cut: false });
        let (current, old) =
            (vec![worker(15921, 0, 2)], vec![worker(15832, 2, 9), worker(15900, 1, 5)]);
        assert_eq!(of(OF_2_6), Workers { current, old, is_cut: false });
        let (current, old) = (vec![worker(91, 0, 2)], vec![worker(90, 1, 1_036_809)]);
        assert_eq!(of(OF_3_2), Workers { current, old, is_cut: false });
        let without_uptime = "#<PID> <type> <relative PID> <reloads>\n5 master 0 0\n# workers\n\
                              7 worker 1 4\n\n";
        let seven = Worker { pid: 7, reloads: Some(4), uptime: None };
        assert_eq!(of(without_uptime).current, [seven]);
        let none = of("#<PID> <type> <reloads> <uptime>\n5 master 0 0d00h00m00s\n# workers\n\n");
        assert_eq!(none, Workers::default());
    }

    /// Wherever HAProxy cuts the list, no row has another process or other reloads.
    #[test]
    fn a_cut_row_is_not_used() {
        let whole = read(OF_2_6.as_bytes()).unwrap();
        let all: Vec<_> = whole.current.iter().chain(&whole.old).collect();
        for length in OF_2_6.find('\n').unwrap() + 1..OF_2_6.len() {
            let cut = read(&OF_2_6.as_bytes()[..length]).unwrap();
            assert!(cut.is_cut, "{length}");
            for found in cut.current.iter().chain(&cut.old) {
                assert!(all.contains(&found), "{length}: {found:?}");
            }
        }
        let row = "# old workers\n15832   worker  2  0d00h\n15900 wor\n-1 worker 0 0d00h00m00s\n\n";
        let list = read(format!("#<PID> <type> <reloads> <uptime>\n{row}").as_bytes()).unwrap();
        assert!(list.is_cut && list.old.is_empty(), "{list:?}");
    }

    /// HAProxy skips the rows that do not fit, and its last section may fit again.
    #[test]
    fn a_long_list_may_lack_rows() {
        let list = |rows: usize| {
            let row = "15832           worker          2               0d00h00m09s     2.6.12\n";
            let text =
                format!("#<PID> <uptime>\n# old workers\n{}# programs\n\n", row.repeat(rows));
            read(text.as_bytes()).unwrap()
        };
        assert!(!list(90).is_cut && list(200).is_cut);
        assert_eq!(list(200).old.len(), 200);
    }

    #[test]
    fn another_answer_is_no_list() {
        assert_eq!(read(b""), Err(Fault::Empty));
        assert_eq!(read(b"\n\n"), Err(Fault::Empty));
        let refused = read(b"Unknown command\x1b, but maybe\n").unwrap_err();
        assert!(refused.to_string().contains("begins with \"Unknown command\\x1b"), "{refused}");
        assert!(read(b"# pxname,svname,\n\n").is_err());
        assert!(says_ended("Can\\'t find the target PID matching the prefix \\'@!9\\'"));
        assert!(!says_ended("Permission denied"));
    }

    proptest! {
        /// No text makes reading it panic.
        #[test]
        fn any_answer_is_read_or_refused(tail in any::<Vec<u8>>()) {
            let _ = read(&tail);
            let _ = read(&[b"#<PID> <uptime>\n# workers\n".as_slice(), &tail].concat());
        }
    }
}
