//! The states of proxies and servers: the worst state of the current processes, and the texts of
//! the row that has it.
//!
//! An old worker's checks have stopped, so its state counts only for a proxy or server that no
//! current process has. The rows of a file count when the file is read to its end.

use std::collections::HashMap;

use model::catalog::Fold;
use model::{Column, Names, Nature, Texts, Values};

use crate::Generation;
use crate::rows::Row;
use crate::stat::bounds;

/// The columns with texts, as telegraf's haproxy input has them.
const TEXTS: [&str; 9] = [
    "status",
    "check_status",
    "last_chk",
    "mode",
    "tracked",
    "agent_status",
    "last_agt",
    "addr",
    "cookie",
];
const STATUS: usize = 0;
const STATUS_OF_CHECKS: usize = 1;

/// Bytes of a text that count; the rest is cut.
const TEXT_MAX_BYTES: usize = 256;

/// The words of `check_status` and their numbers, those of HAProxy's own enumeration.
const CHECKS: [(&str, i128); 18] = [
    ("UNK", 0),
    ("INI", 1),
    ("HANA", 4),
    ("SOCKERR", 5),
    ("L4OK", 6),
    ("L4TOUT", 7),
    ("L4CON", 8),
    ("L6OK", 9),
    ("L6TOUT", 10),
    ("L6RSP", 11),
    ("L7TOUT", 12),
    ("L7RSP", 13),
    ("L7OK", 15),
    ("L7OKC", 16),
    ("L7STS", 17),
    ("PROCERR", 18),
    ("PROCTOUT", 19),
    ("PROCOK", 20),
];

/// A state, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum State {
    Down,
    NoLb,
    Drain,
    Maint,
    NoCheck,
    Up,
}

/// The numbers of servers by state, each a metric.
const COUNTS: [(&str, State); 6] = [
    ("servers.up", State::Up),
    ("servers.down", State::Down),
    ("servers.maint", State::Maint),
    ("servers.drain", State::Drain),
    ("servers.nolb", State::NoLb),
    ("servers.no_check", State::NoCheck),
];

/// The states of one kind of rows.
#[derive(Debug, Clone, Default)]
pub(crate) struct States {
    pub(crate) is_read: bool,
    /// The cell of each text in the current file.
    cells: [Option<usize>; TEXTS.len()],
    /// The rows of the current file, and their texts one behind the other.
    pending: Vec<Pending>,
    text: Vec<u8>,
    by_code: Vec<Option<Known>>,
}

/// A row of the current file.
#[derive(Debug, Clone)]
struct Pending {
    code: u32,
    state: State,
    begin: usize,
    ends: [usize; TEXTS.len()],
}

/// The facts about a proxy or server.
#[derive(Debug, Clone)]
struct Known {
    generation: Generation,
    state: State,
    /// Whether all processes of the generation have it in maintenance.
    is_all_maint: bool,
    texts: [Box<str>; TEXTS.len()],
}

impl State {
    /// The state of a cell of `status`: its first word, as in "UP 1/3", "DOWN (agent)", "MAINT (via
    /// be/srv)" and "no check". `None` for a word that is not HAProxy's.
    pub(crate) fn of(status: &[u8]) -> Option<Self> {
        let end = status.iter().position(|byte| *byte == b' ').unwrap_or(status.len());
        Some(match status.get(..end)? {
            b"UP" | b"OPEN" => Self::Up,
            b"no" if status == b"no check" => Self::NoCheck,
            b"MAINT" => Self::Maint,
            b"DRAIN" => Self::Drain,
            b"NOLB" | b"FULL" => Self::NoLb,
            b"DOWN" | b"STOP" => Self::Down,
            _ => return None,
        })
    }

    /// Whether a server takes new sessions.
    const fn is_up(self) -> bool {
        matches!(self, Self::Up | Self::NoCheck)
    }
}

impl States {
    /// Finds the cells of the texts, and returns the last one.
    pub(crate) fn begin_file(&mut self, header: &[&str]) -> Option<usize> {
        if !self.is_read {
            return None;
        }
        self.cells = TEXTS.map(|text| header.iter().position(|name| *name == text));
        self.cells.iter().flatten().max().copied()
    }

    /// Notes a row of the current file. A row without a known status has no state.
    #[inline]
    pub(crate) fn push(&mut self, row: Row<'_>, code: u32) {
        if self.is_read {
            self.note(row, code);
        }
    }

    #[cold]
    fn note(&mut self, row: Row<'_>, code: u32) {
        let cell = |cell: Option<usize>| match cell {
            Some(cell) => {
                let (begin, end) = bounds(row, cell);
                unquoted(&row.text[begin..end])
            }
            None => &[],
        };
        let Some(state) = State::of(cell(self.cells[STATUS])) else { return };
        let begin = self.text.len();
        let ends = self.cells.map(|found| {
            let text = cell(found);
            self.text.extend_from_slice(&text[..text.len().min(TEXT_MAX_BYTES)]);
            self.text.len()
        });
        self.pending.push(Pending { code, state, begin, ends });
    }

    /// Forgets the rows of the current file.
    pub(crate) fn roll_back(&mut self) {
        self.pending.clear();
        self.text.clear();
    }

    /// Counts the rows of the current file.
    pub(crate) fn end_file(&mut self, generation: Generation) {
        for row in std::mem::take(&mut self.pending) {
            let place = row.code as usize;
            if self.by_code.len() <= place {
                self.by_code.resize(place + 1, None);
            }
            let is_maint = row.state == State::Maint;
            let mut is_all_maint = is_maint;
            if let Some(known) = &mut self.by_code[place] {
                let is_same = known.generation == generation;
                if known.generation == Generation::Current && !is_same {
                    continue;
                }
                if is_same {
                    known.is_all_maint &= is_maint;
                    is_all_maint = known.is_all_maint;
                    if known.state <= row.state {
                        continue;
                    }
                }
            }
            let mut begin = row.begin;
            let texts = row.ends.map(|end| {
                let text = String::from_utf8_lossy(&self.text[begin..end]);
                begin = end;
                Box::from(text.replace(char::is_control, " "))
            });
            let state = row.state;
            self.by_code[place] = Some(Known { generation, state, is_all_maint, texts });
        }
        self.text.clear();
    }

    fn of(&self, code: u32) -> Option<&Known> {
        self.by_code.get(code as usize)?.as_ref()
    }

    /// Whether a server is in maintenance in all current processes, or in all old workers if no
    /// current process has it.
    pub(crate) fn is_in_maintenance(&self, code: u32) -> bool {
        self.of(code).is_some_and(|known| known.is_all_maint)
    }

    /// The columns of servers: numbers, then texts.
    pub(crate) fn of_servers(&self, codes: &[u32]) -> Vec<Column> {
        let numbers = |name: &str, fold, value: &dyn Fn(&Known) -> Option<i128>| {
            let values = codes.iter().map(|code| self.of(*code).and_then(value));
            Column::integers(name, Nature::Gauge, fold, values)
        };
        let up = numbers("up", Some(Fold::Smallest), &|known| Some(known.state.is_up().into()));
        let check =
            numbers("check_status", None, &|known| check_number(&known.texts[STATUS_OF_CHECKS]));
        let old = numbers("only_old_workers", Some(Fold::Largest), &|known| {
            (known.generation == Generation::Old).then_some(1)
        });
        let mut columns = vec![up, check, old];
        columns.extend(self.texts(codes));
        columns.retain(|column| column.count() > 0);
        columns
    }

    /// The columns of backends: a number, then texts.
    pub(crate) fn of_backends(&self, codes: &[u32]) -> Vec<Column> {
        let state = codes.iter().map(|code| Some((self.of(*code)?.state == State::Up).into()));
        let state = Column::integers("state", Nature::Gauge, Some(Fold::Smallest), state);
        let mut columns = vec![state];
        columns.extend(self.texts(codes));
        columns.retain(|column| column.count() > 0);
        columns
    }

    /// The texts, which frontends have alone.
    pub(crate) fn texts(&self, codes: &[u32]) -> Vec<Column> {
        let column = |place: usize| {
            let text = |code: &u32| self.of(*code).map_or("", |known| &*known.texts[place]);
            let texts: Texts = codes.iter().map(text).collect();
            let present = texts.iter().map(|text| !text.is_empty()).collect();
            let column = Column::new(TEXTS[place], Nature::Other, None, Values::States(texts));
            Column { present: Some(present), ..column }
        };
        let columns = (0..TEXTS.len()).map(column);
        columns.filter(|column| column.count() > 0).collect()
    }

    /// How many servers of each backend have each state. `servers` has the names of `codes`, and
    /// `backends` a row for each backend. Servers that only old workers have do not count.
    pub(crate) fn counts(&self, servers: &Names, codes: &[u32], backends: &Names) -> Vec<Column> {
        let mut places = HashMap::new();
        for row in 0..backends.len() {
            places.insert(backends.label(row, 0), row);
        }
        let mut counts = vec![[0_i128; COUNTS.len()]; backends.len()];
        for (row, code) in codes.iter().enumerate() {
            let Some(known) = self.of(*code) else { continue };
            let kind = COUNTS.iter().position(|(_, state)| *state == known.state);
            if let (Some(place), Some(kind)) = (places.get(&servers.label(row, 0)), kind)
                && known.generation == Generation::Current
            {
                counts[*place][kind] += 1;
            }
        }
        let column = |kind: usize| {
            let values = counts.iter().map(|counts| Some(counts[kind]));
            Column::integers(COUNTS[kind].0, Nature::Gauge, Some(Fold::Sum), values)
        };
        (0..COUNTS.len()).map(column).collect()
    }
}

/// The number of a cell of `check_status`. HAProxy puts "* " before it while a check runs.
fn check_number(text: &str) -> Option<i128> {
    let word = text.strip_prefix("* ").unwrap_or(text);
    CHECKS.iter().find(|(known, _)| *known == word).map(|(_, number)| *number)
}

/// A cell without the quotes around it.
fn unquoted(cell: &[u8]) -> &[u8] {
    cell.strip_prefix(b"\"").and_then(|cell| cell.strip_suffix(b"\"")).unwrap_or(cell)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_of_haproxy_has_its_state() {
        let of = |text: &str| State::of(text.as_bytes());
        for (state, texts) in [
            (State::Up, &["UP", "UP 1/3", "OPEN"][..]),
            (State::Down, &["DOWN", "DOWN 1/2", "DOWN (agent)"]),
            (State::Maint, &["MAINT", "MAINT (via be/srv)", "MAINT (resolution)"]),
            (State::Drain, &["DRAIN", "DRAIN 1/3", "DRAIN (agent)"]),
            (State::NoLb, &["NOLB", "NOLB 1/3"]),
            (State::NoCheck, &["no check"]),
        ] {
            assert!(texts.iter().all(|text| of(text) == Some(state)), "{state:?}");
        }
        assert!(["", "up", "UPPER", "no", "7", "BROKEN"].iter().all(|text| of(text).is_none()));
    }

    #[test]
    fn a_running_check_has_the_number_of_the_last_one() {
        assert_eq!((check_number("* L7OK"), check_number("L4CON")), (Some(15), Some(8)));
        assert_eq!((check_number(""), check_number("L9OK")), (None, None));
    }
}
