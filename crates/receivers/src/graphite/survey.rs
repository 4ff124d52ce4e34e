//! The first pass over a batch: which of its rows share a path, and which names are shortened.
//!
//! Names that differ only in characters that a path cannot have (`a.b` and `a_b`) share a path.
//! Their rows are joined, so they must be known before the first line is made. The batch is too
//! large to keep, so the survey keeps a hash of each row; the join compares the names themselves.

use std::collections::BTreeMap;

use model::{BatchCursor, Column, Cursor, Table, TableKind, form};
use xxhash_rust::xxh3::xxh3_64;

use super::collisions::Collisions;
use super::lines::has_lines;
use super::part::{PART_MAX_BYTES, shortened};
use super::spelling::Spelling;

/// A finding about names that an operator should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The name in its form in paths.
    pub subject: String,
    /// The kind of warning, without figures: equal for equal kinds.
    pub state: &'static str,
    /// The effect on the name, and the remedy.
    pub text: String,
}

/// Warnings about shortened names; bounded because each name is compared with all others.
const LONG_NAMES_MAX: usize = 100;

/// The findings about a batch's names.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// For each row that has names, the hash of its path. The second hash is, for a server, that of
    /// its backend's row in the table of server counts, and else the same.
    rows: Vec<(u64, u64)>,
    /// Long names, as HAProxy spells them and as paths have them.
    long: Vec<(String, String)>,
}

impl Survey {
    /// Looks at all rows of a batch.
    ///
    /// # Errors
    ///
    /// The batch is damaged or cannot be read.
    pub(super) fn of(cursor: &mut impl Cursor, spelling: Spelling) -> Result<Self, form::Error> {
        let mut survey = Self::default();
        // Most batches have plain names only; then no two rows share a path.
        let mut are_plain = true;
        while are_plain && cursor.advance()? {
            are_plain = cursor.current().is_none_or(|table| has_plain_names(table, spelling));
        }
        if are_plain {
            return Ok(survey);
        }
        cursor.rewind()?;
        let mut names = CleanNames::new(spelling);
        while cursor.advance()? {
            if let Some(table) = cursor.current() {
                survey.add(table, &mut names);
            }
        }
        Ok(survey)
    }

    fn add(&mut self, table: &Table, names: &mut CleanNames) {
        if table.names.labels() == 0 {
            return;
        }
        self.rows.reserve(table.names.len());
        for row in 0..table.names.len() {
            names.read(table, row);
            let hash = names.hash(&table.kind);
            let server_count = match &table.kind {
                TableKind::BackendServer => names.hash_of_server_count(),
                _ => hash,
            };
            self.rows.push((hash, server_count));
            if names.has_long() {
                self.add_long(table, row, names);
            }
        }
    }

    #[cold]
    fn add_long(&mut self, table: &Table, row: usize, names: &CleanNames) {
        for (raw, clean) in table.names.row(row).zip(names.clean()) {
            let is_new = || self.long.iter().all(|(known, _)| known != raw);
            if clean.len() > PART_MAX_BYTES && self.long.len() < LONG_NAMES_MAX && is_new() {
                self.long.push((raw.to_owned(), shortened(clean).into_owned()));
            }
        }
    }

    /// A warning for each name that is shortened.
    pub(super) fn warnings(&self) -> Vec<Warning> {
        let warning = |(name, short): &(String, String)| Warning {
            subject: short.clone(),
            state: "long name",
            text: format!(
                "stands in paths for the name {name:?}, which is too long for a file's name"
            ),
        };
        self.long.iter().map(warning).collect()
    }

    pub(super) fn into_collisions(self) -> Collisions {
        let mut rows = self.rows;
        rows.sort_unstable();
        let mut shared = Vec::new();
        let mut surplus_servers = Vec::new();
        for ((hash, _), (next, count)) in rows.iter().zip(rows.iter().skip(1)) {
            if hash == next {
                shared.push(*next);
                if count != next {
                    surplus_servers.push(*count);
                }
            }
        }
        surplus_servers.sort_unstable();
        // The counts of their backends are corrected in the join, before they are written.
        shared.extend(&surplus_servers);
        shared.sort_unstable();
        shared.dedup();
        Collisions::new(shared, surplus_servers)
    }
}

/// Whether lines have all names as HAProxy spells them.
fn has_plain_names(table: &Table, spelling: Spelling) -> bool {
    table.names.iter().all(|name| name.len() <= PART_MAX_BYTES && spelling.is_plain(name))
}

/// How many lines each kind of table gives. A line that double writes send on two paths counts
/// once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LineCounts(BTreeMap<TableKind, u64>);

impl LineCounts {
    /// The lines of a kind of table.
    #[must_use]
    pub fn of(&self, kind: &TableKind) -> u64 {
        self.0.get(kind).copied().unwrap_or_default()
    }

    /// All lines.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    fn add(&mut self, kind: &TableKind, lines: usize) {
        *self.0.entry(kind.clone()).or_default() += lines as u64;
    }

    fn subtract(&mut self, kind: &TableKind, lines: usize) {
        let count = self.0.entry(kind.clone()).or_default();
        *count = count.saturating_sub(lines as u64);
    }
}

/// The forms of names that lines have. Names that one form makes equal or cuts, another may leave
/// alone.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct NameForms {
    /// Parts of paths.
    pub parts: bool,
    /// Values of tags.
    pub tag_values: bool,
}

impl NameForms {
    /// Adds the form of a naming.
    #[must_use]
    pub const fn with(self, naming: &config::Naming) -> Self {
        if naming.tags { Self { tag_values: true, ..self } } else { Self { parts: true, ..self } }
    }
}

/// Counts the lines of some tables without making them, and returns the warnings about names in
/// these forms. Names are counted as parts of paths, whatever the forms.
#[must_use]
pub fn count_lines(tables: &[Table], forms: NameForms) -> (LineCounts, Vec<Warning>) {
    let (counts, mut warnings) = look_at(tables, Spelling::Part);
    if !forms.parts {
        warnings.clear();
    }
    if forms.tag_values {
        warnings.extend(look_at(tables, Spelling::Value).1);
    }
    (counts, warnings)
}

fn look_at(tables: &[Table], spelling: Spelling) -> (LineCounts, Vec<Warning>) {
    let mut counts = LineCounts::default();
    for table in tables {
        counts.add(&table.kind, lines_of(table));
    }
    let mut cursor = BatchCursor::over(tables);
    // Tables in memory can always be read.
    let Ok(survey) = Survey::of(&mut cursor, spelling) else { return (counts, Vec::new()) };
    let mut warnings = survey.warnings();
    let mut collisions = survey.into_collisions();
    let mut names = CleanNames::new(spelling);
    while !collisions.is_empty() {
        for table in tables.iter().filter(|table| table.names.labels() > 0) {
            collisions.begin_table(table);
            for row in 0..table.names.len() {
                names.read(table, row);
                let hash = names.hash(&table.kind);
                if collisions.is_shared_now(hash) {
                    collisions.join(table, row, hash, &names);
                    let columns = table.columns.iter().filter(|column| has_lines(column));
                    counts.subtract(&table.kind, columns.filter(|column| column.has(row)).count());
                }
            }
        }
        for table in collisions.take_joined() {
            counts.add(&table.kind, lines_of(&table));
        }
        collisions.next_pass();
    }
    warnings.extend(collisions.take_warnings());
    (counts, warnings)
}

fn lines_of(table: &Table) -> usize {
    table.columns.iter().filter(|column| has_lines(column)).map(Column::count).sum()
}

/// The names of one row as lines have them. One buffer serves all rows.
#[derive(Debug)]
pub(super) struct CleanNames {
    spelling: Spelling,
    clean: Vec<String>,
    joined: Vec<u8>,
}

impl CleanNames {
    pub(super) const fn new(spelling: Spelling) -> Self {
        Self { spelling, clean: Vec::new(), joined: Vec::new() }
    }

    /// Reads the names of a row.
    pub(super) fn read(&mut self, table: &Table, row: usize) {
        self.clean.resize(table.names.labels(), String::new());
        for (name, clean) in table.names.row(row).zip(&mut self.clean) {
            clean.clear();
            self.spelling.push(name, clean);
        }
    }

    pub(super) fn clean(&self) -> &[String] {
        &self.clean
    }

    fn has_long(&self) -> bool {
        self.clean.iter().any(|name| name.len() > PART_MAX_BYTES)
    }

    /// The hash of the row's path.
    pub(super) fn hash(&mut self, kind: &TableKind) -> u64 {
        hash(kind, &self.clean, &mut self.joined)
    }

    /// The hash of the row that counts the servers of this server's backend.
    fn hash_of_server_count(&mut self) -> u64 {
        let backend = self.clean.get(..1).unwrap_or_default();
        hash(&TableKind::ServerCount, backend, &mut self.joined)
    }
}

/// What tells the rows of a kind from those of the others.
fn push_kind(kind: &TableKind, joined: &mut Vec<u8>) {
    let code = match kind {
        TableKind::Daemon => b'd',
        TableKind::Process => b'p',
        TableKind::Frontend => b'f',
        TableKind::Backend => b'b',
        TableKind::ServerCount => b'c',
        TableKind::BackendServer => b's',
        TableKind::Server => b'a',
        TableKind::Own => b'o',
        TableKind::Other(layout) => return joined.extend_from_slice(layout.measurement.as_bytes()),
    };
    joined.push(code);
}

/// Semicolons separate the names, because no clean name has one.
fn hash(kind: &TableKind, names: &[String], joined: &mut Vec<u8>) -> u64 {
    joined.clear();
    push_kind(kind, joined);
    for name in names {
        joined.push(b';');
        joined.extend_from_slice(name.as_bytes());
    }
    xxh3_64(joined)
}
