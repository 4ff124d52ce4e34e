//! The figures and the identity of a HAProxy process, from its answer to `show info`.
//!
//! A line is split at its first `: `, because keys may have blanks and values colons. HAProxy puts
//! a value with line ends (a `description`) in quotes; the lines in quotes are text, even if they
//! look like figures. Keys are ASCII, and values can be any bytes.
//!
//! A process is identified by its answer and not by its socket, because HAProxy can have several
//! sockets, and an operator can leave one out.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use daemon::file::{self, Limit, Links, ReadError};
use model::catalog::{is_name, known_daemon_nature};

use crate::Generation;
use crate::columns::Planned;
use crate::findings::Oddity;
use crate::keys::Keys;

/// Bytes that an answer may have; HAProxy writes about two thousand.
const INFO_MAX_BYTES: u64 = 1024 * 1024;
const INFO_MAX: Limit = Limit { bytes: INFO_MAX_BYTES, name: "the bound for show info" };
/// Digits that a process's number can have.
const NUMBER_MAX_DIGITS: usize = 10;
/// Seconds by which two uptimes of one process in a cycle can differ.
const UPTIME_DIFFERENCE_MAX: i128 = 5;
/// The key from which the CPU usage is calculated.
pub(crate) const IDLE: &str = "Idle_pct";

/// The figures of a process.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Process {
    /// `Process_num`, or the endpoint if there is no such key.
    pub(crate) name: String,
    pub(crate) endpoint: String,
    /// By position in [`Keys`]; an inner `None` is a value that is no integer.
    pub(crate) values: Vec<Option<Option<i128>>>,
    /// Figures of keys that the catalogue lacks, if `all` is configured.
    pub(crate) others: BTreeMap<Arc<str>, i128>,
    /// `Idle_pct`, within 0 to 100.
    pub(crate) idle: Option<i128>,
    pub(crate) generation: Generation,
    pub(crate) by_master: bool,
    identity: Option<Identity>,
    /// `Nbproc`: how many processes this HAProxy has.
    siblings: Option<i128>,
    number: Option<i128>,
}

/// The identity of a process, different for each process.
#[derive(Debug, PartialEq, Eq)]
struct Identity {
    node: Vec<u8>,
    pid: i128,
    number: Option<i128>,
    /// HAProxy 2.5 and later.
    start: Option<i128>,
    uptime: Option<i128>,
}

/// A parsed answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) process: Process,
    /// The keys without a number, and a text if the last line is cut.
    pub(crate) bad: Vec<Arc<str>>,
    pub(crate) oddities: Vec<Oddity>,
}

/// The findings about several processes together.
#[derive(Debug, Default)]
pub(crate) struct Family {
    /// The second sockets of a process, by endpoint, each with the endpoint that counts.
    pub(crate) doubles: HashMap<String, String>,
    /// Processes without an endpoint.
    pub(crate) missing: u64,
    pub(crate) oddities: Vec<Oddity>,
}

/// Reads one answer.
pub(crate) fn read(
    endpoint: &str,
    path: &Path,
    generation: Generation,
    keys: &Keys,
    limit: u64,
) -> Result<Answer, ReadError> {
    let mut text = Vec::new();
    let file_limit = Limit { bytes: limit, name: "file-limit" };
    let limit = if limit < INFO_MAX.bytes { file_limit } else { INFO_MAX };
    let mut file = file::open(path, limit, Links::Refuse)?;
    file.read_to_end(&mut text)?;
    Ok(parse(endpoint, &text, generation, keys)?)
}

fn parse(
    endpoint: &str,
    text: &[u8],
    generation: Generation,
    keys: &Keys,
) -> Result<Answer, String> {
    if text.is_empty() {
        return Err("is empty".to_owned());
    }
    if text.contains(&0) {
        return Err("holds NUL bytes".to_owned());
    }
    // A last line without a line end may be cut in its number.
    let complete = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let (complete, cut) = text.split_at(complete);
    let found = figures(complete);
    let whole = |key: &str| found.get(key.as_bytes()).map(|value| number(value));
    let (mut values, mut bad, mut oddities) = (Vec::new(), Vec::new(), Vec::new());
    for planned in &keys.planned {
        let mut value = whole(&planned.name);
        if value == Some(None) {
            if planned.is_new {
                value = None;
            } else {
                bad.push(Arc::clone(&planned.name));
            }
        }
        values.push(value.map(|value| plausible(endpoint, planned, value?, &mut oddities)));
    }
    if !found.keys().any(|key| is_figure(key)) {
        let begin = String::from_utf8_lossy(&text[..text.len().min(60)]);
        return Err(format!("holds no figure of HAProxy's but {begin:?}"));
    }
    if !cut.is_empty() {
        bad.push("its last line, which is cut".into());
    }
    let digits = found.get(&b"Process_num"[..]).and_then(|digits| str::from_utf8(digits).ok());
    let is_number = |digits: &&str| {
        (1..=NUMBER_MAX_DIGITS).contains(&digits.len())
            && digits.bytes().all(|byte| byte.is_ascii_digit())
    };
    let name = digits.filter(is_number).unwrap_or(endpoint).to_owned();
    let number = whole("Process_num").flatten();
    let identity = whole("Pid").flatten().map(|pid| Identity {
        node: found.get(&b"node"[..]).map(|node| node.to_vec()).unwrap_or_default(),
        pid,
        number,
        start: whole("Start_time_sec").flatten(),
        uptime: whole("Uptime_sec").flatten(),
    });
    let siblings = whole("Nbproc").flatten();
    let idle = whole(IDLE).flatten().map(idle);
    let others = others(&found, keys);
    let endpoint = endpoint.to_owned();
    let process = Process {
        name,
        endpoint,
        values,
        others,
        idle,
        generation,
        by_master: false,
        identity,
        siblings,
        number,
    };
    Ok(Answer { process, bad, oddities })
}

/// Whether a key is one of HAProxy's figures.
fn is_figure(key: &[u8]) -> bool {
    let nature = str::from_utf8(key).ok().and_then(known_daemon_nature);
    nature.is_some_and(|nature| nature.fold().is_some())
}

/// The figures of keys that the catalogue lacks, if `all` is configured. A text is no figure.
fn others(found: &HashMap<&[u8], &[u8]>, keys: &Keys) -> BTreeMap<Arc<str>, i128> {
    let Some(except) = &keys.all_except else { return BTreeMap::new() };
    let other = |(key, value): (&&[u8], &&[u8])| {
        let key = str::from_utf8(key).ok()?;
        let is_left_out = except.iter().any(|left_out| left_out == key);
        let is_new = is_name(key) && known_daemon_nature(key).is_none() && !is_left_out;
        is_new.then(|| Some((Arc::from(key), number(value)?)))?
    };
    found.iter().filter_map(other).collect()
}

/// The first value of each key. A quoted value can have several lines.
fn figures(text: &[u8]) -> HashMap<&[u8], &[u8]> {
    let mut found: HashMap<&[u8], &[u8]> = HashMap::new();
    let mut lines = text.split(|byte| *byte == b'\n');
    while let Some(line) = lines.next() {
        let Some(at) = line.windows(2).position(|pair| pair == b": ") else { continue };
        let (key, value) = (&line[..at], &line[at + 2..]);
        let value = value.strip_suffix(b"\r").unwrap_or(value);
        found.entry(key).or_insert(value);
        if value.starts_with(b"\"") && quotes_are_open(value) {
            let mut rest = lines.clone();
            // Of a quote that is never closed, only the first line is text.
            if rest.any(quotes_are_open) {
                lines = rest;
            }
        }
    }
    found
}

/// Whether a quote is open at the end of a text; a doubled quote closes and opens again.
fn quotes_are_open(text: &[u8]) -> bool {
    text.iter().filter(|byte| **byte == b'"').count() % 2 == 1
}

/// A figure in HAProxy's form, if it fits 64 bits, signed or unsigned. So no later sum or
/// difference of figures overflows.
fn number(value: &[u8]) -> Option<i128> {
    let digits = value.strip_prefix(b"-").unwrap_or(value);
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = str::from_utf8(value).ok()?.parse().ok()?;
    (i128::from(i64::MIN)..=i128::from(u64::MAX)).contains(&value).then_some(value)
}

/// The figure that counts, or `None`. HAProxy calculates `Idle_pct` from clocks that differ a
/// little, and gauges of some versions went below zero.
fn plausible(
    endpoint: &str,
    planned: &Planned,
    value: i128,
    oddities: &mut Vec<Oddity>,
) -> Option<i128> {
    let key = &*planned.name;
    if key == IDLE {
        let idle = idle(value);
        if idle != value {
            let text = format!("Idle_pct is {value} and counts as {idle}");
            oddities.push(Oddity::new(endpoint, "Idle_pct out of range", text));
        }
        return Some(idle);
    }
    if planned.nature.is_gauge() && value > i128::from(i64::MAX) {
        let text = format!("{key} is {value}: a gauge below zero, which counts as no value");
        oddities.push(Oddity::new(endpoint, "gauge below zero", text));
        return None;
    }
    Some(value)
}

/// A percentage from 0 to 100. A value with the highest of 32 bits set was below zero.
fn idle(value: i128) -> i128 {
    let below_zero = (1 << 31..1 << 32).contains(&value);
    if below_zero { 0 } else { value.clamp(0, 100) }
}

/// Finds the second sockets of processes, and the processes without an endpoint.
pub(crate) fn family(processes: &[Process]) -> Family {
    let mut family = Family::default();
    let mut known: HashMap<i128, Vec<&Process>> = HashMap::new();
    for process in processes {
        let Some(identity) = &process.identity else { continue };
        let same_pid = known.entry(identity.pid).or_default();
        let first = same_pid.iter().find(|other| {
            other.identity.as_ref().is_some_and(|other| other.is_same_process(identity))
        });
        let Some(first) = first else {
            same_pid.push(process);
            continue;
        };
        family.doubles.insert(process.endpoint.clone(), first.endpoint.clone());
        if process.by_master {
            continue;
        }
        let text = format!(
            "{} and {} are sockets of one process (pid {}), which counts once; if they are two \
             processes, give each HAProxy its own node in its global section",
            first.endpoint, process.endpoint, identity.pid
        );
        family.oddities.push(Oddity::new(&process.endpoint, "second socket", text));
    }
    family.find_missing(processes);
    family
}

impl Family {
    /// Finds the processes without an endpoint, because HAProxy reports how many it has. Two
    /// HAProxies of one node can hide missing processes of each other, but never cause a wrong
    /// finding.
    fn find_missing(&mut self, processes: &[Process]) {
        let mut numbers: BTreeMap<(&[u8], i128), BTreeSet<i128>> = BTreeMap::new();
        // The next generation has taken the place of old workers.
        let current = processes.iter().filter(|it| it.generation == Generation::Current);
        for process in current {
            let (Some(identity), Some(siblings), Some(number)) =
                (&process.identity, process.siblings, process.number)
            else {
                continue;
            };
            if siblings > 1 {
                numbers.entry((&identity.node, siblings)).or_default().insert(number);
            }
        }
        for ((node, siblings), numbers) in numbers {
            let answered = numbers.len() as i128;
            if siblings <= answered {
                continue;
            }
            // A forged number must not make a sum wrap.
            let missing = u64::try_from(siblings - answered).unwrap_or(u64::MAX);
            self.missing = self.missing.saturating_add(missing);
            let node = String::from_utf8_lossy(node).into_owned();
            let text = format!(
                "HAProxy on node {node:?} has {siblings} processes (Nbproc) and {answered} of them \
                 answered; give each its stats socket"
            );
            self.oddities.push(Oddity::new(&node, "processes without a socket", text));
        }
    }
}

impl Identity {
    fn is_same_process(&self, other: &Self) -> bool {
        let same_start = match (self.start, other.start) {
            (Some(start), Some(other)) => start == other,
            _ => match (self.uptime, other.uptime) {
                (Some(uptime), Some(other)) => (uptime - other).abs() <= UPTIME_DIFFERENCE_MAX,
                _ => false,
            },
        };
        same_start && (self.pid, self.number, &self.node) == (other.pid, other.number, &other.node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(endpoint: &str, text: &[u8]) -> Result<Answer, String> {
        super::parse(endpoint, text, Generation::Current, &keys())
    }

    fn keys() -> Keys {
        Keys::new(&config::Selection::Default, false)
    }

    fn value(answer: &Answer, key: &str) -> Option<Option<i128>> {
        let keys = keys().planned;
        answer.process.values[keys.iter().position(|known| &*known.name == key).unwrap()]
    }

    fn process(endpoint: &str, text: &str) -> Process {
        parse(endpoint, text.as_bytes()).unwrap().process
    }

    /// As HAProxy 2.6.12 writes it for `description "one\n\ntwo\nCumReq: 77\"…"`.
    #[test]
    fn figures_in_a_quoted_description_are_text() {
        let text =
            b"CumReq: 1\nnode: vm\ndescription: \"one\n\ntwo\nTasks: 77\nsay \"\"hi\"\"\nend\"\n\
                     Tasks: 5\nStopping: 0\n\n";
        let answer = parse("a", text).unwrap();
        assert_eq!(
            (value(&answer, "CumReq"), value(&answer, "Tasks")),
            (Some(Some(1)), Some(Some(5)))
        );
        let open = b"description: \"never closed\nTasks: 5\nCumReq: 2\n\n";
        let answer = parse("a", open).unwrap();
        assert_eq!(
            (value(&answer, "CumReq"), value(&answer, "Tasks")),
            (Some(Some(2)), Some(Some(5)))
        );
    }

    #[test]
    fn a_text_that_is_no_utf8_is_no_damage_and_a_figure_is_one() {
        let answer = parse("a", b"node: k\xf6ln\ndescription: f\xfcr alle\nTasks: 5\n\n").unwrap();
        assert_eq!((value(&answer, "Tasks"), answer.bad.len()), (Some(Some(5)), 0));
        let answer = parse("a", b"CumReq: 1\nTasks: 5\xb2\n\n").unwrap();
        assert_eq!((value(&answer, "Tasks"), answer.bad), (Some(None), vec!["Tasks".into()]));
    }

    #[test]
    fn idle_is_a_percentage_whatever_haproxy_calculates() {
        for (written, counts) in
            [("104", 100), ("-3", 0), ("4294967263", 0), ("100", 100), ("0", 0)]
        {
            let answer = parse("a", format!("Idle_pct: {written}\n\n").as_bytes()).unwrap();
            assert_eq!(value(&answer, IDLE), Some(Some(counts)), "{written}");
            assert_eq!(answer.oddities.len(), usize::from(written != counts.to_string()));
        }
    }

    #[test]
    fn a_gauge_below_zero_is_no_value_and_counters_are_exact() {
        let max = u64::MAX;
        let text =
            format!("CurrConns: {max}\nCumConns: {max}\nCumReq: -5\nPipesUsed: 4294967290\n");
        let answer = parse("a", text.as_bytes()).unwrap();
        assert_eq!(value(&answer, "CurrConns"), Some(None));
        assert_eq!(value(&answer, "CumConns"), Some(Some(i128::from(max))));
        assert_eq!(value(&answer, "CumReq"), Some(Some(-5)));
        assert_eq!(value(&answer, "PipesUsed"), Some(Some(4_294_967_290)), "exact in 32 bits");
        assert_eq!((answer.bad.len(), answer.oddities.len()), (0, 1));
    }

    #[test]
    fn two_sockets_of_one_process_are_known_by_their_answers() {
        let of = |pid: u32, rest: &str| format!("node: n\nPid: {pid}\nTasks: 1\n{rest}");
        let doubles = |texts: &[String]| {
            let named = texts.iter().enumerate();
            let all: Vec<_> = named.map(|(at, text)| process(&format!("s{at}"), text)).collect();
            let family = family(&all);
            assert_eq!(family.oddities.len(), family.doubles.len());
            let mut doubles: Vec<_> = family.doubles.into_keys().collect();
            doubles.sort();
            doubles
        };
        let start = "Start_time_sec: 1700000000\nUptime_sec: 5\n";
        assert_eq!(doubles(&[of(7, start), of(7, start), of(7, start)]), ["s1", "s2"]);
        assert_eq!(doubles(&[of(7, "Uptime_sec: 5\n"), of(7, "Uptime_sec: 6\n")]), ["s1"]);
        let other = "Start_time_sec: 1700000001\nUptime_sec: 5\n";
        let none: [String; 0] = [];
        assert_eq!(doubles(&[of(7, start), of(8, start), of(7, other)]), none);
        assert_eq!(doubles(&[of(7, "Uptime_sec: 5\n"), of(7, "Uptime_sec: 50\n")]), none);
        assert_eq!(doubles(&[of(7, start), of(7, start).replace("node: n", "node: m")]), none);
        let without = "Tasks: 1\nUptime_sec: 5\n".to_owned();
        assert_eq!(
            doubles(&[without.clone(), without]),
            none,
            "without a Pid there is no identity"
        );
    }

    #[test]
    fn all_finds_the_figures_that_the_catalogue_lacks() {
        let except = vec!["Newer".to_owned()];
        let keys = Keys::new(&config::Selection::All { except }, false);
        let text = b"Tasks: 1\nNewest_max: 7\nNewer: 8\nSecret: a text\nBad name: 9\nPid: 3\n";
        let mut processes = ["a", "b"]
            .map(|it| super::parse(it, text, Generation::Current, &keys).unwrap().process);
        processes[1].others.insert("Only_b".into(), 5);
        let mut oddities = Vec::new();
        let joined = keys.join(&mut processes, &mut oddities);
        let new: Vec<&str> =
            joined.planned[keys.sent..joined.sent].iter().map(|planned| &*planned.name).collect();
        assert_eq!(new, ["Newest_max", "Only_b"]);
        let values = |process: &Process| process.values[keys.sent..joined.sent].to_vec();
        assert_eq!(values(&processes[0]), [Some(Some(7)), None]);
        assert_eq!(values(&processes[1]), [Some(Some(7)), Some(Some(5))]);
        assert_eq!(oddities.len(), 2);
    }

    #[test]
    fn processes_without_a_socket_are_counted() {
        let of = |node: &str, number: u32| {
            let text = format!(
                "node: {node}\nNbproc: 4\nProcess_num: {number}\nPid: {number}\nTasks: 1\n"
            );
            process(&format!("{node}{number}"), &text)
        };
        let missing = |processes: &[Process]| family(processes).missing;
        assert_eq!(missing(&[of("n", 1), of("n", 2), of("n", 4)]), 1);
        assert_eq!(missing(&[of("n", 1), of("n", 2), of("n", 3), of("n", 4)]), 0);
        assert_eq!(missing(&[of("n", 1), of("m", 2)]), 6);
        let forged = "Nbproc: 18446744073709551615\nProcess_num: 1\nPid: 1\nTasks: 1\n";
        assert_eq!(missing(&[process("a", forged)]), u64::MAX - 1);
    }
}
