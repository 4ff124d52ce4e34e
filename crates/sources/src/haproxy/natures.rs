//! The natures of columns that the catalogue lacks, from `show stat typed`.
//!
//! HAProxy says in its typed answer how each column is to be read. The whole answer is long, so one
//! proxy of each kind is asked for (about 7 kB), once for each start of a process, and only if the
//! header has a column that the catalogue lacks. The question comes after the answers of the
//! snapshot, and its failure costs nothing but the natures: the old ones stay, and without any the
//! name of a column decides. Workers behind a master CLI are not asked, because each command there
//! needs a connection and one of the few places that the master has.

use std::collections::BTreeMap;

use model::{Nature, catalog};

use super::ask::Command;
use crate::Pipelining;

/// Bytes of an answer at most. HAProxy 2.6 sends 7 kB for three proxies.
pub const ANSWER_MAX_BYTES: usize = 64 * 1024;

/// Natures that are kept of one endpoint at most.
pub const NATURES_MAX: usize = 256;

/// Bytes of `show info` in which the process is looked for; HAProxy 3 sends 3 kB.
const INFO_MAX_BYTES: usize = 8 * 1024;

/// Bytes of the longest line of `show stat` that is read.
const LINE_MAX_BYTES: usize = 16 * 1024;

/// Bytes of rows in which one proxy of each kind is looked for.
const ROWS_MAX_BYTES: usize = 4 << 20;

/// The natures of the columns that the catalogue lacks, by name.
pub type Natures = BTreeMap<String, Nature>;

/// The facts about the process that answered last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    process: Process,
    /// The kinds that were asked for.
    asked: Kinds,
    natures: Natures,
}

/// The answer to the question is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Odd {
    /// No line is of the typed form.
    #[error("the answer to `show stat typed` is not one")]
    Malformed,
    /// The answer does not end with an empty line.
    #[error("the answer to `show stat typed` is cut after {0} bytes")]
    Cut(usize),
}

/// The identity of one start of a process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Process {
    pid: Option<u64>,
    /// The second of its start. HAProxy 2.5 and earlier do not tell it.
    start: Option<u64>,
    uptime: Option<u64>,
}

/// A set of kinds of rows, by the bits that `show stat` takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Kinds(u8);

/// The bits of frontends, backends and servers. The number of a row's type is that of its bit.
const BITS: [u8; 3] = [1, 2, 4];

/// Reads the answers as they pass, for the question.
#[derive(Debug, Default)]
pub(super) struct Scan {
    known: Known,
    info: Vec<u8>,
    line: Vec<u8>,
    state: State,
    /// The kinds that are looked for.
    wanted: Kinds,
    /// The proxy and the server of the first row of each kind.
    found: [Option<(u64, u64)>; 3],
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Header,
    /// The positions of the columns `type`, `iid` and `sid`, and the bytes that are still read.
    Rows {
        columns: [usize; 3],
        left: usize,
    },
    Done,
}

impl Known {
    /// The natures.
    #[must_use]
    pub const fn natures(&self) -> &Natures {
        &self.natures
    }
}

impl Process {
    fn of(info: &[u8]) -> Self {
        let text = String::from_utf8_lossy(info);
        let number = |key: &str| {
            let mut lines = text.lines().filter_map(|line| line.split_once(": "));
            lines.find(|(name, _)| *name == key).and_then(|(_, value)| value.trim().parse().ok())
        };
        Self { pid: number("Pid"), start: number("Start_time_sec"), uptime: number("Uptime_sec") }
    }

    /// Whether `later` is the same start of the same process.
    fn is_still(&self, later: &Self) -> bool {
        let same_start = match (self.start, later.start) {
            (Some(start), Some(later)) => start == later,
            _ => self.uptime <= later.uptime,
        };
        self.pid == later.pid && same_start
    }
}

impl Kinds {
    const fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    const fn with(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    const fn has(self, kind: usize) -> bool {
        self.0 & BITS[kind] != 0
    }
}

impl Scan {
    pub(super) fn recall(&mut self, known: Known) {
        self.known = known;
    }

    pub(super) const fn known(&self) -> &Known {
        &self.known
    }

    /// Reads bytes of an answer. `servers` tells whether servers were asked for.
    pub(super) fn read(&mut self, command: Command, bytes: &[u8], servers: bool) {
        match command {
            Command::Info => {
                let room = INFO_MAX_BYTES - self.info.len();
                self.info.extend_from_slice(&bytes[..bytes.len().min(room)]);
            }
            Command::Stat => self.read_stat(bytes, servers),
        }
    }

    fn read_stat(&mut self, bytes: &[u8], servers: bool) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            if matches!(self.state, State::Done) {
                return;
            }
            if self.line.len() + piece.len() > LINE_MAX_BYTES {
                self.state = State::Done;
                return;
            }
            self.line.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                self.read_line(&String::from_utf8_lossy(&line), servers);
            }
        }
    }

    fn read_line(&mut self, line: &str, servers: bool) {
        match &mut self.state {
            State::Header => self.state = self.read_header(line, servers),
            State::Rows { columns, left } => {
                *left = left.saturating_sub(line.len());
                if *left == 0 {
                    self.state = State::Done;
                    return;
                }
                let mut cells = columns.map(|column| {
                    let cell = line.split(',').nth(column)?;
                    cell.parse::<u64>().ok()
                });
                let [Some(kind), Some(proxy), Some(server)] = &mut cells else { return };
                let kind = usize::try_from(*kind).unwrap_or(usize::MAX);
                if kind < BITS.len() && self.wanted.has(kind) && self.found[kind].is_none() {
                    self.found[kind] = Some((*proxy, *server));
                }
                let is_missing = |kind: usize| self.wanted.has(kind) && self.found[kind].is_none();
                if !(0..BITS.len()).any(is_missing) {
                    self.state = State::Done;
                }
            }
            State::Done => {}
        }
    }

    /// Decides by the header which questions to ask.
    fn read_header(&mut self, line: &str, servers: bool) -> State {
        let names: Vec<&str> = line.trim_start_matches("# ").trim_end().split(',').collect();
        if !names.iter().any(|name| is_new(name)) {
            self.known = Known::default();
            return State::Done;
        }
        let process = Process::of(&self.info);
        if !self.known.process.is_still(&process) {
            self.known.asked = Kinds::default();
        }
        self.known.process = process;
        let answered = Kinds(if servers { 7 } else { 3 });
        self.wanted = answered.without(self.known.asked);
        let at = |wanted: &str| names.iter().position(|name| *name == wanted);
        match (at("type"), at("iid"), at("sid")) {
            (Some(kind), Some(proxy), Some(server)) if self.wanted != Kinds::default() => {
                State::Rows { columns: [kind, proxy, server], left: ROWS_MAX_BYTES }
            }
            _ => State::Done,
        }
    }

    /// The requests, each for a connection of its own. Empty if nothing is to be asked.
    pub(super) fn questions(&self, pipelining: Pipelining) -> Vec<Vec<u8>> {
        let mut commands = Vec::new();
        for (kind, found) in self.found.iter().enumerate() {
            let Some((proxy, server)) = found else { continue };
            let bit = BITS[kind];
            commands.push(if bit == BITS[2] {
                format!("show stat {proxy} {bit} {server} typed")
            } else {
                format!("show stat {proxy} {bit} -1 typed")
            });
        }
        if commands.is_empty() {
            return Vec::new();
        }
        let lines = match pipelining {
            Pipelining::On => vec![commands.join(";")],
            Pipelining::Off => commands,
        };
        lines.into_iter().map(|line| format!("{line}\n").into_bytes()).collect()
    }

    /// Ends the question, whatever came of it: the process is not asked again. Natures that are
    /// known stay where the answer has no others.
    pub(super) fn end(&mut self, natures: Natures) {
        self.known.asked = self.known.asked.with(std::mem::take(&mut self.wanted));
        self.found = [None; 3];
        self.known.natures.extend(natures);
        while self.known.natures.len() > NATURES_MAX {
            self.known.natures.pop_last();
        }
    }
}

/// The natures of new columns in a typed answer. If the kinds of rows differ, the first row counts.
///
/// ```
/// use haproxystats_sources::haproxy::natures;
///
/// let natures = natures::read(b"F.2.0.127.h4_peak.1:MMP:u32:7\nF.2.0.4.scur.1:MGP:u32:0\n\n")?;
/// assert_eq!(natures["h4_peak"], model::Nature::Maximum);
/// assert_eq!(natures.len(), 1);
/// # Ok::<(), natures::Odd>(())
/// ```
///
/// # Errors
///
/// The text is no typed answer, or it is cut.
pub fn read(text: &[u8]) -> Result<Natures, Odd> {
    let cut = !text.ends_with(b"\n\n");
    let text_bytes = text.len();
    let (mut natures, mut lines) = (Natures::new(), 0);
    for line in String::from_utf8_lossy(text).lines() {
        let Some((name, nature)) = read_line(line) else { continue };
        lines += 1;
        if let Some(nature) = nature
            && is_new(name)
            && natures.len() < NATURES_MAX
        {
            natures.entry(name.to_owned()).or_insert(nature);
        }
    }
    match lines {
        0 => Err(Odd::Malformed),
        _ if cut => Err(Odd::Cut(text_bytes)),
        _ => Ok(natures),
    }
}

/// The name and the nature of a line such as `F.2.0.4.scur.1:MGP:u32:0`; `None` if the line is of
/// another form.
fn read_line(line: &str) -> Option<(&str, Option<Nature>)> {
    let mut parts = line.splitn(4, ':');
    let (key, tags, kind) = (parts.next()?, parts.next()?, parts.next()?);
    parts.next()?;
    let mut key = key.splitn(5, '.');
    if !matches!(key.next()?, "F" | "B" | "L" | "S") {
        return None;
    }
    for _ in 0..3 {
        key.next()?.parse::<u64>().ok()?;
    }
    let (name, _) = key.next()?.rsplit_once('.')?;
    let [origin, nature, ..] = tags.as_bytes() else { return None };
    // A key, such as the number of a process, has the nature of a gauge.
    if *origin == b'K' || kind == "str" {
        return Some((name, Some(Nature::Other)));
    }
    Some((name, of_tag(*nature)))
}

/// The nature of a tag. `None` for a minimum, which no column has yet, and for a tag to come.
const fn of_tag(tag: u8) -> Option<Nature> {
    Some(match tag {
        b'A' => Nature::Age,
        b'a' => Nature::Average,
        b'C' => Nature::Counter,
        b'D' => Nature::Duration,
        b'G' => Nature::Gauge,
        b'L' => Nature::Limit,
        b'M' => Nature::Maximum,
        b'R' => Nature::Rate,
        b'N' | b'O' | b'T' => Nature::Other,
        _ => return None,
    })
}

fn is_new(name: &str) -> bool {
    !catalog::is_field(name) && catalog::is_name(name)
}

#[cfg(test)]
mod tests;
